"""Webhooks in the dashboard."""

import html
import re
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from core import ids
from core.context import SYSTEM
from tests import make
from webhooks.actions import attempts, deliveries, endpoints
from webhooks.actions.attempts import Outcome
from webhooks.models import Delivery, Endpoint
from webhooks.models.delivery import Health
from webhooks.views.webhooks import strip

pytestmark = pytest.mark.django_db
SECRET = "a secret of sixteen bytes"
MOST_QUERIES = 8
HTMX = {"HTTP_HX_REQUEST": "true"}


def shown(page):
    return html.unescape(page.content.decode())


def tried(endpoint, *answers):
    """A test delivery that was attempted, with these answers: a status, or None where nobody answered."""
    delivery = make.make_delivery(endpoint)
    for status in answers:
        Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        claimed = attempts.claim(rooms={endpoint.pk: 10})
        mine = next(one for one in claimed if one.id == delivery.pk)
        attempts.release(claimed=[one for one in claimed if one is not mine])
        error = "" if status == 200 else f"The receiver answered {status}." if status else "Nobody listens there."
        outcome = Outcome(
            mine, timezone.now(), endpoint.url, {"X-Test": "sent"}, "sha256=" + "0" * 64, status, error, 40
        )
        outcome.response_body = "<b>thanks</b>"
        attempts.settle(outcomes=[outcome])
    delivery.refresh_from_db()
    return delivery


def test_a_test_event_leads_to_its_delivery(account, alice):
    row = make.make_webhook(account)
    answer = alice.post(f"/webhooks/{row.public_id}/test")
    delivery = Delivery.objects.get()
    assert (delivery.event_type, answer["Location"]) == ("webhook.test", f"/webhooks/deliveries/{delivery.public_id}")


def test_rotating_shows_the_new_secret_once_and_says_what_signs_meanwhile(account, alice):
    row = make.make_webhook(account, secret=SECRET)
    path = f"/webhooks/{row.public_id}/rotate"
    assert "both, side by side" in shown(alice.get(path))
    page = alice.post(path, {"overlap_hours": "24"})
    row.refresh_from_db()
    old, new = row.secrets(timezone.now())
    assert (old, page["Cache-Control"]) == (SECRET, "no-store")
    assert new in shown(page)
    assert SECRET not in shown(page)
    assert "goes on signing" in shown(page)
    again = alice.post(path, {"overlap_hours": "24"})
    assert again.status_code == 422
    assert "still signs" in str(again.context["form"].errors)
    assert alice.post(path, {"overlap_hours": "0"}).status_code == 200
    row.refresh_from_db()
    assert len(row.secrets(timezone.now())) == 1


@pytest.mark.only("sqlite")  # in one transaction nothing is committed yet, as PostgreSQL sees it
def test_a_webhook_is_disabled_and_enabled_with_what_it_missed(account, alice):
    row = make.make_webhook(account)
    alice.post(f"/webhooks/{row.public_id}/switch", {"status": "disabled"})
    endpoints.give_up(endpoint_id=row.pk, reason="never reached")
    row.refresh_from_db()
    assert (row.state, row.disabled_reason) == ("disabled", "Disabled by hand.")
    assert "Disabled by hand." in shown(alice.get(f"/webhooks/{row.public_id}"))
    assert "Send what it missed" in shown(alice.get(f"/webhooks/{row.public_id}/switch"))
    missed = make.make_ssh_key(account)
    assert deliveries.fan_out()
    assert not Delivery.objects.filter(event_type="ssh_key.added").exists()
    alice.post(f"/webhooks/{row.public_id}/switch", {"status": "active", "recover": "1"})
    row.refresh_from_db()
    assert row.state == "active"
    deliveries.replay_some()
    sent = Delivery.objects.get(event_type="ssh_key.added")
    assert sent.event.subject_id == missed.pk


def test_enabling_without_what_was_missed_sends_nothing_again(account, alice):
    row = make.make_webhook(account)
    endpoints.update(endpoint=row, by=SYSTEM, status="disabled")
    alice.post(f"/webhooks/{row.public_id}/switch", {"status": "active"})
    row.refresh_from_db()
    assert (row.state, row.replay_to) == ("active", None)


def test_a_webhook_that_was_given_up_is_recovered_since_it_first_failed(account, alice):
    row = make.make_webhook(account)
    failing = timezone.now() - timedelta(days=6)
    Endpoint.objects.update(failing_since=failing)
    endpoints.give_up(endpoint_id=row.pk, reason="Nothing has arrived.")
    assert "6 days ago" in shown(alice.get(f"/webhooks/{row.public_id}/switch"))
    alice.post(f"/webhooks/{row.public_id}/switch", {"status": "active", "recover": "1"})
    row.refresh_from_db()
    assert row.replay_after == ids.earliest(failing)
    assert not row.replay_all


def test_a_range_is_sent_again(account, alice):
    row = make.make_webhook(account)
    start = timezone.now() - timedelta(days=2)
    path = f"/webhooks/{row.public_id}/replay"
    assert alice.get(path).status_code == 200
    answer = alice.post(path, {"from": f"{start:%Y-%m-%dT%H:%M}", "to": "", "which": "all"})
    assert answer.status_code == 302
    row.refresh_from_db()
    assert row.replay_all
    assert row.replay_after == ids.earliest(start.replace(second=0, microsecond=0))
    assert "are being sent again" in shown(alice.get(answer["Location"]))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"from": ""}, "from"),
        ({"from": "2020-01-01T00:00"}, "from"),
        ({"to": "2020-01-01T00:00"}, "to"),
        ({"which": ""}, "which"),
    ],
)
def test_a_range_that_cannot_be_is_said_beside_its_field(account, alice, wrong, field):
    row = make.make_webhook(account)
    given = {"from": f"{timezone.now() - timedelta(days=1):%Y-%m-%dT%H:%M}", "to": "", "which": "all"} | wrong
    page = alice.post(f"/webhooks/{row.public_id}/replay", given)
    assert page.status_code == 422
    assert page.context["form"].errors[field]


def test_deleting_takes_typing_the_host(account, alice):
    row = make.make_webhook(account)
    path = f"/webhooks/{row.public_id}/delete"
    assert alice.post(path, {"confirm": "example"}).status_code == 422
    assert Endpoint.objects.for_account(account).exists()
    assert alice.post(path, {"confirm": "example.com"})["Location"] == "/webhooks"
    assert not Endpoint.objects.for_account(account).exists()
    assert alice.get(f"/webhooks/{row.public_id}").status_code == 404


def test_deliveries_are_filtered_by_the_address(account, alice):
    row = make.make_webhook(account)
    good, bad, silent = tried(row, 200), tried(row, 503), tried(row, None)
    waiting = make.make_delivery(row)

    def found(query):
        return {one.pk for one in alice.get(f"/webhooks/{row.public_id}?{query}").context["deliveries"]}

    assert found("") == {good.pk, bad.pk, silent.pk, waiting.pk}
    assert found("answer=2xx") == {good.pk}
    assert found("answer=5xx") == {bad.pk}
    assert found("answer=none") == {silent.pk}
    assert found("status=pending") == {bad.pk, silent.pk, waiting.pk}
    assert found("type=webhook.test&status=delivered") == {good.pk}
    assert found("type=instance.created") == set()
    odd = alice.get(f"/webhooks/{row.public_id}?answer=9xx")
    assert odd.status_code == 422


def test_older_deliveries_are_a_link_away(account, alice):
    row = make.make_webhook(account)
    for _ in range(27):
        make.make_delivery(row)
    first = alice.get(f"/webhooks/{row.public_id}?status=pending")
    assert len(first.context["deliveries"]) == 25
    second = alice.get(f"/webhooks/{row.public_id}{first.context['part'].next}")
    assert len(second.context["deliveries"]) == 2
    assert second.context["part"].next == ""
    assert "status=pending&before=whd_" in first.context["part"].next
    assert len(alice.get(f"/webhooks/{row.public_id}?before=nonsense").context["deliveries"]) == 25


def test_the_list_of_deliveries_asks_for_itself_while_something_is_about_to_happen(account, alice):
    row = make.make_webhook(account)
    delivery = make.make_delivery(row)
    path = f"/webhooks/{row.public_id}"
    assert alice.get(path, **HTMX).status_code == 200
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    assert alice.get(path, **HTMX).status_code == 286
    assert "<html" not in shown(alice.get(path, **HTMX))


def test_health_counts_what_is_tried_again_as_not_arrived():
    health = Health(["pending", "retrying", "failed", "delivered", "delivered"], 20, 90)
    dots = strip(health)
    assert dots.rate == "50 %"
    assert dots.words == (
        "The last 5 deliveries: 2 arrived, 1 failed, 1 failed so far and will be tried again, 1 not sent yet"
    )
    assert {tone: path.count("M") for tone, path in dots.paths} == {"none": 95, "ok": 2, "bad": 1, "warn": 1, "busy": 1}
    assert strip(Health(["delivered"] * 99 + ["failed"], 1, 1)).rate == "99 %"
    assert strip(Health([], None, None)).rate == ""


def test_the_health_of_an_endpoint_tells_a_retry_from_what_was_never_sent(account):
    row = make.make_webhook(account)
    tried(row, 503)
    make.make_delivery(row)
    assert Delivery.objects.health([row])[row.pk].states == ["pending", "retrying"]


def test_every_page_takes_few_queries_whatever_there_is(account, alice, django_assert_max_num_queries):
    rows = [make.make_webhook(account) for _ in range(12)]
    for number in range(6):
        tried(rows[0], *[[200], [503], [503, None]][number % 3])
    endpoints.update(endpoint=rows[1], by=SYSTEM, status="disabled")
    paths = ["", "/new", "/signature", f"/{rows[0].public_id}?answer=5xx", f"/{rows[1].public_id}"]
    paths += [f"/{rows[0].public_id}{verb}" for verb in ("", "/change", "/rotate", "/switch", "/replay", "/delete")]
    for path in [*paths, f"/deliveries/{Delivery.objects.first().public_id}"]:
        with django_assert_max_num_queries(MOST_QUERIES):
            assert alice.get(f"/webhooks{path}").status_code == 200, path


def test_a_stranger_finds_nothing_and_a_viewer_may_only_look(account):
    row = make.make_webhook(account)
    delivery = make.make_delivery(row)
    paths = [
        f"/webhooks/{row.public_id}",
        f"/webhooks/{row.public_id}/change",
        f"/webhooks/deliveries/{delivery.public_id}",
    ]
    charlie = make.sign_in(make.owner_of(make.make_account(name="Charlie's")).user)
    for path in paths:
        assert charlie.get(path).status_code == 404
    for verb in ("test", "switch", "delete", "rotate", "replay"):
        assert charlie.post(f"/webhooks/{row.public_id}/{verb}").status_code == 404
    assert charlie.post(f"/webhooks/deliveries/{delivery.public_id}/resend").status_code == 404
    bob = make.sign_in(make.make_member(account, "viewer").user)
    assert "Send test event" not in shown(bob.get(paths[0]))
    assert bob.post(f"/webhooks/{row.public_id}/test").status_code == 403


def test_what_can_only_be_done_by_post_is_not_done_by_get(account, alice):
    row = make.make_webhook(account)
    assert alice.get(f"/webhooks/{row.public_id}/test").status_code == 405
    assert not Delivery.objects.exists()


def test_the_page_of_a_webhook_says_what_is_wrong(account, alice):
    row = make.make_webhook(account)
    with time_machine.travel(timezone.now() - timedelta(hours=3)):
        tried(row, None, None, None)
    text = shown(alice.get(f"/webhooks/{row.public_id}"))
    assert "The last 3 attempts have failed, the first of them 3 hours ago." in re.sub("<.*?>", "", text)
