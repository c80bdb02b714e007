"""Tokens, OAuth apps and consent as people meet them, in a real Chromium: see tests/test_dashboard.py."""

import base64
import hashlib
import http.server
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from playwright.sync_api import expect

from accounts.actions import oauth_codes
from accounts.models import OAuthApp, OAuthToken
from accounts.models.oauth_app import CLI
from tests import make
from tests.test_dashboard import account, browser, visit  # noqa: F401  (fixtures)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def app_server():
    """The app's own page, to which people are sent back. Answers its address and the queries that arrived."""
    arrived = []

    class Back(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/back"):
                arrived.append(parse_qs(urlsplit(self.path).query))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><html lang=en><title>The app</title><h1>Back at the app</h1>")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Back)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/back", arrived
    server.shutdown()
    server.server_close()


def question(app, redirect_uri, **more):
    return "/oauth/authorize?" + urlencode(
        {
            "response_type": "code",
            "client_id": app.client_id,
            "redirect_uri": redirect_uri,
            "scope": "instances:read instances:create catalog:read",
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        | more
    )


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_token_is_generated_shown_once_used_renewed_and_revoked(visit, live_server, scripts):  # noqa: F811
    page = visit("/", java_script_enabled=scripts)
    page.get_by_role("link", name="API Tokens").click()
    page.get_by_role("link", name="Generate New Token").first.click()
    page.get_by_label("Name", exact=True).fill("laptop")
    page.get_by_label("Read only").check()
    page.get_by_role("button", name="Generate token").click()
    shown = [code.inner_text() for code in page.locator(".copy code").all()]
    access, curl, refresh, renew = shown
    assert access.startswith("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.")
    assert access in curl
    assert refresh in renew
    expect(page.get_by_role("main")).to_contain_text("They won't be shown again.")
    answer = requests.get(
        f"{live_server.url}/v1/account/whoami", headers={"Authorization": f"Bearer {access}"}, timeout=30
    )
    assert answer.json()["data"]["actor"]["name"] == "laptop"
    form = {"grant_type": "refresh_token", "client_id": "lambda-dashboard", "refresh_token": refresh}
    renewed = requests.post(f"{live_server.url}/oauth/token", form, timeout=30).json()["access_token"]

    page.get_by_role("link", name="I have saved them").click()
    expect(page.get_by_role("main")).not_to_contain_text(refresh)
    expect(page.get_by_role("row", name="laptop")).to_contain_text("Read everything")
    page.get_by_role("link", name="Revoke laptop").click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("row", name="laptop Revoked")).to_be_visible()
    for text in (access, renewed):
        answer = requests.get(
            f"{live_server.url}/v1/instances", headers={"Authorization": f"Bearer {text}"}, timeout=30
        )
        assert answer.json()["error"]["code"] == "key_revoked"


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_person_reads_what_an_app_wants_and_lets_it_in(visit, account, app_server, live_server, scripts):  # noqa: F811
    address, arrived = app_server
    app, secret = make.make_app(account, "web", redirect_uris=[address], name="Grafana Cloud")
    page = visit(question(app, address), java_script_enabled=scripts)
    expect(page.get_by_role("heading", name="Let Grafana Cloud in?")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Create instances, which cost money")
    expect(page.get_by_role("main")).to_contain_text(urlsplit(address).netloc)
    page.get_by_role("button", name="No").click()
    expect(page.get_by_role("heading", name="Back at the app")).to_be_visible()
    assert (arrived[-1]["error"], arrived[-1]["state"]) == (["access_denied"], ["s"])

    page.goto(question(app, address))
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_role("heading", name="Back at the app")).to_be_visible()
    form = {"grant_type": "authorization_code", "code": arrived[-1]["code"][0], "redirect_uri": address}
    answer = requests.post(
        f"{live_server.url}/oauth/token",
        form | {"code_verifier": VERIFIER},
        auth=(app.client_id, secret),
        timeout=30,
    )
    assert sorted(answer.json()["scope"].split()) == ["catalog:read", "instances:create", "instances:read"]
    page.goto("/settings/api-tokens")
    expect(page.get_by_role("row", name="Grafana Cloud")).to_be_visible()


def test_who_is_not_signed_in_signs_in_first_and_comes_back_to_the_question(visit, account, app_server):  # noqa: F811
    address, _ = app_server
    app, _ = make.make_app(account, "native", redirect_uris=[address], name="Grafana Cloud")
    owner = make.owner_of(account).user
    owner.set_password(make.PASSWORD)
    owner.save()
    page = visit(question(app, address), signed_in=False)
    page.get_by_label("Email").fill(owner.email)
    page.get_by_label("Password").fill(make.PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Let Grafana Cloud in?")).to_be_visible()


def test_a_code_from_a_terminal_is_typed_compared_and_approved(visit, account):  # noqa: F811
    cli = OAuthApp.objects.get(client_id=CLI)
    device = oauth_codes.begin_device(app=cli, device_code="secret", scopes=["instances:read"])
    page = visit("/oauth/device")
    page.get_by_label("Code").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("main")).to_contain_text("No device waits with this code")
    page.get_by_label("Code").fill(device.user_code.lower())
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("main")).to_contain_text(device.user_code)
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_role("heading", name="The device is connected")).to_be_visible()
    assert oauth_codes.poll_device(device_code="secret", app=cli).scopes == ["instances:read"]


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_an_app_is_registered_gets_a_new_secret_and_is_deleted(visit, account, scripts):  # noqa: F811
    page = visit("/settings/oauth-apps", java_script_enabled=scripts)
    page.get_by_role("link", name="Register an app").first.click()
    page.get_by_label("Name", exact=True).fill("Grafana Cloud")
    page.get_by_label("Web app").check()
    page.get_by_label("Redirect URIs").fill("http://app.example.com/back")
    page.get_by_role("button", name="Register app").click()
    expect(page.locator(".errorlist")).to_contain_text("must begin with https://")
    page.get_by_label("Redirect URIs").fill("https://app.example.com/back")
    page.get_by_role("button", name="Register app").click()
    secret = page.locator(".copy code").nth(1).inner_text()
    assert secret.startswith("lambda_cs_")
    page.get_by_role("link", name="I have saved it").click()
    expect(page.get_by_role("main")).not_to_contain_text(secret)

    page.get_by_role("button", name="New secret for Grafana Cloud").click()
    page.get_by_role("button", name="New secret", exact=True).last.click()
    assert page.locator(".copy code").nth(1).inner_text() != secret
    page.get_by_role("link", name="I have saved it").click()
    page.get_by_role("button", name="Delete Grafana Cloud").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("No OAuth apps yet")
    assert not OAuthToken.objects.exists()
