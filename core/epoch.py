"""A number that all processes of this machine see, raised whenever a credential, an account or the catalogue changes.

A process may keep what it knows of them only while the number stands: so a revocation binds the next request
everywhere without a query. Reading costs a memory access; the file survives restarts.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

REMEMBERED = 5  # seconds: heals a process that died between its commit and `advance`

_NUMBER = struct.Struct("<Q")
_mutex = threading.Lock()  # record locks belong to a process, not to a thread
F = TypeVar("F", bound=Callable[..., Any])


@cache
def _shared(path: Path) -> tuple[int, mmap.mmap]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, _NUMBER.size)
    return descriptor, mmap.mmap(descriptor, _NUMBER.size)


def _open() -> tuple[int, mmap.mmap]:
    return _shared(settings.LAMBDA_HOME / "epoch")


def current() -> int:
    return _NUMBER.unpack(_open()[1][:])[0]


def advance() -> None:
    """Make every process look again. Call it after the change is committed."""
    descriptor, memory = _open()
    with _mutex:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)  # a number that went back would bring what was forgotten to life
        try:
            memory[:] = _NUMBER.pack(_NUMBER.unpack(memory[:])[0] + 1)
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)


def remembered(function: F) -> F:
    """Keep a function's answers, by its arguments, while the epoch stands and for `REMEMBERED` seconds at most."""
    kept: dict[Any, tuple[int, float, Any]] = {}

    @wraps(function)
    def look(*arguments: Any) -> Any:
        stand, now = current(), time.monotonic()
        found = kept.get(arguments)
        if found is None or found[0] != stand or found[1] < now:
            found = kept[arguments] = (stand, now + REMEMBERED, function(*arguments))
        return found[2]

    return look  # type: ignore[return-value]
