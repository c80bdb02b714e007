"""Events: recorded with what they tell of, or not at all."""

import pytest
from celery import Celery, current_app
from django.db import transaction

from catalog.models import Plan
from core import context, events
from core.db import atomic_write
from core.models import Event, Resource
from tests import make

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture
def subscriber(monkeypatch):
    """Subscribe for the length of a test."""
    monkeypatch.setattr(events, "_subscribers", list(events._subscribers))
    return events.subscribe


def rename_plan_and_record(**fields):
    with atomic_write():
        Plan.objects.filter(slug="free").update(name="Renamed")
        return events.record("account.updated", account=None, by=context.SYSTEM, **fields)


def test_an_event_says_who_did_what_when_and_through_what():
    account = make.make_account()
    member = make.owner_of(account)
    with context.acting(through="api", request="req_1", address="203.0.113.7"), atomic_write():
        event = events.record(
            "account.updated", account=account, by=member.user.actor, subject=account, data={"x": "y"}
        )
    stored = Event.objects.get(pk=event.pk)
    assert (stored.via, stored.request_id, stored.ip) == ("api", "req_1", "203.0.113.7")
    assert (stored.actor_kind, stored.actor_id) == ("user", member.user.public_id)
    assert (stored.subject_kind, stored.subject_id, stored.account_id) == ("account", account.pk, account.pk)
    assert stored.data == {**account.event_data(), "x": "y"}
    assert stored.public_id.startswith("evt_")


def test_outside_of_a_request_the_system_acts():
    event = rename_plan_and_record()
    assert (event.via, event.request_id, event.ip, event.actor_kind) == ("system", "", "", "system")


def test_a_type_that_nobody_declared_is_refused():
    with pytest.raises(LookupError, match=r"account\.exploded is not declared"), atomic_write():
        events.record("account.exploded", account=None, by=context.SYSTEM)


def test_an_event_outside_a_write_transaction_is_refused_even_inside_a_plain_one():
    with pytest.raises(RuntimeError, match="outside a write transaction"), transaction.atomic():
        events.record("account.updated", account=None, by=context.SYSTEM)
    assert not Event.objects.exists()


def test_a_rollback_takes_the_event_with_it():
    with pytest.raises(ZeroDivisionError), atomic_write():
        rename_plan_and_record()
        1 / 0  # noqa: B018
    assert not Event.objects.exists()
    assert Plan.objects.get(slug="free").name == "Free"


def test_a_subscriber_hears_what_it_subscribed_to_in_the_same_transaction(subscriber):
    heard = []
    subscriber("account.*", lambda event: heard.append((event.type, event.pk)))
    subscriber("instance.*", lambda event: heard.append("wrong"))
    event = rename_plan_and_record()
    assert heard == [("account.updated", event.pk)]


def test_a_subscriber_that_fails_undoes_the_event_and_what_it_tells_of(subscriber):
    def fail(event):
        raise ZeroDivisionError

    subscriber("*", fail)
    with pytest.raises(ZeroDivisionError):
        rename_plan_and_record()
    assert not Event.objects.exists()
    assert Plan.objects.get(slug="free").name == "Free"


def test_subscribing_twice_is_hearing_once(subscriber):
    heard = []
    subscriber("*", heard.append)
    subscriber("*", heard.append)
    rename_plan_and_record()
    assert len(heard) == 1


def test_the_sequence_never_goes_back():
    sequence = [rename_plan_and_record().seq for _ in range(5)]
    assert sequence == sorted(set(sequence))


def test_an_event_is_never_changed_or_deleted():
    event = rename_plan_and_record()
    with pytest.raises(TypeError, match="append-only"):
        event.save()
    with pytest.raises(TypeError, match="append-only"):
        event.delete()


def test_every_declared_type_is_documented_in_one_sentence():
    declared = events.declared(internal=True)
    assert list(declared) == sorted(declared)
    for name, text in declared.items():
        noun, _, verb = name.partition(".")
        assert noun, name
        assert verb, name
        assert text.endswith("."), name
        assert "\n" not in text, name


def test_customers_do_not_hear_of_types_that_are_of_no_account():
    internal = events.declared(internal=True).keys() - events.declared().keys()
    assert internal == {"user.updated", "catalog.added", "catalog.updated", "catalog.removed"}


def test_the_inventory_follows_its_subject():
    instance = make.make_instance(state="running")
    row = Resource.objects.get(native_id=instance.pk)
    assert (row.kind, row.name, row.region, row.status) == ("instance", "web-1", "us-east-1", "active")
    make.instances.stop(instance=instance, by=context.SYSTEM)
    assert Resource.objects.get(native_id=instance.pk).status == "pending"


def test_a_nudge_that_the_broker_cannot_take_is_lost_without_harm(monkeypatch, django_capture_on_commit_callbacks):
    """The sweep finds the row; the request that made it must not fail after its commit."""
    elsewhere = Celery(broker="redis://127.0.0.1:1", set_as_current=False)
    monkeypatch.setattr(Celery, "producer_pool", elsewhere.producer_pool)
    monkeypatch.setitem(current_app.conf.changes, "task_publish_retry_policy", {"max_retries": 0})
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        events.enqueue("compute.reconcile", instance_id="x")
    assert len(callbacks) == 1
