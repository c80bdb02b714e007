"""What API keys and OAuth tokens were used for: counts by the hour, and the last requests of each. Never a secret.

A credential's rows are found by its own key, which has been looked up in the account before; there is no foreign key,
so that writing them locks nothing of hers. Both tables are bounded: `KEPT_HOURS` of counts, `LAST` requests.
"""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db import models
from django.db.models import F, Sum

OUTCOMES = ("ok", "refused", "limited", "failed")  # below 400 · 4xx · 429 · 5xx
KEPT_HOURS = 31 * 24
LAST = 50  # requests of each credential that are kept one by one

Counts = dict[str, int]


class Note(NamedTuple):
    """One request, as it is remembered until it is written."""

    kind: str  # `ApiKey.kind` or `OAuthToken.kind`
    credential_id: UUID
    accepted: bool  # False where the key had ended, or came from an address that it may not
    at: float  # epoch seconds
    status: int
    method: str
    path: str  # without the query
    ip: str
    agent: str
    request_id: str

    @property
    def outcome(self) -> str:
        if self.status < 400:
            return "ok"
        return "limited" if self.status == 429 else "refused" if self.status < 500 else "failed"


class HourReads(models.QuerySet["HourOfUse"]):
    def buckets(self, credentials: Iterable[UUID], *, hours: int, steps: int) -> dict[UUID, list[Counts]]:
        """For each credential `steps` counts of `hours` each, oldest first, the last one holding the present.

        They begin at whole multiples of `hours` UTC: with 24 they are days. Credentials without a request are left out.
        """
        first = first_hour(hours, steps)
        found: dict[UUID, list[Counts]] = {}
        rows: Any = (
            self.filter(credential_id__in=list(credentials), hour__gte=first)
            .values("credential_id", step=(F("hour") - first) / hours)
            .annotate(**{f"sum_{name}": Sum(name) for name in OUTCOMES})
        )
        for row in rows:
            counts = found.setdefault(row["credential_id"], [dict.fromkeys(OUTCOMES, 0) for _ in range(steps)])
            if row["step"] < steps:  # a neighbour's clock may be ahead
                counts[row["step"]] = {name: row[f"sum_{name}"] for name in OUTCOMES}
        return found


class HourOfUse(models.Model):
    """How the requests of one credential in one hour ended."""

    credential_id = models.UUIDField()
    hour = models.PositiveIntegerField(help_text="Hours since 1970, UTC.")
    ok = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    limited = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    objects = models.Manager.from_queryset(HourReads)()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["credential_id", "hour"], name="hour_of_use_once")]

    def __str__(self) -> str:
        return f"{self.credential_id} {self.hour}"


class RecentReads(models.QuerySet["RecentUse"]):
    def of(self, credential: Any) -> Self:
        """The last requests of an API key or OAuth token, newest first."""
        return self.filter(credential_id=credential.pk).order_by("-at", "-pk")


class RecentUse(models.Model):
    """One of the last requests of a credential."""

    credential_id = models.UUIDField()
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField()
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=200)
    ip = models.CharField(max_length=45)
    agent = models.CharField(max_length=200)
    request_id = models.CharField(max_length=64)

    objects = models.Manager.from_queryset(RecentReads)()

    class Meta:
        indexes = [models.Index(fields=["credential_id", "-at"], name="recent_use_order")]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


def first_hour(hours: int, steps: int) -> int:
    """Where the first of `steps` buckets begins, in hours since 1970."""
    this = int(time.time() // 3600)
    return (this // hours + 1 - steps) * hours
