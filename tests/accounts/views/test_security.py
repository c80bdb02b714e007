"""Second factors, recovery codes, sessions, proving again that it is you, and accounts that require a factor."""

import re

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client

from accounts.actions import accounts
from core.context import SYSTEM
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make.make_account(make.make_user(password=make.PASSWORD), name="Northwind Labs")


@pytest.fixture
def user(alice):
    return make.owner_of(alice).user


@pytest.fixture
def browser(user):
    return make.sign_in(user)


def code(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


def add_factor(user) -> str:
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def sign_in(user) -> Client:
    browser = Client()
    browser.post("/accounts/login/", {"login": user.email, "password": make.PASSWORD})
    return browser


def test_an_authenticator_app_is_set_up_and_then_asked_for(user, browser):
    page = browser.get("/accounts/2fa/totp/activate/")
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", page.text)[1]
    done = browser.post("/accounts/2fa/totp/activate/", {"code": code(secret)}, follow=True)
    assert "Save these codes now" in done.text
    kept = Authenticator.objects.get(user=user, type="totp").data["secret"]
    assert secret not in kept, "a stolen database gives no codes"
    assert "On" in browser.get("/accounts/2fa/").text

    second = sign_in(user)
    asked = second.get("/", follow=True)
    assert asked.redirect_chain[-1][0] == "/accounts/2fa/authenticate/"
    assert "One more step" in asked.text
    assert second.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    recovery = re.search(r"<code>\s*(\d{8})", done.text)[1]
    assert second.post("/accounts/2fa/authenticate/", {"code": recovery})["Location"] == "/"
    assert second.get("/").status_code == 200


def test_recovery_codes_are_shown_once(user, browser):
    add_factor(user)
    made = browser.post("/accounts/2fa/recovery-codes/generate/", follow=True)
    shown = re.search(r"<code>\s*(\d{8})", made.text)[1]
    again = browser.get("/accounts/2fa/recovery-codes/")
    assert shown not in again.text
    assert "They were shown when they were made" in again.text


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_changed_factor_is_told_by_mail_with_the_callers_address(browser, user):
    page = browser.get("/accounts/2fa/totp/activate/")
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", page.text)[1]
    browser.post("/accounts/2fa/totp/activate/", {"code": code(secret)})
    assert mail.outbox[-1].subject == "Your authenticator app was turned on"
    assert "127.0.0.1" in mail.outbox[-1].body


@pytest.mark.parametrize(
    "path",
    [
        "/settings/api-keys/new",
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/recovery-codes/generate/",
        "/accounts/email/",
    ],
)
def test_secrets_are_shown_to_who_proved_lately_that_it_is_them(user, path):
    if "recovery" in path:
        add_factor(user)
    assert make.sign_in(user, ago=14 * 60).get(path).status_code == 200
    late = make.sign_in(user, ago=16 * 60)
    asked = late.get(path)
    assert asked.status_code == 302, path
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    proved = late.post(asked["Location"], {"password": make.PASSWORD})
    assert proved["Location"] == path
    assert late.get(path).status_code == 200


def test_a_wrong_password_proves_nothing(user):
    late = make.sign_in(user, ago=16 * 60)
    late.post("/accounts/reauthenticate/?next=/settings/api-keys/new", {"password": "wrong"})
    assert late.get("/settings/api-keys/new").status_code == 302


def test_a_form_that_waited_for_the_proof_is_not_filled_in_twice(user, alice):
    late = make.sign_in(user, ago=16 * 60)
    form = {"name": "deploy", "preset": "read-only", "expiry": "30", "allowed_cidrs": ""}
    asked = late.post("/settings/api-keys/new", form)
    made = late.post(asked["Location"], {"password": make.PASSWORD})
    assert "API Key Created" in made.text
    assert alice.api_keys.get().name == "deploy"


def test_a_form_that_waited_makes_nothing_for_a_role_that_was_lost_meanwhile(alice):
    bob = make.make_member(alice, "developer", make.make_user("bob", password=make.PASSWORD))
    late = make.sign_in(bob.user, ago=16 * 60)
    form = {"name": "deploy", "preset": "read-only", "expiry": "30", "allowed_cidrs": ""}
    asked = late.post("/settings/api-keys/new", form)
    bob.role = "viewer"
    bob.save()
    assert late.post(asked["Location"], {"password": make.PASSWORD}).status_code == 403
    assert not alice.api_keys.exists()


def test_signing_in_counts_as_a_proof(user):
    browser = sign_in(user)
    assert browser.get("/settings/api-keys/new").status_code == 200


def test_sessions_are_listed_and_the_others_ended(user):
    first, second = sign_in(user), sign_in(user)
    assert UserSession.objects.filter(user=user).count() == 2
    page = second.get("/accounts/sessions/")
    assert "This one" in page.text
    assert "End all other sessions" in page.text
    second.post("/accounts/sessions/")
    assert first.get("/")["Location"].startswith("/accounts/login/")
    assert second.get("/").status_code == 200


def test_an_account_that_requires_a_factor_is_closed_to_members_without_one(alice, user, browser):
    accounts.update(account=alice, by=SYSTEM, require_mfa=True)
    for path in (
        "/",
        "/instances",
        "/settings/members",
        "/settings/api-keys/new",
        "/settings/account",
        "/v1/instances",
    ):
        closed = browser.get(path)
        assert (closed.status_code, closed.get("Location")) == (302, "/settings/second-factor"), path
    assert "asks for a second factor" in browser.get("/settings/second-factor").text
    for path in ("/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/", "/accounts/logout/"):
        assert browser.get(path).status_code == 200, path
    assert make.make_api(alice).get("/instances").status_code == 200, "keys are no sign-in"

    add_factor(user)
    assert browser.get("/instances").status_code == 200
    assert browser.get("/settings/second-factor")["Location"] == "/"


def test_recovery_codes_alone_are_no_second_factor(alice, user, browser):
    accounts.update(account=alice, by=SYSTEM, require_mfa=True)
    Authenticator.objects.create(user=user, type="recovery_codes", data={"seed": "x", "used_mask": 0})
    assert browser.get("/instances").status_code == 302


def test_another_account_of_the_user_stays_open(alice, user, browser):
    accounts.update(account=alice, by=SYSTEM, require_mfa=True)
    other = accounts.create(name="Side project", owner=user, by=SYSTEM)
    browser.post("/settings/accounts/switch", {"account": other.public_id})
    assert browser.get("/instances").status_code == 200


def test_who_takes_the_last_factor_away_is_asked_for_another(alice, user, browser):
    accounts.update(account=alice, by=SYSTEM, require_mfa=True)
    add_factor(user)
    assert browser.get("/instances").status_code == 200
    browser.post("/accounts/2fa/totp/deactivate/")
    assert browser.get("/instances")["Location"] == "/settings/second-factor"
