"""API keys: every write. A change binds the next request of every process: the epoch advances with the commit."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_network

from django.db import transaction
from django.utils import timezone

from accounts.models import Account, ApiKey, User
from accounts.models.api_key import Secret
from accounts.scopes import grant
from core import epoch, events
from core.context import Actor
from core.db import atomic_write
from core.errors import Conflict, Invalid, LimitExceeded, NotAllowed, checked_name
from core.models import Counter

DEFAULT_LIFE = timedelta(days=90)
LONGEST_LIFE = timedelta(days=36_525)  # a century: a successor with as long a life must end within the calendar
MAX_OVERLAP_HOURS = 720


class ApiKeyQuotaExceeded(LimitExceeded):
    pass


class ApiKeyRevoked(Conflict):
    code = "invalid_state"


@atomic_write()
def create(
    *,
    account: Account,
    by: Actor,
    maker: User,
    name: str,
    scopes: Iterable[str] | None,
    grantable: frozenset[str],
    expires_at: datetime | None = None,
    never_expires: bool = False,
    allowed_cidrs: Iterable[str] = (),
) -> tuple[ApiKey, Secret]:
    """A key and its secret, which is nowhere else.

    `scopes` None gives all of `grantable`; without a date it lives 90 days.

    Records: api_key.created. Raises: Invalid, ApiKeyQuotaExceeded.
    """
    granted = grant(grantable if scopes is None else scopes, grantable)
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid.field("expires_at", "expires_at must be in the future", value=expires_at.isoformat())
    if expires_at is not None and expires_at > timezone.now() + LONGEST_LIFE:
        message = "expires_at may be a century ahead at most; null means never"
        raise Invalid.field("expires_at", message, value=expires_at.isoformat())
    if expires_at is None and not never_expires:
        expires_at = timezone.now() + DEFAULT_LIFE
    _within_quota(account)
    return _make(
        account, by, maker=maker, name=name, scopes=granted, expires_at=expires_at, cidrs=_networks(allowed_cidrs)
    )


def _make(
    account: Account,
    by: Actor,
    *,
    maker: User,
    name: str,
    scopes: list[str],
    expires_at: datetime | None,
    cidrs: list[str],
) -> tuple[ApiKey, Secret]:
    secret = Secret.generate()
    key = ApiKey.objects.create(
        account=account,
        created_by=maker,
        name=checked_name(name),
        digest=secret.digest,
        hint=secret.hint,
        scopes=scopes,
        expires_at=expires_at,
        allowed_cidrs=cidrs,
    )
    events.record("api_key.created", account=account, by=by, subject=key, data={"scopes": scopes})
    return key, secret


@atomic_write()
def update(*, key: ApiKey, by: Actor, name: str | None = None, allowed_cidrs: Iterable[str] | None = None) -> ApiKey:
    """Another name or other allowed addresses, binding the next request. Records: api_key.updated. Raises: Invalid."""
    key = _locked(key)
    if name is not None:
        key.name = checked_name(name)
    if allowed_cidrs is not None:
        key.allowed_cidrs = _networks(allowed_cidrs)
    key.save(update_fields=["name", "allowed_cidrs", "updated_at"])
    events.record("api_key.updated", account=key.account, by=by, subject=key)
    transaction.on_commit(epoch.advance)
    return key


@atomic_write()
def rotate(*, key: ApiKey, by: Actor, grantable: frozenset[str], overlap_hours: int = 24) -> tuple[ApiKey, Secret]:
    """A successor with the same name, scopes, addresses and length of life; the old key works `overlap_hours` more.

    Records: api_key.created, api_key.rotated. Raises: Invalid, NotAllowed for a key that can do more than `grantable`,
    because its successor's secret is the caller's, ApiKeyRevoked for one that no longer works or has a successor.
    """
    key = _locked(key)
    if beyond := sorted(set(key.scopes) - grantable):
        raise NotAllowed(f"Insufficient permissions: this key can do more than you, such as {beyond[0]}", beyond=beyond)
    if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
        message = f"overlap_hours must be from 0 to {MAX_OVERLAP_HOURS}"
        raise Invalid.field("overlap_hours", message, value=overlap_hours)
    if key.status in ("revoked", "expired", "retiring"):
        raise ApiKeyRevoked(
            f"The key is {key.status} and cannot be rotated: make a new one",
            current=key.status,
            allowed_from=["active", "expiring"],
        )
    now = timezone.now()
    life = key.expires_at - key.created_at if key.expires_at else None
    successor, secret = _make(
        key.account,
        by,
        maker=key.created_by,
        name=key.name,
        scopes=key.scopes,
        expires_at=now + life if life else None,
        cidrs=key.allowed_cidrs,
    )
    end = now + timedelta(hours=overlap_hours)
    key.replaced_by = successor
    key.expires_at = min(end, key.expires_at or end)
    key.save(update_fields=["replaced_by", "expires_at", "updated_at"])
    events.record(
        "api_key.rotated", account=key.account, by=by, subject=key, data={"successor_id": successor.public_id}
    )
    transaction.on_commit(epoch.advance)
    return successor, secret


@atomic_write()
def revoke(*, key: ApiKey, by: Actor) -> ApiKey:
    """The key stops at once. Records: api_key.revoked, once."""
    key = _locked(key)
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at", "updated_at"])
        events.record("api_key.revoked", account=key.account, by=by, subject=key)
        transaction.on_commit(epoch.advance)
    return key


@atomic_write()
def warn_of_expiry(*, key: ApiKey, days: int, by: Actor) -> None:
    """Records: api_key.expiring, once for each of the days 14, 3 and 1."""
    if ApiKey.objects.filter(pk=key.pk, warned_days=key.warned_days).update(warned_days=days):
        events.record("api_key.expiring", account=key.account, by=by, subject=key, data={"days": str(days)})


def _locked(key: ApiKey) -> ApiKey:
    """The key as it is now, which nobody else changes until this verb has ended."""
    return ApiKey.objects.select_for_update(of=("self",)).select_related("account", "created_by").get(pk=key.pk)


def _within_quota(account: Account) -> None:
    limit = account.plan.max_api_keys
    # The counter row is locked first, so that two requests cannot both take the last place.
    Counter.add(account, api_key_writes=1)
    used = ApiKey.objects.filter(account=account).working().count()
    if used >= limit:
        raise ApiKeyQuotaExceeded(
            f"The plan {account.plan.name} allows {limit} API keys, and {used} are in use",
            suggestion="Revoke a key that is no longer needed, or change the plan.",
            limit=limit,
            used=used,
            requested=1,
        )


def _networks(cidrs: Iterable[str]) -> list[str]:
    found = []
    for text in cidrs:
        try:
            found.append(str(ip_network(text.strip())))
        except ValueError as wrong:
            message = f"'{text}' is not an address or network ({wrong}); write 203.0.113.7 or 203.0.113.0/24"
            raise Invalid.field("allowed_cidrs", message, value=text) from None
    return found
