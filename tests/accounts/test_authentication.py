"""Who asks: every spelling of a key is one key, and whatever stops a key stops its next request."""

import json
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts import authentication
from accounts.actions import accounts, api_keys
from accounts.models.api_key import Secret
from core.context import SYSTEM
from core.models import Event
from tests import make
from tests.api.test_errors import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def made():
    return make.make_key(make.make_account())


def ask(path="/instances", **headers):
    return make.Api().get(path, **headers)


def wire(text):
    """Bytes of a header as a WSGI server shows them to the application."""
    return (text if isinstance(text, bytes) else text.encode()).decode("latin-1")


def spellings(secret):
    body = secret.text
    return {
        "λ as UTF-8, from curl, Go or Ruby": f"λ_{body}",
        "percent form, from Java or Node": f"%CE%BB_{body}",
        "percent form in lower case": f"%ce%bb_{body}",
        "the ASCII twin": f"lambda_{body}",
        "without the λ, from a terminal that cannot type it": body,
        "UTF-8 encoded twice, from aiohttp": f"λ_{body}".encode().decode("latin-1"),
    }


@pytest.mark.parametrize("header", ["HTTP_AUTHORIZATION", "HTTP_X_API_KEY"])
@pytest.mark.parametrize("spelling", list(spellings(Secret("sk_"))))
def test_every_spelling_in_both_headers_is_the_same_key(made, spelling, header):
    text = spellings(made[1])[spelling]
    value = f"Bearer {text}" if header == "HTTP_AUTHORIZATION" else text
    assert ask(**{header: wire(value)}).status_code == 200
    assert ask(**{header: value}).status_code == 200  # real text, as test clients hand it over


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer ", " Bearer"])
def test_the_scheme_is_read_in_any_case_and_spacing(made, scheme):
    assert ask(HTTP_AUTHORIZATION=f"{scheme} {made[1].key_ascii}").status_code == 200


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "{key}", "Basic {key}", "Token {key}", "Bearer {key} {key}"]
)
def test_another_scheme_is_refused(made, value):
    refused(ask(HTTP_AUTHORIZATION=value.format(key=made[1].key_ascii)), 401, "authentication_failed")


def test_the_same_key_twice_is_one_key_and_two_keys_are_a_mistake(made):
    secret = made[1]
    other = make.make_key(make.make_account())[1]
    both = {"HTTP_AUTHORIZATION": wire(f"Bearer {secret.key}"), "HTTP_X_API_KEY": secret.key_ascii}
    assert ask(**both).status_code == 200
    refused(ask(**both | {"HTTP_X_API_KEY": other.key_ascii}), 400, "invalid_request")


BYTES = st.binary(max_size=60).filter(lambda raw: b"\r" not in raw and b"\n" not in raw)
KEY_LIKE = st.builds(
    lambda a, b, c: a + b + c, BYTES, st.sampled_from([b"sk_", "λ_sk_".encode(), b"%CE%BB_sk_"]), BYTES
)


@pytest.mark.slow
@hypothesis_settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=BYTES | KEY_LIKE, header=st.sampled_from(["HTTP_AUTHORIZATION", "HTTP_X_API_KEY"]), bearer=st.booleans())
def test_no_bytes_in_either_header_ever_make_the_server_fail(raw, header, bearer):
    value = (b"Bearer " if bearer else b"") + raw
    answer = Client(raise_request_exception=False).get("/v1/instances", **{header: value.decode("latin-1")})
    assert answer.status_code in (401, 429), answer.content


@hypothesis_settings(max_examples=300)
@given(raw=BYTES | KEY_LIKE)
def test_header_text_answers_text_or_refuses(raw):
    try:
        text = authentication.header_text(raw.decode("latin-1"))
    except authentication.AuthenticationFailed:
        return
    text.encode()


@pytest.mark.parametrize("position", [0, 5, 20, 37])
def test_a_key_with_a_typing_error_is_refused_without_a_query(made, position, django_assert_num_queries):
    body = made[1].text[3:]
    wrong = "sk_" + body[:position] + ("a" if body[position] != "a" else "b") + body[position + 1 :]
    assert Secret.parse(wrong) is None
    with django_assert_num_queries(0):
        answer = ask(HTTP_X_API_KEY=wrong)
    error = refused(answer, 401, "authentication_failed")
    assert error["message"].startswith("Invalid or missing API token")


def test_a_well_formed_key_that_nobody_made_is_refused():
    refused(ask(HTTP_X_API_KEY=Secret.generate().key_ascii), 401, "authentication_failed")


def test_a_known_key_costs_no_query(made, django_assert_num_queries):
    ask("/nothing", HTTP_X_API_KEY=made[1].key_ascii)
    with django_assert_num_queries(0):
        assert ask("/nothing", HTTP_X_API_KEY=made[1].key_ascii).status_code == 404


class TestAChangeBindsTheNextRequest:
    """Each change is made after the key was used once, so that a process that remembers too long fails here."""

    @pytest.fixture
    def after(self, made, django_capture_on_commit_callbacks):
        def change(verb, **arguments):
            assert ask(HTTP_X_API_KEY=made[1].key_ascii).status_code == 200
            with django_capture_on_commit_callbacks(execute=True):
                verb(by=SYSTEM, **arguments)
            return ask(HTTP_X_API_KEY=made[1].key_ascii)

        return change

    def test_revoked(self, made, after):
        answer = after(api_keys.revoke, key=made[0])
        error = refused(answer, 401, "key_revoked")
        assert error["message"].startswith("Invalid or missing API token")
        assert 'error="invalid_token"' in answer["WWW-Authenticate"]

    def test_other_addresses(self, made, after):
        error = refused(after(api_keys.update, key=made[0], allowed_cidrs=["203.0.113.0/24"]), 403, "ip_not_allowed")
        assert error["details"]["allowed_cidrs"] == ["203.0.113.0/24"]

    def test_suspended_may_read_but_not_write(self, made, after, django_capture_on_commit_callbacks):
        assert after(accounts.suspend, account=made[0].account, reason="Unpaid invoices.").status_code == 200
        api = make.Api(made[1].key)
        assert "Unpaid invoices." in refused(api.post("/instances", make.WANTED), 403, "account_suspended")["message"]
        with django_capture_on_commit_callbacks(execute=True):
            accounts.resume(account=made[0].account, by=SYSTEM)
        assert api.post("/instances", make.WANTED).status_code == 201

    def test_another_plan(self, made, after):
        assert after(accounts.change_plan, account=made[0].account, plan="professional")["X-RateLimit-Limit"] == "10000"

    def test_rotated_at_once(self, made, after):
        grantable = make.owner_of(made[0].account).scopes
        refused(after(api_keys.rotate, key=made[0], overlap_hours=0, grantable=grantable), 401, "token_expired")


def test_an_expired_key_says_when_it_expired(made):
    expiry = made[0].expires_at
    with time_machine.travel(expiry + timedelta(seconds=1), tick=False):
        error = refused(ask(HTTP_X_API_KEY=made[1].key_ascii), 401, "token_expired")
    assert expiry.strftime("%Y-%m-%dT%H:%M:%SZ") in error["message"]


def test_every_answer_says_when_the_key_expires(made):
    expected = made[0].expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    for path in ("/instances", "/nothing", "/instances?colour=red"):
        assert ask(path, HTTP_X_API_KEY=made[1].key_ascii)["X-API-Key-Expires"] == expected
    eternal = make.make_key(made[0].account, never_expires=True)[1]
    assert "X-API-Key-Expires" not in ask(HTTP_X_API_KEY=eternal.key_ascii)


@pytest.mark.parametrize(
    ("cidr", "address", "status"),
    [
        ("203.0.113.0/24", "203.0.113.255", 200),
        ("203.0.113.0/24", "203.0.114.0", 403),
        ("203.0.113.7", "203.0.113.7", 200),
        ("2001:db8::/32", "2001:db8::1", 200),
        ("2001:db8::/32", "203.0.113.7", 403),
        ("0.0.0.0/0", "::ffff:203.0.113.7", 200),
        ("0.0.0.0/0", "2001:db8::1", 403),
    ],
)
def test_a_key_with_addresses_works_from_these_only(settings, cidr, address, status):
    settings.LAMBDA_TRUSTED_PROXIES = ["127.0.0.0/8"]
    secret = make.make_key(make.make_account(), allowed_cidrs=[cidr])[1]
    forwarded = {"HTTP_X_FORWARDED_FOR": address, "HTTP_X_FORWARDED_PROTO": "https"}
    assert ask(HTTP_X_API_KEY=secret.key_ascii, **forwarded).status_code == status


def test_a_member_who_leaves_takes_their_keys_along():
    account = make.make_account()
    bob = make.make_member(account, "developer")
    secret = make.make_key(account, member=bob)[1]
    bob.delete()
    refused(ask(HTTP_X_API_KEY=secret.key_ascii), 401, "key_revoked")


def test_a_user_who_is_switched_off_can_use_no_key(made):
    user = made[0].created_by
    user.is_active = False
    user.save()
    refused(ask(HTTP_X_API_KEY=made[1].key_ascii), 401, "key_revoked")


def test_a_key_can_do_no_more_than_its_maker_may_now():
    account = make.make_account()
    bob = make.make_member(account, "developer")
    secret = make.make_key(account, member=bob, scopes=["instances:*"])[1]
    bob.role = "viewer"
    bob.save()
    api = make.Api(secret.key)
    assert api.get("/instances").status_code == 200
    error = refused(api.post("/instances", make.WANTED), 403, "insufficient_scope")
    assert error["details"]["granted_scopes"] == ["instances:read"]


def test_a_missing_scope_is_named_with_those_the_key_has():
    api = make.make_api(scopes=["instances:read", "catalog:read"])
    error = refused(api.post("/instances", make.WANTED), 403, "insufficient_scope")
    assert error["required_scopes"] == ["instances:create"]
    assert error["details"]["granted_scopes"] == ["catalog:read", "instances:read"]
    assert error["message"].startswith("Insufficient permissions")


def test_what_a_key_does_is_recorded_as_done_by_the_key(made):
    answer = make.Api(made[1].key).post("/instances", make.WANTED)
    event = Event.objects.get(type="instance.requested")
    assert (event.actor_kind, event.actor_id, event.actor_name) == ("api_key", made[0].public_id, "a key")
    assert (event.via, event.ip, event.request_id) == ("api", "127.0.0.1", answer["X-Request-Id"])


def signed_in(user, **options):
    client = Client(raise_request_exception=False, **options)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


class TestTheDashboardsSession:
    def test_reads_the_api(self):
        client = signed_in(make.owner_of(make.make_account()).user)
        assert client.get("/v1/instances").status_code == 200
        page = client.get("/v1/instances", HTTP_ACCEPT="text/html")
        assert page.status_code == 200
        assert page["Content-Type"].startswith("text/html")

    @pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
    def test_writes_only_with_the_csrf_token(self, kind):
        client = signed_in(make.owner_of(make.make_account()).user, enforce_csrf_checks=True)
        body = json.dumps(make.WANTED)
        refused(client.post("/v1/instances", body, content_type=kind), 403, "forbidden")
        client.get("/instances/new")  # sets the cookie
        token = client.cookies["lambda_csrf"].value
        answer = client.post("/v1/instances", body, content_type=kind, HTTP_X_CSRFTOKEN=token)
        assert answer.status_code == 201, answer.content

    def test_counts_for_nothing_where_a_key_is_sent(self):
        client = signed_in(make.owner_of(make.make_account()).user)
        refused(client.get("/v1/instances", HTTP_X_API_KEY="nonsense"), 401, "authentication_failed")

    def test_may_do_what_the_role_may(self):
        bob = make.make_member(make.make_account(), "viewer")
        client = signed_in(bob.user)
        assert client.get("/v1/instances").status_code == 200
        refused(client.post("/v1/instances", make.WANTED, content_type="application/json"), 403, "insufficient_scope")
