"""A runner without sandboxes, for tests of everything above drivers. Never chosen by default.

It keeps the promises of `base.Driver` in one JSON file under `home`, so that the web server, the worker and a test see
the same journal. It runs no code: what a function answers, a test says by `script`, else it answers the event itself.
"""

import fcntl
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from functions.drivers import base

RUNTIMES = [
    base.Runtime("python3.11", "Python 3.11", "python", "3.11.2"),
    base.Runtime("nodejs20", "Node.js 20", "node", "20.20.0"),
]


class FakeDriver:
    """`home` is the directory its state lives in; two drivers on one home are one runner."""

    def __init__(self, home: Path) -> None:
        self.file = home / "fake-runner.json"
        self._thread = threading.Lock()

    # For tests

    def script(self, function: str, **said: Any) -> None:
        """What the function's executions come to: `result`, or `error` (a type); `duration_us`, `log`, `init_ms` …"""
        with self._state() as state:
            state["scripts"][function] = said

    def break_builds(self, function: str, type: str, message: str) -> None:
        """Let the checks of the function's code fail."""
        with self._state() as state:
            state["broken"][function] = [type, message]

    def fail_next(self, method: str, *errors: base.RunnerError) -> None:
        """Let the next calls of `method` raise these, one each, without doing anything."""
        kinds = {
            base.Busy: lambda e: [e.limit_name, e.limit, e.retry_after],
            base.RunnerUnavailable: lambda e: [e.reason],
        }
        with self._state() as state:
            state["faults"].setdefault(method, []).extend(
                [[type(error).__name__, kinds.get(type(error), lambda e: [str(e)])(error)] for error in errors]
            )

    def die(self) -> None:
        """Be killed and started again: what is known only in memory is gone, what ran is recorded as lost."""
        with self._state() as state:
            state["revisions"] = {}
            ended = {(line["id"], line["attempt"]) for line in state["journal"] if line["t"] == "end"}
            for line in list(state["journal"]):
                if line["t"] == "start" and (line["id"], line["attempt"]) not in ended:
                    lost = base.Failure("Platform.RunnerLost", "The runner ended while this ran")
                    state["journal"].append(_end(line, base.Outcome(line["id"], "failed", error=lost), line["at"], 0))

    def begin(self, revision_id: str, execution_id: str, *, attempt: int = 1, trigger: base.Trigger = "sync") -> None:
        """Start an execution that does not end, as one that runs while a test looks."""
        with self._state() as state:
            self._start(state, revision_id, execution_id, attempt, trigger)

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append records to the journal as they are."""
        with self._state() as state:
            state["journal"] += lines

    def calls(self, method: str) -> int:
        with self._state() as state:
            count: int = state["calls"].get(method, 0)
            return count

    def reset(self) -> None:
        """Forget everything."""
        self.file.unlink(missing_ok=True)

    # The protocol

    def runtimes(self) -> list[base.Runtime]:
        self._begin("runtimes")
        return RUNTIMES

    def put(self, revision: base.Revision, code: bytes | None) -> bool:
        self._begin("put")
        with self._state() as state:
            if code is not None and hashlib.sha256(code).hexdigest() == revision.code_sha256:
                state["codes"][revision.code_sha256] = len(code)
            if revision.code_sha256 not in state["codes"]:
                return False
            state["revisions"][revision.id] = asdict(revision)
            return True

    def check(self, revision_id: str) -> base.Build:
        self._begin("check")
        with self._state() as state:
            revision = self._revision(state, revision_id)
            if broken := state["broken"].get(revision["function"]):
                return base.Build(
                    False, log="Traceback …", error=base.Failure(broken[0], broken[1], ["app.py, line 1"])
                )
            return base.Build(True, init_ms=3, max_memory_mb=5, log="")

    def set_live(self, function: str, revision_id: str | None) -> None:
        self._begin("set_live")
        with self._state() as state:
            state["live"][function] = revision_id

    def invoke(
        self, revision_id: str, execution_id: str, event: bytes, *, attempt: int = 1, trigger: base.Trigger = "sync"
    ) -> base.Outcome:
        self._begin("invoke")
        with self._state() as state:
            start = self._start(state, revision_id, execution_id, attempt, trigger)
            said = state["scripts"].get(start["function"], {})
            outcome = _outcome(execution_id, said, event)
            # It ends now however long it says it took: an end to come would belong to an hour that has not begun.
            state["journal"].append(_end(start, outcome, time.time(), start["memory_mb"]))
            return outcome

    def journal(self, cursor: base.Cursor, limit: int) -> tuple[list[dict[str, Any]], base.Cursor]:
        self._begin("journal")
        with self._state() as state:
            segment, offset = cursor if cursor[0] else ("1", 0)
            lines = state["journal"][offset : offset + limit]
            return lines, (segment, offset + len(lines)) if lines else cursor

    def ack(self, cursor: base.Cursor) -> None:
        self._begin("ack")
        with self._state() as state:
            state["acked"] = cursor[1]

    def logs(self, execution_id: str) -> str | None:
        self._begin("logs")
        with self._state() as state:
            ran = [line for line in state["journal"] if line["id"] == execution_id]
            return ran[-1].get("log", "still running\n") if ran else None

    def status(self) -> dict[str, Any]:
        self._begin("status")
        return {"warm": 0, "busy": 0, "queued": 0, "cold_starts": {}, "journal_lag_s": 0}

    # How it works

    @contextmanager
    def _state(self) -> Iterator[dict[str, Any]]:
        """The state, alone among threads and processes, written back at the end; an exception changes nothing."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._thread, open(self.file.with_suffix(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            empty: dict[str, Any] = {
                name: {} for name in ("revisions", "codes", "live", "scripts", "broken", "faults", "calls")
            }
            state = json.loads(self.file.read_text()) if self.file.exists() else empty | {"journal": [], "acked": 0}
            yield state
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps(state))
            new.replace(self.file)

    def _begin(self, method: str) -> None:
        """Count the call, and fail as a test asked for."""
        with self._state() as state:
            state["calls"][method] = state["calls"].get(method, 0) + 1
            faults = state["faults"].get(method, [])
            fault = faults.pop(0) if faults else None
        if fault:
            raise getattr(base, fault[0])(*fault[1])

    def _revision(self, state: dict[str, Any], id: str) -> dict[str, Any]:
        if id not in state["revisions"]:
            raise base.UnknownRevision(id)
        found: dict[str, Any] = state["revisions"][id]
        return found

    def _start(
        self, state: dict[str, Any], revision_id: str, execution_id: str, attempt: int, trigger: str
    ) -> dict[str, Any]:
        revision = self._revision(state, revision_id)
        if any(line["id"] == execution_id and line["attempt"] == attempt for line in state["journal"]):
            raise base.Duplicate(execution_id)
        names = ("account", "function", "version", "memory_mb")
        start = {"t": "start", "id": execution_id, "attempt": attempt, "revision": revision_id, "trigger": trigger}
        start |= {name: revision[name] for name in names} | {"at": time.time()}
        state["journal"].append(start)
        return start


def _outcome(execution_id: str, said: dict[str, Any], event: bytes) -> base.Outcome:
    duration = said.get("duration_us", 1500)
    error = (
        base.Failure(said["error"], "It was told to fail", ["app.py, line 1, in handler"]) if "error" in said else None
    )
    return base.Outcome(
        execution_id,
        "failed" if error else "succeeded",
        result=None if error else (json.dumps(said["result"]).encode() if "result" in said else event),
        error=error,
        duration_us=duration,
        billed_ms=-(-duration // 1000),
        init_ms=said.get("init_ms"),
        cold_start=said.get("cold_start"),
        max_memory_mb=said.get("max_memory_mb", 12),
        log_tail=said.get("log", f"START RequestId: {execution_id}\nEND RequestId: {execution_id}\n"),
    )


def _end(start: dict[str, Any], outcome: base.Outcome, ended: float, memory_mb: int) -> dict[str, Any]:
    facts = {name: start[name] for name in start if name not in ("t", "at")}
    return facts | {
        "t": "end",
        "status": outcome.status,
        "error": outcome.error.as_json() if outcome.error else None,
        "started": start["at"],
        "ended": ended,
        "duration_us": outcome.duration_us,
        "billed_ms": outcome.billed_ms,
        "init_ms": outcome.init_ms,
        "cold_start": outcome.cold_start,
        "memory_mb": memory_mb,
        "max_memory_mb": outcome.max_memory_mb,
        "log": outcome.log_tail,
        "result_bytes": len(outcome.result) if outcome.result is not None else None,
    }
