"""Operators and webhooks: their pages show no secret, what can be done there is done by verbs, and looking is not doing."""

import pytest
from django.urls import reverse

from core.models import Event
from tests import make
from webhooks.actions import endpoints
from webhooks.models import Attempt, Cursor, Delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return make.make_operator()


@pytest.fixture
def endpoint():
    return make.make_webhook(make.make_account())


def post(user, action, row):
    page = reverse(f"admin:webhooks_{row._meta.model_name}_changelist")
    answer = make.sign_in(user).post(page, {"action": action, "_selected_action": [row.pk]}, follow=True)
    row.refresh_from_db()
    return answer.content.decode()


def test_every_page_opens_and_shows_no_secret(operator, endpoint):
    delivery = make.make_delivery(endpoint)
    Attempt.objects.create(
        delivery=delivery, number=1, at=delivery.created_at, url=endpoint.url, duration_ms=40, response_body="thanks"
    )
    cursor = Cursor.objects.get_or_create(id=1)[0]
    browser = make.sign_in(operator)
    for row in (endpoint, delivery, cursor):
        name = f"admin:webhooks_{row._meta.model_name}"
        for path in (reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk])):
            page = browser.get(path)
            assert page.status_code == 200
            assert endpoint.sealed_secret not in page.content.decode()
    assert "thanks" in browser.get(reverse("admin:webhooks_delivery_change", args=[delivery.pk])).content.decode()


def test_a_webhook_is_disabled_and_enabled_on_record_as_the_operators(operator, endpoint):
    assert "It is disabled." in post(operator, "disable", endpoint)
    assert endpoint.state == "disabled"
    assert "It is enabled." in post(operator, "enable", endpoint)
    assert endpoint.state == "active"
    events = Event.objects.filter(type="webhook.updated")
    assert [(event.actor_id, event.via) for event in events] == [(operator.public_id, "admin")] * 2


def test_a_delivery_is_sent_again_unless_its_webhook_is_disabled(operator, endpoint):
    delivery = make.make_delivery(endpoint)
    Delivery.objects.update(state="failed", next_attempt_at=None)
    assert "It is being sent again." in post(operator, "send_again", delivery)
    assert delivery.state == "pending"
    Delivery.objects.update(state="failed", next_attempt_at=None)
    post(operator, "disable", endpoint)
    assert "The webhook is disabled" in post(operator, "send_again", delivery)
    assert delivery.state == "failed"


@pytest.mark.parametrize(("status", "offered"), [("active", "disable"), ("disabled", "enable")])
def test_a_webhook_offers_what_can_be_done_with_it(operator, endpoint, status, offered):
    endpoints.update(endpoint=endpoint, by=make.SYSTEM, status=status)
    page = make.sign_in(operator).get(reverse("admin:webhooks_endpoint_change", args=[endpoint.pk]))
    assert [name for name, _ in page.context["verbs"]] == [offered]


def test_a_deleted_webhook_offers_nothing_and_stays_deleted(operator, endpoint):
    endpoints.delete(endpoint=endpoint, by=make.SYSTEM)
    page = make.sign_in(operator).get(reverse("admin:webhooks_endpoint_change", args=[endpoint.pk]))
    assert page.context["verbs"] == []
    post(operator, "enable", endpoint)
    assert endpoint.state == "deleted"


def test_who_may_only_look_changes_nothing(endpoint):
    delivery = make.make_delivery(endpoint)
    Delivery.objects.update(state="failed", next_attempt_at=None)
    looker = make.make_operator(["webhooks.view_endpoint", "webhooks.view_delivery"])
    post(looker, "disable", endpoint)
    post(looker, "send_again", delivery)
    assert (endpoint.state, delivery.state) == ("active", "failed")
