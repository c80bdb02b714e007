"""Runs the processes of one machine for `manage.py up`: starts, prefixes their lines, restarts, stops.

No process outlives it: each gets SIGTERM from the kernel when the supervisor itself is killed, however it is killed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

STOP_WAIT = 15  # seconds from SIGTERM to SIGKILL
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a restart; doubles while a process does not live that long

_libc = ctypes.CDLL(None, use_errno=True)
_speaking = threading.Lock()


def die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process, with SIGTERM, when the thread that started it ends."""
    if sys.platform == "linux":
        _libc.prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG


def say(name: str, line: str) -> None:
    """One line on stdout under the name of who said it; lines of several threads do not mix."""
    colour = 31 + sum(name.encode()) % 6
    prefix = f"\033[{colour}m{name:>7} │\033[0m" if sys.stdout.isatty() else f"{name:>7} |"
    with _speaking, contextlib.suppress(OSError):  # the terminal may be gone; the pipes must be read on all the same
        print(prefix, line, flush=True)


@dataclass
class Process:
    """One command that shall always run. `env` is its whole environment."""

    name: str
    command: list[str]
    env: dict[str, str]
    keep_open: tuple[int, ...] = ()  # descriptors that it inherits
    popen: subprocess.Popen[str] | None = field(default=None, init=False)
    started: float = field(default=0, init=False)
    pause: float = field(default=FIRST_PAUSE, init=False)
    start_at: float = field(default=0, init=False)

    def start(self) -> None:
        # A session of its own, so that the terminal's Ctrl-C reaches only the supervisor, which stops in good order.
        # preexec_fn is called from the main thread and makes one system call: no lock that a thread could hold.
        self.popen = subprocess.Popen(
            self.command,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_parent,
            pass_fds=self.keep_open,
        )
        self.started = time.monotonic()
        assert self.popen.stdout is not None
        threading.Thread(target=self._relay, args=(self.popen.stdout,), daemon=True).start()

    def _relay(self, output: IO[str]) -> None:
        for line in output:
            say(self.name, line.rstrip())

    def signal(self, number: int) -> None:
        """To the process; SIGKILL goes to all that it started in its session as well."""
        if self.popen is not None and self.popen.poll() is None:
            (os.killpg if number == signal.SIGKILL else os.kill)(self.popen.pid, number)

    def look_after(self) -> None:
        """Start the process if it is due; if it has ended, say so and make it due."""
        now = time.monotonic()
        if self.popen is None:
            if now >= self.start_at:
                self.start()
        elif (code := self.popen.poll()) is not None:
            self.pause = min(LONGEST_PAUSE, self.pause * 2) if now - self.started < LONGEST_PAUSE else FIRST_PAUSE
            self.start_at = now + self.pause
            say(self.name, f"ended with {_ending(code)}; starting it again in {self.pause:g} s")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)  # its own children, if it left any
            self.popen = None


class Supervisor:
    """Runs `processes` until SIGINT, SIGTERM or SIGHUP. The first is what the others stand on, and stops last."""

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes
        self.signals = 0

    def run(self, started: Callable[[], None]) -> None:
        """Call from the main thread. `started` runs in a thread of its own once every process has been started."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        for process in self.processes:
            process.start()
        threading.Thread(target=started, daemon=True).start()
        while not self.signals:
            for process in self.processes:
                process.look_after()
            time.sleep(0.2)
        say("up", "stopping … (Ctrl-C again kills)")
        self._stop(self.processes[1:])
        self._stop(self.processes[:1])

    def _on_signal(self, number: int, frame: object) -> None:
        self.signals += 1
        if self.signals > 1:
            for process in self.processes:
                process.signal(signal.SIGKILL)

    def _stop(self, processes: list[Process]) -> None:
        running = [process.popen for process in processes if process.popen is not None]
        for process in processes:
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_WAIT
        while any(popen.poll() is None for popen in running):
            if time.monotonic() > deadline or self.signals > 1:
                for process in processes:
                    process.signal(signal.SIGKILL)
            time.sleep(0.05)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
