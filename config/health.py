"""`/healthz` (this process answers) and `/readyz` (everything needed to serve an instance is there). No key needed."""

import time
from datetime import timedelta

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from redis import RedisError

from compute.models import Node
from webhooks.models.cursor import HEARTBEAT as DISPATCHER

HEARTBEAT = "worker-heartbeat"
HEARTBEAT_AGE = 20  # seconds without a beat until the worker counts as gone; it beats each 5 s
NODE_AGE = timedelta(seconds=60)  # longer than the sweep waits for an agent that restarts

_migrated = False


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200, or 503 with what is missing: {"status": "not ready", "missing": {"worker": "…"}}."""
    problems = {"database": database(), "worker": worker(), "dispatcher": dispatcher()}
    if not problems["database"]:  # where it is read from
        problems["node"] = node()
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
    """From the row that the sweep writes each 5 s, as launching goes by it too; a probe starts a sandbox."""
    seen = Node.objects.first()
    if seen is None:
        return "the node agent has not been seen yet"
    if timezone.now() - seen.seen_at > NODE_AGE:
        return f"the node agent was last seen at {seen.seen_at:%H:%M:%S} UTC"
    return "" if seen.ok else f"{seen.reason} {seen.remedy}".strip()
