"""One delivery in the dashboard."""

import html
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Event
from tests import make
from tests.webhooks.views.test_webhooks import HTMX, tried
from webhooks.actions import endpoints
from webhooks.models import Attempt, Delivery

pytestmark = pytest.mark.django_db


def shown(page):
    return html.unescape(page.content.decode())


def path_of(delivery):
    return f"/webhooks/deliveries/{delivery.public_id}"


def test_what_was_sent_and_what_came_back_is_shown_to_the_byte(account, alice):
    delivery = tried(make.make_webhook(account), 503)
    attempt = Attempt.objects.get()
    page = alice.get(path_of(delivery))
    text = shown(page)
    assert f"<code>{attempt.body(delivery.event).decode()}</code>" in text
    assert "X-Test: sent" in text
    assert "<code>&lt;b&gt;thanks&lt;/b&gt;</code>" in page.content.decode(), (
        "what a receiver answers is no HTML of ours"
    )
    assert "40 ms" in text
    assert "The receiver answered 503." in text


def test_before_the_first_attempt_the_body_is_there_and_no_signature(account, alice):
    delivery = make.make_delivery(make.make_webhook(account))
    text = shown(alice.get(path_of(delivery)))
    assert "What will be sent" in text
    assert '"type":"webhook.test"' in text
    assert '"signature"' not in text


def test_each_attempt_can_be_looked_at(account, alice):
    delivery = tried(make.make_webhook(account), 503, None, 200)
    first, silent, last = Attempt.objects.order_by("id")
    assert "It arrived" in shown(alice.get(path_of(delivery)))
    assert alice.get(path_of(delivery)).context["attempt"] == last
    assert alice.get(f"{path_of(delivery)}?attempt={first.pk}").context["attempt"] == first
    assert "Nobody listens there." in shown(alice.get(f"{path_of(delivery)}?attempt={silent.pk}"))
    assert alice.get(f"{path_of(delivery)}?attempt=nonsense").context["attempt"] == last


def test_an_attempt_of_another_delivery_is_not_shown(account, alice):
    theirs = tried(make.make_webhook(make.make_account(name="Charlie's")), 200)
    mine = tried(make.make_webhook(account), 200)
    other = Attempt.objects.get(delivery=theirs)
    assert alice.get(f"{path_of(mine)}?attempt={other.pk}").context["attempt"].delivery_id == mine.pk


@pytest.mark.parametrize(
    ("seconds", "said", "every"), [(45, "in 4", "every 2s"), (3600 * 5 + 60, "in 5 hours", "every 30s")]
)
def test_the_next_attempt_is_counted_down(account, alice, seconds, said, every):
    delivery = tried(make.make_webhook(account), 503)
    Delivery.objects.update(next_attempt_at=timezone.now() + timedelta(seconds=seconds))
    text = shown(alice.get(path_of(delivery)))
    assert f"The next attempt is {said}" in re.sub("<time.*?>", "", text)
    assert every in text
    assert "9 of 10 are left" in text


def test_the_live_part_brings_the_newest_attempt_once_and_stops_when_it_has_arrived(account, alice):
    row = make.make_webhook(account)
    delivery = make.make_delivery(row)
    first = alice.get(f"{path_of(delivery)}?shown=", **HTMX)
    assert first.status_code == 200
    assert 'id="attempt"' not in shown(first)
    delivery = tried(row, 503)
    changed = alice.get(f"{path_of(delivery)}?shown=", **HTMX)
    assert 'id="attempt" hx-swap-oob="true"' in shown(changed)
    assert f"?shown={Attempt.objects.get().pk}" in shown(changed)
    same = alice.get(f"{path_of(delivery)}?shown={Attempt.objects.get().pk}", **HTMX)
    assert 'id="attempt"' not in shown(same)
    arrived = tried(row, 200)
    assert alice.get(f"{path_of(arrived)}?shown=", **HTMX).status_code == 286


def test_a_delivery_is_sent_again_with_all_its_tries(account, alice):
    delivery = tried(make.make_webhook(account), 200)
    answer = alice.post(f"{path_of(delivery)}/resend")
    assert answer["Location"] == path_of(delivery)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.attempts) == ("pending", 10, 1)
    assert Event.objects.get(type="webhook.redelivered").via == "dashboard"


def test_what_waits_for_a_disabled_webhook_says_so_and_cannot_be_sent(account, alice):
    row = make.make_webhook(account)
    delivery = make.make_delivery(row)
    endpoints.give_up(endpoint_id=row.pk, reason="Gone.")
    text = shown(alice.get(path_of(delivery)))
    assert "until the webhook is enabled" in text
    assert "every" not in text.partition('id="live"')[2].partition(">")[0]
    answer = alice.post(f"{path_of(delivery)}/resend", follow=True)
    assert "enable it first" in shown(answer)


def test_an_inspector_takes_few_queries_however_often_it_was_tried(account, alice, django_assert_max_num_queries):
    delivery = tried(make.make_webhook(account), *[503] * 9)
    alice.get("/")
    with django_assert_max_num_queries(8):
        assert len(alice.get(path_of(delivery)).context["tried"]) == 9
