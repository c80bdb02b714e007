"""Which user may act for which account, and as what; and who is invited to.

An invitation is a row without a user. It becomes the membership when it is accepted, so that its id stays. `objects`
knows members only: whatever asks it for permission never meets somebody who was merely invited.
"""

from typing import Any, Self

from allauth.mfa.models import Authenticator
from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.utils import timezone

from accounts.models.account import Account
from accounts.models.invitation import Link
from accounts.models.user import User
from accounts.scopes import ROLE_SCOPES
from core.errors import NotAllowed
from core.models import Row

STATUSES = ["active", "invited", "expired"]
# What counts as a second factor; recovery codes only stand in for one.
SECOND_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


class Reads(models.QuerySet["Membership"]):
    def of(self, user: User) -> Self:
        """A user's memberships with account and plan, oldest first."""
        return self.filter(user=user).select_related("account__plan", "user").order_by("id")

    def for_account(self, account: Account) -> Self:
        """With what a list shows: `address`, `status_now` (as the property `status` says it) and `second_factor`."""
        factors = Authenticator.objects.filter(user_id=OuterRef("user_id"), type__in=SECOND_FACTORS)
        return (
            self.filter(account=account)
            .select_related("user", "invited_by")
            .annotate(
                address=Case(When(user=None, then=F("email")), default=F("user__email")),
                status_now=Case(
                    When(user__isnull=False, then=Value("active")),
                    When(expires_at__gt=timezone.now(), then=Value("invited")),
                    default=Value("expired"),
                ),
                second_factor=Exists(factors),
            )
        )

    def invited_by_link(self, token: str) -> "Membership | None":
        """The row that a link still opens, with account and inviter."""
        rows = self.filter(digest=Link(token).digest, user=None, expires_at__gt=timezone.now())
        return rows.select_related("account__plan", "invited_by").first()


class Members(models.Manager.from_queryset(Reads)):  # type: ignore[misc]
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(user__isnull=False)


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
    # Typed as if it were always there, because it is for all that `objects` answers.
    user: "models.ForeignKey[User, User]" = models.ForeignKey(  # type: ignore[misc]
        User, null=True, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=16, choices=Role.choices)
    email = models.EmailField(blank=True, editable=False, help_text="Whom the invitation is for, until accepted.")
    invited_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    expires_at = models.DateTimeField(null=True, editable=False, help_text="When the invitation ends.")
    digest = models.CharField(max_length=64, null=True, unique=True, editable=False, help_text="Of the link.")  # noqa: DJ001
    mailed_at = models.DateTimeField(null=True, editable=False)

    reads_only = False  # while an operator looks at what the member sees

    objects = Members()
    with_invited = models.Manager.from_queryset(Reads)()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="member_once"),
            models.UniqueConstraint(fields=["account", "email"], condition=Q(user=None), name="member_invited_once"),
            models.CheckConstraint(
                name="member_is_active_or_invited",
                condition=Q(user__isnull=False, email="", expires_at=None, digest=None)
                | (Q(user=None, expires_at__isnull=False) & ~Q(email="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.role} of {self.account})"

    @property
    def active(self) -> bool:
        return self.user_id is not None

    @property
    def status(self) -> str:
        if self.expires_at is None:
            return "active"
        return "invited" if self.expires_at > timezone.now() else "expired"

    @property
    def name(self) -> str:
        """The address, by which people know each other here."""
        return self.user.email if self.active else self.email

    @property
    def scopes(self) -> frozenset[str]:
        scopes = ROLE_SCOPES[self.role]
        return frozenset(scope for scope in scopes if scope.endswith(":read")) if self.reads_only else scopes

    def insist_on_granting(self, role: str, grantable: frozenset[str]) -> None:
        """Raises NotAllowed where this member, by a credential with the scopes `grantable`, may not hand out `role`.

        Nobody grants more than they have, and owners are made by owners alone.
        """
        beyond = sorted(ROLE_SCOPES[role] - grantable)
        if beyond or (role == self.Role.OWNER and self.role != self.Role.OWNER):
            why = f"it includes {beyond[0]}, which you do not have" if beyond else "only an owner can"
            raise NotAllowed(f"Insufficient permissions: you cannot make somebody {role}: {why}")

    def insist_on_managing(self, member: "Membership") -> None:
        """Raises NotAllowed where the other is an owner and this member is none."""
        if member.role == self.Role.OWNER and self.role != self.Role.OWNER:
            raise NotAllowed(
                f"Insufficient permissions: {member.name} is an owner, whom only an owner can change or remove"
            )

    def event_data(self) -> dict[str, str]:
        return {"member_id": self.public_id, "name": self.name, "role": self.role, "status": self.status}
