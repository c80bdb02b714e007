"""What a key was used for is written in batches: counted, bounded, and without anything secret."""

import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from accounts import uses
from accounts.actions import api_keys
from accounts.actions import uses as verbs
from accounts.models import ApiKey, HourOfUse, OAuthToken, RecentUse
from accounts.models.use import LAST, OUTCOMES, Note
from accounts.tasks import purge_uses
from core.context import SYSTEM
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def made():
    return make.make_key(make.make_account())


def note(key, status=200, *, at=None, **facts):
    facts = {"accepted": True, "method": "GET", "path": "/v1/instances", "ip": "203.0.113.7", "agent": "curl/8"} | facts
    return Note(kind=key.kind, credential_id=key.pk, at=at or time.time(), status=status, request_id="req_1", **facts)


def counts(key):
    found = HourOfUse.objects.filter(credential_id=key.pk).values_list(*OUTCOMES)
    return [sum(column) for column in zip(*found, strict=True)]


def test_a_request_is_kept_with_when_whence_and_what_but_not_its_query(made):
    key, secret = made
    answer = make.Api(secret.key, HTTP_USER_AGENT="curl/8.5").get("/instances?q=hidden")
    assert ApiKey.objects.get().last_used_at is None  # the request itself wrote nothing
    assert uses.flush() == 1
    use = RecentUse.objects.of(key).get()
    assert (use.method, use.path, use.status) == ("GET", "/v1/instances", 200)
    assert (use.ip, use.agent, use.request_id) == ("127.0.0.1", "curl/8.5", answer["X-Request-Id"])
    key.refresh_from_db()
    assert (key.last_used_ip, key.last_used_agent) == ("127.0.0.1", "curl/8.5")
    assert key.first_used_at == key.last_used_at == use.at
    assert timezone.now() - use.at < timedelta(seconds=30)
    row = str(list(RecentUse.objects.values()))
    assert secret.text not in row
    assert "hidden" not in row


def test_requests_are_counted_by_how_they_ended(made):
    api = make.Api(made[1].key)
    api.get("/instances")
    api.get("/instances/inst_nothing")
    api.post("/instances", {})
    uses.flush()
    verbs.write(notes=[note(made[0], 429), note(made[0], 503)])
    assert counts(made[0]) == [1, 2, 1, 1]


def test_a_key_that_has_ended_is_seen_knocking_but_not_used(made):
    key, secret = made
    api_keys.revoke(key=key, by=SYSTEM)
    assert make.Api(secret.key).get("/instances").status_code == 401
    uses.flush()
    key.refresh_from_db()
    assert (key.last_used_at, key.first_used_at) == (None, None)
    assert [use.status for use in RecentUse.objects.of(key)] == [401]
    assert counts(key) == [0, 1, 0, 0]


def test_a_token_is_noted_like_a_key():
    token, issued = make.make_token(make.make_account())
    make.Api(issued.access, HTTP_USER_AGENT="curl/8").get("/instances")
    uses.flush()
    token.refresh_from_db()
    assert (token.last_used_ip, token.last_used_agent) == ("127.0.0.1", "curl/8")
    assert RecentUse.objects.of(token).count() == 1


def test_a_stranger_and_a_session_leave_no_note():
    make.Api().get("/regions")
    make.Api("lambda_sk_nonsense").get("/instances")
    make.sign_in(make.owner_of(make.make_account()).user).get("/v1/instances")
    assert uses.flush() == 0


def test_only_the_last_fifty_requests_are_kept_and_all_are_counted(made):
    key = made[0]
    began = time.time() - 100
    other, _ = make.make_key(key.account)
    verbs.write(notes=[note(other)])
    for batch in range(3):
        verbs.write(notes=[note(key, at=began + batch * 30 + i, path=f"/v1/{batch}/{i}") for i in range(30)])
    kept = list(RecentUse.objects.of(key))
    assert len(kept) == LAST
    assert (kept[0].path, kept[-1].path) == ("/v1/2/29", "/v1/1/10")
    assert counts(key) == [90, 0, 0, 0]
    assert RecentUse.objects.of(other).count() == 1


def test_a_late_note_counts_but_does_not_overwrite_a_newer_one(made):
    key, now = made[0], time.time()
    verbs.write(notes=[note(key, at=now, ip="203.0.113.2", agent="new")])
    verbs.write(notes=[note(key, at=now - 300, ip="203.0.113.1", agent="old")])
    key.refresh_from_db()
    assert (key.last_used_ip, key.last_used_agent) == ("203.0.113.2", "new")
    assert key.last_used_at == datetime.fromtimestamp(now, UTC)
    assert counts(key) == [2, 0, 0, 0]


def test_whatever_a_client_sends_can_be_written(made):
    verbs.write(notes=[note(made[0], path="/v1/\x00" + "x" * 5000, agent="\x00λ" * 500, method="PROPPATCHES")])
    use = RecentUse.objects.of(made[0]).get()
    assert len(use.path) == len(use.agent) == 200
    assert "\x00" not in use.path + use.agent


def test_a_database_that_is_away_costs_no_note(made, monkeypatch):
    make.Api(made[1].key).get("/instances")
    with monkeypatch.context() as patch:
        patch.setattr(verbs, "write", lambda **_: (_ for _ in ()).throw(OperationalError("away")))
        with pytest.raises(OperationalError):
            uses.flush()
    assert uses.flush() == 1
    assert RecentUse.objects.of(made[0]).count() == 1


def test_the_buffer_never_grows_beyond_its_bound():
    key = OAuthToken(name="nobody's")
    request = SimpleNamespace(META={}, method="GET", path="/", client_ip="::1", request_id="req_1")
    for _ in range(20_100):
        uses.note(OAuthToken.kind, key.pk, request, SimpleNamespace(status_code=200))
    assert len(uses._waiting) == 20_000


def test_buckets_begin_at_whole_steps_and_end_with_the_present(made):
    key = made[0]
    with time_machine.travel(datetime(2026, 3, 10, 14, 30, tzinfo=UTC), tick=False):
        now = time.time()
        hours_ago = [0, 0, 1, 23, 24, 24 * 29, 24 * 30]
        verbs.write(notes=[note(key, at=now - hour * 3600) for hour in hours_ago])
        verbs.write(notes=[note(key, 500)])
        day = HourOfUse.objects.buckets([key.pk], hours=1, steps=24)[key.pk]
        month = HourOfUse.objects.buckets([key.pk], hours=24, steps=30)[key.pk]
    assert [bucket["ok"] for bucket in day] == [1] + [0] * 21 + [1, 2]
    assert day[-1]["failed"] == 1
    assert [bucket["ok"] for bucket in month] == [1] + [0] * 27 + [2, 3]  # 23 and 24 hours ago: yesterday, both


def test_what_is_older_than_a_month_is_forgotten(made):
    old = time.time() - 32 * 86_400
    verbs.write(notes=[note(made[0], at=old), note(made[0])])
    purge_uses()
    assert counts(made[0]) == [1, 0, 0, 0]
    assert RecentUse.objects.count() == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_processes_that_write_at_once_lose_nothing(made):
    key, others = made[0], [make.make_key(made[0].account)[0] for _ in range(3)]
    failures = []

    def write(order):
        try:
            for _ in range(5):
                verbs.write(notes=[note(one) for one in order])
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(order,)) for order in ([key, *others], [*others[::-1], key]) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [counts(one)[0] for one in (key, *others)] == [20] * 4
