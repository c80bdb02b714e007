"""`manage.py up` as a newcomer meets it: the banner's lines work when pasted, and Ctrl-C leaves nothing behind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.management.commands.up import environment_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WAIT = 120  # seconds for whatever is awaited; an idle machine needs 10


class Up:
    """One run of `manage.py up` in a home of its own, and what it has printed so far."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBDA_", "DJANGO_"))}
        self.environment = {**clean, "LAMBDA_HOME": str(home), "LAMBDA_NO_BOOTSTRAP": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", *options],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = WAIT) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} did not appear in:\n{self.output}")

    def paste(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60)

    def stop(self, number: int = signal.SIGINT) -> float:
        """How many seconds it took to end."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.ended()
        return time.monotonic() - began

    def ended(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(WAIT)
        self.reader.join(WAIT)
        self.process.stdout.close()
        return code

    def processes(self) -> dict[int, str]:
        """Everything that was started with this home, whoever its parent is now."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            mine = f"LAMBDA_HOME={self.home}".encode() in environ or f"{self.home}/" in command
            if mine and state != "Z":
                found[int(folder.name)] = command
        return found

    def left_over(self, seconds: float = WAIT) -> list[str]:
        """Processes, mounts and sockets that are still there after a short while."""
        deadline = time.monotonic() + seconds
        while (processes := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.home) in line]
        sockets = [line for line in Path("/proc/net/unix").read_text().splitlines() if str(self.home) in line]
        return [*processes.values(), *mounts, *sockets]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    home = Path(tempfile.mkdtemp(prefix="lambda-up-", dir="/tmp"))
    runs: list[Up] = []

    def start(*options: str) -> Up:
        runs.append(Up(home, *options))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        if not run.process.stdout.closed:
            run.ended()
        for pid in run.processes():
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(home, ignore_errors=True)


def test_the_banners_lines_work_ctrl_c_leaves_nothing_the_next_run_goes_on_and_fresh_forgets(up):
    port = free_port()
    run = up("--port", str(port))
    run.wait_for(r"Start anew")
    assert "Missing" not in run.output, run.output
    assert f"http://localhost:{port}/" in run.output
    listing = run.paste(run.wait_for(r"(curl -H .*/v1/instances)\n")[1])
    assert [instance["name"] for instance in json.loads(listing.stdout)["data"]] == ["hello"]
    created = json.loads(run.paste(run.wait_for(r"(curl -X POST .*)\n")[1]).stdout)
    assert created["success"], created
    ssh = run.wait_for(r"(ssh -F \S+ hello)\n")[1]
    shell = run.paste(f"{ssh} 'whoami; hostname; echo kept > note'")
    assert shell.stdout.split() == ["lambda", "hello"], shell.stderr
    kept = (run.home / "demo.env").read_text()

    run.stop()
    assert run.process.returncode == 0
    assert "everything has stopped" in run.output
    assert run.left_over(0) == []

    again = up("--port", str(port))
    again.wait_for(r"(ssh -F \S+ hello)\n")
    assert (run.home / "demo.env").read_text() == kept
    assert again.paste(f"{ssh} cat note").stdout == "kept\n"
    again.stop()

    (run.home / "notes.txt").write_text("mine")
    fresh = up("--port", str(port), "--fresh")
    fresh.wait_for(r"(ssh -F \S+ hello)\n")
    assert (run.home / "demo.env").read_text() != kept
    assert (run.home / "notes.txt").read_text() == "mine"  # it removes what it made, and nothing else
    assert fresh.paste(f"{ssh} ls").stdout == ""


def test_the_readmes_tour_works_as_printed(up):
    port = free_port()
    run = up("--port", str(port))
    run.wait_for(r"Start anew")
    tour = re.search(r"## A tour by curl\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    script = "\n".join(re.findall(r"```bash\n(.*?)```", tour[1], re.DOTALL))
    script = script.replace("localhost:8000", f"localhost:{port}").replace("var/", f"{run.home}/")
    done = run.paste("set -e\n" + script)
    assert done.returncode == 0, done.stderr
    assert "lambda\nmy-api-instance\n" in done.stdout
    assert '"result":"Hello Ada"' in done.stdout
    assert '"type":"function.deployed"' in done.stdout
    assert '"allowed_values"' in done.stdout
    assert '"status":"deleting"' in done.stdout


def test_it_takes_the_next_port_replaces_what_dies_is_alone_in_its_home_and_takes_its_processes_along(up):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        run = up("--port", str(port), "--no-demo")
        chosen = run.wait_for(rf"port {port} is taken; using (\d+)")[1]
        run.wait_for(rf"Dashboard +http://localhost:{chosen}/")

    second = up()
    assert second.ended() == 1
    assert f"is running in {run.home} already" in second.output
    assert "LAMBDA_HOME=" in second.output

    for name, part in (("worker", "celery"), ("web", "gunicorn")):
        for pid in [pid for pid, command in run.processes().items() if part in command]:
            os.kill(pid, signal.SIGKILL)
        run.wait_for(rf"{name} \| ended with SIGKILL")
    deadline = time.monotonic() + WAIT
    while not ready(f"http://127.0.0.1:{chosen}/readyz") or len(workers(run)) != 1:
        assert time.monotonic() < deadline, [run.output, workers(run)]
        time.sleep(0.2)

    run.process.kill()
    assert run.left_over() == []


def workers(run: Up) -> list[str]:
    return [command for command in run.processes().values() if "celery" in command]


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_webhooks_reach_this_machine_only_while_nobody_else_does(monkeypatch):
    monkeypatch.delenv("LAMBDA_WEBHOOK_ALLOW", raising=False)
    assert environment_of("127.0.0.1", "http://localhost:8000")["LAMBDA_WEBHOOK_ALLOW"] == "loopback"
    assert "LAMBDA_WEBHOOK_ALLOW" not in environment_of("0.0.0.0", "http://localhost:8000")
