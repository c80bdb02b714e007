"""`/v1/account/api-keys`."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import ApiKey
from accounts.models.api_key import Secret
from accounts.scopes import ROLE_SCOPES, SCOPES
from core.models import Event
from tests import make
from tests.api.test_errors import refused

pytestmark = [pytest.mark.django_db, pytest.mark.db]
PATH = "/account/api-keys"


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def api(account):
    return make.make_api(account)


def bob_of(account, role="developer", scopes=("*",)):
    return make.Api(make.make_key(account, member=make.make_member(account, role), scopes=scopes)[1].key)


def test_a_new_key_is_shown_once_in_both_spellings_and_works(api):
    answer = api.post(PATH, {"name": "deploy", "scopes": ["instances:*"]})
    assert answer.status_code == 201
    data = answer.json()["data"]
    assert data["key"].startswith("λ_sk_")
    assert data["key_ascii"] == "lambda_" + data["key"].removeprefix("λ_")
    assert data["scopes"] == [f"instances:{verb}" for verb in ("read", "create", "update", "delete", "power")]
    assert make.Api(data["key"]).get("/instances").status_code == 200
    read = api.get(f"{PATH}/{data['id']}")
    assert not {"key", "key_ascii", "digest"} & set(read.json()["data"])
    assert Secret.parse(data["key"]).text.encode() not in read.content + api.get(PATH).content


def test_nothing_of_a_key_is_kept_but_a_hash_that_needs_the_pepper(api, settings):
    secret = Secret.parse(api.post(PATH, {"name": "deploy"}).json()["data"]["key"])
    row = ApiKey.objects.get(name="deploy")
    kept = " ".join(str(value) for value in vars(row).values())
    assert secret.text not in kept
    assert row.digest == secret.digest
    settings.LAMBDA_KEY_PEPPER = b"another pepper"
    assert row.digest != secret.digest


def test_the_secret_is_in_no_event(api):
    key = api.post(PATH, {"name": "deploy"}).json()["data"]["key_ascii"]
    for event in Event.objects.all():
        assert key.removeprefix("lambda_") not in str(event.data)


def test_a_key_made_without_scopes_gets_its_makers(account):
    api = make.make_api(account, scopes=["api_keys:*", "catalog:read"])
    made = api.post(PATH, {"name": "child"}).json()["data"]
    assert made["scopes"] == ["api_keys:read", "api_keys:write", "catalog:read"]


def test_a_key_cannot_grant_what_it_has_not(account):
    api = make.make_api(account, scopes=["api_keys:*", "catalog:read"])
    error = refused(api.post(PATH, {"name": "child", "scopes": ["*:read"]}), 400, "invalid_request")
    assert error["details"]["value"] == "instances:read"
    assert error["details"]["allowed_values"] == ["api_keys:read", "api_keys:write", "catalog:read"]
    assert not ApiKey.objects.filter(name="child").exists()


@pytest.mark.parametrize("scopes", [[], ["instances:fly"], ["*:write"], ["instances"], ["read"], [""]])
def test_an_unknown_or_empty_scope_is_refused_and_the_allowed_ones_named(api, scopes):
    error = refused(api.post(PATH, {"name": "child", "scopes": scopes}), 400, "invalid_request")
    assert error["details"]["field"].startswith("scopes")


def test_every_unknown_scope_is_named_at_once(api):
    error = refused(api.post(PATH, {"name": "child", "scopes": ["a:b", "c:d"]}), 400, "invalid_request")
    assert [one["value"] for one in error["details"]["errors"]] == ["a:b", "c:d"]
    assert "instances:*" in error["details"]["allowed_values"]


def test_a_key_lives_ninety_days_unless_told_otherwise(api):
    def life(**fields):
        made = api.post(PATH, {"name": "x"} | fields).json()["data"]
        return made["expires_at"] and ApiKey.objects.get(pk=ApiKey.key(made["id"])).expires_at - timezone.now()

    assert timedelta(days=89, hours=23) < life() <= timedelta(days=90)
    assert life(expires_at=None) is None
    tomorrow = timezone.now() + timedelta(days=1)
    assert timedelta(hours=23) < life(expires_at=tomorrow.isoformat()) <= timedelta(days=1)


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "yesterday", 5, ""])
def test_an_expiry_that_is_past_too_far_or_no_time_is_refused(api, when):
    error = refused(api.post(PATH, {"name": "x", "expires_at": when}), 400, "invalid_request")
    assert error["details"]["field"] == "expires_at"


@pytest.mark.parametrize("cidr", ["203.0.113.7/24", "300.0.0.1", "anywhere", "", "10.0.0.0/33", "::/129"])
def test_an_address_that_is_none_is_refused_with_an_example(api, cidr):
    error = refused(api.post(PATH, {"name": "x", "allowed_cidrs": [cidr]}), 400, "invalid_request")
    assert error["details"]["field"].startswith("allowed_cidrs")


def test_the_status_follows_the_life_of_a_key(account, api):
    key = make.make_key(account, expires_at=make.days(20))[0]

    def status():
        return ApiKey.objects.get(pk=key.pk).status

    assert status() == "active"
    with time_machine.travel(timezone.now() + timedelta(days=10), tick=False):
        assert status() == "expiring"
    with time_machine.travel(timezone.now() + timedelta(days=21), tick=False):
        assert status() == "expired"
    api.post(f"{PATH}/{key.public_id}/rotate", {"overlap_hours": 5})
    assert status() == "retiring"
    api.delete(f"{PATH}/{key.public_id}")
    assert status() == "revoked"


class TestRotation:
    def test_the_successor_has_everything_but_the_secret_and_both_work_during_the_overlap(self, account, api):
        old, secret = make.make_key(account, scopes=["instances:read"], allowed_cidrs=["127.0.0.0/8"], name="deploy")
        answer = api.post(f"{PATH}/{old.public_id}/rotate", {"overlap_hours": 2})
        assert answer.status_code == 201
        new = answer.json()["data"]
        assert new["id"] != old.public_id
        same = {name: new[name] for name in ("name", "scopes", "allowed_cidrs", "created_by")}
        assert same == {
            "name": "deploy",
            "scopes": ["instances:read"],
            "allowed_cidrs": ["127.0.0.0/8"],
            "created_by": old.created_by.public_id,
        }
        assert make.Api(secret.key).get("/instances").status_code == 200
        assert make.Api(new["key"]).get("/instances").status_code == 200
        with time_machine.travel(timezone.now() + timedelta(hours=2, seconds=1), tick=False):
            refused(make.Api(secret.key).get("/instances"), 401, "token_expired")
            assert make.Api(new["key"]).get("/instances").status_code == 200

    def test_the_successor_lives_as_long_as_the_old_one_did(self, account, api):
        old, _ = make.make_key(account, expires_at=make.days(30))
        with time_machine.travel(timezone.now() + timedelta(days=10), tick=False):
            new = api.post(f"{PATH}/{old.public_id}/rotate").json()["data"]
            life = ApiKey.objects.get(pk=ApiKey.key(new["id"])).expires_at - timezone.now()
        assert timedelta(days=29, hours=23) < life <= timedelta(days=30)

    def test_an_overlap_never_lengthens_a_life(self, account, api):
        old, _ = make.make_key(account, expires_at=make.days(1))
        api.post(f"{PATH}/{old.public_id}/rotate", {"overlap_hours": 720})
        assert ApiKey.objects.get(pk=old.pk).expires_at == old.expires_at

    @pytest.mark.parametrize("hours", [-1, 721, "soon", None, 1.5])
    def test_an_overlap_beyond_thirty_days_is_refused(self, account, api, hours):
        key = make.make_key(account)[0]
        answer = api.post(f"{PATH}/{key.public_id}/rotate", {"overlap_hours": hours})
        assert refused(answer, 400, "invalid_request")["details"]["field"] == "overlap_hours"

    def test_a_key_is_rotated_once(self, account, api):
        key = make.make_key(account)[0]
        assert api.post(f"{PATH}/{key.public_id}/rotate").status_code == 201
        error = refused(api.post(f"{PATH}/{key.public_id}/rotate"), 409, "invalid_state")
        assert error["details"]["current"] == "retiring"

    def test_a_revoked_key_stays_revoked(self, account, api):
        key = make.make_key(account)[0]
        api.delete(f"{PATH}/{key.public_id}")
        refused(api.post(f"{PATH}/{key.public_id}/rotate"), 409, "invalid_state")

    def test_a_small_key_cannot_rotate_a_great_one_and_take_its_successor(self, account):
        great, _ = make.make_key(account, scopes=["*"])
        small = make.make_api(account, scopes=["api_keys:*"])
        error = refused(small.post(f"{PATH}/{great.public_id}/rotate"), 403, "forbidden")
        assert "instances:read" in error["details"]["beyond"]
        assert ApiKey.objects.filter(account=account).count() == 2

    def test_a_developer_cannot_take_over_the_owners_key(self, account):
        great, _ = make.make_key(account, scopes=["*"])
        refused(bob_of(account).post(f"{PATH}/{great.public_id}/rotate"), 403, "forbidden")


class TestWhoMayChangeAKey:
    @pytest.mark.parametrize(("method", "body"), [("PATCH", {"name": "mine now"}), ("DELETE", None)])
    def test_a_developer_changes_their_own_keys_only(self, account, method, body):
        alices, _ = make.make_key(account, scopes=["instances:read"])
        member = make.make_member(account, "developer")
        bobs, secret = make.make_key(account, member=member)
        bob = make.Api(secret.key)
        error = refused(bob.request(method, f"{PATH}/{alices.public_id}", body), 403, "forbidden")
        assert error["message"].startswith("Insufficient permissions")
        assert bob.request(method, f"{PATH}/{bobs.public_id}", body).status_code == 200

    @pytest.mark.parametrize("role", ["owner", "admin"])
    def test_owners_and_admins_revoke_everyones(self, account, role):
        key, _ = make.make_key(account, member=make.make_member(account, "developer"))
        assert bob_of(account, role).delete(f"{PATH}/{key.public_id}").status_code == 200

    def test_charlie_finds_nothing_of_alices(self, account):
        key, _ = make.make_key(account)
        charlie = make.make_api()
        for method, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")]:
            refused(charlie.request(method, f"{PATH}/{key.public_id}{path}", {}), 404, "not_found")
        assert key.public_id not in charlie.get(PATH).content.decode()
        assert ApiKey.objects.get(pk=key.pk).status == "active"

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_who_may_not_write_keys_makes_none(self, account, role):
        refused(bob_of(account, role).post(PATH, {"name": "x"}), 403, "insufficient_scope")


def test_a_revoked_key_is_still_listed_and_revoking_it_again_changes_nothing(account, api):
    key, _ = make.make_key(account)
    first, second = (api.delete(f"{PATH}/{key.public_id}") for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json()["data"]["status"] == "revoked"
    assert first.json()["data"]["revoked_at"] == second.json()["data"]["revoked_at"]
    assert Event.objects.filter(type="api_key.revoked").count() == 1


def test_a_key_can_revoke_itself(account):
    key, secret = make.make_key(account)
    api = make.Api(secret.key)
    assert api.delete(f"{PATH}/{key.public_id}").status_code == 200
    refused(api.get(PATH), 401, "key_revoked")


def test_the_plan_limits_the_keys_that_work(django_capture_on_commit_callbacks):
    account = make.make_account(plan="free")
    api = make.make_api(account)
    limit = account.plan.max_api_keys
    made = [api.post(PATH, {"name": "x"}).json()["data"] for _ in range(limit - 1)]
    error = refused(api.post(PATH, {"name": "one more"}), 403, "quota_exceeded")
    assert {name: error["details"][name] for name in ("limit", "used", "requested")} == {
        "limit": limit,
        "used": limit,
        "requested": 1,
    }
    api.delete(f"{PATH}/{made[0]['id']}")
    assert api.post(PATH, {"name": "one more"}).status_code == 201


def test_every_write_is_recorded(account, api):
    made = api.post(PATH, {"name": "x"}).json()["data"]
    api.patch(f"{PATH}/{made['id']}", {"name": "y"})
    api.post(f"{PATH}/{made['id']}/rotate")
    api.delete(f"{PATH}/{made['id']}")
    types = list(Event.objects.filter(subject_id=ApiKey.key(made["id"])).order_by("seq").values_list("type", flat=True))
    assert types == ["api_key.created", "api_key.updated", "api_key.rotated", "api_key.revoked"]


def test_a_role_has_the_scopes_of_the_contract():
    assert ROLE_SCOPES["owner"] == ROLE_SCOPES["admin"] == frozenset(SCOPES)
    assert not [scope for scope in ROLE_SCOPES["viewer"] if not scope.endswith(":read")]
    assert not ROLE_SCOPES["viewer"] & {"audit:read", "members:read"}
    assert ROLE_SCOPES["billing"] == {"billing:read", "billing:write", "account:read", "catalog:read"}
    assert "billing:write" not in ROLE_SCOPES["developer"]
    assert "account:write" not in ROLE_SCOPES["developer"]
