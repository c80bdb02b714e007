"""Verbs that meet: whatever order the database puts them in, quotas hold and one story is told."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.actions import api_keys
from accounts.models import Account, ApiKey
from compute.actions import instances, ssh_keys
from compute.actions.ssh_keys import SshKeyExists
from compute.models import Instance
from core.context import SYSTEM
from core.errors import LambdaError
from core.models import Counter, Event
from core.states import StateChanged
from tests import make

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.db, pytest.mark.slow]


def at_once(*acts):
    """Run all at the same moment, each on a connection of its own; answers results, a refusal being one."""
    start = threading.Barrier(len(acts))

    def run(act):
        start.wait()
        try:
            return act()
        except (LambdaError, StateChanged) as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def fresh(row):
    return Instance.objects.select_related("account__plan").get(pk=row.pk)


def refusals(results):
    return [result for result in results if isinstance(result, Exception)]


@pytest.fixture
def account():
    return Account.objects.select_related("plan").get(pk=make.make_account(plan="free").pk)


def test_the_last_places_of_a_quota_are_given_once(account):
    results = at_once(*[lambda: instances.create(account=account, by=SYSTEM, **make.WANTED)] * 12)
    assert len(refusals(results)) == 7
    assert Instance.objects.count() == Counter.of(account, "instance") == Counter.of(account, "vcpu") == 5
    assert Event.objects.filter(type="instance.requested").count() == 5


def test_the_last_api_key_of_a_plan_is_made_once(account):
    for _ in range(account.plan.max_api_keys - 1):
        make.make_key(account)
    results = at_once(*[lambda: make.make_key(account)] * 6)
    assert len(refusals(results)) == 5
    assert ApiKey.objects.working().count() == account.plan.max_api_keys


def test_a_public_key_added_twice_at_once_is_there_once(account):
    results = at_once(*[lambda: ssh_keys.add(account=account, by=SYSTEM, name="x", public_key=make.PUBLIC_KEY)] * 6)
    assert [type(result) for result in refusals(results)] == [SshKeyExists] * 5
    assert Counter.of(account, "ssh_key") == 1


def test_of_many_stops_one_counts(account):
    row = make.make_instance(account)
    results = at_once(*[lambda: instances.stop(instance=fresh(row), by=SYSTEM)] * 6)
    assert refusals(results) == []
    assert (fresh(row).state, fresh(row).generation) == ("stopping", 2)
    assert Event.objects.filter(type="instance.updated").count() == 1


@pytest.mark.parametrize("verb", [instances.stop, instances.restart])
def test_deleting_wins_over_whatever_else_is_asked_at_the_same_time(account, verb):
    row = make.make_instance(account)
    at_once(lambda: verb(instance=fresh(row), by=SYSTEM), lambda: instances.delete(instance=fresh(row), by=SYSTEM))
    assert fresh(row).state == "deleting"
    instances.mark_deleted(instance=fresh(row))
    assert Counter.of(account, "instance") == 0


def test_two_workers_that_finish_at_once_tell_it_once(account):
    row = make.make_instance(account, state="provisioning")
    seen = [fresh(row) for _ in range(4)]
    results = at_once(
        *[lambda one=one: instances.mark_running(instance=one, observed=make.observed(one)) for one in seen]
    )
    told = Event.objects.filter(subject_id=row.pk, type="instance.created")
    assert told.count() == 1
    assert len([meter for event in Event.objects.filter(subject_id=row.pk) for meter in event.meters]) == 1
    assert [type(refused) for refused in refusals(results)] == [StateChanged] * 3


def test_names_and_tags_changed_at_once_are_all_kept(account):
    row = make.make_instance(account)
    at_once(*[lambda key=key: instances.update(instance=fresh(row), by=SYSTEM, tags={key: "x"}) for key in "abcdef"])
    assert fresh(row).tags == dict.fromkeys("abcdef", "x")


def test_two_sweeps_at_once_take_each_row_once(account):
    for _ in range(5):
        make.make_instance(account, state="pending")
    Instance.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    taken = at_once(*[lambda: instances.take_due(now=timezone.now())] * 4)
    assert sorted(row.pk for rows in taken for row in rows) == sorted(Instance.objects.values_list("pk", flat=True))


def test_a_key_is_rotated_once_by_two_who_try_at_once(account):
    key, _ = make.make_key(account)
    grantable = make.owner_of(account).scopes
    results = at_once(*[lambda: api_keys.rotate(key=key, by=SYSTEM, grantable=grantable)] * 4)
    assert len(refusals(results)) == 3
    assert ApiKey.objects.count() == 2
