"""What credentials are used for, collected in this process's memory and written every two seconds.

The request path pays for one append. A process that is killed loses what it has not written: two seconds at most.
Only processes that serve requests write (`config/wsgi.py` calls `start`); elsewhere notes wait until `flush`.
"""

import atexit
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections

from accounts.actions import uses
from accounts.models.use import Note

EVERY = 2  # seconds between two writes
# Appending is atomic, and a full buffer drops its oldest note: a database that is away costs notes, never memory.
_waiting: deque[Note] = deque(maxlen=20_000)
_log = structlog.get_logger()


def note(kind: str, key: UUID, request: Any, response: Any) -> None:
    """Remember that the credential was presented with this request, which was answered so."""
    meta = request.META
    _waiting.append(
        Note(
            kind,
            key,
            getattr(request, "credential", None) is not None,
            time.time(),
            response.status_code,
            request.method,
            request.path,
            request.client_ip,
            meta.get("HTTP_USER_AGENT", ""),
            request.request_id,
        )
    )


def flush() -> int:
    """Write what waits; answers how many notes that were. Raises DatabaseError, and keeps them if it may pass."""
    notes = []
    with suppress(IndexError):
        for _ in range(len(_waiting)):
            notes.append(_waiting.popleft())
    if notes:
        try:
            uses.write(notes=notes)
        except (OperationalError, InterfaceError):
            _waiting.extendleft(reversed(notes))
            raise
    return len(notes)


def forget() -> None:
    """Drop what waits."""
    _waiting.clear()


def start() -> None:
    """Write in the background from now on, and a last time when the process ends in peace."""
    threading.Thread(target=_write_for_ever, name="uses", daemon=True).start()
    atexit.register(_flush_quietly)


def _write_for_ever() -> None:
    while True:
        time.sleep(EVERY)
        _flush_quietly()


def _flush_quietly() -> None:
    if not _waiting:
        return
    close_old_connections()  # this thread has one of its own, which nobody else looks after
    try:
        flush()
    except DatabaseError as failure:
        _log.warning("uses_not_written", error=str(failure), waiting=len(_waiting))
