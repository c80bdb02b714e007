"""API keys: what they look like, how they are recognised, and what is kept of them (never the key).

`λ_sk_` + 32 base62 characters + 6 that are the CRC32 of `sk_…`: a typing error is refused without a query. The
spellings `λ_sk_`, `%CE%BB_sk_`, `lambda_sk_` and `sk_` are one key, because many HTTP clients cannot send λ. At rest
there is an HMAC with a pepper that the database does not hold.
"""

import hmac
import re
import secrets
import string
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Self
from zlib import crc32

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils import timezone

from accounts.models.account import Account
from accounts.models.user import User
from core.context import Actor
from core.errors import NotAllowed
from core.models import Row

STATUSES = ["active", "expiring", "retiring", "expired", "revoked"]
ENDED = STATUSES[3:]
EXPIRING = timedelta(days=14)
UNUSED = timedelta(days=30)

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SPELLING = re.compile(r"(?:λ_|lambda_)?(sk_[0-9A-Za-z]{38})")


@dataclass(frozen=True)
class Secret:
    """A key's text, in memory only: shown to its maker once."""

    text: str  # sk_…

    @classmethod
    def generate(cls) -> "Secret":
        body = "sk_" + "".join(secrets.choice(_BASE62) for _ in range(32))
        return cls(body + _checksum(body))

    @classmethod
    def parse(cls, text: str) -> "Secret | None":
        """The key in any of its spellings (already percent-decoded), or None where it cannot be one."""
        found = _SPELLING.fullmatch(text)
        if not found:
            return None
        body, checksum = found[1][:-6], found[1][-6:]
        return cls(found[1]) if hmac.compare_digest(_checksum(body), checksum) else None

    @property
    def key(self) -> str:
        return f"λ_{self.text}"

    @property
    def key_ascii(self) -> str:
        """The same key for clients that cannot send λ."""
        return f"lambda_{self.text}"

    @property
    def digest(self) -> str:
        return hmac.new(settings.LAMBDA_KEY_PEPPER, self.text.encode(), sha256).hexdigest()

    @property
    def hint(self) -> str:
        return self.text[-4:]

    def __repr__(self) -> str:
        return f"Secret(…{self.hint})"  # never in a log or a traceback


def _checksum(body: str) -> str:
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


class Reads(models.QuerySet["ApiKey"]):
    def for_account(self, account: Account) -> Self:
        return self.filter(account=account).select_related("created_by", "account")

    def working(self) -> Self:
        """Neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)

    def with_status(self) -> Self:
        """With `status_now`, which says what the property `status` does, for filters."""
        now = timezone.now()
        return self.annotate(
            status_now=Case(
                When(revoked_at__isnull=False, then=Value("revoked")),
                When(expires_at__lte=now, then=Value("expired")),
                When(replaced_by__isnull=False, then=Value("retiring")),
                When(expires_at__lt=now + EXPIRING, then=Value("expiring")),
                default=Value("active"),
            )
        )


class ApiKey(Row):
    prefix = "ak"
    kind = "api_key"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_keys", db_index=False)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, help_text="A key can never do more than its maker.")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=4, editable=False)
    scopes = models.JSONField(default=list)
    allowed_cidrs = models.JSONField(default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="replaces")
    warned_days = models.PositiveSmallIntegerField(null=True, editable=False)
    first_used_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.CharField(max_length=45, blank=True)
    last_used_agent = models.CharField(max_length=200, blank=True)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        verbose_name = "API key"
        indexes = [
            models.Index(fields=["account", "-id"], name="api_key_account"),
            models.Index(fields=["expires_at"], name="api_key_expiry", condition=Q(revoked_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.name} (…{self.hint})"

    def insist_on_manager(self, user: User, scopes: AbstractSet[str]) -> None:
        """Raises NotAllowed for who may not change this key: all may change their own, owners and admins everyone's."""
        if self.created_by_id != user.pk and "account:write" not in scopes:  # which owners and admins alone have
            raise NotAllowed(f"Insufficient permissions: the key “{self.name}” is {self.created_by}'s, not yours")

    @property
    def actor(self) -> Actor:
        return Actor("api_key", self.public_id, self.name)

    @property
    def status(self) -> str:
        now = timezone.now()
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= now:
            return "expired"
        if self.replaced_by_id:
            return "retiring"
        if self.expires_at and self.expires_at < now + EXPIRING:
            return "expiring"
        return "active"

    @property
    def works(self) -> bool:
        return self.status not in ENDED

    @property
    def rotatable(self) -> bool:
        return self.status in ("active", "expiring")

    @property
    def unused(self) -> bool:
        """Open to whoever finds it, and missed by nobody."""
        return self.works and (self.last_used_at or self.created_at) < timezone.now() - UNUSED

    def event_data(self) -> dict[str, str]:
        return {"api_key_id": self.public_id, "name": self.name, "status": self.status}
