"""Every page of the browser's side at once: what must hold for each of them, whatever one does there.

The pages are in `tour.py`. A failure names all pages that fail, not the first alone.
"""

import gzip
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Page

from tests import make
from tests.test_dashboard import SIGHTS, browser  # noqa: F401  (a fixture)
from tests.walk import showcase, tour
from tests.walk.windows import signed_in

QUERIES = 8
# allauth asks for each kind of factor by itself, twice; who looks as another is looked up first.
MORE = {"account_reauthenticate": 1, "mfa_reauthenticate": 1, "mfa_reauthenticate_webauthn": 3}
FIRST_LOAD = 30_000  # bytes: HTML, styles, scripts, icon; htmx follows later, where something moves or is filled in
WITH_HTMX = 46_000
AXE = Axe().axe_script
ALIKE = ".docs-part ~ .docs-part ~ .docs-part"  # of the reference: seventy parts that one template makes


def test_every_address_is_a_page_of_the_walk_or_says_why_not():
    listed = {page.name for page in [*tour.PAGES, *tour.FRAGMENTS]} | tour.ELSEWHERE.keys()
    assert [name for name in tour.addresses() if name not in listed] == []
    assert [name for name in listed - set(tour.addresses()) if not name.startswith("/")] == []


def readers(shown: showcase.Showcase) -> Callable[[tour.Page], Any]:
    """Opens a page as whoever it is for, and answers what came back."""
    clients = {who: make.sign_in(user) for who, user in shown.people.items()}
    showcase.view(shown, clients["viewing"])

    def read(page: tour.Page) -> Any:
        answer = clients.get(page.who, Client()).get(page.path(shown))
        assert answer.status_code == page.status, page
        return answer

    return read


@pytest.mark.slow
@pytest.mark.django_db
def test_every_page_takes_few_queries_and_no_more_however_much_there_is():
    shown = showcase.make_showcase()
    read = readers(shown)
    pages = [*tour.PAGES, *tour.FRAGMENTS]
    few = {page: queries(read, page) for page in pages}
    showcase.grow(shown)
    many = {page: queries(read, page) for page in pages}
    allowed = {page: QUERIES + MORE.get(page.name, page.who == "viewing") for page in pages}
    assert {page.title: count for page, count in many.items() if count > allowed[page]} == {}
    assert {page.title: (few[page], many[page]) for page in pages if few[page] != many[page]} == {}


@pytest.mark.slow
@pytest.mark.django_db
def test_every_page_is_thirty_kilobytes_at_most_until_it_can_be_used():
    read = readers(showcase.make_showcase())
    pages = [page for page in tour.PAGES if page.kind == "dashboard"]
    weights = {page.title: weigh(read(page).content) for page in pages}
    assert {title: whole for title, (whole, _) in weights.items() if whole > FIRST_LOAD} == {}
    assert {title: whole + later for title, (whole, later) in weights.items() if whole + later > WITH_HTMX} == {}


def weigh(html: bytes) -> tuple[int, int]:
    """Bytes, compressed as a server does it: the page with all that it names, and what it loads once it is complete."""
    text = html.decode()
    named = set(re.findall(r'(?:href|src)="/static/([^"]+)"', text))
    later = (
        set(re.findall(r'data-htmx="/static/([^"]+)"', text))
        if re.search(r'hx-trigger="[^"]*(every|load)', text)
        else set()
    )
    return compressed(html) + sum(map(weight_of, named)), sum(map(weight_of, later))


@cache
def weight_of(name: str) -> int:
    return compressed(Path(finders.find(name)).read_bytes())


def compressed(content: bytes) -> int:
    return len(gzip.compress(content, 9))


def queries(read: Callable[[tour.Page], Any], page: tour.Page) -> int:
    """How many the page takes once the process knows the catalogue, without the savepoints of this test."""
    read(page)
    with CaptureQueriesContext(connection) as captured:
        read(page)
    return sum("SAVEPOINT" not in query["sql"] for query in captured)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_every_page_is_sound_for_everybody_in_both_themes_and_on_a_phone(live_server, browser):  # noqa: F811
    shown = showcase.make_showcase()
    wrong: list[str] = []
    pages = [*tour.PAGES, *tour.admin_pages(shown)]
    for who in ("nobody", *shown.people):
        with signed_in(browser, live_server.url, shown, who) as page:
            walk(page, shown, [one for one in pages if one.who == who], wrong)
    assert not wrong, "\n".join(wrong)


def walk(page: Page, shown: showcase.Showcase, pages: list[tour.Page], wrong: list[str]) -> None:
    """Look at each of the pages and add to `wrong` what is."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    for one in pages:
        found = []
        for width, theme in SIGHTS:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=theme)
            answer = page.goto(one.path(shown))
            found += [f"{what} at {width}" for what in inspect(page)]
        if answer.status != one.status:
            found.append(f"answers {answer.status}")
        if " · Lambda" not in page.title():
            found.append(f"is called {page.title()}")
        if (count := page.locator("h1").count()) != 1:
            found.append(f"has {count} h1")
        found += [text for text in said if "the server responded with a status of 4" not in text]
        said.clear()
        wrong += [f"{one.title}: {what}" for what in found]


def inspect(page: Page) -> list[str]:
    """What axe finds, and whether the page is wider than the window."""
    page.evaluate(AXE)
    violations = page.evaluate(
        "([exclude, options]) => axe.run({ exclude }, options).then(({ violations }) => violations)",
        [[ALIKE], {"resultTypes": ["violations"], "preload": False}],
    )
    found = [f"{one['id']} {[node['target'] for node in one['nodes']]}" for one in violations]
    too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [*found, f"is {too_wide} pixels too wide"] if too_wide > 0 else found
