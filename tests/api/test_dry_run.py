"""`?dry_run=true`: everything is checked and priced, and nothing remains."""

import pytest
from django.test import TestCase

from accounts.models import ApiKey
from api.models import IdempotencyRecord
from compute.actions import instances
from compute.drivers.base import Capabilities
from compute.models import Instance, SshKey
from core.models import Counter, Event, Resource
from tests.make import PUBLIC_KEY, WANTED, make_account, make_api, make_instance, work

pytestmark = [pytest.mark.django_db, pytest.mark.db]

CREATES = {
    "/instances": WANTED,
    "/ssh-keys": {"name": "laptop", "generate": True},
    "/account/api-keys": {"name": "ci"},
}


def everything() -> list:
    models = (Instance, SshKey, ApiKey, Event, Resource, Counter, IdempotencyRecord)
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.mark.parametrize("path", CREATES)
def test_a_rehearsal_answers_200_with_an_estimate_and_leaves_nothing(path):
    api = make_api()
    api.post(f"{path}?dry_run=true", CREATES[path])
    before = everything()
    answer = api.post(f"{path}?dry_run=true", CREATES[path], HTTP_IDEMPOTENCY_KEY="once")
    assert answer.status_code == 200
    assert set(answer.json()["metadata"]["estimate"]) == {"hourly", "monthly", "currency"}
    assert answer.json()["data"]["name"] == CREATES[path]["name"]
    assert answer.json()["data"]["id"] is None
    assert everything() == before
    assert work() == []
    # The same key is still free for the real thing.
    assert api.post(path, CREATES[path], HTTP_IDEMPOTENCY_KEY="once").status_code == 201


def test_a_rehearsal_shows_no_secret_that_opens_nothing():
    api = make_api()
    assert "private_key" not in api.post("/ssh-keys?dry_run=true", CREATES["/ssh-keys"]).json()["data"]
    shown = api.post("/account/api-keys?dry_run=true", CREATES["/account/api-keys"]).json()["data"]
    assert not {"key", "key_ascii"} & set(shown)


def test_an_estimate_is_the_price_of_an_hour_and_of_730():
    api = make_api()
    shown = api.post("/instances?dry_run=true", WANTED | {"instance_type": "t2.micro", "region": "us-east"}).json()
    assert shown["data"]["instance_type"] == "compute-1x"
    assert shown["data"]["region"] == "us-east-1"
    hourly = api.get("/instance-types/compute-1x").json()["data"]["prices"]
    assert shown["metadata"]["estimate"] == {**hourly}
    free = api.post("/ssh-keys?dry_run=true", CREATES["/ssh-keys"]).json()["metadata"]["estimate"]
    assert free == {"hourly": "0.00", "monthly": "0.00", "currency": "USD"}


def test_a_rehearsal_refuses_what_the_real_thing_would():
    alice = make_account(plan="free")
    api = make_api(alice)
    assert api.post("/instances?dry_run=true", {**WANTED, "instance_type": "huge"}).status_code == 400
    assert make_api(alice, scopes=["instances:read"]).post("/instances?dry_run=true", WANTED).status_code == 403
    for _ in range(alice.plan.max_instances):
        make_instance(alice)
    quota = api.post("/instances?dry_run=true", WANTED)
    assert (quota.status_code, quota.json()["error"]["code"]) == (403, "quota_exceeded")
    api.post("/ssh-keys", {"name": "laptop", "public_key": PUBLIC_KEY})
    assert api.post("/ssh-keys?dry_run=true", {"name": "b", "public_key": PUBLIC_KEY}).status_code == 409


def test_a_rehearsal_says_when_no_machine_can_be_had():
    away = Capabilities(ok=False, reason="The agent is away", remedy="Start it")
    with TestCase.captureOnCommitCallbacks(execute=True):
        instances.note_node(name="local", capabilities=away)
    answer = make_api().post("/instances?dry_run=true", WANTED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")


def test_only_true_and_false_are_understood_and_only_by_creates():
    api = make_api()
    assert api.post("/instances?dry_run=yes", WANTED).json()["error"]["details"]["allowed_values"] == ["true", "false"]
    assert api.post("/instances?dry_run=false", WANTED).status_code == 201
    assert api.get("/instances?dry_run=true").json()["error"]["code"] == "unknown_parameter"
