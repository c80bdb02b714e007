"""Deliveries: from the event log to rows (`fan_out`, `replay_some`), once more, and away. What dispatchers make of the
rows is in `attempts.py`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Account
from core import db, events, ids
from core.context import Actor
from core.db import atomic_write
from core.models import Event
from webhooks.events import matches
from webhooks.models import Attempt, Cursor, Delivery, Endpoint
from webhooks.models.delivery import KEPT, LEASE, TRIES

BATCH = 500  # events read, deliveries removed, in one transaction


def fan_out() -> int:
    """Make the deliveries of the next events in the log; answers how many events were read.

    Of several dispatchers one does it at a time. The cursor and the rows are one commit.
    """
    known = Cursor.objects.first()
    if not (known or Cursor()).unread().exists():
        return 0
    with atomic_write():
        if known is None:
            Cursor.objects.bulk_create([Cursor()], ignore_conflicts=True)
        cursor = Cursor.objects.select_for_update(skip_locked=True).first()
        found = list(cursor.unread().defer("meters")[:BATCH]) if cursor else []
        if not cursor or not found:
            return 0
        by_account: dict[UUID, list[Event]] = {}
        for event in found:
            if event.account_id:
                by_account.setdefault(event.account_id, []).append(event)
        listening = Endpoint.objects.listening(by_account).only("id", "account_id", "events", "created_at")
        _insert({endpoint: _wanted(endpoint, by_account[endpoint.account_id]) for endpoint in listening})
        Cursor.objects.update(event_seq=found[-1].seq)
    return len(found)


def _wanted(endpoint: Endpoint, happened: list[Event]) -> list[Event]:
    since = max(endpoint.created_at, timezone.now() - KEPT)
    return [event for event in happened if event.at >= since and _goes_to(event, endpoint)]


def _goes_to(event: Event, endpoint: Endpoint) -> bool:
    """A test has its delivery already."""
    return event.type != "webhook.test" and matches(endpoint.events, event.type)


_INSERT = (
    "INSERT INTO webhooks_delivery (id, created_at, updated_at, endpoint_id, event_seq, event_id, event_type, "
    "sequence, tries, next_attempt_at, version, state, attempts, last_error) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1, 'pending', 0, '') ON CONFLICT DO NOTHING"
)


def _insert(wanted: Mapping[Endpoint, list[Event]]) -> None:
    """New rows, each with the next number of its endpoint. Endpoints in one order: two writers never wait in a ring.

    What is there already takes no number: a replay was faster than the log, or that is read anew from its start.
    """
    for endpoint, mine in sorted(wanted.items(), key=lambda pair: pair[0].pk):
        if not mine:
            continue
        last = _count(endpoint.pk, len(mine))  # and so others wait until these rows are there
        there = Delivery.objects.filter(endpoint=endpoint, event_seq__in=[event.seq for event in mine])
        if known := set(there.values_list("event_seq", flat=True)):
            mine = [event for event in mine if event.seq not in known]
            last = _count(endpoint.pk, -len(known))
        now, owner = db.moment(timezone.now()), db.adapted(endpoint.pk)
        rows = [
            (db.adapted(ids.new()), now, now, owner, event.seq, db.adapted(event.id), event.type, number, TRIES, now)
            for number, event in enumerate(mine, last - len(mine) + 1)
        ]
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)


def _count(endpoint_id: UUID, more: int) -> int:
    """Take the next numbers of an endpoint; answers the last of them."""
    with connection.cursor() as cursor:
        statement = "UPDATE webhooks_endpoint SET sequence = sequence + %s WHERE id = %s RETURNING sequence"
        cursor.execute(statement, [more, db.adapted(endpoint_id)])
        return int(cursor.fetchone()[0])


def replay_some() -> int:
    """Go on with every replay that was asked for, some events of each; answers how many were read."""
    if not Endpoint.objects.replaying().exists():
        return 0
    total = 0
    for key in Endpoint.objects.replaying().values_list("pk", flat=True):
        with atomic_write():
            endpoint = Endpoint.objects.select_for_update(skip_locked=True).replaying().filter(pk=key).first()
            if endpoint is None:
                continue
            assert endpoint.replay_to is not None
            end = ids.earliest(endpoint.replay_to + timedelta(milliseconds=1))
            rows = Event.objects.filter(account_id=endpoint.account_id, id__gt=endpoint.replay_after, id__lt=end)
            found = list(rows.order_by("id").defer("meters")[:BATCH])
            _again(endpoint, [event for event in found if _goes_to(event, endpoint)])
            finished = len(found) < BATCH
            Endpoint.objects.filter(pk=key).update(
                replay_after=None if finished else found[-1].id,
                replay_to=None if finished else endpoint.replay_to,
                version=F("version") + 1,
                updated_at=timezone.now(),
            )
        total += len(found)
    return total


def _again(endpoint: Endpoint, wanted: list[Event]) -> None:
    """Make due what there is, and make what there is not."""
    mine = Delivery.objects.filter(endpoint=endpoint, event_seq__in=[event.seq for event in wanted])
    waiting = mine if endpoint.replay_all else mine.exclude(state="delivered")
    waiting.update(**_afresh(), version=F("version") + 1)
    _insert({endpoint: wanted})


def _afresh() -> dict[str, Any]:
    """What a delivery has that begins again. Whoever holds it just now has lost it."""
    now = timezone.now()
    return {"state": "pending", "tries": TRIES, "next_attempt_at": now, "lease": None, "updated_at": now}


@atomic_write()
def test(*, endpoint: Endpoint, by: Actor) -> Delivery:
    """A `webhook.test` event for this webhook alone, whatever it listens to.

    Records: webhook.test. Raises: WebhookDisabled.
    """
    endpoint.insist_on_active()
    event = events.record("webhook.test", account=endpoint.account, by=by, subject=endpoint)
    _insert({endpoint: [event]})
    return Delivery.objects.get(endpoint=endpoint, event_seq=event.seq)


@atomic_write()
def redeliver(*, delivery: Delivery, account: Account, by: Actor) -> Delivery:
    """The same body once more, with all its tries, whatever came of it before.

    Records: webhook.redelivered. Raises: WebhookDisabled.
    """
    delivery = Delivery.objects.select_for_update(of=("self",)).select_related("endpoint").get(pk=delivery.pk)
    delivery.endpoint.insist_on_active()
    for name, value in _afresh().items():
        setattr(delivery, name, value)
    delivery.save()
    data = {"delivery_id": delivery.public_id}
    events.record("webhook.redelivered", account=account, by=by, subject=delivery.endpoint, data=data)
    return delivery


def purge() -> int:
    """Forget deliveries older than KEPT and those of deleted webhooks, a few in one transaction; answers how many."""
    total, now = 0, timezone.now()
    idle = Delivery.objects.filter(Q(lease=None) | Q(next_attempt_at__lt=now - LEASE))  # nobody is at it just now
    for rows in (idle.filter(pk__lt=ids.earliest(now - KEPT)), idle.filter(endpoint__state="deleted")):
        while True:
            with atomic_write():
                batch = list(rows.values_list("pk", flat=True)[:BATCH])
                Attempt.objects.filter(delivery_id__in=batch).delete()
                Delivery.objects.filter(pk__in=batch).delete()
            total += len(batch)
            if len(batch) < BATCH:
                break
    return total
