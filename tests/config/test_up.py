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

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WAIT = 120  # seconds; `up` needs about 10 on an idle machine


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
        self.lines.extend(iter(self.process.stdout.readline, ""))

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
        self.process.wait(30)
        self.reader.join(10)
        return time.monotonic() - began

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

    def left_over(self, seconds: float = 10) -> list[str]:
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
            run.stop(signal.SIGTERM)
        for pid in run.processes():
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(home, ignore_errors=True)


def test_the_banners_lines_work_when_pasted_and_ctrl_c_leaves_nothing(up):
    port = free_port()
    run = up("--port", str(port))
    run.wait_for(r"Start anew")
    assert "Missing" not in run.output, run.output
    assert f"http://localhost:{port}/" in run.output

    listing = run.paste(run.wait_for(r"(curl -H .*/v1/instances)\n")[1])
    assert [instance["name"] for instance in json.loads(listing.stdout)["data"]] == ["hello"]
    created = json.loads(run.paste(run.wait_for(r"(curl -X POST .*)\n")[1]).stdout)
    assert created["success"], created
    shell = run.paste(run.wait_for(r"(ssh -F \S+ hello)\n")[1] + " 'whoami; hostname'")
    assert shell.stdout.split() == ["lambda", "hello"], shell.stderr

    seconds = run.stop()
    assert run.process.returncode == 0
    assert "everything has stopped" in run.output
    assert run.left_over() == []
    assert seconds < 15


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
    assert '"allowed_values"' in done.stdout
    assert '"success":false' in done.stdout.replace(" ", "")
    assert "deleting" in done.stdout


def test_the_second_run_keeps_the_key_the_password_and_the_instance(up):
    first = up("--port", str(free_port()))
    first.wait_for(r"Start anew")
    kept = (first.home / "demo.env").read_text()
    first.stop()
    second = up("--port", str(free_port()))
    ssh = second.wait_for(r"(ssh -F \S+ hello)\n")[1]
    assert (first.home / "demo.env").read_text() == kept
    assert second.paste(ssh + " hostname").stdout == "hello\n"


def test_a_taken_port_gives_the_next_one_and_says_so(up):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        run = up("--port", str(port), "--no-demo")
        chosen = run.wait_for(rf"port {port} is taken; using (\d+)")[1]
        run.wait_for(rf"Dashboard +http://localhost:{chosen}/")


def test_a_second_one_in_the_same_home_is_refused_and_told_why(up):
    run = up("--port", str(free_port()), "--no-demo")
    run.wait_for(r"Start anew")
    second = Up(run.home)
    assert second.process.wait(30) == 1
    second.reader.join(10)
    assert "is running in" in second.output
    assert "LAMBDA_HOME=" in second.output


def test_killed_outright_it_takes_its_processes_along(up):
    run = up("--port", str(free_port()), "--no-demo")
    run.wait_for(r"Start anew")
    run.process.kill()
    assert run.left_over(20) == []


def test_a_web_process_and_a_worker_that_die_come_back(up):
    port = free_port()
    run = up("--port", str(port), "--no-demo")
    run.wait_for(r"Start anew")
    for name, part in (("worker", "celery"), ("web", "gunicorn")):
        for pid in [pid for pid, command in run.processes().items() if part in command]:
            os.kill(pid, signal.SIGKILL)
        run.wait_for(rf"{name} \| ended with SIGKILL")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200
                break
        except OSError:
            time.sleep(0.2)
    else:
        raise AssertionError(run.output)
    assert sum("-B" in command for command in run.processes().values()) == 2  # one worker and its one beat


def test_fresh_forgets_everything_but_what_it_did_not_make(up):
    first = up("--port", str(free_port()))
    first.wait_for(r"Start anew")
    first.stop()
    kept = (first.home / "demo.env").read_text()
    (first.home / "notes.txt").write_text("mine")
    second = up("--port", str(free_port()), "--fresh")
    second.wait_for(r"Start anew")
    assert (first.home / "demo.env").read_text() != kept
    assert (first.home / "notes.txt").read_text() == "mine"
