"""Who asks: API keys in every spelling, and the dashboard's session for the browsable API.

A key is checked without a query while nothing changed: what a process knows of it stands only as long as the epoch
does, and five seconds at most, in case a process died between commit and epoch.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes
from uuid import UUID

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication

from accounts.models import Account, ApiKey, Membership, User
from accounts.models.api_key import Secret
from api.errors import CHALLENGE, AuthenticationFailed
from api.limits import Limit
from api.renderers import timestamp
from core import epoch, events
from core.context import Actor
from core.errors import Invalid, NotAllowed

REMEMBERED = 5  # seconds
NOTED_EVERY = 60  # seconds between two notes of a key's last use, per process
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


@dataclass
class _Known:
    key: ApiKey
    credential: Credential
    epoch: int
    until: float
    noted: float = 0.0


_known: dict[str, _Known] = {}


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


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate_header(self, request) -> str:
        return CHALLENGE

    def authenticate(self, request):
        text = _presented(request)
        if text is None:
            return None
        secret = Secret.parse(text)
        if secret is None:
            raise AuthenticationFailed("this is not a Lambda API key", suggestion="A key begins with λ_sk_ (or lambda_sk_).")
        known = _look_up(secret.digest)
        _refuse_what_stopped(known.key)
        _check_address(known.key, request._request.client_ip)
        _note_use(known, request)
        return known.credential.user, known.credential


def _presented(request) -> str | None:
    bearer, alone = request.META.get("HTTP_AUTHORIZATION"), request.META.get("HTTP_X_API_KEY")
    if bearer is None and alone is None:
        return None
    found = []
    if bearer is not None:
        scheme, _, rest = bearer.strip().partition(" ")
        if scheme.lower() != "bearer" or not rest.strip():
            raise AuthenticationFailed("the Authorization header must read 'Bearer λ_sk_…'")
        found.append(header_text(rest.strip()))
    if alone is not None:
        found.append(header_text(alone))
    if len(found) == 2 and Secret.parse(found[0]) != Secret.parse(found[1]):
        raise Invalid("Authorization and X-API-Key hold different keys: send one of them")
    return found[0]


def _look_up(digest: str) -> _Known:
    now, stand = time.monotonic(), epoch.current()
    known = _known.get(digest)
    if known and known.epoch == stand and known.until > now:
        return known
    key = ApiKey.objects.select_related("account__plan", "created_by").filter(digest=digest).first()
    if key is None:
        raise AuthenticationFailed("no key of ours reads like this")
    member = Membership.objects.filter(account_id=key.account_id, user_id=key.created_by_id).first()
    if member is None or not key.created_by.is_active:
        raise AuthenticationFailed("its maker no longer belongs to the account", code="key_revoked")
    if len(_known) >= MAX_REMEMBERED:
        _known.clear()
    fresh = _Known(key, _credential(key, member), stand, now + REMEMBERED, known.noted if known else 0.0)
    _known[digest] = fresh
    return fresh


def _credential(key: ApiKey, member: Membership) -> Credential:
    plan = key.account.plan
    return Credential(
        account=key.account,
        by=key.actor,
        scopes=frozenset(key.scopes) & member.scopes,
        user=key.created_by,
        rate=Limit(plan.requests_per_hour, plan.burst),
        headers={"X-API-Key-Expires": timestamp(key.expires_at)} if key.expires_at else {},
    )


def _refuse_what_stopped(key: ApiKey) -> None:
    if key.revoked_at:
        raise AuthenticationFailed("the key was revoked", code="key_revoked")
    if key.expires_at and key.expires_at <= timezone.now():
        raise AuthenticationFailed(f"the key expired at {timestamp(key.expires_at)}", code="token_expired")


def _check_address(key: ApiKey, address: str) -> None:
    caller = ip_address(address)
    if key.allowed_cidrs and not any(caller in ip_network(cidr) for cidr in key.allowed_cidrs):
        raise IpNotAllowed(f"This key may not be used from {address}", allowed_cidrs=key.allowed_cidrs)


def _note_use(known: _Known, request) -> None:
    now = time.monotonic()
    if now - known.noted < NOTED_EVERY and known.noted:
        return
    known.noted = now
    agent = request.META.get("HTTP_USER_AGENT", "")[:200]
    note_api_key_use(known.key.pk, timezone.now(), request._request.client_ip, agent)


def note_api_key_use(key_id: UUID, at: datetime, ip: str, agent: str) -> None:
    """Hand the note to a worker: a reading request stays a reading request."""
    events.enqueue("accounts.note_api_key_use", key_id=str(key_id), at=at.isoformat(), ip=ip, agent=agent)


class DashboardSessionAuthentication(SessionAuthentication):
    """The signed-in user of the dashboard, with CSRF, for the browsable API."""

    def authenticate_header(self, request) -> str:
        return CHALLENGE

    def authenticate(self, request):
        plain = request._request
        if getattr(plain, "membership", None) is None:
            return None
        self.enforce_csrf(request)
        member, plan = plain.membership, plain.membership.account.plan
        rate = Limit(plan.requests_per_hour, plan.burst)
        return member.user, Credential(member.account, member.user.actor, member.scopes, member.user, rate)
