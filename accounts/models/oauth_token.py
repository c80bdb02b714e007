"""OAuth tokens: one row for each consent, one for each pair of access and refresh token that came of it.

A token (what people see in lists and revoke) is a family: every refresh adds a pair, all end with it. Nothing that
opens a door is kept: the access token is a signed text (`oauth_jwt.py`), the refresh token only a hash.
"""

import secrets
from collections.abc import Set as AbstractSet
from datetime import timedelta
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models.account import Account
from accounts.models.oauth_app import DASHBOARD, MACHINE, OAuthApp
from accounts.models.user import User
from core.context import Actor
from core.errors import NotAllowed
from core.models import Row

ACCESS_LIFE = timedelta(days=30)
FAMILY_LIFE = timedelta(days=180)  # whatever its activity: then somebody has to say yes again
GRACE = timedelta(seconds=30)  # in which a refresh is repeated rather than refused: the answer may have been lost
OVERLAP = timedelta(seconds=60)  # the old access token works on, for requests that were on their way


def generate_refresh_token() -> str:
    return "lambda_rt_" + secrets.token_urlsafe(32)


class Reads(models.QuerySet["OAuthToken"]):
    def for_account(self, account: Account) -> Self:
        return self.filter(account=account).select_related("user", "app", "account")

    def working(self) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def of_people(self) -> Self:
        """Without those that programs fetch for themselves, which come and go by the dozen."""
        return self.exclude(app__authorization_grant_type=MACHINE)


class OAuthToken(Row):
    prefix = "tok"
    kind = "api_token"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="oauth_tokens", db_index=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, help_text="A token can never do more than they.")
    app = models.ForeignKey(OAuthApp, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=255)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(db_index=True, help_text="The end of the family.")
    revoked_at = models.DateTimeField(null=True, blank=True)
    first_used_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.CharField(max_length=45, blank=True)
    last_used_agent = models.CharField(max_length=200, blank=True)

    objects = models.Manager.from_queryset(Reads)()

    class Meta:
        ordering = ["-id"]
        verbose_name = "OAuth token"
        indexes = [models.Index(fields=["account", "-id"], name="oauth_token_account")]

    def __str__(self) -> str:
        return self.name

    def insist_on_manager(self, user: User, scopes: AbstractSet[str]) -> None:
        """Raises NotAllowed for who may not revoke it: all may revoke their own, owners and admins everyone's."""
        if self.user_id != user.pk and "account:write" not in scopes:
            raise NotAllowed(f"Insufficient permissions: the token “{self.name}” is {self.user}'s, not yours")

    @property
    def actor(self) -> Actor:
        return Actor("api_token", self.public_id, self.name)

    @property
    def made_here(self) -> bool:
        """Generated on the dashboard, not by consent to an app."""
        return bool(self.app.client_id == DASHBOARD)

    @property
    def works(self) -> bool:
        return self.status == "active"

    @property
    def status(self) -> str:
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else "active"

    def event_data(self) -> dict[str, str]:
        return {
            "api_token_id": self.public_id,
            "name": self.name,
            "status": self.status,
            "client_id": str(self.app.client_id),
        }


class OAuthPair(Row):
    """One access token, whose `jti` is this row's id, and the refresh token that came with it."""

    prefix = "pair"

    token = models.ForeignKey(OAuthToken, on_delete=models.CASCADE, related_name="pairs")
    scopes = models.JSONField(default=list, help_text="Those of the token, or fewer where the refresh asked for fewer.")
    expires_at = models.DateTimeField(help_text="The end of the access token.")
    digest = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001  (unique where there is one)
    refreshed_at = models.DateTimeField(null=True, editable=False)
    # The pair that the refresh gave, for whoever presents the same refresh token within GRACE, and for nobody else.
    successor = models.BinaryField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="oauth_pair_refreshed_once",
                condition=Q(refreshed_at=None, successor=None) | Q(refreshed_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.public_id


def seal(refresh_token: str, body: bytes) -> bytes:
    """`body`, to be opened only by who holds the refresh token: the database alone does not open it."""
    nonce = secrets.token_bytes(12)
    return nonce + _cipher(refresh_token).encrypt(nonce, body, None)


def unseal(refresh_token: str, sealed: bytes) -> bytes | None:
    """None where it was sealed with another token or pepper."""
    try:
        return _cipher(refresh_token).decrypt(sealed[:12], sealed[12:], None)
    except InvalidTag:
        return None


def _cipher(refresh_token: str) -> AESGCM:
    # The token has 256 random bits, so one hash is a sound derivation; the prefix keeps the key apart from `digest`.
    return AESGCM(sha256(b"refreshed pair\n" + settings.LAMBDA_KEY_PEPPER + refresh_token.encode()).digest())
