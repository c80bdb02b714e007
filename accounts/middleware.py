"""Which account a signed-in user acts for, and whether their role may open the page.

Every page of an account that requires a second factor is closed to members without one, until they have set it up.
An operator may look at the dashboard as a member of an account does (`accounts/models/viewing.py`): then every write is
refused here, whatever view it is for, and what belongs to the person and not to the account is closed.
"""

from collections.abc import Mapping

from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.models import Account, Membership, User, Viewing
from accounts.models.membership import SECOND_FACTORS

SESSION_KEY = "account"
VIEWING_KEY = "viewing"
# What stays open to who must still set up a second factor: doing so, signing out, and what belongs to no account.
OPEN = ("/accounts/", "/admin/", "/docs", "/invitations/")
ADMIN = "/admin/"  # where an operator is always themselves
OF_THE_PERSON = ("/accounts/", "/oauth/", "/invitations/")  # passwords, factors, sessions, consent
READS = ("GET", "HEAD", "OPTIONS")


class AccountMiddleware:
    """Sets `request.account`, `by`, `membership`, `memberships` and `viewing` of the request for signed-in users.

    A dashboard view names the scope that each method needs in `scopes`, in the same words as the API.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest):
        request.membership = request.account = request.by = request.viewing = None
        request.viewing_over = False
        request.memberships = []
        if request.user.is_authenticated:
            request.by = request.user.actor
            if not _look_as_another(request):
                request.memberships = list(Membership.objects.of(request.user))
            chosen = request.session.get(SESSION_KEY)
            request.membership = next((m for m in request.memberships if m.account.public_id == chosen), None) or next(
                iter(request.memberships), None
            )
            if request.membership:
                request.account = request.membership.account
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        kind = getattr(view, "view_class", None)
        if not request.user.is_authenticated:
            return None
        insist_on_looking(request, kind)
        is_open = getattr(kind, "without_factor", False) or request.path.startswith(OPEN)
        if not is_open and not request.viewing and lacks_factor(request.user, request.account):
            return redirect("accounts:second_factor")
        insist_on_scope(request, getattr(kind, "scopes", None))
        return None


def _look_as_another(request: HttpRequest) -> bool:
    """Put the member whom the operator looks at, as far as they read, in the operator's place; `by` stays theirs."""
    key = request.session.get(VIEWING_KEY)
    if key is None or request.path.startswith(ADMIN):
        return False
    rows = Viewing.objects.open().select_related("operator", "user", "account__plan")
    viewing = rows.filter(pk=key, operator_id=request.user.pk, operator__is_staff=True).first()
    member = viewing.membership() if viewing else None
    if viewing is None or member is None:
        del request.session[VIEWING_KEY]
        request.viewing_over = True
        return False
    request.viewing, request.user, request.memberships = viewing, member.user, [member]
    return True


def insist_on_looking(request: HttpRequest, kind: type | None) -> None:
    """Raises PermissionDenied while an operator looks as another: for every write, and for the person's own pages."""
    if getattr(kind, "while_viewing", False):
        return
    if request.viewing_over and request.method not in READS:  # a form of what they saw must not act on what is theirs
        raise PermissionDenied("You no longer look at the dashboard as somebody else. Nothing was changed.")
    if not request.viewing:
        return
    whom = f"You are looking at this as {request.user} does"
    if request.method not in READS:
        raise PermissionDenied(f"{whom}, which is read only. Nothing was changed.")
    if request.path.startswith(OF_THE_PERSON):
        raise PermissionDenied(f"{whom}, and this page belongs to them alone.")


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
        if request.viewing:
            raise PermissionDenied(f"You are looking at this as {request.user} does, read only.")
        if request.membership is None:
            raise PermissionDenied("You belong to no account: ask an owner or admin of one to invite you.")
        raise PermissionDenied("Your role in this account does not allow this. Ask an owner or admin of the account.")
    if request.method not in ("GET", "HEAD") and request.account.suspended_at:
        raise PermissionDenied(f"The account is suspended: {request.account.suspended_reason}")


def act_for(request: HttpRequest, account: Account) -> None:
    """Show this account from the next page on; nothing is granted by it."""
    request.session[SESSION_KEY] = account.public_id
