"""Functions as somebody meets them first: written in a browser, deployed to real sandboxes, run, and their log read."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.functions.test_live import start_runner, until
from tests.live import WAIT, Live
from tests.servers import folder

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHROMIUM, FLAGS = "/usr/bin/chromium", ["--no-sandbox", "--disable-background-networking"]
SIGN_IN = """
from django.conf import settings
from accounts.models import User
from tests.make import sign_in
print(sign_in(User.objects.get()).cookies[settings.SESSION_COOKIE_NAME].value)
"""
SOURCE = """import os

def handler(event, context):
    print("greeting", event["name"], os.environ["LEVEL"])
    return {"hello": event["name"].upper()}
"""


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with folder() as home, Live(home) as machine:
        machine.environment["LAMBDA_RUNNER"] = "local"
        start_runner(machine)
        machine.start_web(1)
        machine.start_worker()
        until(lambda: machine.request("GET", "/v1/functions/runtimes").body)
        yield machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_page(browser: Browser, live: Live, **options) -> Page:
    """The dashboard, signed in as the account's owner."""
    url = f"http://127.0.0.1:{live.port}"
    context = browser.new_context(base_url=url, reduced_motion="reduce", **options)
    context.set_default_timeout(20_000)
    session = live.manage("shell", "-v0", "-c", SIGN_IN)
    context.add_cookies([{"name": "lambda_session", "value": session, "url": url}])
    return context.new_page()


def inspect(page: Page) -> None:
    """No accessibility violation, and nothing wider than the window."""
    violations = Axe().run(page).response["violations"]
    assert [(found["id"], [node["target"] for node in found["nodes"]]) for found in violations] == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_function_is_written_deployed_run_and_its_log_read(browser, live, scripts):
    page = open_page(browser, live, java_script_enabled=scripts)
    name = f"greeter-{scripts}"
    page.goto("/functions/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label(re.compile("^Node.js")).first.check()
    expect(page.locator("#id_node")).to_be_visible()
    expect(page.locator("#id_python")).to_be_hidden()
    page.get_by_label(re.compile(r"^Python 3\.")).first.check()
    page.locator("#id_python").fill(SOURCE)
    page.get_by_text("Environment, secrets and tags").click()
    page.get_by_label("Environment").fill("LEVEL=loud")
    page.get_by_role("button", name="Create function").click()
    live_line = page.locator("#live")
    if scripts:
        expect(live_line).to_contain_text("Version 1 is live", timeout=WAIT * 1000)
    else:
        until(lambda: page.reload() and "Version 1 is live" in live_line.inner_text())
    run(page, "hello", "ADA", "greeting Ada loud")
    page.get_by_label("Editor").fill(SOURCE.replace("upper()", "upper()[::-1]").replace("greeting", "turning"))
    page.get_by_role("button", name="Deploy").click()
    if scripts:
        expect(live_line).to_contain_text("Version 2 is live", timeout=WAIT * 1000)
    else:
        until(lambda: page.reload() and "Version 2 is live" in live_line.inner_text())
    run(page, "hello", "ADA"[::-1], "turning Ada loud")
    page.get_by_role("link", name="This execution").click()
    until(lambda: "turning Ada loud" in page.locator("#live").inner_text() or (page.reload() and False))
    expect(page.locator("#live")).to_contain_text("Succeeded")
    if scripts:
        inspect(page)
        page.goto("/functions")
        inspect(page)
        page.get_by_role("link", name=name).click()
        inspect(page)


def run(page: Page, *told: str) -> None:
    page.get_by_role("button", name="Run").click()
    for text in told:
        expect(page.locator("#test")).to_contain_text(text, timeout=WAIT * 1000)


def test_what_fails_is_told_with_its_type_and_stack(browser, live):
    page = open_page(browser, live)
    page.goto("/functions/new")
    page.get_by_label("Name", exact=True).fill("failing")
    page.get_by_label(re.compile(r"^Python 3\.")).first.check()
    page.locator("#id_python").fill("def handler(event, context):\n    return event['missing']\n")
    page.get_by_role("button", name="Create function").click()
    expect(page.locator("#live")).to_contain_text("Version 1 is live", timeout=WAIT * 1000)
    run(page, "Failed", "KeyError", "app.py")
    page.get_by_label("Editor").fill("import nothing_of_that_name\n")
    page.get_by_role("button", name="Deploy").click()
    expect(page.locator("#live")).to_contain_text("nothing_of_that_name", timeout=WAIT * 1000)
    expect(page.locator("#live")).to_contain_text("Version 1 still answers")
