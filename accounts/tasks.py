"""What the clock brings: warnings before keys expire, the seal of the audit log, invitations by mail, forgetting."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail
from django.db import IntegrityError
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.actions import api_keys, audit, members, oauth_tokens, uses, viewings
from accounts.models import ApiKey, Membership
from accounts.models.audit_seal import BATCH
from core import events
from core.context import SYSTEM

WARNED_AT = (1, 3, 14)  # days before the end


@shared_task(name="accounts.purge_oauth")
def purge_oauth(**_) -> None:
    """Forget what ended long ago: tokens, their pairs, codes and devices."""
    oauth_tokens.purge()


@shared_task(name="accounts.purge_uses")
def purge_uses(**_) -> None:
    """Forget what keys and tokens were used for more than a month ago."""
    uses.purge()


@shared_task(name="accounts.seal_audit_log")
def seal_audit_log(**_) -> None:
    """Seal what was committed since the last time."""
    try:
        while audit.seal() == BATCH:
            pass
    except IntegrityError:  # another worker seals at this moment
        pass


@shared_task(name="accounts.warn_of_expiring_keys")
def warn_of_expiring_keys(**_) -> None:
    """Event and mail, 14, 3 and 1 days before a key that is still needed stops working."""
    now = timezone.now()
    soon = ApiKey.objects.working().filter(expires_at__lte=now + timedelta(days=max(WARNED_AT)), replaced_by=None)
    for key in soon.select_related("account", "created_by"):
        assert key.expires_at is not None
        days = next(days for days in WARNED_AT if key.expires_at <= now + timedelta(days=days))
        if key.warned_days is not None and key.warned_days <= days:
            continue
        api_keys.warn_of_expiry(key=key, days=days, by=SYSTEM)
        send_mail(
            f"Your API key “{key.name}” expires in {days} day{'s' if days > 1 else ''}",
            f"The API key “{key.name}” (…{key.hint}) of {key.account.name} expires on "
            f"{key.expires_at:%d %B %Y, %H:%M} UTC.\n\n"
            f"Rotate it without a gap at {settings.LAMBDA_BASE_URL}/settings/api-keys: "
            "the old key goes on working while you put the new one in its place.\n",
            None,
            [key.created_by.email],
        )


@shared_task(name="accounts.mail_invitation")
def mail_invitation(*, member_id: str, **_) -> None:
    """Make the link and mail it: it is in no queue and no log, and the next one replaces one whose mail failed."""
    rows = Membership.with_invited.select_related("account", "invited_by")
    member = rows.filter(pk=member_id, user=None).first()
    link = members.new_link(member=member) if member else None
    if member is None or link is None:
        return
    send_mail(
        f"Join {' '.join(member.account.name.split())} on Lambda",  # a header is one line
        render_to_string("accounts/members/invitation.txt", {"member": member, "link": link}),
        None,
        [member.email],
    )
    members.mark_mailed(member=member, link=link)


@shared_task(name="accounts.end_viewings")
def end_viewings(**_) -> None:
    """Record that an operator's half hour is over, also of one who just closed the browser."""
    viewings.end_overdue()


@shared_task(name="accounts.sweep_invitations")
def sweep_invitations(**_) -> None:
    """Mail what a lost message or an unreachable mail server has left behind."""
    late = timezone.now() - timedelta(minutes=5)
    rows = Membership.with_invited.filter(user=None, mailed_at=None, expires_at__gt=timezone.now(), updated_at__lt=late)
    for key in rows.values_list("pk", flat=True):
        events.enqueue("accounts.mail_invitation", member_id=str(key))
