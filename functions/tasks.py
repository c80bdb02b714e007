"""What the runner is asked to do, and what its journal tells: build, dispatch, ingest, sweep, prune.

No transaction is open while the runner is called. Every task may be lost, doubled or killed: what must be done is a
row, and what happened is in the journal.
"""

import logging
import os
import socket
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from uuid import UUID

import orjson
from celery import shared_task
from django.db import connections
from django.utils import timezone

from core import events
from core.errors import LambdaError
from core.states import StateChanged
from functions import calls
from functions.actions import executions, functions
from functions.drivers.base import Build, Busy, Duplicate, Failure, Outcome, RunnerError, RunnerUnavailable
from functions.models import Execution, Function, JournalCursor

log = logging.getLogger(__name__)

RUNNER = "local"
BATCH = 2500  # records of the journal in one transaction: what each function costs once, and others' wait for it
LANES = 16  # asynchronous executions that one worker process waits for at once
WAIT_FOR_RUNNER = 2  # seconds
WAIT_FOR_END = 30  # seconds, of one that runs already

lanes: Executor = ThreadPoolExecutor(LANES, thread_name_prefix="lane")
_free = threading.BoundedSemaphore(LANES)


@shared_task(name="functions.reconcile")
def reconcile(*, function_id: str, **_) -> None:
    rows = Function.objects.select_related("account__plan")
    function = rows.filter(pk=UUID(function_id)).first()
    if function is None:
        return
    try:
        _step(function)
    except StateChanged:
        log.info("%s moved on meanwhile", function.public_id)
    except RunnerError as trouble:
        log.warning("%s: %s; trying again", function.public_id, trouble)
        functions.postpone(function=function, reason=str(trouble))


def _step(function: Function) -> None:
    """Build its newest version where that is still to be done, and tell the runner what is live."""
    if function.state == "deleting":
        calls.driver().set_live(calls.runner_name(function.pk), None)
        functions.mark_deleted(function=function)
        return
    version = function.versions.select_related("code", "function__account__plan").filter(state="building").last()
    if version is not None:
        if function.state == "created":
            function = functions.mark_building(function=function)
        calls.make_known(version)
        if functions.mark_built(version=version, build=_told(calls.driver().check(version.revision_id))) is None:
            return
        function.refresh_from_db()
    live = function.versions.filter(number=function.live).first() if function.live else None
    if live:
        calls.driver().set_live(calls.runner_name(function.pk), live.revision_id)
    functions.mark_settled(function=function)


def _told(build: Build) -> Build:
    """A build that failed says why, even where its runner does not."""
    if build.ok or build.error:
        return build
    return Build(False, build.init_ms, build.max_memory_mb, build.log, Failure("Init.Error", "It could not be loaded"))


@shared_task(name="functions.dispatch")
def dispatch(**_) -> None:
    """Run what is queued and due, in as many lanes as are free. A lane goes on while there is more."""
    while _free.acquire(blocking=False):
        taken = executions.take_due(now=timezone.now(), limit=1) if _anything_due() else []
        if not taken:
            _free.release()
            return
        lanes.submit(_lane, taken[0], threading.current_thread())


def _anything_due() -> bool:
    """A look before the write transaction that taking needs: most of the time there is nothing."""
    return Execution.objects.due(timezone.now()).exists()


def _lane(execution: Execution, starter: threading.Thread) -> None:
    try:
        while True:
            attend(execution)
            taken = executions.take_due(now=timezone.now(), limit=1) if _anything_due() else []
            if not taken:
                return
            execution = taken[0]
    except Exception:
        log.exception("a lane broke off; what it had taken is taken again")
    finally:
        if threading.current_thread() is not starter:
            connections.close_all()
        _free.release()


def attend(execution: Execution) -> None:
    """Run one queued execution. How it ended, the journal says; here only what never began is decided."""
    if execution.trigger == "sync":
        message = "It was accepted, and the process that should have run it ended before it began"
        executions.give_up(execution=execution, type="Platform.NeverStarted", message=message)
        return
    function = Function.objects.filter(pk=execution.function_id).first()
    if function is None:
        executions.give_up(execution=execution, type="Platform.NotActive", message="The function is deleted")
        return
    try:
        target = calls.target(execution.account_id, function.number)
        calls.refuse_what_cannot_run(target, timezone.now())
    except LambdaError as refused:
        executions.give_up(execution=execution, type="Platform.NotActive", message=refused.message)
        return
    try:
        event, id = bytes(execution.event or b"{}"), execution.public_id
        outcome = calls.run(target, id, event, attempt=execution.attempt, trigger="async")
        _keep_result(execution, outcome)
    except Duplicate:
        executions.postpone(execution=execution, seconds=WAIT_FOR_END)
    except RunnerError as trouble:
        _wait(execution, trouble)


def _keep_result(execution: Execution, outcome: Outcome) -> None:
    """Only what can be shown: a function that writes to the runner's socket may call anything its result."""
    if outcome.result is not None and len(outcome.result) <= executions.MAX_KEPT_RESULT:
        with suppress(orjson.JSONDecodeError):
            orjson.loads(outcome.result)
            executions.keep_answer(execution=execution.pk, answer=outcome.result)


def _wait(execution: Execution, trouble: RunnerError) -> None:
    """No room or no runner: it waits its turn, for `PATIENCE` at most."""
    if execution.queued_at and timezone.now() - execution.queued_at > executions.PATIENCE:
        kind = "Platform.Throttled" if isinstance(trouble, Busy) else "Platform.RunnerUnavailable"
        executions.give_up(execution=execution, type=kind, message=str(trouble))
        return
    seconds = trouble.retry_after if isinstance(trouble, Busy) else WAIT_FOR_RUNNER
    executions.postpone(execution=execution, seconds=seconds)


@shared_task(name="functions.ingest")
def ingest(**_) -> None:
    """Read the journal on to its end. Of several processes the one that read last goes on."""
    me = f"{socket.gethostname()}:{os.getpid()}"
    cursor = JournalCursor.objects.filter(pk=RUNNER).first() or executions.open_journal(runner=RUNNER)
    if not cursor.free_for(me):
        return
    with suppress(RunnerUnavailable):  # it is being started again, and what it wrote is still there
        while True:
            records, after = calls.driver().journal(cursor.place, BATCH)
            if after == cursor.place or not executions.ingest(cursor=cursor, records=records, after=after, by=me):
                return
            calls.driver().ack(after)
            if len(records) < BATCH:
                return


@shared_task(name="functions.sweep")
def sweep(**_) -> None:
    """Nudge again what waits too long, and look whether the runner is there."""
    for function in functions.take_due(now=timezone.now()):
        events.enqueue("functions.reconcile", function_id=str(function.pk))
    try:
        runtimes, status = calls.driver().runtimes(), calls.driver().status()
    except RunnerError as trouble:
        functions.note_runner(name=RUNNER, ok=False, reason=str(trouble))
    else:
        functions.note_runner(name=RUNNER, ok=True, runtimes=[asdict(one) for one in runtimes], status=status)


@shared_task(name="functions.prune")
def prune(**_) -> None:
    while executions.prune(now=timezone.now()) == executions.CHUNK:
        pass
