"""A lane is one function: its workers, the calls that wait for them, when to start another worker and when to end one.

A worker has one call at a time. Another one is started once the first in the queue has waited longer than a start
takes: sooner it would come too late. All of it runs in the event loop's callbacks, without a task for each call.
"""

import asyncio
import logging
import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from node import cgroups, errors
from node.runner.calls import Call, Cold, failure
from node.runner.logs import Log
from node.runner.revisions import Revision
from node.runner.sandbox import limits
from node.runner.worker import Worker

if TYPE_CHECKING:
    from node.runner.runner import Runner

log = logging.getLogger(__name__)

LONGEST_QUEUE = 100
MOST_CALLS, LONGEST_LIFE = 100_000, 3600.0  # then a worker is replaced
OURS = ("Function.Timeout", "Runtime.OutOfMemory", "Runtime.ExitError", "Runtime.ProtocolError", "Init.Timeout")
FROZEN_AFTER = 0.1  # seconds without a call


class Lane:
    """Of one function, in any of its revisions."""

    def __init__(self, runner: "Runner", function: str) -> None:
        self.runner = runner
        self.function = function
        self.loop = asyncio.get_running_loop()
        self.queue: deque[Call] = deque()
        self.idle: list[Worker] = []  # the one used last is the last
        self.busy: dict[Worker, Call] = {}
        self.starting: dict[Worker | Cold, tuple[Revision, Cold]] = {}
        self.colds: dict[Worker, Cold] = {}  # of workers that have not had a call yet
        self.since: dict[Worker, float] = {}  # when an idle one became idle
        self.live: str | None = None
        self.started: set[str] = set()  # revisions that have had a worker
        self.lost = ""  # why the last worker that we ended was ended
        self.start_seconds: deque[float] = deque([0.005], maxlen=9)
        self.blocked: tuple[str, int] = ("max_concurrency", 0)  # by which limit calls wait
        self.scaling: asyncio.TimerHandle | None = None

    # Calls

    def submit(self, call: Call) -> None:
        self.queue.append(call)
        self.pump()
        if call.began or call not in self.queue:
            return
        if len(self.queue) > LONGEST_QUEUE:
            self.queue.remove(call)
            self._refuse(call)
            return
        self.runner.waiting[self] = None
        self._wait(call)

    def _wait(self, call: Call) -> None:
        call.timer = self.loop.call_later(min(1.0, call.revision.timeout_ms / 10_000), self._waited, call)

    def _waited(self, call: Call) -> None:
        if call not in self.queue:
            return
        if self.queue.index(call) < len(self.starting):
            self._wait(call)  # a worker for it is coming, which has a time-out of its own
            return
        self.queue.remove(call)
        self._refuse(call)

    def _refuse(self, call: Call) -> None:
        self.runner.queued.discard(call.key)
        name, limit = self.blocked
        call.refuse("Busy", limit_name=name, limit=limit or call.revision.max_concurrency, retry_after=1)

    def pump(self) -> None:
        """Begin what can begin now; see that a worker comes for the rest."""
        while self.queue:
            call = self.queue[0]
            limit = self.runner.limit_reached(self, call.revision)
            if limit is not None:
                self.blocked = limit
                return
            worker = self._take(call.revision)
            if worker is None:
                self._scale(call)
                return
            self.queue.popleft()
            self._begin(call, worker)
        self.runner.waiting.pop(self, None)

    def _take(self, revision: Revision) -> Worker | None:
        for worker in reversed(self.idle):
            if worker.revision is revision or (worker.revision and worker.revision.id == revision.id):
                self.idle.remove(worker)
                del self.since[worker]
                if worker.frozen:
                    worker.thaw()
                return worker
        return None

    def _begin(self, call: Call, worker: Worker) -> None:
        if call.timer is not None:
            call.timer.cancel()
        if not self.runner.begun(call, worker):
            self._rest(worker)
            return
        self.busy[worker] = call
        if worker not in self.colds:
            worker.log = Log()
        worker.log.add(f"START RequestId: {call.execution_id} Version: {call.revision.version}\n".encode())
        call.began = time.monotonic()
        timeout = call.revision.timeout_ms
        worker.call(call.execution_id.encode(), int(call.started * 1000) + timeout, call.event)
        call.timer = self.loop.call_later(timeout / 1000, self._timed_out, worker, call)

    def _timed_out(self, worker: Worker, call: Call) -> None:
        if self.busy.get(worker) is call:
            text = f"Task timed out after {call.revision.timeout_ms / 1000:.2f} seconds"
            self._end(worker, "timeout", failure("Function.Timeout", text))

    def heard(self, worker: Worker, kind: bytes, payload: bytes) -> None:
        """A frame from a worker. One that is not expected ends it."""
        call = self.busy.get(worker)
        if call is not None:
            # Its id comes back with the answer, so that what a function wrote too early answers no later call.
            name = call.execution_id.encode()
            if kind in (b"O", b"X", b"Z") and payload.startswith(bytes([len(name)]) + name):
                self._answered(worker, call, kind, payload[len(name) + 1 :])
                return
        elif worker in self.starting and kind in (b"L", b"F"):
            if kind == b"L":
                self._loaded(worker)
            else:
                self._init_failed(worker, self._read_failure(payload), "init")
            return
        text = "The function wrote to the platform's own channel what the platform did not expect."
        self._end(worker, "protocol", failure("Runtime.ProtocolError", text))

    def _answered(self, worker: Worker, call: Call, kind: bytes, body: bytes) -> None:
        del self.busy[worker]
        self._finish(worker, call, None if kind == b"O" else self._read_failure(body), body if kind == b"O" else b"")
        old = worker.calls >= MOST_CALLS or time.monotonic() - worker.born > LONGEST_LIFE
        if kind == b"Z" or old or self._is_outdated(worker):
            self.lost = "replaced"
            worker.kill("retired")
        else:
            self._rest(worker)
        self.pump()
        self.runner.pump_others(self)

    @staticmethod
    def _read_failure(body: bytes) -> dict[str, Any]:
        try:
            said = orjson.loads(body)
            stack = [str(line) for line in said["stack"]]
            return {"type": str(said["type"]), "message": str(said["message"]), "stack": stack}
        except (ValueError, TypeError, KeyError):
            return failure("Runtime.ProtocolError", "The function failed in a way that it could not describe.")

    def _finish(self, worker: Worker, call: Call, error: dict[str, Any] | None, result: bytes = b"") -> None:
        if call.timer is not None:
            call.timer.cancel()
        worker.drain()
        if error is not None and error["type"] in OURS:
            worker.log.add(f"{call.execution_id} {error['type']}: {error['message']}\n".encode())
        outcome = call.outcome(worker, error, cold=self.colds.pop(worker, None))
        self.runner.finished(call, worker, outcome, result)

    def _rest(self, worker: Worker) -> None:
        self.idle.append(worker)
        self.since[worker] = time.monotonic()

    def _is_outdated(self, worker: Worker) -> bool:
        return self.live is not None and worker.revision is not None and worker.revision.id != self.live

    # Workers

    def _scale(self, call: Call) -> None:
        """See that a worker of the call's revision is on its way, as soon as one more would help."""
        wanted = call.revision.id
        running = any(worker.revision and worker.revision.id == wanted for worker in self.busy)
        coming = any(revision.id == wanted for revision, _ in self.starting.values())
        if not running and not coming:
            self._start(call.revision)
        elif len(self.starting) < len(self.queue) and self.scaling is None:
            self.scaling = self.loop.call_later(self._start_time(call), self._scale_more)

    def _start_time(self, call: Call) -> float:
        """Seconds until the call has waited as long as a start takes."""
        return statistics.median(self.start_seconds) - (time.monotonic() - call.asked)

    def _scale_more(self) -> None:
        self.scaling = None
        if not self.queue:
            return
        if self._start_time(self.queue[0]) <= 0:
            room = self.queue[0].revision.max_concurrency - len(self.busy) - len(self.starting)
            for _ in range(min(room, (len(self.queue) - len(self.starting) + 1) // 2)):
                if not self._start(self.queue[0].revision):
                    break
        if len(self.starting) < len(self.queue):
            self.scaling = self.loop.call_later(max(0.001, self._start_time(self.queue[0])), self._scale_more)

    def _start(self, revision: Revision, check: asyncio.Future[dict[str, Any]] | None = None) -> bool:
        """Start one worker; False when the node has no memory for it now."""
        limit = self.runner.reserve(self, revision)
        if limit is not None:
            self.blocked = limit
            if check is not None:
                check.set_result({"error": "Busy", "limit_name": limit[0], "limit": limit[1], "retry_after": 1})
            return False
        if revision.id not in self.started:
            reason = "new_version" if self.started else "first"
        else:
            reason = self.lost if self.lost and not (self.busy or self.idle) else "scale_out"
        self.started.add(revision.id)
        cold = Cold(reason, check=check)
        self.starting[cold] = (revision, cold)
        self.runner.spawn(self._bring_up(revision, cold))
        return True

    async def _bring_up(self, revision: Revision, cold: Cold) -> None:
        code = self.runner.store.find(revision.code_sha256)
        try:
            if code is None:
                raise errors.Fatal("The function's code is gone from the node.")
            worker = await self.runner.pool.claim(revision.runtime, code, revision.memory_mb)
        except errors.NodeError as error:
            del self.starting[cold]
            self.runner.memory_mb -= revision.memory_mb
            self._unavailable(revision, cold, str(error))
            return
        del self.starting[cold]
        self.starting[worker] = (revision, cold)
        worker.reserved_mb = revision.memory_mb
        try:
            cgroups.apply(worker.groups, limits(revision.memory_mb))
        except OSError as error:
            log.error("limits of %s: %s", self.function, error)
        cold.assigned = time.monotonic()
        cold.timer = self.loop.call_later(self.runner.settings.init_seconds, self._init_timed_out, worker)
        worker.assign(self, revision, code)

    def _unavailable(self, revision: Revision, cold: Cold, reason: str) -> None:
        if cold.check is not None:
            cold.check.set_result({"error": "RunnerUnavailable", "reason": reason})
        elif not self.busy and not self.starting:
            while self.queue:
                call = self.queue.popleft()
                self.runner.queued.discard(call.key)
                call.refuse("RunnerUnavailable", reason=reason)
            self.runner.waiting.pop(self, None)

    def _loaded(self, worker: Worker) -> None:
        _, cold = self.starting.pop(worker)
        now = time.monotonic()
        cold.init_ms = (now - cold.assigned) * 1000
        self.start_seconds.append(now - cold.asked)
        self.runner.count_cold(cold.reason)
        if cold.timer is not None:
            cold.timer.cancel()
        if cold.check is not None:
            worker.drain()
            peak = worker.memory.peak() if worker.memory else 0
            facts = {"ok": True, "init_ms": cold.init_ms, "max_memory": peak, "log": worker.log.text(), "error": None}
            cold.check.set_result(facts)
        else:
            self.colds[worker] = cold
        self._rest(worker)
        self.pump()

    def _init_timed_out(self, worker: Worker) -> None:
        if worker in self.starting:
            text = f"Loading the function took longer than {self.runner.settings.init_seconds:g} seconds."
            self._init_failed(worker, failure("Init.Timeout", text), "init")

    def _init_failed(self, worker: Worker, error: dict[str, Any], why: str) -> None:
        """Whoever waits for this worker learns why its code cannot be loaded."""
        revision, cold = self.starting.pop(worker)
        if cold.timer is not None:
            cold.timer.cancel()
        cold.init_ms = (time.monotonic() - cold.assigned) * 1000
        worker.drain()
        worker.kill(why)
        if cold.check is not None:
            peak = worker.memory.peak() if worker.memory else 0
            facts = {"ok": False, "init_ms": cold.init_ms, "max_memory": peak, "log": worker.log.text(), "error": error}
            cold.check.set_result(facts)
        else:
            call = next((call for call in self.queue if call.revision.id == revision.id), None)
            if call is not None:
                self.queue.remove(call)
                if call.timer is not None:
                    call.timer.cancel()
                self.colds[worker] = cold
                if self.runner.begun(call, worker):
                    self._finish(worker, call, error)
        self.pump()

    def _end(self, worker: Worker, why: str, error: dict[str, Any]) -> None:
        """Kill a worker; what it was doing failed with `error`."""
        worker.drain()
        worker.kill(why)
        if worker in self.starting:
            self._init_failed(worker, error, why)
        call = self.busy.pop(worker, None)
        if call is not None:
            self.lost = "replaced"
            self._finish(worker, call, error)
        self._drop(worker)
        self.pump()
        self.runner.pump_others(self)

    def ended(self, worker: Worker, code: int | None) -> None:
        """The kernel's word that it is gone, whoever ended it."""
        if worker in self.busy or worker in self.starting:
            if worker.killed_for == "memory" or (worker.memory is not None and worker.memory.was_killed()):
                text = f"The function used more than its {worker.reserved_mb} MB of memory."
                error = failure("Runtime.OutOfMemory", text)
            else:
                error = failure("Runtime.ExitError", f"The function's process ended: {describe_exit(code)}.")
            self._end(worker, "ended", error)
        self._drop(worker)
        self.runner.release(worker)
        self.runner.pump_others(None)

    def _drop(self, worker: Worker) -> None:
        if worker in self.since:
            self.idle.remove(worker)
            del self.since[worker]
        self.colds.pop(worker, None)

    def retire(self, worker: Worker, why: str) -> None:
        """End an idle worker: `expired`, `evicted` or of an old version."""
        self.lost = why
        self._drop(worker)
        worker.kill(why)
        self.runner.release(worker)

    def check(self, revision: Revision, done: asyncio.Future[dict[str, Any]]) -> None:
        """Start a worker for whoever awaits `done`; it stays for the calls to come."""
        self._start(revision, done)

    def set_live(self, revision_id: str | None) -> None:
        self.live = revision_id or "none"
        for worker in list(self.idle):
            if self._is_outdated(worker):
                self.retire(worker, "new_version")

    def look_after(self, now: float, keep_warm: float) -> None:
        """Freeze what has nothing to do, end what nobody has needed for long."""
        for worker in list(self.idle):
            idle = now - self.since[worker]
            if idle > keep_warm:
                self.retire(worker, "expired")
            elif idle > FROZEN_AFTER and not worker.frozen:
                worker.freeze()


def describe_exit(code: int | None) -> str:
    if code is None:
        return "it was killed"
    return f"exit status {code}" if code < 128 else f"signal {code - 128}, exit status {code}"
