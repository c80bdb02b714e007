"""A PostgreSQL and a Redis of one's own in a temporary folder, for what is marked `db`. No fixtures and no tests.

`python -m tests.servers COMMAND …` runs a command with LAMBDA_DATABASE_URL and LAMBDA_REDIS_URL set to fresh servers,
which end with it. They are reached from this machine alone, and keep nothing.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from config.supervisor import die_with_parent

WAIT = 60  # seconds; an idle machine needs one


class Server:
    """A program that is started, stopped and started again with the data that it had. `url` is where it is."""

    url: str

    def __init__(self, command: list[str], answers: Callable[[], bool], user: str | None = None):
        self.command, self.answers, self.user = command, answers, user
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.command, user=self.user, stdout=quiet, stderr=quiet, preexec_fn=die_with_parent, start_new_session=True
        )
        deadline = time.monotonic() + WAIT
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"this does not start: {' '.join(self.command)}")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it at once: SIGINT in good order, SIGQUIT (PostgreSQL) and SIGKILL as if the machine had failed."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(WAIT)
            self.process = None


def postgresql(folder: Path) -> Server:
    """A new cluster below `folder`, not yet started. It is reached by a socket in there."""
    user = ("postgres" if _exists("postgres") else "nobody") if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)
    data, initdb = folder / "data", _binary("initdb")
    subprocess.run(
        [initdb, "-D", data, "-U", "lambda", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
        user=user, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "off",  # a killed server loses nothing by it, only a machine without power would
        "max_connections": "200",
    }
    command = [_binary("postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
    ready = [_binary("pg_isready"), "-q", "-h", str(folder)]
    server = Server(command, lambda: subprocess.run(ready).returncode == 0, user)
    server.url = f"postgres://lambda@/postgres?host={folder}"
    return server


def redis() -> Server:
    """An empty Redis, not yet started. It forgets everything when it ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    # A database for each test process: see tests/settings.py.
    command = [_binary("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--databases", "1024"]
    server = Server(command, answers)
    server.url = f"redis://127.0.0.1:{port}/0"
    return server


def _exists(user: str) -> bool:
    return any(entry.pw_name == user for entry in pwd.getpwall())


def _binary(name: str) -> str:
    """Debian keeps PostgreSQL's programs of each version in a folder that is not on the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]]))
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: apt-get install postgresql redis-server")
    return found


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary one, short enough for the path of a socket."""
    path = Path(tempfile.mkdtemp(prefix="lambda-db-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with folder() as home, postgresql(home) as database, redis() as cache:
        addresses = {"LAMBDA_DATABASE_URL": database.url, "LAMBDA_REDIS_URL": cache.url}
        return subprocess.call(command, env=os.environ | addresses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
