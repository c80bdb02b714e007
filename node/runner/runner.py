"""What all functions share on one node: memory, accounts' limits, the journal, and the round of looking after.

`lanes` decides for one function; here is what needs to know of others. The socket is `daemon`'s.
"""

import asyncio
import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node import cgroups, errors
from node.runner import runtimes
from node.runner.calls import Call
from node.runner.journal import Journal
from node.runner.lanes import Lane
from node.runner.logs import TAIL
from node.runner.pool import Pool
from node.runner.revisions import Revision, Store
from node.runner.sandbox import Sandboxes
from node.runner.worker import Worker
from node.spawner import Spawner

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
WATCH_SECONDS = 0.02  # over memory, where no cgroup does it
SYNC_SECONDS = 0.1
TIDY_SECONDS = 1.0
DRAIN_SECONDS = 5.0  # for calls to end before the runner does
CLOSE_SECONDS = 10.0  # for sandboxes to end; milliseconds, but on a machine with much else to do
RECENT = 64  # logs kept of what has ended, until the platform has them


@dataclass(frozen=True)
class Settings:
    """How a node runs functions; `ready` counts sandboxes for each family of runtimes."""

    memory_mb: int  # promised to workers together
    keep_warm: float = 600.0  # seconds before an unused worker ends
    init_seconds: float = 10.0  # for loading a function
    ready: dict[str, int] = field(default_factory=lambda: {"python": 3, "node": 2})


class Runner:
    """One node's functions. Made inside the event loop; `begin` starts what goes on by itself."""

    def __init__(self, home: Path, settings: Settings) -> None:
        self.settings = settings
        self.journal = Journal(home / "journal")
        self.store = Store(home / "code")
        self.spawner = Spawner()
        self.spawner.start()
        self.groups = cgroups.Cgroups(home)
        self.maker = Sandboxes(home, self.groups, self.spawner)
        self.runtimes = runtimes.find()
        self.pool = Pool(self.maker, self.runtimes, settings.ready)
        self.memory_mb = 0  # promised to workers
        self.revisions: dict[str, Revision] = {}
        self.lanes: dict[str, Lane] = {}
        self.accounts: Counter[str] = Counter()  # calls that run
        self.waiting: dict[Lane, None] = {}  # in the order of their turn
        self.queued: set[tuple[str, int]] = set()
        self.running: dict[str, Worker] = {}
        self.recent: OrderedDict[str, str] = OrderedDict()
        self.cold_starts: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.closing = False

    def begin(self) -> None:
        self.spawn(self.pool.refill())
        self.spawn(self._look())
        self.spawn(self._sync())
        self.spawn(self._tidy())
        if not self.maker.counted:
            self.spawn(self._watch())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the runner failed", exc_info=error)

    async def close(self) -> None:
        """End everything. What still runs after a while is written down as lost at the next start."""
        self.closing = True
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.running and time.monotonic() < deadline:  # noqa: ASYNC110  asked once in a lifetime
            await asyncio.sleep(0.01)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()
        self.spawner.close()  # all sandboxes end with it
        self.maker.end_all()
        self.journal.sync()
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self.maker.remove_all() and time.monotonic() < deadline:  # noqa: ASYNC110  the kernel tells nobody
            await asyncio.sleep(0.02)
        self.groups.close()

    # What the lanes ask

    def lane(self, function: str) -> Lane:
        if function not in self.lanes:
            self.lanes[function] = Lane(self, function)
        return self.lanes[function]

    def limit_reached(self, lane: Lane, revision: Revision) -> tuple[str, int] | None:
        """The limit, by name and value, that keeps one more call of this function from beginning."""
        if len(lane.busy) >= revision.max_concurrency:
            return "max_concurrency", revision.max_concurrency
        if self.accounts[revision.account] >= revision.account_concurrency:
            return "account_concurrency", revision.account_concurrency
        return None

    def reserve(self, lane: Lane, revision: Revision) -> tuple[str, int] | None:
        """Take memory for one more worker, from idle ones of others if need be; or the limit that is reached."""
        if len(lane.busy) + len(lane.idle) + len(lane.starting) >= revision.max_concurrency:
            for worker in list(lane.idle)[:1]:
                lane.retire(worker, "new_version")  # it must be of another revision, or it would have been used
        while self.memory_mb + revision.memory_mb > self.settings.memory_mb:
            idle = [(since, other, worker) for other in self.lanes.values() for worker, since in other.idle.items()]
            if not idle:
                return "node_memory_mb", self.settings.memory_mb
            _, other, worker = min(idle, key=lambda entry: entry[0])
            other.retire(worker, "evicted")
        self.memory_mb += revision.memory_mb
        return None

    def release(self, worker: Worker) -> None:
        self.memory_mb -= worker.reserved_mb
        worker.reserved_mb = 0

    def begun(self, call: Call, worker: Worker) -> bool:
        """Write down that it starts. False when that is impossible: then it is refused and must not run."""
        self.queued.discard(call.key)
        call.started = time.time()
        try:
            self.journal.start(call.key, call.facts())
        except OSError as error:
            call.refuse("RunnerUnavailable", reason=f"The journal of executions cannot be written: {error.strerror}.")
            return False
        self.running[call.execution_id] = worker
        self.accounts[call.revision.account] += 1
        return True

    def finished(self, call: Call, worker: Worker, outcome: dict[str, Any], result: bytes) -> None:
        """Write down how it ended, then say so."""
        text = worker.log.text()
        del self.running[call.execution_id]
        self.accounts[call.revision.account] -= 1
        self.recent[call.execution_id] = text
        if len(self.recent) > RECENT:
            self.recent.popitem(last=False)
        try:
            self.journal.end(call.key, {**outcome, "log": text, "result_bytes": len(result)})
        except OSError as error:
            call.refuse("RunnerUnavailable", reason=f"The journal of executions cannot be written: {error.strerror}.")
            return
        call.answer({**outcome, "log_tail": text[-TAIL:]}, result)

    def pump_others(self, lane: Lane | None) -> None:
        """Something became free: offer it to all who wait, one after the other, beginning where we stopped last."""
        for other in list(self.waiting):
            if other is not lane:
                self.waiting.pop(other, None)
                self.waiting[other] = None
                other.pump()

    # What goes on by itself

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for lane in list(self.lanes.values()):
                lane.look_after(now, self.settings.keep_warm)

    async def _watch(self) -> None:
        """End what uses more memory than it may. Best effort: only as often as we look."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for lane in list(self.lanes.values()):
                for worker in [*lane.busy, *(start.worker for start in lane.starting if start.worker)]:
                    if worker.memory is not None and worker.memory.exceeds(worker.reserved_mb << 20):
                        worker.kill("memory")

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            self.journal.settle()
            if self.journal.dirty:
                await asyncio.to_thread(self.journal.sync)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            if self.maker.leftover:
                await asyncio.to_thread(self.maker.tidy)

    # What the platform asks

    def submit(self, call: Call) -> None:
        if self.closing:
            call.refuse("RunnerUnavailable", reason="The function runner is being stopped.")
            return
        if call.key in self.queued or self.journal.has(call.key):
            call.refuse("Duplicate")
            return
        self.queued.add(call.key)
        self.lane(call.revision.function).submit(call)

    def put(self, revision: Revision, data: bytes) -> bool:
        """False when the code must be sent along. Blocking. Raises errors.NodeError."""
        if revision.runtime not in self.pool.runtimes:
            have = ", ".join(self.pool.runtimes)
            raise errors.Unsupported(f"This node has no runtime {revision.runtime}; it has {have}.")
        if data:
            self.store.add(revision.code_sha256, data)
        if self.store.find(revision.code_sha256) is None:
            return False
        self.revisions.setdefault(revision.id, revision)
        return True

    async def check(self, revision: Revision) -> dict[str, Any]:
        """Load it once. The worker stays, warm, for the first call."""
        done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.lane(revision.function).check(revision, done)
        return await done

    def set_live(self, function: str, revision_id: str | None) -> None:
        if function in self.lanes:
            self.lanes[function].set_live(revision_id)
        if revision_id is None:
            self.revisions = {key: value for key, value in self.revisions.items() if value.function != function}

    def logs(self, execution_id: str) -> str | None:
        if execution_id in self.running:
            worker = self.running[execution_id]
            worker.drain()
            return worker.log.text()
        return self.recent.get(execution_id)

    def status(self) -> dict[str, Any]:
        """For health and people; counts, megabytes, seconds."""
        lanes = self.lanes.values()
        return {
            "ok": self.pool.problem is None,
            "reason": str(self.pool.problem or ""),
            "mode": "root" if self.maker.tier.map else "user",
            "memory_limits": "enforced" if self.maker.counted else "approximate",
            "runtimes": list(self.pool.runtimes),
            "ready": {name: len(workers) for name, workers in self.pool.ready.items()},
            "warm": sum(len(lane.idle) for lane in lanes),
            "busy": sum(len(lane.busy) for lane in lanes),
            "starting": sum(len(lane.starting) for lane in lanes),
            "queued": sum(len(lane.queue) for lane in lanes),
            "cold_starts": dict(self.cold_starts),
            "memory_mb": {"used": self.memory_mb, "limit": self.settings.memory_mb},
            "journal_lag_seconds": self.journal.lag_seconds(),
            "pid": os.getpid(),
        }
