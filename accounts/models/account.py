"""Who owns things, has a plan and pays. Everything a customer can see belongs to exactly one account."""

from django.db import models

from catalog.models import Plan
from core.models import Row


class Account(Row):
    prefix = "acct"
    kind = "account"

    name = models.CharField(max_length=100)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    require_mfa = models.BooleanField(default=False, help_text="Members without a second factor must set one up first.")
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspended_reason = models.CharField(max_length=300, blank=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="account_suspended_with_reason",
                condition=models.Q(suspended_at=None, suspended_reason="")
                | (models.Q(suspended_at__isnull=False) & ~models.Q(suspended_reason="")),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> str:
        return "suspended" if self.suspended_at else "active"

    def event_data(self) -> dict[str, str]:
        return {"account_id": self.public_id, "name": self.name, "status": self.status, "plan": self.plan.slug}
