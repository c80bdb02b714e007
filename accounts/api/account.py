"""`/v1/account`: the caller's account, its limits, and who the caller is."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

from rest_framework import serializers

from accounts import models
from accounts.actions import accounts
from accounts.models.limit import limits
from api.events import ActorOut
from api.pagination import sliced
from api.renderers import Answer, Page, like, public_id
from api.serializers import Input
from api.views import ViewSet


class UpdateInput(Input):
    name = serializers.CharField(max_length=100, required=False)
    require_mfa = serializers.BooleanField(
        required=False,
        help_text="Members without a second factor must set one up before they see a page. Keys go on working.",
    )

    example = {"name": "Shop"}


class AccountOut(TypedDict):
    id: Annotated[str, public_id("acct")]
    name: Annotated[str, like("Northwind Labs")]
    status: Annotated[str, {"enum": ["active", "suspended"]}]
    suspended_reason: str | None
    plan: Annotated[str, like("professional")]
    require_mfa: Annotated[bool, like(False), "Whether members must sign in with a second factor."]
    created_at: datetime
    updated_at: datetime


class LimitOut(TypedDict):
    name: Annotated[str, like("instances")]
    limit: Annotated[int, like(100)]
    used: Annotated[int, like(3)]
    unit: Annotated[str, {"enum": ["count", "per hour"]}]


class WhoAmIAccountOut(TypedDict):
    id: Annotated[str, public_id("acct")]
    name: Annotated[str, like("Northwind Labs")]
    plan: Annotated[str, like("professional")]


class WhoAmIUserOut(TypedDict):
    id: Annotated[str, public_id("user")]
    email: Annotated[str, like("alice@example.com")]
    name: Annotated[str | None, like("Alice")]


class WhoAmIOut(TypedDict):
    account: WhoAmIAccountOut
    actor: Annotated[ActorOut, "As whom the log names you."]
    user: Annotated[WhoAmIUserOut, "For whom the credential acts."]
    scopes: Annotated[list[str], like(["instances:read", "instances:create"])]


def representation(account: models.Account) -> AccountOut:
    return {
        "id": account.public_id,
        "name": account.name,
        "status": account.status,
        "suspended_reason": account.suspended_reason or None,
        "plan": account.plan.slug,
        "require_mfa": account.require_mfa,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


class Account(ViewSet):
    """The account that the credential belongs to."""

    scopes = {"retrieve": "account:read", "update": "account:write", "limits": "account:read", "whoami": None}
    query = {"limits": {"page", "limit"}}
    takes = {"update": UpdateInput}

    def rows(self, request) -> Any:
        return models.Account.objects.filter(pk=request.account.pk).select_related("plan")

    def locked(self, request) -> models.Account:
        return self.rows(request).select_for_update(of=("self",)).get()

    def retrieve(self, request) -> Answer[AccountOut]:
        """Get the account."""
        account = self.rows(request).get()  # what the process remembers of it may be seconds old
        return Answer(representation(account), version=account.version)

    def update(self, request) -> Answer[AccountOut]:
        """Change the account."""
        account = accounts.update(account=self.rows(request).get(), by=request.by, **UpdateInput.read(request))
        return Answer(representation(account), version=account.version)

    def limits(self, request) -> Answer[Page[LimitOut]]:
        """List what the plan allows, and how much of it is used."""
        rate = request._request.rate_decision
        used = rate.limit - rate.remaining
        rows: list[LimitOut] = [{"name": "requests", "limit": rate.limit, "used": used, "unit": "per hour"}]
        rows += [
            {"name": name, "limit": limit, "used": used, "unit": "count"}
            for name, limit, used in limits(request.account)
        ]
        return Answer(sliced(request, rows))

    def whoami(self, request) -> Answer[WhoAmIOut]:
        """Say who the credential acts for, and what it may do."""
        account, user, by = self.rows(request).get(), request.auth.user, request.by
        return Answer(
            {
                "account": {"id": account.public_id, "name": account.name, "plan": account.plan.slug},
                "actor": {"kind": by.kind, "id": by.id or None, "name": by.name or None},
                "user": {"id": user.public_id, "email": user.email, "name": user.name or None},
                "scopes": sorted(request.auth.scopes),
            }
        )
