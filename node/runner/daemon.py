"""The runner's socket: requests of the platform, answered in the order in which they are done.

An invoke is handed on without a task, for it is what happens thousands of times a second; the rest has time.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from node import errors
from node.runner import wire
from node.runner.calls import Call
from node.runner.revisions import Revision
from node.runner.runner import Runner

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One client. It sends its next request when it has the answer to the one before."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.buffer = b""
        self.operations: dict[str, Callable[[dict[str, Any], bytes], Any]] = {
            "ack": self.ack,
            "check": self.check,
            "journal": self.journal,
            "logs": self.logs,
            "put": self.put,
            "runtimes": self.runtimes,
            "set_live": self.set_live,
            "status": self.status,
        }

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        while len(data) >= wire.LENGTHS.size:
            head, body = wire.LENGTHS.unpack_from(data)
            if head > wire.MOST_HEAD or body > wire.MOST_BODY:
                self.transport.close()
                return
            end = wire.LENGTHS.size + head
            if len(data) < end + body:
                break
            self.request(orjson.loads(data[wire.LENGTHS.size : end]), data[end : end + body])
            data = data[end + body :]
        self.buffer = data

    def answer(self, head: dict[str, Any], body: bytes = b"") -> None:
        self.transport.write(wire.pack(head, body, orjson.dumps))

    def request(self, head: dict[str, Any], body: bytes) -> None:
        op = head.pop("op")
        if op == "invoke":
            self.invoke(head, body)
        elif op in self.operations:
            self.runner.spawn(self.work(op, head, body))
        else:
            self.answer({"error": "RunnerUnavailable", "reason": f"The runner has no operation {op!r}."})

    def invoke(self, head: dict[str, Any], body: bytes) -> None:
        revision = self.runner.revisions.get(head["revision"])
        if revision is None:
            self.answer({"error": "UnknownRevision"})
            return
        call = Call(revision, head["execution"], head["attempt"], head["trigger"], body, self.answer)
        self.runner.submit(call)

    async def work(self, op: str, head: dict[str, Any], body: bytes) -> None:
        try:
            result = self.operations[op](head, body)
            if asyncio.iscoroutine(result):
                result = await result
            self.answer(*result if isinstance(result, tuple) else (result,))
        except errors.NodeError as error:
            self.answer({"error": "RunnerError", "reason": str(error)})
        except Exception as error:
            log.exception("%s failed", op)
            self.answer(
                {"error": "RunnerUnavailable", "reason": f"The runner failed: {type(error).__name__}: {error}."}
            )

    async def put(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        return {"known": await asyncio.to_thread(self.runner.put, Revision(**head["revision"]), body)}

    async def check(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        revision = self.runner.revisions.get(head["revision"])
        return {"error": "UnknownRevision"} if revision is None else await self.runner.check(revision)

    def set_live(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        self.runner.set_live(head["function"], head["revision"])
        return {}

    def journal(self, head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        lines, cursor = self.runner.journal.read(head["cursor"], head["limit"])
        return {"cursor": cursor}, lines

    def ack(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        self.runner.journal.acknowledge(*head["cursor"])
        return {}

    def logs(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        return {"text": self.runner.logs(head["execution"])}

    def runtimes(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        wanted = ("name", "label", "family", "version")
        return {"runtimes": [{name: asdict(each)[name] for name in wanted} for each in self.runner.runtimes]}

    def status(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        return self.runner.status()
