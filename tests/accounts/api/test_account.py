"""`/v1/account`: the account, its limits, and who one is."""

import pytest

from accounts.actions import accounts
from core.context import SYSTEM
from core.models import Event
from tests.make import (
    PUBLIC_KEY,
    Api,
    make_account,
    make_api,
    make_instance,
    make_key,
    make_member,
    make_webhook,
    owner_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make_account(plan="free")


def test_the_account_is_read_as_it_is_now_not_as_the_process_remembers_it(alice):
    api = make_api(alice)
    shown = api.get("/account").json()["data"]
    assert (shown["id"], shown["name"], shown["plan"], shown["status"]) == (
        alice.public_id,
        "Alice's",
        "free",
        "active",
    )
    accounts.update(account=alice, name="Shop", by=SYSTEM)
    assert api.get("/account").json()["data"]["name"] == "Shop"
    accounts.suspend(account=alice, reason="Unpaid", by=SYSTEM)
    shown = api.get("/account").json()["data"]
    assert (shown["status"], shown["suspended_reason"]) == ("suspended", "Unpaid")


def test_its_name_can_be_changed_and_the_log_says_by_whom(alice):
    api = make_api(alice)
    answer = api.patch("/account", {"name": "  Shop "})
    assert answer.json()["data"]["name"] == "Shop"
    event = Event.objects.get(request_id=answer["X-Request-Id"])
    assert (event.type, event.data["name"], event.actor_kind) == ("account.updated", "Shop", "api_key")
    assert api.patch("/account", {"name": " "}).status_code == 400
    assert api.patch("/account", {"plan": "enterprise"}).json()["error"]["code"] == "unknown_parameter"
    viewer = make_api(alice, scopes=["account:read"])
    assert viewer.patch("/account", {"name": "Mine"}).status_code == 403


def test_limits_say_what_the_plan_allows_and_what_is_used(alice):
    api = make_api(alice)
    make_instance(alice, instance_type="compute-2x")
    api.post("/ssh-keys", {"name": "laptop", "public_key": PUBLIC_KEY})
    make_webhook(alice)
    limits = {row["name"]: row for row in api.get("/account/limits").json()["data"]}
    plan = alice.plan
    assert limits["instances"] == {"name": "instances", "limit": plan.max_instances, "used": 1, "unit": "count"}
    assert (limits["vcpus"]["used"], limits["vcpus"]["limit"]) == (2, plan.max_vcpus)
    assert (limits["ssh_keys"]["used"], limits["ssh_keys"]["limit"]) == (1, plan.max_ssh_keys)
    assert (limits["api_keys"]["used"], limits["api_keys"]["limit"]) == (1, plan.max_api_keys)
    assert limits["webhooks"] == {"name": "webhooks", "limit": 50, "used": 1, "unit": "count"}
    assert limits["requests"] == {"name": "requests", "limit": 1000, "used": 2, "unit": "per hour"}


def test_a_limit_that_is_reached_is_the_one_that_refuses(alice):
    api = make_api(alice)
    for _ in range(alice.plan.max_instances):
        make_instance(alice)
    instances = next(row for row in api.get("/account/limits").json()["data"] if row["name"] == "instances")
    assert instances["used"] == instances["limit"]


def test_whoami_names_account_actor_person_and_scopes_and_needs_no_scope(alice):
    bob = make_member(alice, "developer")
    key, secret = make_key(alice, member=bob, scopes=["catalog:read"], name="bobs")
    shown = Api(secret.key).get("/account/whoami").json()["data"]
    assert shown == {
        "account": {"id": alice.public_id, "name": "Alice's", "plan": "free"},
        "actor": {"kind": "api_key", "id": key.public_id, "name": "bobs"},
        "user": {"id": bob.user.public_id, "email": bob.user.email, "name": "bob"},
        "scopes": ["catalog:read"],
    }
    assert make_api(alice).get("/account/whoami").json()["data"]["user"]["email"] == owner_of(alice).user.email
