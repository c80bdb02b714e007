"""`/v1/events`: what happened in the account, newest first, or as a live feed that misses nothing.

`?after=<event id>` turns the order round: what was committed later, oldest first; `wait` holds the request until there
is something. The last event read is the next request's `after`, whatever crashed in between.
"""

from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypedDict

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from rest_framework.request import Request

from api import waiting
from api.filters import Filters, MomentFilter
from api.pagination import number, sliced
from api.renderers import Answer, Feed, Page, like, public_id
from api.views import ViewSet, one
from core.errors import Invalid, NotFound
from core.events import declared
from core.models import Event


class ActorOut(TypedDict):
    kind: Annotated[str, {"enum": ["user", "api_key", "api_token", "system"]}]
    id: Annotated[str | None, like("user_01m803p6fsep5t56hn7y1dmqyp")]  # of a user, a key, a token
    name: Annotated[str | None, like("Alice")]


class EventOut(TypedDict):
    id: Annotated[str, public_id("evt")]
    type: Annotated[str, like("instance.created")]
    timestamp: datetime
    actor: ActorOut
    via: Annotated[str, like("api"), {"enum": ["api", "dashboard", "admin", "cli", "system"]}]
    request_id: Annotated[str | None, public_id("req")]
    data: Annotated[
        dict[str, Any], like({"instance_id": "inst_01m803p6fsep5t56hn7y1dmqyp", "name": "web-1", "status": "running"})
    ]


class EventTypeOut(TypedDict):
    type: Annotated[str, like("instance.created")]
    description: Annotated[str, like("An instance is up")]


def representation(event: Event) -> EventOut:
    return {
        "id": event.public_id,
        "type": event.type,
        "timestamp": event.at,
        "actor": {"kind": event.actor_kind, "id": event.actor_id or None, "name": event.actor_name or None},
        "via": event.via,
        "request_id": event.request_id or None,
        "data": event.data,
    }


class TypesField(forms.CharField):
    """Event types and patterns such as `instance.*`, separated by commas, as the types that they mean."""

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        found: dict[str, None] = {}
        for pattern in (value or "").split(",") if value else []:
            types = [type for type in declared() if fnmatchcase(type, pattern.strip())]
            if not types:
                allowed = [*declared(), "*", *dict.fromkeys(f"{type.partition('.')[0]}.*" for type in declared())]
                raise ValidationError(f"cannot be '{pattern}': no event type reads so", params={"allowed": allowed})
            found |= dict.fromkeys(types)
        return list(found)


class TypeFilter(django_filters.Filter):
    field_class = TypesField

    def __init__(self) -> None:
        super().__init__("type", "in", label="Types or patterns such as `instance.*`, separated by commas.")


class EventFilters(Filters):
    sorts = {}  # always in the order of the log

    type = TypeFilter()
    created_after = MomentFilter(lookup_expr="gt", field_name="at", label="Happened after this time.")
    created_before = MomentFilter(lookup_expr="lt", field_name="at", label="Happened before this time.")


class Events(ViewSet):
    """What happened in the account: the audit log's public side, what webhooks deliver, and a live feed."""

    scopes = {"list": "events:read", "retrieve": "events:read"}
    query = {
        "list": {
            **EventFilters.query(),
            "after": {"type": "string", "description": "An event's id: answer what came later, oldest first."},
            "wait": {
                "type": "integer",
                "minimum": 1,
                "maximum": waiting.MAX_SECONDS,
                "description": "With `after`: hold the request this many seconds until something happens.",
            },
        }
    }

    def rows(self, request: Any) -> Any:
        return Event.objects.for_account(request.account)

    def list(self, request: Request) -> Answer[Page[EventOut] | Feed[EventOut]]:
        """List events, or follow them."""
        if "after" in request.query_params:
            return Answer(self._feed(request))
        if "wait" in request.query_params:
            raise Invalid.field("wait", "wait needs after: the id of the last event that you have", value=None)
        rows = self.rows(request).committed().order_by("-txid", "-seq")
        return Answer(EventFilters.page(request, rows, representation))

    def _feed(self, request: Any) -> Feed[EventOut]:
        if "page" in request.query_params:
            raise Invalid.field("page", "after takes the place of page: send one of them")
        limit = number(request, "limit", default=20, low=1, high=100)
        seconds = number(request, "wait", default=0, low=1, high=waiting.MAX_SECONDS)
        after = request.query_params["after"]
        last = self._last(request, after)
        rows, _ = EventFilters.select(request, self.rows(request).committed().after(last))
        found = waiting.wait(lambda: list(rows[: limit + 1]) or None, account=request.account.pk, seconds=seconds) or []
        return Feed([representation(event) for event in found[:limit]], limit, after, has_next=len(found) > limit)

    def row(self, request: Request, id: str) -> Any:
        return one(lambda key: self.rows(request).filter(id=key).first(), Event, id)

    def _last(self, request: Request, id: str) -> Any:
        try:
            return self.row(request, id)
        except NotFound:
            raise Invalid.field("after", "after must be the id of an event of this account", value=id[:64]) from None

    def retrieve(self, request: Request, id: str) -> Answer[EventOut]:
        return Answer(representation(self.row(request, id)))


class EventTypes(ViewSet):
    """What can happen, with a line on each: what webhooks can subscribe to."""

    scopes = {"list": "events:read"}
    query = {"list": {"page", "limit"}}

    def list(self, request: Request) -> Answer[Page[EventTypeOut]]:
        rows: list[EventTypeOut] = [{"type": name, "description": text} for name, text in declared().items()]
        return Answer(sliced(request, rows))
