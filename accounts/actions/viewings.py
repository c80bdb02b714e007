"""Operators looking at the dashboard as a member does: every write. accounts/middleware.py keeps it read only."""

from django.utils import timezone

from accounts.models import Membership, User, Viewing
from accounts.models.viewing import LIFE
from core import events
from core.context import SYSTEM, Actor
from core.db import atomic_write
from core.errors import Invalid, NotAllowed


@atomic_write()
def begin(*, operator: User, member: Membership, reason: str) -> Viewing:
    """For half an hour; another one of the same operator ends.

    Records: account.view_started. Raises: Invalid without a reason, which the customer is shown, NotAllowed for
    somebody who is no operator.
    """
    if not (operator.is_active and operator.is_staff):
        raise NotAllowed("Only an operator may look at the dashboard as somebody else")
    reason = reason.strip()
    if not 1 <= len(reason) <= 300:
        raise Invalid.field("reason", "Say why, in at most 300 characters: the customer is shown it", value=reason)
    for earlier in Viewing.objects.select_related("account__plan", "user").filter(operator=operator, ended_at=None):
        end(viewing=earlier, by=operator.actor)
    viewing = Viewing.objects.create(
        operator=operator, user=member.user, account=member.account, reason=reason, until=timezone.now() + LIFE
    )
    events.record(
        "account.view_started",
        account=member.account,
        by=operator.actor,
        subject=member.account,
        data=viewing.event_data(),
    )
    return viewing


@atomic_write()
def end(*, viewing: Viewing, by: Actor) -> None:
    """Records: account.view_ended, once."""
    now = timezone.now()
    if Viewing.objects.filter(pk=viewing.pk, ended_at=None).update(ended_at=now):
        account = viewing.account
        events.record("account.view_ended", account=account, by=by, subject=account, data=viewing.event_data())


def end_overdue() -> None:
    """Record the end of those whose half hour is over: by then they show nothing any more."""
    for viewing in Viewing.objects.overdue().select_related("account__plan", "user"):
        end(viewing=viewing, by=SYSTEM)
