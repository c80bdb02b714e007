"""Driving machines: what was asked for comes to be, whatever fails on the way, and late results move nothing.

Over 300 lines long, because each way of failing is a story of its own.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.test import TestCase
from django.utils import timezone

from compute import tasks
from compute.actions import instances
from compute.drivers.base import Capacity, Conflict, Fatal, InstanceSpec, NotFound, Retryable, Unsupported
from compute.models import Instance, Node
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def machines():
    driver = make.machines()
    driver.reset()
    return driver


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def ask(account):
    """Call a verb as a request would: the row as it is now, and the nudge after its commit."""

    def call(verb, row=None, **arguments):
        with TestCase.captureOnCommitCallbacks(execute=True):
            if row is None:
                return verb(account=account, by=SYSTEM, **(make.WANTED | arguments))
            return verb(instance=row, by=SYSTEM, **arguments)

    return call


@pytest.fixture
def running(ask, machines):
    row = ask(instances.create)
    make.work()
    return fresh(row)


def fresh(row):
    return Instance.objects.select_related("account__plan").filter(pk=row.pk).first()


def later(seconds):
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds))


def sweep():
    with TestCase.captureOnCommitCallbacks(execute=True):
        tasks.sweep()
    return make.work()


def types(row):
    return list(Event.objects.filter(subject_id=row.pk).order_by("seq").values_list("type", flat=True))


def test_an_accepted_instance_comes_to_run(running, machines):
    assert (running.state, running.ready, running.status_reason) == ("running", True, "")
    assert running.next_attempt_at is None
    machine = machines.get(running.public_id)
    assert (machine.state, machine.generation) == ("running", running.generation)
    assert running.public_ip == machine.endpoint.host
    assert running.boot_id == machine.boot_id
    assert types(running) == ["instance.requested", "instance.created", "instance.ready"]


def test_one_made_to_be_stopped_is_made_and_stays_stopped(ask, machines):
    row = ask(instances.create, start=False)
    make.work()
    assert fresh(row).state == "stopped"
    assert machines.get(row.public_id).state == "stopped"


def test_the_machine_is_made_as_it_was_ordered(account, ask, machines, monkeypatch):
    key = make.make_ssh_key(account)
    seen = []
    monkeypatch.setattr(type(machines), "create", lambda self, spec: seen.append(spec) or make.observed(row))
    row = ask(
        instances.create, name="Größe & co!", user_data="#!/bin/sh\necho hi", ssh_keys=["laptop"], public_ip=False
    )
    make.work()
    assert seen == [
        InstanceSpec(
            id=row.public_id,
            hostname="groe-co",
            image="ubuntu-22.04",
            vcpus=1,
            memory_mb=1024,
            disk_gb=10,
            ssh_keys=(key.public_key,),
            user_data="#!/bin/sh\necho hi",
            start=True,
            public_ip=False,
            generation=1,
        )
    ]


@pytest.mark.parametrize(
    ("verb", "arguments", "state", "event"),
    [
        (instances.stop, {}, "stopped", "instance.stopped"),
        (instances.restart, {}, "running", "instance.restarted"),
        (instances.resize, {"instance_type": "compute-2x", "restart": True}, "running", "instance.resized"),
        (instances.rebuild, {"image": "debian-12"}, "running", "instance.rebuilt"),
    ],
)
def test_each_verb_reaches_the_machine(running, ask, machines, verb, arguments, state, event):
    boot = machines.get(running.public_id).boot_id
    ask(verb, running, **arguments)
    make.work()
    row, machine = fresh(running), machines.get(running.public_id)
    assert row.state == machine.state == state
    assert machine.generation == row.generation == 2
    assert machine.boot_id != boot
    assert event in types(row)


def test_a_deleted_instance_leaves_no_machine_and_no_row(running, ask, machines):
    ask(instances.delete, running)
    make.work()
    assert fresh(running) is None
    assert machines.list() == []
    assert types(running)[-1] == "instance.deleted"


def test_a_stopped_instance_starts_again_at_its_address(running, ask, machines):
    ask(instances.stop, running)
    make.work()
    ask(instances.start, running)
    make.work()
    row = fresh(running)
    assert (row.state, row.public_ip) == ("running", running.public_ip)
    assert "instance.started" in types(row)


def test_force_kills_at_once(running, ask, machines, monkeypatch):
    graces = []
    monkeypatch.setattr(
        type(machines), "stop", lambda self, id, *, generation, grace_seconds=10: graces.append(grace_seconds)
    )
    ask(instances.stop, running, force=True)
    make.work()
    assert graces == [0]


@pytest.mark.parametrize("error", [Capacity, Unsupported, Fatal, Conflict, NotFound])
def test_what_trying_again_would_not_help_ends_in_error_with_the_drivers_reason(ask, machines, error):
    machines.fail_next("create", error("There is no room: 3 of 3 GB are in use."))
    row = ask(instances.create)
    make.work()
    row = fresh(row)
    assert (row.state, row.status_reason) == ("error", "There is no room: 3 of 3 GB are in use.")
    assert row.next_attempt_at is None
    assert types(row)[-1] == "instance.failed"
    assert Event.objects.filter(subject_id=row.pk).latest("seq").data["reason"] == row.status_reason


def test_an_instance_in_error_is_made_when_it_is_started(ask, machines):
    machines.fail_next("create", Capacity("Full."))
    row = ask(instances.create)
    make.work()
    ask(instances.start, row)
    make.work()
    assert fresh(row).state == machines.get(row.public_id).state == "running"


def test_an_instance_in_error_can_be_deleted(ask, machines):
    machines.fail_next("create", Fatal("Broken."))
    row = ask(instances.create)
    make.work()
    ask(instances.delete, row)
    make.work()
    assert fresh(row) is None


def test_what_may_pass_is_tried_again_ever_more_slowly_and_says_why_meanwhile(ask, machines):
    machines.fail_next("create", Retryable("The agent restarts."), times=4)
    row = ask(instances.create)
    make.work()
    waits = []
    for _ in range(3):
        row = fresh(row)
        assert (row.state, row.status_reason) == ("provisioning", "The agent restarts.")
        waits.append(round((row.next_attempt_at - timezone.now()).total_seconds()))
        tasks.reconcile(instance_id=str(row.pk))
    assert waits == [1, 2, 4]
    tasks.reconcile(instance_id=str(row.pk))
    row = fresh(row)
    assert (row.state, row.status_reason, row.attempts) == ("running", "", 0)


def test_the_pause_between_attempts_has_a_ceiling():
    row = make.make_instance(state="provisioning")
    Instance.objects.filter(pk=row.pk).update(attempts=3000)
    instances.postpone(instance=fresh(row), reason="still")
    assert fresh(row).next_attempt_at - timezone.now() < timedelta(seconds=301)


@pytest.mark.parametrize("error", [Retryable, Fatal, Capacity])
def test_deleting_is_tried_until_it_is_done(running, ask, machines, error):
    machines.fail_next("delete", error("The disk is busy."), times=2)
    ask(instances.delete, running)
    make.work()
    assert (fresh(running).state, fresh(running).status_reason) == ("deleting", "The disk is busy.")
    for seconds in (10, 30):
        with later(seconds):
            sweep()
    assert fresh(running) is None
    assert machines.list() == []


@pytest.mark.parametrize("error", [Retryable("late"), Fatal("late"), Conflict("late")])
def test_a_worker_whose_call_failed_after_another_succeeded_touches_nothing(ask, machines, monkeypatch, error):
    """A slow first call fails while the second worker's call has brought the machine up."""
    row = ask(instances.create)
    create = type(machines).create

    def slow(self, spec):
        monkeypatch.setattr(type(machines), "create", create)
        tasks.reconcile(instance_id=str(row.pk))  # the other worker, meanwhile
        raise error

    monkeypatch.setattr(type(machines), "create", slow)
    make.work()
    row = fresh(row)
    assert (row.state, row.status_reason, row.next_attempt_at, row.attempts) == ("running", "", None, 0)


def test_a_worker_whose_call_succeeded_after_the_user_changed_their_mind_touches_nothing(ask, machines, monkeypatch):
    row = ask(instances.create)
    create = type(machines).create

    def slow(self, spec):
        made = create(self, spec)
        instances.delete(instance=row, by=SYSTEM)
        return made

    monkeypatch.setattr(type(machines), "create", slow)
    make.work()
    assert "instance.created" not in types(row)
    assert fresh(row) is None
    assert machines.list() == []


def test_renaming_while_it_is_made_survives_the_machine_coming_up(ask, machines, monkeypatch):
    row = ask(instances.create)
    create = type(machines).create

    def slow(self, spec):
        instances.update(instance=fresh(row), by=SYSTEM, name="renamed")
        return create(self, spec)

    monkeypatch.setattr(type(machines), "create", slow)
    make.work()
    assert (fresh(row).name, fresh(row).state) == ("renamed", "running")


def test_a_machine_that_is_up_but_does_not_answer_yet_becomes_ready_later(ask, machines, monkeypatch):
    create = type(machines).create
    monkeypatch.setattr(type(machines), "create", lambda self, spec: replace(create(self, spec), ready=False))
    row = ask(instances.create)
    make.work()
    assert (fresh(row).state, fresh(row).ready) == ("running", False)
    with later(2):
        sweep()
    assert fresh(row).ready
    assert types(row)[-1] == "instance.ready"


def test_reconciling_what_is_settled_or_gone_does_nothing(running, machines):
    count, version = Event.objects.count(), running.version
    calls = machines.calls("get")
    tasks.reconcile(instance_id=str(running.pk))
    tasks.reconcile(instance_id="01900000-0000-7000-8000-000000000000")
    assert Event.objects.count() == count
    assert fresh(running).version == version
    assert machines.calls("get") == calls


class TestTheSweep:
    def test_finds_a_row_whose_nudge_was_lost(self, account, machines):
        row = make.make_instance(account, state="pending")  # no commit, so no nudge
        assert sweep() == []  # it was made a moment ago: the nudge may still come
        with later(16):
            assert sweep() == ["compute.reconcile"]
        assert fresh(row).state == "running"

    def test_takes_each_row_once(self, account):
        make.make_instance(account, state="pending")
        with later(16):
            assert len(instances.take_due(now=timezone.now())) == 1
            assert instances.take_due(now=timezone.now()) == []

    def test_starts_again_what_stopped_by_itself(self, running, machines):
        machines.go_down(running.public_id)
        assert sweep() == ["compute.reconcile"]
        row = fresh(running)
        assert (row.state, row.ready, row.status_reason) == ("running", True, "")
        assert machines.get(row.public_id).state == "running"
        assert types(row)[-3:] == ["instance.updated", "instance.started", "instance.ready"]

    def test_makes_again_what_vanished(self, running, machines):
        machines.reset()
        sweep()
        assert fresh(running).state == machines.get(running.public_id).state == "running"

    def test_leaves_alone_what_came_up_after_it_looked(self, ask, machines, monkeypatch):
        """The list of machines is older than the rows it is compared with."""
        row = ask(instances.create)
        look = type(machines).list

        def slow(self):
            seen = look(self)
            make.work()  # meanwhile a worker brings it up
            return seen

        monkeypatch.setattr(type(machines), "list", slow)
        assert sweep() == []
        assert (fresh(row).state, fresh(row).generation) == ("running", 1)

    def test_leaves_alone_what_the_user_stopped(self, running, ask, machines):
        ask(instances.stop, running)
        make.work()
        assert sweep() == []
        assert fresh(running).state == machines.get(running.public_id).state == "stopped"

    def test_removes_a_machine_that_was_deleted_here(self, running, ask, machines, monkeypatch):
        monkeypatch.setattr(type(machines), "delete", lambda self, id, *, generation: None)
        ask(instances.delete, running)
        make.work()
        monkeypatch.undo()
        assert len(machines.list()) == 1
        sweep()
        assert machines.list() == []

    def test_leaves_alone_a_machine_that_the_log_does_not_know(self, running, machines, caplog):
        """A restored backup knows less than the machines."""
        Event.objects.all()._raw_delete("default")
        Instance.objects.all()._raw_delete("default")
        sweep()
        assert [machine.id for machine in machines.list()] == [running.public_id]
        assert "left alone" in caplog.text

    def test_is_not_stopped_by_a_machine_whose_name_is_no_id(self, running, machines, caplog):
        machines.create(InstanceSpec("by-hand", "h", "debian-12", 1, 512, 1, ()))
        machines.go_down(running.public_id)
        sweep()
        assert "by-hand" in caplog.text
        assert fresh(running).state == "running"

    def test_notes_what_the_node_can_do(self, machines):
        sweep()
        node = Node.objects.get()
        assert (node.ok, node.os, node.tier) == (True, "Fake OS 1", "fake")

    def test_does_not_call_a_node_broken_that_just_restarts_but_soon_after(self, machines):
        sweep()
        machines.fail_next("list", Retryable("The agent does not answer."), times=2)
        sweep()
        assert Node.objects.get().ok
        with later(31):
            sweep()
        node = Node.objects.get()
        assert (node.ok, node.reason) == (False, "The agent does not answer.")
        assert node.remedy
        sweep()
        assert Node.objects.get().ok

    def test_loses_nothing_when_the_node_goes_away_in_the_middle(self, running, machines):
        machines.go_down(running.public_id)
        machines.fail_next("get", Retryable("gone"))
        sweep()
        assert fresh(running).generation == 1
        sweep()
        assert fresh(running).generation == 2


def test_a_node_that_cannot_run_instances_says_so_in_words(machines):
    machines.fail_next("probe", Fatal("User namespaces are off."))
    tasks.sweep()
    assert Node.objects.get().reason == "User namespaces are off."
