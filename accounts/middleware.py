"""Which account a signed-in user acts for, and whether their role may open the page."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.models import Membership

SESSION_KEY = "account"


class AccountMiddleware:
    """Sets `request.account`, `request.by` and `request.membership` for signed-in users.

    A dashboard view names the scope that each method needs in `scopes`, in the same words as the API.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest):
        request.membership = request.account = request.by = None
        if request.user.is_authenticated:
            memberships = list(Membership.objects.of(request.user))
            chosen = request.session.get(SESSION_KEY)
            request.membership = next((m for m in memberships if m.account.public_id == chosen), None) or next(
                iter(memberships), None
            )
            request.by = request.user.actor
            if request.membership:
                request.account = request.membership.account
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> None:
        scopes = getattr(getattr(view, "view_class", None), "scopes", None)
        if scopes is None or not request.user.is_authenticated:
            return
        needed = scopes.get(request.method, scopes.get("GET"))
        if request.membership is None or needed not in request.membership.scopes:
            raise PermissionDenied("Your role in this account does not allow this. Ask an owner or admin of the account.")
        if request.method not in ("GET", "HEAD") and request.account.suspended_at:
            raise PermissionDenied(f"The account is suspended: {request.account.suspended_reason}")
