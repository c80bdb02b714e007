"""Rows that belong to the whole platform: the event log, the inventory and the counters. No business nouns."""

from typing import Any, Self, cast
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.utils import timezone

from core import db, ids

Compiled = tuple[str, tuple[Any, ...]]  # SQL and its parameters


class TransactionId(models.Func):
    """The writing transaction's number on PostgreSQL, so that readers can stop before transactions still open."""

    function = "pg_current_xact_id"
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> Compiled:
        return "0", ()  # one writer at a time: the autoincrement itself is commit order

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Compiled:
        return "(pg_current_xact_id()::text::bigint)", ()


class Row(models.Model):
    """What every noun has: a UUIDv7 key shown as a TypeID, times, and a version that each write raises.

    The version is the API's ETag, and lists show what they know of a version (`api/shelf.py`). A write that bypasses
    `save` raises it itself, unless clients never see what it wrote.
    """

    prefix: str
    key_name = "pk"  # the field that a public id names

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    version = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            self.version += 1
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "version"}
        super().save(*args, **kwargs)

    @property
    def public_id(self) -> str:
        return ids.encode(self.prefix, self.id)

    @classmethod
    def key(cls, public_id: str) -> UUID:
        """The primary key in a public id. Raises ValueError for anything that is not one of this noun's ids."""
        return ids.decode(cls.prefix, public_id)


class EventReads(models.QuerySet["Event"]):
    """The orders in which the log is read."""

    def for_account(self, account: Any) -> Self:
        return self.filter(account_id=account.pk)

    def committed(self) -> Self:
        """Only events that no still open transaction can precede, oldest first: safe to read with a cursor."""
        rows = self.order_by("txid", "seq")
        if connection.vendor != "postgresql":
            return rows
        return rows._where("txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")

    def after(self, event: "Event") -> Self:
        """Those that came later in commit order than an event read from the database."""
        return self._where("(txid, seq) > (%s, %s)", event.txid, event.seq)

    def adopt(self) -> None:
        """Put events that were restored from another PostgreSQL server before all that this one will write.

        Their transactions' numbers may be ahead of this server's, which would hide them for months.
        """
        if connection.vendor != "postgresql":
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE core_event SET txid = txid - newest - 1 "
                "FROM (SELECT max(txid) AS newest FROM core_event) AS log "
                "WHERE newest >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            )

    def until(self, event: "Event") -> Self:
        """The event and those before it in commit order."""
        return self._where("(txid, seq) <= (%s, %s)", event.txid, event.seq)

    def _where(self, sql: str, *values: int) -> Self:
        return cast("Self", self.extra(where=[sql], params=values))  # noqa: S610  (the texts above)


class Event(models.Model):
    """One thing that happened. Append-only; without foreign keys, so that the log outlives what it tells of.

    Audit log, webhooks, live feed and metering all read this row. `seq` alone orders by commit on SQLite only: on
    PostgreSQL a transaction may take its number early and commit late. So commit order is (txid, seq), txid being 0 on
    SQLite, and a reader with a cursor stops before transactions that are still open: `committed().after(event)`.
    """

    prefix = "evt"
    kind = "event"

    seq = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=ids.new, editable=False)
    txid = models.BigIntegerField(db_default=TransactionId(), editable=False)
    at = models.DateTimeField(editable=False)
    account_id = models.UUIDField(null=True)
    type = models.CharField(max_length=64)
    actor_kind = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=200, blank=True)
    via = models.CharField(max_length=16)
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    subject_kind = models.CharField(max_length=16)
    subject_id = models.UUIDField(null=True)
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    meters = models.JSONField(default=list, encoder=DjangoJSONEncoder)

    objects = models.Manager.from_queryset(EventReads)()

    class Meta:
        ordering = ["-txid", "-seq"]
        indexes = [
            models.Index(fields=["txid", "seq"], name="event_order"),
            models.Index(fields=["account_id", "txid", "seq"], name="event_account_order"),
            models.Index(fields=["subject_id", "txid", "seq"], name="event_subject_order"),
            models.Index(fields=["request_id"], name="event_request", condition=~models.Q(request_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.public_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("events are append-only")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("events are append-only")

    @property
    def public_id(self) -> str:
        return ids.encode(self.prefix, self.id)

    @classmethod
    def key(cls, public_id: str) -> UUID:
        """The id in a public id; the primary key is `seq`. Raises ValueError."""
        return ids.decode(cls.prefix, public_id)


class Resource(models.Model):
    """The inventory: one row for each thing an account has, whatever its kind. Written by `core.events.record`."""

    kind = models.CharField(max_length=16)
    native_id = models.UUIDField(unique=True)
    account_id = models.UUIDField()
    name = models.CharField(max_length=200)
    region = models.CharField(max_length=32, blank=True)
    status = models.CharField(max_length=16)
    tags = models.JSONField(default=dict)
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account_id", "-id"], name="resource_account", condition=models.Q(deleted_at=None))
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """`RES_` + 10 digits."""
        return ids.encode_number("RES", self.pk)

    @classmethod
    def key_behind(cls, public_id: str) -> UUID:
        """The native id in a public one of whatever kind, numbers such as FUNC_… too. Raises ValueError.

        What a number never meant is the nil UUID: nobody learns which numbers other accounts have.
        """
        prefix = public_id.rpartition("_")[0]
        if not prefix.isupper():
            return ids.decode(prefix, public_id)
        numbered = cls.objects.filter(pk=ids.decode_number(prefix, public_id))
        return numbered.values_list("native_id", flat=True).first() or UUID(int=0)

    def put(self) -> int:
        """Insert the row, or bring the one of the same thing up to date; answers its key."""
        changing = ("name", "region", "status", "tags", "detail", "deleted_at")
        key: int = db.insert(self, unique=["native_id"], changing=changing).pk
        return key


COUNTED = 10_000  # rows of a narrowed list are counted up to here: COUNT(*) of a million takes 57–100 ms


class Counter(models.Model):
    """How many of a kind an account has: totals of lists and quotas without COUNT(*). Changed with what is counted."""

    account_id = models.UUIDField()
    kind = models.CharField(max_length=32)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account_id", "kind"], name="counter_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.count}"

    @classmethod
    def add(cls, account: Any, **changes: int) -> dict[str, int]:
        """Change counts and answer the new ones; the rows stay locked until the transaction ends.

        `Counter.add(account, instance=1, vcpu=4)` → `{"instance": 7, "vcpu": 20}`.
        """
        kinds = sorted(changes)  # always in one order: two writers never wait for each other
        values = [value for kind in kinds for value in (db.adapted(account.pk), kind, changes[kind])]
        places = ", ".join(["(%s, %s, %s)"] * len(kinds))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO core_counter (account_id, kind, count) VALUES {places} "
                "ON CONFLICT (account_id, kind) DO UPDATE SET count = core_counter.count + excluded.count "
                "RETURNING kind, count",
                values,
            )
            return dict(cursor.fetchall())

    @classmethod
    def of(cls, account: Any, kind: str) -> int:
        return cls.objects.filter(account_id=account.pk, kind=kind).values_list("count", flat=True).first() or 0
