"""Which user may act for which account, and as what."""

from typing import Self

from django.db import models

from accounts.models.account import Account
from accounts.models.user import User
from accounts.scopes import ROLE_SCOPES
from core.models import Row


class Reads(models.QuerySet["Membership"]):
    def of(self, user: User) -> Self:
        """A user's memberships with account and plan, oldest first."""
        return self.filter(user=user).select_related("account__plan", "user").order_by("id")


class Membership(Row):
    prefix = "mem"
    kind = "member"

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        ADMIN = "admin", "Admin"
        DEVELOPER = "developer", "Developer"
        BILLING = "billing", "Billing"
        VIEWER = "viewer", "Viewer"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "user"], name="member_once")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role} of {self.account})"

    @property
    def scopes(self) -> frozenset[str]:
        return ROLE_SCOPES[self.role]

    def event_data(self) -> dict[str, str]:
        return {"member_id": self.public_id, "name": self.user.email, "role": self.role, "status": "active"}
