"""Rate limits that are exact over all threads, processes and machines.

Two meters, one decision: at most `hour` requests a clock hour, and a bucket of `burst` refilled at the hour's pace
(the generic cell rate algorithm). A refusal consumes neither. One machine keeps the meters in a file; several
(LAMBDA_REDIS_URL) keep them in Redis. `FileLimiter._decide` and `RedisLimiter.DECIDE` are twins: one test suite holds
both to the same answers.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Protocol

from django.conf import settings

from core import shared

_SLOT = struct.Struct("<16sIId")  # who, hour since the epoch, used in it, when the burst bucket is full again
_SLOTS, _BUCKETS = 32, 2048
_BUCKET = _SLOT.size * _SLOTS
HOUR = 3600
# Hours that a clock may be set back without opening a second one. An hour seen further ahead was the clock's mistake,
# and whoever was counted in it must not wait until it comes.
AHEAD = 2


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


class Limiter(Protocol):
    def hit(self, key: str, limit: Limit) -> Decision:
        """Count one request of `key`, or refuse it."""

    def used(self, key: str) -> int:
        """How many requests of `key` were counted in this clock hour; asking counts none."""

    def forget(self) -> None:
        """Begin anew, with full buckets for everyone."""


class FileLimiter:
    """The meters are fixed slots of a shared-memory file, so they survive restarts; a hash bucket is locked by a byte
    range for the few microseconds of a decision.
    """

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, _BUCKET * _BUCKETS)
        self._memory = mmap.mmap(self._file, _BUCKET * _BUCKETS)
        self._mutex = threading.Lock()  # record locks belong to a process, not to a thread

    def forget(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    def hit(self, key: str, limit: Limit) -> Decision:
        who = blake2b(key.encode(), digest_size=16).digest()
        start = int.from_bytes(who[:4], "little") % _BUCKETS * _BUCKET
        with self._mutex:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _BUCKET, start)
            try:
                return self._decide(who, start, limit, time.time())
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _BUCKET, start)

    def used(self, key: str) -> int:
        who = blake2b(key.encode(), digest_size=16).digest()
        # Without the lock: a page that meets a writer in the act shows a wrong number once.
        _, hour, used, _ = self._find(who, int.from_bytes(who[:4], "little") % _BUCKETS * _BUCKET)
        return used if _stands(hour, int(time.time()) // HOUR) else 0

    def _decide(self, who: bytes, start: int, limit: Limit, now: float) -> Decision:
        offset, hour_seen, used, full_at = self._find(who, start)
        hour = int(now) // HOUR
        hour, used = (hour_seen, used) if _stands(hour_seen, hour) else (hour, 0)
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
        if early > 0.001:  # seconds: a float counts them since 1970 to a quarter of a µs, and a burst adds that up
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


def _stands(hour_seen: int, hour: int) -> bool:
    """Whether what was counted in `hour_seen` still counts in this hour of the clock."""
    return hour <= hour_seen <= hour + AHEAD


class RedisLimiter:
    """The meters are hashes in Redis, decided by one script and by Redis' clock, which all machines share.

    While Redis is away each machine counts by itself: nobody is refused for our trouble, nor let in without bounds.
    """

    KEYS = "lambda:limit:"
    DECIDE = """
        local per_hour, burst, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
        if not now then
            local time = redis.call('TIME')
            now = time[1] + time[2] / 1e6
        end
        local kept = redis.call('HMGET', KEYS[1], 'hour', 'used', 'full_at')
        local hour_seen, used, full_at = tonumber(kept[1] or 0), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
        local hour = math.floor(now / 3600)
        if hour_seen < hour or hour_seen > hour + tonumber(ARGV[4]) then used = 0 else hour = hour_seen end
        local reset, pace = (hour + 1) * 3600, 3600 / per_hour
        local empty = now + burst * pace
        local function keep(used, full_at)
            redis.call('HSET', KEYS[1], 'hour', hour, 'used', used, 'full_at', string.format('%.17g', full_at))
            redis.call('EXPIRE', KEYS[1], math.ceil(math.max(reset, full_at) - now))
        end
        if full_at > empty then
            full_at = empty
            keep(used, full_at)
        end
        local full_next = math.max(full_at, now) + pace
        if used >= per_hour then return {0, 0, reset, math.max(1, math.ceil(reset - now))} end
        local early = full_next - empty
        if early > 0.001 then return {0, per_hour - used, reset, math.max(1, math.ceil(early))} end
        keep(used + 1, full_next)
        return {1, per_hour - used - 1, reset, 0}
    """

    def __init__(self, alone: Limiter, clock: Callable[[], float] | None = None):
        """`alone` counts while Redis is away. `clock`, in epoch seconds, takes the place of Redis' own in tests."""
        self._alone, self._clock = alone, clock
        self._decide = shared.client().register_script(self.DECIDE)

    def forget(self) -> None:
        redis = shared.client()
        for key in redis.scan_iter(f"{self.KEYS}*"):
            redis.delete(key)
        self._alone.forget()

    def hit(self, key: str, limit: Limit) -> Decision:
        clock = repr(self._clock()) if self._clock else ""
        arguments: list[int | str] = [limit.hour, limit.burst, clock, AHEAD]
        try:
            answer = shared.ask(lambda _: self._decide(keys=[self.KEYS + key], args=arguments))
        except shared.Gone:
            return self._alone.hit(key, limit)
        allowed, remaining, reset, retry_after = map(int, answer)
        return Decision(bool(allowed), limit.hour, remaining, reset, retry_after)

    def used(self, key: str) -> int:
        try:
            hour, used = shared.ask(lambda redis: redis.hmget(self.KEYS + key, "hour", "used"))
        except shared.Gone:
            return self._alone.used(key)
        return int(used) if hour and used and _stands(int(hour), int((self._clock or time.time)()) // HOUR) else 0


@cache
def limiter() -> Limiter:
    alone = FileLimiter(settings.LAMBDA_HOME / "limits")
    return RedisLimiter(alone) if settings.LAMBDA_REDIS_URL else alone
