"""Page 1 of the instances with its total: its time at 1,000,000 rows ÷ at 1,000, on SQLite and on PostgreSQL.

Each size has a database of its own, filled by SQL, and a process of its own that reads in turns with the other's; the
median of the paired rounds' ratios is printed. `python -m bench.growth`; PostgreSQL is measured where it is installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = 1.5
READS = 100  # a round


def fill(account: Any, count: int, first: int = 0) -> None:
    """Give the account `count` more instances like the one that it has, with their inventory and the counter's word.

    Their keys are made of the numbers from `first` on.
    """
    from django.db import connection

    from compute.models import Instance
    from core.models import Counter, Resource

    template = Instance.objects.get(account=account)
    numbers, key, native = _numbers(connection.vendor)
    with connection.cursor() as cursor:
        columns = [field.column for field in Instance._meta.concrete_fields if field.column != "id"]
        cursor.execute(
            f"{numbers} INSERT INTO compute_instance (id, {', '.join(columns)}) "
            f"SELECT {key}, {', '.join(f't.{name}' for name in columns)} "
            f"FROM compute_instance AS t, n WHERE t.id = {native}",
            [first, count, template.pk.hex],
        )
        columns = [field.column for field in Resource._meta.concrete_fields if field.column not in ("id", "native_id")]
        cursor.execute(
            f"{numbers} INSERT INTO core_resource (native_id, {', '.join(columns)}) "
            f"SELECT {key}, {', '.join(f't.{name}' for name in columns)} "
            f"FROM core_resource AS t, n WHERE t.native_id = {native}",
            [first, count, template.pk.hex],
        )
        cursor.execute("ANALYZE")
    Counter.add(account, instance=count)


def _numbers(vendor: str) -> tuple[str, str, str]:
    """SQL for %s and the numbers that follow, %s in all, as n(i); for a growing key made of i; for a key."""
    if vendor == "sqlite":
        numbers = (
            "WITH RECURSIVE range(low, total) AS (SELECT %s, %s), n(i) AS "
            "(SELECT low FROM range UNION ALL SELECT i + 1 FROM n, range WHERE i + 1 < low + total)"
        )
        return numbers, "printf('018f%08x70008000%012x', i, i)", "%s"
    key = "('018f' || lpad(to_hex(i), 8, '0') || '70008000' || lpad(to_hex(i), 12, '0'))::uuid"
    numbers = (
        "WITH range(low, total) AS (SELECT %s, %s), n(i) AS (SELECT generate_series(low, low + total - 1) FROM range)"
    )
    return numbers, key, "%s::uuid"


def serve(count: int) -> None:
    """The child: make and fill a database, say so, and then time a round of reads for each line that comes in."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from accounts.actions import accounts, api_keys
    from accounts.models import Membership
    from catalog.models import Plan
    from compute.actions import instances
    from core.context import SYSTEM

    call_command("migrate", verbosity=0)
    limits = {f"max_{noun}": 10**8 for noun in ("instances", "vcpus", "ssh_keys", "api_keys")}
    Plan.objects.create(slug="bench", name="Bench", requests_per_hour=10**9, burst=10**8, **limits)
    owner = accounts.create_user(email="bench@example.com", by=SYSTEM)
    account = accounts.create(name="bench", owner=owner, plan="bench", by=SYSTEM)
    scopes = Membership.objects.get(user=owner).scopes
    _, secret = api_keys.create(account=account, by=SYSTEM, maker=owner, name="b", scopes=["*"], grantable=scopes)
    wanted = {"instance_type": "compute-1x", "region": "us-east-1", "image": "ubuntu-22.04", "tags": {"env": "prod"}}
    instances.create(account=account, by=SYSTEM, name="instance-0", **wanted)
    fill(account, count - 1)
    client = Client(headers={"Authorization": f"Bearer {secret.key_ascii}", "Host": "localhost"})

    def read() -> dict[str, Any]:
        return json.loads(client.get("/v1/instances?limit=20").content)

    page = read()
    assert (len(page["data"]), page["pagination"]["total_items"]) == (20, count), page
    print("ready", flush=True)
    for _ in sys.stdin:
        taken = []
        for _ in range(READS):
            began = time.perf_counter()
            read()
            taken.append(time.perf_counter() - began)
        print(min(taken), flush=True)  # the one that no neighbour on this machine disturbed


class Reader:
    """A child that serves `count` rows; `round` is the least time in seconds of a read."""

    def __init__(self, home: Path, database: str, count: int):
        home.mkdir(mode=0o700)
        settings = {
            "LAMBDA_HOME": home,
            "LAMBDA_DATABASE_URL": database,
            "LAMBDA_DRIVER": "fake",
            "LAMBDA_REDIS_URL": "",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.growth", "--serve", str(count)],
            cwd=ROOT,
            env=os.environ
            | {name: str(value) for name, value in settings.items()}
            | {"DJANGO_SETTINGS_MODULE": "config.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit("a reader ended")
        return line

    def round(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.line())


def compare(kind: str, home: Path, databases: tuple[str, str], few: int, many: int, rounds: int) -> bool:
    readers = [Reader(home / f"{kind}-{count}", url, count) for url, count in zip(databases, (few, many), strict=True)]
    try:
        for reader in readers:
            reader.line()
        for reader in readers:
            reader.round()
        times = [[reader.round() for reader in readers] for _ in range(rounds)]
    finally:
        for reader in readers:
            reader.process.kill()
            reader.process.wait()
    ratio = statistics.median(large / small for small, large in times)
    small, large = (statistics.median(column) * 1e6 for column in zip(*times, strict=True))
    verdict = "✓" if ratio <= TARGET else "✗"
    print(
        f"{kind:12}{small:>8.0f} µs at {few:,}{large:>8.0f} µs at {many:,}{ratio:>8.2f} (≤ {TARGET} {verdict})",
        flush=True,
    )
    return ratio <= TARGET


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    from tests import servers

    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lambda-bench-")))
        sizes = (options.few, options.many, options.rounds)
        reached = [compare("SQLite", home, ("", ""), *sizes)]
        try:
            folders = [stack.enter_context(servers.folder()) for _ in range(2)]
            clusters = [stack.enter_context(servers.postgresql(folder)) for folder in folders]
        except FileNotFoundError as missing:
            print(f"PostgreSQL is left out: {missing}")
        else:
            reached.append(compare("PostgreSQL", home, (clusters[0].url, clusters[1].url), *sizes))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
