"""Pictures of every page of the showcase, for people to look at. Run by `manage.py screenshots`; no tests.

It has a database, files and a web server of its own in a temporary folder, and touches nothing of an installation.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.walk.home import begin

README = Path(__file__).resolve().parents[2] / "docs" / "images" / "overview.png"
CHROMIUM, FLAGS = "/usr/bin/chromium", ["--no-sandbox", "--disable-background-networking", "--hide-scrollbars"]
WIDTHS = (1280, 390)
THEMES = ("light", "dark")
HIGHEST = 10_000  # pixels


def main(folder: str = "", only: str = "") -> None:
    with tempfile.TemporaryDirectory(prefix="lambda-shots-") as home, served(home) as url:
        from playwright.sync_api import sync_playwright

        from tests.walk import showcase, tour
        from tests.walk.windows import signed_in

        shown = showcase.make_showcase()
        pages = [page for page in [*tour.PAGES, *tour.admin_pages(shown)] if only in page.title]
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            if not folder:
                take_readme(browser, url, shown)
            for who in ("nobody", *shown.people) if folder else ():
                with signed_in(browser, url, shown, who) as window:
                    for page in pages:
                        if page.who == who:
                            take(window, page.path(shown), Path(folder), page.title)
            browser.close()


def take(window, path: str, folder: Path, title: str) -> None:
    """One page in each theme and width: all of it, but of the very long ones only the beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        window.set_viewport_size({"width": width, "height": 844})
        window.goto(path, wait_until="networkidle")
        whole = window.evaluate("document.documentElement.scrollHeight") < HIGHEST
        for theme in THEMES:
            window.emulate_media(color_scheme=theme)
            window.screenshot(path=folder / f"{title}.{width}.{theme}.png", full_page=whole, animations="disabled")
    print(title, flush=True)


def take_readme(browser, url: str, shown) -> None:
    """The overview in light, as a member with a screen of her own would see it."""
    from tests.walk.windows import signed_in

    README.parent.mkdir(parents=True, exist_ok=True)
    with signed_in(browser, url, shown, "alice", device_scale_factor=1.25) as window:
        window.set_viewport_size({"width": 1280, "height": 860})
        window.goto("/", wait_until="networkidle")
        window.screenshot(path=README, animations="disabled")
    print(f"{README}: {README.stat().st_size / 1000:.0f} kB")


@contextmanager
def served(home: str) -> Iterator[str]:
    """Django with an empty database and the scripted driver, answering at the address."""
    begin(home)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
