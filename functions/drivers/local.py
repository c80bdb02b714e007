"""The driver of this machine: a client of the function runner that runs beside it. It holds no state and no sandbox."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from functions.drivers import base
from node import client
from node.runner import wire

LOOK_SECONDS = 10.0  # for what only looks
WORK_SECONDS = 60.0  # for unpacking code, and for loading it
LONGEST_CALL = 960.0  # seconds: the longest time-out, a wait and a cold start
NOT_RUNNING = "The function runner is not running. Start it with: python3 manage.py up"
UNKNOWN_OUTCOME = "The function runner ended before it answered; the journal will tell what became of the call."


class LocalDriver:
    """Calls the runner of `home`. Safe to use from many threads; connections stay open and are used again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.connections: wire.Connections | None = None

    def runtimes(self) -> list[base.Runtime]:
        head, _ = self._call("runtimes", timeout=LOOK_SECONDS)
        return [base.Runtime(**facts) for facts in head["runtimes"]]

    def put(self, revision: base.Revision, code: bytes | None) -> bool:
        head, _ = self._call("put", code or b"", timeout=WORK_SECONDS, revision=asdict(revision))
        return bool(head["known"])

    def check(self, revision_id: str) -> base.Build:
        head, _ = self._call("check", timeout=WORK_SECONDS, revision=revision_id)
        error = base.Failure(**head["error"]) if head["error"] else None
        memory_mb = math.ceil(head["max_memory"] / (1 << 20))
        return base.Build(head["ok"], math.ceil(head["init_ms"]), memory_mb, head["log"], error)

    def set_live(self, function: str, revision_id: str | None) -> None:
        self._call("set_live", timeout=LOOK_SECONDS, function=function, revision=revision_id)

    def invoke(
        self, revision_id: str, execution_id: str, event: bytes, *, attempt: int = 1, trigger: base.Trigger = "sync"
    ) -> base.Outcome:
        head, body = self._call(
            "invoke",
            event,
            timeout=LONGEST_CALL,
            revision=revision_id,
            execution=execution_id,
            attempt=attempt,
            trigger=trigger,
        )
        failed = head["error"]
        return base.Outcome(
            execution_id=execution_id,
            status=head["status"],
            result=None if failed else body,
            error=base.Failure(**failed) if failed else None,
            duration_us=head["duration_us"],
            billed_ms=head["billed_ms"],
            init_ms=head["init_ms"],
            cold_start=head["cold_start"],
            max_memory_mb=head["max_memory_mb"],
            log_tail=head["log_tail"],
        )

    def journal(self, cursor: base.Cursor, limit: int) -> tuple[list[dict[str, Any]], base.Cursor]:
        head, body = self._call("journal", timeout=LOOK_SECONDS, cursor=cursor, limit=limit)
        segment, offset = head["cursor"]
        return [json.loads(line) for line in body.splitlines()], (segment, offset)

    def ack(self, cursor: base.Cursor) -> None:
        self._call("ack", timeout=LOOK_SECONDS, cursor=cursor)

    def logs(self, execution_id: str) -> str | None:
        head, _ = self._call("logs", timeout=LOOK_SECONDS, execution=execution_id)
        text: str | None = head["text"]
        return text

    def status(self) -> dict[str, Any]:
        return self._call("status", timeout=LOOK_SECONDS)[0]

    def _call(self, op: str, body: bytes = b"", *, timeout: float, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        """Ask the runner; its refusals become ours."""
        try:
            if self.connections is None:
                self.connections = wire.Connections(client.socket_path(self.home, wire.SOCKET))
            head, answer = self.connections.call(op, body, timeout=timeout, **arguments)
        except (wire.Unreachable, FileNotFoundError) as error:
            sent = isinstance(error, wire.Unreachable) and error.sent
            raise base.RunnerUnavailable(UNKNOWN_OUTCOME if sent else NOT_RUNNING) from None
        refused = head.get("error")
        if not isinstance(refused, str):
            return head, answer
        if refused == "Busy":
            raise base.Busy(head["limit_name"], head["limit"], head["retry_after"])
        if refused == "UnknownRevision":
            raise base.UnknownRevision("The runner does not know this revision.")
        if refused == "Duplicate":
            raise base.Duplicate("This attempt of this execution is in the journal already.")
        if refused == "RunnerUnavailable":
            raise base.RunnerUnavailable(head["reason"])
        raise base.RunnerError(head["reason"])
