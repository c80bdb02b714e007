"""What billing makes of other apps' events, in the transaction that records them."""

from billing.actions import spans
from core.events import subscribe
from core.models import Event


def keep_meters(event: Event) -> None:
    if event.meters:
        spans.meter(event=event)


subscribe("*", keep_meters)
