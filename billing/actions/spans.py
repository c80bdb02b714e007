"""Usage spans: every write. Only what the log says, each meter once, however often it is read."""

from collections.abc import Iterable

from billing.models import UsageSpan
from core.db import atomic_write
from core.events import Meter
from core.models import Event

BATCH = 1000  # events


@atomic_write()
def meter(*, event: Event) -> None:
    """Open or close the spans of an event's meters."""
    _put(_spans(event))


@atomic_write()
def rebuild() -> int:
    """Throw all spans away and read the whole log again, in the order of its commits; answers how many there are."""
    UsageSpan.objects.all().delete()
    for event in Event.objects.exclude(meters=[]).order_by("txid", "seq").iterator(chunk_size=BATCH):
        _put(_spans(event))
    return UsageSpan.objects.count()


def _spans(event: Event) -> list[UsageSpan]:
    assert event.account_id, "a meter is somebody's"
    return [UsageSpan.from_meter(event.account_id, Meter.from_json(kept)) for kept in event.meters]


def _put(spans: Iterable[UsageSpan]) -> None:
    UsageSpan.objects.bulk_create(spans, update_conflicts=True, unique_fields=["id"], update_fields=["used_to"])
