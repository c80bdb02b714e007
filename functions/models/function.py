"""Functions: what their owner wants (`Configuration`), which version of it is live, and how that stands.

A change of configuration or code makes a version, which is built and checked before it goes live; until then the old
one stays. So the state says what can be invoked, and a failed deployment of a working function leaves it `active`.
"""

from datetime import datetime
from functools import cache
from typing import Any, Self

import orjson
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from core import db, ids
from core.models import Counter, Row
from core.seals import seal, unseal
from core.states import Lifecycle

LIFECYCLE = Lifecycle(
    {
        "created": {"building", "deleting"},
        "building": {"active", "failed", "deleting"},
        "active": {"deprecated", "deleting"},
        "failed": {"building", "deleting"},
        "deprecated": {"deleting"},
        "deleting": {"deleted"},
    }
)
STATES = [*LIFECYCLE.transitions, "deleted"]
INVOCABLE = frozenset({"active", "deprecated"})
SEALED_FOR = "function secrets"


class Configuration(models.Model):
    """What a function runs with. A version is a copy of it that never changes."""

    runtime = models.CharField(max_length=32)
    handler = models.CharField(max_length=128)
    memory_mb = models.PositiveIntegerField()
    timeout_s = models.PositiveIntegerField()
    max_concurrency = models.PositiveIntegerField()
    env = models.JSONField(default=dict)
    secret_names = models.JSONField(default=list)
    sealed_secrets = models.TextField(blank=True)  # one sealed JSON object: see `secrets`

    class Meta:
        abstract = True

    @property
    def secrets(self) -> dict[str, str]:
        """The values: for the runner, and for nobody else."""
        found: dict[str, str] = orjson.loads(unseal(SEALED_FOR, self.sealed_secrets)) if self.sealed_secrets else {}
        return found

    def keep_secrets(self, values: dict[str, str]) -> None:
        self.secret_names = sorted(values)
        self.sealed_secrets = seal(SEALED_FOR, orjson.dumps(values).decode()) if values else ""

    def configuration(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in Configuration._meta.fields}


class FunctionReads(models.QuerySet["Function"]):
    def for_account(self, account: Account) -> Self:
        return self.filter(account=account).order_by("-id")

    def page(self, account: Account, limit: int, offset: int) -> tuple[list["Function"], int]:
        """What `for_account` would read, with the total, in one statement."""
        rows = db.fetch(
            Function,
            f"SELECT {_columns()}, (SELECT count FROM core_counter WHERE account_id = %s AND kind = 'function') "
            "FROM functions_function AS f WHERE f.account_id = %s ORDER BY f.id DESC LIMIT %s OFFSET %s",
            [account.pk, account.pk, limit, offset],
            extra=["total"],
            without=UNSHOWN,
        )
        return rows, vars(rows[0])["total"] if rows else Counter.of(account, "function")

    def one(self, account: Account, number: int) -> "Function | None":
        """The account's function with this number, without the ORM's half millisecond."""
        rows = db.fetch(
            Function,
            f"SELECT {_columns()} FROM functions_function AS f WHERE f.number = %s AND f.account_id = %s",
            [number, account.pk],
            without=UNSHOWN,
        )
        return rows[0] if rows else None

    def due(self, now: datetime) -> Self:
        """Rows whose nudge was lost or whose last attempt failed."""
        return self.filter(next_attempt_at__lte=now)


class Function(Row, Configuration):
    prefix = "FUNC"
    kind = "function"
    key_name = "number"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    number = models.BigIntegerField(unique=True, editable=False)  # its inventory row's key: FUNC_1 is RES_1
    name = models.CharField(max_length=64)
    region = models.CharField(max_length=48)
    tags = models.JSONField(default=list)  # words

    state = models.CharField(max_length=16, default="created", choices=[(state, state) for state in STATES])
    status_reason = models.CharField(max_length=500, blank=True)
    newest = models.PositiveIntegerField(default=0)  # the number of its last version; 0: it has had no code yet
    live = models.PositiveIntegerField(null=True)  # the number of the version that is invoked
    generation = models.PositiveIntegerField(default=1)  # raised by each user verb: fences late workers
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    deprecated_at = models.DateTimeField(null=True, blank=True)
    deprecation = models.CharField(max_length=500, blank=True)
    replacement = models.CharField(max_length=64, blank=True)
    sunset_at = models.DateTimeField(null=True, blank=True)
    last_executed_at = models.DateTimeField(null=True, blank=True)  # raises no version: what is edited did not change

    resource_pk: int | None = None

    objects = models.Manager.from_queryset(FunctionReads)()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="function_name_once")]
        indexes = [
            models.Index(fields=["account", "-id"], name="function_account"),
            models.Index(fields=["account", "state", "-id"], name="function_state"),
            models.Index(fields=["account", "runtime", "-id"], name="function_runtime"),
            models.Index(fields=["next_attempt_at"], name="function_due", condition=Q(next_attempt_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return ids.encode_number(self.prefix, self.number)

    @classmethod
    def key(cls, public_id: str) -> Any:
        """The number in a public id, or in the RES_ id of the same thing. Raises ValueError."""
        prefix = "RES" if public_id.startswith("RES_") else cls.prefix
        return ids.decode_number(prefix, public_id)

    def event_data(self) -> dict[str, Any]:
        return {
            "function_id": self.public_id,
            "name": self.name,
            "status": self.state,
            "region": self.region,
            "runtime": self.runtime,
            "version": self.live,
        }

    def inventory(self) -> dict[str, Any]:
        shown = {"active": "active", "deprecated": "active", "failed": "error", "deleted": "deleted"}
        return {
            "name": self.name,
            "region": self.region,
            "status": shown.get(self.state, "pending"),
            "tags": dict.fromkeys(self.tags, ""),
            "detail": {
                "memory_mb": self.memory_mb,
                "last_execution": self.last_executed_at,
            },
            "created_at": self.created_at,
            "deleted_at": timezone.now() if self.state == "deleted" else None,
        }


# What no representation shows: the hot reads leave it in the database.
UNSHOWN = frozenset("account_id sealed_secrets generation attempts next_attempt_at".split())


@cache
def _columns() -> str:
    return db.columns(Function, "f", without=UNSHOWN)
