"""`/v1/usage`: what a month came to so far, in the second document's words."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, TypedDict

from django.utils import timezone

from api.bare import FIELDS, picked
from api.renderers import Answer, like
from api.views import ViewSet
from billing.models import UsageSpan
from catalog.models.price import month_of
from core import usage
from core.errors import Invalid

EXECUTIONS = "function.executions"  # what functions count their executions as, however they ended


class UsageOut(TypedDict):
    total_executions: Annotated[int, like(14_203), "Of functions, failed ones included."]
    gigabytes_hour: Annotated[str, like("42.3 GBh"), "Memory × hours, e.g. `42.3 GBh`."]
    current_month_cost: Annotated[str, like("$2,345.00"), "E.g. `$2,345.00`."]


class Usage(ViewSet):
    """What the account used in a month (UTC), and what that costs."""

    scopes = {"retrieve": "billing:read"}
    query = {
        "retrieve": {
            **FIELDS,
            "month": {
                "type": "string",
                "pattern": r"^\d{4}-(0[1-9]|1[0-2])$",
                "description": "As `2026-01`. Default: the current one.",
            },
        }
    }
    bare = True

    def retrieve(self, request) -> Answer[UsageOut]:
        """Get a month's usage."""
        names, now = picked(request, UsageOut, UsageOut.__annotations__), timezone.now()
        start, end = _month(request.query_params.get("month"), now)
        end = min(end, now)
        executions = hours = total = Decimal(0)
        for span in UsageSpan.objects.of(request.account.pk, start, end).iterator(chunk_size=1000):
            total += span.cost(start, end)
            hours += span.gigabyte_hours(start, end)
        for counted in usage.read(request.account.pk, start, end):
            total += counted.cost
            hours += counted.gigabyte_hours
            executions += counted.quantity if counted.sku == EXECUTIONS else 0
        whole: Any = {
            "total_executions": int(executions),
            "gigabytes_hour": f"{hours.quantize(Decimal('0.1'), ROUND_HALF_UP):,} GBh",
            "current_month_cost": f"${total.quantize(Decimal('0.01'), ROUND_HALF_UP):,}",
        }
        shown: Any = {name: whole[name] for name in names}
        return Answer(shown)


def _month(text: str | None, now: datetime) -> tuple[datetime, datetime]:
    """First and last moment of a month. Raises Invalid."""
    start = month_of(now)
    if text is not None:
        found = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
        if not found or not 1970 <= int(found[1]) <= 9000:
            raise Invalid.field("month", "month must read like 2026-01", value=text)
        start = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    return start, start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
