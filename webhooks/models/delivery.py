"""Deliveries: one event for one endpoint, and every attempt at it.

The body is not kept: it follows from the event, which never changes, and from the signature that an attempt used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any, Self
from uuid import UUID

from django.db import connection, models
from django.db.models import Q

from core import db
from core.models import Event, Row
from webhooks import signing
from webhooks.models.endpoint import Endpoint

STATES = ["pending", "delivered", "failed"]
TRIES = 10
# Seconds before the second, third … attempt: 75 h 35 min in all.
DELAYS = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
KEPT = timedelta(days=30)
LEASE = timedelta(seconds=60)  # longer than any attempt takes; a dead dispatcher's work comes due after it
HEALTH = 100  # deliveries in a strip


@dataclass(frozen=True)
class Health:
    """The last deliveries of one endpoint, newest first, with how long the answers took: milliseconds or None.

    One that waits after a failure is `retrying` here, so that a receiver that is down does not look like a quiet one.
    """

    states: list[str]
    p50_ms: int | None
    p95_ms: int | None


class Reads(models.QuerySet["Delivery"]):
    def of(self, endpoint: Endpoint) -> Self:
        return self.filter(endpoint=endpoint).order_by("-id")

    def health(self, endpoints: Iterable[Endpoint]) -> dict[UUID, Health]:
        """Each endpoint's last `HEALTH` deliveries, in one statement however many endpoints there are."""
        keys = [endpoint.pk for endpoint in endpoints]
        if not keys:
            return {}
        last = (
            "SELECT * FROM (SELECT endpoint_id, "
            "CASE WHEN state = 'pending' AND attempts > 0 AND delivered_at IS NULL THEN 'retrying' ELSE state END, "
            "CASE WHEN last_status IS NOT NULL THEN last_ms END FROM webhooks_delivery WHERE endpoint_id = %s "
            f"ORDER BY id DESC LIMIT {HEALTH}) AS e{{}}"
        )
        found: dict[UUID, list[tuple[str, int | None]]] = {key: [] for key in keys}
        with connection.cursor() as cursor:
            statement = " UNION ALL ".join(last.format(number) for number in range(len(keys)))
            cursor.execute(statement, [db.adapted(key) for key in keys])
            for key, state, taken in cursor.fetchall():
                found[key if isinstance(key, UUID) else UUID(key)].append((state, taken))
        return {key: _health(rows) for key, rows in found.items()}


def _health(rows: list[tuple[str, int | None]]) -> Health:
    times = sorted(taken for _, taken in rows if taken is not None)
    p50, p95 = (times[ceil(len(times) * share) - 1] for share in (0.5, 0.95)) if times else (None, None)
    return Health([state for state, _ in rows], p50, p95)


class Delivery(Row):
    """`next_attempt_at` is when a pending one is due. A dispatcher claims it by its `lease` and by moving that time on:
    where the dispatcher dies, the row comes due again by itself. `tries` is how many attempts are left.
    """

    prefix = "whd"
    kind = "delivery"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+", db_index=False)
    event_seq = models.BigIntegerField()
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=64)
    sequence = models.BigIntegerField(help_text="Counts the endpoint's deliveries without a gap.")
    state = models.CharField(max_length=16, default="pending", choices=[(state, state) for state in STATES])
    tries = models.PositiveSmallIntegerField(default=TRIES)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    delivered_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True, help_text="What the receiver answered last.")
    last_error = models.CharField(max_length=500, blank=True)
    last_ms = models.PositiveIntegerField(null=True)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["endpoint", "event_seq"], name="delivery_once")]
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="delivery_endpoint"),
            models.Index(fields=["endpoint", "state", "-id"], name="delivery_state"),
            models.Index(
                fields=["endpoint", "next_attempt_at", "id"], name="delivery_due", condition=Q(state="pending")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.public_id}"

    @property
    def event(self) -> Event:
        return Event.objects.get(seq=self.event_seq)


class Attempt(models.Model):
    """One try: what was sent, and what came back. `status` is None where nothing did; then `error` says why."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tried", db_index=False)
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    url = models.CharField(max_length=2000)
    request_headers = models.JSONField(default=dict)
    signature = models.CharField(max_length=80, help_text="As in the body.")
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    duration_ms = models.PositiveIntegerField()
    response_headers = models.JSONField(default=dict)
    response_body = models.TextField(blank=True, help_text="The first 4 KiB.")

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["delivery", "id"], name="attempt_delivery")]

    def __str__(self) -> str:
        return f"{self.delivery_id} attempt {self.number}"

    def body(self, event: Event) -> bytes:
        """Exactly what was sent."""
        return signing.finished(unsigned(event), self.signature)


def unsigned(event: Any) -> bytes:
    """E of an event row; any object with its id, type, time, subject and data will do."""
    return signing.unsigned(Event(id=event.id).public_id, event.type, event.at, event.subject_kind, event.data)
