"""The outermost layer: request ids for everything, and for `/v1` the guarantees that no view can give.

Whatever goes wrong outside the views (a host not allowed, a broken path, a crash) still leaves in the one error
shape with the contract's headers. Views do the rest: see `api/views.py`.
"""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, resolve

from api import errors, limits
from api.parsers import MAX_BYTES
from api.renderers import dumps, envelope
from core import context, ids
from core.errors import Invalid, LambdaError, NotAllowed

BODILESS = {204, 304}
Handler = Callable[[HttpRequest], HttpResponse]


class HttpsRequired(NotAllowed):
    code = "https_required"


def is_api(request: HttpRequest) -> bool:
    return request.path_info == "/v1" or request.path_info.startswith("/v1/")


def client_ip(request: HttpRequest) -> str:
    """The caller's address: the socket's, or what trusted proxies say in X-Forwarded-For."""
    address = request.META.get("REMOTE_ADDR") or "127.0.0.1"  # a unix socket has no address
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while _trusted(address) and forwarded and forwarded[-1].strip():
        address = forwarded.pop().strip()
    return _plain(address) or request.META.get("REMOTE_ADDR") or "127.0.0.1"


@lru_cache(maxsize=4096)
def _plain(address: str) -> str | None:
    """An address in its one spelling; None where it is none."""
    try:
        found = ip_address(address.partition("%")[0])  # a link-local address names the network card, which is ours
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)


@lru_cache(maxsize=4096)
def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


def _trusted(address: str) -> bool:
    plain = _plain(address)
    if plain is None:
        return False
    return any(ip_address(plain) in ip_network(cidr) for cidr in settings.LAMBDA_TRUSTED_PROXIES)


def is_secure(request: HttpRequest) -> bool:
    """HTTPS, by the socket or by a trusted proxy's word; on a developer's own machine loopback is safe enough."""
    if request.scheme == "https":  # which `RequestIdMiddleware` has set where a trusted proxy says so
        return True
    if _trusted(request.META.get("REMOTE_ADDR", "")):
        return False
    return not settings.LAMBDA_REQUIRE_HTTPS and _is_loopback(request.client_ip)


class RequestIdMiddleware:
    """Gives each request an id that its log lines, headers, body and events share."""

    def __init__(self, get_response: Handler):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = ids.encode("req", ids.new())
        request.client_ip = client_ip(request)
        if _trusted(request.META.get("REMOTE_ADDR", "")) and request.META.get("HTTP_X_FORWARDED_PROTO") == "https":
            request.META["wsgi.url_scheme"] = "https"  # for everyone who asks: HSTS, CSRF, links in mails
        admin = request.path_info.startswith("/admin/")
        through = "api" if is_api(request) else "admin" if admin else "dashboard"
        with context.acting(through=through, request=request.request_id, address=request.client_ip):
            response = self.get_response(request)
        response["X-Request-Id"] = request.request_id
        if request.method == "HEAD" and not response.streaming:
            response.content = b""  # the length stays; the server would log of each that it drops the rest
        return response


class ApiMiddleware:
    """Where `/v1` leaves the dashboard's path: a client with a key needs no session, no CSRF and no messages.

    Only a browser goes on, for the browsable API. It stands before the middleware that guards pages, so it says itself
    what of that is about JSON too.
    """

    def __init__(self, get_response: Handler):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_api(request):
            return self.get_response(request)
        try:
            response = self._answer(request)
        except Exception as failure:  # outside of what the views catch, e.g. an answer that cannot be written as JSON
            response = refuse(errors.known(failure))
        if response.status_code >= 400 and not getattr(response, "data", None) and not hasattr(response, "enveloped"):
            response = refuse(_meaning(response), response.status_code)
        self._add_limits(request, response)
        if note_use := getattr(request, "note_use", None):  # set where a credential was recognised, refused or not
            note_use(request, response)
        response.setdefault("Cache-Control", "no-store")
        response["X-Content-Type-Options"] = "nosniff"
        if settings.SECURE_HSTS_SECONDS and request.is_secure():
            response["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}"
        if not response.streaming and response.status_code not in BODILESS:
            response["Content-Length"] = str(len(response.content))  # without it the server would send chunks
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if not is_secure(request):
            return refuse(
                HttpsRequired(
                    "API requests must be made over HTTPS: this one was sent in the clear",
                    suggestion="Use https://. If the request carried a key, rotate it: others may have read it.",
                )
            )
        try:
            request.get_host()
        except DisallowedHost:
            suggestion = f"Use {settings.LAMBDA_BASE_URL}"
            return refuse(Invalid("This Lambda does not answer under that host name", suggestion=suggestion))
        _measure(request)
        if _from_a_browser(request):
            return self.get_response(request)
        match = request.resolver_match = _resolved(request.path_info, settings.ROOT_URLCONF)
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return response.render() if isinstance(response, SimpleTemplateResponse) else response

    def _add_limits(self, request: HttpRequest, response: HttpResponse) -> None:
        """A request that no view counted is charged to its address."""
        decision = getattr(request, "rate_decision", None)
        if decision is None:
            decision = limits.limiter().hit(anonymous_key(request), limits.ANONYMOUS)
        response["X-RateLimit-Limit"] = str(decision.limit)
        response["X-RateLimit-Remaining"] = str(decision.remaining)
        response["X-RateLimit-Reset"] = str(decision.reset)
        credential = getattr(request, "credential", None)
        for name, value in (credential.headers if credential else {}).items():
            response[name] = value


@lru_cache(maxsize=4096)
def _resolved(path: str, urlconf: str) -> ResolverMatch:
    """The view of a path. Clients ask for the same few again and again, and resolving takes longer than remembering."""
    return resolve(path, urlconf)


def _from_a_browser(request: HttpRequest) -> bool:
    """A page needs the dashboard's headers, above all its CSP; a signed-in user without a key needs the session."""
    if "text/html" in request.META.get("HTTP_ACCEPT", ""):
        return True
    keyed = "HTTP_AUTHORIZATION" in request.META or "HTTP_X_API_KEY" in request.META
    return not keyed and settings.SESSION_COOKIE_NAME in request.COOKIES


def _measure(request: HttpRequest) -> None:
    """Give a chunked body its length: Django reads none without, though the server knows where it ends."""
    chunked = request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    if chunked and request.META.get("wsgi.input_terminated"):
        try:
            body = request.META["wsgi.input"].read(MAX_BYTES + 1)
        except Exception as broken:  # each server has its own words for chunks that are none
            raise UnreadablePostError(*broken.args) from broken
        request.META["CONTENT_LENGTH"] = str(len(body))
        request._stream = BytesIO(body)


def anonymous_key(request: HttpRequest) -> str:
    """One bucket per address; an IPv6 customer has a whole /64, so that is one too."""
    address = ip_address(request.client_ip)
    return f"ip:{ip_network((address, 64), strict=False)}" if address.version == 6 else f"ip:{address}"


def refuse(error: LambdaError, status: int | None = None) -> HttpResponse:
    """The error shape from outside a view."""
    body = dumps(envelope({"success": False, "error": errors.body(error)}))
    response = HttpResponse(body, content_type="application/json", status=status or errors.STATUS[error.code])
    for name, value in errors.headers(error).items():
        response[name] = value
    response.enveloped = True
    return response


def _meaning(response: HttpResponse) -> LambdaError:
    """What an HTML error page of the framework would have said."""
    status = (
        response.status_code
        if response.status_code in errors.MESSAGES
        else (400 if response.status_code < 500 else 500)
    )
    code, message = errors.MESSAGES[status]
    error = LambdaError(message)
    error.code = code
    return error
