"""What only the family without the envelope has: `limit` and `offset`, totals and neighbours in headers, `fields`."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from rest_framework.request import Request

from api.filters import PAGING, Filters
from api.pagination import MAX_LIMIT, MAX_OFFSET, number, part
from api.renderers import Answer, Page
from core.errors import Invalid
from core.models import COUNTED

WINDOW: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50, "description": "How many at most."},
    "offset": {"type": "integer", "minimum": 0, "default": 0, "description": "How many to leave out first."},
}
FIELDS: dict[str, dict[str, Any]] = {
    "fields": {"type": "string", "description": "Which members to show: names separated by commas, or `*` for all."}
}


def window(request: Request) -> tuple[int, int]:
    """(limit, offset) of a bare list."""
    limit = number(request, "limit", default=50, low=1, high=MAX_LIMIT)
    return limit, number(request, "offset", default=0, low=0, high=MAX_OFFSET)


def picked(request: Request, shape: type, default: Iterable[str]) -> list[str]:
    """The members that `fields` names, in the order of `shape`. Raises Invalid for those that it does not have."""
    known = list(shape.__annotations__)
    text = request.query_params.get("fields")
    if text == "*":
        return known
    wanted = [word.strip() for word in text.split(",")] if text is not None else list(default)
    for word in wanted:
        if word not in known:
            message = f"There is no field '{word[:64]}'. Allowed: *, {', '.join(known)}"
            raise Invalid.field("fields", message, value=text, allowed=["*", *known])
    return [name for name in known if name in wanted]


def listed(request: Request, items: list[Any], total: int, *, capped: bool = False) -> Answer[Page[Any]]:
    """A part of a list: its total in `X-Total-Count` (`10000+` where nobody counts on), its neighbours in `Link`."""
    limit, offset = window(request)
    answer = Answer(Page(items, 1, limit, total, capped))
    answer["X-Total-Count"] = f"{total}+" if capped else str(total)
    places = {"prev": max(offset - limit, 0)} if offset else {}
    if offset + limit < total or (capped and len(items) == limit):
        places["next"] = offset + limit
    if places:
        answer["Link"] = ", ".join(f'<{_address(request, limit, at)}>; rel="{name}"' for name, at in places.items())
    return answer


def _address(request: Request, limit: int, offset: int) -> str:
    query = request.query_params.copy()
    query["limit"], query["offset"] = str(limit), str(offset)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


class BareFilters(Filters):
    """The filters of a bare list. `shape` has all that an item may show, `default` what it does by itself."""

    shape: ClassVar[type]
    default: ClassVar[tuple[str, ...]]

    @classmethod
    def query(cls) -> dict[str, dict[str, Any]]:
        narrowing = {name: one for name, one in super().query().items() if name not in PAGING}
        return {**WINDOW, **FIELDS, **narrowing}

    @classmethod
    def asked(cls, request: Any) -> bool:
        return any(name not in (*WINDOW, *FIELDS) for name in request.query_params)

    @classmethod
    def show(cls, request: Any, represent: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
        """How one item is shown: the members asked for, or the default ones."""
        names = picked(request, cls.shape, cls.default)

        def one(row: Any) -> dict[str, Any]:
            whole = represent(row)
            return {name: whole[name] for name in names}

        return one

    @classmethod
    def listing(
        cls, request: Any, rows: Any, represent: Callable[[Any], Any], *, total: Callable[[], int] | None = None
    ) -> Answer[Page[Any]]:
        """The part asked for. `total` counts all rows where nothing narrows them; else they are counted, to COUNTED."""
        limit, offset = window(request)
        show = cls.show(request, represent)
        rows, narrowed = cls.select(request, rows)
        items = [show(row) for row in part(rows, offset, limit)]
        if total and not narrowed:
            return listed(request, items, total())
        count = rows.order_by().values("pk")[: COUNTED + 1].count()
        return listed(request, items, min(count, COUNTED), capped=count > COUNTED)
