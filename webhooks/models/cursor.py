"""How far the event log has been read for deliveries: one row."""

from typing import Any

from django.db import models

from core.models import Event

HEARTBEAT = "dispatcher-heartbeat"  # where in the cache the dispatcher leaves its sign of life


class Cursor(models.Model):
    """`event_seq` is the last event, in commit order, whose deliveries exist; 0 before the first."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    event_seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"after event {self.event_seq}"

    def unread(self) -> Any:
        """The events that come next, oldest first. From the log's start where the last one is not there (any more)."""
        last = Event.objects.filter(seq=self.event_seq).only("txid", "seq").first() if self.event_seq else None
        events = Event.objects.committed()
        return events.after(last) if last else events
