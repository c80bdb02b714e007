"""Operators and the catalogue: each change is on record as theirs, and binds the next request."""

import pytest
from django.forms import model_to_dict
from django.test import TestCase
from django.urls import reverse

from catalog.models import Image, Price, Region
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return make.make_operator()


@pytest.fixture
def operator(user):
    return make.sign_in(user)


def post(browser, model, page, *arguments, **form):
    path = reverse(f"admin:catalog_{model._meta.model_name}_{page}", args=arguments)
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert browser.post(path, form).status_code == 302


def recorded(user):
    """Type and data of what was recorded of the catalogue, oldest first."""
    events = Event.objects.filter(type__startswith="catalog.").order_by("seq")
    assert {(event.actor_id, event.via, event.account_id) for event in events} == {(user.public_id, "admin", None)}
    return [(event.type, event.data) for event in events]


def test_a_changed_entry_is_on_record_with_its_new_values_and_binds_at_once(user, operator):
    row = Region.objects.get(slug="us-east-1")
    assert Region.objects.named("us-east-1") == row
    post(operator, Region, "change", row.pk, **model_to_dict(row, ["name", "country", "position"]), aliases='["home"]')
    assert Region.objects.named("us-east-1") is None
    facts = {"kind": "region", "name": "us-east-1", "changed": {"aliases": ["home"], "on_sale": False}}
    assert recorded(user) == [("catalog.updated", facts)]


def test_a_new_price_and_what_was_removed_are_on_record(user, operator):
    price = {
        "sku": "thing",
        "unit": "hour",
        "unit_price": "0.5",
        "currency": "USD",
        "effective_from": "2026-01-01 00:00",
    }
    post(operator, Price, "add", **price)
    one, *more = Image.objects.all()
    post(operator, Image, "delete", one.pk, post="yes")
    keys = [row.pk for row in more]
    post(operator, Image, "changelist", action="delete_selected", _selected_action=keys, post="yes")
    assert not Image.objects.exists()
    (added, told), *removed = recorded(user)
    assert (added, told["kind"], told["changed"]["unit_price"]) == ("catalog.added", "price", "0.500000000000")
    assert [(type, facts["name"]) for type, facts in removed] == [("catalog.removed", row.slug) for row in (one, *more)]
