"""Rate limits that are exact over all threads and processes of this machine without a service.

Two meters, one decision: at most `hour` requests a clock hour, and a bucket of `burst` refilled at the hour's pace
(the generic cell rate algorithm). A refusal consumes neither. The meters are fixed slots of a shared-memory file,
so they survive restarts; a hash bucket is locked by a byte range for the few microseconds of a decision.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from math import ceil
from pathlib import Path

from django.conf import settings

_SLOT = struct.Struct("<16sIId")  # who, hour since the epoch, used in it, when the burst bucket is full again
_SLOTS, _BUCKETS = 32, 2048
_BUCKET = _SLOT.size * _SLOTS
HOUR = 3600


@dataclass(frozen=True)
class Limit:
    """`hour` requests a clock hour, of which `burst` may come at once."""

    hour: int
    burst: int


@dataclass(frozen=True)
class Decision:
    """The outcome for one request. `reset` is the end of the hour in epoch seconds, `retry_after` in seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int = 0


ANONYMOUS = Limit(hour=600, burst=100)  # per address, for requests without a valid credential


class Limiter:
    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, _BUCKET * _BUCKETS)
        self._memory = mmap.mmap(self._file, _BUCKET * _BUCKETS)
        self._mutex = threading.Lock()  # record locks belong to a process, not to a thread

    def hit(self, key: str, limit: Limit) -> Decision:
        """Count one request of `key`, or refuse it."""
        who = blake2b(key.encode(), digest_size=16).digest()
        start = int.from_bytes(who[:4], "little") % _BUCKETS * _BUCKET
        with self._mutex:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _BUCKET, start)
            try:
                return self._decide(who, start, limit, time.time())
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _BUCKET, start)

    def _decide(self, who: bytes, start: int, limit: Limit, now: float) -> Decision:
        offset, hour_seen, used, full_at = self._find(who, start)
        hour = max(int(now) // HOUR, hour_seen)  # a clock set back must not open a second hour
        used = used if hour_seen == hour else 0
        reset = (hour + 1) * HOUR
        pace = HOUR / limit.hour
        empty = now + limit.burst * pace
        if full_at > empty:  # a clock set back, or a better plan: nobody waits longer than an empty bucket takes
            full_at = empty
            _SLOT.pack_into(self._memory, offset, who, hour, used, full_at)
        full_next = max(full_at, now) + pace
        if used >= limit.hour:
            return Decision(False, limit.hour, 0, reset, max(1, ceil(reset - now)))
        early = full_next - empty
        if early > 0.001:  # seconds: a float counts them since 1970 to a quarter of a microsecond, and a burst adds that up
            return Decision(False, limit.hour, limit.hour - used, reset, max(1, ceil(early)))
        _SLOT.pack_into(self._memory, offset, who, hour, used + 1, full_next)
        return Decision(True, limit.hour, limit.hour - used - 1, reset)

    def _find(self, who: bytes, start: int) -> tuple[int, int, int, float]:
        """The slot of `who`, else the one unused for longest, which holds the least."""
        oldest, oldest_at = start, float("inf")
        for offset in range(start, start + _BUCKET, _SLOT.size):
            owner, hour, used, full_at = _SLOT.unpack_from(self._memory, offset)
            if owner == who:
                return offset, hour, used, full_at
            if full_at < oldest_at:
                oldest, oldest_at = offset, full_at
        return oldest, 0, 0, 0.0


@cache
def limiter() -> Limiter:
    return Limiter(settings.LAMBDA_HOME / "limits")
