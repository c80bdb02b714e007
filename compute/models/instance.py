"""Instances: what the user asked for (`desired_state`), what is (`state`), and what it costs.

What was bought is copied onto the row, so that an edited catalogue changes no machine and a read needs no join.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from accounts.models import Account
from catalog.models import Price
from catalog.models.price import cost, month_of
from core import db
from core.events import Meter
from core.models import Counter, Resource, Row
from core.states import Lifecycle

LIFECYCLE = Lifecycle(
    {
        "pending": {"provisioning", "deleting", "error"},
        "provisioning": {"running", "stopped", "deleting", "error"},
        "running": {"starting", "stopping", "restarting", "resizing", "rebuilding", "deleting", "error"},
        "stopped": {"starting", "resizing", "rebuilding", "deleting", "error"},
        "starting": {"running", "stopping", "deleting", "error"},
        "stopping": {"stopped", "deleting", "error"},
        "restarting": {"running", "stopping", "deleting", "error"},
        "resizing": {"running", "stopped", "deleting", "error"},
        "rebuilding": {"running", "stopped", "deleting", "error"},
        "error": {"starting", "stopping", "rebuilding", "deleting"},
        "deleting": {"deleted"},
    }
)
STATES = [*LIFECYCLE.transitions, "deleted"]
# In which states a user's verb finds something to do.
VERBS = {
    "start": ["stopped", "error"],
    "stop": ["running", "starting", "restarting", "error"],
    "restart": ["running"],
    "resize": ["running", "stopped"],
    "rebuild": ["running", "stopped", "error"],
    "delete": LIFECYCLE.sources("deleting"),
}
SSH_USER = "lambda"
DEEP = 1000  # rows to skip
# What no representation shows, some of it long: the hot reads leave it in the database.
UNSHOWN = frozenset(
    "account_id user_data host_key boot_id first_up_at wants_public_ip".split()
    + "desired_state generation attempts next_attempt_at".split()
)


class Brief(NamedTuple):
    """What of an instance may differ each time that one asks: its version, and what its cost follows from."""

    version: int
    hourly_price: Decimal
    metered_from: datetime | None
    cost_month: date | None
    closed_cost: Decimal
    key: Any  # as the database writes it

    def month_to_date_cost(self, now: datetime) -> Decimal:
        return month_to_date(self.hourly_price, self.metered_from, self.closed_cost, self.cost_month, now)


class Reads(models.QuerySet["Instance"]):
    def for_account(self, account: Account) -> Self:
        """The account's instances with their number in the inventory, newest first."""
        number = Resource.objects.filter(native_id=OuterRef("pk")).values("pk")
        return self.filter(account=account).annotate(resource_pk=Subquery(number)).order_by("-id")

    def page(self, account: Account, page: int, limit: int) -> tuple[list[Brief], int]:
        """A page of `for_account` in brief, and the total, in one statement. Deep pages skip over the index alone.

        `some` has the rest, for those whose version one does not know.
        """
        skipped = (page - 1) * limit
        wanted, last = "compute_instance AS i", "WHERE i.account_id = %s ORDER BY i.id DESC LIMIT %s OFFSET %s"
        if skipped >= DEEP:
            keys = f"(SELECT i.id FROM {wanted} {last})"
            wanted, last = f"{keys} AS wanted JOIN compute_instance AS i ON i.id = wanted.id", "ORDER BY i.id DESC"
        rows = db.values(
            Instance,
            f"SELECT {_columns(OUTLIVING)}, i.id, "
            "(SELECT count FROM core_counter WHERE account_id = %s AND kind = 'instance') "
            f"FROM {wanted} {last}",
            [account.pk, account.pk, limit, skipped],
            without=OUTLIVING,
        )
        return [Brief(*row[:-1]) for row in rows], rows[0][-1] if rows else Counter.of(account, "instance")

    def some(self, account: Account, keys: Sequence[Any]) -> list["Instance"]:
        """Those of `for_account` with these keys, as they come, without the ORM's half millisecond."""
        return db.fetch(
            Instance,
            f"SELECT {_columns(UNSHOWN)}, r.id FROM compute_instance AS i "
            "LEFT JOIN core_resource AS r ON r.native_id = i.id "
            f"WHERE i.id IN ({', '.join(['%s'] * len(keys))}) AND i.account_id = %s",
            [*keys, account.pk],
            extra=["resource_pk"],
            without=UNSHOWN,
        )

    def one(self, account: Account, key: UUID) -> "Instance | None":
        found = self.some(account, [key])
        return found[0] if found else None

    def newest_and_failed(self, account: Account, *, newest: int, failed: int) -> list["Instance"]:
        """The newest ones, and the newest of those in error, in one statement; newest first."""
        ids = "SELECT id FROM (SELECT id FROM compute_instance WHERE account_id = %s{} ORDER BY id DESC LIMIT %s) AS {}"
        both = f"{ids.format('', 'newest')} UNION {ids.format(' AND state = %s', 'failed')}"
        return db.fetch(
            Instance,
            f"SELECT {_columns(UNSHOWN)} FROM compute_instance AS i WHERE i.id IN ({both}) ORDER BY i.id DESC",
            [account.pk, newest, account.pk, "error", failed],
            without=UNSHOWN,
        )

    def due(self, now: datetime) -> Self:
        """Rows whose nudge was lost or whose last attempt failed."""
        return self.filter(next_attempt_at__lte=now)


class Instance(Row):
    prefix = "inst"
    kind = "instance"

    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,  # the lists' indexes below begin with it
    )
    name = models.CharField(max_length=100)
    tags = models.JSONField(default=dict, blank=True)
    protected = models.BooleanField(default=False)
    region = models.CharField(max_length=48)
    instance_type = models.CharField(max_length=48)
    image = models.CharField(max_length=48)
    vcpus = models.PositiveSmallIntegerField()
    memory_mb = models.PositiveIntegerField()
    disk_gb = models.PositiveIntegerField()
    network = models.CharField(max_length=48, default="default")
    wants_public_ip = models.BooleanField(default=True)
    ssh_keys = models.JSONField(default=list)  # [{id, name, public_key}], as they were when it was made
    user_data = models.TextField(blank=True)

    state = models.CharField(max_length=16, default="pending", choices=[(state, state) for state in STATES])
    desired_state = models.CharField(max_length=16, default="running")  # running, stopped or deleted
    status_reason = models.CharField(max_length=500, blank=True)
    generation = models.PositiveIntegerField(default=1)  # raised by each user verb: fences late workers
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)

    ready = models.BooleanField(default=False)
    os = models.CharField(max_length=128, blank=True)
    public_ip = models.GenericIPAddressField(null=True, blank=True)
    ssh_port = models.PositiveIntegerField(null=True, blank=True)
    host_key = models.TextField(blank=True)
    boot_id = models.CharField(max_length=64, blank=True)
    first_up_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)

    hourly_price = models.DecimalField(max_digits=20, decimal_places=12)
    metered_from = models.DateTimeField(null=True, blank=True)
    cost_month = models.DateField(null=True, blank=True)  # the month that closed_cost belongs to
    closed_cost = models.DecimalField(max_digits=20, decimal_places=12, default=0)

    resource_pk: int | None = None  # its inventory row's key, where it was read along

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "-id"], name="instance_account"),
            models.Index(fields=["account", "state", "-id"], name="instance_state"),
            models.Index(fields=["account", "region", "-id"], name="instance_region"),
            models.Index(fields=["account", "name", "id"], name="instance_name"),
            models.Index(fields=["next_attempt_at"], name="instance_due", condition=Q(next_attempt_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def sku(self) -> str:
        return f"instance.{self.instance_type}"

    @property
    def moving(self) -> bool:
        """Whether it is about to change by itself, so that looking again is worth it."""
        return self.state not in ("running", "stopped", "error") or (self.state == "running" and not self.ready)

    @property
    def can(self) -> set[str]:
        """The verbs that find something to do in its state."""
        return {verb for verb, states in VERBS.items() if self.state in states}

    @property
    def ssh_command(self) -> str | None:
        """What to paste into a terminal; None while there is no address."""
        if not self.public_ip:
            return None
        port = "" if self.ssh_port == 22 else f"-p {self.ssh_port} "
        return f"ssh {port}{SSH_USER}@{self.public_ip}"

    def month_to_date_cost(self, now: datetime | None = None) -> Decimal:
        """What it cost since the month began (UTC): closed spans and the one still running, exact to the second."""
        return month_to_date(self.hourly_price, self.metered_from, self.closed_cost, self.cost_month, now)

    def open_meter(self, now: datetime) -> list[Meter]:
        """Start counting from `now` at the price of this moment, which holds until the meter is closed."""
        self.metered_from, self.hourly_price = now, Price.objects.at(self.sku, now)
        return [self._meter()]

    def close_meter(self, now: datetime) -> list[Meter]:
        """Stop counting and keep what the month has cost so far. Nothing where nothing is counted."""
        if self.metered_from is None:
            return []
        self.closed_cost, self.cost_month = self.month_to_date_cost(now), month_of(now).date()
        meter = self._meter(to=now)
        self.metered_from = None
        return [meter]

    def _meter(self, to: datetime | None = None) -> Meter:
        assert self.metered_from is not None
        memory = Decimal(self.memory_mb) / 1024
        return Meter(self.pk, self.sku, Decimal(1), self.hourly_price, self.metered_from, to, memory)

    def event_data(self) -> dict[str, Any]:
        return {
            "instance_id": self.public_id,
            "name": self.name,
            "status": self.state,
            "region": self.region,
            "instance_type": self.instance_type,
            "public_ip": self.public_ip,
        }

    def inventory(self) -> dict[str, Any]:
        shown = {"running": "active", "stopped": "stopped", "error": "error", "deleted": "deleted"}
        status = shown.get(self.state, "pending")
        return {
            "name": self.name,
            "region": self.region,
            "status": status,
            "tags": self.tags,
            "detail": {
                "instance_type": self.instance_type,
                "vpc": self.network,
                "public_ip": self.public_ip,
                "memory_mb": self.memory_mb,
            },
            "created_at": self.created_at,
            "deleted_at": timezone.now() if self.state == "deleted" else None,
        }


# What stays the same while the version does.
OUTLIVING = frozenset(db.attributes(Instance)) - frozenset(Brief._fields)


@cache
def _columns(without: frozenset[str]) -> str:
    return db.columns(Instance, "i", without=without)


def month_to_date(
    hourly: Decimal, metered_from: datetime | None, closed: Decimal, closed_in: date | None, now: datetime | None = None
) -> Decimal:
    """See `Instance.month_to_date_cost`."""
    if metered_from is None and not closed:
        return Decimal(0)
    now = now or timezone.now()
    month = month_of(now)
    before = closed if closed_in == month.date() else Decimal(0)
    return before if metered_from is None else before + cost(hourly, max(metered_from, month), now)
