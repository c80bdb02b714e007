"""A number that every process sees, raised whenever a credential, an account or the catalogue changes.

A process may keep what it knows of them only while the number stands: so a revocation binds the next request
everywhere without a query. On one machine it is a file in shared memory, and reading costs a memory access. Several
machines (LAMBDA_REDIS_URL) share it in Redis, where it is read once a request, for a tenth of a millisecond. Not by
subscribing: a message that is late or lost would let a revoked key in, and nobody could tell.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache, wraps
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

from django.conf import settings

from core import context, shared

REMEMBERED = 5  # seconds: heals a process that died between its commit and `advance`

F = TypeVar("F", bound=Callable[..., Any])


class _Epoch(Protocol):
    def current(self) -> int: ...

    def advance(self) -> None: ...


class FileEpoch:
    """For the processes of one machine. The file survives restarts."""

    _NUMBER = struct.Struct("<Q")

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, self._NUMBER.size)
        self._memory = mmap.mmap(self._file, self._NUMBER.size)
        self._mutex = threading.Lock()  # record locks belong to a process, not to a thread

    def current(self) -> int:
        number: int = self._NUMBER.unpack(self._memory[:])[0]
        return number

    def advance(self) -> None:
        with self._mutex:
            fcntl.lockf(self._file, fcntl.LOCK_EX)  # a number that went back would bring what was forgotten to life
            try:
                self._memory[:] = self._NUMBER.pack(self.current() + 1)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


class RedisEpoch:
    """For the processes of several machines. While Redis is away no number equals another: everyone asks the database.

    An `advance` may have been lost meanwhile, so whoever missed Redis makes up for it once it is back.
    """

    KEY = "lambda:epoch"
    # Never below the time in µs: a Redis that lost its data goes on above every number that it has ever given.
    ADVANCE = """
        local time = redis.call('TIME')
        local number = math.max(redis.call('INCR', KEYS[1]), time[1] * 1000000 + time[2])
        redis.call('SET', KEYS[1], string.format('%.0f', number))
        return number
    """

    def __init__(self) -> None:
        self._unknown = count(-1, -1)
        self._missed = False
        self._read: ContextVar[tuple[str, int] | None] = ContextVar("epoch", default=None)

    def current(self) -> int:
        request, read = context.request_id.get(), self._read.get()
        if request and read and read[0] == request:
            return read[1]
        try:
            found = None if self._missed else shared.ask(lambda redis: redis.get(self.KEY))
            return self._keep(int(found) if found else self._raise())
        except shared.Gone:
            return self._miss()

    def advance(self) -> None:
        try:
            self._keep(self._raise())
        except shared.Gone:
            self._miss()

    def _raise(self) -> int:
        number = int(shared.ask(lambda redis: redis.eval(self.ADVANCE, 1, self.KEY)))
        self._missed = False
        return number

    def _miss(self) -> int:
        self._missed = True
        return self._keep(next(self._unknown))

    def _keep(self, number: int) -> int:
        self._read.set((context.request_id.get(), number))
        return number


@cache
def _epoch(redis_url: str, home: Path) -> _Epoch:
    return RedisEpoch() if redis_url else FileEpoch(home / "epoch")


def current() -> int:
    """The number as it is at this request's first look."""
    return _epoch(settings.LAMBDA_REDIS_URL, settings.LAMBDA_HOME).current()


def advance() -> None:
    """Make every process look again. Call it after the change is committed."""
    _epoch(settings.LAMBDA_REDIS_URL, settings.LAMBDA_HOME).advance()


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
