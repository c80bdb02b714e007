"""Real function runners for tests: a process as root or as an ordinary user, functions put into it, and nothing left behind."""

import hashlib
import io
import itertools
import signal
import subprocess
import textwrap
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from functions.drivers.base import Outcome, Revision, RunnerUnavailable
from functions.drivers.local import LocalDriver
from tests.node.agents import CHECKOUT, Login, processes_mentioning

SUFFIXES = {"python": "py", "node": "js"}
numbers = itertools.count(1)


def zip_of(files: dict[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


@dataclass
class RunnerProcess:
    """One runner and its home. `driver` is the platform's own client."""

    who: Login
    home: Path
    options: tuple[str, ...] = ("--init-seconds", "2", "--ready-python", "2", "--ready-node", "1")
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    put: dict[str, tuple[Revision, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.driver = LocalDriver(self.home)
        self.log = self.home / "runner.log"

    def start(self) -> "RunnerProcess":
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.who.command[:-1],
                    "env",
                    *variables,
                    self.who.command[-1],
                    "-m",
                    "node.runner",
                    "--home",
                    str(self.home),
                    *self.options,
                ],
                cwd="/" if self.who.user else CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.runtimes = {runtime.family: runtime.name for runtime in self.driver.runtimes()}
            except RunnerUnavailable:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("the runner does not answer:\n" + self.log.read_text())

    def deploy(self, code: str | dict[str, str | bytes], *, family: str = "python", **changes) -> str:
        """The id of a new revision of a new function, unless `changes` name it. Text is the module `app`."""
        files = {f"app.{SUFFIXES[family]}": textwrap.dedent(code)} if isinstance(code, str) else code
        data = zip_of(files)
        number = next(numbers)
        facts = {
            "id": f"rev{number}",
            "account": "alice",
            "function": f"fn{number}",
            "name": f"function-{number}",
            "version": 1,
            "runtime": self.runtimes[family],
            "handler": "app.handler",
            "memory_mb": 128,
            "timeout_ms": 3000,
            "code_sha256": hashlib.sha256(data).hexdigest(),
        }
        revision = Revision(**{**facts, **changes})
        self.put[revision.id] = (revision, data)
        assert self.driver.put(revision, data)
        return revision.id

    def invoke(self, revision: str, event: bytes = b"{}", **options) -> Outcome:
        return self.driver.invoke(revision, options.pop("execution", f"exec_{next(numbers)}"), event, **options)

    def run(self, code: str | dict[str, str | bytes], event: bytes = b"{}", **changes) -> Outcome:
        """Deploy and invoke once."""
        return self.invoke(self.deploy(code, **changes), event)

    def records(self) -> list[dict]:
        """The whole journal."""
        found, cursor = [], ("", 0)
        while True:
            some, cursor = self.driver.journal(cursor, 1000)
            if not some:
                return found
            found += some

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def close(self) -> None:
        """End it; no sandbox, no cgroup may stay."""
        self.end()
        if self.driver.connections is not None:
            self.driver.connections.close()
        deadline = time.monotonic() + 10
        while (left := processes_mentioning(str(self.home))) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == []
        name = "lambda-" + hashlib.sha256(str(self.home).encode()).hexdigest()[:8]
        groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{name}/**/")]
        assert groups == [], self.log.read_text()
