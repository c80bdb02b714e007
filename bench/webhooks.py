"""Webhook deliveries: how soon, how undisturbed by dead receivers, and how fast against a bare aiohttp loop.

Each is measured with real processes: this one records events, the receiver and the dispatcher are processes of their
own. `python -m bench.webhooks`; the targets are the issue's. Ratios are of paired rounds in one run.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

ROOT = Path(__file__).resolve().parent.parent
LATENCY, DISTURBANCE, RATE = 1.0, 2.0, 0.5  # seconds, ratio, ratio
LANES = 16  # endpoints of the healthy receiver in the measurement of speed
HANGING, QUEUED = 10, 1000  # dead endpoints; deliveries that wait for each


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10, help="of 100 events/s each")
    parser.add_argument("--deliveries", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.receive:
        asyncio.run(receive(Path(options.receive)))
        return 0
    with tempfile.TemporaryDirectory(prefix="lambda-bench-", ignore_cleanup_errors=True) as home:
        os.environ |= {"LAMBDA_HOME": home, "LAMBDA_DRIVER": "fake", "LAMBDA_BROKER_URL": "memory://"}
        os.environ |= {"LAMBDA_LOG_LEVEL": "ERROR", "DJANGO_SETTINGS_MODULE": "config.settings"}
        os.environ |= {"LAMBDA_WEBHOOK_ALLOW": "loopback"}
        return measure(Path(home), options)


def measure(home: Path, options: argparse.Namespace) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    receiver = start(home, "-m", "bench.webhooks", "--receive", str(home))
    try:
        while not (home / "port").exists():
            time.sleep(0.05)
        url = f"http://127.0.0.1:{(home / 'port').read_text()}"
        rates = [speed(home, url, options.deliveries) for _ in range(options.rounds)]
        pairs = [
            (delay(home, url, options.seconds), delay(home, url, options.seconds, dead=True))
            for _ in range(options.rounds)
        ]
    finally:
        end(receiver)
    ratios = [ours / bare for ours, bare in rates]
    disturbed = [with_dead / alone for alone, with_dead in pairs]
    worst = max(alone for alone, _ in pairs)
    print(f"deliveries/s: {', '.join(f'{ours:.0f} of {bare:.0f} bare' for ours, bare in rates)}")
    print(f"commit to first attempt, p99 at 100 events/s: {', '.join(f'{1000 * alone:.0f} ms' for alone, _ in pairs)}")
    beside = ", ".join(f"{1000 * dead:.0f} ms" for _, dead in pairs)
    print(f"… with {HANGING} hanging endpoints, {HANGING * QUEUED} queued: {beside}")
    verdicts = [
        (f"p99 {worst:.2f} s of {LATENCY} s allowed", worst <= LATENCY),
        (
            f"{statistics.median(disturbed):.2f} × its p99 without them, {DISTURBANCE} × allowed",
            statistics.median(disturbed) <= DISTURBANCE,
        ),
        (f"{statistics.median(ratios):.2f} of a bare loop, {RATE} asked for", statistics.median(ratios) >= RATE),
    ]
    for words, met in verdicts:
        print("✓" if met else "✗", words)
    return 0 if all(met for _, met in verdicts) else 1


# --- Processes


def start(home: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=os.environ.copy())


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


async def receive(home: Path) -> None:
    """Answers /ok at once and /hang never; /seen gives and forgets [(event id, epoch)] of what came to /ok."""
    seen: list[tuple[str, float]] = []
    stop = asyncio.Event()

    async def ok(request: web.Request) -> web.Response:
        seen.append((request.headers.get("webhook-id", ""), time.time()))
        await request.read()
        return web.Response()

    async def hang(request: web.Request) -> web.Response:
        await stop.wait()
        return web.Response()

    async def given(request: web.Request) -> web.Response:
        found, seen[:] = list(seen), []
        return web.json_response(found)

    app = web.Application()
    app.add_routes(
        [
            web.post("/ok/{n}", ok),
            web.post("/hang/{n}", hang),
            web.get("/seen", given),
            web.get("/count", lambda _: count(seen)),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    draft = home / ".port"
    draft.write_text(str(runner.addresses[0][1]))
    draft.rename(home / "port")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()


async def count(seen: list[Any]) -> web.Response:
    return web.json_response(len(seen))


def ask(url: str, path: str) -> Any:
    async def get() -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"{url}{path}") as answer:
            return await answer.json()

    return asyncio.run(get())


# --- Measurements


def account_with(urls: list[str]) -> Any:
    """A new account whose webhooks are these."""
    from accounts.actions import accounts
    from core.context import SYSTEM
    from webhooks.actions import endpoints

    owner = accounts.create_user(email=f"bench{time.time_ns()}@example.com", by=SYSTEM)
    account = accounts.create(name="bench", owner=owner, plan="enterprise", by=SYSTEM)
    for url in urls:
        endpoints.create(account=account, by=SYSTEM, url=url, events=["account.updated"])
    return account


def record(account: Any, count: int) -> list[str]:
    """Events of the account in one commit; their public ids."""
    from core import events
    from core.context import SYSTEM
    from core.db import atomic_write

    with atomic_write():
        return [
            events.record("account.updated", account=account, by=SYSTEM, subject=account).public_id
            for _ in range(count)
        ]


def forget() -> None:
    from webhooks.models import Endpoint

    Endpoint.objects.update(state="deleted")


def speed(home: Path, url: str, deliveries: int) -> tuple[float, float]:
    """Deliveries a second by the dispatcher, and by a bare loop that posts the same bodies to the same receiver."""
    account = account_with([f"{url}/ok/{number}" for number in range(LANES)])
    record(account, deliveries // LANES)
    ask(url, "/seen")
    dispatcher = start(home, "-m", "django", "dispatch_webhooks")
    total = deliveries // LANES * LANES
    while ask(url, "/count") < total:
        time.sleep(0.05)
    times = sorted(at for _, at in ask(url, "/seen"))
    time.sleep(0.5)
    end(dispatcher)
    forget()
    return (total - 1) / (times[-1] - times[0]), bare(url, total)


def bare(url: str, total: int) -> float:
    """As many requests at once as the dispatcher has, with the bodies that it sent."""
    from core.models import Event
    from webhooks.models.delivery import unsigned
    from webhooks.signing import sign

    event = Event.objects.filter(type="account.updated").last()
    assert event is not None
    signed = sign(event.public_id, unsigned(event), event.at, ["x" * 32])

    async def run() -> float:
        left = iter(range(total))
        begun = time.perf_counter()

        async def post(session: aiohttp.ClientSession, lane: int) -> None:
            for _ in left:
                async with session.post(f"{url}/ok/{lane}", data=signed.body, headers=signed.headers) as answer:
                    await answer.read()

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(post(session, lane % LANES) for lane in range(4 * LANES)))
        return total / (time.perf_counter() - begun)

    found = asyncio.run(run())
    ask(url, "/seen")
    return found


def delay(home: Path, url: str, seconds: int, *, dead: bool = False) -> float:
    """p99 in seconds from the commit of an event to the receiver's sight of it, at 100 events/s to one endpoint."""
    if dead:
        account = account_with([f"{url}/hang/{number}" for number in range(HANGING)])
        record(account, QUEUED)
    account = account_with([f"{url}/ok/0"])
    ask(url, "/seen")
    dispatcher = start(home, "-m", "django", "dispatch_webhooks")
    record(account, 1)
    while ask(url, "/count") < 1:
        time.sleep(0.05)
    time.sleep(1)
    committed = {}
    begun = time.perf_counter()
    for number in range(seconds * 100):
        (id,) = record(account, 1)
        committed[id] = time.time()
        time.sleep(max(0, begun + number / 100 - time.perf_counter()))
    while ask(url, "/count") < 1 + len(committed):
        time.sleep(0.1)
    seen = dict(ask(url, "/seen"))
    end(dispatcher)
    forget()
    late = sorted(seen[id] - at for id, at in committed.items())
    return late[int(len(late) * 0.99)]


if __name__ == "__main__":
    sys.exit(main())
