"""A live server as an OAuth client meets it, and a person who is signed in there."""

import re
from html import unescape

import pytest
import requests
from django.conf import settings
from django.db import connections
from django.test import Client

from tests import make


@pytest.fixture
def base(live_server, settings, monkeypatch):
    # Threads of the server live as long as a client's socket: they must not keep the database open after the tests.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    settings.LAMBDA_BASE_URL = live_server.url
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"OIDC_ISS_ENDPOINT": live_server.url}
    yield live_server.url
    connections.close_all()


@pytest.fixture
def northwind(db):
    return make.make_account(name="Northwind Labs")


@pytest.fixture
def metadata(base):
    return requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30).json()


class Person:
    """Somebody in a browser, who is signed in."""

    def __init__(self, base, user):
        client = Client()
        client.force_login(user, settings.AUTHENTICATION_BACKENDS[0])
        self.base, self.session = base, requests.Session()
        name = settings.SESSION_COOKIE_NAME
        self.session.cookies.set(name, client.cookies[name].value)

    def open(self, url):
        return self.session.get(url, timeout=30, allow_redirects=False)

    def answer(self, url, choice="allow", **fields):
        """Open the page and press one of its buttons; answers what comes back."""
        page = self.open(url)
        assert page.status_code == 200, page.text
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        action = re.search(r'<form class="stack" method="post"(?: action="([^"]*)")?', page.text)[1]
        return self.session.post(
            self.base + unescape(action) if action else url,
            {**hidden, **fields, choice: "1"},
            timeout=30,
            allow_redirects=False,
        )


@pytest.fixture
def person(base):
    """Makes a user sit down at a browser."""
    return lambda user: Person(base, user)


@pytest.fixture
def alice(person, northwind):
    return person(make.owner_of(northwind).user)
