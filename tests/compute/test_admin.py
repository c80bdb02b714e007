"""Operators and machines: what the admin offers for an instance, and that trying again is on record."""

import pytest
from django.urls import reverse

from compute.actions import instances
from compute.models import Instance
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("state", "offered"),
    [("running", {"stop"}), ("stopped", {"start"}), ("error", {"retry", "start"}), ("provisioning", {"retry"})],
)
def test_a_row_offers_what_can_be_done_with_it(state, offered):
    row = make.make_instance(state=state)
    page = make.sign_in(make.make_operator()).get(reverse("admin:compute_instance_change", args=[row.pk]))
    assert {name for name, _ in page.context["verbs"]} == offered


def test_trying_again_does_what_was_asked_for_last():
    row = make.make_instance(state="error")
    Instance.objects.update(desired_state="stopped")
    assert instances.retry(instance=row, by=make.SYSTEM).state == "stopping"


def test_a_retry_by_an_operator_is_on_record_as_theirs():
    operator, row = make.make_operator(), make.make_instance(state="starting")
    chosen = {"action": "retry", "_selected_action": [row.pk]}
    make.sign_in(operator).post(reverse("admin:compute_instance_changelist"), chosen)
    event = Event.objects.first()
    assert (event.type, event.actor_id, event.via) == ("instance.updated", operator.public_id, "admin")
