"""The OAuth endpoints that programs call: token, revoke, introspect, device authorization, metadata. JSON, no session.

oauthlib checks what is asked, `accounts/oauth.py` answers it. What people see is in `consent.py` and `device.py`.
"""

import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.views.mixins import OAuthLibMixin
from oauthlib.common import Request, generate_token
from oauthlib.oauth2 import OAuth2Error
from oauthlib.oauth2.rfc6749 import errors

from accounts.actions import oauth_codes
from accounts.models.oauth_code import DEVICE_LIFE, POLL
from accounts.oauth import ALLOWED, Validator
from accounts.scopes import SCOPES
from api import limits
from api.middleware import anonymous_key, is_secure

# By address: every answer writes rows, and asking for a device code takes no proof at all.
CALLS = limits.Limit(hour=3600, burst=300)
DEVICES = limits.Limit(hour=300, burst=60)
METHODS = ["client_secret_basic", "client_secret_post"]


@method_decorator(csrf_exempt, name="dispatch")
class Endpoint(OAuthLibMixin, View):
    """Never in the clear, never cached, and every refusal in the shape of RFC 6749."""

    http_method_names = ["post", "options"]
    limit = CALLS

    def dispatch(self, request: HttpRequest, *args, **kwargs) -> HttpResponseBase:
        try:
            if not is_secure(request):
                raise errors.InvalidRequestError("Use HTTPS. If a secret was sent, change it: others may have read it")
            decision = limits.limiter().hit(f"{type(self).__name__}:{anonymous_key(request)}", self.limit)
            if not decision.allowed:
                return _wait(decision.retry_after)
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        except OAuth2Error as refused:
            response = answer(refused.headers, refused.json, refused.status_code)
        except ValueError as wrong:  # oauthlib's word for a query or body that is no form
            response = answer({}, errors.InvalidRequestError(str(wrong)).json, 400)
        response["Cache-Control"] = "no-store"
        return response


class Token(Endpoint):
    def post(self, request: HttpRequest) -> HttpResponse:
        _, headers, body, status = self.create_token_response(request)
        return answer(headers, body, status)


class Revoke(Endpoint):
    def post(self, request: HttpRequest) -> HttpResponse:
        _, headers, body, status = self.create_revocation_response(request)
        return answer(headers, body, status)


class Introspect(Endpoint):
    def post(self, request: HttpRequest) -> HttpResponse:
        core = self.get_oauthlib_core()
        return answer(*core.server.create_introspect_response(*core._extract_params(request)))


class DeviceAuthorization(Endpoint):
    """RFC 8628: a code for the device, and one for its owner to type."""

    limit = DEVICES

    def post(self, request: HttpRequest) -> HttpResponse:
        core, validator = self.get_oauthlib_core(), Validator()
        asked = Request(*core._extract_params(request))
        if not validator.validate_client_id(asked.client_id or "", asked):
            raise errors.InvalidClientError(request=asked)
        if validator.client_authentication_required(asked) and not validator.authenticate_client(asked):
            raise errors.InvalidClientError(request=asked)
        if asked.client.authorization_grant_type not in ALLOWED["urn:ietf:params:oauth:grant-type:device_code"]:
            raise errors.UnauthorizedClientError(request=asked)
        wanted = (asked.scope or "").split() or validator.get_default_scopes(asked.client_id, asked)
        if not validator.validate_scopes(asked.client_id, wanted, asked.client, asked):
            raise errors.InvalidScopeError(request=asked)
        device_code = generate_token(43)
        device = oauth_codes.begin_device(app=asked.client, device_code=device_code, scopes=asked.scopes)
        page = settings.LAMBDA_BASE_URL + reverse("accounts:device")
        return JsonResponse(
            {
                "device_code": device_code,
                "user_code": device.user_code,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={device.user_code}",
                "expires_in": int(DEVICE_LIFE.total_seconds()),
                "interval": int(POLL.total_seconds()),
            }
        )


def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414: where everything is, and what it can."""

    def address(name: str) -> str:
        return settings.LAMBDA_BASE_URL + reverse(f"accounts:{name}")

    response = JsonResponse(
        {
            "issuer": settings.LAMBDA_BASE_URL,
            "authorization_endpoint": address("authorize"),
            "token_endpoint": address("token"),
            "device_authorization_endpoint": address("device_authorization"),
            "revocation_endpoint": address("oauth_revoke"),
            "introspection_endpoint": address("introspect"),
            "scopes_supported": SCOPES,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": list(ALLOWED),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [*METHODS, "none"],
            "revocation_endpoint_auth_methods_supported": [*METHODS, "none"],
            "introspection_endpoint_auth_methods_supported": METHODS,
            "authorization_response_iss_parameter_supported": True,
            "service_documentation": f"{settings.LAMBDA_BASE_URL}/docs",
        }
    )
    response["Access-Control-Allow-Origin"] = "*"
    return response


def _wait(seconds: int) -> HttpResponse:
    """What RFC 6749 says where HTTP says 429."""
    told = {
        "error": "temporarily_unavailable",
        "error_description": f"Too many requests. Retry after {seconds} seconds.",
    }
    return answer({"Retry-After": str(seconds), "Cache-Control": "no-store"}, told, 429)


def answer(headers: dict[str, str], body: str | dict | None, status: int) -> HttpResponse:
    text = body if isinstance(body, str) else json.dumps(body or {})
    response = HttpResponse(text, status=status, content_type="application/json")
    for name, value in headers.items():
        response[name] = value
    return response
