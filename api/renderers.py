"""How answers look: the envelope around a view's data, as compact JSON. Pages for a browser: `browsable.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, NotRequired, TypedDict, TypeVar

import orjson
from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response

from core import context

T = TypeVar("T")

HOURS = 730  # of an average month


def like(example: Any) -> dict[str, Any]:
    """A note for a member of an answer: `Annotated[str, like("web-1")]` shows it in the documentation."""
    return {"examples": [example]}


def public_id(prefix: str) -> dict[str, Any]:
    """The same for an id (see `core/ids.py`)."""
    return like(f"{prefix}_01m803p6fsep5t56hn7y1dmqyp") | {"pattern": f"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"}


class Answer(Generic[T], Response):  # noqa: PYI059  (DRF's Response[…] forgets its parameter)
    """What an action answers, with 200. Its annotation is its documentation: `def retrieve(…) -> Answer[InstanceOut]`.

    mypy holds the code to the annotation and `api/openapi.py` publishes it. `Answer[A] | Accepted[A]` is one of two.
    """

    code: ClassVar[int] = 200

    def __init__(self, data: T, *, version: int | None = None):
        """`version` of the row that is shown becomes the ETag."""
        super().__init__(data, status=self.code, headers={} if version is None else {"ETag": f'"{version}"'})


class Created(Answer[T]):
    """201: there is something new."""

    code = 201


class Accepted(Answer[T]):
    """202: it will be so; until then the data says how it stands."""

    code = 202


class Lines(Generic[T], StreamingHttpResponse):  # noqa: PYI059
    """200: one value a line as JSON (NDJSON), streamed, however many there are. `batches` are of whole lines."""

    code: ClassVar[int] = 200
    media_type: ClassVar[str] = "application/x-ndjson"

    def __init__(self, batches: Iterable[bytes]):
        super().__init__(batches, content_type=self.media_type)


class PaginationOut(TypedDict):
    page: int
    limit: Annotated[int, like(20)]
    total_items: int
    total_pages: int
    has_next: Annotated[bool, like(False)]
    has_prev: Annotated[bool, like(False)]
    total_capped: NotRequired[Annotated[bool, "Present where there are more than total_items."]]


class MetadataOut(TypedDict):
    request_id: Annotated[str, public_id("req"), "Also in the X-Request-Id header and in our log."]
    timestamp: Annotated[str, {"format": "date-time"}]


class FeedOut(TypedDict):
    limit: int
    has_next: bool
    after: Annotated[str, public_id("evt"), "What to ask for next."]


class EstimateOut(TypedDict):
    """What a dry run would cost while it runs: decimals."""

    hourly: Annotated[str, like("0.008")]
    monthly: Annotated[str, like("5.84"), "730 hours."]
    currency: Annotated[str, like("USD")]


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list: what a list view returns as its data. `capped`: there are more than `total`."""

    items: list[T]
    page: int
    limit: int
    total: int
    capped: bool = False

    @property
    def pages(self) -> int:
        return -(-self.total // self.limit)

    def as_json(self) -> PaginationOut:
        shape: PaginationOut = {
            "page": self.page,
            "limit": self.limit,
            "total_items": self.total,
            "total_pages": self.pages,
            "has_next": self.page < self.pages or (self.capped and len(self.items) == self.limit),
            "has_prev": self.page > 1,
        }
        if self.capped:
            shape["total_capped"] = True
        return shape


@dataclass(frozen=True)
class Feed(Generic[T]):
    """The next part of an endless list: what came after `after`, oldest first."""

    items: list[T]
    limit: int
    after: str
    has_next: bool

    def as_json(self) -> FeedOut:
        last = self.items[-1]["id"] if self.items else self.after  # type: ignore[index]
        return {"limit": self.limit, "has_next": self.has_next, "after": last}


@dataclass(frozen=True)
class Rehearsed:
    """What a create would have made, and what that costs an hour."""

    data: dict[str, Any]
    hourly: Decimal

    def estimate(self) -> EstimateOut:
        return {"hourly": money(self.hourly), "monthly": f"{self.hourly * HOURS:.2f}", "currency": "USD"}


def money(amount: Decimal) -> str:
    """A decimal with cents at least and no idle zeros after them: 0.00, 0.0116, 8.47."""
    digits = f"{amount:.12f}".rstrip("0")
    return digits.ljust(digits.index(".") + 3, "0")


def metadata() -> MetadataOut:
    return {"request_id": context.request_id.get(), "timestamp": timestamp(datetime.now(UTC))}


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, `Z`."""
    return f"{moment.astimezone(UTC).isoformat(timespec='seconds')[:19]}Z"


def envelope(data: Any, *, bare: bool = False) -> Any:
    """What goes over the wire for a view's data: errors have their shape already, the bare family has none."""
    if isinstance(data, dict) and data.get("success") is False:
        return data | {"metadata": metadata()}
    if isinstance(data, Rehearsed):
        return {"success": True, "data": data.data, "metadata": metadata() | {"estimate": data.estimate()}}
    if bare:
        return data.items if isinstance(data, Page) else data
    if isinstance(data, Page | Feed):
        return {"success": True, "data": data.items, "pagination": data.as_json(), "metadata": metadata()}
    return {"success": True, "data": data, "metadata": metadata()}


def dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def indented(data: Any, *, bare: bool) -> str:
    """What goes over the wire, for people to read."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
    return orjson.dumps(envelope(data, bare=bare), default=_plain, option=options).decode()


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # money is a decimal string: a float would lose cents
    raise TypeError(f"{type(value).__name__} has no place in an answer")


class EnvelopeRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        view = (renderer_context or {}).get("view")
        return dumps(envelope(data, bare=getattr(view, "bare", False)))
