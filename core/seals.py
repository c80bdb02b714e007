"""Secrets that the platform must read again: sealed at rest with a key that is not in the database.

A stolen database or backup alone opens none of them. What must only be recognised, such as an API key, is hashed
instead, and is no business of this module.
"""

import base64
import hmac
from functools import cache
from hashlib import sha256

from cryptography.fernet import Fernet
from django.conf import settings


def seal(purpose: str, text: str) -> str:
    """A text sealed for one purpose, e.g. "authenticator secret": no other purpose opens it."""
    return _sealer(purpose).encrypt(text.encode()).decode()


def unseal(purpose: str, sealed: str) -> str:
    """What was sealed. Raises `cryptography.fernet.InvalidToken` for anything that was not sealed so by us."""
    return _sealer(purpose).decrypt(sealed.encode()).decode()


@cache
def _sealer(purpose: str) -> Fernet:
    key = hmac.new(settings.LAMBDA_KEY_PEPPER, purpose.encode(), sha256).digest()
    return Fernet(base64.urlsafe_b64encode(key))
