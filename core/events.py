"""Saying what happened: `record` writes the event in the verb's transaction; `subscribe` lets other apps react in it.

Whatever a subscriber writes commits with the event or not at all; it writes only rows of its own app. Everything slow
or remote reads the log by cursor, or is a task that `enqueue` nudges after commit.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from core import context, db, ids
from core.models import Event, Resource

_types: dict[str, str] = {}
_opt_in: set[str] = set()
_internal: set[str] = set()
_subscribers: list[tuple[str, Callable[[Event], None]]] = []
_takers: list[Callable[[Collection[UUID]], Mapping[UUID, Iterable[str]]]] = []


@dataclass(frozen=True)
class Meter:
    """Something that costs by the hour: `quantity` of `sku` from `from_` until `to` (None: still running).

    `rate` is what one of them costs an hour, and `memory_gb` what it holds: the log alone says what was used and why
    it costs what it does, whatever becomes of the catalogue.
    """

    resource: UUID
    sku: str
    quantity: Decimal
    rate: Decimal
    from_: datetime
    to: datetime | None = None
    memory_gb: Decimal = Decimal(0)

    def as_json(self) -> dict[str, Any]:
        return {
            "resource": str(self.resource),
            "sku": self.sku,
            "quantity": f"{self.quantity:f}",
            "rate": f"{self.rate:f}",
            "memory_gb": f"{self.memory_gb:f}",
            "from": self.from_.isoformat(),  # to the microsecond, which DjangoJSONEncoder would cut to milliseconds
            "to": self.to.isoformat() if self.to else None,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Meter":
        return cls(
            UUID(kept["resource"]),
            kept["sku"],
            Decimal(kept["quantity"]),
            Decimal(kept["rate"]),
            datetime.fromisoformat(kept["from"]),
            datetime.fromisoformat(kept["to"]) if kept["to"] else None,
            Decimal(kept["memory_gb"]),
        )


class Subject(Protocol):
    """What an event is about. `event_data` is the payload's `data`; `inventory`, if it has one, its row there."""

    kind: str
    pk: UUID

    def event_data(self) -> dict[str, Any]: ...


def declare(types: dict[str, str], *, opt_in: bool = False, internal: bool = False) -> None:
    """Make event types known, each with one line of documentation. Called by each app's `events.py`.

    Types that are `opt_in` happen so often that one is recorded only where somebody takes it; `*` never means them.
    Those that are `internal` are of no account: operators see them, customers never hear of them.
    """
    _types.update(types)
    _opt_in.update(types if opt_in else ())
    _internal.update(types if internal else ())


def declared(*, internal: bool = False) -> dict[str, str]:
    """The event types that accounts hear of and their documentation, by name; with `internal`, all there are."""
    return {name: text for name, text in sorted(_types.items()) if internal or name not in _internal}


def opt_in() -> frozenset[str]:
    """The types that only who names them gets."""
    return frozenset(_opt_in)


def take(taker: Callable[[Collection[UUID]], Mapping[UUID, Iterable[str]]]) -> None:
    """Have opt-in events recorded: `taker` says which of them each of these accounts (their keys) wants."""
    if taker not in _takers:
        _takers.append(taker)


def taken(account_ids: Collection[UUID]) -> dict[UUID, set[str]]:
    """The opt-in types that somebody in each of the accounts wants."""
    wanted: dict[UUID, set[str]] = {account_id: set() for account_id in account_ids}
    for taker in _takers:
        for account_id, types in taker(account_ids).items():
            wanted[account_id].update(_opt_in.intersection(types))
    return wanted


def subscribe(pattern: str, handler: Callable[[Event], None]) -> None:
    """Call `handler` in the recording transaction for each event whose type matches, e.g. `instance.*`."""
    if (pattern, handler) not in _subscribers:
        _subscribers.append((pattern, handler))


def record(
    type: str,
    *,
    account: Any,
    by: context.Actor,
    subject: Subject | None = None,
    data: dict[str, Any] | None = None,
    meters: Iterable[Meter] = (),
) -> Event:
    """Write one event and bring the subject's inventory row up to date. Must run inside `@atomic_write`.

    `data` is added to the subject's own `event_data`. Raises LookupError for a type that no app declared.
    """
    if type not in _types:
        raise LookupError(f"event type {type} is not declared")
    if not db.writing():
        raise RuntimeError(f"{type} was recorded outside a write transaction")
    event = Event(
        at=timezone.now(),
        account_id=account.pk if account else None,
        type=type,
        actor_kind=by.kind,
        actor_id=by.id,
        actor_name=by.name,
        via=context.via.get(),
        ip=context.ip.get(),
        request_id=context.request_id.get(),
        subject_kind=subject.kind if subject else "",
        subject_id=subject.pk if subject else None,
        data={**(subject.event_data() if subject else {}), **(data or {})},
        meters=[meter.as_json() for meter in meters],
    )
    db.insert(event)
    if hasattr(subject, "inventory"):
        take_stock(subject)
    for pattern, handler in _subscribers:
        if fnmatchcase(type, pattern):
            handler(event)
    return event


def take_stock(subject: Any) -> int:
    """Insert or update the inventory row from what `inventory()` says: name, region, status, tags, detail, created_at
    and deleted_at. Tells the subject the row's key, and answers it. `record` does this by itself."""
    row = Resource(kind=subject.kind, native_id=subject.pk, account_id=subject.account_id, **subject.inventory())
    number: int = row.put()
    subject.resource_pk = number
    return number


def enqueue(task: str, **arguments: Any) -> None:
    """Nudge a worker by task name once the transaction has committed. A lost nudge is repaired by a sweep."""
    transaction.on_commit(lambda: _send(task, arguments))


@cache
def _route() -> dict[str, Any]:
    """Looked up once: Celery asks a chain of settings for each."""
    return {
        "routing_key": current_app.conf.task_default_queue,
        "retry_policy": current_app.conf.task_publish_retry_policy,
    }


def _send(task: str, arguments: dict[str, Any]) -> None:
    """Publish what `send_task` would, in Celery's documented message protocol 2, in under half of its time."""
    id = str(ids.new())
    headers = {"lang": "py", "task": task, "id": id, "root_id": id, "ignore_result": True, "retries": 0}
    stamps = {"request_id": context.request_id.get(), "sent_at": time.time()}
    with suppress(BrokerError, OSError), current_app.producer_pool.acquire(block=True) as producer:
        # Where the broker is away the sweep finds the row.
        producer.publish(
            [[], arguments, {}],
            headers=headers | stamps,
            correlation_id=id,
            serializer="json",
            delivery_mode="persistent",
            retry=True,
            **_route(),
        )
