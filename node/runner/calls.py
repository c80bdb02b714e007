"""One call of a function: what was asked, when it ran, and how it is told: journal, log lines, answer."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from node.runner.revisions import Revision
from node.runner.worker import Worker

if TYPE_CHECKING:
    from node.runner.start import Start

Answer = Callable[[dict[str, Any], bytes], None]


def failure(type: str, message: str) -> dict[str, Any]:
    return {"type": type, "message": message, "stack": []}


@dataclass(eq=False)
class Call:
    """`answer` is called once, with the head and the body of the answer."""

    revision: Revision
    execution_id: str
    attempt: int
    trigger: str
    event: bytes
    answer: Answer
    asked: float = field(default_factory=time.monotonic)
    started: float = 0.0  # seconds since the epoch
    began: float = 0.0  # monotonic
    timer: asyncio.TimerHandle | None = None  # of its time-out

    @property
    def key(self) -> tuple[str, int]:
        return self.execution_id, self.attempt

    def refuse(self, kind: str, **facts: Any) -> None:
        """Not run at all: `kind` names an error of `functions.drivers.base`."""
        self.answer({"error": kind, **facts}, b"")

    def facts(self) -> dict[str, Any]:
        """What both of its records in the journal say."""
        revision = self.revision
        return {
            "account": revision.account,
            "function": revision.function,
            "revision": revision.id,
            "version": revision.version,
            "trigger": self.trigger,
            "at": self.started,
            "memory_mb": revision.memory_mb,
        }

    def outcome(self, worker: Worker, error: dict[str, Any] | None, start: "Start | None") -> dict[str, Any]:
        """Durations, memory and log, once it has ended; `start` is its worker's where this was its first call."""
        duration_us = max(1, int((time.monotonic() - self.began) * 1e6)) if self.began else 0
        init_ms = start.init_ms if start else None
        billed_ms = math.ceil(duration_us / 1000 + (init_ms or 0.0))
        peak = worker.memory.peak() if worker.memory else 0
        # The kernel counts the group's last page too late to show the limit itself.
        used_mb = min(self.revision.memory_mb, math.ceil(peak / (1 << 20))) or 1
        report = (
            f"END RequestId: {self.execution_id}\nREPORT RequestId: {self.execution_id}\t"
            f"Duration: {duration_us / 1000:.2f} ms\tBilled Duration: {billed_ms} ms\t"
            f"Memory Size: {self.revision.memory_mb} MB\tMax Memory Used: {used_mb} MB\t"
        )
        if init_ms is not None:
            report += f"Init Duration: {init_ms:.2f} ms\t"
        if error is not None and error["type"] in ("Function.Timeout", "Init.Timeout"):
            report += "Status: timeout\t"
        worker.log.add(report.encode() + b"\n")
        return {
            "status": "failed" if error else "succeeded",
            "error": error,
            "started": self.started,
            "ended": self.started + duration_us / 1e6,
            "duration_us": duration_us,
            "billed_ms": billed_ms,
            "init_ms": None if init_ms is None else math.ceil(init_ms),
            "cold_start": start.reason if start else None,
            "max_memory_mb": used_mb,
        }
