"""What a credential must carry for a view's action. Which credential it is, `accounts` decides."""

from typing import Any, Protocol

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from api.errors import AuthenticationFailed, InsufficientScope
from api.limits import Limit
from core.context import Actor
from core.errors import NotAllowed


class AccountSuspended(NotAllowed):
    code = "account_suspended"


class Credential(Protocol):
    """What an authentication class leaves in `request.auth`, whatever kind of credential it found."""

    account: Any
    by: Actor
    user: Any  # for whom it acts
    scopes: frozenset[str]
    rate: Limit
    headers: dict[str, str]  # sent with every answer, e.g. when the credential expires


class HasScope(BasePermission):
    """A view names the scope of each action in `scopes`; None means any credential, `"public"` none at all."""

    def has_permission(self, request: Request, view: Any) -> bool:
        required = view.required_scope()
        credential: Credential | None = request.auth  # type: ignore[assignment]  # ours, not DRF's Token
        if required == "public":
            return True
        if credential is None:
            raise AuthenticationFailed(suggestion="Send 'Authorization: Bearer λ_sk_…' or 'X-API-Key: λ_sk_…'.")
        if required and required not in credential.scopes:
            raise InsufficientScope(required, sorted(credential.scopes))
        if request.method not in ("GET", "HEAD", "OPTIONS") and credential.account.suspended_at:
            raise AccountSuspended(
                f"The account is suspended: {credential.account.suspended_reason or 'ask the operator why'}",
                suggestion="Reading still works. Ask the operator of this Lambda to resume the account.",
            )
        return True
