"""`/v1/account/api-keys`: the keys of the caller's account."""

from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict

from django_filters import CharFilter
from rest_framework import serializers

from accounts.actions import api_keys
from accounts.models import ApiKey
from accounts.models.api_key import STATUSES, Secret
from api.filters import AnyOf, Filters
from api.renderers import Answer, Created, Page, like, public_id
from api.serializers import Input
from api.views import ViewSet


class CreateInput(Input):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        allow_null=True,
        help_text="Scopes, with `*` for all of a kind. Default: those of the credential that makes the key.",
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Default: in 90 days; null: never."
    )
    allowed_cidrs = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        max_length=100,
        help_text="Addresses and networks it may be used from. Default: everywhere.",
    )

    example = {
        "name": "deploy",
        "scopes": ["instances:*", "ssh_keys:read"],
        "allowed_cidrs": ["127.0.0.0/8", "203.0.113.0/24"],
    }


class UpdateInput(Input):
    name = serializers.CharField(max_length=100, required=False)
    allowed_cidrs = serializers.ListField(child=serializers.CharField(max_length=64), required=False, max_length=100)

    example = {"name": "deploy (old)"}


class RotateInput(Input):
    overlap_hours = serializers.IntegerField(
        min_value=0, max_value=api_keys.MAX_OVERLAP_HOURS, default=24, help_text="How long the old key goes on working."
    )

    example = {"overlap_hours": 1}


class ApiKeyOut(TypedDict):
    id: Annotated[str, public_id("ak")]
    name: Annotated[str, like("deploy")]
    status: Annotated[str, {"enum": ["active", "expiring", "retiring", "expired", "revoked"]}]
    hint: Annotated[str, like("…3f9a"), "How the key ends."]
    scopes: Annotated[list[str], like(["instances:read", "instances:create"])]
    allowed_cidrs: Annotated[list[str], like(["203.0.113.0/24"]), "Where it may be used from; empty: everywhere."]
    created_by: Annotated[str, public_id("user"), "The user whose role bounds it."]
    created_at: datetime
    expires_at: Annotated[datetime | None, like("2027-02-01T09:30:00Z")]
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None
    last_used_agent: str | None
    key: NotRequired[Annotated[str, like("λ_sk_…"), "The key itself: only in the answer that makes it."]]
    key_ascii: NotRequired[Annotated[str, like("lambda_sk_…"), "The same key for clients that cannot send λ."]]


def representation(key: ApiKey) -> ApiKeyOut:
    return {
        "id": key.public_id,
        "name": key.name,
        "status": key.status,
        "hint": f"…{key.hint}",
        "scopes": key.scopes,
        "allowed_cidrs": key.allowed_cidrs,
        "created_by": key.created_by.public_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "last_used_ip": key.last_used_ip or None,
        "last_used_agent": key.last_used_agent or None,
    }


def _with_secret(key: ApiKey, secret: Secret) -> ApiKeyOut:
    return {**representation(key), "key": secret.key, "key_ascii": secret.key_ascii}


class ApiKeyFilters(Filters):
    status = AnyOf("status_now", lambda: dict(zip(STATUSES, STATUSES, strict=True)), label="One or more, by commas.")
    name = CharFilter(label="Exactly this name.")
    q = CharFilter("name", "icontains", label="What the name contains.")


class ApiKeys(ViewSet):
    """What programs sign in with. A key carries scopes, and never more than its maker has."""

    scopes = {
        "list": "api_keys:read",
        "retrieve": "api_keys:read",
        "create": "api_keys:write",
        "update": "api_keys:write",
        "destroy": "api_keys:write",
        "rotate": "api_keys:write",
    }
    query = {"list": ApiKeyFilters.query()}
    takes = {"create": CreateInput, "update": UpdateInput, "rotate": RotateInput}

    def rows(self, request) -> Any:
        return ApiKey.objects.for_account(request.account)

    def managed(self, request, id: str) -> ApiKey:
        """The key, where the caller may change it."""
        key = self.row(request, id)
        key.insist_on_manager(request.auth.user, request.auth.scopes)
        return key

    def list(self, request) -> Answer[Page[ApiKeyOut]]:
        return Answer(ApiKeyFilters.page(request, self.rows(request).with_status(), representation))

    def retrieve(self, request, id: str) -> Answer[ApiKeyOut]:
        key = self.row(request, id)
        return Answer(representation(key), version=key.version)

    def create(self, request) -> Created[ApiKeyOut]:
        fields = CreateInput.read(request)
        key, secret = api_keys.create(
            account=request.account,
            by=request.by,
            maker=request.auth.user,
            grantable=request.auth.scopes,
            name=fields["name"],
            scopes=fields.get("scopes"),
            expires_at=fields.get("expires_at"),
            never_expires="expires_at" in fields and fields["expires_at"] is None,
            allowed_cidrs=fields.get("allowed_cidrs", ()),
        )
        return Created(_with_secret(key, secret))

    def update(self, request, id: str) -> Answer[ApiKeyOut]:
        key = api_keys.update(key=self.managed(request, id), by=request.by, **UpdateInput.read(request))
        return Answer(representation(key), version=key.version)

    def destroy(self, request, id: str) -> Answer[ApiKeyOut]:
        """Revoke an API key

        It stops at once, everywhere.
        """
        return Answer(representation(api_keys.revoke(key=self.managed(request, id), by=request.by)))

    def rotate(self, request, id: str) -> Created[ApiKeyOut]:
        """Replace an API key

        A successor with the same name, scopes, addresses and length of life. The old key works `overlap_hours` more.
        """
        key, fields = self.managed(request, id), RotateInput.read(request)
        successor, secret = api_keys.rotate(key=key, by=request.by, grantable=request.auth.scopes, **fields)
        return Created(_with_secret(successor, secret))
