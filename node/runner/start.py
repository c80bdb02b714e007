"""One worker on its way: from the wish for it until its code is loaded, or cannot be."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import orjson

from node import cgroups, errors
from node.runner.calls import failure
from node.runner.revisions import Revision
from node.runner.sandbox import limits
from node.runner.worker import Worker

if TYPE_CHECKING:
    from node.runner.lanes import Lane

log = logging.getLogger(__name__)

BAD_FRAME = "The function wrote to the platform's own channel what the platform did not expect."


def read_failure(body: bytes) -> dict[str, Any]:
    """What a bootstrap reports, if it is that."""
    try:
        said = orjson.loads(body)
        stack = [str(line) for line in said["stack"]]
        return {"type": str(said["type"]), "message": str(said["message"]), "stack": stack}
    except (ValueError, TypeError, KeyError):
        return failure("Runtime.ProtocolError", "The function failed in a way that it could not describe.")


def exit_failure(worker: Worker, code: int | None) -> dict[str, Any]:
    """Why a sandbox ended by itself; `code` as bwrap tells it."""
    if worker.killed_for == "memory" or (worker.memory is not None and worker.memory.was_killed()):
        text = f"The function used more than its {worker.reserved_mb} MB of memory."
        return failure("Runtime.OutOfMemory", text)
    how = "it was killed" if code is None else f"exit status {code}"
    if code is not None and code > 128:
        how = f"signal {code - 128}, {how}"
    return failure("Runtime.ExitError", f"The function's process ended: {how}.")


class Start:
    """Owns its worker until it is loaded; then the lane does. `check` awaits the result in place of a call."""

    def __init__(
        self, lane: "Lane", revision: Revision, reason: str, check: asyncio.Future[dict[str, Any]] | None
    ) -> None:
        self.lane, self.revision, self.reason, self.check = lane, revision, reason, check
        self.asked = self.assigned = time.monotonic()
        self.init_ms = 0.0
        self.worker: Worker | None = None
        self.timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Take a sandbox and give it the code."""
        runner, revision = self.lane.runner, self.revision
        code = runner.store.find(revision.code_sha256)
        try:
            if code is None:
                raise errors.Fatal("The function's code is gone from the node.")
            worker = await runner.pool.claim(revision.runtime, code, revision.memory_mb)
        except errors.NodeError as error:
            runner.memory_mb -= revision.memory_mb
            if self.check is not None:
                self.check.set_result({"error": "RunnerUnavailable", "reason": str(error)})
            self.lane.unavailable(self, str(error))
            return
        self.worker = worker
        worker.reserved_mb = revision.memory_mb
        try:
            cgroups.apply(worker.groups, limits(revision.memory_mb))
        except OSError as error:
            log.error("limits of %s: %s", revision.function, error)
        self.assigned = time.monotonic()
        seconds = runner.settings.init_seconds
        text = f"Loading the function took longer than {seconds:g} seconds."
        self.timer = asyncio.get_running_loop().call_later(seconds, self.fail, failure("Init.Timeout", text))
        worker.assign(self, revision, code)

    def heard(self, worker: Worker, kind: bytes, payload: bytes) -> None:
        if kind == b"L":
            self._finish(worker)
            self._tell(worker, None)
            self.lane.loaded(self, worker)
        else:
            self.fail(read_failure(payload) if kind == b"F" else failure("Runtime.ProtocolError", BAD_FRAME))

    def ended(self, worker: Worker, code: int | None) -> None:
        self.fail(exit_failure(worker, code))
        self.lane.ended(worker, code)

    def fail(self, error: dict[str, Any]) -> None:
        """It cannot be loaded. Whoever waits learns why."""
        worker = self.worker
        if worker is not None and worker.owner is self:
            self._finish(worker)
            worker.drain()
            worker.kill("init")
            self._tell(worker, error)
            self.lane.not_loaded(self, worker, error)

    def _finish(self, worker: Worker) -> None:
        self.init_ms = (time.monotonic() - self.assigned) * 1000
        if self.timer is not None:
            self.timer.cancel()
        worker.owner = self.lane

    def _tell(self, worker: Worker, error: dict[str, Any] | None) -> None:
        if self.check is not None:
            worker.drain()
            peak = worker.memory.peak() if worker.memory else 0
            facts = {"ok": error is None, "init_ms": self.init_ms, "max_memory": peak, "log": worker.log.text()}
            self.check.set_result({**facts, "error": error})
