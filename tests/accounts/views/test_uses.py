"""The pages of one key and one token: what it was used for, its first request, who still uses it after a rotation."""

import html
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import uses
from accounts.actions import api_keys
from accounts.actions import uses as verbs
from accounts.models import ApiKey
from accounts.models.use import Note
from core.context import SYSTEM
from tests import make

pytestmark = pytest.mark.django_db
MOST_QUERIES = 8


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def alice(account):
    return make.sign_in(make.owner_of(account).user)


@pytest.fixture
def charlie():
    return make.sign_in(make.owner_of(make.make_account()).user)


def notes(row, count=1, *, ago=0.0, status=200, ip="203.0.113.7", path="/v1/instances"):
    at = time.time() - ago
    return [
        Note(row.kind, row.pk, True, at + number / 1000, status, "GET", path, ip, "curl/8.5.0", "req_1")
        for number in range(count)
    ]


def shown(page):
    return html.unescape(page.content.decode())


def test_a_keys_page_tells_its_use_its_last_requests_and_its_permissions(account, alice):
    key, secret = make.make_key(account, name="deploy", scopes=["instances:*"])
    verbs.write(notes=notes(key, 3) + notes(key, 1, status=404) + notes(key, 2, ago=5 * 86_400))
    page = shown(alice.get(f"/settings/api-keys/{key.public_id}"))
    assert "3 75 %" in page.replace("<small>", "").replace("</small>", "")
    assert "GET /v1/instances" in page
    assert "curl/8.5.0" in page
    assert "All of instances" in page
    assert "cannot see or change volumes" in page
    assert secret.text not in page
    week = alice.get(f"/settings/api-keys/{key.public_id}?range=7d")
    assert week.context["total"] == 6
    assert next(counts for _, counts, _ in week.context["series"])[-1] == 3


def test_only_ten_of_the_last_requests_are_shown_unless_all_are_asked_for(account, alice):
    key, _ = make.make_key(account)
    verbs.write(notes=notes(key, 60))
    path = f"/settings/api-keys/{key.public_id}"
    assert len(alice.get(path).context["recent"]) == 10
    assert "Show 40 more" in shown(alice.get(path))
    assert len(alice.get(f"{path}?recent=all").context["recent"]) == 50


def test_what_a_stranger_put_into_a_path_is_text_on_the_page(account, alice):
    key, _ = make.make_key(account)
    verbs.write(notes=notes(key, path="/v1/<script>alert(1)</script>"))
    page = alice.get(f"/settings/api-keys/{key.public_id}").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize("kind", ["api-keys", "api-tokens"])
def test_the_listener_turns_green_with_the_first_request_and_then_asks_no_more(account, alice, kind):
    row, key = make.make_key(account) if kind == "api-keys" else make.make_token(account)
    path = f"/settings/{kind}/{row.public_id}/seen"
    waiting = alice.get(path)
    assert waiting.status_code == 200
    assert f'hx-get="{path}"' in shown(waiting)
    make.Api(getattr(key, "access", None) or key.key, HTTP_USER_AGENT="curl/8.5.0").get("/regions")
    make.Api(getattr(key, "access", None) or key.key, HTTP_USER_AGENT="curl/8.5.0").get("/account/whoami")
    uses.flush()
    green = alice.get(path)
    assert green.status_code == 286  # htmx stops polling
    assert "It works" in shown(green)
    assert "curl/8.5.0" in shown(green)
    assert "hx-get" not in shown(green)


def test_the_listener_of_a_key_that_was_revoked_ends(account, alice):
    key, _ = make.make_key(account)
    api_keys.revoke(key=key, by=SYSTEM)
    assert alice.get(f"/settings/api-keys/{key.public_id}/seen").status_code == 286


def test_a_replaced_keys_remaining_traffic_is_shown_until_nobody_uses_it(account, alice):
    key, _ = make.make_key(account)
    page = alice.post(f"/settings/api-keys/{key.public_id}/rotate", {"overlap_hours": "24"})
    assert f"/settings/api-keys/{key.public_id}/traffic" in shown(page)
    verbs.write(notes=notes(key, 3) + notes(key, 2, ip="198.51.100.4") + notes(key, 4, ago=3600, ip="192.0.2.1"))
    traffic = alice.get(f"/settings/api-keys/{key.public_id}/traffic")
    assert traffic.status_code == 200
    assert "5 requests" in shown(traffic)
    assert "198.51.100.4" in shown(traffic)
    assert "192.0.2.1" not in shown(traffic)  # an hour ago is not now
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    assert alice.get(f"/settings/api-keys/{key.public_id}/traffic").status_code == 286


def test_a_key_that_nobody_uses_any_more_is_said_to_be_free_to_go(account, alice):
    key, _ = make.make_key(account)
    api_keys.rotate(key=key, by=SYSTEM, grantable=make.owner_of(account).scopes)
    verbs.write(notes=notes(key, ago=1800))
    page = shown(alice.get(f"/settings/api-keys/{key.public_id}/traffic"))
    assert "No request</strong> with the old key" in page
    assert "30 minutes ago" in page


def test_charlie_sees_nothing_of_what_alices_credentials_do(account, charlie):
    key, token = make.make_key(account)[0].public_id, make.make_token(account)[0].public_id
    paths = [f"api-keys/{key}", f"api-keys/{key}/seen", f"api-keys/{key}/traffic", f"api-keys/{key}/change"]
    for path in [*paths, f"api-tokens/{token}", f"api-tokens/{token}/seen"]:
        assert charlie.get(f"/settings/{path}").status_code == 404, path
    assert charlie.post(f"/settings/api-keys/{key}/change", {"name": "mine"}).status_code == 404


def test_the_list_marks_what_should_be_looked_at(account, alice):
    fresh, _ = make.make_key(account, name="fresh")
    make.make_key(account, name="soon", expires_at=make.days(3))
    idle, _ = make.make_key(account, name="idle")
    ApiKey.objects.filter(pk=idle.pk).update(created_at=timezone.now() - timedelta(days=31))
    verbs.write(notes=notes(fresh, 7))
    page = alice.get("/settings/api-keys")
    rows = {key.name: key for key in page.context["keys"]}
    assert (rows["fresh"].requests, len(rows["fresh"].spark)) == (7, 28)
    assert [name for name, key in rows.items() if key.unused] == ["idle"]
    assert "Unused 30 d" in shown(page)
    assert "Expires soon" in shown(page)
    assert rows["soon"].status == "expiring"


def test_keys_that_have_ended_are_in_a_list_of_their_own(account, alice):
    kept, gone = make.make_key(account, name="kept")[0], make.make_key(account, name="gone")[0]
    api_keys.revoke(key=gone, by=SYSTEM)
    assert [key.name for key in alice.get("/settings/api-keys").context["keys"]] == ["kept"]
    assert [key.name for key in alice.get("/settings/api-keys?show=ended").context["keys"]] == ["gone"]
    assert kept.works


def test_a_long_list_has_pages(account, alice):
    for number in range(52):
        make.make_key(account, name=f"key {number}")
    first = alice.get("/settings/api-keys")
    assert (len(first.context["keys"]), first.context["part"].next) == (50, "?page=2")
    second = alice.get("/settings/api-keys?page=2")
    assert (len(second.context["keys"]), second.context["part"].next) == (2, "")


def test_every_settings_page_takes_few_queries_whatever_there_is(account, alice, django_assert_max_num_queries):
    keys = [make.make_key(account, name=f"key {number}")[0] for number in range(12)]
    tokens = [make.make_token(account, name=f"token {number}")[0] for number in range(6)]
    for row in [*keys, *tokens]:
        verbs.write(notes=notes(row, 60))
    for _ in range(6):
        make.make_member(account, "developer")
        make.make_app(account)
        make.sign_in(make.owner_of(account).user)
    old = keys[0]
    successor, _ = api_keys.rotate(key=old, by=SYSTEM, grantable=make.owner_of(account).scopes)
    paths = ["account", "limits", "members", "members/invite", "audit-log", "api-keys", "api-keys/new", "api-tokens"]
    paths += ["api-tokens/new", "oauth-apps", "oauth-apps/new", "api-keys?show=ended", "audit-log?type=api_key.*"]
    paths += [f"api-keys/{row.public_id}{verb}" for row in (old, successor) for verb in ("", "/rotate", "/revoke")]
    paths += [f"api-keys/{old.public_id}/traffic", f"api-keys/{old.public_id}/seen", "permissions?preset=ci"]
    paths += [f"api-tokens/{tokens[0].public_id}", f"api-tokens/{tokens[0].public_id}/revoke"]
    for path in [*(f"/settings/{path}" for path in paths), "/accounts/sessions/"]:
        with django_assert_max_num_queries(MOST_QUERIES):
            assert alice.get(path).status_code in (200, 286), path
