"""Rate limits: exactly as many as promised, over all threads, processes and restarts, in a file or in Redis.

The same tests hold both to the contract; those of Redis are there where LAMBDA_REDIS_URL is.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from api.limits import HOUR, FileLimiter, Limit, RedisLimiter

pytestmark = pytest.mark.db
BACKENDS = ["file", *(["redis"] if settings.LAMBDA_REDIS_URL else [])]
NOON = 1_700_000_000 // HOUR * HOUR


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = float(NOON)

    monkeypatch.setattr("api.limits.time.time", lambda: Clock.now)
    return Clock


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def make_limiter(tmp_path, clock, backend):
    """The limiter of one process; another one finds what the first has counted."""

    def make():
        alone = FileLimiter(tmp_path / "limits")
        return alone if backend == "file" else RedisLimiter(alone, clock=lambda: clock.now)

    make().forget()
    return make


@pytest.fixture
def limiter(make_limiter):
    return make_limiter()


def admitted(limiter, key, limit, times):
    return sum(limiter.hit(key, limit).allowed for _ in range(times))


@pytest.mark.parametrize(("hour", "burst"), [(1000, 50), (10_000, 200), (100_000, 1000), (600, 100)])
def test_from_rest_exactly_the_burst_is_admitted_at_once(limiter, hour, burst):
    assert admitted(limiter, "a", Limit(hour, burst), burst + 20) == burst


def test_the_burst_comes_back_at_the_pace_of_the_plan(limiter, clock):
    limit = Limit(1000, 50)  # one each 3.6 s
    admitted(limiter, "a", limit, 50)
    refused = limiter.hit("a", limit)
    assert (refused.allowed, refused.retry_after) == (False, 4)
    clock.now += 3.5
    assert not limiter.hit("a", limit).allowed
    clock.now += 0.2
    assert limiter.hit("a", limit).allowed
    assert not limiter.hit("a", limit).allowed
    clock.now += 3600
    assert admitted(limiter, "a", limit, 60) == 50


def test_whoever_waits_as_long_as_told_is_admitted(limiter, clock):
    limit = Limit(1000, 50)
    admitted(limiter, "a", limit, 50)
    for _ in range(100):
        clock.now += limiter.hit("a", limit).retry_after
        assert limiter.hit("a", limit).allowed


def test_an_hour_admits_exactly_its_number_however_evenly_they_come(limiter, clock):
    limit = Limit(1000, 50)
    clock.now = NOON + 0.0
    allowed = 0
    for step in range(3000):
        clock.now = NOON + step * 1.19
        allowed += limiter.hit("a", limit).allowed
    assert allowed == 1000
    clock.now = NOON + 3599
    refused = limiter.hit("a", limit)
    assert (refused.allowed, refused.remaining, refused.retry_after, refused.reset) == (False, 0, 1, NOON + HOUR)
    clock.now = NOON + HOUR
    assert limiter.hit("a", limit).allowed


def test_a_refusal_consumes_nothing(limiter, clock):
    limit = Limit(1000, 50)
    admitted(limiter, "a", limit, 50)
    before = limiter.hit("a", limit)
    admitted(limiter, "a", limit, 500)
    assert limiter.hit("a", limit) == before
    clock.now += 3.61
    assert limiter.hit("a", limit).remaining == before.remaining - 1


def test_remaining_falls_by_one_with_each_request_and_reset_is_the_end_of_the_clock_hour(limiter, clock):
    clock.now = NOON + 1800.5
    decisions = [limiter.hit("a", Limit(1000, 50)) for _ in range(10)]
    assert [decision.remaining for decision in decisions] == list(range(999, 989, -1))
    assert {decision.reset for decision in decisions} == {NOON + HOUR}


def test_one_caller_is_not_charged_for_another(limiter):
    admitted(limiter, "a", Limit(1000, 50), 60)
    assert admitted(limiter, "b", Limit(1000, 50), 60) == 50


def test_another_plan_counts_from_the_next_request_on(limiter, clock):
    admitted(limiter, "a", Limit(1000, 50), 60)
    decision = limiter.hit("a", Limit(10_000, 200))
    assert (decision.remaining, decision.retry_after) == (10_000 - 50, 1)
    clock.now += 0.4  # one each 0.36 s now
    assert limiter.hit("a", Limit(10_000, 200)).allowed


def test_a_clock_set_back_opens_no_second_hour_and_locks_nobody_out_for_long(limiter, clock):
    limit = Limit(100, 100)
    assert admitted(limiter, "a", limit, 110) == 100
    clock.now -= 2 * HOUR
    assert admitted(limiter, "a", limit, 110) == 0
    clock.now += 3 * HOUR
    assert admitted(limiter, "a", limit, 110) == 100


def test_a_clock_that_was_far_ahead_for_a_moment_locks_nobody_out_until_then(limiter, clock):
    limit = Limit(100, 100)
    clock.now += 365 * 24 * HOUR
    assert admitted(limiter, "a", limit, 110) == 100
    clock.now -= 365 * 24 * HOUR
    assert limiter.used("a") == 0
    refused = limiter.hit("a", limit)  # its bucket is empty still
    assert (refused.remaining, refused.reset, refused.retry_after) == (100, NOON + HOUR, 36)
    clock.now += 36
    assert limiter.hit("a", limit).allowed


def test_a_clock_set_back_empties_no_bucket_for_hours(limiter, clock):
    limit = Limit(1000, 50)
    admitted(limiter, "a", limit, 50)
    clock.now -= 600
    assert limiter.hit("a", limit).retry_after == 4
    clock.now += 3.7
    assert limiter.hit("a", limit).allowed


def test_the_meters_survive_a_restart(make_limiter):
    limit = Limit(1000, 50)
    assert admitted(make_limiter(), "a", limit, 30) == 30
    assert admitted(make_limiter(), "a", limit, 60) == 20


def test_when_a_bucket_of_slots_is_full_the_one_idle_for_longest_goes(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("api.limits._BUCKETS", 1)
    limiter, limit = FileLimiter(tmp_path / "small"), Limit(1000, 50)
    admitted(limiter, "busy", limit, 60)
    for number in range(200):
        clock.now += 0.001
        limiter.hit(f"visitor {number}", limit)
        limiter.hit("busy", limit)
    assert limiter.hit("busy", limit).remaining == 1000 - 50


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    hour=st.integers(1, 200),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 400, allow_nan=False), max_size=80),
)
def test_no_pattern_of_requests_is_admitted_beyond_hour_or_burst(tmp_path_factory, backend, hour, burst, steps):
    limit, now, times = Limit(hour, burst), float(NOON), []
    limiter = FileLimiter(tmp_path_factory.mktemp("limits") / "limits")
    if backend == "redis":
        limiter = RedisLimiter(limiter, clock=lambda: now)
        limiter.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.limits.time.time", lambda: now)
        for step in steps:
            now += step
            if limiter.hit("a", limit).allowed:
                times.append(now)
    pace = HOUR / hour
    for first, start in enumerate(times):
        assert sum(start // HOUR == time // HOUR for time in times) <= hour
        for last, end in enumerate(times[first:], first):
            # Between any two of them no more came than the bucket held and was refilled with.
            assert last - first + 1 <= burst + (end - start + 0.002) / pace


HITTER = """
    import django, json, sys, threading
    django.setup()
    from pathlib import Path
    from api.limits import FileLimiter, Limit, RedisLimiter
    limiter, counts = FileLimiter(Path(sys.argv[1])), []
    if sys.argv[2] == "redis":
        limiter = RedisLimiter(limiter)
    def run():
        counts.append(sum(limiter.hit("a", Limit(1000, 1000)).allowed for _ in range(200)))
    threads = [threading.Thread(target=run) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(json.dumps(sum(counts)))
"""


@pytest.mark.slow
def test_four_processes_with_many_threads_admit_exactly_the_number(tmp_path, make_limiter, backend):
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", textwrap.dedent(HITTER), str(tmp_path / "limits"), backend]
    hitters = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    counts = [json.loads(hitter.communicate(timeout=120)[0]) for hitter in hitters]
    # 6,400 tries within seconds: a thousand, and what the bucket is refilled with is beyond the hour's number anyway.
    assert sum(counts) == 1000, counts
