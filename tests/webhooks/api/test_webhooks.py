"""`/v1/webhooks` as a client meets it. What holds for every endpoint is in test_contract.py."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Event
from tests import make
from webhooks import vectors
from webhooks.actions import attempts
from webhooks.models import Delivery, Endpoint

pytestmark = [pytest.mark.django_db, pytest.mark.db]

# As the document prints it.
SAMPLE = {
    "url": "https://your-app.com/webhook",
    "events": ["instance.created", "instance.stopped"],
    "secret": "your-webhook-secret",
}


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def api(account):
    return make.make_api(account)


def errors(response, status=400):
    assert response.status_code == status, response.content
    return [(error["field"], error["message"]) for error in response.json()["error"]["details"]["errors"]]


def test_the_documents_sample_works_as_printed_and_shows_the_secret_once(api):
    made = api.post("/webhooks", SAMPLE)
    assert made.status_code == 201
    data = made.json()["data"]
    assert data.items() >= (SAMPLE | {"status": "active", "failing_since": None, "replay": None}).items()
    assert data["standard_secret"].startswith("whsec_")
    for path in (f"/webhooks/{data['id']}", "/webhooks"):
        assert "secret" not in json.dumps(api.get(path).json()).replace("old_secret_until", "")


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"secret": "short"}, "secret", "at least 16 bytes, this one has 5"),
        ({"secret": " your-webhook-secret"}, "secret", "spaces"),
        ({"url": "http://your-app.com/webhook"}, "url", "https://"),
        ({"url": "https://10.0.0.7/webhook"}, "url", "10.0.0.7 is not an address on the Internet"),
        ({"url": "https://169.254.169.254/latest"}, "url", "not an address on the Internet"),
        ({"url": "https://0x7f.1/"}, "url", "unusual spelling"),
        ({"url": "https://me:pw@your-app.com/"}, "url", "without user name"),
        ({"url": "https://your-app.com:25/"}, "url", "port 25"),
        ({"url": "somewhere"}, "url", "https://host/path"),
        ({"events": ["instance.exploded"]}, "events", "'instance.exploded' is no event type"),
        ({"events": ["inst*"]}, "events", "no event type"),
        ({"events": ["instance.created", "instance.created"]}, "events", "'instance.created' is there twice"),
        ({"events": []}, "events", "at least one"),
    ],
)
def test_what_cannot_be_is_refused_in_words_that_name_the_field(api, fields, field, words):
    ((named, message),) = errors(api.post("/webhooks", SAMPLE | fields))
    assert named == field
    assert words in message
    assert not Endpoint.objects.exists()


def test_a_webhook_is_changed_switched_off_and_deleted(api):
    path = f"/webhooks/{api.post('/webhooks', SAMPLE).json()['data']['id']}"
    changed = api.patch(path, {"events": ["*"], "status": "disabled"}).json()["data"]
    assert (changed["events"], changed["status"], changed["url"]) == (["*"], "disabled", SAMPLE["url"])
    refused = api.post(f"{path}/test")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "invalid_state")
    assert refused.json()["error"]["details"]["allowed_from"] == ["active"]
    assert api.patch(path, {"status": "active"}).json()["data"]["status"] == "active"
    assert api.delete(path).json()["data"]["status"] == "active"
    assert api.get(path).status_code == 404
    assert api.get("/webhooks").json()["data"] == []


def test_webhooks_are_found_by_status_and_by_a_part_of_their_url(api):
    for url in ("https://one.example/", "https://two.example/"):
        api.post("/webhooks", SAMPLE | {"url": url})
    assert [one["url"] for one in api.get("/webhooks?q=two").json()["data"]] == ["https://two.example/"]
    assert api.get("/webhooks?status=disabled").json()["data"] == []
    ascending = api.get("/webhooks?sort=url&order=asc").json()["data"]
    assert ascending[0]["url"] == "https://one.example/"


def test_a_rotated_secret_is_shown_once_and_the_old_one_has_an_end(api):
    path = f"/webhooks/{api.post('/webhooks', SAMPLE).json()['data']['id']}"
    data = api.post(f"{path}/rotate-secret", {"overlap_hours": 2}).json()["data"]
    assert data["secret"] == data["standard_secret"] != SAMPLE["secret"]
    assert data["old_secret_until"] is not None
    again = api.post(f"{path}/rotate-secret", {"overlap_hours": 2})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert api.post(f"{path}/rotate-secret", {"overlap_hours": 0}).json()["data"]["old_secret_until"] is None


def test_a_delivery_shows_every_attempt_with_what_was_sent_and_answered(api, account):
    id = api.post("/webhooks", SAMPLE).json()["data"]["id"]
    delivery = api.post(f"/webhooks/{id}/test").json()["data"]
    assert (delivery["status"], delivery["attempts"], delivery["event_type"]) == ("pending", 0, "webhook.test")
    (claimed,) = attempts.claim(rooms={Endpoint.objects.get().pk: 9})
    answer = {"status": 500, "duration_ms": 12, "response_body": "oops", "response_headers": {"A": "b"}, "error": "500"}
    attempts.settle(
        outcomes=[attempts.Outcome(claimed, timezone.now(), SAMPLE["url"], {"X": "y"}, "sha256=00", **answer)]
    )
    found = api.get(f"/webhooks/{id}/deliveries/{delivery['id']}").json()["data"]
    assert (found["status"], found["attempts"], found["response_status"]) == ("pending", 1, 500)
    assert found["next_attempt_at"] is not None
    (attempt,) = found["tried"]
    assert attempt["request"]["headers"] == {"X": "y"}
    assert attempt["request"]["body"].endswith(',"signature":"sha256=00"}')
    assert json.loads(attempt["request"]["body"])["id"] == found["event_id"]
    assert attempt["response"] == {"status": 500, "headers": {"A": "b"}, "body": "oops"}


def test_a_webhook_that_begins_or_ceases_to_fail_is_another_version_of_it(api, account):
    endpoint = make.make_webhook(account)
    path = f"/webhooks/{endpoint.public_id}"
    for status, failing in ((500, True), (200, False)):
        before = api.get(path)["ETag"]
        make.make_delivery(endpoint)
        found = [
            attempts.Outcome(one, timezone.now(), SAMPLE["url"], {}, "", status=status)
            for one in attempts.claim(rooms={endpoint.pk: 9})
        ]
        attempts.settle(outcomes=found)
        shown = api.get(path)
        assert (shown.json()["data"]["failing_since"] is not None) is failing
        assert shown["ETag"] != before


def test_deliveries_are_narrowed_by_status_and_type(api, account):
    endpoint = make.make_webhook(account)
    for _ in range(2):
        make.make_delivery(endpoint)
    Delivery.objects.filter(sequence=1).update(state="failed")
    path = f"/webhooks/{endpoint.public_id}/deliveries"
    assert [one["sequence"] for one in api.get(f"{path}?status=failed").json()["data"]] == [1]
    assert len(api.get(f"{path}?type=webhook.test").json()["data"]) == 2
    assert errors(api.get(f"{path}?status=lost"))[0][0] == "status"


def test_a_delivery_of_one_webhook_is_not_found_below_another(api, account):
    one, other = make.make_webhook(account), make.make_webhook(account)
    id = make.make_delivery(one).public_id
    assert api.get(f"/webhooks/{one.public_id}/deliveries/{id}").status_code == 200
    assert api.get(f"/webhooks/{other.public_id}/deliveries/{id}").status_code == 404


def test_a_replay_is_accepted_and_shown_until_it_is_done(api):
    path = f"/webhooks/{api.post('/webhooks', SAMPLE).json()['data']['id']}"
    start = f"{timezone.now() - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    accepted = api.post(f"{path}/replay", {"from": start, "only_undelivered": True})
    assert accepted.status_code == 202
    assert accepted.json()["data"]["replay"]["only_undelivered"] is True
    assert errors(api.post(f"{path}/replay", {}))[0] == ("from", "from is required")
    tomorrow = f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert errors(api.post(f"{path}/replay", {"from": tomorrow}))[0] == ("from", "from must be in the past")
    assert api.post(f"{path}/replay", {"from": start}).status_code == 409


def test_no_secret_is_in_any_event_or_log_of_a_webhook(api):
    path = f"/webhooks/{api.post('/webhooks', SAMPLE).json()['data']['id']}"
    new = api.post(f"{path}/rotate-secret").json()["data"]["secret"]
    told = " ".join(str(event.data) for event in Event.objects.all())
    assert "webhook_id" in told
    assert SAMPLE["secret"] not in told
    assert new not in told


def test_the_test_vectors_need_no_key():
    answer = make.Api().get("/webhooks/test-vectors")
    assert answer.status_code == 200
    assert answer.json()["data"] == vectors.published()
