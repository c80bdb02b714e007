"""OAuth apps: the programs that may ask people, or use their own secret, to act for an account.

Client ids, redirect URIs and how they match are django-oauth-toolkit's. Ours are the account, the most that an app may
ask for, and the secret: it is random, so an HMAC with the pepper is enough at rest, and costs no second of hashing.
"""

import hmac
import secrets
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from oauth2_provider.models import AbstractApplication

from accounts.models.account import Account
from accounts.models.user import User
from core.errors import NotAllowed
from core.models import Row

CODE, MACHINE, DEVICE = (
    AbstractApplication.GRANT_AUTHORIZATION_CODE,
    AbstractApplication.GRANT_CLIENT_CREDENTIALS,
    AbstractApplication.GRANT_DEVICE_CODE,
)
CONFIDENTIAL, PUBLIC = AbstractApplication.CLIENT_CONFIDENTIAL, AbstractApplication.CLIENT_PUBLIC
# What an app is: its name in forms, what it is for, whether it can keep a secret, and how it comes by tokens.
KINDS: dict[str, tuple[str, str, str, str]] = {
    "web": ("Web app", "Its server asks people for consent and keeps a secret.", CONFIDENTIAL, CODE),
    "native": ("Mobile or desktop app", "It asks people for consent and can keep no secret.", PUBLIC, CODE),
    "machine": ("Program without people", "It acts for this account with its own secret.", CONFIDENTIAL, MACHINE),
    "device": ("Terminal or device", "People type its code on a page of ours; it keeps no secret.", PUBLIC, DEVICE),
}
# Lambda's own apps, which belong to no account: `accounts/migrations` makes them.
DASHBOARD, CLI = "lambda-dashboard", "lambda-cli"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def digest(secret: str) -> str:
    """What is kept of a client secret, an authorization code or a refresh token."""
    return hmac.new(settings.LAMBDA_KEY_PEPPER, b"oauth\n" + secret.encode(), sha256).hexdigest()


def generate_secret() -> str:
    return "lambda_cs_" + secrets.token_urlsafe(32)


class AppReads(models.QuerySet["OAuthApp"]):
    def for_account(self, account: Account) -> Self:
        return self.filter(account=account).select_related("user")


class OAuthApp(Row, AbstractApplication):
    prefix = "app"
    kind = "oauth_app"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, null=True, related_name="oauth_apps")
    # Also in the toolkit's model, where it may be missing; here the maker, whom the app cannot outrank.
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="oauth_apps")
    scopes = models.JSONField(default=list)

    objects = models.Manager.from_queryset(AppReads)()

    class Meta:
        ordering = ["-id"]
        verbose_name = "OAuth app"

    def __str__(self) -> str:
        return str(self.name)

    def insist_on_manager(self, user: User, scopes: AbstractSet[str]) -> None:
        """Raises NotAllowed for who may not change this app: all may change their own, owners and admins everyone's."""
        if self.user_id != user.pk and "account:write" not in scopes:
            raise NotAllowed(f"Insufficient permissions: the app “{self.name}” is {self.user}'s, not yours")

    @property
    def confidential(self) -> bool:
        return bool(self.client_type == CONFIDENTIAL)

    @property
    def sort(self) -> str:
        """What the app is, as in KINDS."""
        shape = (self.client_type, self.authorization_grant_type)
        return next((name for name, found in KINDS.items() if found[2:] == shape), "machine")

    def has_secret(self, secret: str) -> bool:
        return bool(self.client_secret) and hmac.compare_digest(str(self.client_secret), digest(secret))

    def get_allowed_schemes(self) -> list[str]:
        """The toolkit's question: the schemes of the redirect URIs, which `actions/oauth_apps.py` has checked."""
        return sorted({"https", *(urlsplit(uri).scheme for uri in self.redirect_uris.split())})

    def event_data(self) -> dict[str, str]:
        return {
            "oauth_app_id": self.public_id,
            "name": str(self.name),
            "client_id": str(self.client_id),
            "status": "active",
        }
