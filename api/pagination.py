"""Pages of lists: `page` and `limit` for the enveloped family, `limit` and `offset` for the bare one."""

from typing import Any, TypeVar

from rest_framework.request import Request

from api.renderers import Page
from core.errors import FieldError, Invalid

MAX_LIMIT = 100
MAX_OFFSET = 10_000_000
DEEP = 1000  # rows to skip
T = TypeVar("T")


def number(request: Request, name: str, *, default: int, low: int, high: int) -> int:
    """A whole number from the query. Raises Invalid, saying the range."""
    text = request.query_params.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    value = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 12 else None
    if value is None or not low <= value <= high:
        error = FieldError(name, f"{name} must be a whole number from {low} to {high}", text)
        raise Invalid(errors=[error], minimum=low, maximum=high)
    return value


def page(request: Request) -> tuple[int, int]:
    """(page, limit) of an enveloped list."""
    limit = number(request, "limit", default=20, low=1, high=MAX_LIMIT)
    return number(request, "page", default=1, low=1, high=MAX_OFFSET // limit), limit


def sliced(request: Request, rows: list[T]) -> Page[T]:
    """The page asked for of a list that is all there."""
    number, limit = page(request)
    return Page(rows[(number - 1) * limit : number * limit], number, limit, len(rows))


def cut(queryset: Any, page: int, limit: int) -> Any:
    """The rows of a page."""
    return part(queryset, (page - 1) * limit, limit)


def part(queryset: Any, start: int, limit: int) -> Any:
    """`limit` rows after the first `start`. Deep in a list it skips over keys alone, which are in the index."""
    if start < DEEP:
        return queryset[start : start + limit]
    return queryset.filter(pk__in=queryset.values("pk")[start : start + limit])
