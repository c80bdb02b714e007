"""Attempts at deliveries: what a dispatcher claims (`due`, `claim`, `release`), and what came of it (`settle`).

Hand-written statements, because a dispatcher does these a thousand times a second. Sending itself is
`webhooks/sender.py`, and has no transaction open.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import F
from django.utils import timezone

from core import db, ids
from core.db import atomic_write
from webhooks.actions import endpoints
from webhooks.models import Endpoint
from webhooks.models.delivery import DELAYS, LEASE, TRIES

LANES = 200  # endpoints served in one claim
GONE = 410
LONGEST_WISH = 86400  # seconds of a Retry-After that are honoured


class Claimed(NamedTuple):
    """One delivery that a dispatcher may attempt now. `tries` are left, this one included."""

    id: UUID
    endpoint_id: UUID
    event_seq: int
    sequence: int
    tries: int
    attempts: int
    lease: UUID


@dataclass
class Outcome:
    """What came of one attempt. `status` is None where nobody answered; `wish` is the Retry-After in seconds."""

    claimed: Claimed
    at: datetime
    url: str
    request_headers: dict[str, str]
    signature: str
    status: int | None = None
    error: str = ""
    duration_ms: int = 0
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""
    wish: float = 0
    jitter: float = 0  # 0 … 1

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def next_attempt_at(self) -> datetime | None:
        """When to try again; None if it arrived or was the last try."""
        left = self.claimed.tries - 1
        if self.delivered or left <= 0:
            return None
        planned = DELAYS[TRIES - 1 - left] * (1 + 0.2 * self.jitter)  # later only, never sooner
        return self.at + timedelta(milliseconds=self.duration_ms, seconds=max(planned, min(self.wish, LONGEST_WISH)))


# The endpoints that have something due, by leaps along the index: as many steps as there are endpoints with pending
# deliveries, however many deliveries each has. Ordered wholly as the index is, so that no other is chosen.
_DUE = """
WITH RECURSIVE lane(id) AS (
    SELECT endpoint_id FROM (
        SELECT endpoint_id FROM webhooks_delivery WHERE state = 'pending'
        ORDER BY endpoint_id, next_attempt_at, id LIMIT 1
    ) AS first
    UNION ALL
    SELECT (
        SELECT d.endpoint_id FROM webhooks_delivery AS d WHERE d.state = 'pending' AND d.endpoint_id > lane.id
        ORDER BY d.endpoint_id, d.next_attempt_at, d.id LIMIT 1
    ) FROM lane WHERE lane.id IS NOT NULL
)
SELECT e.id FROM lane JOIN webhooks_endpoint AS e ON e.id = lane.id
WHERE e.state = 'active' AND EXISTS (
    SELECT 1 FROM webhooks_delivery AS d
    WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_attempt_at <= %s
)
"""
# Materialized: PostgreSQL may run a subquery in IN once for each row, and each time skip what it has just locked.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM webhooks_delivery WHERE endpoint_id = %s AND state = 'pending' AND next_attempt_at <= %s
    ORDER BY next_attempt_at, id LIMIT %s {lock}
)
UPDATE webhooks_delivery SET lease = %s, next_attempt_at = %s WHERE id IN (SELECT id FROM due)
RETURNING id, event_seq, sequence, tries, attempts
"""


def due() -> list[UUID]:
    """The active endpoints that something is due for. One read, and no lock."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [db.moment(timezone.now())])
        return [_key(row[0]) for row in cursor.fetchall()]


@atomic_write()
def claim(*, rooms: Mapping[UUID, int]) -> list[Claimed]:
    """Take the oldest due deliveries, of each endpoint as many as there is room for: the caller's, for LEASE."""
    now, lease = timezone.now(), ids.new()
    skip = "FOR UPDATE SKIP LOCKED" if db.vendor() == "postgresql" else ""
    found = []
    until = db.moment(now + LEASE)
    with connection.cursor() as cursor:
        for endpoint_id, room in list(rooms.items())[:LANES]:
            cursor.execute(
                _CLAIM.format(lock=skip), [db.adapted(endpoint_id), db.moment(now), room, db.adapted(lease), until]
            )
            found += [
                Claimed(_key(id), endpoint_id, seq, sequence, tries, attempts, lease)
                for id, seq, sequence, tries, attempts in cursor.fetchall()
            ]
    return sorted(found, key=lambda one: one.sequence)


@atomic_write()
def release(*, claimed: Iterable[Claimed]) -> None:
    """Hand back what was claimed and not sent: it is due at once."""
    now = db.moment(timezone.now())
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE webhooks_delivery SET lease = NULL, next_attempt_at = %s WHERE id = %s AND lease = %s",
            [(now, db.adapted(one.id), db.adapted(one.lease)) for one in claimed],
        )


@atomic_write()
def settle(*, outcomes: list[Outcome]) -> None:
    """Write down what came of attempts. An attempt whose claim was lost meanwhile is kept, but decides nothing.

    Records: webhook.disabled, for an endpoint that is gone or has failed for too long.
    """
    now = db.moment(timezone.now())
    with connection.cursor() as cursor:
        cursor.executemany(_KEEP, [_kept(outcome) for outcome in outcomes])
        cursor.executemany(_SETTLE, [_settled(outcome, now) for outcome in outcomes])
    by_endpoint: dict[UUID, list[Outcome]] = {}
    for outcome in outcomes:
        by_endpoint.setdefault(outcome.claimed.endpoint_id, []).append(outcome)
    _judge(by_endpoint)


_KEEP = (
    "INSERT INTO webhooks_attempt (delivery_id, number, at, url, request_headers, signature, status, error, "
    "duration_ms, response_headers, response_body) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_SETTLE = (
    "UPDATE webhooks_delivery SET state = %s, tries = %s, next_attempt_at = %s, lease = NULL, delivered_at = %s, "
    "last_status = %s, last_error = %s, last_ms = %s, attempts = %s, updated_at = %s, version = version + 1 "
    "WHERE id = %s AND lease = %s"
)


def _kept(outcome: Outcome) -> tuple[Any, ...]:
    return (
        db.adapted(outcome.claimed.id),
        outcome.claimed.attempts + 1,
        db.moment(outcome.at),
        outcome.url,
        orjson.dumps(outcome.request_headers).decode(),
        outcome.signature,
        outcome.status,
        outcome.error[:500],
        outcome.duration_ms,
        orjson.dumps(outcome.response_headers).decode(),
        outcome.response_body,
    )


def _settled(outcome: Outcome, now: Any) -> tuple[Any, ...]:
    again, claimed = outcome.next_attempt_at(), outcome.claimed
    state = "delivered" if outcome.delivered else "pending" if again else "failed"
    return (
        state,
        claimed.tries - 1,
        db.moment(again) if again else None,
        now if outcome.delivered else None,
        outcome.status,
        outcome.error[:500],
        outcome.duration_ms,
        claimed.attempts + 1,
        now,
        db.adapted(claimed.id),
        db.adapted(claimed.lease),
    )


def _judge(by_endpoint: Mapping[UUID, list[Outcome]]) -> None:
    """Which endpoints fail, since when, and whether to go on with them. Locked in one order."""
    failed = {}
    for key, outcomes in sorted(by_endpoint.items()):
        last_success = max((number for number, one in enumerate(outcomes) if one.delivered), default=-1)
        failed[key] = outcomes[last_success + 1 :]
    well = [key for key, after in failed.items() if len(after) < len(by_endpoint[key])]
    Endpoint.objects.filter(pk__in=well).exclude(failing_since=None).update(
        failing_since=None, failures=0, version=F("version") + 1, updated_at=timezone.now()
    )
    for key, after in failed.items():
        if after:
            _blame(key, after)


def _blame(endpoint_id: UUID, failed: list[Outcome]) -> None:
    row = Endpoint.objects.filter(pk=endpoint_id)
    beginning = row.filter(failing_since=None)
    beginning.update(failing_since=failed[0].at, version=F("version") + 1, updated_at=timezone.now())
    row.update(failures=F("failures") + len(failed))
    endpoint = row.first()
    if endpoint is None:
        return
    if any(outcome.status == GONE and outcome.url == endpoint.url for outcome in failed):
        endpoints.give_up(endpoint_id=endpoint_id, reason="The receiver answered 410: it is gone for good.")
    elif endpoint.hopeless:
        reason = f"Nothing has arrived there since {endpoint.failing_since:%-d %B, %H:%M} UTC. {failed[-1].error}"
        endpoints.give_up(endpoint_id=endpoint_id, reason=reason[:500])


def _key(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(int=int(value, 16))
