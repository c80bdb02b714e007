"""A number that all processes of this machine see, raised whenever a credential or what it may do changes.

A process may keep what it knows of a credential only while the number stands: so a revocation binds the next
request everywhere without a query. Reading costs a memory access; the file survives restarts.
"""

import fcntl
import mmap
import os
import struct
from functools import cache
from pathlib import Path

from django.conf import settings

_NUMBER = struct.Struct("<Q")


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
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # a lost update would still be a change, but never go back
    try:
        memory[:] = _NUMBER.pack(_NUMBER.unpack(memory[:])[0] + 1)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
