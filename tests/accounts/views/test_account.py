"""Settings → Account, several accounts for one user, and leaving one."""

import pytest
from django.test import Client

from accounts.models import Account, Membership
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make.make_account(name="Northwind Labs")


@pytest.fixture
def owner(alice):
    return make.sign_in(make.owner_of(alice).user)


def test_the_name_is_changed_and_the_plan_shown(alice, owner):
    assert "Enterprise" in owner.get("/settings/account").text
    assert "Saved." in owner.post("/settings/account", {"name": "Northwind"}, follow=True).text
    alice.refresh_from_db()
    assert (alice.name, alice.require_mfa) == ("Northwind", False)
    assert owner.post("/settings/account", {"name": " "}).status_code == 422


def test_who_may_only_read_the_account_cannot_change_it(alice):
    viewer = make.sign_in(make.make_member(alice, "viewer").user)
    assert "disabled" in viewer.get("/settings/account").text
    assert viewer.post("/settings/account", {"name": "Mine"}).status_code == 403


def test_a_user_makes_a_further_account_and_goes_from_one_to_the_other(alice, owner):
    made = owner.post("/settings/accounts/new", {"name": "Side project"}, follow=True)
    assert made.wsgi_request.account.name == "Side project"
    back = owner.post("/settings/accounts/switch", {"account": alice.public_id, "next": "/instances"}, follow=True)
    assert back.redirect_chain[-1][0] == "/instances"
    assert back.wsgi_request.account == alice
    assert Membership.objects.get(account=Account.objects.get(name="Side project")).role == "owner"


def test_nobody_gets_into_an_account_by_asking_for_it(owner):
    charlies = make.make_account(name="Charlie's")
    answer = owner.post("/settings/accounts/switch", {"account": charlies.public_id}, follow=True)
    assert "do not belong" in answer.text
    assert answer.wsgi_request.account != charlies


def test_switching_leads_to_no_other_site(alice, owner):
    answer = owner.post("/settings/accounts/switch", {"account": alice.public_id, "next": "https://evil.example/"})
    assert answer["Location"] == "/"


def test_switching_needs_the_forms_token_and_a_post(alice):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(make.owner_of(alice).user, "allauth.account.auth_backends.AuthenticationBackend")
    assert browser.post("/settings/accounts/switch", {"account": alice.public_id}).status_code == 403
    assert browser.get("/settings/accounts/switch").status_code == 405


def test_a_member_leaves_and_the_last_owner_cannot(alice, owner):
    bob = make.make_member(alice, "viewer")
    left = make.sign_in(bob.user).post("/settings/account/leave", follow=True)
    assert "You have left Northwind Labs" in left.text
    assert not Membership.objects.filter(user=bob.user).exists()
    refused = owner.post("/settings/account/leave", follow=True)
    assert "last owner" in refused.text
    assert Membership.objects.filter(account=alice).count() == 1
