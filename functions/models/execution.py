"""Executions: one row for each, whoever asked for it. A row that is `queued` is the queue.

Written in batches from the runner's journal, thousands a second, so there are no foreign keys and few indexes. A row
outlives its function: it was used, and it is billed.
"""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from core import ids
from functions.models.function import Function

STATES = ["queued", "running", "succeeded", "failed"]
FINAL = frozenset({"succeeded", "failed"})


def storable(said: Any) -> Any:
    """A text, or JSON of texts, that users' code wrote, as every database takes it: without NUL and halves of pairs."""
    if isinstance(said, str):
        return said.encode(errors="replace").decode().replace("\x00", "\ufffd")
    if isinstance(said, dict):
        return {name: storable(value) for name, value in said.items()}
    return [storable(one) for one in said] if isinstance(said, list) else said


class ExecutionReads(models.QuerySet["Execution"]):
    def of(self, function: Function) -> Self:
        """Newest first; what was sent and what is kept for retries stays in the database."""
        return self.filter(function_id=function.pk).order_by("-id").defer("event", "answer")

    def dead(self, function: Function) -> Self:
        """Asynchronous ones that were given up, with what was sent still there to be tried again."""
        return self.of(function).filter(dead_at__isnull=False)

    def due(self, now: datetime) -> Self:
        """Queued ones whose time has come, and those whose worker has not been heard of since it took them."""
        return self.filter(due_at__lte=now).order_by("due_at")


class Execution(models.Model):
    """`event` is kept while it may be tried again, `answer` (JSON) where somebody may ask for it again."""

    prefix = "exec"
    kind = "execution"

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    account_id = models.UUIDField()
    function_id = models.UUIDField()
    function_version = models.PositiveIntegerField()
    trigger = models.CharField(max_length=8)  # sync or async
    status = models.CharField(max_length=16)
    attempt = models.PositiveIntegerField(default=1)
    failures = models.PositiveSmallIntegerField(default=0)  # attempts that failed by the function's own fault
    error = models.JSONField(null=True)  # {type, message, stack}
    queued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    duration_us = models.BigIntegerField(null=True)
    billed_ms = models.BigIntegerField(null=True)
    init_ms = models.PositiveIntegerField(null=True)
    cold_start = models.CharField(max_length=16, blank=True)
    memory_mb = models.PositiveIntegerField(default=0)
    max_memory_mb = models.PositiveIntegerField(null=True)
    result_bytes = models.PositiveIntegerField(null=True)
    log = models.TextField(blank=True)  # its tail

    due_at = models.DateTimeField(null=True)  # when a worker shall look at it; null: never
    dead_at = models.DateTimeField(null=True)
    event = models.BinaryField(null=True)
    answer = models.BinaryField(null=True)
    key_digest = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001  (many have none)
    key_fingerprint = models.CharField(max_length=64, blank=True)

    objects = models.Manager.from_queryset(ExecutionReads)()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["function_id", "-id"], name="execution_function"),
            models.Index(fields=["due_at"], name="execution_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["function_id", "dead_at"], name="execution_dead", condition=Q(dead_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.encode(self.prefix, self.id)

    @classmethod
    def key(cls, public_id: str) -> UUID:
        return ids.decode(cls.prefix, public_id)

    def event_data(self) -> dict[str, Any]:
        return {
            "execution_id": self.public_id,
            "status": self.status,
            "version": self.function_version,
            "trigger": self.trigger,
            "attempt": self.attempt,
            "duration_ms": (self.duration_us or 0) // 1000,
            "billed_ms": self.billed_ms or 0,
            "error_type": self.error["type"] if self.error else None,
        }
