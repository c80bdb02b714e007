"""Lifecycles: a row moves along its table, once, and late callers move nothing."""

import pytest

from compute.models import Instance
from compute.models.instance import LIFECYCLE
from core.states import Lifecycle, StateChanged
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]


def test_a_row_moves_along_its_table_and_takes_its_fields_with_it():
    row = make.make_instance(state="pending")
    LIFECYCLE.advance(row, "provisioning", status_reason="being made")
    stored = Instance.objects.get(pk=row.pk)
    assert (stored.state, stored.status_reason, stored.version) == ("provisioning", "being made", 2)
    assert (row.state, row.status_reason, row.version) == ("provisioning", "being made", 2)


def test_a_step_that_the_table_does_not_have_is_refused_and_changes_nothing():
    row = make.make_instance(state="pending")
    with pytest.raises(ValueError, match="cannot go from pending to stopped"):
        LIFECYCLE.advance(row, "stopped")
    assert Instance.objects.get(pk=row.pk).state == row.state == "pending"


def test_of_two_callers_who_saw_the_same_state_exactly_one_wins():
    row = make.make_instance(state="pending")
    first, second = (Instance.objects.get(pk=row.pk) for _ in range(2))
    LIFECYCLE.advance(first, "provisioning")
    with pytest.raises(StateChanged):
        LIFECYCLE.advance(second, "error", status_reason="too late")
    stored = Instance.objects.get(pk=row.pk)
    assert (stored.state, stored.status_reason) == ("provisioning", "")
    assert second.state == "pending"


def test_the_same_state_of_an_older_generation_is_another_life():
    row = make.make_instance(state="stopped")
    late = Instance.objects.get(pk=row.pk)
    Instance.objects.filter(pk=row.pk).update(generation=row.generation + 2)
    with pytest.raises(StateChanged):
        LIFECYCLE.advance(late, "starting")


def test_a_row_that_is_gone_cannot_move():
    row = make.make_instance(state="pending")
    Instance.objects.filter(pk=row.pk).delete()
    with pytest.raises(StateChanged):
        LIFECYCLE.advance(row, "provisioning")


def test_sources_follow_from_the_table():
    table = Lifecycle({"red": {"green"}, "amber": {"red"}, "green": {"amber", "off"}})
    assert table.sources("red") == ["amber"]
    assert table.sources("off") == ["green"]
    assert table.sources("blue") == []


def test_every_state_of_an_instance_leads_to_its_deletion_and_only_deleted_is_final():
    assert set().union(*LIFECYCLE.transitions.values()) - set(LIFECYCLE.transitions) == {"deleted"}
    assert set(LIFECYCLE.sources("deleting")) == set(LIFECYCLE.transitions) - {"deleting"}
