"""The Redis of several machines: what happens while it is away, and that it is used again afterwards."""

import signal
import socket
import time

import pytest

from api import limits
from api.limits import FileLimiter, Limit, RedisLimiter
from core import context, epoch, shared
from tests import make, servers

pytestmark = pytest.mark.db


def forget_connections():
    for kept in (shared.client, epoch._epoch, limits.limiter):
        kept.cache_clear()


@pytest.fixture(autouse=True)
def redis_of_this_test_alone(settings, monkeypatch):
    """At an address where nobody listens, until the test has started one."""
    monkeypatch.setattr(shared, "REST", 0.05)
    monkeypatch.setattr(shared, "_again_at", 0.0)
    settings.LAMBDA_REDIS_URL = "redis://127.0.0.1:1/0"
    forget_connections()
    yield
    forget_connections()


@pytest.fixture
def server(settings):
    server = servers.redis()
    settings.LAMBDA_REDIS_URL = server.url
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def rest():
    time.sleep(shared.REST * 1.5)


def test_without_redis_nobody_is_refused_and_each_machine_still_counts(tmp_path):
    limiter = RedisLimiter(FileLimiter(tmp_path / "limits"))
    assert sum(limiter.hit("a", Limit(1000, 50)).allowed for _ in range(60)) == 50


@pytest.mark.slow
def test_a_redis_that_does_not_answer_is_waited_for_once_a_second_not_once_a_request(settings, monkeypatch):
    monkeypatch.setattr(shared, "REST", 60)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        settings.LAMBDA_REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        for _ in range(100):
            epoch.current()
        assert time.monotonic() - began < 5 * shared.PATIENCE


def test_without_redis_nothing_is_remembered():
    asked = []
    look = epoch.remembered(lambda: asked.append(1))
    for _ in range(3):
        look()
    assert len(asked) == 3


@pytest.mark.django_db
def test_without_redis_a_revoked_key_stops_with_the_next_request():
    account = make.make_account()
    key, secret = make.make_key(account)
    api = make.Api(secret.key)
    assert api.get("/account").status_code == 200
    make.api_keys.revoke(key=key, by=context.SYSTEM)
    assert api.get("/account").status_code == 401


@pytest.mark.only("redis")
def test_a_request_asks_redis_for_the_epoch_once_and_sees_what_it_changed_itself(server, monkeypatch):
    asked = []
    ask = shared.ask
    monkeypatch.setattr(shared, "ask", lambda question: asked.append(1) or ask(question))
    epoch.advance()
    asked.clear()
    with context.acting(through="api", request="req_1"):
        first = [epoch.current() for _ in range(5)]
        assert (len(set(first)), len(asked)) == (1, 1)
        epoch.advance()
        assert epoch.current() > first[0]
    with context.acting(through="api", request="req_2"):
        epoch.current()
    assert len(asked) == 3


@pytest.mark.only("redis")
def test_a_redis_that_lost_its_data_gives_no_number_that_it_has_given_before(server):
    given = []
    for _ in range(3):
        epoch.advance()
        given.append(epoch.current())
    server.stop(signal.SIGKILL)
    server.start()
    assert epoch.current() > max(given)
    assert given == sorted(set(given))


@pytest.mark.only("redis")
def test_what_was_changed_while_redis_was_away_is_looked_at_again_once_it_is_back(server):
    asked = []
    look = epoch.remembered(lambda: asked.append(1))
    epoch.advance()
    look()
    look()
    assert len(asked) == 1
    server.process.send_signal(signal.SIGSTOP)  # it keeps its data, and its old number
    epoch.advance()
    server.process.send_signal(signal.SIGCONT)
    rest()
    look()
    look()
    assert len(asked) == 2


@pytest.mark.only("redis")
def test_limits_are_shared_again_once_redis_is_back(server, tmp_path):
    one, other = (RedisLimiter(FileLimiter(tmp_path / name)) for name in ("one", "other"))
    limit = Limit(1000, 50)
    server.stop(signal.SIGKILL)
    assert one.hit("a", limit).remaining == other.hit("a", limit).remaining == 999
    server.start()
    rest()
    assert [one.hit("a", limit).remaining, other.hit("a", limit).remaining] == [999, 998]
