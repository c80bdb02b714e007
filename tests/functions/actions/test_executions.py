"""From the journal to rows and sums: each execution once, with one end, whoever dies in between.

It is long because all that can become of an execution stands together.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.utils import timezone

from catalog.models import Price
from core import epoch, events, ids, usage
from core.models import Event, Resource
from functions import calls, tasks
from functions.actions import executions
from functions.drivers.base import Busy, RunnerUnavailable
from functions.models import Execution, Function, JournalCursor, Rollup
from functions.models.rollup import band, percentile
from tests.make import make_account, make_api, make_function, runner, work

pytestmark = [pytest.mark.django_db, pytest.mark.db]


def invoke(function: Function, *, trigger: str = "sync") -> str:
    """Run it past the API, as a request that was killed before it answered would have."""
    id = ids.encode("exec", ids.new())
    calls.run(calls.target(function.account_id, function.number), id, b"{}", trigger=trigger)
    return id


def accept(function: Function, event: bytes = b'{"n":1}') -> Execution:
    return executions.accept(target=calls.target(function.account_id, function.number), event=event)[0]


def fresh(execution: Execution) -> Execution:
    return Execution.objects.get(pk=execution.pk)


def later(seconds: float) -> None:
    """Let that much time pass for whatever waits in the queue."""
    for row in Execution.objects.filter(due_at__isnull=False):
        Execution.objects.filter(pk=row.pk).update(due_at=row.due_at - timedelta(seconds=seconds))


def fail(function: Function, type: str = "ValueError") -> None:
    runner().script(calls.runner_name(function.pk), error=type, log="Traceback\n")


def test_an_execution_becomes_a_row_with_all_that_is_known_of_it():
    function = make_function(memory=256)
    runner().script(calls.runner_name(function.pk), duration_us=12_345, init_ms=3, cold_start="first", log="hello\n")
    id = invoke(function)
    tasks.ingest()
    row = Execution.objects.get()
    assert (row.public_id, row.account_id, row.function_id) == (id, function.account_id, function.pk)
    assert (row.status, row.trigger, row.attempt, row.function_version) == ("succeeded", "sync", 1, 1)
    assert (row.duration_us, row.billed_ms, row.init_ms, row.cold_start) == (12_345, 13, 3, "first")
    assert (row.memory_mb, row.log, row.error) == (256, "hello\n", None)
    assert row.started_at <= row.ended_at


def test_whatever_bytes_a_function_prints_or_raises_can_be_kept():
    """What one database refuses would hold up everybody's journal."""
    function = make_function()
    runner().script(calls.runner_name(function.pk), error="Odd\x00Error\ud800", log="a\x00b\ud800\u2028")
    invoke(function)
    tasks.ingest()
    row = Execution.objects.get()
    assert (row.log, row.error["type"]) == ("a\ufffdb?\u2028", "Odd\ufffdError?")


def test_reading_the_journal_again_counts_nothing_twice():
    function = make_function()
    invoke(function)
    cursor = executions.open_journal(runner=tasks.RUNNER)
    records, after = runner().journal(cursor.place, 100)
    twin = JournalCursor.objects.get()
    assert executions.ingest(cursor=cursor, records=records, after=after, by="one")
    assert not executions.ingest(cursor=twin, records=records, after=after, by="two")
    assert Rollup.objects.get().executions == 1
    tasks.ingest()
    assert Rollup.objects.get().executions == 1


def test_a_batch_that_breaks_off_is_read_again_as_a_whole(monkeypatch):
    function = make_function()
    for _ in range(3):
        invoke(function)
    with monkeypatch.context() as broken:
        broken.setattr(executions, "_note_last", lambda ended: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tasks.ingest()
    assert not Execution.objects.exists()
    assert not Rollup.objects.exists()
    tasks.ingest()
    assert Rollup.objects.get().executions == Execution.objects.count() == 3


def test_only_one_process_reads_while_it_does_so():
    function = make_function()
    invoke(function)
    tasks.ingest()
    JournalCursor.objects.update(holder="another:1", leased_until=timezone.now() + timedelta(seconds=5))
    invoke(function)
    tasks.ingest()
    assert Execution.objects.count() == 1
    JournalCursor.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    tasks.ingest()
    assert Execution.objects.count() == 2


def test_the_sums_of_the_hours_are_the_rows_and_are_billed_at_the_hours_price():
    function = make_function(memory=512)
    name = calls.runner_name(function.pk)
    hour = datetime(2026, 3, 1, 10, tzinfo=UTC)
    with time_machine.travel(hour.replace(minute=59), tick=False) as clock:
        for duration in (1, 999, 1001, 2_500_000):
            runner().script(name, duration_us=duration)
            invoke(function)
        Price.objects.create(sku="function.memory", unit_price=9, effective_from=hour + timedelta(hours=1))
        epoch.advance()
        clock.shift(timedelta(minutes=2))
        fail(function)
        invoke(function)
        tasks.ingest()
    first, second = Rollup.objects.order_by("hour")
    assert (first.hour, second.hour) == (hour, hour + timedelta(hours=1))
    assert (first.executions, first.failed, second.executions, second.failed) == (4, 0, 1, 1)
    assert (first.billed_ms, first.mb_ms) == (1 + 1 + 2 + 2500, 2504 * 512)
    rows = Execution.objects.all()
    assert first.mb_ms + second.mb_ms == sum(row.billed_ms * row.memory_mb for row in rows)
    counted = list(usage.read(function.account_id, hour, hour + timedelta(hours=1)))
    assert [(one.sku, one.quantity) for one in counted] == [
        ("function.executions", 4),
        ("function.memory", Decimal(2504 * 512) / 1024 / 3_600_000),
    ]
    assert (first.memory_price, second.memory_price) == (Decimal("0.06"), 9)


def test_when_it_last_ran_reaches_the_function_and_the_inventory_and_changes_no_version():
    function = make_function()
    invoke(function)
    tasks.ingest()
    after = Function.objects.get()
    assert after.last_executed_at == Execution.objects.get().ended_at
    assert Resource.objects.get(native_id=function.pk).detail["last_execution"]
    assert after.version == function.version


def test_an_execution_that_runs_is_seen_running():
    function = make_function()
    version = function.versions.get()
    runner().begin(version.revision_id, id := ids.encode("exec", ids.new()))
    tasks.ingest()
    assert Execution.objects.get().status == "running"
    runner().die()
    tasks.ingest()
    row = Execution.objects.get()
    assert (row.public_id, row.status, row.error["type"], row.billed_ms) == (id, "failed", "Platform.RunnerLost", 0)
    assert Rollup.objects.get().mb_ms == 0


def test_a_queued_execution_is_run_and_its_result_kept():
    function = make_function()
    answer = make_api(function.account).post(f"/functions/{function.public_id}/invoke?mode=async", {"n": 1})
    assert answer.status_code == 202
    assert "functions.dispatch" in work()
    tasks.ingest()
    row = Execution.objects.get()
    assert (row.status, row.trigger, bytes(row.answer), row.event, row.due_at) == (
        "succeeded", "async", b'{"n": 1}', None, None,
    )  # fmt: skip


def test_what_one_worker_took_another_takes_only_when_it_was_not_heard_of():
    row = accept(make_function())
    now = timezone.now()
    assert [one.pk for one in executions.take_due(now=now, limit=9)] == [row.pk]
    assert executions.take_due(now=now, limit=9) == []
    assert [one.pk for one in executions.take_due(now=now + executions.TAKEN, limit=9)] == [row.pk]


def test_a_worker_that_dies_before_the_journal_is_read_causes_no_second_run():
    function = make_function()
    row = accept(function)
    calls.run(calls.target(function.account_id, function.number), row.public_id, b"{}", trigger="async")
    tasks.attend(fresh(row))
    assert runner().calls("invoke") == 2
    tasks.ingest()
    assert (fresh(row).status, Rollup.objects.get().executions) == ("succeeded", 1)


def test_a_failure_is_repeated_after_a_minute_and_after_two_and_then_is_a_dead_letter():
    function = make_function()
    fail(function)
    row = accept(function)
    for attempt, wait in ((1, 60), (2, 120)):
        work_inline()
        tasks.ingest()
        seen = fresh(row)
        assert (seen.status, seen.attempt, seen.failures) == ("queued", attempt + 1, attempt)
        assert wait - 1 <= (seen.due_at - timezone.now()).total_seconds() <= wait * 1.2
        later(wait * 1.2)
    work_inline()
    tasks.ingest()
    dead = fresh(row)
    assert (dead.status, dead.attempt, dead.error["type"]) == ("failed", 3, "ValueError")
    assert dead.dead_at
    assert bytes(dead.event) == b'{"n":1}'
    assert Rollup.objects.get().executions == 3


def test_a_runner_that_died_uses_up_no_retry():
    function = make_function()
    row = accept(function)
    version = function.versions.get()
    runner().begin(version.revision_id, row.public_id, trigger="async")
    tasks.ingest()
    runner().die()
    tasks.ingest()
    seen = fresh(row)
    assert (seen.status, seen.attempt, seen.failures) == ("queued", 2, 0)
    later(2)
    work_inline()
    tasks.ingest()
    assert fresh(row).status == "succeeded"


def test_where_there_is_no_room_or_no_runner_it_waits_and_is_no_failure():
    row = accept(make_function())
    runner().fail_next("invoke", Busy("max_concurrency", 10, 7))
    work_inline()
    seen = fresh(row)
    assert (seen.status, seen.attempt, seen.failures) == ("queued", 1, 0)
    assert 6 < (seen.due_at - timezone.now()).total_seconds() <= 14
    later(14)
    runner().fail_next("invoke", RunnerUnavailable("it is being started"))
    work_inline()
    assert fresh(row).status == "queued"
    Execution.objects.update(queued_at=timezone.now() - executions.PATIENCE - timedelta(seconds=1))
    later(14)
    runner().fail_next("invoke", Busy("max_concurrency", 10, 7))
    work_inline()
    assert (fresh(row).status, fresh(row).error["type"]) == ("failed", "Platform.Throttled")
    assert fresh(row).dead_at


def test_what_is_queued_for_a_function_that_is_gone_is_given_up():
    function = make_function()
    row = accept(function)
    make_api(function.account).delete(f"/functions/{function.public_id}")
    work_inline()
    assert fresh(row).error["type"] == "Platform.NotActive"


def test_a_request_that_died_between_its_claim_and_the_runner_is_ended():
    function = make_function()
    target = calls.target(function.account_id, function.number)
    row, mine = executions.claim(target=target, digest="d", fingerprint="f")
    assert mine
    tasks.dispatch()
    assert fresh(row).status == "running"
    later(executions.UNHEARD_OF.total_seconds())
    tasks.dispatch()
    assert (fresh(row).status, fresh(row).error["type"]) == ("failed", "Platform.NeverStarted")


def test_a_dead_letter_is_tried_again_as_a_new_execution_of_what_was_sent():
    alice = make_account()
    function = make_function(alice)
    row = accept(function)
    executions.give_up(execution=row, type="Platform.Throttled", message="no room")
    api = make_api(alice)
    path = f"/functions/{function.public_id}/dead-letters"
    assert [one["id"] for one in api.get(path).json()] == [row.public_id]
    answer = api.post(f"{path}/redrive")
    assert answer.status_code == 202
    (again,) = answer.json()["execution_ids"]
    assert again != row.public_id
    assert api.get(path).json() == []
    work_inline()
    tasks.ingest()
    assert bytes(Execution.objects.get(pk=Execution.key(again)).answer) == b'{"n":1}'
    assert fresh(row).status == "failed"


def test_ends_are_events_only_where_somebody_named_them(monkeypatch):
    function = make_function()
    invoke(function)
    tasks.ingest()
    assert not Event.objects.filter(type__startswith="execution.").exists()
    taker = {function.account_id: ["execution.failed", "function.updated"]}
    monkeypatch.setattr(events, "_takers", [lambda accounts: taker])
    invoke(function)
    fail(function)
    id = invoke(function)
    tasks.ingest()
    (event,) = Event.objects.filter(type__startswith="execution.")
    assert (event.type, event.data["execution_id"]) == ("execution.failed", id)
    assert (event.data["function_id"], event.data["error_type"]) == (function.public_id, "ValueError")


def test_executions_of_last_month_are_forgotten_and_their_sums_are_not():
    function = make_function()
    for _ in range(2):
        invoke(function)
    tasks.ingest()
    old = Execution.objects.first()
    Execution.objects.filter(pk=old.pk).update(id=ids.earliest(timezone.now() - timedelta(days=31)))
    tasks.prune()
    assert Execution.objects.count() == 1
    assert sum(Rollup.objects.values_list("executions", flat=True)) == 2


@pytest.mark.parametrize("duration_us", [0, 99, 100, 12_345, 1_000_000, 899_999_999, 10**12])
def test_a_percentile_is_at_most_a_tenth_off(duration_us):
    found = percentile({band(duration_us): 5}, 0.95)
    if 100 <= duration_us < 900_000_000:
        assert duration_us / 1000 <= found <= duration_us / 1000 * 1.11
    assert percentile({}, 0.95) is None


def work_inline() -> list[str]:
    """Let a worker do what waits, the lanes' part too."""
    later(0.01)
    done = work()
    tasks.dispatch()
    return done
