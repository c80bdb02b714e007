"""The two short-lived steps before a token: an authorization code, and a device that waits for its owner's yes.

Both outlive their use: whoever presents a code again must be seen doing it.
"""

import secrets
from datetime import timedelta

from django.db import models

from accounts.models.account import Account
from accounts.models.oauth_app import OAuthApp
from accounts.models.oauth_token import OAuthToken
from accounts.models.user import User
from core.models import Row

CODE_LIFE = timedelta(seconds=60)
DEVICE_LIFE = timedelta(minutes=15)
POLL = timedelta(seconds=5)
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, no words; nothing that looks like something else


def generate_user_code() -> str:
    """20⁸ possibilities, typed within a quarter of an hour under a limit of tries."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def canonical_user_code(typed: str) -> str:
    """A code as people type it, in lower case and without the dash, in the form that we made."""
    letters = "".join(letter for letter in typed.upper() if letter in _LETTERS)
    return f"{letters[:4]}-{letters[4:]}"


class OAuthCode(Row):
    prefix = "code"

    digest = models.CharField(max_length=64, unique=True, editable=False)
    app = models.ForeignKey(OAuthApp, on_delete=models.CASCADE, related_name="codes")
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    scopes = models.JSONField(default=list)
    redirect_uri = models.TextField()
    code_challenge = models.CharField(max_length=128)  # always S256
    expires_at = models.DateTimeField(db_index=True)
    token = models.ForeignKey(OAuthToken, on_delete=models.SET_NULL, null=True, help_text="What it was exchanged for.")
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.public_id


class OAuthDevice(Row):
    prefix = "dev"

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        USED = "used"

    digest = models.CharField(max_length=64, unique=True, editable=False)
    user_code = models.CharField(max_length=9, unique=True)
    app = models.ForeignKey(OAuthApp, on_delete=models.CASCADE, related_name="devices")
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(db_index=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, null=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True)
    polled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.public_id
