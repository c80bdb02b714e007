"""`/v1/account/members`: who belongs to the caller's account, and who is invited to."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

from django_filters import CharFilter
from rest_framework import serializers

from accounts.actions import members
from accounts.models import Membership
from accounts.models.membership import STATUSES
from api.filters import AnyOf, Filters
from api.renderers import Answer, Created, Page, like, public_id
from api.serializers import Input
from api.views import ViewSet, found

ROLES = Membership.Role.values


class CreateInput(Input):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(ROLES)

    example = {"email": "bob@example.com", "role": "developer"}


class UpdateInput(Input):
    role = serializers.ChoiceField(ROLES)

    example = {"role": "viewer"}


class MemberOut(TypedDict):
    id: Annotated[str, public_id("mem"), "Stays the same when an invitation is accepted."]
    status: Annotated[str, {"enum": STATUSES}, "expired: an invitation that can be resent."]
    email: Annotated[str, like("bob@example.com")]
    name: Annotated[str | None, like("Bob")]
    role: Annotated[str, {"enum": ROLES}]
    user_id: Annotated[str | None, public_id("user"), "None while invited."]
    second_factor: Annotated[bool, "Whether they sign in with a passkey or an authenticator app."]
    invited_by: Annotated[str | None, like("alice@example.com")]
    expires_at: Annotated[datetime | None, "When the invitation ends."]
    created_at: datetime
    updated_at: datetime


def representation(member: Any) -> MemberOut:
    """Of a row of `Reads.for_account`."""
    return {
        "id": member.public_id,
        "status": member.status,
        "email": member.name,
        "name": (member.user.name or None) if member.active else None,
        "role": member.role,
        "user_id": member.user.public_id if member.active else None,
        "second_factor": member.second_factor,
        "invited_by": member.invited_by.email if member.invited_by else None,
        "expires_at": member.expires_at,
        "created_at": member.created_at,
        "updated_at": member.updated_at,
    }


class MemberFilters(Filters):
    sorts = {"created_at": "pk", "email": "address", "role": "role"}

    status = AnyOf("status_now", lambda: dict(zip(STATUSES, STATUSES, strict=True)), label="One or more, by commas.")
    role = AnyOf("role", lambda: dict(zip(ROLES, ROLES, strict=True)), label="One or more, by commas.")
    email = CharFilter("address", "iexact", label="Exactly this address.")
    q = CharFilter("address", "icontains", label="What the address contains.")


class Members(ViewSet):
    """The people of the account. Who is invited is listed with them, and keeps the id when they accept."""

    scopes = {
        "list": "members:read",
        "retrieve": "members:read",
        "create": "members:write",
        "update": "members:write",
        "destroy": "members:write",
        "resend": "members:write",
    }
    query = {"list": MemberFilters.query()}
    takes = {"create": CreateInput, "update": UpdateInput}

    def rows(self, request) -> Any:
        return Membership.with_invited.for_account(request.account)

    def shown(self, request, member: Membership) -> MemberOut:
        return representation(found(self.rows(request), member.public_id))

    def giver(self, request) -> Membership:
        """As whom the credential's user manages others. A credential never outranks its maker."""
        return Membership.objects.select_related("user").get(account=request.account, user=request.auth.user)

    def list(self, request) -> Answer[Page[MemberOut]]:
        return Answer(MemberFilters.page(request, self.rows(request), representation))

    def retrieve(self, request, id: str) -> Answer[MemberOut]:
        member = self.row(request, id)
        return Answer(representation(member), version=member.version)

    def create(self, request) -> Created[MemberOut]:
        """Invite somebody

        They get a mail with a link that works once, for seven days and for that address alone. You can only hand out
        roles that can do no more than your credential, and only an owner makes owners.
        """
        fields = CreateInput.read(request)
        member = members.invite(
            account=request.account, by=request.by, giver=self.giver(request), grantable=request.auth.scopes, **fields
        )
        return Created(self.shown(request, member))

    def update(self, request, id: str) -> Answer[MemberOut]:
        """Change a member's role

        It binds their next request, and that of their keys.
        """
        member = members.change_role(
            member=self.row(request, id),
            by=request.by,
            giver=self.giver(request),
            grantable=request.auth.scopes,
            **UpdateInput.read(request),
        )
        return Answer(self.shown(request, member), version=member.version)

    def destroy(self, request, id: str) -> Answer[MemberOut]:
        """Remove a member, or cancel an invitation

        Their next request is refused, and their keys and tokens for this account are revoked.
        """
        member = self.row(request, id)
        members.remove(member=member, by=request.by, giver=self.giver(request))
        return Answer(representation(member))

    def resend(self, request, id: str) -> Answer[MemberOut]:
        """Send an invitation again

        With a new link for seven more days; the old one stops working.
        """
        return Answer(self.shown(request, members.resend(member=self.row(request, id), by=request.by)))
