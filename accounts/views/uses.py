"""What an API key or token was used for, as pages show it: sparks, a chart, how requests ended, who still uses it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from accounts.models import ApiKey, HourOfUse, OAuthToken, RecentUse
from accounts.models.use import OUTCOMES, first_hour

# In words, hours of each column, how many columns, and how a column is named.
RANGES = {
    "24h": ("24 hours", 1, 24, "%H:%M"),
    "7d": ("7 days", 6, 28, "%a %d %b, %H:%M"),
    "30d": ("30 days", 24, 30, "%a %d %b"),
}
IN_WORDS = dict(zip(OUTCOMES, ("OK", "Refused", "Rate limited", "Failed"), strict=True))
TONES = dict(zip(OUTCOMES, ("ok", "warn", "quiet", "bad"), strict=True))
LATELY = timedelta(minutes=10)
SHOWN = 10  # of the last requests, unless the address asks for all


def add_sparks(rows: Sequence[ApiKey | OAuthToken]) -> None:
    """Give each row `spark`, its requests of the last seven days by six hours, and `requests`, their sum."""
    _, hours, steps, _ = RANGES["7d"]
    found = HourOfUse.objects.buckets([row.pk for row in rows], hours=hours, steps=steps)
    for row in rows:
        row.spark = [sum(counts.values()) for counts in found.get(row.pk, [])]  # type: ignore[union-attr]
        row.requests = sum(row.spark)  # type: ignore[union-attr]


def usage(request: HttpRequest, row: ApiKey | OAuthToken, recent: Sequence[RecentUse]) -> dict[str, Any]:
    """The chart of the range that the address asks for, how its requests ended, and the `recent` ones by themselves."""
    chosen = request.GET.get("range")
    chosen = chosen if chosen in RANGES else "24h"
    words, hours, steps, form = RANGES[chosen]
    found = HourOfUse.objects.buckets([row.pk], hours=hours, steps=steps).get(row.pk, [])
    counts = found or [dict.fromkeys(OUTCOMES, 0)] * steps
    totals = {name: sum(one[name] for one in counts) for name in OUTCOMES}
    total = sum(totals.values())
    first = first_hour(hours, steps)
    shown = recent if request.GET.get("recent") == "all" else recent[:SHOWN]
    return {
        "range": chosen,
        "ranges": [(slug, label) for slug, (label, *_) in RANGES.items()],
        "span": words,
        "labels": [f"{datetime.fromtimestamp((first + at * hours) * 3600, UTC):{form}}" for at in range(steps)],
        "series": [(IN_WORDS[name], [one[name] for one in counts], TONES[name]) for name in OUTCOMES],
        "total": total,
        "mix": [(IN_WORDS[name], TONES[name], count, share(count, total)) for name, count in totals.items() if count],
        "recent": shown,
        "hidden": len(recent) - len(shown),
    }


def share(part: int, whole: int) -> str:
    """`12 %`; never `0 %` of what is there, nor `100 %` of what is not all."""
    percent = part / whole * 100
    if 0 < percent < 1:
        return "< 1 %"
    return "> 99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def traffic(key: ApiKey, recent: Iterable[RecentUse]) -> dict[str, Any]:
    """Who has used the key within `LATELY`, as far as its last requests tell: what must still be swapped."""
    recent = list(recent)
    uses = [use for use in recent if use.at > timezone.now() - LATELY]
    callers = Counter((use.ip, use.agent) for use in uses)
    return {
        "key": key,
        "uses": len(uses),
        "callers": callers.most_common(5),
        "lately": LATELY.seconds // 60,
        "last": recent[0] if recent else None,
    }
