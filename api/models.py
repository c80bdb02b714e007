"""What an idempotency key was answered with. Written with its effect in one commit by `api/idempotency.py`."""

from django.db import models
from django.utils import timezone

from core import ids


class IdempotencyRecord(models.Model):
    """One key of one account, method and path. The key itself is not kept, and the answer is sealed with it."""

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    digest = models.CharField(max_length=64, unique=True)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    sealed_body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.status} of {self.created_at:%F %T}"
