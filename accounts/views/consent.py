"""/oauth/authorize: a person reads what an app wants to do, and says yes or no."""

import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views import View
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.views.mixins import OAuthLibMixin
from oauthlib.oauth2.rfc6749 import errors

from accounts.middleware import lacks_factor
from accounts.models import Membership, OAuthApp
from accounts.models.oauth_token import FAMILY_LIFE
from accounts.views.permissions import in_words

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # an SHA-256 in base64url


class Authorize(LoginRequiredMixin, OAuthLibMixin, View):
    def dispatch(self, request: HttpRequest, *args, **kwargs) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except OAuthToolkitError as refused:
            return self._refuse(request, refused)
        except ValueError as wrong:  # oauthlib's word for a query that is none
            return _explain(request, str(wrong))

    def get(self, request: HttpRequest) -> HttpResponse:
        scopes, credentials = self._asked(request)
        app = credentials["request"].client
        context = {
            "app": app,
            "wanted": in_words([scope for scope in scopes if _allowed(request, scope)]),
            "beyond": in_words([scope for scope in scopes if not _allowed(request, scope)]),
            "memberships": request.memberships,
            "returns_to": urlsplit(credentials["redirect_uri"]).netloc or urlsplit(credentials["redirect_uri"]).scheme,
            "days": FAMILY_LIFE.days,
        }
        response = render(request, "accounts/oauth/consent.html", context)
        # A browser holds the redirect after a form to the policy of the page with the form.
        response._csp_update = {"form-action": [_source(credentials["redirect_uri"])]}
        response["Cache-Control"] = "no-store"
        return response

    def post(self, request: HttpRequest) -> HttpResponse:
        scopes, credentials = self._asked(request)
        app = credentials.pop("request").client
        member = chosen(request)
        granted = [scope for scope in scopes if member and scope in member.scopes]
        allow = "allow" in request.POST and bool(granted) and member is not None and not member.account.suspended_at
        uri, *_ = self.create_authorization_response(
            request,
            scopes=" ".join(granted or scopes),
            credentials=credentials | {"account": member and member.account},
            allow=allow,
        )
        return OAuth2ResponseRedirect(uri, app.get_allowed_schemes())

    def _asked(self, request: HttpRequest) -> tuple[list[str], dict[str, Any]]:
        """The scopes and parameters of a request that is in order. Raises OAuthToolkitError."""
        scopes, credentials = self.validate_authorization_request(request)
        challenge = credentials.get("code_challenge") or ""
        if credentials.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
            wrong = errors.InvalidRequestError("code_challenge_method must be S256", state=credentials.get("state"))
            raise OAuthToolkitError(error=wrong, redirect_uri=credentials["redirect_uri"])
        return scopes, credentials

    def _refuse(self, request: HttpRequest, refused: OAuthToolkitError) -> HttpResponse:
        """Back to the app, which is told; but where app or address cannot be trusted, the person is told instead."""
        error = refused.oauthlib_error
        if isinstance(refused, FatalClientError) or not error.redirect_uri:
            return _explain(request, error.description or error.error)
        app = OAuthApp.objects.get(client_id=error.client_id or request.GET["client_id"])
        mark = "&" if "?" in error.redirect_uri else "?"
        told = f"{error.urlencoded}&{urlencode({'iss': settings.LAMBDA_BASE_URL})}"  # RFC 9207, of refusals as well
        return OAuth2ResponseRedirect(f"{error.redirect_uri}{mark}{told}", app.get_allowed_schemes())


def chosen(request: HttpRequest) -> Membership | None:
    """The membership that the person chose on the page: for that account the app will act. None: not for that one."""
    wanted = request.POST.get("account")
    found = next((member for member in request.memberships if member.account.public_id == wanted), request.membership)
    # The middleware looked at the account of the session, which may be another.
    return None if found is None or lacks_factor(found.user, found.account) else found


def _allowed(request: HttpRequest, scope: str) -> bool:
    return request.membership is not None and scope in request.membership.scopes


def _source(uri: str) -> str:
    """An address as a policy names it."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _explain(request: HttpRequest, why: str) -> HttpResponse:
    return render(request, "accounts/oauth/refused.html", {"why": why}, status=400)
