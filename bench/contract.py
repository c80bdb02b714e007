"""list, get and create of instances against P (plain Django), N (naive DRF) and moto: CPU per request, as ratios.

Every round sends the same number of requests to each server over one connection, one server after the other, and
reads the CPU time of its process tree; medians of the paired rounds' ratios are printed. Ratios, because the machine
is shared; CPU, because it hardly moves when the neighbours are loud. Targets: `docs/explanation/performance.md`.
"""

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
# A server that wanders between cores pays for cold caches: servers share the first core, the client has the last.
PINNED = ["taskset", "-c", str(CPUS[0])] if shutil.which("taskset") else []
TARGETS = {  # operation: (÷ P, ÷ N, ÷ moto)
    "list": (0.35, 10, 20),
    "get": (0.45, None, 4),
    "create": (0.10, 2.5, 4),
}

SEED = """
import json, sys
from accounts.actions import accounts, api_keys
from accounts.models import Membership
from catalog.models import Plan
from compute.actions import instances, ssh_keys
from core.context import SYSTEM
Plan.objects.create(slug="bench", name="Bench", requests_per_hour=10**9, burst=10**8, max_instances=10**6,
                    max_vcpus=10**8, max_ssh_keys=10, max_api_keys=10)
owner = accounts.create_user(email="bench@example.com", by=SYSTEM)
account = accounts.create(name="bench", owner=owner, plan="bench", by=SYSTEM)
member = Membership.objects.get(user=owner)
_, secret = api_keys.create(account=account, by=SYSTEM, maker=owner, name="b", scopes=["*"], grantable=member.scopes)
keys = [ssh_keys.generate(account=account, by=SYSTEM, name=f"key {n}")[0].public_id for n in range(2)]
order = {"instance_type": "compute-4x", "region": "us-west-1", "image": "ubuntu-22.04", "tags": {"env": "prod"}}
made = [instances.create(account=account, by=SYSTEM, name=f"instance-{n}", ssh_keys=keys, **order) for n in range(20)]
json.dump({"key": secret.key_ascii, "instance": made[0].public_id, "ssh_keys": keys}, sys.stdout)
"""


@dataclass
class Server:
    """A running server and how to send it one list, get or create."""

    process: subprocess.Popen
    port: int
    requests: dict[str, tuple[str, str, dict[str, str], bytes | None]]  # operation: method, path, headers, body

    def cpu(self) -> float:
        """CPU seconds of the process tree so far."""
        total = 0.0
        for pid in _tree(self.process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICK
        return total

    def send(self, operation: str, count: int) -> float:
        """CPU µs per request over `count` requests of one connection."""
        method, path, headers, body = self.requests[operation]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        before = self.cpu()
        for _ in range(count):
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise SystemExit(f"{operation} on port {self.port} answered {answer.status}: {text[:300]!r}")
        connection.close()
        return (self.cpu() - before) / count * 1e6


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(found for child in children for found in _tree(int(child)))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _serve(application: str, environment: dict[str, str], requests) -> Server:
    port = _free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "-w", "1"]
    process = subprocess.Popen(
        [*PINNED, *command, "--log-level", "error", "-b", f"127.0.0.1:{port}", application],
        cwd=ROOT,
        env=os.environ | environment,
    )
    return _ready(Server(process, port, requests))


def _ready(server: Server) -> Server:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return server
        time.sleep(0.1)
    raise SystemExit("a server did not start")


def lambda_server(home: Path) -> Server:
    environment = {
        "LAMBDA_HOME": str(home),
        "LAMBDA_DRIVER": "fake",
        "LAMBDA_NO_BOOTSTRAP": "1",
        "LAMBDA_BROKER_URL": "memory://",
    }
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v0"], cwd=ROOT, env=os.environ | environment, check=True)
    seeded = subprocess.run(
        [*manage, "shell", "-v0", "-c", SEED], cwd=ROOT, env=os.environ | environment, check=True, capture_output=True
    )
    facts = json.loads(seeded.stdout)
    headers = {"Authorization": f"Bearer {facts['key']}", "Content-Type": "application/json"}
    body = {
        "name": "made-by-bench",
        "instance_type": "compute-1x",
        "region": "us-west-1",
        "image": "ubuntu-22.04",
        "ssh_keys": facts["ssh_keys"],
        "tags": {"env": "prod"},
    }
    return _serve(
        "config.wsgi:application",
        environment,
        {
            "list": ("GET", "/v1/instances?limit=20", headers, None),
            "get": ("GET", f"/v1/instances/{facts['instance']}", headers, None),
            "create": ("POST", "/v1/instances", headers, json.dumps(body).encode()),
        },
    )


def plain_server(home: Path) -> Server:
    once = ("GET", "/plain", {}, None)
    return _serve("bench.peers.plain:application", {}, {"list": once, "get": once, "create": once})


def naive_server(home: Path) -> Server:
    environment = {"NAIVE_HOME": str(home)}
    made = subprocess.run(
        [sys.executable, "-m", "bench.peers.naive", str(home)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    headers = {"Authorization": f"Bearer {made.stdout.strip()}", "Content-Type": "application/json"}
    body = {
        "name": "made",
        "region_slug": "us-west-1",
        "type_slug": "compute-4x",
        "key_ids": [1, 2],
        "tags": {"env": "prod"},
    }
    return _serve(
        "bench.peers.naive:application",
        environment,
        {
            "list": ("GET", "/v1/instances?limit=20", headers, None),
            "get": ("GET", "/v1/instances/1", headers, None),
            "create": ("POST", "/v1/instances", headers, json.dumps(body).encode()),
        },
    )


def moto_server(home: Path) -> Server | None:
    """moto's EC2 in an environment of its own: its dependencies are nobody else's business."""
    venv = home / "moto"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    installed = subprocess.run([venv / "bin/pip", "install", "-q", "moto[server,ec2]"], check=False)
    if installed.returncode:
        print("moto cannot be installed here: its column is left out")
        return None
    port = _free_port()
    process = subprocess.Popen(
        [*PINNED, venv / "bin/moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-west-1/ec2/aws4_request, "
        "SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }

    def call(**parameters: str) -> tuple[str, str, dict[str, str], bytes]:
        return "POST", "/", headers, urllib.parse.urlencode({"Version": "2016-11-15", **parameters}).encode()

    run = {"ImageId": "ami-12c6146b", "InstanceType": "t2.micro"}
    server = _ready(Server(process, port, {"fill": call(Action="RunInstances", MinCount="20", MaxCount="20", **run)}))
    server.send("fill", 1)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    method, path, _, body = call(Action="DescribeInstances")
    connection.request(method, path, body=body, headers=headers)
    first = connection.getresponse().read().decode().partition("<instanceId>")[2].partition("<")[0]
    server.requests = {
        "list": call(Action="DescribeInstances"),
        "get": call(Action="DescribeInstances", **{"InstanceId.1": first}),
        "create": call(Action="RunInstances", MinCount="1", MaxCount="1", **run),
    }
    return server


def measure(rounds: int, count: int, makers: dict[str, Callable[[Path], Server | None]]) -> None:
    os.sched_setaffinity(0, CPUS[-1:])
    home = Path(tempfile.mkdtemp(prefix="lambda-bench-"))
    servers: dict[str, Server] = {}
    try:
        for name, make in makers.items():
            (home / name).mkdir(mode=0o700)
            if server := make(home / name):
                servers[name] = server
        print(f"{'':8}{'Lambda µs':>12}" + "".join(f"{'÷ ' + name:>22}" for name in servers if name != "lambda"))
        for operation in TARGETS:
            _row(operation, servers, rounds, count)
    finally:
        for server in servers.values():
            server.process.terminate()
        for server in servers.values():
            server.process.wait()
        shutil.rmtree(home)


def _row(operation: str, servers: dict[str, Server], rounds: int, count: int) -> None:
    for server in servers.values():
        server.send(operation, 20)
    taken: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            # A list that grows while creates are measured would measure something else: moto has no page.
            taken[name].append(server.send(operation, count if name in ("lambda", "P") else max(20, count // 5)))
    cells = []
    peers = [rounds for name, rounds in taken.items() if name != "lambda"]
    for theirs_all, target in zip(peers, TARGETS[operation], strict=False):
        ratio = statistics.median(theirs / ours for theirs, ours in zip(theirs_all, taken["lambda"], strict=True))
        verdict = f" (≥ {target}{' ✓' if ratio >= target else ' ✗'})" if target else ""
        cells.append(f"{ratio:>10.2f}{verdict:12}")
    print(f"{operation:8}{statistics.median(taken['lambda']):>12.0f}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=300, help="requests a round")
    parser.add_argument("--without-moto", action="store_true")
    options = parser.parse_args()
    makers = {"lambda": lambda_server, "P": plain_server, "N": naive_server}
    if not options.without_moto:
        makers["moto"] = moto_server
    measure(options.rounds, options.count, makers)


if __name__ == "__main__":
    main()
