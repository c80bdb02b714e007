"""The hand-written statements answer what the ORM would, and the log misses nothing, on both databases."""

import threading
import time
import uuid
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from compute.models import Instance
from core import context, db, events
from core.db import atomic_write
from core.models import Counter, Event, Resource
from tests import make

pytestmark = [pytest.mark.db, pytest.mark.django_db]
commits = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def everything_of(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_a_row_read_by_hand_is_the_row_that_the_orm_reads():
    row = make.make_instance(tags={"λ": "1", "empty": ""}, user_data="#!/bin/sh\n# λ")
    Instance.objects.filter(pk=row.pk).update(closed_cost=Decimal("0.000000000001"), cost_month=timezone.now().date())
    by_orm = Instance.objects.get(pk=row.pk)
    by_hand = Instance.objects.one(row.account, row.pk)
    assert everything_of(by_hand) == everything_of(by_orm)
    types = {name: type(value) for name, value in everything_of(by_orm).items()}
    assert {name: type(value) for name, value in everything_of(by_hand).items()} == types
    assert by_hand.resource_pk == Resource.objects.get(native_id=row.pk).pk


def test_a_row_inserted_by_hand_is_the_row_that_the_orm_would_save():
    row = Event(
        at=timezone.now(),
        account_id=uuid.uuid4(),
        type="account.updated",
        actor_kind="user",
        via="api",
        data={"name": "λ", "nested": {"list": [1, None, True]}},
    )
    with atomic_write():
        db.insert(row)
    stored = Event.objects.get(pk=row.seq)
    written = everything_of(row) | {"txid": stored.txid}  # the database's own
    assert everything_of(stored) == written


def test_putting_a_thing_into_the_inventory_twice_keeps_its_number():
    row = Resource(
        kind="instance",
        native_id=uuid.uuid4(),
        account_id=uuid.uuid4(),
        name="a",
        status="active",
        created_at=timezone.now(),
        tags={"a": "1"},
    )
    first = row.put()
    row.name, row.tags = "b", {}
    assert row.put() == first
    stored = Resource.objects.get(pk=first)
    assert (stored.name, stored.tags) == ("b", {})


def test_counters_answer_what_they_count_now():
    account = make.make_account()
    assert Counter.add(account, vcpu=4, instance=1) == {"vcpu": 4, "instance": 1}
    assert Counter.add(account, vcpu=-1, instance=1) == {"vcpu": 3, "instance": 2}
    assert Counter.of(account, "vcpu") == 3
    assert Counter.of(account, "nothing") == 0


@commits
def test_counters_of_verbs_that_run_at_once_lose_nothing_and_wait_for_nobody_who_waits_for_them():
    account = make.make_account()
    failures = []

    def climb(*kinds):
        try:
            for _ in range(20):
                with atomic_write():
                    Counter.add(account, **dict.fromkeys(kinds, 1))
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=climb, args=kinds) for kinds in (("a", "b"), ("b", "a")) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert {kind: Counter.of(account, kind) for kind in "ab"} == {"a": 80, "b": 80}


def record(account):
    return events.record("account.updated", account=account, by=context.SYSTEM)


@commits
@pytest.mark.only("postgresql")
def test_a_reader_with_a_cursor_misses_no_event_whose_transaction_began_first_and_ended_last():
    account = make.make_account()
    cursor = record_and_commit(account)
    early_may_end, early_has_recorded = threading.Event(), threading.Event()
    recorded = []

    def early():
        with atomic_write():
            recorded.append(record(account).pk)
            early_has_recorded.set()
            early_may_end.wait(30)
        connection.close()

    thread = threading.Thread(target=early)
    thread.start()
    assert early_has_recorded.wait(30)
    recorded.append(record_and_commit(account).pk)  # later number, committed first
    assert recorded == sorted(recorded)

    def read(after):
        return list(Event.objects.for_account(account).committed().after(after))

    assert read(cursor) == []  # not yet: whoever moved the cursor past the later one would never see the earlier
    early_may_end.set()
    thread.join(30)
    deadline = time.monotonic() + 30
    while not read(cursor) and time.monotonic() < deadline:
        time.sleep(0.05)  # a transaction of another database of the same server holds them back as well
    assert [event.pk for event in read(cursor)] == recorded
    assert read(read(cursor)[-1]) == []


def record_and_commit(account):
    with atomic_write():
        event = record(account)
    return Event.objects.get(pk=event.pk)


@commits
@pytest.mark.slow
def test_a_reader_that_follows_four_writers_sees_each_event_once():
    account = make.make_account()
    cursor, seen, failures = record_and_commit(account), [], []

    def write():
        try:
            for number in range(60):
                with atomic_write():
                    record(account)
                    if number % 3 == 0:
                        record(account)
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(seen) < 4 * 80 and not failures and time.monotonic() < deadline:
        for event in Event.objects.for_account(account).committed().after(cursor)[:50]:
            seen.append(event.pk)
            cursor = event
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(seen) == len(set(seen)) == 4 * 80
    assert not Event.objects.for_account(account).committed().after(cursor)
