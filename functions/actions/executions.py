"""Executions: every write. What the journal says becomes rows and sums, each exactly once; what waits is taken here.

`ingest` is the only one that ends an execution: it reads the runner's own record, so nothing that dies in between, be
it the web server, a worker or the runner, leaves one without an end or counts it twice.

Long, because what may become of one execution belongs on one page.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.utils import timezone

from catalog.models import Price
from core import db, events, ids
from core.context import SYSTEM, Actor
from core.db import atomic_write
from functions.models import Execution, Function, JournalCursor, Rollup
from functions.models.execution import FINAL, storable
from functions.models.rollup import EXECUTIONS, MEMORY, band

RETRIES = (60, 120)  # seconds until a failed asynchronous execution is tried again, and again
LOST = "Platform."  # begins the type of an error that is ours: it uses up no retry
MAX_ATTEMPTS = 20  # however they ended
PATIENCE = timedelta(hours=6)  # that an asynchronous execution waits for room or for a runner
TAKEN = timedelta(seconds=20)  # after which another worker may ask again: the runner refuses what it has begun
UNHEARD_OF = timedelta(minutes=20)  # the longest time-out is 15: a claimed one without a START by then never began
LEASE = timedelta(seconds=5)
KEPT = timedelta(days=30)
KEY_KEPT = timedelta(hours=24)
MAX_KEPT_RESULT = 256 * 1024  # bytes, of an asynchronous one
CHUNK = 5_000
# What the journal says of an execution; event, answer and key are left as they are.
JOURNALLED = (
    "function_version status attempt failures error started_at ended_at duration_us billed_ms init_ms cold_start "
    "memory_mb max_memory_mb result_bytes log due_at dead_at"
).split()


@atomic_write()
def accept(*, target: Any, event: bytes, digest: str | None = None, fingerprint: str = "") -> tuple[Execution, bool]:
    """Queue an asynchronous execution. With the digest of an idempotency key that was used before: that one, and False.

    `target` has account_pk, function_pk and version.
    """
    now = timezone.now()
    if digest and (first := _keyed(digest, now)):
        return first, False
    row = _new(target, "async", "queued", now, digest, fingerprint)
    row.event, row.due_at = event, now
    db.upsert([row], unique=["key_digest"])
    if digest and (first := _keyed(digest, now)) and first.pk != row.pk:
        return first, False
    events.enqueue("functions.dispatch")
    return row, True


@atomic_write()
def claim(*, target: Any, digest: str, fingerprint: str) -> tuple[Execution, bool]:
    """The execution of an idempotency key, before it is run; False where it is another request's that was first."""
    now = timezone.now()
    if first := _keyed(digest, now):
        left = Execution.objects.filter(pk=first.pk, trigger="sync", status="queued", key_fingerprint=fingerprint)
        return first, bool(left.update(status="running"))
    row = _new(target, "sync", "running", now, digest, fingerprint)
    row.due_at = now + UNHEARD_OF
    db.upsert([row], unique=["key_digest"])
    first = _keyed(digest, now)
    assert first is not None
    return first, first.pk == row.pk


@atomic_write()
def keep_answer(*, execution: UUID, answer: bytes) -> None:
    """What was answered, for whoever asks again with the same key, or for the result of an asynchronous one."""
    Execution.objects.filter(pk=execution).update(answer=answer)


@atomic_write()
def release(*, execution: Execution, began: bool) -> None:
    """It was refused, so its key may be used again. Where it may have begun all the same, the next to use it asks the
    runner for the same execution, which refuses to run it twice."""
    mine = Execution.objects.filter(pk=execution.pk, status="running", answer=None)
    if began:
        mine.update(status="queued")
    else:
        mine.delete()


@atomic_write()
def take_due(*, now: datetime, limit: int) -> list[Execution]:
    """Queued executions for one worker; another asks for the same ones only after `TAKEN`."""
    due = list(Execution.objects.select_for_update(skip_locked=True).due(now)[:limit])
    Execution.objects.filter(pk__in=[row.pk for row in due]).update(due_at=now + TAKEN)
    return due


@atomic_write()
def postpone(*, execution: Execution, seconds: float) -> None:
    """There is no room or no runner now, or it runs already: look again in `seconds`, or up to twice as many."""
    same = Execution.objects.filter(pk=execution.pk, attempt=execution.attempt).exclude(status__in=FINAL)
    wait = seconds * random.uniform(1, 2)  # noqa: S311  (spreads, and protects nothing)
    same.update(due_at=timezone.now() + timedelta(seconds=wait))


@atomic_write()
def give_up(*, execution: Execution, type: str, message: str) -> None:
    """It will never run, or nobody will ever know how it ended: say so. A queued one becomes a dead letter."""
    now = timezone.now()
    same = Execution.objects.filter(pk=execution.pk, attempt=execution.attempt).exclude(status__in=FINAL)
    dead = now if execution.trigger == "async" else None
    error = {"type": type, "message": message, "stack": []}
    same.update(status="failed", error=error, ended_at=now, due_at=None, dead_at=dead)


@atomic_write()
def redrive(
    *, function: Function, by: Actor, target: Any, only: Iterable[UUID] | None = None, limit: int = 1000
) -> list[Execution]:
    """Try dead letters again, each as a new execution of what was sent then; they are no dead letters any more.

    Records: function.redriven.
    """
    rows = Execution.objects.dead(function).defer(None).select_for_update()
    dead = list((rows.filter(pk__in=list(only)) if only is not None else rows).order_by("id")[:limit])
    now = timezone.now()
    again = []
    for old in dead:
        row = _new(target, "async", "queued", now)
        row.event, row.due_at = old.event, now
        again.append(row)
    db.upsert(again, unique=["id"])
    Execution.objects.filter(pk__in=[row.pk for row in dead]).update(dead_at=None, event=None)
    events.record("function.redriven", account=function.account, by=by, subject=function, data={"count": len(again)})
    events.enqueue("functions.dispatch")
    return again


@atomic_write()
def open_journal(*, runner: str) -> JournalCursor:
    """The cursor of a runner that nobody has read yet."""
    return JournalCursor.objects.get_or_create(runner=runner)[0]


@atomic_write()
def ingest(*, cursor: JournalCursor, records: list[dict[str, Any]], after: tuple[str, int], by: str) -> bool:
    """Keep what the journal says from `cursor` to `after`: rows, sums, retries and cursor, all or nothing.

    `by` is the process that reads, and goes on reading while it does so every `LEASE`. False where somebody else read
    this part meanwhile: then nothing is done.
    Records: execution.succeeded and execution.failed, where somebody takes them.
    """
    now = timezone.now()
    here = JournalCursor.objects.filter(runner=cursor.runner, segment=cursor.segment, offset=cursor.offset)
    if not here.update(segment=after[0], offset=after[1], holder=by, leased_until=now + LEASE, read_at=now):
        return False
    cursor.segment, cursor.offset = after
    failures = _failures(records)
    rows: dict[str, Execution] = {}
    ended = []
    for record in records:
        row = rows[record["id"]] = _row(record, rows.get(record["id"]), failures, now)
        if record["t"] == "end":
            ended.append((row, record))
    db.upsert(list(rows.values()), unique=["id"], changing=JOURNALLED)
    _drop_events(rows.values())
    _roll_up(ended)
    _note_last(ended)
    _tell(rows.values())
    return True


@atomic_write()
def prune(*, now: datetime) -> int:
    """Forget executions that ended 30 days ago; their hours' sums stay. Answers how many, at most `CHUNK`."""
    old = Execution.objects.filter(pk__lt=ids.earliest(now - KEPT)).order_by("pk")
    keys = list(old.values_list("pk", flat=True)[:CHUNK])
    return Execution.objects.filter(pk__in=keys)._raw_delete("default") if keys else 0


# --- Inside


def _new(
    target: Any, trigger: str, status: str, now: datetime, digest: str | None = None, fingerprint: str = ""
) -> Execution:
    return Execution(
        account_id=target.account_pk,
        function_id=target.function_pk,
        function_version=target.version,
        trigger=trigger,
        status=status,
        queued_at=now,
        key_digest=digest,
        key_fingerprint=fingerprint,
    )


def _keyed(digest: str, now: datetime) -> Execution | None:
    """Who has the key; nobody has it for longer than `KEY_KEPT`."""
    mine = Execution.objects.filter(key_digest=digest)
    mine.filter(queued_at__lt=now - KEY_KEPT).update(key_digest=None)
    return mine.first()


def _failures(records: list[dict[str, Any]]) -> dict[UUID, int]:
    """How often the asynchronous ones among them have failed by now."""
    keys = {ids.decode("exec", record["id"]) for record in records if record["trigger"] == "async"}
    rows = Execution.objects.filter(pk__in=keys).select_for_update()
    return dict(rows.values_list("pk", "failures")) if keys else {}


_owner = lru_cache(maxsize=4096)(ids.decode)  # accounts and functions come again


def _row(record: dict[str, Any], row: Execution | None, failures: dict[UUID, int], now: datetime) -> Execution:
    """The execution as it stands after this record; `row` is how it stood after an earlier one of the same batch."""
    if row is None:
        row = Execution(id=ids.decode("exec", record["id"]), account_id=_owner("acct", record["account"]))
        row.function_id = _owner("fn", record["function"])
        row.failures = failures.get(row.pk, 0)
    row.function_version, row.trigger, row.attempt = record["version"], record["trigger"], record["attempt"]
    row.memory_mb = record.get("memory_mb", 0)
    if record["t"] == "start":
        row.status, row.started_at = "running", _moment(record["at"])
        row.due_at = now + TAKEN if row.trigger == "async" else None
        return row
    row.status, row.error = record["status"], storable(record["error"])
    row.started_at, row.ended_at = _moment(record["started"]), _moment(record["ended"])
    for name in ("duration_us", "billed_ms", "init_ms", "max_memory_mb", "result_bytes"):
        setattr(row, name, record[name])
    row.cold_start, row.log, row.due_at = record["cold_start"] or "", storable(record["log"]), None
    if row.trigger == "async" and row.status == "failed":
        _try_again(row, now)
    return row


def _try_again(row: Execution, now: datetime) -> None:
    """Back into the queue as the next attempt, or to the dead letters."""
    ours = (row.error or {}).get("type", "").startswith(LOST)
    row.failures += 0 if ours else 1
    if row.failures > len(RETRIES) or row.attempt >= MAX_ATTEMPTS:
        row.dead_at = now
        return
    wait = 1 if ours else RETRIES[row.failures - 1]
    row.status, row.attempt = "queued", row.attempt + 1
    row.due_at = now + timedelta(seconds=wait * random.uniform(1, 1.2))  # noqa: S311


def _drop_events(rows: Iterable[Execution]) -> None:
    """What was sent is needed no longer than it may be tried again."""
    done = [row.pk for row in rows if row.trigger == "async" and row.status in FINAL and not row.dead_at]
    if done:
        Execution.objects.filter(pk__in=done).update(event=None)


def _roll_up(ended: list[tuple[Execution, dict[str, Any]]]) -> None:
    """Add each end to its function's hour. Nobody else does meanwhile: the cursor's row is locked."""
    groups: dict[tuple[UUID, datetime], list[tuple[Execution, dict[str, Any]]]] = defaultdict(list)
    for row, record in ended:
        hour = _moment(record["ended"]).replace(minute=0, second=0, microsecond=0)
        groups[row.function_id, hour].append((row, record))
    functions, hours = {key[0] for key in groups}, {key[1] for key in groups}
    kept = {
        (one.function_id, one.hour): one for one in Rollup.objects.filter(function_id__in=functions, hour__in=hours)
    }
    for (function, hour), found in groups.items():
        sums = kept.get((function, hour)) or kept.setdefault((function, hour), _empty(found[0][0], hour))
        for _, record in found:
            sums.executions += 1
            sums.failed += record["status"] == "failed"
            sums.cold_starts += bool(record["cold_start"])
            sums.duration_us += record["duration_us"]
            sums.billed_ms += record["billed_ms"]
            sums.mb_ms += record["billed_ms"] * record["memory_mb"]
            key = band(record["duration_us"])
            sums.durations[key] = sums.durations.get(key, 0) + 1
    changing = "executions failed cold_starts duration_us billed_ms mb_ms durations".split()
    db.upsert([kept[key] for key in groups], unique=["function_id", "hour"], changing=changing)


def _empty(row: Execution, hour: datetime) -> Rollup:
    prices = {"execution_price": Price.objects.at(EXECUTIONS, hour), "memory_price": Price.objects.at(MEMORY, hour)}
    return Rollup(function_id=row.function_id, account_id=row.account_id, hour=hour, **prices)


def _note_last(ended: list[tuple[Execution, dict[str, Any]]]) -> None:
    """When each function last ran, on its row and in the inventory."""
    last: dict[UUID, datetime] = {}
    for row, record in ended:
        moment = _moment(record["ended"])
        last[row.function_id] = max(moment, last.get(row.function_id, moment))
    functions = list(Function.objects.filter(pk__in=last).select_for_update().order_by("pk"))
    for function in functions:
        function.last_executed_at = max(last[function.pk], function.last_executed_at or last[function.pk])
        events.take_stock(function)
    db.upsert(functions, unique=["id"], changing=["last_executed_at"])  # they are there: one statement for all


def _tell(rows: Iterable[Execution]) -> None:
    """Record the ends that somebody named in a subscription: thousands a second are no news to anybody else."""
    ended = [row for row in rows if row.status in FINAL]
    wanted = events.taken({row.account_id for row in ended})
    told = [row for row in ended if f"execution.{row.status}" in wanted[row.account_id]]
    functions = Function.objects.select_related("account").in_bulk({row.function_id for row in told}) if told else {}
    for row in told:
        if function := functions.get(row.function_id):
            named = {"function_id": function.public_id, "name": function.name}
            events.record(f"execution.{row.status}", account=function.account, by=SYSTEM, subject=row, data=named)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
