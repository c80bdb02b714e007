"""Price versions: what a unit costs from a moment on. A version never changes; a new price is a new row."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import models
from django.utils import timezone

from core import epoch


class Reads(models.QuerySet["Price"]):
    def at(self, sku: str, moment: datetime | None = None) -> Decimal:
        """The price of one unit of `sku` at a moment (default: now); 0 for what has never had a price."""
        moment = moment or timezone.now()
        past = [price for version, price, since in _versions() if version == sku and since <= moment]
        return past[-1] if past else Decimal(0)

    def current(self) -> dict[str, Decimal]:
        """Every price in force now, by sku."""
        now = timezone.now()
        return {sku: price for sku, price, since in _versions() if since <= now}


@epoch.remembered
def _versions() -> list[tuple[str, Decimal, datetime]]:
    """All versions, oldest first: a process remembers them until there is a new one."""
    return list(Price.objects.order_by("effective_from").values_list("sku", "unit_price", "effective_from"))


class Price(models.Model):
    sku = models.CharField(max_length=64, help_text="e.g. instance.compute-1x")
    unit = models.CharField(max_length=16, default="hour")
    unit_price = models.DecimalField(max_digits=20, decimal_places=12)
    currency = models.CharField(max_length=3, default="USD")
    effective_from = models.DateTimeField()

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["sku", "-effective_from"]
        constraints = [models.UniqueConstraint(fields=["sku", "effective_from"], name="price_version_once")]

    def __str__(self) -> str:
        return f"{self.sku} {self.unit_price:.4f} {self.currency}/{self.unit}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("a price version never changes: add a new one with a later effective_from")
        super().save(*args, **kwargs)


def cost(hourly: Decimal, start: datetime, end: datetime) -> Decimal:
    """What a thing costs from `start` to `end`, to the millisecond and 12 decimals; 0 where the end comes first."""
    milliseconds = max(end - start, timedelta()) // timedelta(milliseconds=1)
    return (hourly * milliseconds / 3_600_000).quantize(Decimal("1e-12"))


def month_of(moment: datetime) -> datetime:
    """The first moment (UTC) of the month that is billed."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
