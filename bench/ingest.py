"""1,000 executions a second for a minute, from the journal into the database: how late they are, and what they cost.

A process writes START and END with the runner's own `Journal` and answers with its own `Connection`, at the rate, for
100 functions of 10 accounts; it runs nobody's code, as two cores would have no room for that beside. Another does what
the worker does: `functions.ingest` twice a second, in a database of its own.
An execution's lag is the time from its end until its row, its hour's sums and the cursor are committed.
`python -m bench.ingest`; the target is the issue's.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TARGET = 1.0  # seconds of lag at most
FUNCTIONS, ACCOUNTS = 100, 10
EVERY = 0.3  # seconds between two looks, as `config/settings.py` has it
TICK = 0.01  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="executions a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)  # the other process: its home
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.mkdir(mode=0o700)
        asyncio.run(write(arguments.write, arguments.rate, arguments.seconds, json.load(sys.stdin)))
        return 0
    with tempfile.TemporaryDirectory(prefix="lambda-bench-", dir="/tmp") as home:
        os.environ |= {"LAMBDA_HOME": home, "LAMBDA_RUNNER": "local", "LAMBDA_BROKER_URL": "memory://"}
        os.environ |= {"LAMBDA_LOG_LEVEL": "ERROR", "DJANGO_SETTINGS_MODULE": "config.settings"}
        functions = seed()
        place = Path(home) / "runner"
        options = ["--write", str(place), "--rate", str(arguments.rate), "--seconds", str(arguments.seconds)]
        writer = subprocess.Popen([sys.executable, "-m", "bench.ingest", *options], stdin=subprocess.PIPE, text=True)
        try:
            assert writer.stdin
            json.dump(functions, writer.stdin)
            writer.stdin.close()
            found = measure(arguments.rate * arguments.seconds, writer)
        finally:
            writer.kill()
            writer.wait()
    print(json.dumps(found, indent=2))
    late = found["lag_s"]["max"]
    print(f"{found['per_second']}/s, at most {late} s late; the target is {TARGET} s: {verdict(late)}")
    return 0 if late <= TARGET else 1


def verdict(late: float) -> str:
    return "met" if late <= TARGET else "MISSED"


def seed() -> list[dict[str, str]]:
    """A database with functions, and what the journal calls them."""
    import django

    django.setup()
    from django.core.management import call_command

    from accounts.actions import accounts
    from core.context import SYSTEM
    from functions import calls
    from functions.actions import functions

    call_command("migrate", verbosity=0)
    made = []
    for number in range(ACCOUNTS):
        owner = accounts.create_user(email=f"bench{number}@example.com", by=SYSTEM)
        account = accounts.create(name="bench", owner=owner, plan="enterprise", by=SYSTEM)
        for each in range(FUNCTIONS // ACCOUNTS):
            facts: dict[str, Any] = {"runtime": "python3.11", "handler": "app.handler"}
            function = functions.create(account=account, by=SYSTEM, name=f"f{each}", **facts)
            made.append({"account": account.public_id, "function": calls.runner_name(function.pk)})
    return made


async def write(home: Path, rate: int, seconds: int, functions: list[dict[str, str]]) -> None:
    """Serve a journal, and write to it at the rate for so long; then serve on until killed."""
    from core import ids
    from node import client, control
    from node.runner import wire
    from node.runner.daemon import Connection
    from node.runner.journal import Journal

    runner: Any = SimpleNamespace(journal=Journal(home / "journal"), spawn=asyncio.ensure_future)
    path = client.socket_path(home, wire.SOCKET)
    await asyncio.get_running_loop().create_unix_server(lambda: Connection(runner), sock=control.bind(path))
    begun, done = time.monotonic(), 0
    while done < rate * seconds:
        while done < min((time.monotonic() - begun) * rate, rate * seconds):
            execute(runner.journal, ids.encode("exec", ids.new()), functions[done * 7 % len(functions)], done)
            done += 1
        await asyncio.to_thread(runner.journal.sync)
        await asyncio.sleep(TICK)
    await asyncio.Event().wait()


def execute(journal: Any, id: str, function: dict[str, str], number: int) -> None:
    """What the runner writes of one call."""
    now = time.time()
    facts = {**function, "revision": "fv_bench", "version": 1, "trigger": "sync", "at": now, "memory_mb": 128}
    log = f"START RequestId: {id} Version: 1\nhello\nEND RequestId: {id}\nREPORT RequestId: {id}\tDuration: 1.20 ms\n"
    outcome = {"status": "succeeded", "error": None, "started": now, "ended": now, "billed_ms": 2, "init_ms": None}
    outcome |= {"duration_us": 1200 + number % 997, "cold_start": None, "max_memory_mb": 6, "log": log}
    journal.start((id, 1), facts)
    journal.end((id, 1), outcome | {"result_bytes": 15})


def measure(total: int, writer: Any) -> dict[str, Any]:
    """Ingest until all is there. Raises SystemExit where not every one is there once, in rows and in sums."""
    from django.db.models import Count, Min, Sum
    from django.utils import timezone

    from functions import tasks
    from functions.models import Execution, Rollup

    lags, done, last, busy, first, cpu = [], 0, None, 0.0, 0.0, time.process_time()
    while done < total and writer.poll() is None:
        begun = time.monotonic()
        tasks.ingest()
        busy, now = busy + time.monotonic() - begun, timezone.now()
        fresh = Execution.objects.filter(status="succeeded").order_by("-pk")
        fresh = fresh.filter(pk__gt=last) if last else fresh
        facts = fresh.aggregate(count=Count("pk"), oldest=Min("ended_at"))
        if facts["count"]:
            last = fresh.values_list("pk", flat=True).first()
            lags.append((now - facts["oldest"]).total_seconds())
            first, done = first or begun - lags[0], done + facts["count"]
        time.sleep(max(0.0, begun + EVERY - time.monotonic()))
    counts = (Execution.objects.count(), Rollup.objects.aggregate(sum=Sum("executions"))["sum"])
    if counts != (total, total):
        raise SystemExit(f"of {total} executions {counts[0]} are rows, and {counts[1]} are in the sums")
    took = begun - first
    return {
        "executions": total,
        "per_second": round(total / took),
        "lag_s": {"p50": round(statistics.median(lags), 2), "max": round(max(lags), 2)},
        "busy_percent": round(100 * busy / took),
        "cpu_us_each": round((time.process_time() - cpu) / total * 1e6),
    }


if __name__ == "__main__":
    sys.exit(main())
