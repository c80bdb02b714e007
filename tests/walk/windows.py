"""Browser windows in which one of the showcase's people is signed in. No tests and no fixtures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from playwright.sync_api import Browser, Page

from tests import make
from tests.walk import showcase


@contextmanager
def signed_in(browser: Browser, url: str, shown: showcase.Showcase, who: str, **options: Any) -> Iterator[Page]:
    """A window of one of the showcase's people, or of nobody."""
    context = browser.new_context(base_url=url, reduced_motion="reduce", **options)
    if who in shown.people:
        client = make.sign_in(shown.people[who])
        if who == "viewing":
            showcase.view(shown, client)
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
    yield context.new_page()
    context.close()
