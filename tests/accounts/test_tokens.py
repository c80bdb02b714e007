"""Access tokens at the door of the API: what they open, what ends them, and what is no token."""

import base64
import json
from datetime import timedelta

import jwt
import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.actions import accounts, oauth_apps, oauth_tokens
from accounts.authentication import standing
from accounts.models import Membership, OAuthPair
from accounts.models import oauth_jwt as jwts
from api.errors import AuthenticationFailed
from core import epoch
from core.context import SYSTEM
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def made(account):
    return make.make_token(account)


def refused(response, code="authentication_failed"):
    assert response.status_code == 401, response.content
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["message"].startswith("Invalid or missing API token")
    assert response["WWW-Authenticate"].startswith("Bearer")


def forged(claims, *, algorithm="HS256", key=None, **header):
    key = next(iter(jwts.keys().values())) if key is None else key
    return jwt.encode(claims, key, algorithm=algorithm, headers=header or None)


@pytest.fixture
def claims(made):
    return jwt.decode(made[1].access, options={"verify_signature": False})


def test_the_first_segment_is_the_one_of_the_document_and_the_claims_are_the_contracts(made, claims, account):
    token, issued = made
    assert issued.access.split(".")[0] == "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    assert set(claims) == {"iss", "aud", "sub", "acct", "client_id", "scope", "jti", "kv", "iat", "exp", "use"}
    assert claims["iss"] == settings.LAMBDA_BASE_URL
    assert claims["acct"] == account.public_id
    assert claims["sub"] == token.user.public_id
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600 == issued.expires_in


def test_a_token_opens_the_api_and_every_answer_says_how_long_it_lasts(made, account):
    response = make.Api(made[1].access).get("/account/whoami")
    assert response.status_code == 200
    assert response.json()["data"]["account"]["id"] == account.public_id
    assert response.json()["data"]["actor"] == {"kind": "api_token", "id": made[0].public_id, "name": "a token"}
    assert 2591900 < int(response["X-Token-Expires-In"]) <= 2592000
    assert "X-Token-Expires-In" in make.Api(made[1].access).get("/nowhere")


def test_a_warm_check_asks_the_database_nothing(made):
    api = make.Api(made[1].access)
    api.get("/event-types")
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert api.get("/event-types").status_code == 200
    assert [query["sql"] for query in seen.captured_queries if "SELECT" in query["sql"]] == []


def test_a_token_can_do_what_its_scopes_say_and_no_more(account):
    _, issued = make.make_token(account, scopes=["instances:read"])
    assert make.Api(issued.access).get("/instances").status_code == 200
    response = make.Api(issued.access).post("/instances", make.WANTED)
    assert response.status_code == 403
    assert response.json()["error"]["required_scopes"] == ["instances:create"]


def test_no_other_algorithm_is_considered(claims):
    unsigned = jwt.encode(claims, None, algorithm="none")
    nothing = unsigned.split(".")
    swapped = f"{jwts.HEADER}.{nothing[1]}."
    for text in (unsigned, swapped, forged(claims, algorithm="HS512", key="k" * 64), forged(claims, kid="x")):
        refused(make.Api(text).get("/instances"))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example/v1"},
        {"iss": "https://elsewhere.example"},
        {"use": "refresh"},
        {"kv": "00000000"},
        {"kv": None},
        {"jti": "pair_nonsense"},
        {"jti": 7},
        {"exp": "never"},
        {"exp": None},
    ],
    ids=str,
)
def test_wrong_or_missing_claims_are_refused_although_the_signature_is_right(claims, changes):
    changed = {name: value for name, value in (claims | changes).items() if value is not None}
    refused(make.Api(forged(changed)).get("/instances"))


def test_every_flipped_character_is_refused(made):
    text = made[1].access
    places = [*range(0, len(text), 23), *range(len(text) - 3, len(text))]
    for place in places:
        for other in ("A", "B", "_"):
            if text[place] not in (other, "."):
                with pytest.raises(AuthenticationFailed):
                    standing(text[:place] + other + text[place + 1 :])
    refused(make.Api(text[:-1] + ("A" if text[-1] != "A" else "B")).get("/instances"))


@pytest.mark.parametrize(
    "text", ["eyJ", "eyJ.eyJ.eyJ", f"{jwts.HEADER}.%00.x", f"{jwts.HEADER}.W10.x", "eyJ" + "a" * 6000]
)
def test_what_only_looks_like_a_token_is_refused(text):
    refused(make.Api(text).get("/instances"))


def test_a_deeply_nested_payload_is_refused_and_not_a_crash():
    payload = base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=")
    refused(make.Api(f"{jwts.HEADER}.{payload}.x").get("/instances"))


def test_a_refresh_token_is_never_an_access_token(made):
    refused(make.Api(made[1].refresh).get("/instances"))
    response = make.Api().get("/instances", HTTP_X_API_KEY=made[1].refresh)
    refused(response)
    assert "refresh token" in response.json()["error"]["message"]


def test_a_token_belongs_in_the_authorization_header(made):
    refused(make.Api().get("/instances", HTTP_X_API_KEY=made[1].access))


def test_a_token_and_a_key_at_once_are_ambiguous(made, account):
    _, secret = make.make_key(account)
    response = make.Api(made[1].access).get("/instances", HTTP_X_API_KEY=secret.key_ascii)
    assert response.status_code == 400


def test_a_token_ends_after_30_days(made):
    with time_machine.travel(timezone.now() + timedelta(days=30, seconds=1), tick=False):
        refused(make.Api(made[1].access).get("/instances"), "token_expired")


def test_a_token_that_ends_while_it_is_remembered_ends_all_the_same(made):
    api = make.Api(made[1].access)
    now = timezone.now()
    with time_machine.travel(now + timedelta(days=30, seconds=-1), tick=False):
        assert api.get("/instances").status_code == 200
    with time_machine.travel(now + timedelta(days=30, seconds=1), tick=False):
        refused(api.get("/instances"), "token_expired")


def ends(how):
    """What must end a token with the next request."""

    def revoke(token, member):
        oauth_tokens.revoke(token=token, by=SYSTEM)

    def delete_app(token, member):
        oauth_apps.delete(app=token.app, by=SYSTEM)

    return {"revoked": revoke, "app deleted": delete_app}[how]


@pytest.mark.parametrize("how", ["revoked", "app deleted"])
def test_what_ends_a_token_binds_the_next_request(account, how):
    app, _ = make.make_app(account, "device")
    member = make.owner_of(account)
    token, issued = oauth_tokens.issue(
        account=account, by=SYSTEM, user=member.user, app=app, name="x", scopes=["instances:read"]
    )
    api = make.Api(issued.access)
    assert api.get("/instances").status_code == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.transaction.on_commit", lambda act, **_: act())
        ends(how)(token, member)
    refused(api.get("/instances"), "key_revoked")


def test_a_token_can_do_no_more_than_its_owner_can_now(account):
    bob = make.make_member(account, "developer")
    _, issued = make.make_token(account, member=bob)
    api = make.Api(issued.access)
    assert api.post("/instances", make.WANTED).status_code == 201
    Membership.objects.filter(pk=bob.pk).update(role="viewer")
    epoch.advance()
    assert api.post("/instances", make.WANTED).status_code == 403
    assert api.get("/instances").status_code == 200
    bob.delete()
    epoch.advance()
    refused(api.get("/instances"), "key_revoked")


def test_a_disabled_user_has_no_token(account):
    bob = make.make_member(account, "developer")
    _, issued = make.make_token(account, member=bob)
    bob.user.is_active = False
    bob.user.save()
    refused(make.Api(issued.access).get("/instances"), "key_revoked")


def test_a_suspended_account_can_be_read_and_not_changed(account, made):
    api = make.Api(made[1].access)
    assert api.get("/instances").status_code == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.transaction.on_commit", lambda act, **_: act())
        accounts.suspend(account=account, reason="unpaid", by=SYSTEM)
    response = api.post("/instances", make.WANTED)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "account_suspended")
    assert api.get("/instances").status_code == 200


def test_signing_keys_rotate_without_a_token_that_stops(made, settings):
    old = settings.LAMBDA_TOKEN_KEYS
    settings.LAMBDA_TOKEN_KEYS = ["n" * 48, *old]
    epoch.advance()
    assert make.Api(made[1].access).get("/instances").status_code == 200
    _, fresh = make.make_token(made[0].account)
    assert make.Api(fresh.access).get("/instances").status_code == 200
    settings.LAMBDA_TOKEN_KEYS = ["n" * 48]
    epoch.advance()
    refused(make.Api(made[1].access).get("/instances"))
    assert make.Api(fresh.access).get("/instances").status_code == 200


def test_nothing_that_opens_a_door_is_kept(made):
    token, issued = made
    rows = json.dumps([list(OAuthPair.objects.values()), str(token.__dict__)], default=str)
    assert issued.refresh not in rows
    assert issued.access.split(".")[2] not in rows
