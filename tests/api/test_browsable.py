"""The API in a browser: pages under the strict CSP, and requests of whoever is signed in to the dashboard."""

import json

import pytest
from django.test import Client

from compute.models import Instance
from tests.make import WANTED, make_account, make_instance, owner_of

pytestmark = pytest.mark.django_db
PAGE = {"HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def browser(alice):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner_of(alice).user)
    return browser


def test_a_signed_in_user_sees_the_answer_and_how_a_program_asks(browser, alice):
    make_instance(alice, name="<b>web</b>")
    page = browser.get("/v1/instances?limit=5", **PAGE)
    text = page.content.decode()
    assert page["Content-Type"].startswith("text/html")
    assert "&lt;b&gt;web&lt;/b&gt;" in text
    assert "<b>web</b>" not in text
    assert "/v1/instances?limit=5" in text.partition("curl ")[2]
    assert 'href="/docs#instances_list"' in text
    assert page.context["calls"][1][1] == json.dumps(page.renderer_context["view"].takes["create"].example, indent=2)


@pytest.mark.parametrize("path", ["/v1/instances", "/v1/regions", "/v1/nowhere", "/v1/instances/inst_1"])
def test_every_page_comes_under_the_strict_policy_with_nothing_inline(path):
    page = Client().get(path, **PAGE)
    text = page.content.decode()
    assert page["Content-Security-Policy"]
    assert page["X-Request-Id"]
    assert "style=" not in text
    assert "<style" not in text
    assert text.count("<script") == text.count('<script type="module" src=')


def test_a_program_gets_json_whatever_else_it_accepts(browser):
    assert browser.get("/v1/instances", HTTP_ACCEPT="*/*")["Content-Type"] == "application/json"


def test_a_page_leads_to_the_next_one(browser, alice):
    for _ in range(3):
        make_instance(alice)
    first = browser.get("/v1/instances?limit=2&order=asc", **PAGE)
    assert first.context["older"] == "/v1/instances?limit=2&order=asc&page=2"
    assert first.context["newer"] is None
    last = browser.get(first.context["older"], **PAGE)
    assert last.context["newer"] == "/v1/instances?limit=2&order=asc&page=1"
    assert last.context["older"] is None


def test_a_session_writes_only_with_its_csrf_token(browser, alice):
    send = {"data": WANTED, "content_type": "application/json"}
    refused = browser.post("/v1/instances", **send)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "forbidden"
    assert not Instance.objects.filter(account=alice).exists()

    browser.get("/v1/instances", **PAGE)
    token = browser.cookies["lambda_csrf"].value
    made = browser.post("/v1/instances", **send, HTTP_X_CSRFTOKEN=token)
    assert made.status_code == 201
    assert Instance.objects.get(account=alice).public_id == made.json()["data"]["id"]


@pytest.mark.parametrize(
    ("header", "value"), [("Authorization", "Bearer nonsense"), ("Authorization", "Basic eDp5"), ("X-API-Key", "\xff")]
)
def test_a_page_of_a_refused_credential_is_a_401_and_no_crash(header, value):
    page = Client().get("/v1/instances", headers={header: value}, **PAGE)
    assert page.status_code == 401
    assert page["Content-Type"].startswith("text/html")
    assert "authentication_failed" in page.content.decode()


def test_a_form_of_another_site_is_refused_and_no_crash(browser, alice):
    browser.get("/v1/instances", **PAGE)  # where the cookie comes from, which the browser sends along
    page = browser.post("/v1/instances", "name=web", content_type="application/x-www-form-urlencoded", **PAGE)
    assert page.status_code == 415
    assert not Instance.objects.filter(account=alice).exists()
