"""The one way to write: `@atomic_write`. Nothing else opens a write transaction.

SQLite's busy handler is unfair: of four processes in a hot loop one starves for seconds. So on SQLite a write
first queues for a file lock beside the database, which the kernel hands on in order.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from pathlib import Path

from django.db import connection, transaction

_held = threading.local()


class atomic_write(ContextDecorator):  # noqa: N801  (reads as a decorator)
    """A write transaction, also as a decorator. Inside another one it joins it: both commit or neither."""

    def __enter__(self):
        depth = getattr(_held, "depth", 0)
        if depth == 0:
            _held.lock = _fair_lock()
            _held.lock.__enter__()
        try:
            block = transaction.atomic(savepoint=False) if depth else transaction.atomic()
            block.__enter__()
        except BaseException:
            if depth == 0:
                _held.lock.__exit__(None, None, None)
            raise
        _held.depth = depth + 1
        _held.blocks = [*getattr(_held, "blocks", []), block]
        return self

    def __exit__(self, *failure):
        _held.depth -= 1
        block = _held.blocks.pop()
        try:
            block.__exit__(*failure)
        finally:
            if _held.depth == 0:
                _held.lock.__exit__(None, None, None)
        return False


def writing() -> bool:
    """Whether this thread is inside an `atomic_write` block."""
    return getattr(_held, "depth", 0) > 0


@contextmanager
def _fair_lock() -> Iterator[None]:
    path = connection.settings_dict["NAME"]
    if connection.vendor != "sqlite" or "memory" in str(path):
        yield
        return
    lock = os.open(Path(f"{path}.write-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
