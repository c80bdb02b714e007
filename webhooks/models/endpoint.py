"""Webhooks: where events are sent, which, and how they are signed. What was sent is in `delivery.py`."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.fernet import InvalidToken
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from core import seals
from core.errors import Conflict
from core.models import Row

STATES = ["active", "disabled", "deleted"]
PURPOSE = "webhook secret"
GIVEN_UP_AFTER = timedelta(days=5)  # of failures only …
GIVEN_UP_TRIES = 10  # … and at least so many


@lru_cache(maxsize=4096)  # the dispatcher needs each ten times a second
def _unseal(sealed: str) -> str | None:
    """None for what was sealed by a key that is gone."""
    try:
        return seals.unseal(PURPOSE, sealed)
    except InvalidToken:
        return None


class WebhookDisabled(Conflict):
    code = "invalid_state"


class Reads(models.QuerySet["Endpoint"]):
    def for_account(self, account: Account) -> Self:
        return self.filter(account=account).exclude(state="deleted")

    def listening(self, account_ids: Any) -> Self:
        return self.filter(account_id__in=account_ids, state="active")

    def replaying(self) -> Self:
        return self.filter(replay_to__isnull=False, state="active")


class Endpoint(Row):
    """One receiver. Called a webhook wherever people see it.

    `sequence` counts its deliveries; `failing_since` and `failures` tell of the time since something last arrived.
    """

    prefix = "wh"
    kind = "webhook"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    url = models.CharField(max_length=2000)
    events = models.JSONField(default=list, help_text="Types and patterns.")
    state = models.CharField(max_length=16, default="active", choices=[(state, state) for state in STATES])
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=500, blank=True)
    mail_due = models.BooleanField(default=False, help_text="Its owner has yet to be told that it was disabled.")

    sealed_secret = models.TextField(editable=False)
    sealed_old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, editable=False)

    sequence = models.BigIntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)

    replay_after = models.UUIDField(null=True, blank=True, editable=False, help_text="The last event replayed.")
    replay_to = models.DateTimeField(null=True, blank=True, editable=False)
    replay_all = models.BooleanField(default=False, editable=False, help_text="Also what has arrived.")

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        verbose_name = "webhook"
        indexes = [
            models.Index(fields=["account", "-id"], name="webhook_account"),
            models.Index(fields=["replay_to"], name="webhook_replay", condition=Q(replay_to__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """For people: the receiver's host."""
        return urlsplit(self.url).hostname or self.url

    @property
    def failing(self) -> bool:
        return self.failing_since is not None

    @property
    def hopeless(self) -> bool:
        """Nothing has arrived there for so long that trying on helps nobody."""
        now = timezone.now()
        return bool(
            self.failing_since and self.failing_since <= now - GIVEN_UP_AFTER and self.failures >= GIVEN_UP_TRIES
        )

    def put_secret(self, secret: str) -> None:
        self.sealed_secret = seals.seal(PURPOSE, secret)

    def in_overlap(self, now: datetime) -> bool:
        """Whether the old secret signs as well."""
        return bool(self.sealed_old_secret and self.old_secret_until and now < self.old_secret_until)

    def secrets(self, now: datetime) -> list[str]:
        """What signs at a moment, the old secret first. Without those that cannot be unsealed: maybe none."""
        sealed = [self.sealed_old_secret] if self.in_overlap(now) else []
        return [secret for text in [*sealed, self.sealed_secret] if (secret := _unseal(text))]

    def insist_on_active(self) -> None:
        """Raises WebhookDisabled where nothing would be sent."""
        if self.state != "active":
            raise WebhookDisabled(
                f"The webhook is {self.state}: enable it first",
                suggestion='PATCH it with {"status": "active"}.',
                current=self.state,
                allowed_from=["active"],
            )

    def event_data(self) -> dict[str, Any]:
        return {"webhook_id": self.public_id, "name": self.name, "status": self.state, "url": self.url}
