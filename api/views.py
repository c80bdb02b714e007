"""The base of every `/v1` view: who asks, how often, with which scope, and exactly once. In that order."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from api import dry_run, idempotency, limits, preconditions
from api.errors import MESSAGES, RateLimitExceeded, UnknownParameter
from api.middleware import anonymous_key
from api.parsers import RawBody
from api.serializers import Input
from core.errors import Invalid, NotFound


class ViewSet(ViewSetMixin, APIView):
    """A noun's endpoints. `scopes` names the scope of each action: None means any credential, `"public"` none."""

    scopes: ClassVar[dict[str, str | None]]
    bare = False  # True for the family without the envelope
    # The query parameters that each action understands: names described in api/openapi.py, or names with JSON Schemas.
    query: ClassVar[Mapping[str, AbstractSet[str] | Mapping[str, dict[str, Any]]]] = {}
    takes: ClassVar[Mapping[str, type[Input]]] = {}  # the body that each action reads; without one it must be empty
    raw: ClassVar[Mapping[str, RawBody]] = {}  # actions that take bytes instead: `request.data` is them

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "scopes" not in {name for base in cls.__mro__ for name in vars(base)}:
            raise ImproperlyConfigured(f"{cls.__name__} must say which scope each action needs")

    def required_scope(self) -> str | None:
        action = getattr(self, "action", None)
        return self.scopes.get(action or "")

    def understood(self) -> Mapping[str, dict[str, Any]]:
        """The query parameters of this action with their JSON Schemas; an empty one is in `api/openapi.py`."""
        names = self.query.get(getattr(self, "action", "") or "", {})
        found = names if isinstance(names, Mapping) else {name: {} for name in sorted(names)}
        return {**found, "dry_run": dry_run.PARAMETER} if self._creates else found

    @property
    def _creates(self) -> bool:
        return getattr(self, "action", None) == "create"

    def rows(self, request: Request) -> Any:
        """The caller's rows of this noun, among which a path's `id` is looked up. For views whose paths have one."""
        raise NotImplementedError

    def row(self, request: Request, id: str) -> Any:
        """The row with this public id. Raises NotFound, whatever is wrong."""
        return found(self.rows(request), id)

    def locked(self, request: Request) -> Any:
        """The row that the request would change, kept from others until the transaction ends; None for a create."""
        if "id" not in self.kwargs:
            return None
        return found(self.rows(request).select_for_update(of=("self",)), self.kwargs["id"])

    def hourly_price(self, shown: dict[str, Any]) -> Decimal:
        """What a thing that `create` answered costs an hour while it runs, in USD, for the estimate of a dry run."""
        return Decimal(0)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """What this address is and which methods it takes."""
        response = super().options(request, *args, **kwargs)
        response["Allow"] = ", ".join(self.allowed_methods)
        return response

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self._count(request)
        self.check_permissions(request)
        if "\x00" in request.path:
            raise Http404
        action = getattr(self, "action", None)
        if given := request.query_params:
            if any("\x00" in text for pair in given.items() for text in pair):
                raise Invalid("The address contains the NUL character")
            allowed = self.understood() if action else given  # without an action, 405 will say what is wrong
            if unknown := sorted(set(given) - set(allowed)):
                raise UnknownParameter.among(unknown, sorted(allowed))
            if action:
                _refuse_repeated(given, allowed)
        if action is None:
            return
        if request.method in ("POST", "PUT", "PATCH", "DELETE") and action not in {*self.takes, *self.raw}:
            self._refuse_body(request)

    def _refuse_body(self, request: Request) -> None:
        """Nothing may be said where nothing would be heard; of what is not theirs nobody hears even that."""
        try:
            Input.read(request)  # which has no fields
        except Invalid:
            if "id" in self.kwargs:
                self.row(request, self.kwargs["id"])
            raise

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """Most clients take anything, or JSON: they get it without a search."""
        if request.META.get("HTTP_ACCEPT", "*/*") in ("*/*", "application/json"):
            renderer = self.renderer_classes[0]()
            return renderer, renderer.media_type
        return super().perform_content_negotiation(request, force)

    def _count(self, request: Any) -> None:
        """Charge the account, or the address where there is no valid credential: a stranger charges nobody else."""
        plain = request._request
        try:
            credential = plain.credential = request.auth
        except DatabaseError:
            raise  # our trouble, which nobody is charged for
        except Exception:
            request.user = request.auth = None  # else the page that shows the refusal asks again, and is refused too
            plain.rate_decision = limits.limiter().hit(anonymous_key(plain), limits.ANONYMOUS)
            if not plain.rate_decision.allowed:
                raise RateLimitExceeded(plain.rate_decision.retry_after) from None
            raise
        key, limit = (
            (f"account:{credential.account.pk}", credential.rate)
            if credential
            else (anonymous_key(plain), limits.ANONYMOUS)
        )
        plain.rate_decision = limits.limiter().hit(key, limit)
        if not plain.rate_decision.allowed:
            raise RateLimitExceeded(plain.rate_decision.retry_after)
        if credential:
            request.account, request.by = credential.account, credential.by

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """DRF's dispatch, with the handler run as the headers and `dry_run` ask."""
        self.args, self.kwargs = args, kwargs
        request = self.request = self.initialize_request(request, *args, **kwargs)
        self.headers: dict[str, str] = {}
        try:
            self.initial(request, *args, **kwargs)
            method = request.method.lower()
            handler = getattr(self, method, None) if method in self.http_method_names else None
            response: Any = self._run(request, handler or self.http_method_not_allowed)
            response = preconditions.unchanged(request, response) or response
        except Exception as failure:
            response = self.handle_exception(failure)
        self.response = self.finalize_response(request, response, *args, **kwargs)
        return self.response

    def _run(self, request: Request, handler: Callable[..., Any]) -> Any:
        """Only in the version that If-Match names, as a rehearsal, or once for its idempotency key."""

        def act() -> Any:
            return handler(request, *self.args, **self.kwargs)

        def insisting() -> Any:
            wanted = preconditions.insisted(request)
            return act() if wanted is None else preconditions.insist(wanted, lambda: self.locked(request), act)

        if handler == self.http_method_not_allowed:
            return act()
        key = idempotency.key_of(request)
        if self._creates and dry_run.asked(request):
            return dry_run.rehearse(act, self.hourly_price)
        if key is None:
            return insisting()
        response = idempotency.run(key, request, insisting, bare=self.bare)
        response.enveloped = True  # it is final, whatever its status
        return response


def _refuse_repeated(given: Any, allowed: Mapping[str, dict[str, Any]]) -> None:
    """Of two values one would be ignored, and nobody knows which."""
    for name in given:
        if len(values := given.getlist(name)) > 1 and allowed[name].get("type") != "array":
            message = f"{name} may be given once; separate several values by commas"
            raise Invalid.field(name, message, value=values)


def found(rows: Any, public_id: str) -> Any:
    """The row with this public id among `rows`, which must be the caller's own. Raises NotFound, whatever is wrong."""
    return one(lambda key: rows.filter(**{rows.model.key_name: key}).first(), rows.model, public_id)


def one(read: Callable[[Any], Any], model: Any, public_id: str) -> Any:
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

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self._count(request)

    def _run(self, request: Request, handler: Callable[..., Any]) -> Any:
        every = request.build_absolute_uri("/docs")
        raise NotFound(MESSAGES[404][1], suggestion=f"All addresses are at {every}. None ends in a slash.")

    anything = APIView.http_method_not_allowed


unknown = Unknown.as_view(dict.fromkeys(("get", "post", "put", "patch", "delete", "options"), "anything"))
