"""What an access token looks like: a JWT whose first segment is always the same text, and what reading one insists on.

HS256 with a key of its own, found by the claim `kv`; LAMBDA_TOKEN_KEYS may hold several, the first of which signs.
Whether a well-formed token still stands is not told here, but in `accounts/authentication.py`.
"""

import base64
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings

from accounts.models.oauth_token import OAuthPair
from accounts.scopes import compact

HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # {"alg":"HS256","typ":"JWT"}
USE = "access"
CLAIMS = ["iss", "aud", "sub", "acct", "client_id", "scope", "jti", "kv", "iat", "exp", "use"]


class BadTokenError(ValueError):
    """Why the text is no access token of ours."""


class ExpiredTokenError(BadTokenError):
    pass


@dataclass(frozen=True)
class Access:
    """A token whose signature and claims are right."""

    pair: UUID
    expires_at: datetime


def keys() -> dict[str, str]:
    """The signing keys by their `kv`, the one that signs first."""
    return {sha256(b"kv\n" + key.encode()).hexdigest()[:8]: key for key in settings.LAMBDA_TOKEN_KEYS}


def issuer() -> str:
    return str(settings.LAMBDA_BASE_URL)


def audience() -> str:
    return f"{settings.LAMBDA_BASE_URL}/v1"


def mint(pair: OAuthPair) -> str:
    kv, key = next(iter(keys().items()))
    token = pair.token
    claims = {
        "iss": issuer(),
        "aud": audience(),
        "sub": token.user.public_id,
        "acct": token.account.public_id,
        "client_id": token.app.client_id,
        "scope": " ".join(compact(pair.scopes)),  # for the reader; the door asks the row, and the header stays short
        "jti": pair.public_id,
        "kv": kv,
        "iat": int(pair.created_at.timestamp()),
        "exp": int(pair.expires_at.timestamp()),
        "use": USE,
    }
    return jwt.encode(claims, key, algorithm="HS256")


def read(text: str) -> Access:
    """Raises BadTokenError, ExpiredTokenError."""
    parts = text.split(".")
    if len(parts) != 3 or parts[0] != HEADER:  # before anything is parsed: no other algorithm is ever considered
        raise BadTokenError("it was not signed by us")
    key = keys().get(_key_version(parts[1]))
    if key is None:
        raise BadTokenError("its signing key is not ours, or no longer in use")
    try:
        claims = jwt.decode(
            text, key, algorithms=["HS256"], audience=audience(), issuer=issuer(), options={"require": CLAIMS}
        )
        pair = OAuthPair.key(claims["jti"])
    except jwt.ExpiredSignatureError:
        raise ExpiredTokenError("it has expired") from None
    except (jwt.InvalidTokenError, ValueError) as wrong:
        raise BadTokenError(str(wrong)) from None
    if claims["use"] != USE:
        raise BadTokenError("it is not an access token")
    # The last character of a signature holds two spare bits, which decoders ignore: only one spelling is the token.
    if not hmac.compare_digest(parts[2], base64.urlsafe_b64encode(_decoded(parts[2])).rstrip(b"=").decode()):
        raise BadTokenError("its signature is misspelt")
    return Access(pair, datetime.fromtimestamp(claims["exp"], UTC))


def _key_version(segment: str) -> str:
    try:
        claims: Any = json.loads(_decoded(segment))
    except (ValueError, UnicodeError, RecursionError):
        return ""
    return str(claims.get("kv")) if isinstance(claims, dict) else ""


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
