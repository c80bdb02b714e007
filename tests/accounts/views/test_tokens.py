"""The pages of tokens, apps, consent and devices: who may do what; how they look is tests/test_dashboard_oauth.py."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from accounts.actions import accounts, oauth_codes
from accounts.models import OAuthApp, OAuthDevice, OAuthToken
from accounts.models.oauth_app import CLI
from core.context import SYSTEM
from tests import make

pytestmark = pytest.mark.django_db
BACK = "https://app.example.com/back"


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def owner(account):
    return make.sign_in(make.owner_of(account).user)


def question(app):
    return "/oauth/authorize?" + urlencode(
        {
            "response_type": "code",
            "client_id": app.client_id,
            "redirect_uri": BACK,
            "scope": "instances:read",
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
        }
    )


def told(response):
    assert response.status_code == 302
    return parse_qs(urlsplit(response["Location"]).query)


def test_the_page_with_the_pair_is_never_cached_and_shows_it_once(owner):
    response = owner.post("/settings/api-tokens/new", {"name": "laptop", "preset": "read-only"})
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert "lambda_rt_" in response.text
    assert "lambda_rt_" not in owner.get("/settings/api-tokens").text


def test_nobody_generates_more_than_their_role_has(account):
    bob = make.make_member(account, "developer")
    browser = make.sign_in(bob.user)
    form = {"name": "x", "preset": "custom", "scopes": ["members:write"]}
    assert browser.post("/settings/api-tokens/new", form).status_code == 422
    browser.post("/settings/api-tokens/new", {"name": "x", "preset": "full"})
    assert set(OAuthToken.objects.get().scopes) == bob.scopes


def test_members_revoke_their_own_tokens_and_admins_everyones(account, owner):
    token, _ = make.make_token(account)
    bob = make.make_member(account, "developer")
    make.sign_in(bob.user).post(f"/settings/api-tokens/{token.public_id}/revoke")
    token.refresh_from_db()
    assert token.status == "active"
    theirs, _ = make.make_token(account, member=bob)
    owner.post(f"/settings/api-tokens/{theirs.public_id}/revoke")
    theirs.refresh_from_db()
    assert theirs.status == "revoked"


def test_tokens_and_apps_of_others_do_not_exist(account):
    token, _ = make.make_token(account)
    app, _ = make.make_app(account)
    charlie = make.sign_in(make.owner_of(make.make_account(make.make_user("charlie"))).user)
    for path in (
        f"/settings/api-tokens/{token.public_id}/revoke",
        f"/settings/oauth-apps/{app.public_id}/rotate",
        f"/settings/oauth-apps/{app.public_id}/delete",
        "/settings/api-tokens/nonsense/revoke",
    ):
        assert charlie.get(path).status_code == 404
        assert charlie.post(path).status_code == 404
    assert app.name not in charlie.get("/settings/oauth-apps").text


def test_an_app_belongs_to_who_made_it_and_to_admins(account):
    app, _ = make.make_app(account)
    bob = make.sign_in(make.make_member(account, "developer").user)
    bob.post(f"/settings/oauth-apps/{app.public_id}/delete")
    bob.post(f"/settings/oauth-apps/{app.public_id}/rotate")
    kept = OAuthApp.objects.get(pk=app.pk)
    assert kept.client_secret == app.client_secret


def test_the_consent_page_lets_the_form_lead_to_the_app_and_nowhere_else(account, owner):
    app, _ = make.make_app(account)
    policy = owner.get(question(app))["Content-Security-Policy"]
    assert "form-action 'self' https://app.example.com;" in policy + ";"
    assert "form-action 'self';" in owner.get("/settings/oauth-apps")["Content-Security-Policy"] + ";"


def test_consent_needs_the_token_of_the_form(account):
    app, _ = make.make_app(account)
    browser = make.sign_in(make.owner_of(account).user)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(question(app), {"allow": "1"}).status_code == 403


def test_a_suspended_account_lets_nobody_in(account, owner):
    accounts.suspend(account=account, reason="unpaid", by=SYSTEM)
    app, _ = make.make_app(account)
    assert told(owner.post(question(app), {"allow": "1"}))["error"] == ["access_denied"]
    device = oauth_codes.begin_device(app=app, device_code="x", scopes=["instances:read"])
    owner.post("/oauth/device", {"user_code": device.user_code, "allow": "1"})
    assert OAuthDevice.objects.get().state == "pending"


def test_a_second_factor_is_asked_for_by_the_account_that_is_chosen_and_not_by_the_sessions_alone(account):
    strict = make.make_account(make.owner_of(account).user, name="Strict")
    accounts.update(account=strict, by=SYSTEM, require_mfa=True)
    browser = make.sign_in(make.owner_of(account).user)
    app, _ = make.make_app(account)
    assert told(browser.post(question(app), {"allow": "1", "account": strict.public_id}))["error"] == ["access_denied"]
    assert "code" in told(browser.post(question(app), {"allow": "1", "account": account.public_id}))
    cli = OAuthApp.objects.get(client_id=CLI)
    device = oauth_codes.begin_device(app=cli, device_code="x", scopes=["instances:read"])
    page = browser.post("/oauth/device", {"user_code": device.user_code, "allow": "1", "account": strict.public_id})
    assert "second factor" in page.text
    assert OAuthDevice.objects.get().state == "pending"


@pytest.mark.slow
def test_nobody_fills_the_database_with_codes_for_devices():
    answers = [Client().post("/oauth/device_authorization", {"client_id": CLI}) for _ in range(70)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert answers[-1].json()["error"] == "temporarily_unavailable"
    assert int(answers[-1]["Retry-After"]) > 0
    assert OAuthDevice.objects.count() == 60


@pytest.mark.parametrize("path", ["token", "revoke", "introspect", "device_authorization"])
def test_secrets_are_not_taken_in_the_clear(path, settings):
    settings.LAMBDA_REQUIRE_HTTPS = True
    answer = Client().post(f"/oauth/{path}", {"client_id": CLI})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "HTTPS" in answer.json()["error_description"]


def test_a_code_is_decided_on_once(account, owner):
    cli = OAuthApp.objects.get(client_id=CLI)
    device = oauth_codes.begin_device(app=cli, device_code="x", scopes=["instances:read"])
    charlie = make.sign_in(make.owner_of(make.make_account(make.make_user("charlie"))).user)
    form = {"user_code": device.user_code, "allow": "1"}
    assert owner.post("/oauth/device", form).status_code == 200
    assert charlie.post("/oauth/device", form).status_code == 422
    assert OAuthDevice.objects.get().account == account


def test_the_operator_sees_tokens_and_revokes_them(account):
    token, _ = make.make_token(account)
    operator = make.make_user("operator")
    operator.is_staff = operator.is_superuser = True
    operator.save()
    browser = make.sign_in(operator)
    assert browser.get("/admin/accounts/oauthapp/").status_code == 200
    assert browser.get("/admin/oauth2_provider/").status_code == 404
    browser.post("/admin/accounts/oauthtoken/", {"action": "revoke", "_selected_action": [str(token.pk)], "sure": "1"})
    token.refresh_from_db()
    assert token.status == "revoked"
