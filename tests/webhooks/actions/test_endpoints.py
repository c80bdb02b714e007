"""Webhooks: what may be asked of them, what is refused in words, and when they are given up."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from core import ids, seals
from core.context import SYSTEM
from core.errors import Invalid
from core.models import Counter, Event
from tests import make
from webhooks import tasks
from webhooks.actions import deliveries, endpoints
from webhooks.models import Endpoint
from webhooks.models.endpoint import PURPOSE, WebhookDisabled
from webhooks.targets import Allowed

pytestmark = [pytest.mark.django_db, pytest.mark.db]

URL = "https://example.com/hook"


@pytest.fixture
def account():
    return make.make_account()


def recorded(type):
    return Event.objects.filter(type=type).count()


def test_a_secret_is_made_shown_once_and_kept_sealed(account):
    endpoint, secret = endpoints.create(account=account, by=SYSTEM, url=URL, events=["instance.*"])
    stored = Endpoint.objects.get(pk=endpoint.pk)
    assert secret.startswith("whsec_")
    assert secret not in stored.sealed_secret
    assert seals.unseal(PURPOSE, stored.sealed_secret) == secret
    assert stored.secrets(timezone.now()) == [secret]
    assert not any(secret in str(event.data) for event in Event.objects.all())


def test_every_mistake_of_a_webhook_is_told_at_once(account):
    with pytest.raises(Invalid) as refused:
        endpoints.create(
            account=account, by=SYSTEM, url="http://10.0.0.1/", events=["instance.exploded", "*", "*"], secret="short"
        )
    told = [(error.field, error.message) for error in refused.value.errors]
    assert [field for field, _ in told] == ["url", "events", "events", "secret"]
    assert "https://" in told[0][1]
    assert "'instance.exploded' is no event type" in told[1][1]
    assert "'*' is there twice" in told[2][1]
    assert "at least 16 bytes" in told[3][1]
    assert "instance.created" in refused.value.errors[1].allowed_values
    assert Counter.of(account, "webhook") == 0


def test_a_webhook_for_nothing_is_refused(account):
    with pytest.raises(Invalid, match="at least one event type"):
        endpoints.create(account=account, by=SYSTEM, url=URL, events=[])


def test_plain_http_is_for_this_machine_alone_and_only_where_the_operator_says_so(account, settings):
    here = "http://127.0.0.1:9000/hook"
    with pytest.raises(Invalid, match="https"):
        endpoints.create(account=account, by=SYSTEM, url=here, events=["*"])
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    endpoints.create(account=account, by=SYSTEM, url=here, events=["*"])
    with pytest.raises(Invalid, match="https"):
        endpoints.create(account=account, by=SYSTEM, url="http://example.com/", events=["*"])


def test_a_name_that_does_not_resolve_yet_is_accepted(account):
    endpoints.create(account=account, by=SYSTEM, url="https://not-there-yet.invalid/hook", events=["*"])


def test_an_account_has_so_many_webhooks_and_no_more(account, monkeypatch):
    monkeypatch.setattr(endpoints, "MAX_WEBHOOKS", 2)
    first = make.make_webhook(account)
    make.make_webhook(account)
    with pytest.raises(endpoints.WebhookQuotaExceeded):
        make.make_webhook(account)
    endpoints.delete(endpoint=first, by=SYSTEM)
    make.make_webhook(account)
    assert Counter.of(account, "webhook") == 2


def test_what_is_deleted_forgets_its_secrets_at_once_and_its_deliveries_soon(account):
    endpoint = make.make_webhook(account)
    delivery = make.make_delivery(endpoint)
    endpoints.delete(endpoint=endpoint, by=SYSTEM)
    endpoints.delete(endpoint=endpoint, by=SYSTEM)
    stored = Endpoint.objects.get(pk=endpoint.pk)
    assert (stored.state, stored.sealed_secret, stored.sealed_old_secret) == ("deleted", "", "")
    assert recorded("webhook.deleted") == 1
    assert not Endpoint.objects.for_account(account).exists()
    assert deliveries.purge() == 1
    assert not type(delivery).objects.exists()


def test_during_an_overlap_the_old_secret_comes_first_and_then_it_is_forgotten(account):
    endpoint, old = endpoints.create(account=account, by=SYSTEM, url=URL, events=["*"])
    endpoint, new = endpoints.rotate_secret(endpoint=endpoint, by=SYSTEM, overlap_hours=2)
    now = timezone.now()
    assert endpoint.secrets(now) == [old, new]
    assert endpoint.secrets(now + timedelta(hours=2)) == [new]
    with pytest.raises(endpoints.RotationUnderWay):
        endpoints.rotate_secret(endpoint=endpoint, by=SYSTEM, overlap_hours=1)
    Endpoint.objects.update(old_secret_until=now)
    tasks.sweep()
    assert Endpoint.objects.get().sealed_old_secret == ""


def test_a_secret_that_leaked_ends_at_once_even_in_an_overlap(account):
    endpoint = make.make_webhook(account)
    endpoints.rotate_secret(endpoint=endpoint, by=SYSTEM, overlap_hours=24)
    endpoint, newest = endpoints.rotate_secret(endpoint=endpoint, by=SYSTEM, overlap_hours=0, secret="x" * 20)
    assert newest == "x" * 20
    assert endpoint.secrets(timezone.now()) == [newest]
    assert endpoint.sealed_old_secret == ""


@pytest.mark.parametrize("hours", [-1, 169])
def test_an_overlap_has_its_bounds(account, hours):
    with pytest.raises(Invalid, match="from 0 to 168"):
        endpoints.rotate_secret(endpoint=make.make_webhook(account), by=SYSTEM, overlap_hours=hours)


def test_nothing_can_be_asked_of_a_disabled_webhook_but_to_be_enabled(account):
    endpoint = endpoints.update(endpoint=make.make_webhook(account), by=SYSTEM, status="disabled")
    now = timezone.now()
    with pytest.raises(WebhookDisabled):
        deliveries.test(endpoint=endpoint, by=SYSTEM)
    with pytest.raises(WebhookDisabled):
        endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(hours=1), to=now)
    endpoint = endpoints.update(endpoint=endpoint, by=SYSTEM, status="active")
    assert (endpoint.state, endpoint.disabled_at, endpoint.disabled_reason) == ("active", None, "")
    deliveries.test(endpoint=endpoint, by=SYSTEM)


def test_what_was_missed_is_asked_for_in_the_commit_that_enables_or_nothing_is(account):
    endpoint = endpoints.update(endpoint=make.make_webhook(account), by=SYSTEM, status="disabled")
    before = Event.objects.count()
    with pytest.raises(Invalid, match="30 days ago"):
        endpoints.enable(endpoint=endpoint, by=SYSTEM, recover_since=timezone.now() - timedelta(days=31))
    endpoint.refresh_from_db()
    assert (endpoint.state, Event.objects.count()) == ("disabled", before)
    missed = timezone.now() - timedelta(hours=1)
    endpoint = endpoints.enable(endpoint=endpoint, by=SYSTEM, recover_since=missed)
    assert (endpoint.state, endpoint.replay_after, endpoint.replay_all) == ("active", ids.earliest(missed), False)
    assert (recorded("webhook.updated"), recorded("webhook.replayed")) == (2, 1)


@pytest.mark.parametrize(("replayed", "missed"), [(1, 2), (2, 1)])
def test_a_replay_that_a_webhook_was_disabled_amidst_goes_on_over_what_it_missed_too(account, replayed, missed):
    now = timezone.now()
    endpoint = make.make_webhook(account)
    endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(days=replayed), to=now - timedelta(hours=1))
    endpoints.update(endpoint=endpoint, by=SYSTEM, status="disabled")
    endpoint = endpoints.enable(endpoint=endpoint, by=SYSTEM, recover_since=now - timedelta(days=missed))
    assert endpoint.replay_after == ids.earliest(now - timedelta(days=2))
    assert endpoint.replay_to >= now
    assert endpoint.replay_all


def test_a_deleted_webhook_is_not_revived(account):
    endpoint = make.make_webhook(account)
    endpoints.delete(endpoint=endpoint, by=SYSTEM)
    for status in ("active", "disabled"):
        assert endpoints.update(endpoint=endpoint, by=SYSTEM, status=status).state == "deleted"


def test_a_replay_is_refused_for_what_is_no_longer_kept_and_while_one_runs(account):
    endpoint, now = make.make_webhook(account), timezone.now()
    with pytest.raises(Invalid, match="30 days ago"):
        endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(days=31), to=now)
    with pytest.raises(Invalid, match="later than from"):
        endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now, to=now)
    with pytest.raises(Invalid, match="in the past"):
        endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now + timedelta(days=1), to=now + timedelta(days=2))
    endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(days=1), to=now)
    with pytest.raises(endpoints.ReplayUnderWay):
        endpoints.replay(endpoint=endpoint, by=SYSTEM, from_=now - timedelta(days=1), to=now)


def test_whoever_is_given_up_is_told_once_by_mail_and_by_an_event(account, django_capture_on_commit_callbacks):
    endpoint = make.make_webhook(account)
    with django_capture_on_commit_callbacks(execute=True):
        assert endpoints.give_up(endpoint_id=endpoint.pk, reason="It is gone.")
        assert not endpoints.give_up(endpoint_id=endpoint.pk, reason="It is gone.")
    make.work()
    tasks.mail_disabled(endpoint_id=str(endpoint.pk))
    (message,) = mail.outbox
    assert message.to == [make.owner_of(account).user.email]
    assert endpoint.url in message.body
    assert "It is gone." in message.body
    assert recorded("webhook.disabled") == 1


def test_a_mail_whose_nudge_was_lost_is_sent_by_the_sweep(account, django_capture_on_commit_callbacks):
    endpoint = make.make_webhook(account)
    endpoints.give_up(endpoint_id=endpoint.pk, reason="It is gone.")  # its nudge waits for a commit that never comes
    assert mail.outbox == []
    with django_capture_on_commit_callbacks(execute=True):
        tasks.sweep()
    make.work()
    assert len(mail.outbox) == 1
