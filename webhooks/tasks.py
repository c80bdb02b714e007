"""Housekeeping: telling owners that a webhook was disabled, and forgetting what is old."""

from typing import Any
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail

from accounts.models import Membership
from core import events
from webhooks.actions import deliveries, endpoints
from webhooks.models import Endpoint


@shared_task(name="webhooks.mail_disabled")
def mail_disabled(*, endpoint_id: str, **_: Any) -> None:
    """Tell the owners, once; where the mail server is away, the sweep tries again."""
    endpoint = Endpoint.objects.select_related("account").filter(pk=UUID(endpoint_id), mail_due=True).first()
    if endpoint is None:
        return
    owners = Membership.objects.filter(account=endpoint.account, role=Membership.Role.OWNER)
    send_mail(
        f"Your webhook to {endpoint.name} is disabled",
        f"Lambda sends no more events of {endpoint.account.name} to\n\n    {endpoint.url}\n\n"
        f"{endpoint.disabled_reason}\n\n"
        "What happens meanwhile is kept for 30 days. When the receiver works again, enable the webhook, and what it "
        f"missed is sent along:\n\n    {settings.LAMBDA_BASE_URL}/webhooks/{endpoint.public_id}/switch\n",
        None,
        [*owners.values_list("user__email", flat=True)],
    )
    endpoints.mark_mailed(endpoint=endpoint)


@shared_task(name="webhooks.sweep")
def sweep(**_: Any) -> None:
    """Mails that a lost message or an unreachable mail server has left behind, ended secrets, and old deliveries."""
    for key in Endpoint.objects.filter(mail_due=True).values_list("pk", flat=True):
        events.enqueue("webhooks.mail_disabled", endpoint_id=str(key))
    endpoints.forget_old_secrets()
    deliveries.purge()
