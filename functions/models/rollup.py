"""What a function's executions came to in each hour: exact sums of whole numbers, kept for ever. They are the bill.

Each execution is added once, in the transaction that moves the journal's cursor. `counted` is what billing reads.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import models
from django.db.models import Sum

from core.usage import Counted

EXECUTIONS, MEMORY = "function.executions", "function.memory"  # skus of the catalogue: one each, one GB-hour
MB_MS_OF_A_GB_HOUR = 1024 * 3_600_000


class Rollup(models.Model):
    """One function in one hour (UTC), by when its executions ended. Prices are those of the hour's beginning."""

    function_id = models.UUIDField()
    account_id = models.UUIDField()
    hour = models.DateTimeField()
    executions = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    cold_starts = models.BigIntegerField(default=0)
    duration_us = models.BigIntegerField(default=0)
    billed_ms = models.BigIntegerField(default=0)
    mb_ms = models.BigIntegerField(default=0)  # billed milliseconds × MB of the function
    durations = models.JSONField(default=dict)  # how many lasted how long: see `band`
    execution_price = models.DecimalField(max_digits=20, decimal_places=12)
    memory_price = models.DecimalField(max_digits=20, decimal_places=12)

    class Meta:
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["function_id", "hour"], name="rollup_once")]
        indexes = [models.Index(fields=["account_id", "hour"], name="rollup_account")]

    def __str__(self) -> str:
        return f"{self.executions} in the hour of {self.hour:%F %H}"


def counted(account_id: UUID, start: datetime, end: datetime) -> Iterator[Counted]:
    """An account's executions and memory, by function and price. One statement, whatever their number."""
    rows = Rollup.objects.filter(account_id=account_id, hour__gte=start, hour__lt=end)
    sums = rows.values_list("function_id", "execution_price", "memory_price").order_by("function_id")
    for function, each, hourly, executions, mb_ms in sums.annotate(Sum("executions"), Sum("mb_ms")):
        hours = Decimal(mb_ms) / MB_MS_OF_A_GB_HOUR
        yield Counted(function, EXECUTIONS, Decimal(executions), each)
        yield Counted(function, MEMORY, hours, hourly, gigabyte_hours=hours)


BASE = 1.1  # so a percentile read from the bands is at most a tenth off


def band(duration_us: int) -> str:
    """The band of durations that one falls into: a key of `Rollup.durations`."""
    low, high = 0, len(_BOUNDS) - 1
    while low < high:
        middle = (low + high) // 2
        if duration_us <= _BOUNDS[middle]:
            high = middle
        else:
            low = middle + 1
    return str(low)


def percentile(durations: dict[str, int], share: float) -> float | None:
    """The duration in ms that `share` of the executions stayed below; None where there were none."""
    total = sum(durations.values())
    seen = 0
    for key in sorted(durations, key=int):
        seen += durations[key]
        if seen >= share * total:
            return _BOUNDS[int(key)] / 1000
    return None


_BOUNDS = [int(100 * BASE**step) for step in range(170)]  # microseconds: from a tenth of a ms to a quarter of an hour
