"""Notes of key use, and warnings before keys expire."""

from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail
from django.db import IntegrityError
from django.utils import timezone

from accounts.actions import api_keys, audit
from accounts.models import ApiKey
from accounts.models.audit_seal import BATCH
from core.context import SYSTEM

WARNED_AT = (1, 3, 14)  # days before the end


@shared_task(name="accounts.note_api_key_use")
def note_api_key_use(*, key_id: str, at: str, ip: str, agent: str, **_) -> None:
    api_keys.note_use(key_id=UUID(key_id), at=datetime.fromisoformat(at), ip=ip, agent=agent)


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
        days = next(days for days in WARNED_AT if key.expires_at <= now + timedelta(days=days))
        if key.warned_days is not None and key.warned_days <= days:
            continue
        api_keys.warn_of_expiry(key=key, days=days, by=SYSTEM)
        send_mail(
            f"Your API key “{key.name}” expires in {days} day{'s' if days > 1 else ''}",
            f"The API key “{key.name}” (…{key.hint}) of {key.account.name} expires on {key.expires_at:%d %B %Y, %H:%M} UTC.\n\n"
            f"Rotate it without a gap at {settings.LAMBDA_BASE_URL}/settings/api-keys: "
            "the old key goes on working while you put the new one in its place.\n",
            None,
            [key.created_by.email],
        )
