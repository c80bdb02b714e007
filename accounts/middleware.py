"""Which account a signed-in user acts for, and whether their role may open the page.

Every page of an account that requires a second factor is closed to members without one, until they have set it up.
"""

from collections.abc import Mapping

from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.models import Account, Membership, User
from accounts.models.membership import SECOND_FACTORS

SESSION_KEY = "account"
# What stays open to who must still set up a second factor: doing so, signing out, and what belongs to no account.
OPEN = ("/accounts/", "/admin/", "/docs", "/invitations/")


class AccountMiddleware:
    """Sets `request.account`, `request.by`, `request.membership` and `request.memberships` for signed-in users.

    A dashboard view names the scope that each method needs in `scopes`, in the same words as the API.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest):
        request.membership = request.account = request.by = None
        request.memberships = []
        if request.user.is_authenticated:
            request.memberships = list(Membership.objects.of(request.user))
            chosen = request.session.get(SESSION_KEY)
            request.membership = next((m for m in request.memberships if m.account.public_id == chosen), None) or next(
                iter(request.memberships), None
            )
            request.by = request.user.actor
            if request.membership:
                request.account = request.membership.account
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        kind = getattr(view, "view_class", None)
        if not request.user.is_authenticated:
            return None
        is_open = getattr(kind, "without_factor", False) or request.path.startswith(OPEN)
        if not is_open and lacks_factor(request.user, request.account):
            return redirect("accounts:second_factor")
        insist_on_scope(request, getattr(kind, "scopes", None))
        return None


def lacks_factor(user: User, account: Account | None) -> bool:
    """Whether the account requires a second factor that its member does not have."""
    if account is None or not account.require_mfa:
        return False
    return not Authenticator.objects.filter(user=user, type__in=SECOND_FACTORS).exists()


def insist_on_scope(request: HttpRequest, scopes: Mapping[str, str] | None) -> None:
    """Raises PermissionDenied where the member's role does not have the scope that the method needs."""
    if scopes is None:
        return
    needed = scopes.get(request.method or "", scopes["GET"])
    if request.membership is None or needed not in request.membership.scopes:
        raise PermissionDenied("Your role in this account does not allow this. Ask an owner or admin of the account.")
    if request.method not in ("GET", "HEAD") and request.account.suspended_at:
        raise PermissionDenied(f"The account is suspended: {request.account.suspended_reason}")


def act_for(request: HttpRequest, account: Account) -> None:
    """Show this account from the next page on; nothing is granted by it."""
    request.session[SESSION_KEY] = account.public_id
