"""The supervisor with real processes: it restarts what ends, and leaves nothing behind however it ends itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def pids(folder: Path, name: str) -> list[int]:
    file = folder / name
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def _start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.config.supervised", str(tmp_path), *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert eventually(lambda: pids(tmp_path, "one") and pids(tmp_path, "two"))
        return process

    yield _start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_process_and_the_supervisor_ends_cleanly(start, tmp_path, number):
    process = start()
    children = [*pids(tmp_path, "one"), *pids(tmp_path, "two")]
    process.send_signal(number)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "clean end" in output
    assert not [pid for pid in children if alive(pid)]


def test_every_line_of_a_process_stands_under_its_name(start):
    process = start()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert "    one | λ is here\n" in output
    assert "    two | λ is here\n" in output


def test_a_process_that_dies_is_started_again_and_leaves_no_child_of_its_own(start, tmp_path):
    process = start()
    child, grandchild = pids(tmp_path, "two")
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: pids(tmp_path, "two")[:1] not in ([], [child]))
    assert eventually(lambda: not alive(grandchild))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert "two | ended with SIGKILL; starting it again in 1 s" in output


def test_the_processes_end_when_the_supervisor_is_killed_outright(start, tmp_path):
    process = start()
    children = [*pids(tmp_path, "one"), *pids(tmp_path, "two")]
    process.kill()
    assert eventually(lambda: not any(alive(pid) for pid in children))


def test_a_second_interrupt_kills_processes_that_do_not_listen_and_their_children(start, tmp_path):
    process = start("--deaf")
    children = [*pids(tmp_path, "one"), *pids(tmp_path, "two")]
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert eventually(lambda: not any(alive(pid) for pid in children))
