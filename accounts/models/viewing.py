"""An operator looks at the dashboard as a member of an account sees it: who, as whom, why and until when. Read only."""

from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models.account import Account
from accounts.models.membership import Membership
from accounts.models.user import User
from core.models import Row

LIFE = timedelta(minutes=30)


class Reads(models.QuerySet["Viewing"]):
    def open(self) -> Self:
        return self.filter(ended_at=None, until__gt=timezone.now())

    def overdue(self) -> Self:
        """Those whose time is up, and whose end nobody has recorded yet."""
        return self.filter(ended_at=None, until__lte=timezone.now())


class Viewing(Row):
    """`reason` is shown to the account, in its audit log."""

    prefix = "view"

    operator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", help_text="As whom.")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["until"], name="viewing_open", condition=Q(ended_at=None))]

    def __str__(self) -> str:
        return f"{self.operator} as {self.user}"

    @property
    def status(self) -> str:
        return "ended" if self.ended_at or self.until <= timezone.now() else "active"

    def membership(self) -> Membership | None:
        """What the operator acts by: the member's own, as far as it reads. None where it is gone."""
        member: Membership | None = Membership.objects.of(self.user).filter(account=self.account_id).first()
        if member is not None:
            member.reads_only = True
        return member

    def event_data(self) -> dict[str, Any]:
        until = f"{self.until:%Y-%m-%dT%H:%M:%SZ}"
        return {**self.account.event_data(), "viewed_as": self.user.email, "reason": self.reason, "until": until}
