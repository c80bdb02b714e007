"""`/healthz` (this process answers) and `/readyz` (all that instances and functions need is there). No key needed."""

import time
from datetime import timedelta

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from redis import RedisError

from compute.models import Node
from functions.models import Runner
from webhooks.models.cursor import HEARTBEAT as DISPATCHER

HEARTBEAT = "worker-heartbeat"
HEARTBEAT_AGE = 20  # seconds without a beat until the worker counts as gone; it beats each 5 s
NODE_AGE = timedelta(seconds=60)  # also the runner's: longer than a sweep waits for one that restarts

_migrated = False


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200, or 503 with what is missing: {"status": "not ready", "missing": {"worker": "…"}}."""
    problems = {"database": database(), "worker": worker(), "dispatcher": dispatcher()}
    if not problems["database"]:  # where it is read from
        problems |= {"node": node(), "runner": runner()}
    missing = {part: problem for part, problem in problems.items() if problem}
    if missing:
        return JsonResponse({"status": "not ready", "missing": missing}, status=503)
    return JsonResponse({"status": "ok"})


def beat() -> None:
    """Called by the worker: it is alive and reads its queue. In the cache, as the web may be on another machine."""
    cache.set(HEARTBEAT, time.time(), timeout=None)


def database() -> str:
    """Empty if the database answers and has every migration, else what is wrong."""
    global _migrated  # once applied they stay applied, and asking costs 50 ms
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:
            executor = MigrationExecutor(connection)
            _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return f"the database does not answer: {error}"
    return "" if _migrated else "migrations are not applied: python3 manage.py migrate"


def worker() -> str:
    return _heard("worker", HEARTBEAT)


def dispatcher() -> str:
    return _heard("webhook dispatcher", DISPATCHER)


def _heard(who: str, heartbeat: str) -> str:
    try:
        age = time.time() - cache.get(heartbeat, 0)
    except (OSError, RedisError) as error:
        return f"the cache, where the {who} leaves its sign of life, does not answer: {error}"
    return "" if age < HEARTBEAT_AGE else f"no {who} has been heard for {HEARTBEAT_AGE} s"


def node() -> str:
    row = Node.objects.first()
    return _seen("node agent", row, f"{row.reason} {row.remedy}".strip() if row else "")


def runner() -> str:
    row = Runner.objects.first()
    return _seen("function runner", row, row.reason if row else "")


def _seen(who: str, row: Node | Runner | None, trouble: str) -> str:
    """From the row that a sweep writes each 5 s, as requests go by it too; a probe starts a sandbox."""
    if row is None:
        return f"the {who} has not been seen yet"
    if timezone.now() - row.seen_at > NODE_AGE:
        return f"the {who} was last seen at {row.seen_at:%H:%M:%S} UTC"
    return "" if row.ok else trouble
