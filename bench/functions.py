"""Functions against the frameworks people use, as ratios: `python3 manage.py bench functions`.

Ours run in sandboxes, with journal, deadline and captured logs; the peers, installed from PyPI and npm into a temporary
directory, run bare. Each is driven by the same loop: theirs over HTTP on loopback with connections kept alive, ours
over the runner's own unix socket, which is what the platform uses. Rounds alternate; the medians are compared.
Long, because it installs, starts and drives two frameworks beside our own.
"""

import argparse
import contextlib
import itertools
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from node import client
from node.runner import wire
from tests.node import agents
from tests.node.runners import RunnerProcess

ROUNDS, COLD_PEERS, COLD_OURS, WARM = 3, 5, 30, 10
EVENT = b'{"name": "world"}'
OURS = {
    "python": "def handler(event, context):\n    return {'hello': event['name']}\n",
    "node": "exports.handler = async (event) => ({ hello: event.name });",
}
THEIRS = {
    "main.py": """import functions_framework


@functions_framework.http
def hello(request):
    return {"hello": request.get_json()["name"]}
""",
    "index.js": """const functions = require("@google-cloud/functions-framework");
functions.http("hello", (req, res) => res.json({ hello: req.body.name }));
""",
}
TARGET = {"warm": 2.0, "cold": 10.0, "python": 6.0, "node": 15.0}
names = itertools.count()


@dataclass
class Target:
    """Something that answers on a socket. `size` tells how long an answer is from its beginning, None: not yet."""

    connect: Callable[[], socket.socket]
    request: Callable[[], bytes]
    size: Callable[[bytes], int | None]
    rates: dict[int, list[float]] = field(default_factory=dict)
    medians: dict[int, list[float]] = field(default_factory=dict)

    def once(self) -> bytes:
        with self.connect() as sock:
            return self.call(sock)

    def call(self, sock: socket.socket) -> bytes:
        sock.sendall(self.request())
        data = b""
        while (size := self.size(data)) is None or len(data) < size:
            part = sock.recv(65536)
            if not part:
                raise ConnectionError("no answer")
            data += part
        return data

    def drive(self, connections: int, seconds: float) -> None:
        """As many calls as it answers, one at a time on each connection."""
        selector, sent, begun = selectors.DefaultSelector(), {}, time.perf_counter()
        socks = [self.connect() for _ in range(connections)]
        taken: list[float] = []
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, [b""])
            sent[sock] = time.perf_counter()
            sock.sendall(self.request())
        while (now := time.perf_counter()) < begun + seconds:
            for key, _ in selector.select(1):
                sock, held = key.fileobj, key.data
                held[0] += sock.recv(65536)
                if (size := self.size(held[0])) is not None and len(held[0]) >= size:
                    held[0] = b""
                    taken.append(time.perf_counter() - sent[sock])
                    sent[sock] = time.perf_counter()
                    sock.sendall(self.request())
        for sock in socks:
            sock.close()
        self.rates.setdefault(connections, []).append(len(taken) / (now - begun))
        self.medians.setdefault(connections, []).append(statistics.median(taken) * 1000)


def of_runner(runner: RunnerProcess, revision: str) -> Target:
    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(client.socket_path(runner.home, wire.SOCKET)))
        return sock

    def request() -> bytes:
        head = {"op": "invoke", "revision": revision, "execution": f"exec_b{next(names)}", "attempt": 1}
        return wire.pack({**head, "trigger": "sync"}, EVENT)

    def size(data: bytes) -> int | None:
        return None if len(data) < 8 else 8 + sum(wire.LENGTHS.unpack_from(data))

    return Target(connect, request, size)


def of_http(port: int) -> Target:
    head = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(EVENT)}\r\n\r\n"
    )

    def size(data: bytes) -> int | None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        assert data.startswith(b"HTTP/1.1 200"), data
        at = data.lower().index(b"content-length:") + 15
        return end + 4 + int(data[at : data.index(b"\r\n", at)])

    return Target(lambda: socket.create_connection(("127.0.0.1", port)), lambda: head.encode() + EVENT, size)


@dataclass
class Peer:
    """A framework's server, started and stopped as its documentation says."""

    name: str
    command: list[str]
    place: Path

    @contextlib.contextmanager
    def running(self) -> Iterator[tuple[Target, float]]:
        """The server and the seconds from its start to its first answer."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*self.command, "--target=hello", f"--port={port}"],
            cwd=self.place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOST": "127.0.0.1"},
            start_new_session=True,
        )
        target = of_http(port)
        try:
            while True:
                try:
                    target.once()
                    break
                except OSError:
                    assert process.poll() is None, f"{self.name} ended"
                    time.sleep(0.002)
            yield target, time.perf_counter() - begun
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def install(place: Path) -> dict[str, Peer]:
    """Both frameworks below `place`, unless they are there already."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in THEIRS.items():
        (place / name).write_text(text)
    program = place / "venv/bin/functions-framework"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        subprocess.run([place / "venv/bin/pip", "install", "-q", "functions-framework"], check=True)
    script = place / "node_modules/.bin/functions-framework"
    if not script.exists():
        npm = ["npm", "install", "--silent", "--no-fund", "--no-audit", "@google-cloud/functions-framework"]
        subprocess.run(npm, check=True, cwd=place)
    return {
        "python": Peer("functions-framework", [str(program), "--source=main.py"], place),
        "node": Peer("@google-cloud/functions-framework", [str(script)], place),
    }


def compare_warm(runner: RunnerProcess, peers: dict[str, Peer], seconds: float) -> None:
    print(f"\n{'warm calls':34}{'c':>3}{'theirs/s':>10}{'p50 ms':>8}{'ours/s':>9}{'p50 ms':>8}{'ratio':>8}")
    for family, peer in peers.items():
        ours = of_runner(runner, runner.deploy(OURS[family], family=family, max_concurrency=64))
        ours.once()
        with peer.running() as (theirs, _):
            for target in (theirs, ours):
                target.drive(16, 0.5)
                target.rates.clear()
            for _, connections in itertools.product(range(ROUNDS), (1, 4, 16)):
                theirs.drive(connections, seconds)
                ours.drive(connections, seconds)
        for connections in (1, 4, 16):
            them, us = statistics.median(theirs.rates[connections]), statistics.median(ours.rates[connections])
            p50 = [statistics.median(target.medians[connections]) for target in (theirs, ours)]
            goal = f"  (goal {TARGET['warm']:g})" if connections > 1 else ""
            line = f"{peer.name:34}{connections:>3}{them:>10.0f}{p50[0]:>8.2f}{us:>9.0f}{p50[1]:>8.2f}"
            print(f"{line}{us / them:>7.1f}x{goal}")


def compare_cold(runner: RunnerProcess, peers: dict[str, Peer]) -> None:
    print(f"\n{'first answer, ms':34}{'theirs':>10}{'ours p50':>10}{'ours p95':>10}{'ratio':>8}")
    for family, peer in peers.items():
        theirs, ours = [], []
        for _ in range(COLD_PEERS):
            with peer.running() as (_, seconds):
                theirs.append(seconds * 1000)
            for _ in range(COLD_OURS // COLD_PEERS):
                while runner.driver.status()["ready"][runner.runtimes[family]] < 1:
                    time.sleep(0.05)
                revision = runner.deploy(OURS[family] + " " * next(names), family=family)
                begun = time.perf_counter()
                assert runner.invoke(revision, EVENT).cold_start == "first"
                ours.append((time.perf_counter() - begun) * 1000)
        ours.sort()
        them, us = statistics.median(theirs), statistics.median(ours)
        late = ours[int(len(ours) * 0.95)]
        print(f"{peer.name:34}{them:>10.0f}{us:>10.1f}{late:>10.1f}{them / us:>7.0f}x  (goal {TARGET['cold']:g})")


def measure_memory(runner: RunnerProcess) -> None:
    print(f"\n{'one of ' + str(WARM) + ' warm workers, PSS in MB':34}{'ours':>10}")
    for family in OURS:
        before = sandboxes(runner)
        for _ in range(WARM):
            runner.invoke(runner.deploy(OURS[family] + " " * next(names), family=family), EVENT)
        time.sleep(1)
        new = {pid: mb for pid, mb in sandboxes(runner).items() if pid not in before}
        everything = sum(new.values()) / sum(1 for pid in new if is_worker(pid))
        print(f"{family:34}{everything:>10.1f}  (goal {TARGET[family]:g})")


def sandboxes(runner: RunnerProcess) -> dict[int, float]:
    """PSS in MB of every process below the runner's fork server."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = os.readlink(path / "exe").rsplit("/", 1)[-1]
            line = (path / "cmdline").read_bytes()
            if b"bootstrap." in line or program == "bwrap":
                lines = (path / "smaps_rollup").read_text().splitlines()
                found[int(path.name)] = sum(int(each.split()[1]) for each in lines if each.startswith("Pss:")) / 1024
    return found


def is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe").rsplit("/", 1)[-1] != "bwrap"
    return False


def record(runner: RunnerProcess, rate: int, seconds: int) -> None:
    """A steady stream of calls from four threads, read from the journal and acknowledged as the ingester does."""
    target = of_runner(runner, runner.deploy(OURS["python"]))
    target.once()
    cursor = ("", 0)
    while (read := runner.driver.journal(cursor, 100_000))[0]:
        cursor = read[1]
    runner.driver.ack(cursor)
    done, threads = [0] * 4, []
    begun = time.perf_counter()

    def stream(thread: int) -> None:
        with target.connect() as sock:
            while done[thread] < rate * seconds / 4:
                target.call(sock)
                done[thread] += 1
                time.sleep(max(0.0, begun + 4 * done[thread] / rate - time.perf_counter()))

    for number in range(4):
        threads.append(threading.Thread(target=stream, args=(number,)))
        threads[-1].start()
    ends, lags = 0, []
    while any(thread.is_alive() for thread in threads) or ends < sum(done):
        time.sleep(0.25)
        records, cursor = runner.driver.journal(cursor, 100_000)
        runner.driver.ack(cursor)
        fresh = [one for one in records if one["t"] == "end"]
        ends += len(fresh)
        lags += [time.time() - one["ended"] for one in fresh[:1]]
    took = time.perf_counter() - begun
    print(f"\n{sum(done)} executions in {took:.1f} s, {sum(done) / took:.0f}/s where {rate}/s were asked for")
    print(f"{ends} of them read from the journal, at most {max(lags):.2f} s after their end  (goal 1)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="keep the peers here (default: a temporary directory)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (default: 3)")
    parser.add_argument("--record", type=int, default=60, help="seconds of the steady stream (default: 60)")
    parser.add_argument("--user", action="store_true", help="as an ordinary user, where the default is root")
    arguments = parser.parse_args()
    place = arguments.peers or Path(tempfile.mkdtemp(prefix="lambda-bench-"))
    who = agents.login("user" if arguments.user or os.geteuid() else "root")
    try:
        peers = install(place)
        with agents.home_for(who) as home:
            runner = RunnerProcess(who, home, options=()).start()
            try:
                facts = runner.driver.status()
                print(json.dumps({name: facts[name] for name in ("mode", "memory_limits", "runtimes")}))
                compare_warm(runner, peers, arguments.seconds)
                compare_cold(runner, peers)
                measure_memory(runner)
                record(runner, 1000, arguments.record)
            finally:
                runner.close()
    finally:
        if not arguments.peers:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
