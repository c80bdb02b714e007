"""From signing up to signing in: an account of one's own, once the address is proved."""

import re

import pytest
from django.core import mail
from django.test import Client

from accounts.models import Account, User
from tests import make

pytestmark = pytest.mark.django_db
EMAIL = "alice.liddell@example.com"


@pytest.fixture
def browser():
    return Client()


def sign_up(browser, email=EMAIL, password=make.PASSWORD):
    return browser.post("/accounts/signup/", {"email": email, "password1": password})


def link_in(message):
    return re.search(r"https?://[^/\s]+(/\S+)", message.body)[1]


def signed_in(browser):
    return browser.get("/").status_code == 200


def test_who_signs_up_owns_an_account_named_after_them(browser):
    assert sign_up(browser).status_code == 302
    member = make.owner_of(Account.objects.get())
    assert (member.account.name, member.account.plan.slug) == ("alice.liddell", "free")
    assert (member.user.email, member.role) == (EMAIL, "owner")


def test_the_address_must_be_proved_before_anything_is_shown(browser):
    sign_up(browser)
    assert not signed_in(browser)
    assert [message.to for message in mail.outbox] == [[EMAIL]]
    link = link_in(mail.outbox[0])
    assert browser.get(link).status_code in (200, 302)
    browser.post(link)
    assert signed_in(browser)


def test_who_never_proved_it_cannot_sign_in(browser):
    sign_up(browser)
    other = Client()
    other.post("/accounts/login/", {"login": EMAIL, "password": make.PASSWORD})
    assert not signed_in(other)


@pytest.mark.parametrize("password", ["short", "0123456789", "password123", EMAIL])
def test_a_weak_password_is_refused_and_makes_nothing(browser, password):
    assert sign_up(browser, password=password).status_code == 200
    assert not User.objects.exists()
    assert not Account.objects.exists()


def test_signing_up_with_a_known_address_tells_a_stranger_nothing(browser):
    known = make.make_user()
    strangers = sign_up(Client(), email="nobody@example.com")
    again = sign_up(browser, email=known.email)
    assert (again.status_code, again["Location"]) == (strangers.status_code, strangers["Location"])
    assert User.objects.filter(email=known.email).count() == 1
    assert Account.objects.count() == 1
    assert mail.outbox[-1].to == [known.email]


def test_a_forgotten_password_is_set_anew_by_mail(browser):
    user = make.make_user(password="old password 123")
    make.make_account(user)
    browser.post("/accounts/password/reset/", {"email": user.email})
    link = link_in(mail.outbox[-1])
    page = browser.get(link, follow=True)
    browser.post(page.request["PATH_INFO"], {"password1": make.PASSWORD, "password2": make.PASSWORD})
    fresh = Client()
    fresh.post("/accounts/login/", {"login": user.email, "password": "old password 123"})
    assert not signed_in(fresh)
    fresh.post("/accounts/login/", {"login": user.email.upper(), "password": make.PASSWORD})
    assert signed_in(fresh)


def test_a_reset_for_an_unknown_address_looks_the_same(browser):
    known, unknown = (
        browser.post("/accounts/password/reset/", {"email": email})
        for email in (make.make_user().email, "nobody@example.com")
    )
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])


def test_who_is_switched_off_cannot_sign_in(browser):
    user = make.make_user(password=make.PASSWORD)
    make.make_account(user)
    user.is_active = False
    user.save()
    browser.post("/accounts/login/", {"login": user.email, "password": make.PASSWORD})
    assert not signed_in(browser)


@pytest.mark.parametrize(
    "path", ["/", "/instances", "/instances/new", "/ssh-keys", "/settings/api-keys", "/settings/api-keys/new"]
)
def test_every_page_asks_a_stranger_to_sign_in(browser, path):
    answer = browser.get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={path}")
