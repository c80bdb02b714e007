"""Settings → API Keys."""

import html
import re

import pytest
from django.test import Client

from accounts.models import ApiKey
from accounts.models.api_key import Secret
from accounts.scopes import ROLE_SCOPES, SCOPES
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db
NEW = "/settings/api-keys/new"
FORM = {"name": "deploy", "preset": "full", "expiry": "90", "allowed_cidrs": ""}


def signed_in(user):
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def alice(account):
    return signed_in(make.owner_of(account).user)


def bob_of(account, role):
    return signed_in(make.make_member(account, role).user)


def shown(page):
    return html.unescape(page.content.decode())


def test_a_new_key_is_on_one_page_that_nobody_may_keep(alice):
    page = alice.post(NEW, FORM)
    assert page.status_code == 200
    assert page["Cache-Control"] == "no-store"
    text = shown(page)
    key = Secret(re.search(r"sk_[0-9A-Za-z]{38}", text)[0])
    assert key.key in text
    assert key.key_ascii in text
    assert "It won't be shown again" in text
    assert make.Api(key.key).get("/instances").status_code == 200
    for path in ("/settings/api-keys", NEW, "/"):
        assert key.text not in shown(alice.get(path))


@pytest.mark.parametrize(
    ("preset", "scopes"),
    [
        ("full", SCOPES),
        ("invoke-only", ["functions:invoke"]),
        ("billing-viewer", ["billing:read", "account:read", "catalog:read"]),
    ],
)
def test_a_preset_gives_its_scopes(alice, preset, scopes):
    alice.post(NEW, FORM | {"preset": preset})
    assert ApiKey.objects.get().scopes == scopes


def test_chosen_scopes_are_given(alice):
    alice.post(NEW, FORM | {"preset": "custom", "scopes": ["catalog:read", "instances:read"]})
    assert ApiKey.objects.get().scopes == ["instances:read", "catalog:read"]


def test_a_preset_gives_no_more_than_the_maker_has(account):
    bob_of(account, "developer").post(NEW, FORM)
    assert set(ApiKey.objects.get().scopes) == ROLE_SCOPES["developer"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "required"),
        ({"allowed_cidrs": "203.0.113.0/24\nanywhere"}, "anywhere"),
        ({"preset": "custom"}, "At least one"),
        ({"preset": "nonsense"}, "nonsense"),
        ({"preset": "custom", "scopes": ["instances:fly"]}, "instances:fly"),
    ],
)
def test_a_mistake_is_said_beside_its_field_and_nothing_typed_is_lost(alice, wrong, words):
    page = alice.post(NEW, FORM | {"name": "my deploy key", "allowed_cidrs": "203.0.113.7"} | wrong)
    assert page.status_code == 422
    assert words in shown(page)
    assert (wrong.get("name", "my deploy key")) in shown(page)
    assert wrong.get("allowed_cidrs", "203.0.113.7").splitlines()[0] in shown(page)
    assert not ApiKey.objects.exists()


def test_a_key_is_rotated_and_its_successor_shown_once(account, alice):
    key, secret = make.make_key(account)
    page = alice.post(f"/settings/api-keys/{key.public_id}/rotate", {"overlap_hours": "0"})
    assert page["Cache-Control"] == "no-store"
    assert make.Api(secret.key).get("/instances").status_code == 401
    again = alice.post(f"/settings/api-keys/{key.public_id}/rotate", {"overlap_hours": "0"}, follow=True)
    assert "cannot be rotated" in shown(again)
    assert ApiKey.objects.count() == 2


def test_a_key_is_revoked_with_one_button(account, alice):
    key, _ = make.make_key(account, name="old laptop")
    assert alice.get(f"/settings/api-keys/{key.public_id}/revoke").status_code == 200
    assert ApiKey.objects.get().revoked_at is None
    page = alice.post(f"/settings/api-keys/{key.public_id}/revoke", follow=True)
    assert "old laptop” is revoked" in shown(page)
    assert ApiKey.objects.get().status == "revoked"
    event = Event.objects.first()
    assert (event.type, event.via, event.actor_kind) == ("api_key.revoked", "dashboard", "user")


def test_a_developer_cannot_touch_the_owners_key(account):
    key, _ = make.make_key(account)
    bob = bob_of(account, "developer")
    for verb in ("rotate", "revoke"):
        page = bob.post(f"/settings/api-keys/{key.public_id}/{verb}", follow=True)
        assert "not yours" in shown(page)
    assert ApiKey.objects.get().status == "active"


@pytest.mark.parametrize("role", ["viewer", "billing"])
def test_who_may_not_make_keys_is_told_so(account, role):
    bob = bob_of(account, role)
    assert bob.get(NEW).status_code == bob.post(NEW, FORM).status_code == 403
    assert not ApiKey.objects.exists()


def test_charlie_sees_and_changes_nothing_of_alices(account):
    key, _ = make.make_key(account, name="alices own")
    charlie = signed_in(make.owner_of(make.make_account()).user)
    assert "alices own" not in shown(charlie.get("/settings/api-keys"))
    for verb in ("rotate", "revoke"):
        assert charlie.get(f"/settings/api-keys/{key.public_id}/{verb}").status_code == 404
        assert charlie.post(f"/settings/api-keys/{key.public_id}/{verb}").status_code == 404
    assert charlie.get("/settings/api-keys/nonsense/rotate").status_code == 404


def test_a_post_without_the_csrf_token_is_refused(account):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make.owner_of(account).user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.post(NEW, FORM).status_code == 403
    assert not ApiKey.objects.exists()


def test_a_suspended_account_is_shown_but_not_changed(account, alice):
    make.accounts.suspend(account=account, reason="Unpaid invoices.", by=make.SYSTEM)
    assert alice.get("/settings/api-keys").status_code == 200
    page = alice.post(NEW, FORM)
    assert page.status_code == 403
    assert "Unpaid invoices." in shown(page)
