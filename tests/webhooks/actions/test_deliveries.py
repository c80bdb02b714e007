"""From the log to rows: each event once for whoever listens, whatever is read twice."""

from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import ids
from core.context import SYSTEM
from core.models import Event
from tests import make
from webhooks.actions import attempts, deliveries, endpoints
from webhooks.events import matches
from webhooks.models import Attempt, Cursor, Delivery, Endpoint
from webhooks.models.delivery import KEPT

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture(autouse=True)
def _every_event_is_committed(monkeypatch):
    """On PostgreSQL a test's own transaction is still open, and readers of the log rightly stop before it."""
    monkeypatch.setattr(type(Event.objects.all()), "committed", lambda rows: rows.order_by("txid", "seq"))


@pytest.fixture
def account():
    return make.make_account()


def read_log():
    while deliveries.fan_out():
        pass


def types(endpoint):
    return [*Delivery.objects.filter(endpoint=endpoint).order_by("sequence").values_list("event_type", flat=True)]


@pytest.mark.parametrize(
    ("patterns", "type", "wanted"),
    [
        (["instance.created"], "instance.created", True),
        (["instance.created"], "instance.createdd", False),
        (["instance.*"], "instance.stopped", True),
        (["instance.*"], "instances.stopped", False),
        (["*"], "member.joined", True),
        (["*"], "execution.failed", False),
        (["*", "execution.failed"], "execution.failed", True),
        (["execution.*"], "execution.succeeded", True),
    ],
)
def test_a_pattern_means_what_it_says_and_a_star_leaves_out_what_one_must_ask_for(patterns, type, wanted):
    assert matches(patterns, type) is wanted


def test_each_event_makes_one_delivery_for_each_listener_from_the_time_it_listens(account):
    make.make_ssh_key(account, name="before", generate=True)
    endpoint = make.make_webhook(account, events=["ssh_key.*"])
    for number in range(3):
        make.make_ssh_key(account, name=f"key {number}", generate=True)
    read_log()
    read_log()
    assert types(endpoint) == ["ssh_key.added"] * 3
    assert [*Delivery.objects.order_by("sequence").values_list("sequence", flat=True)] == [1, 2, 3]
    assert Cursor.objects.get().event_seq == Event.objects.latest("seq").seq


def test_a_log_that_is_read_again_from_its_start_makes_no_delivery_twice(account):
    endpoint = make.make_webhook(account, events=["ssh_key.*"])
    make.make_ssh_key(account)
    read_log()
    Cursor.objects.all().delete()
    read_log()
    assert types(endpoint) == ["ssh_key.added"]
    assert Endpoint.objects.get().sequence == 1


def test_a_replay_that_is_ahead_of_the_log_leaves_no_gap_in_the_numbers(account):
    endpoint = make.make_webhook(account, events=["ssh_key.*"])
    read_log()
    make.make_ssh_key(account, name="before", generate=True)
    now = timezone.now()
    endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(hours=1), to=now + timedelta(hours=1))
    deliveries.replay_some()
    make.make_ssh_key(account, name="after", generate=True)
    read_log()
    assert [*Delivery.objects.order_by("sequence").values_list("sequence", flat=True)] == [1, 2]


def test_nothing_is_made_for_the_disabled_nor_for_other_accounts(account):
    off = endpoints.update(endpoint=make.make_webhook(account), by=SYSTEM, status="disabled")
    charlies = make.make_webhook(make.make_account(name="Charlie's"), events=["ssh_key.*"])
    make.make_ssh_key(account)
    read_log()
    assert types(off) == types(charlies) == []


def test_reading_on_takes_as_many_statements_whatever_the_number_of_events(account):
    make.make_webhook(account, events=["ssh_key.*"])
    read_log()
    counts = []
    for keys in (2, 20):
        for number in range(keys):
            make.make_ssh_key(account, name=f"key {number}", generate=True)
        with CaptureQueriesContext(connection) as queries:
            deliveries.fan_out()
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_test_goes_to_its_webhook_alone_and_once(account):
    endpoint, other = make.make_webhook(account, events=["ssh_key.*"]), make.make_webhook(account)
    delivery = deliveries.test(endpoint=endpoint, by=SYSTEM)
    read_log()
    assert delivery.sequence == 1
    assert types(endpoint) == ["webhook.test"]
    assert "webhook.test" not in types(other)


def test_a_replay_makes_what_is_missing_and_sends_the_rest_again_in_batches(account, monkeypatch):
    monkeypatch.setattr(deliveries, "BATCH", 2)
    for number in range(3):
        make.make_ssh_key(account, name=f"before {number}", generate=True)
    endpoint = make.make_webhook(account, events=["ssh_key.*"])
    for number in range(2):
        make.make_ssh_key(account, name=f"after {number}", generate=True)
    read_log()
    Delivery.objects.update(state="delivered", tries=9, next_attempt_at=None)
    now = timezone.now()
    endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(hours=1), to=now + timedelta(hours=1))
    while deliveries.replay_some():
        pass
    assert Delivery.objects.filter(endpoint=endpoint, state="pending", tries=10).count() == 5
    stored = Endpoint.objects.get(pk=endpoint.pk)
    assert (stored.replay_to, stored.replay_after) == (None, None)


def test_a_replay_of_what_did_not_arrive_leaves_alone_what_did(account):
    endpoint = make.make_webhook(account, events=["ssh_key.*"])
    for number in range(2):
        make.make_ssh_key(account, name=f"key {number}", generate=True)
    read_log()
    arrived = Delivery.objects.order_by("sequence").first()
    Delivery.objects.update(state="failed", next_attempt_at=None)
    Delivery.objects.filter(pk=arrived.pk).update(state="delivered")
    now = timezone.now()
    endpoints.replay(
        endpoint=endpoint, by=SYSTEM, from_=now - timedelta(hours=1), to=now + timedelta(1), only_undelivered=True
    )
    deliveries.replay_some()
    assert [*Delivery.objects.order_by("sequence").values_list("state", flat=True)] == ["delivered", "pending"]


def test_a_redelivery_begins_anew_and_takes_the_row_from_whoever_holds_it(account):
    delivery = make.make_delivery(make.make_webhook(account))
    (claimed,) = attempts.claim(rooms={delivery.endpoint_id: 1})
    again = deliveries.redeliver(delivery=delivery, account=account, by=SYSTEM)
    assert (again.state, again.tries, again.lease) == ("pending", 10, None)
    attempts.settle(outcomes=[attempts.Outcome(claimed, timezone.now(), "https://x.example", {}, "", status=200)])
    assert Delivery.objects.get().state == "pending"
    assert Attempt.objects.count() == 1


def test_what_is_older_than_thirty_days_is_forgotten_but_not_what_is_being_sent(account):
    endpoint = make.make_webhook(account)
    old, sending = make.make_delivery(endpoint), make.make_delivery(endpoint)
    later = timezone.now() + KEPT + timedelta(minutes=1)
    Delivery.objects.filter(pk=sending.pk).update(lease=old.pk, next_attempt_at=later)
    with time_machine.travel(timezone.now() + KEPT - timedelta(minutes=1)):
        assert deliveries.purge() == 0
    new = make.make_delivery(endpoint)
    Delivery.objects.filter(pk=new.pk).update(id=ids.earliest(later))
    with time_machine.travel(later):
        assert deliveries.purge() == 1
    assert set(Delivery.objects.values_list("pk", flat=True)) == {sending.pk, ids.earliest(later)}


def test_the_health_of_many_webhooks_is_one_statement(account):
    made = [make.make_webhook(account) for _ in range(3)]
    for number in range(4):
        delivery = make.make_delivery(made[0])
        Delivery.objects.filter(pk=delivery.pk).update(state="delivered", last_status=200, last_ms=10 * (number + 1))
    unanswered = make.make_delivery(made[1])
    Delivery.objects.filter(pk=unanswered.pk).update(last_ms=1)
    with CaptureQueriesContext(connection) as queries:
        health = Delivery.objects.health(made)
    assert len(queries) == 1
    first = health[made[0].pk]
    assert (first.states, first.p50_ms, first.p95_ms) == (["delivered"] * 4, 20, 40)
    assert (health[made[1].pk].states, health[made[1].pk].p95_ms) == (["pending"], None)
    assert (health[made[2].pk].states, health[made[2].pk].p50_ms) == ([], None)
