"""The link of an invitation: what it looks like, how it is recognised, and what is kept of it (never the link).

Whoever holds the link has read the mail to the invited address, so it proves that address. Who is invited, as what and
until when is the invited row of `membership`.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from django.conf import settings

LIFE = timedelta(days=7)


@dataclass(frozen=True)
class Link:
    """The secret part of the link, in memory only: it is in the mail and nowhere else."""

    token: str

    @classmethod
    def generate(cls) -> "Link":
        return cls(secrets.token_urlsafe(32))

    @property
    def digest(self) -> str:
        return hmac.new(settings.LAMBDA_KEY_PEPPER, b"invitation\n" + self.token.encode(), sha256).hexdigest()

    @property
    def url(self) -> str:
        return f"{settings.LAMBDA_BASE_URL}/invitations/{self.token}"

    def __repr__(self) -> str:
        return "Link(…)"  # never in a log or a traceback
