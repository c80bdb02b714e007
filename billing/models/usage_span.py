"""Spans of use: what was metered, from when until when, at which rate. Derived from the event log and nothing else."""

from datetime import datetime
from decimal import Decimal
from typing import Self
from uuid import UUID, uuid5

from django.db import models
from django.db.models import Q

from catalog.models.price import cost
from core.events import Meter


class Reads(models.QuerySet["UsageSpan"]):
    def of(self, account_id: UUID, start: datetime, end: datetime) -> Self:
        """The account's spans that overlap a period; `within` cuts them to it."""
        still_or_later = Q(used_to=None) | Q(used_to__gt=start)
        return self.filter(still_or_later, account_id=account_id, used_from__lt=end)


class UsageSpan(models.Model):
    """`quantity` of `sku` from `used_from` until `used_to` (None: still running).

    Its key is made from what it is, so that a replay of the log makes the same rows, bit by bit.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    account_id = models.UUIDField()
    resource = models.UUIDField(help_text="The native id of what was used.")
    sku = models.CharField(max_length=64)
    quantity = models.DecimalField(max_digits=20, decimal_places=6)
    rate = models.DecimalField(max_digits=20, decimal_places=12, help_text="USD for one an hour, as it was then.")
    memory_gb = models.DecimalField(max_digits=12, decimal_places=6)
    used_from = models.DateTimeField()
    used_to = models.DateTimeField(null=True)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["used_from", "id"]
        indexes = [
            models.Index(fields=["account_id", "used_to"], name="usage_span_account"),
            models.Index(fields=["resource", "used_from"], name="usage_span_resource"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity:f} {self.sku} from {self.used_from:%F %T}"

    @classmethod
    def from_meter(cls, account_id: UUID, meter: Meter) -> Self:
        return cls(
            id=uuid5(meter.resource, f"{meter.sku} from {meter.from_.isoformat()}"),
            account_id=account_id,
            resource=meter.resource,
            sku=meter.sku,
            quantity=meter.quantity,
            rate=meter.rate,
            memory_gb=meter.memory_gb,
            used_from=meter.from_,
            used_to=meter.to,
        )

    def within(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """The part of a period in which it ran; what still runs, runs to the end."""
        return max(self.used_from, start), min(self.used_to or end, end)

    def cost(self, start: datetime, end: datetime) -> Decimal:
        """USD for its part of a period."""
        return cost(self.rate * self.quantity, *self.within(start, end))

    def gigabyte_hours(self, start: datetime, end: datetime) -> Decimal:
        """Memory held × hours, in its part of a period."""
        return cost(self.memory_gb, *self.within(start, end))
