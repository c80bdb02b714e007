"""The driver of this machine: a client of the node agent that runs beside it. It holds no state and no machine."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compute.drivers import base
from node import client

ANSWER_SECONDS = 10.0  # for what only looks
WORK_SECONDS = 60.0  # for what starts or removes an instance, and at the first start for building the image
KINDS: dict[str, type[base.DriverError]] = {
    kind.__name__: kind
    for kind in (base.NotFound, base.Conflict, base.Capacity, base.Unsupported, base.Retryable, base.Fatal)
}
NOT_RUNNING = "the node agent is not running"
REMEDY = "Start it with: python3 manage.py up"


class LocalDriver:
    """Calls the agent that owns `home`. Safe to use from many threads: every call is a connection of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def probe(self) -> base.Capabilities:
        if sys.platform != "linux":
            return base.Capabilities(
                ok=False,
                reason="Instances need Linux, and this machine runs something else.",
                remedy="Run Lambda in a Linux virtual machine (on Windows: WSL 2).",
            )
        try:
            return base.Capabilities(**self._call("probe", ANSWER_SECONDS))
        except base.Retryable as error:
            return base.Capabilities(ok=False, reason=str(error), remedy=REMEDY)

    def create(self, spec: base.InstanceSpec) -> base.Observed:
        return self._observe("create", WORK_SECONDS, spec=asdict(spec))

    def start(self, instance_id: str, *, generation: int) -> base.Observed:
        return self._observe("start", WORK_SECONDS, id=instance_id, generation=generation)

    def stop(self, instance_id: str, *, generation: int, grace_seconds: float = 10) -> base.Observed:
        timeout = grace_seconds + ANSWER_SECONDS
        return self._observe("stop", timeout, id=instance_id, generation=generation, grace_seconds=grace_seconds)

    def restart(self, instance_id: str, *, generation: int) -> base.Observed:
        return self._observe("restart", WORK_SECONDS, id=instance_id, generation=generation)

    def resize(self, instance_id: str, *, vcpus: int, memory_mb: int, disk_gb: int, generation: int) -> base.Observed:
        sizes = {"vcpus": vcpus, "memory_mb": memory_mb, "disk_gb": disk_gb}
        return self._observe("resize", ANSWER_SECONDS, id=instance_id, generation=generation, **sizes)

    def rebuild(self, instance_id: str, *, image: str, generation: int) -> base.Observed:
        return self._observe("rebuild", WORK_SECONDS, id=instance_id, generation=generation, image=image)

    def delete(self, instance_id: str, *, generation: int) -> None:
        self._call("delete", WORK_SECONDS, id=instance_id, generation=generation)

    def get(self, instance_id: str) -> base.Observed:
        return self._observe("get", ANSWER_SECONDS, id=instance_id)

    def list(self) -> list[base.Observed]:
        return [observed(facts) for facts in self._call("list", ANSWER_SECONDS)]

    def console(self, instance_id: str, *, max_bytes: int = 65536) -> bytes:
        text: str = self._call("console", ANSWER_SECONDS, id=instance_id, max_bytes=max_bytes)
        return text.encode("latin-1")

    def _observe(self, op: str, timeout: float, **arguments: Any) -> base.Observed:
        return observed(self._call(op, timeout, **arguments))

    def _call(self, op: str, timeout: float, **arguments: Any) -> Any:
        """Ask the agent. Its refusals become ours; where it may have acted without telling, the outcome is unknown."""
        try:
            return client.call(client.socket_path(self.home), op, timeout, **arguments)
        except client.Refused as error:
            raise KINDS[error.kind](str(error)) from None
        except client.Unreachable as error:
            if error.sent:
                raise base.Retryable(
                    f"The node agent did not answer in time, the outcome is unknown: {error}."
                ) from None
            raise base.Retryable(NOT_RUNNING) from None


def observed(facts: dict[str, Any]) -> base.Observed:
    """An `Observed` from its wire form."""
    endpoint = facts.get("endpoint")
    return base.Observed(**{**facts, "endpoint": base.Endpoint(**endpoint) if endpoint else None})
