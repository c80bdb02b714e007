"""A lane is one function: its workers, the calls that wait for them, when to start another worker and when to end one.

A worker has one call at a time. Another one is started once the first in the queue has waited longer than a start
takes: sooner it would come too late. All of it runs in the event loop's callbacks, without a task for each call.
"""

import asyncio
import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from node.runner.calls import Call, failure
from node.runner.logs import Log
from node.runner.revisions import Revision
from node.runner.start import BAD_FRAME, Start, exit_failure, read_failure
from node.runner.worker import Worker

if TYPE_CHECKING:
    from node.runner.runner import Runner

LONGEST_QUEUE = 100
LONGEST_WAIT = 1.0  # seconds, or a tenth of the function's time-out
MOST_CALLS, LONGEST_LIFE = 100_000, 3600.0  # then a worker is replaced
FROZEN_AFTER = 0.1  # seconds without a call
SHORTEST_LOOK = 0.001  # seconds between two looks at the queue
# What the bootstrap did not live to print is printed for it.
UNPRINTED = ("Function.Timeout", "Init.Timeout", "Runtime.OutOfMemory", "Runtime.ExitError", "Runtime.ProtocolError")


class Lane:
    """Of one function, in any of its revisions."""

    def __init__(self, runner: "Runner", function: str) -> None:
        self.runner = runner
        self.function = function
        self.loop = asyncio.get_running_loop()
        self.queue: deque[Call] = deque()
        self.idle: dict[Worker, float] = {}  # since when; the one used last is the last
        self.busy: dict[Worker, Call] = {}
        self.starting: set[Start] = set()
        self.fresh: dict[Worker, Start] = {}  # workers that have not had a call yet
        self.live: str | None = None
        self.started: set[str] = set()  # revisions that have had a worker
        self.lost = ""  # why the last worker that we ended was ended
        self.start_seconds: deque[float] = deque([0.005], maxlen=9)
        self.start_time = 0.005  # their median
        self.blocked: tuple[str, int] = ("max_concurrency", 0)  # by which limit calls wait
        self.looking: asyncio.TimerHandle | None = None

    # Calls

    def submit(self, call: Call) -> None:
        self.queue.append(call)
        self.pump()
        if self.queue and self.queue[-1] is call:
            if len(self.queue) > LONGEST_QUEUE:
                self.queue.pop()
                self._refuse(call)
            else:
                self.runner.waiting[self] = None
                self._look_later()

    def pump(self) -> None:
        """Begin what can begin now; see that a worker comes for the rest."""
        while self.queue:
            call = self.queue[0]
            limit = self.runner.limit_reached(self, call.revision)
            if limit is not None:
                self.blocked = limit
                return
            worker = self._take(call.revision.id)
            if worker is None:
                self._insist(call.revision)
                return
            self.queue.popleft()
            self._begin(call, worker)
        self.runner.waiting.pop(self, None)

    def _take(self, revision_id: str) -> Worker | None:
        for worker in reversed(self.idle):
            if worker.revision is not None and worker.revision.id == revision_id:
                del self.idle[worker]
                if worker.frozen:
                    worker.thaw()
                return worker
        return None

    def _look_later(self) -> None:
        if self.looking is None and self.queue:
            seconds = max(SHORTEST_LOOK, self.start_time - (time.monotonic() - self.queue[0].asked))
            self.looking = self.loop.call_later(min(seconds, LONGEST_WAIT / 10), self._look)

    def _look(self) -> None:
        """Refuse who has waited too long for what does not come; start more workers for those who wait."""
        self.looking = None
        now = time.monotonic()
        while len(self.queue) > len(self.starting):
            call = self.queue[len(self.starting)]  # those before it have a worker coming, with a time-out of its own
            if now - call.asked < min(LONGEST_WAIT, call.revision.timeout_ms / 10_000):
                break
            self.queue.remove(call)
            self._refuse(call)
        short = len(self.queue) - len(self.starting)
        if short > 0 and now - self.queue[0].asked >= self.start_time:
            revision = self.queue[0].revision
            room = revision.max_concurrency - len(self.busy) - len(self.starting)
            for _ in range(min(room, (short + 1) // 2)):
                if not self._start(revision):
                    break
        self._look_later()

    def _refuse(self, call: Call) -> None:
        self.runner.queued.discard(call.key)
        name, limit = self.blocked
        call.refuse("Busy", limit_name=name, limit=limit or call.revision.max_concurrency, retry_after=1)
        if not self.queue:
            self.runner.waiting.pop(self, None)

    def _begin(self, call: Call, worker: Worker) -> None:
        if not self.runner.begun(call, worker):
            self._rest(worker)
            return
        self.busy[worker] = call
        if worker not in self.fresh:
            worker.log = Log()
        worker.log.add(f"START RequestId: {call.execution_id} Version: {call.revision.version}\n".encode())
        call.began = time.monotonic()
        timeout = call.revision.timeout_ms
        call.timer = self.loop.call_later(timeout / 1000, self._timed_out, worker, call)
        worker.call(call.execution_id.encode(), int(call.started * 1000) + timeout, call.event)

    def _timed_out(self, worker: Worker, call: Call) -> None:
        if self.busy.get(worker) is call:
            text = f"Task timed out after {call.revision.timeout_ms / 1000:.2f} seconds"
            self._end(worker, "timeout", failure("Function.Timeout", text))

    def heard(self, worker: Worker, kind: bytes, payload: bytes) -> None:
        """A frame from a worker. One that is not expected ends it."""
        call = self.busy.get(worker)
        if call is not None and kind in (b"O", b"X", b"Z"):
            # Its id comes back with the answer, so that what a function wrote too early answers no later call.
            name = call.execution_id.encode()
            if payload.startswith(bytes([len(name)]) + name):
                self._answered(worker, call, kind, payload[len(name) + 1 :])
                return
        self._end(worker, "protocol", failure("Runtime.ProtocolError", BAD_FRAME))

    def _answered(self, worker: Worker, call: Call, kind: bytes, body: bytes) -> None:
        del self.busy[worker]
        if kind == b"O":
            self._finish(worker, call, None, body)
        else:
            self._finish(worker, call, read_failure(body))
        old = worker.calls >= MOST_CALLS or time.monotonic() - worker.born > LONGEST_LIFE
        if kind == b"Z" or old or self._is_outdated(worker):
            self.lost = "replaced"
            worker.kill("replaced")
        else:
            self._rest(worker)
        self.pump()
        self.runner.pump_others(self)

    def _finish(self, worker: Worker, call: Call, error: dict[str, Any] | None, result: bytes = b"") -> None:
        if call.timer is not None:
            call.timer.cancel()
        worker.drain()
        if error is not None and error["type"] in UNPRINTED:
            worker.log.add(f"{call.execution_id} {error['type']}: {error['message']}\n".encode())
        outcome = call.outcome(worker, error, self.fresh.pop(worker, None))
        self.runner.finished(call, worker, outcome, result)

    # Workers

    def check(self, revision: Revision, done: asyncio.Future[dict[str, Any]]) -> None:
        """Start a worker for whoever awaits `done`; it stays for the calls to come."""
        if not self._start(revision, done):
            name, limit = self.blocked
            done.set_result({"error": "Busy", "limit_name": name, "limit": limit, "retry_after": 1})

    def _insist(self, revision: Revision) -> None:
        """A call has no hope without a worker of its revision: start one if there is none."""
        at_work = {call.revision.id for call in self.busy.values()} | {start.revision.id for start in self.starting}
        if revision.id not in at_work:
            self._start(revision)

    def _start(self, revision: Revision, check: asyncio.Future[dict[str, Any]] | None = None) -> bool:
        """Start one worker; False when the node has no memory for it now."""
        limit = self.runner.reserve(self, revision)
        if limit is not None:
            self.blocked = limit
            return False
        if revision.id not in self.started:
            reason = "new_version" if self.started else "first"
        else:
            reason = self.lost if self.lost and not (self.busy or self.idle) else "scale_out"
        self.started.add(revision.id)
        start = Start(self, revision, reason, check)
        self.starting.add(start)
        self.runner.spawn(start.run())
        return True

    def unavailable(self, start: Start, reason: str) -> None:
        """No sandbox can be made. Those who wait for one are told; with others at work they may still be served."""
        self.starting.discard(start)
        while self.queue and not self.busy and not self.starting:
            call = self.queue.popleft()
            self.runner.queued.discard(call.key)
            call.refuse("RunnerUnavailable", reason=reason)
            self.runner.waiting.pop(self, None)

    def loaded(self, start: Start, worker: Worker) -> None:
        self.starting.discard(start)
        self.start_seconds.append(time.monotonic() - start.asked)
        self.start_time = statistics.median(self.start_seconds)
        self.runner.cold_starts[start.reason] += 1
        if start.check is None:
            self.fresh[worker] = start
        self._rest(worker)
        self.pump()

    def not_loaded(self, start: Start, worker: Worker, error: dict[str, Any]) -> None:
        """The first call that waits for such a worker ends with what went wrong."""
        self.starting.discard(start)
        call = next((call for call in self.queue if call.revision.id == start.revision.id), None)
        if call is not None and start.check is None:
            self.queue.remove(call)
            self.fresh[worker] = start
            if self.runner.begun(call, worker):
                self._finish(worker, call, error)
        self.pump()

    def _rest(self, worker: Worker) -> None:
        self.idle[worker] = time.monotonic()

    def _is_outdated(self, worker: Worker) -> bool:
        return self.live is not None and worker.revision is not None and worker.revision.id != self.live

    def _end(self, worker: Worker, why: str, error: dict[str, Any]) -> None:
        """Kill a worker; what it was doing failed with `error`."""
        self._drop(worker)
        worker.drain()
        worker.kill(why)
        call = self.busy.pop(worker, None)
        if call is not None:
            self.lost = "replaced"
            self._finish(worker, call, error)
        self.pump()
        self.runner.pump_others(self)

    def ended(self, worker: Worker, code: int | None) -> None:
        """The kernel's word that it is gone, whoever ended it."""
        if worker in self.busy:
            self._end(worker, "ended", exit_failure(worker, code))
        self._drop(worker)
        self.fresh.pop(worker, None)
        self.runner.release(worker)
        self.pump()
        self.runner.pump_others(self)

    def _drop(self, worker: Worker) -> None:
        if self.idle.pop(worker, None) is not None:
            self.fresh.pop(worker, None)

    def retire(self, worker: Worker, why: str) -> None:
        """End an idle worker: `expired`, `evicted` or of an old version."""
        self.lost = why
        self._drop(worker)
        worker.kill(why)
        self.runner.release(worker)

    def set_live(self, revision_id: str | None) -> None:
        self.live = revision_id or ""
        for worker in list(self.idle):
            if self._is_outdated(worker):
                self.retire(worker, "new_version")

    def look_after(self, now: float, keep_warm: float) -> None:
        """Freeze what has nothing to do, end what nobody has needed for long."""
        for worker, since in list(self.idle.items()):
            if now - since > keep_warm:
                self.retire(worker, "expired")
            elif now - since > FROZEN_AFTER and not worker.frozen:
                worker.freeze()
