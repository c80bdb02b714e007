"""The one way to write, `@atomic_write`, and the few statements too hot for the ORM.

Nothing else opens a write transaction. SQLite's busy handler is unfair: of four processes in a hot loop one starves for
seconds. So on SQLite a write first queues for a file lock beside the database, which the kernel hands on in order.

The ORM spends 250–520 µs on building each query before the database works. `fetch` and `insert` keep that out of the
hot paths: one hand-written statement in, one built once, and real model objects on both sides.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import cache, lru_cache
from typing import Any, Literal, Self, TypeAlias, TypeVar
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, models, transaction

PATIENCE = 20  # seconds in the queue, as long as SQLite itself waits (`config/env.py`)
_held = threading.local()


class atomic_write(ContextDecorator):  # noqa: N801  (reads as a decorator)
    """A write transaction, also as a decorator. Inside another one it joins it: both commit or neither."""

    def __enter__(self) -> Self:
        depth = getattr(_held, "depth", 0)
        lock = None if depth else _FairLock()
        try:
            block = transaction.atomic(savepoint=False) if depth else transaction.atomic()
            block.__enter__()
        except BaseException:
            if lock:
                lock.release()
            raise
        if lock:
            _held.lock = lock
            transaction.on_commit(lock.release)  # first of the callbacks: the others keep nobody waiting
        _held.depth = depth + 1
        _held.blocks = [*getattr(_held, "blocks", []), block]
        return self

    def __exit__(self, *failure: object) -> Literal[False]:
        _held.depth -= 1
        block, lock = _held.blocks.pop(), _held.lock  # a callback that writes takes a lock of its own
        try:
            block.__exit__(*failure)
        finally:
            if _held.depth == 0:
                lock.release()
        return False


def writing() -> bool:
    """Whether this thread is inside an `atomic_write` block."""
    return getattr(_held, "depth", 0) > 0


class _FairLock:
    """Held from the moment it is made until `release`, which may be called twice. Only SQLite needs one.

    Raises OperationalError where the queue alone took longer than SQLite may wait: something outside holds the
    database, and if each in the queue then waited for it anew, the last would wait for all of them.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        if vendor() == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
            path = f"{connection.settings_dict['NAME']}.write-lock"
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            began = time.monotonic()
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if time.monotonic() - began > PATIENCE:
                self.release()
                raise OperationalError("database is locked: nobody before this in the queue could write either")

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


# --- Hot statements


@cache
def vendor() -> str:
    """The database's kind: a process has one, and asking a connection costs a look into the thread's own each time."""
    return connection.vendor


M = TypeVar("M", bound=models.Model)
Column: TypeAlias = "models.Field[Any, Any]"


def columns(model: type[models.Model], alias: str, *, without: frozenset[str] = frozenset()) -> str:
    """The model's columns for a SELECT that `fetch` or `values` reads, e.g. `i.id, i.name, …`."""
    return ", ".join(_column(field, alias) for field in _fields(model, without))


@cache
def attributes(model: type[models.Model], without: frozenset[str] = frozenset()) -> list[str]:
    """What those columns are called on an object of the model, in the same order."""
    return [field.attname for field in _fields(model, without)]


def values(
    model: type[models.Model], sql: str, parameters: Sequence[Any], *, without: frozenset[str] = frozenset()
) -> list[list[Any]]:
    """Rows of one statement that selects `columns(…)` and then what else it likes, with Python's types."""
    with connection.cursor() as cursor:
        cursor.execute(sql, [adapted(value) for value in parameters])
        rows = [list(row) for row in cursor.fetchall()]
    conversions = _conversions(model, without, vendor())
    for row in rows:
        for place, convert in conversions:
            if (value := row[place]) is not None:
                row[place] = convert(value)
    return rows


def fetch(
    model: type[M],
    sql: str,
    parameters: Sequence[Any],
    *,
    extra: Sequence[str] = (),
    without: frozenset[str] = frozenset(),
) -> list[M]:
    """The rows of `values` as model objects; the `extra` columns become attributes.

    Fields named in `without` are deferred, as by `QuerySet.defer`.
    """
    names = [*attributes(model, without), *extra]
    rows = []
    for found in values(model, sql, parameters, without=without):
        row = model.__new__(model)
        state = row._state = models.base.ModelState()
        state.adding, state.db = False, "default"
        row.__dict__.update(zip(names, found, strict=True))
        rows.append(row)
    return rows


@cache
def _fields(model: type[models.Model], without: frozenset[str]) -> list[Column]:
    return [field for field in model._meta.concrete_fields if field.attname not in without]


def _column(field: Column, alias: str) -> str:
    """An expression has no declared type: so Django's slower parser of times stays out, and the zone comes along."""
    aware = vendor() == "sqlite" and isinstance(field, models.DateTimeField)
    return f"{alias}.{field.column} || '+00:00'" if aware else f"{alias}.{field.column}"


@cache
def _conversions(
    model: type[models.Model], without: frozenset[str], vendor: str
) -> list[tuple[int, Callable[[Any], Any]]]:
    """The positions of those columns whose value the database's driver leaves unlike Python's."""
    found = [(place, _converter(field, vendor)) for place, field in enumerate(_fields(model, without))]
    return [(place, convert) for place, convert in found if convert]


def _converter(field: Column, vendor: str) -> Callable[[Any], Any] | None:
    kind = getattr(field, "target_field", field)
    if isinstance(kind, models.JSONField):
        return orjson.loads  # both databases hand JSON over as text
    if vendor != "sqlite":
        return None
    if isinstance(kind, models.DecimalField):
        context, unit = Context(prec=kind.max_digits), Decimal(1).scaleb(-kind.decimal_places)

        @lru_cache(maxsize=4096)  # prices repeat
        def exact(value: float) -> Decimal:
            return context.create_decimal_from_float(float(value)).quantize(unit, context=context)

        return exact
    converters: list[tuple[type[Column], Callable[[Any], Any]]] = [
        (models.UUIDField, lambda digits: UUID(int=int(digits, 16))),
        (models.DateTimeField, datetime.fromisoformat),
    ]
    return next((converter for type_, converter in converters if isinstance(kind, type_)), None)


def adapted(value: Any) -> Any:
    """A parameter as the database's driver takes it: SQLite keeps a UUID as 32 hex digits."""
    return value.hex if isinstance(value, UUID) and vendor() == "sqlite" else value


def moment(value: datetime) -> Any:
    """A time as the database's driver takes it: SQLite keeps text, in UTC."""
    return str(value.astimezone(UTC).replace(tzinfo=None)) if vendor() == "sqlite" else value


def insert(row: M, *, unique: Sequence[str] = (), changing: Sequence[str] = ()) -> M:
    """INSERT a new row like `save` does, without signals: defaults and auto_now apply. Sets a key the database made.

    With `unique`, a row that has the same in these columns is brought up to date in those that are `changing`.
    """
    sql, fields, made = _insert_statement(type(row), vendor())
    sql += _conflict(unique, changing) + (f" RETURNING {made.column}" if made else "")
    with connection.cursor() as cursor:
        cursor.execute(sql, _written(row, fields))
        if made:
            setattr(row, made.attname, cursor.fetchone()[0])
    row._state.adding, row._state.db = False, "default"
    return row


def upsert(rows: Sequence[M], *, unique: Sequence[str], changing: Sequence[str] = ()) -> None:
    """INSERT rows of one model in one go, or bring those that have the same `unique` columns up to date.

    Without `changing`, a row that is there already is left as it is. Ten times as fast as `bulk_create`, and like it
    without signals.
    """
    if not rows:
        return
    sql, fields, _ = _insert_statement(type(rows[0]), vendor())
    with connection.cursor() as cursor:
        cursor.executemany(sql + _conflict(unique, changing), [_written(row, fields) for row in rows])


def _conflict(unique: Sequence[str], changing: Sequence[str]) -> str:
    if not unique:
        return ""
    change = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in changing)}" if changing else "NOTHING"
    return f" ON CONFLICT ({', '.join(unique)}) DO {change}"


Writer: TypeAlias = Callable[[Any], Any]


def _written(row: models.Model, fields: "list[tuple[Column, Writer | None]]") -> list[Any]:
    """The values of a new row as the database's driver takes them."""
    values = [(field.pre_save(row, add=True), write) for field, write in fields]
    return [value if write is None or value is None else write(value) for value, write in values]


def _writer(field: Column) -> Writer | None:
    """How a value becomes what the driver takes; None where it takes it as it is. Django asks three methods of each."""
    kind = getattr(field, "target_field", field)
    if isinstance(kind, models.CharField | models.TextField | models.IntegerField | models.BooleanField):
        return None
    if isinstance(kind, models.UUIDField):
        return adapted
    if isinstance(kind, models.DateTimeField):
        return moment
    return lambda value: field.get_db_prep_save(value, connections[DEFAULT_DB_ALIAS])


@cache
def _insert_statement(
    model: type[models.Model], vendor: str
) -> "tuple[str, list[tuple[Column, Writer | None]], Column | None]":
    """The statement, whose values it takes and how, and the key that the database makes."""
    made = [field for field in model._meta.concrete_fields if isinstance(field, models.AutoField)]
    fields = [field for field in model._meta.concrete_fields if field not in made and not field.has_db_default()]
    names = ", ".join(str(field.column) for field in fields)
    sql = f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({', '.join(['%s'] * len(fields))})"
    return sql, [(field, _writer(field)) for field in fields], made[0] if made else None
