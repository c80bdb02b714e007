"""Every grant, run by an OAuth library that is not ours (Authlib), against a server with real sockets.

People are a signed-in session that fills in the pages' forms; a browser does it in tests/test_dashboard_oauth.py.
"""

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from accounts.models import OAuthCode, OAuthDevice, OAuthToken
from accounts.models.oauth_app import CLI
from core.models import Event
from tests import make

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
BACK = "http://127.0.0.1/back"


@pytest.fixture
def account(northwind):
    return northwind


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


def test_a_person_gives_what_their_role_has_for_the_account_they_choose(base, account, person, metadata):
    app, _ = make.make_app(account, "native", redirect_uris=[BACK])
    bob = make.make_user("bob")
    make.make_account(bob, name="Bob's own")
    make.make_member(account, "viewer", bob)
    session, verifier, back = consent(
        app, person(bob), metadata, scope="instances:read instances:create", account=account.public_id
    )
    session.fetch_token(metadata["token_endpoint"], authorization_response=back, code_verifier=verifier)
    said = whoami(base, session).json()["data"]
    assert (said["account"]["name"], said["scopes"]) == ("Northwind Labs", ["instances:read"])
