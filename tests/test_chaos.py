"""Whatever is killed, and whenever: every instance ends as its owner asked, exactly once, and nothing is orphaned.

Real processes in a home of their own. Each seeded round sends creates, stops and deletes and meanwhile kills -9 the web
server, the worker or the node agent. Hundreds of rounds: `python -m tests.test_chaos ROUNDS`.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from compute.drivers.base import Retryable
from compute.drivers.local import LocalDriver
from tests.config.test_up import Up

pytestmark = pytest.mark.slow

ROUNDS = 4
SETTLED = 60  # seconds that the platform has to come to rest after a kill
KILLED = {"web": "gunicorn", "worker": "celery", "node": "node.agent"}


class Client:
    """A client as the documents ask for: it retries with the same idempotency key until it has an answer."""

    def __init__(self, home: Path, port: int):
        facts = dict(line.split("=", 1) for line in (home / "demo.env").read_text().splitlines())
        self.key, self.port = facts["LAMBDA_API_KEY"].replace("λ", "%CE%BB"), port

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        headers["Idempotency-Key"] = str(uuid.uuid4())
        deadline = time.monotonic() + SETTLED
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
                    connection.request(method, path, body=json.dumps(body or {}), headers=headers)
                    answer = connection.getresponse()
                    found = json.loads(answer.read())
                if answer.status < 500 and answer.status != 429:
                    return answer.status, found
            assert time.monotonic() < deadline, f"{method} {path} got no answer for {SETTLED} s"
            time.sleep(0.05)


class Round:
    """One round: what was asked of each instance, as far as it was acknowledged."""

    def __init__(self, up: Up, client: Client, seed: int):
        self.up, self.client, self.random = up, client, random.Random(seed)
        self.wanted: dict[str, str] = {}

    def run(self) -> None:
        lives = [threading.Thread(target=self._live, args=(self.random.random(),)) for _ in range(4)]
        for life in lives:
            life.start()
        for _ in range(2):
            time.sleep(self.random.uniform(0, 0.4))
            self._kill(self.random.choice(list(KILLED)))
        for life in lives:
            life.join()

    def _live(self, chance: float) -> None:
        """Create, and then for some: stop, delete, or both, as soon as the instance allows it."""
        order = {"name": "chaos", "instance_type": "compute-1x", "region": "us-west-1", "image": "debian-12"}
        status, made = self.client.call("POST", "/v1/instances", order)
        assert status == 201, made
        id = made["data"]["id"]
        self.wanted[id] = "running"
        if chance < 0.5:
            self._until_accepted("POST", f"/v1/instances/{id}/stop")
            self.wanted[id] = "stopped"
        if chance < 0.25 or chance > 0.75:
            self._until_accepted("DELETE", f"/v1/instances/{id}")
            self.wanted[id] = "deleted"

    def _until_accepted(self, method: str, path: str) -> None:
        deadline = time.monotonic() + SETTLED
        while (answer := self.client.call(method, path))[0] == 409:
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
        assert answer[0] in (200, 202), answer

    def _kill(self, which: str) -> None:
        victims = [pid for pid in tree(self.up.process.pid) if KILLED[which] in command(pid)]
        if victims:
            os.kill(self.random.choice(victims), signal.SIGKILL)

    def settle(self) -> dict[str, str]:
        """The state of each instance once nothing moves any more."""
        deadline = time.monotonic() + SETTLED
        while True:
            states = {id: self._state(id) for id in self.wanted}
            if all(states[id] in (wanted, "error") for id, wanted in self.wanted.items()):
                return states
            assert time.monotonic() < deadline, f"asked for {self.wanted}, found {states}\n{self.log}"
            time.sleep(0.3)

    @property
    def log(self) -> str:
        """What the processes said, without the answers that a client brought upon itself."""
        return "".join(line for line in self.up.lines[-2000:] if "django.request" not in line)[-8000:]

    def _state(self, id: str) -> str:
        status, found = self.client.call("GET", f"/v1/instances/{id}")
        return "deleted" if status == 404 else found["data"]["status"]


def tree(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return children + [below for child in children for below in tree(child)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


def start(home: Path) -> tuple[Up, Client]:
    up = Up(home, "--port", "8950")
    port = int(up.wait_for(r"API +http://localhost:(\d+)/v1/")[1])
    return up, Client(home, port)


def play(up: Up, client: Client, seed: int) -> None:
    played = Round(up, client, seed)
    played.run()
    states = played.settle()
    assert states == played.wanted, f"seed {seed}: an instance failed"
    wait_for_the_node(up.home / "node", played.wanted)
    for id in played.wanted:
        happened = Counter(event["type"] for event in _log(client, id))
        assert happened["instance.requested"] == 1, f"seed {seed}: {happened}"
        assert happened["instance.created"] <= 1, f"seed {seed}: {happened}"
        assert happened["instance.deleted"] == (1 if played.wanted[id] == "deleted" else 0), f"seed {seed}: {happened}"
        client.call("DELETE", f"/v1/instances/{id}")


def wait_for_the_node(home: Path, wanted: dict[str, str]) -> None:
    """An agent that was killed last may still be coming back; what it then has must be what was asked for."""
    deadline = time.monotonic() + SETTLED
    while True:
        try:
            found = {observed.id: observed.state for observed in LocalDriver(home).list()}
        except Retryable:
            found = {}
        if {id: found.get(id, "deleted") for id in wanted} == wanted:
            return
        assert time.monotonic() < deadline, f"asked for {wanted}, the node has {found}"
        time.sleep(0.2)


def _log(client: Client, id: str) -> list[dict[str, Any]]:
    _, found = client.call("GET", f"/v1/account/audit-log?subject={id}&limit=100")
    return found["data"]


def test_whatever_is_killed_every_instance_ends_as_its_owner_asked(tmp_path):
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/var/tmp", ignore_cleanup_errors=True) as home:
        up, client = start(Path(home))
        try:
            for seed in range(ROUNDS):
                play(up, client, seed)
        finally:
            up.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        stack, caller = start(Path(folder))
        try:
            for number in range(int(sys.argv[1])):
                play(stack, caller, number)
                print(f"round {number}: every instance as its owner asked", flush=True)
        finally:
            stack.stop()
