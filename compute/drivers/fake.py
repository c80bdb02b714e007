"""A driver without machines, for tests of everything above drivers. Never chosen by default.

It keeps the promises of `base.Driver` in one JSON file under `home`, so that the web server, the worker and a test see
the same machines, and it fails or dawdles on demand: `fail_next("create", Capacity("..."))`, `slow_next("stop", 2)`.
"""

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compute.drivers import base

KINDS: dict[str, type[base.DriverError]] = {
    kind.__name__: kind
    for kind in (base.NotFound, base.Conflict, base.Capacity, base.Unsupported, base.Retryable, base.Fatal)
}
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZha2UgZHJpdmVyLCBub2JvZHkgbGlzdGVucyBoZXJl"


class FakeDriver:
    """`home` is the directory its state lives in; two drivers on one home see the same instances."""

    def __init__(self, home: Path) -> None:
        self.file = home / "fake-driver.json"
        self._thread = threading.Lock()

    # For tests

    def fail_next(self, method: str, error: base.DriverError, *, times: int = 1) -> None:
        """Let the next `times` calls of `method` raise `error` without doing anything."""
        with self._state() as state:
            state["faults"].setdefault(method, []).extend([[type(error).__name__, str(error)]] * times)

    def slow_next(self, method: str, seconds: float) -> None:
        """Let the next call of `method` take `seconds` longer."""
        with self._state() as state:
            state["delays"][method] = seconds

    def go_down(self, instance_id: str, *, error: str = "") -> None:
        """Let the instance end by itself, as by a shutdown from inside, or as broken with `error`."""
        with self._state() as state:
            machine = self._find(state, instance_id)
            machine.update(state="error" if error else "stopped", error=error)

    def write(self, instance_id: str, text: str) -> None:
        """Let the instance say this on its console."""
        with self._state() as state:
            self._find(state, instance_id)["console"] += text

    def calls(self, method: str) -> int:
        """How often `method` was called, failures included."""
        with self._state() as state:
            count: int = state["calls"].get(method, 0)
            return count

    def reset(self) -> None:
        """Forget every instance, fault and count."""
        self.file.unlink(missing_ok=True)

    # The protocol

    def probe(self) -> base.Capabilities:
        try:
            self._begin("probe")
        except base.DriverError as error:
            return base.Capabilities(ok=False, reason=str(error), remedy="Nothing to mend: a test asked for it.")
        return base.Capabilities(
            ok=True, tier="fake", limits=dict.fromkeys(("cpu", "memory", "pids", "disk"), "none"), os="Fake OS 1"
        )

    def create(self, spec: base.InstanceSpec) -> base.Observed:
        self._begin("create")
        changeable = ("generation", "start", "hostname")  # as in the node agent
        wished = {key: value for key, value in asdict(spec).items() if key not in changeable}
        digest = hashlib.sha256(json.dumps(wished, sort_keys=True).encode()).hexdigest()
        with self._state() as state:
            machine = state["machines"].get(spec.id)
            if machine is None:
                if state["deleted"].get(spec.id, 0) >= spec.generation:
                    raise base.Conflict(f"The instance {spec.id} was deleted.")
                state["count"] += 1
                machine = state["machines"][spec.id] = {
                    "digest": digest,
                    "spec": asdict(spec),
                    "address": f"127.65.{state['count'] // 250}.{state['count'] % 250 + 1}",
                    "generation": spec.generation,
                    "restarted": 0,
                    "rebuilt": 0,
                    "state": "stopped",
                    "error": "",
                    "boot_id": "",
                    "console": "",
                }
                if spec.start:
                    self._boot(machine)
            elif machine["digest"] != digest:
                raise base.Conflict(f"The instance {spec.id} exists with another specification.")
            self._fence(machine, spec.generation)
            return self._observe(spec.id, machine)

    def start(self, instance_id: str, *, generation: int) -> base.Observed:
        return self._change("start", instance_id, generation, self._ensure_running)

    def stop(self, instance_id: str, *, generation: int, grace_seconds: float = 10) -> base.Observed:
        return self._change("stop", instance_id, generation, lambda machine: machine.update(state="stopped", error=""))

    def restart(self, instance_id: str, *, generation: int) -> base.Observed:
        def again(machine: dict[str, Any]) -> None:
            if machine["restarted"] != generation:
                machine.update(restarted=generation)
                self._boot(machine)
            self._ensure_running(machine)

        return self._change("restart", instance_id, generation, again)

    def resize(self, instance_id: str, *, vcpus: int, memory_mb: int, disk_gb: int, generation: int) -> base.Observed:
        sizes = {"vcpus": vcpus, "memory_mb": memory_mb, "disk_gb": disk_gb}
        return self._change("resize", instance_id, generation, lambda machine: machine["spec"].update(sizes))

    def rebuild(self, instance_id: str, *, image: str, generation: int) -> base.Observed:
        def anew(machine: dict[str, Any]) -> None:
            if machine["rebuilt"] != generation:
                machine.update(rebuilt=generation)
                machine["spec"]["image"] = image
                self._boot(machine)
            self._ensure_running(machine)

        return self._change("rebuild", instance_id, generation, anew)

    def delete(self, instance_id: str, *, generation: int) -> None:
        self._begin("delete")
        with self._state() as state:
            machine = state["machines"].get(instance_id)
            if machine is not None:
                self._fence(machine, generation)
                del state["machines"][instance_id]
            state["deleted"][instance_id] = max(generation, state["deleted"].get(instance_id, 0))

    def get(self, instance_id: str) -> base.Observed:
        self._begin("get")
        with self._state() as state:
            machine = state["machines"].get(instance_id)
            return self._observe(instance_id, machine) if machine else base.Observed(instance_id, "absent")

    def list(self) -> list[base.Observed]:
        self._begin("list")
        with self._state() as state:
            return [self._observe(instance_id, machine) for instance_id, machine in sorted(state["machines"].items())]

    def console(self, instance_id: str, *, max_bytes: int = 65536) -> bytes:
        self._begin("console")
        with self._state() as state:
            text: str = self._find(state, instance_id)["console"]
            return text.encode()[-max_bytes:] if max_bytes > 0 else b""

    # How it works

    @contextmanager
    def _state(self) -> Iterator[dict[str, Any]]:
        """The state, alone among threads and processes, written back at the end; an exception changes nothing."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._thread, open(self.file.with_suffix(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.file.exists():
                state = json.loads(self.file.read_text())
            else:
                state = {"machines": {}, "deleted": {}, "faults": {}, "delays": {}, "calls": {}, "count": 0}
            yield state
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps(state))
            os.replace(new, self.file)

    def _begin(self, method: str) -> None:
        """Count the call, dawdle and fail as a test asked for."""
        with self._state() as state:
            state["calls"][method] = state["calls"].get(method, 0) + 1
            delay = state["delays"].pop(method, 0)
            faults = state["faults"].get(method, [])
            fault = faults.pop(0) if faults else None
        time.sleep(delay)
        if fault:
            kind, text = fault
            raise KINDS[kind](text)

    def _change(
        self, method: str, instance_id: str, generation: int, change: Callable[[dict[str, Any]], None]
    ) -> base.Observed:
        self._begin(method)
        with self._state() as state:
            machine = self._find(state, instance_id)
            self._fence(machine, generation)
            machine["generation"] = generation
            change(machine)
            return self._observe(instance_id, machine)

    def _find(self, state: dict[str, Any], instance_id: str) -> dict[str, Any]:
        machine: dict[str, Any] | None = state["machines"].get(instance_id)
        if machine is None:
            raise base.NotFound(f"There is no instance {instance_id} on this node.")
        return machine

    def _fence(self, machine: dict[str, Any], generation: int) -> None:
        if generation < machine["generation"]:
            raise base.Conflict(
                f"The operation has generation {generation}, but {machine['generation']} was already carried out."
            )

    def _ensure_running(self, machine: dict[str, Any]) -> None:
        if machine["state"] != "running":
            self._boot(machine)

    def _boot(self, machine: dict[str, Any]) -> None:
        machine.update(state="running", error="", boot_id=os.urandom(8).hex())
        machine["console"] += f"{machine['spec']['hostname']} started\n"

    def _observe(self, instance_id: str, machine: dict[str, Any]) -> base.Observed:
        running = machine["state"] == "running"
        public = machine["spec"]["public_ip"]
        return base.Observed(
            id=instance_id,
            state=machine["state"],
            generation=machine["generation"],
            ready=running,
            endpoint=base.Endpoint(machine["address"], 2222, "lambda", HOST_KEY) if public else None,
            boot_id=machine["boot_id"] if running else "",
            error=machine["error"],
        )
