"""Housekeeping of the contract's own rows."""

from typing import Any

from celery import shared_task
from django.utils import timezone

from api.idempotency import KEPT
from api.models import IdempotencyRecord
from core.db import atomic_write


@shared_task(name="api.purge_idempotency")
def purge_idempotency(**_: Any) -> None:
    """Forget keys older than their 24 hours, a few thousand in one transaction so that writers do not wait."""
    old = IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - KEPT)
    while True:
        with atomic_write():
            batch = list(old.values_list("pk", flat=True)[:2000])
            IdempotencyRecord.objects.filter(pk__in=batch).delete()
        if len(batch) < 2000:
            return
