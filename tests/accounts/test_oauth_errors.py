"""What the OAuth endpoints refuse, in the words of the RFCs, and what they never tell."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from accounts.actions import oauth_apps
from accounts.models.oauth_app import CLI
from accounts.models.oauth_code import canonical_user_code
from core.context import SYSTEM
from tests import make

pytestmark = [pytest.mark.db, pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
BACK = "http://127.0.0.1/back"


@pytest.fixture
def account(northwind):
    return northwind


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
    assert session.get(f"{base}/v1/account/whoami", timeout=30).status_code == 200
    with pytest.raises(OAuthError, match="invalid_client"):
        session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    OAuth2Session(app.client_id, fresh).fetch_token(metadata["token_endpoint"], grant_type="client_credentials")


@pytest.mark.parametrize(("typed", "meant"), [("bcdf ghjk", "BCDF-GHJK"), ("BCDF–GHJK", "BCDF-GHJK"), ("\x00", "-")])
def test_a_code_is_understood_however_it_is_typed(typed, meant):
    assert canonical_user_code(typed) == meant
