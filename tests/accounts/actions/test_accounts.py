"""Accounts and their owners."""

import pytest
from django.contrib.auth import authenticate

from accounts.actions import accounts
from accounts.models import Account, Membership
from core.context import SYSTEM
from core.errors import Invalid
from core.models import Event
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]


def test_a_new_account_has_its_owner_and_the_free_plan():
    alice = make.make_user()
    account = accounts.create(name="  Alice's  ", owner=alice, by=alice.actor)
    assert (account.name, account.plan.slug, account.status) == ("Alice's", "free", "active")
    assert Membership.objects.get(account=account).role == "owner"
    assert set(Event.objects.filter(account_id=account.pk).values_list("type", flat=True)) == {
        "account.updated",
        "member.joined",
    }


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_a_name_of_1_to_100_characters_is_needed(name):
    account = make.make_account()
    with pytest.raises(Invalid) as refused:
        accounts.create(name=name, owner=make.make_user(), by=SYSTEM)
    assert refused.value.errors[0].field == "name"
    with pytest.raises(Invalid):
        accounts.update(account=account, name=name, by=SYSTEM)
    assert Account.objects.get().name == "Alice's"


def test_an_unknown_plan_is_refused_and_those_on_sale_are_named():
    with pytest.raises(Invalid) as refused:
        accounts.create(name="x", owner=make.make_user(), plan="gold", by=SYSTEM)
    assert refused.value.errors[0].allowed_values == ["free", "professional", "enterprise"]


def test_a_plan_is_changed_on_record():
    account = accounts.change_plan(account=make.make_account(plan="free"), plan="professional", by=SYSTEM)
    assert Account.objects.get(pk=account.pk).plan.slug == "professional"
    assert Event.objects.first().data["plan"] == "professional"


def test_a_suspension_needs_a_reason_that_the_customer_may_read():
    account = make.make_account()
    with pytest.raises(Invalid):
        accounts.suspend(account=account, reason=" ", by=SYSTEM)
    accounts.suspend(account=account, reason="Unpaid invoices.", by=SYSTEM)
    assert Account.objects.get(pk=account.pk).status == "suspended"
    for _ in range(2):
        accounts.resume(account=account, by=SYSTEM)
    assert Account.objects.get(pk=account.pk).status == "active"
    types = list(
        Event.objects.filter(type__in=["account.suspended", "account.resumed"])
        .order_by("seq")
        .values_list("type", "data")
    )
    assert [name for name, _ in types] == ["account.suspended", "account.resumed"]
    assert types[0][1]["reason"] == "Unpaid invoices."


def test_a_user_signs_in_with_the_address_in_any_case():
    make.make_user("Alice", password=make.PASSWORD)
    user = accounts.create_user(email="Bob.Builder@Example.COM", password=make.PASSWORD, by=SYSTEM)
    assert user.email == "bob.builder@example.com"
    assert authenticate(None, email="BOB.builder@example.com", password=make.PASSWORD) == user
    assert authenticate(None, email="bob.builder@example.com", password="wrong") is None
