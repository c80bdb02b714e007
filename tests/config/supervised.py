"""A program for test_supervisor.py: supervises two copies of itself, each with a child of its own.

`supervised.py FOLDER [--deaf]` is the supervisor; `supervised.py FOLDER NAME child [--deaf]` one of its
processes, which writes its process id and its child's to FOLDER/NAME. With --deaf they do not listen to SIGTERM.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from config.supervisor import Process, Supervisor


def supervise(folder: str, *options: str) -> None:
    def process(name: str) -> Process:
        return Process(
            name, [sys.executable, "-m", "tests.config.supervised", folder, name, "child", *options], {**os.environ}
        )

    Supervisor([process("one"), process("two")]).run(lambda: print("all started", flush=True))
    print("clean end", flush=True)


def child(folder: str, name: str, *options: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "--deaf" in options else lambda *_: sys.exit(0))
    grandchild = subprocess.Popen(["sleep", "1000"])
    try:
        draft = Path(folder, f".{name}")
        draft.write_text(f"{os.getpid()} {grandchild.pid}")
        draft.rename(Path(folder, name))  # from here on the test may kill whom it likes
        print("λ is here", flush=True)
        time.sleep(1000)
    finally:
        grandchild.kill()


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    if "child" in rest:
        child(folder, rest[0], *rest[2:])
    else:
        supervise(folder, *rest)
