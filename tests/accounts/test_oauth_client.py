"""Every grant, run by an OAuth library that is not ours (Authlib), against a server with real sockets.

People are a signed-in session that fills in the pages' forms; what the pages look like is tests/test_dashboard_oauth.py.
"""

import re
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from django.conf import settings
from django.db import connections
from django.test import Client

from accounts.actions import oauth_apps
from accounts.models import OAuthCode, OAuthDevice, OAuthToken
from accounts.models.oauth_app import CLI
from accounts.models.oauth_code import canonical_user_code
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
BACK = "http://127.0.0.1/back"


@pytest.fixture
def base(live_server, settings):
    settings.LAMBDA_BASE_URL = live_server.url
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"OIDC_ISS_ENDPOINT": live_server.url}
    yield live_server.url
    connections.close_all()


@pytest.fixture
def account(db):
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
def alice(base, account):
    return Person(base, make.owner_of(account).user)


def whoami(base, session):
    return session.get(f"{base}/v1/account/whoami", timeout=30)


def client_of(app, secret="", **more):
    method = "client_secret_basic" if secret else "none"
    return OAuth2Session(
        app.client_id, secret or None, token_endpoint_auth_method=method, code_challenge_method="S256", **more
    )


def consent(app, alice, metadata, *, secret="", scope="instances:read catalog:read", redirect=BACK, **fields):
    """The way to a code. Answers the session, the verifier and the address to which the person is sent back."""
    session = client_of(app, secret, scope=scope, redirect_uri=redirect)
    verifier = generate_token(48)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    back = alice.answer(url, **fields)
    assert back.status_code == 302, back.text
    assert parse_qs(urlsplit(back.headers["Location"]).query)["state"] == [state]
    return session, verifier, back.headers["Location"]


def test_the_metadata_says_where_everything_is(base, metadata):
    assert metadata["issuer"] == base
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["response_types_supported"] == ["code"]
    assert len(metadata["grant_types_supported"]) == 4
    for name in ("token", "revocation", "introspection", "device_authorization"):
        response = requests.post(metadata[f"{name}_endpoint"], timeout=30)
        assert response.status_code in (400, 401)
        assert response.json()["error"] in ("invalid_request", "invalid_client", "unsupported_grant_type")


@pytest.mark.parametrize("sort", ["web", "native"])
def test_a_person_lets_an_app_in_and_it_renews_itself(base, account, alice, metadata, sort):
    app, secret = make.make_app(account, sort, redirect_uris=[BACK])
    session, verifier, back = consent(app, alice, metadata, secret=secret)
    assert parse_qs(urlsplit(back).query)["iss"] == [base]  # RFC 9207
    session.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=verifier)
    assert session.token["expires_in"] == 2592000
    assert sorted(session.token["scope"].split()) == ["catalog:read", "instances:read"]
    said = whoami(base, session).json()["data"]
    assert said["account"]["id"] == account.public_id
    assert said["actor"]["kind"] == "api_token"

    old = dict(session.token)
    session.refresh_token(metadata["token_endpoint"])
    assert session.token["access_token"] != old["access_token"]
    assert whoami(base, session).status_code == 200
    session.revoke_token(metadata["revocation_endpoint"], session.token["refresh_token"])
    assert whoami(base, session).json()["error"]["code"] == "key_revoked"


def test_a_program_without_people_uses_its_secret(base, account, metadata):
    app, secret = make.make_app(account, "machine", scopes=["instances:read"])
    session = OAuth2Session(app.client_id, secret, token_endpoint_auth_method="client_secret_basic")
    session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert "refresh_token" not in session.token
    assert whoami(base, session).json()["data"]["scopes"] == ["instances:read"]
    told = session.introspect_token(metadata["introspection_endpoint"], session.token["access_token"]).json()
    assert told["active"] is True
    assert (told["client_id"], told["scope"]) == (app.client_id, "instances:read")

    posting = OAuth2Session(app.client_id, secret, token_endpoint_auth_method="client_secret_post")
    posting.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert whoami(base, posting).status_code == 200
    with pytest.raises(OAuthError, match="invalid_client"):
        OAuth2Session(app.client_id, secret + "x").fetch_token(
            metadata["token_endpoint"], grant_type="client_credentials"
        )
    with pytest.raises(OAuthError, match="invalid_scope"):
        session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="instances:delete")


def begin(metadata, scope="instances:read"):
    form = {"client_id": CLI, "scope": scope}
    return requests.post(metadata["device_authorization_endpoint"], form, timeout=30).json()


def poll(session, metadata, begun):
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    return session.fetch_token(metadata["token_endpoint"], grant_type=grant, device_code=begun["device_code"])


def test_a_terminal_waits_until_its_owner_has_typed_the_code(base, account, alice, metadata):
    begun = begin(metadata)
    assert begun["verification_uri"] == f"{base}/oauth/device"
    assert re.fullmatch(r"[B-Z]{4}-[B-Z]{4}", begun["user_code"])
    session = OAuth2Session(CLI, token_endpoint_auth_method="none")
    with pytest.raises(OAuthError, match="authorization_pending"):
        poll(session, metadata, begun)
    with pytest.raises(OAuthError, match="slow_down"):
        poll(session, metadata, begun)
    typed = begun["user_code"].lower().replace("-", " ")
    done = alice.answer(f"{begun['verification_uri']}?{urlencode({'user_code': typed})}")
    assert "The device is connected" in done.text
    poll(session, metadata, begun)
    assert whoami(base, session).json()["data"]["scopes"] == ["instances:read"]
    session.refresh_token(metadata["token_endpoint"])
    assert whoami(base, session).status_code == 200
    with pytest.raises(OAuthError, match="invalid_grant"):
        poll(OAuth2Session(CLI, token_endpoint_auth_method="none"), metadata, begun)


def test_a_terminal_is_told_no_or_too_late(base, alice, metadata):
    session = OAuth2Session(CLI, token_endpoint_auth_method="none")
    begun = begin(metadata)
    refused = alice.answer(begun["verification_uri_complete"], "deny")
    assert "was refused" in refused.text
    with pytest.raises(OAuthError, match="access_denied"):
        poll(session, metadata, begun)
    begun = begin(metadata)
    OAuthDevice.objects.update(expires_at=make.days(-1))
    assert alice.open(begun["verification_uri_complete"]).status_code == 422
    with pytest.raises(OAuthError, match="expired_token"):
        poll(session, metadata, begun)


def test_nobody_finds_a_code_by_trying(base, alice):
    answers = [alice.open(f"{base}/oauth/device?user_code=BBBB-{letters}") for letters in ["CDFG"] * 25]
    assert "Too many codes" in answers[-1].text


def test_a_code_used_twice_revokes_what_it_gave(base, account, alice, metadata):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK])
    session, verifier, back = consent(app, alice, metadata)
    session.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=verifier)
    assert whoami(base, session).status_code == 200
    with pytest.raises(OAuthError, match="invalid_grant"):
        client_of(app, redirect_uri=BACK).fetch_token(
            metadata["token_endpoint"], authorization_response=back, code_verifier=verifier
        )
    assert whoami(base, session).json()["error"]["code"] == "key_revoked"
    assert Event.objects.get(type="api_token.revoked").data["reason"] == "its authorization code was used twice"


def test_a_stolen_code_is_worth_nothing_without_the_verifier(account, alice, metadata):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK])
    session, verifier, back = consent(app, alice, metadata)
    code = parse_qs(urlsplit(back).query)["code"][0]
    for wrong in ({"code_verifier": generate_token(48)}, {}):
        form = {
            "grant_type": "authorization_code",
            "client_id": app.client_id,
            "code": code,
            "redirect_uri": BACK,
        } | wrong
        assert requests.post(metadata["token_endpoint"], form, timeout=30).status_code == 400
    other, _ = make.make_app(account, "native", redirect_uris=[BACK])
    with pytest.raises(OAuthError, match="invalid_grant"):
        client_of(other, redirect_uri=BACK).fetch_token(
            metadata["token_endpoint"], authorization_response=back, code_verifier=verifier
        )
    assert code not in str(list(OAuthCode.objects.values()))
    OAuthCode.objects.update(expires_at=make.days(-1))
    with pytest.raises(OAuthError, match="invalid_grant"):
        session.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=verifier)


def test_a_person_says_no(account, alice, metadata):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK])
    _, _, back = consent(app, alice, metadata, choice="deny")
    assert parse_qs(urlsplit(back).query)["error"] == ["access_denied"]
    assert not OAuthToken.objects.exists()


def test_a_person_gives_what_their_role_has_for_the_account_they_choose(base, account, metadata):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK])
    bob = make.make_user("bob")
    make.make_account(bob, name="Bob's own")
    make.make_member(account, "viewer", bob)
    session, verifier, back = consent(
        app, Person(base, bob), metadata, scope="instances:read instances:create", account=account.public_id
    )
    session.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=verifier)
    said = whoami(base, session).json()["data"]
    assert (said["account"]["name"], said["scopes"]) == ("Northwind Labs", ["instances:read"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "instances:fly"}, "invalid_scope"),
        ({"scope": "volumes:read"}, "invalid_scope"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
    ],
    ids=str,
)
def test_the_app_is_told_what_is_wrong_with_its_request(base, account, alice, metadata, changes, error):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK], scopes=["instances:read"])
    asked = question(app) | changes
    answer = alice.open(f"{metadata['authorization_endpoint']}?{urlencode({k: v for k, v in asked.items() if v})}")
    assert answer.status_code == 302, answer.text
    where = urlsplit(answer.headers["Location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == BACK
    told = parse_qs(where.query)
    assert (told["error"], told["state"], told["iss"]) == ([error], ["s"], [base])


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": "\x00"},
        {"client_id": None},
        {"redirect_uri": "http://127.0.0.1/elsewhere"},
        {"redirect_uri": "https://evil.example/back"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "http://127.0.0.1@evil.example/back"},
    ],
    ids=str,
)
def test_nobody_is_sent_to_an_address_that_was_not_registered(account, alice, metadata, changes):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK])
    asked = question(app) | changes
    answer = alice.open(f"{metadata['authorization_endpoint']}?{urlencode({k: v for k, v in asked.items() if v})}")
    assert answer.status_code == 400
    assert "This app cannot be let in" in answer.text


def question(app):
    return {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": BACK,
        "scope": "instances:read",
        "state": "s",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password", "username": "a", "password": "b"}, 401, "invalid_client"),
        ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
        ({}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": CLI}, 401, "invalid_client"),
        ({"grant_type": "authorization_code", "code": "x", "client_id": CLI}, 400, "unauthorized_client"),
        ({"grant_type": "refresh_token", "client_id": CLI}, 400, "invalid_request"),
        (
            {"grant_type": "refresh_token", "client_id": CLI, "refresh_token": "x", "user": "alice"},
            400,
            "invalid_grant",
        ),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": CLI}, 400, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": "\x00"}, 401, "invalid_client"),
    ],
    ids=str,
)
def test_the_token_endpoint_speaks_the_rfcs_errors(metadata, form, status, error):
    answer = requests.post(metadata["token_endpoint"], form, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_password_is_never_tried_here(account, metadata):
    dave = make.make_user("dave", password=make.PASSWORD)
    answers = [
        requests.post(
            metadata["token_endpoint"],
            {"grant_type": "password", "client_id": CLI, "username": dave.email, "password": password},
            timeout=30,
        ).json()
        for password in (make.PASSWORD, "wrong")
    ]
    assert answers[0] == answers[1]
    assert answers[0]["error"] == "invalid_grant"


def test_a_broken_query_is_the_callers_fault(metadata):
    assert requests.post(f"{metadata['token_endpoint']}?%zz=%", timeout=30).status_code == 400


def test_an_app_learns_nothing_of_the_tokens_of_others(base, account, metadata):
    app, secret = make.make_app(account, "machine")
    _, other = make.make_token(account)
    session = OAuth2Session(app.client_id, secret)
    assert session.introspect_token(metadata["introspection_endpoint"], other.access).json() == {"active": False}
    assert session.revoke_token(metadata["revocation_endpoint"], other.access).status_code == 200
    assert requests.get(f"{base}/v1/instances", headers={"Authorization": f"Bearer {other.access}"}, timeout=30).ok
    public = {"client_id": CLI, "token": other.access}
    assert requests.post(metadata["introspection_endpoint"], public, timeout=30).status_code == 401


def test_a_new_secret_ends_the_old_one_and_not_the_tokens(base, account, metadata):
    app, secret = make.make_app(account, "machine")
    session = OAuth2Session(app.client_id, secret)
    session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    _, fresh = oauth_apps.rotate_secret(app=app, by=SYSTEM)
    assert whoami(base, session).status_code == 200
    with pytest.raises(OAuthError, match="invalid_client"):
        session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    OAuth2Session(app.client_id, fresh).fetch_token(metadata["token_endpoint"], grant_type="client_credentials")


@pytest.mark.parametrize(("typed", "meant"), [("bcdf ghjk", "BCDF-GHJK"), ("BCDF–GHJK", "BCDF-GHJK"), ("\x00", "-")])
def test_a_code_is_understood_however_it_is_typed(typed, meant):
    assert canonical_user_code(typed) == meant
