"""The one error shape, and which status each code has. Everything a client can meet on `/v1` ends here."""

import logging
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.response import Response

from core.errors import Conflict, FieldError, Invalid, LambdaError, LimitExceeded, NotAllowed, NotFound, Unavailable

log = logging.getLogger(__name__)

MAX_SHOWN = 500  # characters of a wrong value

STATUS = {
    "invalid_request": 400,
    "invalid_json": 400,
    "unknown_parameter": 400,
    "authentication_failed": 401,
    "token_expired": 401,
    "key_revoked": 401,
    "budget_exceeded": 402,
    "forbidden": 403,
    "insufficient_scope": 403,
    "quota_exceeded": 403,
    "https_required": 403,
    "ip_not_allowed": 403,
    "account_suspended": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "wait_timeout": 408,
    "invalid_state": 409,
    "conflict": 409,
    "resource_in_use": 409,
    "protected": 409,
    "insufficient_capacity": 409,
    "idempotency_in_progress": 409,
    "gone": 410,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "rate_limit_exceeded": 429,
    "concurrency_exceeded": 429,
    "server_error": 500,
    "service_unavailable": 503,
}
# What each status of a refusal means to the reader of the documentation; 405 and 410 belong to no operation yet.
REFUSALS = {
    400: "The request says something that cannot be",
    401: "No valid credential",
    402: "The budget is used up",
    403: "The credential may not do this",
    404: "There is no such thing in this account",
    406: "The answer cannot be given in the format asked for",
    408: "It did not happen in time",
    409: "Not in this state",
    412: "It was changed in the meantime",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The Idempotency-Key was used with another request",
    429: "Too many requests",
    500: "A fault on our side",
    503: "Not available for the moment",
}
# What each HTTP status means when nothing more is known, in the words of the document.
MESSAGES = {
    400: ("invalid_request", "Malformed request"),
    401: ("authentication_failed", "Invalid or missing API token"),
    403: ("forbidden", "Insufficient permissions"),
    404: ("not_found", "Resource not available: there is nothing at this address"),
    405: ("method_not_allowed", "This address does not take that method"),
    413: ("payload_too_large", "The request body is too large"),
    500: ("server_error", "Something went wrong on our side. The request id finds it in our log"),
    503: ("service_unavailable", "The service is not available for the moment"),
}
CHALLENGE = 'Bearer realm="lambda"'


class InvalidJson(Invalid):
    """The body is not the JSON it should be."""

    code = "invalid_json"

    def __init__(self, why: str):
        super().__init__(f"Invalid JSON in request body: {why}")


class UnknownParameter(Invalid):
    """A name that this address does not know: silently ignoring it would hide a mistake."""

    code = "unknown_parameter"

    @classmethod
    def among(cls, unknown: list[str], allowed: list[str], *, what: str = "parameter") -> "UnknownParameter":
        known = ", ".join(allowed) or "none"
        sentences = {name: f"Unknown {what} '{name}'. Allowed: {known}" for name in unknown}
        return cls(errors=[FieldError(name, sentence, None, allowed) for name, sentence in sentences.items()])


class PayloadTooLarge(LambdaError):
    code = "payload_too_large"


class UnsupportedMediaType(LambdaError):
    code = "unsupported_media_type"


class AuthenticationFailed(LambdaError):
    """No credential, or none that is valid. `code` may be token_expired or key_revoked."""

    def __init__(self, why: str = "", *, code: str = "authentication_failed", suggestion: str = ""):
        self.code = code
        super().__init__("Invalid or missing API token" + (f": {why}" if why else ""), suggestion=suggestion)


class InsufficientScope(NotAllowed):
    code = "insufficient_scope"

    def __init__(self, required: str, granted: list[str]):
        self.required_scopes = [required]
        super().__init__(
            f"Insufficient permissions: this needs the scope {required}",
            suggestion=f"Use a key that has {required}, or make one at Settings → API Keys.",
            required_scopes=[required],
            granted_scopes=granted,
        )


class RateLimitExceeded(LimitExceeded):
    code = "rate_limit_exceeded"

    def __init__(self, retry_after: int):
        super().__init__(f"Rate limit exceeded. Retry after {retry_after} seconds.")
        self.retry_after = retry_after


def body(error: LambdaError) -> dict[str, Any]:
    """The `error` member for a refusal."""
    details = dict(error.details)
    if isinstance(error, Invalid) and error.errors:
        details |= _fields(error.errors)
    shape: dict[str, Any] = {"code": error.code, "message": error.message}
    if details:
        shape["details"] = details
    for name in ("retry_after", "required_scopes", "suggestion"):
        if value := getattr(error, name, None):
            shape[name] = value
    return shape


def _fields(errors: list[FieldError]) -> dict[str, Any]:
    """The first error's members, and of each its own. What a field allows is listed with its first error only."""

    def one(error: FieldError) -> dict[str, Any]:
        allowed = error.allowed_values if error.field not in told else None
        told.add(error.field)
        shape = {"field": error.field, "value": _shortened(error.value)}
        return shape | ({"allowed_values": allowed} if allowed is not None else {})

    told: set[str] = set()
    listed = [one(error) | {"message": error.message} for error in errors]
    return {name: value for name, value in listed[0].items() if name != "message"} | {"errors": listed}


def _shortened(value: Any) -> Any:
    """A value as it was sent; of a long one the beginning, as text: an answer is not to be a copy of its request."""
    text = (
        value if isinstance(value, str) else orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    )
    return value if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def headers(error: LambdaError) -> dict[str, str]:
    """The headers that belong to a refusal."""
    found = {}
    if STATUS[error.code] == 401:
        missing = error.code == "authentication_failed"
        found["WWW-Authenticate"] = CHALLENGE if missing else f'{CHALLENGE}, error="invalid_token"'
    if retry_after := getattr(error, "retry_after", None):
        found["Retry-After"] = str(retry_after)
    return found


def known(failure: Exception) -> LambdaError:
    """What any exception means to a client. An unforeseen one is logged with its trace and tells nothing."""
    match failure:
        case LambdaError():
            return failure
        case Http404() | drf.NotFound():
            return NotFound(MESSAGES[404][1])
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return AuthenticationFailed()
        case PermissionDenied() | drf.PermissionDenied():
            return NotAllowed(str(failure) or MESSAGES[403][1])
        case drf.MethodNotAllowed() | drf.NotAcceptable() | drf.UnsupportedMediaType():
            error = LambdaError(str(failure.detail))
            error.code = failure.default_code
            return error
        case RequestDataTooBig():
            return PayloadTooLarge(MESSAGES[413][1])
        case drf.ParseError():
            return InvalidJson(str(failure.detail))
        case UnreadablePostError():
            return Invalid("Malformed request: the body broke off or is not framed as its headers say")
        case SuspiciousOperation():
            return Invalid(MESSAGES[400][1])
        case OperationalError() | InterfaceError():
            log.warning("the database is not available", exc_info=failure)
            return Unavailable(MESSAGES[503][1])
    log.error("unforeseen", exc_info=failure)
    return LambdaError(MESSAGES[500][1])


def exception_handler(failure: Exception, context: dict[str, Any]) -> Response:
    """DRF's hook: every exception of a view becomes the one error shape."""
    error = known(failure)
    extra = headers(error)
    if isinstance(failure, drf.MethodNotAllowed):
        extra["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response({"success": False, "error": body(error)}, status=STATUS[error.code], headers=extra)


__all__ = ["Conflict", "NotAllowed", "NotFound", "Unavailable", "body", "exception_handler", "headers", "known"]
