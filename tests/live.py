"""A Lambda of a test's own, as in production: gunicorn, a Celery worker and a real database. No fixtures and no tests.

For what a test client cannot show: several processes, and processes or databases that die. The scripted driver stands
for the machines.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.make import WANTED

ROOT = Path(__file__).resolve().parents[1]
WAIT = 120  # seconds for whatever is awaited; an idle machine needs 3


@dataclass
class Reply:
    """What came back; `status` 0 where nothing did."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def data(self) -> Any:
        return self.body["data"]


class Live:
    """One machine of an installation with one account and its API key. `database` and `redis` are URLs, or ""."""

    def __init__(self, home: Path, database: str = "", redis: str = "", first: "Live | None" = None):
        """A further machine is given the `first` one, with which it shares the secrets and the account."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDA_", "DJANGO_"))}
        self.environment = clean | {
            "LAMBDA_HOME": str(home),
            "LAMBDA_DATABASE_URL": database,
            "LAMBDA_REDIS_URL": redis,
            "LAMBDA_DRIVER": "fake",
            "LAMBDA_RUNNER": "fake",
            "LAMBDA_LOG_LEVEL": "ERROR",
            "LAMBDA_NO_BOOTSTRAP": "1",
        }
        home.chmod(0o700)
        self.log = (home / "log").open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if first:
            self.key = first.key
            shutil.copytree(Path(first.environment["LAMBDA_HOME"]) / "secrets", home / "secrets")
            return
        self.manage("migrate", "-v0")
        self.manage("create_account", "alice", "--owner", "alice@example.com", "--plan", "enterprise")
        self.key = self.manage("create_api_key", "alice", "--name", "test").replace("λ", "lambda")

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT, env=self.environment | environment, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def start_web(self, processes: int = 2) -> subprocess.Popen[bytes]:
        bind = ["--bind", f"127.0.0.1:{self.port}"]
        web = self.start(
            "gunicorn", "-c", "python:config.gunicorn", *bind, "config.wsgi", LAMBDA_WEB_WORKERS=str(processes)
        )
        deadline = time.monotonic() + WAIT
        while self.request("GET", "/healthz").status != 200:
            assert web.poll() is None, f"gunicorn ended with {web.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return web

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start("celery", "-q", "-A", "config", "worker", "-B", "--loglevel", "ERROR")

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | headers
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.headers), json.loads(answer.read()))
        except (OSError, http.client.HTTPException):
            return Reply(0, {}, None)
        finally:
            connection.close()

    def create(self, key: str, **fields: Any) -> Reply:
        """One try at an instance, with an idempotency key."""
        return self.request("POST", "/v1/instances", WANTED | fields, **{"Idempotency-Key": key})

    def total(self) -> int:
        """How many instances there are."""
        total: int = self.request("GET", "/v1/instances?limit=1").body["pagination"]["total_items"]
        return total

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        """The process with all that it started."""
        os.killpg(process.pid, number)
        process.wait(WAIT)
        self.processes.remove(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for process in list(self.processes):
            self.kill(process)
        self.log.close()
