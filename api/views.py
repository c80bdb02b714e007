"""The base of every `/v1` view: who asks, how often, with which scope, and exactly once. In that order."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.http import Http404
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from api import idempotency, limits
from api.errors import RateLimitExceeded, UnknownParameter
from api.middleware import anonymous_key
from api.serializers import Input
from core.errors import Invalid, NotFound


class ViewSet(ViewSetMixin, APIView):
    """A noun's endpoints. `scopes` names the scope of each action: None means any credential, `"public"` none."""

    scopes: ClassVar[dict[str, str | None]]
    bare = False  # True for the family without the envelope
    # The query parameters that each action understands: names described in api/openapi.py, or names with JSON Schemas.
    query: ClassVar[Mapping[str, AbstractSet[str] | Mapping[str, dict[str, Any]]]] = {}
    takes: ClassVar[Mapping[str, type[Input]]] = {}  # the body that each action reads

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "scopes" not in {name for base in cls.__mro__ for name in vars(base)}:
            raise ImproperlyConfigured(f"{cls.__name__} must say which scope each action needs")

    def required_scope(self) -> str | None:
        action = getattr(self, "action", None)
        return self.scopes[action] if action in self.scopes else None

    def initial(self, request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self._count(request)
        self.check_permissions(request)
        if any("\x00" in text for pair in request.query_params.items() for text in pair):
            raise Invalid("The address contains the NUL character")
        allowed = set(self.query.get(getattr(self, "action", "") or "", ()))
        if unknown := sorted(set(request.query_params) - allowed):
            raise UnknownParameter.among(unknown, sorted(allowed))

    def _count(self, request) -> None:
        """Charge the account, or the address where there is no valid credential: a stranger charges nobody else."""
        plain = request._request
        try:
            credential = plain.credential = request.auth
        except Exception:
            plain.rate_decision = limits.limiter().hit(anonymous_key(plain), limits.ANONYMOUS)
            if not plain.rate_decision.allowed:
                raise RateLimitExceeded(plain.rate_decision.retry_after) from None
            raise
        key, limit = (f"account:{credential.account.pk}", credential.rate) if credential else (anonymous_key(plain), limits.ANONYMOUS)
        plain.rate_decision = limits.limiter().hit(key, limit)
        if not plain.rate_decision.allowed:
            raise RateLimitExceeded(plain.rate_decision.retry_after)
        if credential:
            request.account, request.by = credential.account, credential.by

    def dispatch(self, request, *args: Any, **kwargs: Any):
        """DRF's dispatch, with the handler run under its idempotency key where there is one."""
        self.args, self.kwargs = args, kwargs
        request = self.request = self.initialize_request(request, *args, **kwargs)
        self.headers: dict[str, str] = {}
        try:
            self.initial(request, *args, **kwargs)
            known = request.method.lower() in self.http_method_names
            handler = getattr(self, request.method.lower(), None) if known else None
            handler = handler or self.http_method_not_allowed
            key = idempotency.key_of(request)
            if key is not None and handler != self.http_method_not_allowed:
                response: Any = idempotency.run(key, request, lambda: handler(request, *args, **kwargs), bare=self.bare)
                response.enveloped = True
            else:
                response = handler(request, *args, **kwargs)
        except Exception as failure:
            response = self.handle_exception(failure)
        self.response = self.finalize_response(request, response, *args, **kwargs)
        return self.response


def found(rows: Any, public_id: str) -> Any:
    """The row with this public id among `rows`, which must be the caller's own. Raises NotFound, whatever is wrong."""
    return one(lambda key: rows.filter(pk=key).first(), rows.model, public_id)


def one(read: Callable[[UUID], Any], model: Any, public_id: str) -> Any:
    """What `read` finds for the key in a public id. Raises NotFound, whatever is wrong."""
    try:
        row = read(model.key(public_id))
    except ValueError:
        row = None
    if row is None:
        kind = model.kind.replace("_", " ")
        raise NotFound(f"Resource not available: there is no {kind} '{public_id[:64]}' in this account")
    return row


class Unknown(ViewSet):
    """Every `/v1` path that nothing else answers: the same checks, then 404."""

    schema = None  # not a part of the contract
    scopes = {"anything": "public"}

    def initial(self, request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self._count(request)

    def anything(self, request, *args: Any, **kwargs: Any) -> Response:
        raise Http404


unknown = Unknown.as_view({method: "anything" for method in ("get", "post", "put", "patch", "delete", "options")})
