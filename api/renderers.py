"""How answers look: the envelope around a view's plain data, as compact JSON, and the browsable pages."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, TypedDict, TypeVar

import orjson
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.response import Response

from core import context


T = TypeVar("T")


class Answer(Generic[T], Response):
    """What an action answers, with 200. Its annotation is its documentation: `def retrieve(…) -> Answer[InstanceOut]`.

    mypy holds the code to the annotation and `api/openapi.py` publishes it. `Answer[A] | Accepted[A]` is one of two.
    """

    code: ClassVar[int] = 200

    def __init__(self, data: T, headers: dict[str, str] | None = None):
        super().__init__(data, status=self.code, headers=headers)


class Created(Answer[T]):
    """201: there is something new."""

    code = 201


class Accepted(Answer[T]):
    """202: it will be so; until then the data says how it stands."""

    code = 202


class PaginationOut(TypedDict):
    page: int
    limit: int
    total_items: int
    total_pages: int
    has_next: bool
    has_prev: bool


class MetadataOut(TypedDict):
    request_id: Annotated[str, "Also in the X-Request-Id header and in our log."]
    timestamp: Annotated[str, {"format": "date-time"}]


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list: what a list view returns as its data."""

    items: list[T]
    page: int
    limit: int
    total: int

    @property
    def pages(self) -> int:
        return -(-self.total // self.limit)

    def as_json(self) -> PaginationOut:
        return {
            "page": self.page,
            "limit": self.limit,
            "total_items": self.total,
            "total_pages": self.pages,
            "has_next": self.page < self.pages,
            "has_prev": self.page > 1,
        }


def metadata() -> MetadataOut:
    return {"request_id": context.request_id.get(), "timestamp": timestamp(datetime.now(UTC))}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def envelope(data: Any, *, bare: bool = False) -> Any:
    """What goes over the wire for a view's data: errors have their shape already, the bare family has none."""
    if isinstance(data, dict) and data.get("success") is False:
        return data | {"metadata": metadata()}
    if bare:
        return data.items if isinstance(data, Page) else data
    if isinstance(data, Page):
        return {"success": True, "data": data.items, "pagination": data.as_json(), "metadata": metadata()}
    return {"success": True, "data": data, "metadata": metadata()}


def dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # money is a decimal string: a float would lose cents
    raise TypeError(f"{type(value).__name__} has no place in an answer")


class EnvelopeRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8

    def render(self, data, accepted_media_type=None, renderer_context=None) -> bytes:
        view = (renderer_context or {}).get("view")
        return dumps(envelope(data, bare=getattr(view, "bare", False)))


class BrowsableRenderer(BrowsableAPIRenderer):
    """The same answers as a page, for people with a browser."""

    def get_default_renderer(self, view):
        return EnvelopeRenderer()

    def get_rendered_html_form(self, data, view, method, request):
        return None  # the raw JSON form shows exactly what a client would send

    def get_filter_form(self, data, view, request):
        return None

    def get_content(self, renderer, data, accepted_media_type, renderer_context):
        view = renderer_context["view"]
        shown = envelope(data, bare=getattr(view, "bare", False))
        return orjson.dumps(
            shown, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
        ).decode()
