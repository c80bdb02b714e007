"""Who asks: API keys in every spelling, OAuth access tokens, and the dashboard's session for the browsable API.

A key or token is checked without a query while nothing changed: what a process knows of it stands only as long as the
epoch does, and five seconds at most, in case a process died between commit and epoch.
"""

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication

from accounts import uses
from accounts.models import Account, ApiKey, Membership, OAuthPair, OAuthToken, User
from accounts.models import oauth_jwt as jwts
from accounts.models.api_key import Secret
from accounts.models.oauth_token import OVERLAP
from api.errors import CHALLENGE, AuthenticationFailed
from api.limits import Limit
from api.renderers import timestamp
from core import epoch
from core.context import Actor
from core.errors import Invalid, NotAllowed

REMEMBERED = 5  # seconds
MAX_REMEMBERED = 10_000


class IpNotAllowed(NotAllowed):
    code = "ip_not_allowed"


@dataclass(frozen=True)
class Credential:
    """What `request.auth` is, whichever way the caller proved who they are."""

    account: Account
    by: Actor
    scopes: frozenset[str]
    user: User  # for whom it acts; what it makes can do no more than they
    rate: Limit
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Known:
    credential: Credential
    epoch: int
    until: float

    @property
    def stands(self) -> bool:
        return self.epoch == epoch.current() and self.until > time.monotonic()


@dataclass(kw_only=True)
class KnownKey(_Known):
    key: ApiKey


@dataclass(kw_only=True)
class KnownToken(_Known):
    token: OAuthToken
    expires_at: datetime
    replaced_at: datetime | None  # when a refreshed token's overlap ends


_keys: dict[str, KnownKey] = {}
_tokens: dict[bytes, KnownToken] = {}


def header_text(value: str) -> str:
    """A header as its sender meant it: WSGI hands bytes over as Latin-1, some clients encode twice or percent-encode.

    Raises AuthenticationFailed for bytes that are no text.
    """
    for _ in range(2):
        try:
            value = value.encode("latin-1").decode("utf-8")
        except UnicodeEncodeError:
            break
        except UnicodeDecodeError:
            raise AuthenticationFailed("the header is not UTF-8") from None
        if value.isascii():
            break
    try:
        return unquote_to_bytes(value).decode("utf-8").strip()
    except UnicodeError:
        raise AuthenticationFailed("the header is not UTF-8") from None


class BearerAuthentication(BaseAuthentication):
    """An API key in either header, or an OAuth access token in `Authorization`."""

    def authenticate_header(self, request) -> str:
        return CHALLENGE

    def authenticate(self, request):
        text = _presented(request)
        if text is None:
            return None
        look = self._by_token if text.startswith("eyJ") else self._by_key
        credential = look(text, request)
        return credential.user, credential

    def _by_key(self, text: str, request) -> Credential:
        secret = Secret.parse(text)
        if secret is None:
            if text.startswith("lambda_rt_"):
                raise AuthenticationFailed(
                    "this is a refresh token", suggestion="Exchange it at /oauth/token, then send the access token."
                )
            raise AuthenticationFailed(
                "this is not a Lambda API key", suggestion="A key begins with λ_sk_ (or lambda_sk_)."
            )
        known = _look_up(secret.digest)
        request._request.note_use = partial(uses.note, ApiKey.kind, known.key.pk)
        _refuse_what_stopped(known.key)
        _check_address(known.key, request._request.client_ip)
        return known.credential

    def _by_token(self, text: str, request) -> Credential:
        known = standing(text)
        request._request.note_use = partial(uses.note, OAuthToken.kind, known.token.pk)
        left = int((known.expires_at - timezone.now()).total_seconds())
        return replace(known.credential, headers={"X-Token-Expires-In": str(max(left, 0))})


def _presented(request) -> str | None:
    sent = request.META
    bearer, alone = sent.get("HTTP_AUTHORIZATION"), sent.get("HTTP_X_API_KEY")
    if bearer is None and alone is None:
        return None
    found = []
    if bearer is not None:
        scheme, _, rest = bearer.strip().partition(" ")
        if scheme.lower() != "bearer" or not rest.strip():
            raise AuthenticationFailed("the Authorization header must read 'Bearer λ_sk_…' or 'Bearer eyJ…'")
        found.append(header_text(rest.strip()))
    if alone is not None:
        found.append(header_text(alone))
        if found[-1].startswith("eyJ"):
            raise AuthenticationFailed("an access token belongs in the Authorization header, not in X-API-Key")
    if len(found) == 2 and (Secret.parse(found[0]) != Secret.parse(found[1]) or found[0].startswith("eyJ")):
        raise Invalid("Authorization and X-API-Key hold different keys: send one of them")
    return found[0]


def _look_up(digest: str) -> KnownKey:
    known = _keys.get(digest)
    if known and known.stands:
        return known
    stand, now = epoch.current(), time.monotonic()
    key = ApiKey.objects.select_related("account__plan", "created_by").filter(digest=digest).first()
    if key is None:
        raise AuthenticationFailed("no key of ours reads like this")
    member = _member(key.account, key.created_by, "its maker")
    fresh = KnownKey(
        key=key,
        credential=Credential(
            account=key.account,
            by=key.actor,
            scopes=frozenset(key.scopes) & member.scopes,
            user=key.created_by,
            rate=_rate(key.account),
            headers={"X-API-Key-Expires": timestamp(key.expires_at)} if key.expires_at else {},
        ),
        epoch=stand,
        until=now + REMEMBERED,
    )
    _remember(_keys, digest, fresh)
    return fresh


def standing(text: str) -> KnownToken:
    """What is known of an access token that still opens something.

    Raises AuthenticationFailed: token_expired, key_revoked, or authentication_failed where it never was one of ours.
    """
    digest = sha256(text.encode()).digest()
    known = _tokens.get(digest)
    if known is None or not known.stands:
        known = _read_token(text)
        _remember(_tokens, digest, known)
    now = timezone.now()
    if known.expires_at <= now:
        raise AuthenticationFailed(f"the token expired at {timestamp(known.expires_at)}", code="token_expired")
    if known.replaced_at and known.replaced_at <= now:
        raise AuthenticationFailed("the token was replaced by a refresh", code="key_revoked")
    return known


def _read_token(text: str) -> KnownToken:
    stand, now = epoch.current(), time.monotonic()
    try:
        access = jwts.read(text)
    except jwts.ExpiredTokenError as wrong:
        raise AuthenticationFailed(str(wrong), code="token_expired", suggestion="Renew it at /oauth/token.") from None
    except jwts.BadTokenError as wrong:
        raise AuthenticationFailed(str(wrong)) from None
    pairs = OAuthPair.objects.select_related("token__account__plan", "token__user", "token__app")
    pair = pairs.filter(pk=access.pair).first()
    if pair is None or pair.token.revoked_at:
        raise AuthenticationFailed("the token was revoked", code="key_revoked")
    token = pair.token
    member = _member(token.account, token.user, "its user")
    return KnownToken(
        token=token,
        credential=Credential(
            account=token.account,
            by=token.actor,
            scopes=frozenset(pair.scopes) & member.scopes,
            user=token.user,
            rate=_rate(token.account),
        ),
        expires_at=min(access.expires_at, token.expires_at),
        replaced_at=pair.refreshed_at + OVERLAP if pair.refreshed_at else None,
        epoch=stand,
        until=now + REMEMBERED,
    )


def _member(account: Account, user: User, who: str) -> Membership:
    """What the credential's maker is now: it never does more than they, nor outlives them."""
    member = Membership.objects.filter(account_id=account.pk, user_id=user.pk).first()
    if member is None or not user.is_active:
        raise AuthenticationFailed(f"{who} no longer belongs to the account", code="key_revoked")
    return member


def _rate(account: Account) -> Limit:
    return Limit(account.plan.requests_per_hour, account.plan.burst)


def _remember(kept: dict, digest: str | bytes, known: _Known) -> None:
    if len(kept) >= MAX_REMEMBERED:
        kept.clear()
    kept[digest] = known


def _refuse_what_stopped(key: ApiKey) -> None:
    if key.revoked_at:
        raise AuthenticationFailed("the key was revoked", code="key_revoked")
    if key.expires_at and key.expires_at <= timezone.now():
        raise AuthenticationFailed(f"the key expired at {timestamp(key.expires_at)}", code="token_expired")


def _check_address(key: ApiKey, address: str) -> None:
    if key.allowed_cidrs and not any(ip_address(address) in ip_network(cidr) for cidr in key.allowed_cidrs):
        raise IpNotAllowed(f"This key may not be used from {address}", allowed_cidrs=key.allowed_cidrs)


class DashboardSessionAuthentication(SessionAuthentication):
    """The signed-in user of the dashboard, with CSRF, for the browsable API."""

    def authenticate_header(self, request) -> str:
        return CHALLENGE

    def authenticate(self, request):
        plain = request._request
        if getattr(plain, "membership", None) is None:
            return None
        self.enforce_csrf(request)
        member = plain.membership
        return member.user, Credential(
            member.account, member.user.actor, member.scopes, member.user, _rate(member.account)
        )
