"""What credentials were used for: written in batches, whenever `accounts/uses.py` has collected some. No events."""

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection
from django.utils import timezone

from accounts.models import ApiKey, HourOfUse, OAuthToken, RecentUse
from accounts.models.use import KEPT_HOURS, LAST, OUTCOMES, Note
from core import db
from core.db import atomic_write

CHUNK = 500  # rows of one INSERT
MODELS = {model.kind: model for model in (ApiKey, OAuthToken)}


@atomic_write()
def write(*, notes: Sequence[Note]) -> None:
    """Add a batch to the hours' counts, the last requests and each credential's last use, all or nothing."""
    hours: dict[tuple[UUID, int], list[int]] = defaultdict(lambda: [0] * len(OUTCOMES))
    recent: dict[UUID, deque[Note]] = defaultdict(lambda: deque(maxlen=LAST))
    accepted: dict[str, dict[UUID, list[Note]]] = {kind: {} for kind in MODELS}
    for note in notes:
        hours[note.credential_id, int(note.at // 3600)][OUTCOMES.index(note.outcome)] += 1
        recent[note.credential_id].append(note)
        if note.accepted:
            accepted[note.kind].setdefault(note.credential_id, [note, note])[1] = note
    _add_hours(hours)
    _add_recent(recent)
    for kind, found in accepted.items():
        _set_last(MODELS[kind]._meta.db_table, found)


@atomic_write()
def purge() -> int:
    """Forget what is older than `KEPT_HOURS`; answers how many rows that were."""
    now = time.time()
    hours, _ = HourOfUse.objects.filter(hour__lt=now // 3600 - KEPT_HOURS).delete()
    requests, _ = RecentUse.objects.filter(at__lt=timezone.now() - timedelta(hours=KEPT_HOURS)).delete()
    return hours + requests


def _add_hours(hours: dict[tuple[UUID, int], list[int]]) -> None:
    rows = sorted(hours.items())  # always in one order: two writers never wait for each other
    table, names = HourOfUse._meta.db_table, ", ".join(OUTCOMES)
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in OUTCOMES)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            places = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(chunk))
            cursor.execute(
                f"INSERT INTO {table} (credential_id, hour, {names}) VALUES {places} "
                f"ON CONFLICT (credential_id, hour) DO UPDATE SET {added}",
                [value for (key, hour), counts in chunk for value in (db.adapted(key), hour, *counts)],
            )


def _add_recent(recent: dict[UUID, deque[Note]]) -> None:
    rows = [_row(note) for found in recent.values() for note in found]
    RecentUse.objects.bulk_create(rows, batch_size=CHUNK)
    table = RecentUse._meta.db_table
    newest = f"SELECT at FROM {table} WHERE credential_id = %s ORDER BY at DESC LIMIT 1 OFFSET {LAST - 1}"
    with connection.cursor() as cursor:
        cursor.executemany(
            f"DELETE FROM {table} WHERE credential_id = %s AND at < ({newest})",
            [[db.adapted(key)] * 2 for key in sorted(recent)],
        )


def _row(note: Note) -> RecentUse:
    return RecentUse(
        credential_id=note.credential_id,
        at=_moment(note),
        status=note.status,
        method=note.method[:8],
        path=_text(note.path),
        ip=note.ip,
        agent=_text(note.agent),
        request_id=note.request_id,
    )


def _set_last(table: str, found: dict[UUID, list[Note]]) -> None:
    """When, whence and with what each was last used; a late note never overwrites a newer one."""
    rows = []
    for key, (first, last) in sorted(found.items()):
        at = db.moment(_moment(last))
        rows.append([db.moment(_moment(first)), at, last.ip, _text(last.agent), db.adapted(key), at])
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET first_used_at = COALESCE(first_used_at, %s), "
            "last_used_at = %s, last_used_ip = %s, last_used_agent = %s "
            "WHERE id = %s AND (last_used_at IS NULL OR last_used_at < %s)",
            rows,
        )


def _moment(note: Note) -> datetime:
    return datetime.fromtimestamp(note.at, UTC)


def _text(value: str) -> str:
    """As much of what a stranger sent as is kept; PostgreSQL takes no NUL."""
    return value.replace("\x00", "�")[:200]
