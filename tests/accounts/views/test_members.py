"""Settings → Members, and the link of an invitation: for who is signed in, who is not, and who is somebody else."""

import re

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client, TestCase

from accounts.models import Account, Membership, User
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make.make_account(name="Northwind Labs")


@pytest.fixture
def owner(alice):
    return make.sign_in(make.owner_of(alice).user)


def post(client: Client, path: str, **fields):
    with TestCase.captureOnCommitCallbacks(execute=True):
        return client.post(path, fields, follow=True)


def invite(client: Client, email: str, role: str = "developer") -> str:
    """The path that the mailed link leads to."""
    response = post(client, "/settings/members/invite", email=email, role=role)
    assert "is on its way" in response.text
    make.work()
    assert mail.outbox[-1].to == [email]
    return re.search(r"/invitations/\S+", mail.outbox[-1].body)[0]


def test_somebody_with_a_sign_in_joins_by_the_link_and_acts_for_the_account(alice, owner):
    bob = make.make_user("bob")
    link = invite(owner, bob.email)
    browser = make.sign_in(bob)
    page = browser.get(link)
    assert "Join Northwind Labs" in page.text
    assert Membership.objects.filter(account=alice).count() == 1, "looking is not accepting"
    joined = post(browser, link)
    assert "Welcome to Northwind Labs" in joined.text
    assert Membership.objects.get(account=alice, user=bob).role == "developer"
    assert browser.get("/instances").wsgi_request.account == alice
    assert Event.objects.filter(type="member.joined", account_id=alice.pk).count() == 2


def test_somebody_new_signs_up_by_the_link_and_is_a_member_without_another_mail(alice, owner):
    link = invite(owner, "carol@example.com", "billing")
    browser = Client()
    page = browser.get(link)
    assert "Create your sign-in" in page.text
    form = re.search(r'href="(/accounts/signup/[^"]*)"', page.text)[1]
    assert 'value="carol@example.com"' in browser.get(form).text
    mails = len(mail.outbox)
    home = post(browser, "/accounts/signup/", email="carol@example.com", password1=make.PASSWORD)
    carol = User.objects.get(email="carol@example.com")
    assert home.redirect_chain[-1][0] == "/"
    assert home.wsgi_request.user == carol
    assert [m.account for m in Membership.objects.filter(user=carol)] == [alice]
    assert Membership.objects.get(user=carol).role == "billing"
    assert EmailAddress.objects.get(user=carol).verified, "the link was mailed to that address alone"
    assert len(mail.outbox) == mails
    assert Account.objects.count() == 1


def test_who_signs_up_with_another_address_gets_an_account_of_their_own(alice, owner):
    link = invite(owner, "carol@example.com")
    browser = Client()
    browser.get(link)
    post(browser, "/accounts/signup/", email="mallory@example.com", password1=make.PASSWORD)
    mallory = User.objects.get(email="mallory@example.com")
    assert not Membership.objects.filter(user=mallory, account=alice).exists()
    assert not EmailAddress.objects.get(user=mallory).verified


def test_an_invitation_cancelled_before_the_sign_up_makes_nobody_a_member(alice, owner):
    link = invite(owner, "carol@example.com")
    browser = Client()
    browser.get(link)
    invited = Membership.with_invited.get(email="carol@example.com")
    post(owner, f"/settings/members/{invited.public_id}/remove")
    post(browser, "/accounts/signup/", email="carol@example.com", password1=make.PASSWORD)
    assert Membership.objects.filter(account=alice).count() == 1


def test_the_link_is_of_no_use_to_another_user(alice, owner):
    link = invite(owner, "carol@example.com")
    charlie = make.make_user("charlie")
    browser = make.sign_in(charlie)
    assert "is for <strong>carol@example.com</strong> alone" in browser.get(link).text
    post(browser, link)
    assert not Membership.objects.filter(account=alice, user=charlie).exists()


def test_an_address_that_is_not_confirmed_proves_nothing(alice, owner):
    link = invite(owner, "carol@example.com")
    charlie = make.make_user("charlie")
    EmailAddress.objects.create(user=charlie, email="carol@example.com", verified=False)
    post(make.sign_in(charlie), link)
    assert not Membership.objects.filter(account=alice, user=charlie).exists()


def test_nobody_joins_by_a_link_without_signing_in(alice, owner):
    link = invite(owner, make.make_user("bob").email)
    browser = Client()
    assert "Sign in to join" in browser.get(link).text
    post(browser, link)
    assert Membership.objects.filter(account=alice).count() == 1


def test_a_link_works_once_and_a_wrong_one_never(alice, owner):
    bob = make.make_user("bob")
    link = invite(owner, bob.email)
    browser = make.sign_in(bob)
    post(browser, link)
    for path in (link, "/invitations/nothing"):
        gone = browser.get(path)
        assert gone.status_code == 404
        assert "This invitation is over" in gone.text


def test_what_is_wrong_stands_beside_its_field(alice, owner):
    taken = post(owner, "/settings/members/invite", email=make.owner_of(alice).user.email, role="viewer")
    assert taken.status_code == 422
    assert "is a member already" in taken.text
    assert "valid email address" in post(owner, "/settings/members/invite", email="bob", role="viewer").text


def test_an_admin_is_not_offered_owners_and_cannot_touch_them(alice):
    admin = make.sign_in(make.make_member(alice, "admin").user)
    owner = make.owner_of(alice)
    assert 'value="owner"' not in admin.get("/settings/members/invite").text
    assert f"remove-{owner.public_id}" not in admin.get("/settings/members").text
    assert "only an owner can" in post(admin, "/settings/members/invite", email="eve@example.com", role="owner").text
    post(admin, f"/settings/members/{owner.public_id}/remove")
    post(admin, f"/settings/members/{owner.public_id}/role", role="viewer")
    assert make.owner_of(alice).pk == owner.pk


def test_a_new_role_binds_the_members_next_click(alice, owner):
    bob = make.make_member(alice, "developer")
    browser = make.sign_in(bob.user)
    assert browser.get("/instances").status_code == 200
    post(owner, f"/settings/members/{bob.public_id}/role", role="billing")
    assert browser.get("/instances").status_code == 403


def test_who_is_removed_sees_nothing_of_the_account_with_the_next_click(alice, owner):
    bob = make.make_member(alice, "developer")
    browser = make.sign_in(bob.user)
    assert browser.get("/instances").status_code == 200
    removed = post(owner, f"/settings/members/{bob.public_id}/remove")
    assert "is removed" in removed.text
    refusal = browser.get("/instances")
    assert refusal.status_code == 403
    assert "You belong to no account" in refusal.text
    assert "You belong to no account" in browser.get("/").text


def test_a_member_of_another_account_cannot_be_found(alice, owner):
    stranger = make.owner_of(make.make_account(name="Charlie's"))
    for path in (f"/settings/members/{stranger.public_id}/remove", "/settings/members/nonsense/role"):
        assert owner.get(path).status_code == 404
