"""The operators' health page: what runs, what waits, what is stuck and what failed, as any web process can see it.

Whatever does not answer is a line on the page and never an error of the page.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.cache import cache
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connection
from django.db.models import Count, Sum
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError

from accounts.models import AuditSeal
from compute.models import Instance, Node
from config import errors, health, queue
from core.models import Event
from functions.models import Runner
from webhooks.models.cursor import HEARTBEAT as DISPATCHER

STUCK_AFTER = timedelta(seconds=60)  # in a state that passes by itself: creating an instance takes well below one
SHOWN = 50  # rows of each kind
LOOKED_AT = 5_000  # events: failures further back are the log's business
LATE = 10.0  # seconds that a nudge may wait, or that the audit log's seals may be behind
BEATS = {"Worker": health.HEARTBEAT, "Clock": queue.CLOCK, "Webhook dispatcher": DISPATCHER}


@dataclass(frozen=True)
class Fact:
    """One line: `state` is ready, error or unknown; `note` says since when, how much, or what to do."""

    name: str
    state: str
    note: str


def health_page(request: HttpRequest) -> TemplateResponse:
    nodes = list(Node.objects.order_by("name"))
    facts = [*processes(nodes), queued(), *database()]
    stuck = stuck_rows(request)
    context = {
        **admin.site.each_context(request),
        "title": "Health",
        "facts": facts,
        "troubles": [fact for fact in facts if fact.state == "error"],
        "nodes": nodes,
        "used": used(),
        "stuck": stuck,
        "failures": failures(),
        "errors": logged(),
        "now": timezone.now(),
    }
    return TemplateResponse(request, "admin/health.html", context)


def processes(nodes: list[Node]) -> list[Fact]:
    """Web, those that leave a sign of life in the cache, and the node agents, by what the sweep heard of them."""
    facts = [Fact("Web", "ready", "Answered this page.")]
    try:
        beats = cache.get_many(BEATS.values())
        for name, key in BEATS.items():
            age = time.time() - beats.get(key, 0)
            said = "Never heard, or not since its cache was emptied." if key not in beats else f"Heard {age:.0f} s ago."
            facts.append(Fact(name, "ready" if age < health.HEARTBEAT_AGE else "error", said))
    except (OSError, RedisError) as failure:
        facts.append(Fact("Cache", "error", f"It does not answer, so nobody knows of the others: {failure}"))
    facts += [_seen(f"Node agent {node.name}", node, f"{node.reason} {node.remedy}".strip()) for node in nodes]
    if not nodes:
        facts.append(Fact("Node agent", "error", "None has been seen yet."))
    runner = Runner.objects.first()
    if runner is None:
        return [*facts, Fact("Function runner", "error", "It has not been seen yet.")]
    return [*facts, _seen("Function runner", runner, runner.reason)]


def _seen(name: str, row: Node | Runner, trouble: str) -> Fact:
    """By what a sweep wrote of it."""
    age = timezone.now() - row.seen_at
    late = age > health.NODE_AGE
    note = f"Heard {age.total_seconds():.0f} s ago." if row.ok or late else trouble
    return Fact(name, "ready" if row.ok and not late else "error", note)


def queued() -> Fact:
    try:
        depth, oldest = queue.waiting()
    except (OSError, BrokerError) as failure:
        return Fact("Queue", "error", f"The broker does not answer: {failure}")
    waits = "" if oldest is None else f" The oldest has waited for {oldest:.1f} s."
    nudges = f"{depth} nudge{'' if depth == 1 else 's'} waiting.{waits}" if depth else "Empty."
    return Fact("Queue", "error" if oldest and oldest > LATE else "ready", nudges)


def database() -> list[Fact]:
    """Whether it answers, its size and what lags behind it."""
    wrong = health.database()
    if wrong:
        return [Fact("Database", "error", wrong)]
    try:
        facts = _postgres() if connection.vendor == "postgresql" else _sqlite()
        return [*facts, sealing()]
    except (DatabaseError, OSError) as failure:
        return [Fact("Database", "error", str(failure))]


def _sqlite() -> list[Fact]:
    path = Path(str(connection.settings_dict["NAME"]))
    log = path.with_name(f"{path.name}-wal")
    behind = log.stat().st_size if log.exists() else 0
    note = f"SQLite, {megabytes(path.stat().st_size)}, and {megabytes(behind)} in its log."
    return [Fact("Database", "ready", note)]


def _postgres() -> list[Fact]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_database_size(current_database()), coalesce(max(extract(epoch FROM now() - xact_start)), 0) "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        size, longest = cursor.fetchone()
        cursor.execute("SELECT application_name, state, extract(epoch FROM replay_lag) FROM pg_stat_replication")
        replicas = cursor.fetchall()
    note = f"PostgreSQL, {megabytes(size)}. The longest transaction has been open for {longest:.0f} s."
    facts = [Fact("Database", "error" if longest > 60 else "ready", note)]
    for name, state, lag in replicas:
        behind = float(lag or 0)
        fine = state == "streaming" and behind < LATE
        facts.append(Fact(f"Replica {name}", "ready" if fine else "error", f"{state}, {behind:.1f} s behind."))
    return facts


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def sealing() -> Fact:
    """How far the audit log's chain is behind the log: a worker seals each second."""
    head = AuditSeal.objects.head()
    events = Event.objects.committed()
    if head.number:
        last = Event.objects.filter(seq=head.event_seq).first()
        if last is None:
            note = "The event sealed last is gone from the log. Run: manage.py verify_audit_log"
            return Fact("Audit log", "error", note)
        events = events.after(last)
    first = events.first()
    behind = (timezone.now() - first.at).total_seconds() if first else 0
    note = f"Sealed up to {behind:.0f} s ago." if first else "Sealed to its end."
    return Fact("Audit log", "error" if behind > LATE else "ready", note)


def used() -> dict[str, Any]:
    """What running instances were sold: how many, vcpus and memory in GB."""
    running = Instance.objects.filter(metered_from__isnull=False)
    found = running.aggregate(count=Count("pk"), vcpus=Sum("vcpus"), memory_mb=Sum("memory_mb"))
    return {**found, "vcpus": found["vcpus"] or 0, "memory_gb": (found["memory_mb"] or 0) / 1024}


def stuck_rows(request: HttpRequest) -> list[dict[str, Any]]:
    """Rows of every noun that a worker should have settled by now: where its admin has `retry`, with its address."""
    late = timezone.now() - STUCK_AFTER
    found = []
    for model in apps.get_models():
        page: Any = admin.site._registry.get(model)
        if page is None or not _reconciled(model):
            continue
        rows = model._default_manager.filter(next_attempt_at__isnull=False, updated_at__lt=late)
        listing = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        retried = "retry" in page.get_actions(request)
        for row in rows.select_related("account").order_by("updated_at")[:SHOWN]:
            address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk])
            found.append({"row": row, "address": address, "retry": listing if retried else ""})
    return found


def _reconciled(model: Any) -> bool:
    try:
        return all(model._meta.get_field(name) for name in ("state", "next_attempt_at", "updated_at", "account"))
    except FieldDoesNotExist:
        return False


def failures() -> list[Event]:
    """The last things of customers that failed, newest first."""
    newest = Event.objects.first()
    if newest is None:
        return []
    recent = Event.objects.filter(seq__gt=newest.seq - LOOKED_AT, type__endswith="failed")
    return list(recent[:10])


def logged() -> list[dict[str, Any]]:
    try:
        return [error | {"moment": datetime.fromtimestamp(error["at"], UTC)} for error in errors.last()]
    except (OSError, RedisError):
        return []
