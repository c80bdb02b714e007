"""Keys that are about to expire are announced, in time and not too often."""

from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from accounts.actions import api_keys
from accounts.tasks import warn_of_expiring_keys
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]


def warnings_over(days):
    """(day, event's days) of each warning, looking once a day."""
    seen, now = [], timezone.now()
    for day in range(days):
        with time_machine.travel(now + timedelta(days=day, minutes=1), tick=False):
            before = Event.objects.filter(type="api_key.expiring").count()
            warn_of_expiring_keys()
            warn_of_expiring_keys()
            seen += [
                (day, event.data["days"])
                for event in Event.objects.filter(type="api_key.expiring").order_by("seq")[before:]
            ]
    return seen


def test_a_key_is_announced_fourteen_three_and_one_days_before_once_each():
    key, _ = make.make_key(make.make_account(), expires_at=make.days(20), name="deploy")
    assert warnings_over(22) == [(6, "14"), (17, "3"), (19, "1")]
    assert [message.to for message in mail.outbox] == [[key.created_by.email]] * 3
    assert "expires in 14 days" in mail.outbox[0].subject
    assert "expires in 1 day" in mail.outbox[2].subject
    assert "deploy" in mail.outbox[0].body
    assert key.hint in mail.outbox[0].body


def test_a_key_made_for_two_days_is_announced_from_where_it_is():
    make.make_key(make.make_account(), expires_at=make.days(2.5))
    assert warnings_over(4) == [(0, "3"), (2, "1")]


def test_keys_that_are_revoked_replaced_or_eternal_are_not_announced(django_capture_on_commit_callbacks):
    account = make.make_account()
    revoked, _ = make.make_key(account, expires_at=make.days(2))
    replaced, _ = make.make_key(account, expires_at=make.days(2))
    make.make_key(account, never_expires=True)
    api_keys.revoke(key=revoked, by=SYSTEM)
    successor, _ = api_keys.rotate(key=replaced, by=SYSTEM, grantable=make.owner_of(account).scopes)
    api_keys.revoke(key=successor, by=SYSTEM)
    assert warnings_over(3) == []
    assert mail.outbox == []
