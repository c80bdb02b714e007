"""`manage.py up`: everything on this machine, from an empty folder to a banner with lines that work when pasted."""

import argparse
import contextlib
import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connections

from config import demo, first_minute
from config.supervisor import Process, Supervisor, say

# What --fresh removes. A list, not "all of LAMBDA_HOME": somebody may have pointed that at a folder of their own.
MADE_HERE = (
    "lambda.sqlite3*",
    "secrets",
    "queue",
    "cache",
    "node",
    "runner",
    "mail",
    "static",
    "limits*",
    "epoch*",
    "beat*",
    "demo*",
)

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  (asked for by --host; and how to reach it from here)


class Command(BaseCommand):
    help = "Start all of Lambda on this machine, with demo data, and stop it on Ctrl-C."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", type=int, default=8000, help="port; if taken, the next free one (default: 8000)")
        parser.add_argument("--no-demo", action="store_true", help="make no demo account")
        parser.add_argument("--fresh", action="store_true", help="first remove everything that an earlier run made")
        parser.add_argument("--reload", action="store_true", help="restart the web processes when code changes")

    def handle(self, *, host: str, port: int, no_demo: bool, fresh: bool, reload: bool, **_: Any) -> None:
        lock = only_one()
        if fresh:
            start_afresh()
        call_command("migrate", verbosity=0)
        seeded = None if no_demo else demo.seed()
        connections.close_all()
        port = free_port(host, port)
        shown = "localhost" if host in ("127.0.0.1", "::1", *EVERYWHERE) else host
        environment = environment_of(host, f"http://{shown}:{port}")
        if reload:
            environment["LAMBDA_DEBUG"] = "1"
        supervisor = Supervisor(processes(f"{bracketed(host)}:{port}", environment, lock, reload))
        url = environment["LAMBDA_BASE_URL"]
        supervisor.run(lambda: first_minute.begin(f"http://{reachable(host)}:{port}", url, seeded))
        say("up", "everything has stopped")


def processes(bind: str, environment: dict[str, str], lock: int, reload: bool) -> list[Process]:
    """The node agent comes first, as the others stand on it. Each keeps `lock` open until it has ended."""
    python = sys.executable
    node = [python, "-m", "node.agent", "--home", str(settings.LAMBDA_NODE_HOME), "--stop-instances-on-exit"]
    runner = [python, "-m", "node.runner", "--home", str(settings.LAMBDA_RUNNER_HOME)]
    worker = [python, "-W", "ignore:You're running the worker", "-m", "celery", "-q", "-A", "config", "worker"]
    worker += ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    webhooks = [python, "-m", "django", "dispatch_webhooks"]
    web = [python, "-m", "gunicorn", "-c", "python:config.gunicorn", "--bind", bind, "config.wsgi:application"]
    web += ["--reload"] if reload else []
    return [
        Process(name, command, environment, keep_open=(lock,))
        for name, command in (("node", node), ("runner", runner), ("worker", worker), ("hooks", webhooks), ("web", web))
    ]


def only_one() -> int:
    """Hold LAMBDA_HOME for this run. The children inherit the lock, so it also shows who outlived a kill -9."""
    lock = os.open(settings.LAMBDA_HOME / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise CommandError(
            f"Lambda is running in {settings.LAMBDA_HOME} already, or is just stopping. Stop that one with Ctrl-C, or "
            "start a second one in another folder: LAMBDA_HOME=/some/folder python3 manage.py up"
        ) from None
    return lock


def start_afresh() -> None:
    """Remove what an earlier run made, then start this command again: it has read the old secrets already."""
    if settings.PRODUCTION:
        raise CommandError("--fresh removes all data; it is for development, and LAMBDA_MODE is production.")
    for pattern in MADE_HERE:
        for path in settings.LAMBDA_HOME.glob(pattern):
            remove(path)
    arguments = [argument for argument in sys.argv if argument != "--fresh"]
    os.execv(sys.executable, [sys.executable, *arguments])


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it: overlayfs leaves folders that even their owner may not open."""
    if path.is_symlink() or not path.is_dir():
        return path.unlink()
    for folder, names, _ in os.walk(path):
        for name in names:
            if not os.path.islink(inner := os.path.join(folder, name)):
                os.chmod(inner, 0o700)
    return shutil.rmtree(path)


def environment_of(host: str, url: str) -> dict[str, str]:
    """What the processes are told, besides what the caller's environment says."""
    environment = {"LAMBDA_BASE_URL": url} | os.environ | {"PYTHONUNBUFFERED": "1"}
    if host in ("127.0.0.1", "::1", "localhost"):
        # To try webhooks with a receiver of one's own; where others sign up they would reach what is private here.
        environment.setdefault("LAMBDA_WEBHOOK_ALLOW", "loopback")
    if sys.stdout.isatty():
        environment["FORCE_COLOR"] = "1"
    return environment


def free_port(host: str, port: int) -> int:
    """`port`, or the next one that nobody listens on."""
    for candidate in range(port, port + 100):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, candidate))
            if candidate != port:
                say("up", f"port {port} is taken; using {candidate}")
            return candidate
    raise CommandError(
        f"No port from {port} to {port + 99} can be used on {host}; choose another with --port or --host."
    )


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def reachable(host: str) -> str:
    """Where this machine reaches a listener on `host`."""
    return EVERYWHERE.get(host, bracketed(host))
