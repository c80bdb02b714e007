"""A web server as `up` runs it, for what only a real socket, several processes or a killed one can show."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


class Served:
    """gunicorn with two processes on an installation of its own, and an account with a key."""

    def __init__(self, home: Path):
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDA_", "DJANGO_"))}
        self.environment = outside | {
            "LAMBDA_HOME": str(home),
            "LAMBDA_DRIVER": "fake",
            "LAMBDA_NO_BOOTSTRAP": "1",
            "LAMBDA_LOG_LEVEL": "WARNING",
            "LAMBDA_TRUSTED_PROXIES": "127.0.0.2",
        }
        self.manage("migrate", "--verbosity=0")
        self.account = self.manage("create_account", "Alice", "--owner", "alice@example.com", "--plan", "enterprise")
        self.key = self.manage("create_api_key", "Alice", "--name", "tests")
        command = ["gunicorn", "-c", "python:config.gunicorn", "-b", f"127.0.0.1:{self.port}", "config.wsgi"]
        self.log = open(home / "web.log", "wb")  # noqa: SIM115  (closed by stop)
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log
        )
        self._wait()

    def manage(self, *arguments: str) -> str:
        """A command's standard output, without the newline at its end."""
        run = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout.removesuffix("\n")

    def request(self, method, path, body=None, *, key=None, headers=(), source=None) -> Answer:
        """One request on a connection of its own, with Alice's key; `key=""` sends none. A body is JSON or bytes."""
        sent = dict(headers)
        if key != "":
            sent.setdefault("Authorization", f"Bearer {key or self.key}".encode())
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=30, source_address=(source, 0) if source else None
        )
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """What comes back for exactly these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as wire:
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
            parts = []
            while part := wire.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.request("GET", "/healthz").status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.home / "web.log").read_text())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    web = Served(tmp_path_factory.mktemp("served"))
    yield web
    web.stop()
