"""`atomic_write`: one writer at a time, in order, and all or nothing."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from django.db import connection, transaction

from core import db
from core.db import atomic_write
from core.models import Counter
from tests import make

pytestmark = pytest.mark.db
commits = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def account(db):
    return make.make_account()


def count(account):
    return Counter.of(account, "things")


def add(account):
    Counter.objects.filter(account_id=account.pk, kind="things").update(count=Counter.of(account, "things") + 1)


@pytest.fixture
def counter(account):
    Counter.objects.create(account_id=account.pk, kind="things")
    return account


def test_an_exception_undoes_everything_inside(counter):
    with pytest.raises(ZeroDivisionError), atomic_write():
        add(counter)
        1 / 0  # noqa: B018
    assert count(counter) == 0
    assert not db.writing()


def test_an_inner_block_joins_the_outer_one_so_both_are_undone(counter):
    with pytest.raises(ZeroDivisionError), atomic_write():
        with atomic_write():
            add(counter)
        assert db.writing()
        1 / 0  # noqa: B018
    assert count(counter) == 0


def test_a_failure_of_an_inner_block_cannot_be_swallowed_by_the_outer_one(counter):
    """Half a verb must never commit: after the inner failure the outer transaction can only be undone."""
    with pytest.raises(transaction.TransactionManagementError), atomic_write():
        add(counter)
        try:
            with atomic_write():
                1 / 0  # noqa: B018
        except ZeroDivisionError:
            pass
        add(counter)
    assert count(counter) == 0


def test_as_a_decorator_it_may_call_itself(counter):
    @atomic_write()
    def climb(steps):
        add(counter)
        if steps:
            climb(steps - 1)

    climb(3)
    assert count(counter) == 4
    assert not db.writing()


@commits
def test_what_happens_after_the_commit_may_write_and_keeps_no_other_writer_waiting(counter):
    seen = []

    def write():
        with atomic_write():
            add(counter)
        seen.append(count(counter))

    def other_thread():
        write()
        connection.close()

    def afterwards():
        assert not db.writing()
        write()
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()

    with atomic_write():
        add(counter)
        transaction.on_commit(afterwards)
    assert seen == [2, 3]


@commits
@pytest.mark.only("sqlite")  # PostgreSQL lets several write at once
def test_another_thread_waits_until_the_first_has_committed(counter):
    order = []

    def second():
        with atomic_write():
            order.append("second")
            add(counter)
        connection.close()

    with atomic_write():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
        add(counter)
    thread.join(10)
    assert order == ["first", "second"]
    assert count(counter) == 2


WRITER = """
    import django
    django.setup()
    import json, sys, time
    from django.db import connections
    connections["default"].settings_dict["NAME"] = sys.argv[1]
    connections["default"].settings_dict["OPTIONS"]["timeout"] = 0.05  # without the lock: locked
    from core.db import atomic_write
    from core.models import Counter
    worst, wrote, end = 0.0, 0, time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        began = time.monotonic()
        with atomic_write():
            worst = max(worst, time.monotonic() - began)
            row = Counter.objects.get(kind="things")
            row.count += 1  # read, then write: what two writers at once would lose
            row.save()
        wrote += 1
    print(json.dumps([wrote, worst]))
"""


@pytest.mark.slow
@commits
@pytest.mark.only("sqlite")
def test_four_processes_write_in_turn_and_none_meets_a_locked_database_or_starves(counter):
    import json

    name = str(connection.settings_dict["NAME"])
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), name, "2"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    outputs = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, outputs
    results = [json.loads(output) for output, _ in outputs]
    wrote = [number for number, _ in results]
    assert count(counter) == sum(wrote)
    assert min(wrote) > 0.1 * max(wrote), wrote
    assert max(worst for _, worst in results) < 1.5
