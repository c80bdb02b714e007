"""What dispatchers claim and settle: by one at a time, in time, and never lost."""

from datetime import timedelta
from email.utils import format_datetime

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from core import db
from core.context import SYSTEM
from core.models import Event
from tests import make
from webhooks.actions import attempts, endpoints
from webhooks.actions.attempts import Outcome
from webhooks.models import Delivery, Endpoint
from webhooks.models.delivery import LEASE
from webhooks.sender import _wish

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def endpoint(account):
    return make.make_webhook(account)


def claim(endpoint, room=100):
    return attempts.claim(rooms={endpoint.pk: room})


def outcome(claimed, status=None, **facts):
    return Outcome(claimed, timezone.now(), "https://x.example", {"A": "b"}, "sha256=0", status=status, **facts)


def settle(endpoint, status=None, **facts):
    """Attempt whatever is due; answers how many there were."""
    found = [outcome(one, status, **facts) for one in claim(endpoint)]
    attempts.settle(outcomes=found)
    return len(found)


def test_what_is_claimed_is_nobody_elses_until_its_lease_ends(endpoint):
    for _ in range(3):
        make.make_delivery(endpoint)
    assert [one.sequence for one in claim(endpoint, 2)] == [1, 2]
    assert [one.sequence for one in claim(endpoint)] == [3]
    assert claim(endpoint) == []
    with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
        assert attempts.due() == [endpoint.pk]
        assert [one.sequence for one in claim(endpoint)] == [1, 2, 3]


def test_what_is_handed_back_is_due_at_once(endpoint):
    make.make_delivery(endpoint)
    claimed = claim(endpoint)
    attempts.release(claimed=claimed)
    assert len(claim(endpoint)) == 1
    attempts.release(claimed=claimed)  # it is another's by now
    assert claim(endpoint) == []


def test_only_active_webhooks_with_something_due_are_found(account):
    rows = [make.make_webhook(account) for _ in range(4)]
    for endpoint in rows[:3]:
        make.make_delivery(endpoint)
    endpoints.update(endpoint=rows[0], by=SYSTEM, status="disabled")
    Delivery.objects.filter(endpoint=rows[1]).update(next_attempt_at=timezone.now() + timedelta(seconds=5))
    assert attempts.due() == [rows[2].pk]


def test_ten_attempts_come_over_three_days_and_never_sooner_than_planned(endpoint):
    make.make_delivery(endpoint)
    start = now = timezone.now()
    seen = []
    while True:
        with time_machine.travel(now, tick=False):
            assert settle(endpoint, 500, jitter=len(seen) % 2) == 1
            seen.append((now - start).total_seconds())
            row = Delivery.objects.get()
            if row.state != "pending":
                break
            assert claim(endpoint) == []
            now = row.next_attempt_at + timedelta(milliseconds=1)
    planned = [0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105]
    assert len(seen) == 10
    assert all(0 <= taken - wanted <= 0.2 * wanted + 1 for taken, wanted in zip(seen, planned, strict=True))
    assert (row.state, row.attempts, row.tries, row.next_attempt_at) == ("failed", 10, 0, None)


@pytest.mark.parametrize(("wish", "seconds"), [(0, 5), (2, 5), (600, 600), (10**7, 86400)])
def test_a_retry_after_delays_the_next_attempt_by_a_day_at_most(endpoint, wish, seconds):
    make.make_delivery(endpoint)
    with time_machine.travel(timezone.now(), tick=False):
        settle(endpoint, 429, wish=wish)
        assert Delivery.objects.get().next_attempt_at == timezone.now() + timedelta(seconds=seconds)


def test_a_retry_after_may_be_a_date():
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False):
        assert _wish(format_datetime(timezone.now() + timedelta(seconds=90), usegmt=True)) == 90


def test_five_days_of_nothing_but_failures_disable_a_webhook(endpoint):
    start = timezone.now()
    for day in range(5):
        with time_machine.travel(start + timedelta(days=day)):
            for _ in range(2):
                make.make_delivery(endpoint)
            settle(endpoint, 500)
    assert Endpoint.objects.get().state == "active"
    with time_machine.travel(start + timedelta(days=5, minutes=1)):
        settle(endpoint, 500, error="The receiver answered 500.")
    stored = Endpoint.objects.get()
    assert stored.state == "disabled"
    assert "The receiver answered 500." in stored.disabled_reason
    assert Event.objects.filter(type="webhook.disabled").count() == 1


def test_few_failures_however_old_disable_nothing(endpoint):
    make.make_delivery(endpoint)
    settle(endpoint, 500)
    with time_machine.travel(timezone.now() + timedelta(days=6)):
        settle(endpoint, 500)
    assert (Endpoint.objects.get().state, Endpoint.objects.get().failures) == ("active", 2)


def test_one_success_wipes_out_all_failures(endpoint):
    for status in (500, 500, 200):
        make.make_delivery(endpoint)
        settle(endpoint, status)
    assert (Endpoint.objects.get().failing_since, Endpoint.objects.get().failures) == (None, 0)


def test_an_outcome_whose_claim_was_lost_decides_nothing(endpoint):
    make.make_delivery(endpoint)
    (lost,) = claim(endpoint)
    with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
        settle(endpoint, 200)
        attempts.settle(outcomes=[outcome(lost, 500)])
    row = Delivery.objects.get()
    assert (row.state, row.last_status) == ("delivered", 200)


@pytest.mark.only("sqlite")
def test_finding_and_claiming_what_is_due_use_the_index(endpoint):
    """However many deliveries wait: each step is a leap in the index."""
    make.make_delivery(endpoint)
    now = db.moment(timezone.now())
    statements = [(attempts._DUE, [now]), (attempts._CLAIM.format(lock=""), [endpoint.pk.hex, now, 4, "x", now])]
    for statement, values in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plan = [row[3] for row in cursor.fetchall()]
        steps = [line for line in plan if "webhooks_delivery" in line or line.startswith(("SEARCH d ", "SCAN d "))]
        assert steps
        assert all("delivery_due" in line or "sqlite_autoindex" in line for line in steps), plan
        assert not any("TEMP B-TREE" in line for line in plan), plan
