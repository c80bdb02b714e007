"""What stands before a page: proving again that it is you, and the second factor that an account requires.

Factors, recovery codes and sessions themselves are pages of django-allauth, with our templates.
"""

from typing import cast

from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views import View

from accounts.middleware import insist_on_scope, lacks_factor
from accounts.models import User


class GuardedView(LoginRequiredMixin, View):
    """A page that shows a new secret: for who signed in within ACCOUNT_REAUTHENTICATION_TIMEOUT, or proves it again."""

    scopes: dict[str, str]

    def dispatch(self, request: HttpRequest, *args, **kwargs) -> HttpResponseBase:
        if request.user.is_authenticated:
            if is_reauthentication_required(request, app="accounts"):
                raise ReauthenticationRequired  # allauth asks, then comes back here with the form as it was sent
            insist_on_scope(request, self.scopes)  # … past the middleware, and the role may have changed meanwhile
        return super().dispatch(request, *args, **kwargs)


class SecondFactor(LoginRequiredMixin, View):
    """Says that the account requires a second factor, and how to set one up."""

    without_factor = True

    def get(self, request: HttpRequest) -> HttpResponse:
        if not lacks_factor(cast(User, request.user), request.account):
            return redirect("home")
        return render(request, "accounts/account/second_factor.html")
