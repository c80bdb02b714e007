"""What people do in the dashboard, in a real Chromium, with and without JavaScript. That each page is sound: `walk/`."""

from collections.abc import Iterator

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from accounts import uses
from compute.actions import instances
from compute.models import Instance
from tests import make

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]
CHROMIUM, FLAGS = "/usr/bin/chromium", ["--no-sandbox", "--disable-background-networking"]
SIGHTS = [(1280, "light"), (390, "dark")]


@pytest.fixture
def browser(db, monkeypatch) -> Iterator[Browser]:
    # Playwright's event loop runs in this thread while a browser is open. Django then fears for its connections and
    # opens others, which know nothing of the database's first contents: a browser lives within one test's database.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
        connections.close_all()


@pytest.fixture
def account(db):
    return make.make_account(name="Northwind Labs")


@pytest.fixture
def visit(browser, live_server, account):
    """Opens a page as the account's owner (or nobody); complaints of the console fail the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str, *, signed_in: bool = True, width: int = 1280, **options) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, base_url=live_server.url, reduced_motion="reduce", **options
        )
        contexts.append(context)
        if signed_in:
            client = make.sign_in(make.owner_of(account).user)
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Chromium itself reports each answer of the 4xx kind that a test asks for, and htmx whatever a lost connection cuts off.
    expected = (
        "the server responded with a status of 4",
        "ERR_INTERNET_DISCONNECTED",
        "htmx:sendError",
        "htmx:afterRequest",
    )
    assert [text for text in complaints if not any(words in text for words in expected)] == []


def inspect(page: Page) -> None:
    """No accessibility violation, and nothing wider than the window."""
    violations = Axe().run(page).response["violations"]
    assert [(found["id"], [node["target"] for node in found["nodes"]]) for found in violations] == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"


def test_the_first_page_of_a_new_account_is_sound_on_the_narrowest_phone(visit):
    page = visit("/", width=320)
    for path in ("/", "/settings/api-keys", "/instances", "/ssh-keys"):
        page.goto(path)
        inspect(page)


def test_who_wants_less_motion_gets_no_transitions_at_all(visit):
    """However short: on each of the reference's 14,000 elements they took Chromium half a minute."""
    page = visit("/docs")
    moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration != '0s').length"
    assert page.evaluate(moving) == 0


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_key_is_made_shown_once_rotated_and_revoked(visit, account, scripts):
    page = visit("/settings/api-keys", java_script_enabled=scripts)
    page.get_by_role("link", name="Create New API Key").first.click()
    page.get_by_label("Name", exact=True).fill("laptop")
    page.get_by_label("Choose below").check()
    page.get_by_role("row", name="Instances").get_by_text("Read", exact=True).click()
    if not scripts:
        page.get_by_role("button", name="Review first").click()
    expect(page.locator("#in-words")).to_contain_text("Read instances")
    page.get_by_label("Allowed addresses").fill("10.300.0.0/8")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator(".errorlist")).to_contain_text("10.300.0.0/8")
    expect(page.get_by_label("Name", exact=True)).to_have_value("laptop")
    expect(page.get_by_role("row", name="Instances").get_by_role("radio", name="Read")).to_be_checked()

    page.get_by_label("Allowed addresses").fill("")
    page.get_by_role("button", name="Create key").click()
    secret = page.locator(".copy code").first.inner_text()
    assert secret.startswith("λ_sk_")
    expect(page.get_by_role("main")).to_contain_text("It won't be shown again.")
    page.get_by_role("link", name="I have saved it").click()
    expect(page.get_by_role("main")).not_to_contain_text(secret)
    expect(page.get_by_role("main")).to_contain_text(f"λ_sk_…{secret[-4:]}")

    page.get_by_role("link", name="laptop", exact=True).click()
    page.get_by_role("button", name="Rotate", exact=True).click()
    dialog = page.locator("dialog:visible")
    expect(dialog).to_have_count(1)
    assert dialog.evaluate("dialog => dialog.matches(':modal')") is scripts
    dialog.get_by_role("button", name="Rotate", exact=True).click()
    assert page.locator(".copy code").first.inner_text() != secret
    page.get_by_role("link", name="I have saved it").click()
    expect(page.get_by_role("row", name="laptop Replaced")).to_be_visible()

    page.get_by_role("link", name="Revoke laptop").last.click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_role("row", name="laptop Replaced")).not_to_be_visible()
    page.get_by_role("link", name="Ended").click()
    expect(page.get_by_role("row", name="laptop Revoked")).to_be_visible()


def test_the_page_of_a_new_key_turns_green_with_its_first_request(visit, live_server):
    page = visit("/settings/api-keys/new")
    page.get_by_label("Name", exact=True).fill("laptop")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator(".listener")).to_contain_text("Waiting for the first request")
    key = page.locator(".copy code").nth(1).inner_text()  # the spelling that every client can send
    answer = requests.get(
        f"{live_server.url}/v1/instances", headers={"X-API-Key": key, "User-Agent": "curl/8.5.0"}, timeout=30
    )
    assert answer.status_code == 200
    uses.flush()  # which a web process does by itself every two seconds
    expect(page.locator(".listener")).to_contain_text("It works.")
    expect(page.locator(".listener")).to_contain_text("curl/8.5.0")
    inspect(page)


def test_an_instance_is_seen_to_come_up_without_a_reload(visit, account):
    page = visit("/instances/new")
    page.get_by_label("Name", exact=True).fill("hello")
    page.get_by_role("button", name="Create instance").click()
    page.wait_for_url("**/instances/inst_*")
    expect(page.get_by_role("heading", name="hello")).to_contain_text("Pending")
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url) if answer.status in (200, 286) else None)

    row = Instance.objects.get(name="hello")
    instances.mark_provisioning(instance=row)
    instances.mark_running(instance=row, observed=make.observed(row))
    expect(page.get_by_role("heading", name="hello")).to_contain_text("Running", timeout=5_000)
    expect(page.locator(".copy code").nth(1)).to_contain_text("lambda@127.0.0.1")
    asked.clear()
    page.wait_for_timeout(2_500)
    assert asked == [], "it is settled, and still asked for"


def test_deleting_takes_typing_the_name(visit, account):
    row = make.make_instance(account, name="db (old)")
    page = visit(f"/instances/{row.public_id}")
    page.get_by_role("button", name="Delete", exact=True).click()
    typed = page.locator("#confirm")
    typed.fill("db old")
    page.get_by_role("button", name="Delete for good").click()
    assert not typed.evaluate("input => input.checkValidity()")
    typed.fill("db (old)")
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/instances")
    row.refresh_from_db()
    assert row.state == "deleting"


def test_the_chosen_theme_stays_and_reaches_the_admin(visit, account):
    user = make.owner_of(account).user
    user.is_staff = user.is_superuser = True
    user.save()
    page = visit("/", color_scheme="light")
    page.get_by_role("button", name="Your menu").click()
    page.get_by_role("button", name="Dark theme").click()
    page.goto("/instances")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto("/admin/")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    inspect(page)


def test_a_line_is_copied_with_one_click(visit, account):
    row = make.make_instance(account)
    page = visit(f"/instances/{row.public_id}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the SSH line").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == row.ssh_command


def test_the_reference_tells_its_samples_in_the_language_that_was_chosen_without_a_script(visit):
    page = visit("/docs", signed_in=False, java_script_enabled=False)
    sample = page.locator("#instances_create .sample").first
    expect(sample.get_by_text("curl -X POST")).to_be_visible()
    sample.get_by_text("Python", exact=True).click()
    expect(sample.get_by_text("requests.post")).to_be_visible()
    expect(sample.get_by_text("curl -X POST")).to_be_hidden()
    expect(page.locator("#instances_list").get_by_text("requests.get")).to_be_visible()


def test_the_reference_has_its_contents_behind_a_button_on_a_phone(visit):
    page = visit("/docs", signed_in=False, width=390)
    contents = page.get_by_role("navigation", name="Contents")
    expect(contents).to_be_hidden()
    page.get_by_role("button", name="Contents").click()
    contents.get_by_role("link", name="Create an SSH key").click()
    expect(page.get_by_role("heading", name="Create an SSH key")).to_be_in_viewport()
