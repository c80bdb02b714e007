"""From `POST /v1/instances` to the end of a command over SSH, through the whole platform: web, worker, agent.

Starts `manage.py up` in a folder of its own and, one after the other, creates an instance, waits by the wait
endpoint, and runs `true` over an in-process SSH client; prints p50 and p95 in ms. Run it as root and as an ordinary
user: the two tiers differ. Targets, p50 on an idle machine: 220 ms as root, 150 ms as an ordinary user.
"""

import argparse
import asyncio
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncssh

ROOT = Path(__file__).resolve().parent.parent
TARGET = {"root": 220, "ordinary user": 150}  # ms


class Platform:
    """`manage.py up` in a folder of its own, and a client of its API."""

    def __init__(self, home: Path):
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", "8900"],
            cwd=ROOT,
            env={**os.environ, "LAMBDA_HOME": str(home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "API  " in line:
                url = urlsplit(line.split()[-1])
            if "Ctrl-C" in line:
                break
        facts = dict(line.split("=", 1) for line in (home / "demo.env").read_text().splitlines())
        self.connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=60)
        self.headers = {
            "Authorization": f"Bearer {facts['LAMBDA_API_KEY']}".encode(),
            "Content-Type": "application/json",
        }

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        self.connection.request(method, path, body=json.dumps(body) if body else None, headers=self.headers)
        answer = json.load(self.connection.getresponse())
        if not answer["success"]:
            raise SystemExit(f"{method} {path}: {answer['error']['message']}")
        return answer["data"]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)


async def log_in(host: str, port: int, key: Path) -> None:
    async with asyncssh.connect(host, port, username="lambda", client_keys=[str(key)], known_hosts=None) as connection:
        await connection.run("true", check=True)


def once(platform: Platform, number: int) -> tuple[float, float, float]:
    """Seconds until the answer to POST, until the wait's answer, until the command's end."""
    order = {"name": f"bench-{number}", "instance_type": "compute-1x", "region": "us-west-1", "image": "ubuntu-22.04"}
    start = time.perf_counter()
    made = platform.call("POST", "/v1/instances", {**order, "ssh_keys": ["demo"]})
    accepted = time.perf_counter()
    up = platform.call("GET", f"/v1/instances/{made['id']}/wait?status=ready&timeout=30")
    ready = time.perf_counter()
    asyncio.run(log_in(up["ssh"]["host"], up["ssh"]["port"], platform.home / "demo_ssh_key"))
    end = time.perf_counter()
    platform.call("DELETE", f"/v1/instances/{made['id']}")
    return accepted - start, ready - start, end - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    options = parser.parse_args()
    who = "root" if os.geteuid() == 0 else "ordinary user"
    with tempfile.TemporaryDirectory(prefix="lambda-bench-", ignore_cleanup_errors=True) as folder:
        platform = Platform(Path(folder))
        try:
            once(platform, 0)
            time.sleep(1)
            taken = []
            for number in range(options.count):
                taken.append([1000 * seconds for seconds in once(platform, number)])
                time.sleep(0.3)  # the delete before must not be measured
        finally:
            platform.stop()
    for name, column in zip(("POST answered", "ready", "command done"), zip(*taken, strict=True), strict=True):
        ordered = sorted(column)
        print(
            f"{name:16} p50 {statistics.median(ordered):7.1f} ms   p95 {ordered[int(len(ordered) * 0.95) - 1]:7.1f} ms"
        )
    p50 = statistics.median(row[2] for row in taken)
    verdict = "✓" if p50 <= TARGET[who] else "✗"
    print(f"as {who}: {p50:.0f} ms of {TARGET[who]} ms allowed = {p50 / TARGET[who]:.2f} {verdict}")


if __name__ == "__main__":
    main()
