"""OAuth tokens: every write. A revocation binds the next request everywhere: the epoch advances with the commit."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Account, Membership, OAuthApp, OAuthCode, OAuthDevice, OAuthPair, OAuthToken, User
from accounts.models import oauth_jwt as jwts
from accounts.models.oauth_app import DASHBOARD, digest
from accounts.models.oauth_token import ACCESS_LIFE, FAMILY_LIFE, GRACE, generate_refresh_token, seal, unseal
from accounts.scopes import grant
from core import epoch, events
from core.context import SYSTEM, Actor
from core.db import atomic_write
from core.errors import Invalid

KEPT = timedelta(days=30)  # ended tokens are shown, and their codes recognised, this long


@dataclass(frozen=True)
class Issued:
    """A new pair, as the token endpoint tells it. In memory only."""

    access: str
    refresh: str | None
    expires_in: int  # seconds
    scopes: list[str]

    def as_json(self) -> dict[str, Any]:
        shape = {
            "access_token": self.access,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": " ".join(self.scopes),
        }
        return shape | ({"refresh_token": self.refresh} if self.refresh else {})


@atomic_write()
def generate(
    *, account: Account, by: Actor, maker: User, name: str, scopes: Iterable[str], grantable: frozenset[str]
) -> tuple[OAuthToken, Issued]:
    """A token made on the dashboard. Records: api_token.created. Raises: Invalid."""
    granted = grant(scopes, grantable)
    if not 1 <= len(name.strip()) <= 100:
        raise Invalid.field("name", "name must have 1 to 100 characters", value=name)
    app = OAuthApp.objects.get(client_id=DASHBOARD)
    return issue(account=account, by=by, user=maker, app=app, name=name.strip(), scopes=granted)


@atomic_write()
def issue(
    *,
    account: Account,
    by: Actor,
    user: User,
    app: OAuthApp,
    name: str,
    scopes: list[str],
    refreshable: bool = True,
) -> tuple[OAuthToken, Issued]:
    """A token and its first pair, for who has consented already. Records: api_token.created."""
    token = OAuthToken.objects.create(
        account=account,
        user=user,
        app=app,
        name=name,
        scopes=scopes,
        expires_at=timezone.now() + (FAMILY_LIFE if refreshable else ACCESS_LIFE),
    )
    events.record("api_token.created", account=account, by=by, subject=token, data={"scopes": scopes})
    return token, _pair(token, scopes, refreshable)


@atomic_write()
def refresh(*, presented: str, app: OAuthApp, scopes: list[str]) -> Issued | None:
    """The next pair; the same one to everybody who presents the token within GRACE. None where it stands no longer.

    A token presented later than that was copied, by its owner's program or from it: its family ends.
    Records: api_token.revoked in that case.
    """
    now = timezone.now()
    pair = OAuthPair.objects.select_for_update(of=("self",)).filter(digest=digest(presented), token__app=app).first()
    if pair is None:
        return None
    token = OAuthToken.objects.select_related("account", "user", "app").get(pk=pair.token_id)
    pair.token = token
    if token.status != "active" or not _may_act(token):
        return None
    if pair.refreshed_at is None:
        issued = _pair(token, scopes, refreshable=True)
        pair.refreshed_at, pair.successor = now, seal(presented, json.dumps(issued.as_json()).encode())
        pair.save(update_fields=["refreshed_at", "successor", "updated_at"])
        transaction.on_commit(epoch.advance)  # the old access token has a minute left
        return issued
    # Within GRACE of its refresh, and the pair that it gave not yet refreshed in turn: then the answer was lost.
    last = not OAuthPair.objects.filter(token=token, refreshed_at__gt=pair.refreshed_at).exists()
    if (
        last
        and now <= pair.refreshed_at + GRACE
        and (sealed := pair.successor)
        and (body := unseal(presented, bytes(sealed)))
    ):
        kept = json.loads(body)
        return Issued(kept["access_token"], kept["refresh_token"], kept["expires_in"], kept["scope"].split())
    revoke(token=token, by=SYSTEM, why="its refresh token was used twice")
    return None


@atomic_write()
def revoke(*, token: OAuthToken, by: Actor, why: str = "") -> OAuthToken:
    """Access and refresh tokens of the family stop at once. Records: api_token.revoked, once."""
    token = OAuthToken.objects.select_for_update(of=("self",)).select_related("account", "user", "app").get(pk=token.pk)
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at", "updated_at"])
        events.record(
            "api_token.revoked", account=token.account, by=by, subject=token, data={"reason": why} if why else {}
        )
        transaction.on_commit(epoch.advance)
    return token


@atomic_write()
def purge() -> int:
    """Forget codes, devices and tokens that ended KEPT ago, and pairs nobody could repeat; answers how many tokens."""
    before = timezone.now() - KEPT
    OAuthCode.objects.filter(expires_at__lt=before).delete()
    OAuthDevice.objects.filter(expires_at__lt=before).delete()
    OAuthPair.objects.filter(refreshed_at__lt=timezone.now() - GRACE).exclude(successor=None).update(successor=None)
    count, _ = OAuthToken.objects.filter(expires_at__lt=before).delete()
    return count


def _pair(token: OAuthToken, scopes: list[str], refreshable: bool) -> Issued:
    now = timezone.now()
    text = generate_refresh_token() if refreshable else None
    pair = OAuthPair.objects.create(
        token=token,
        scopes=scopes,
        created_at=now,
        expires_at=min(now + ACCESS_LIFE, token.expires_at),
        digest=digest(text) if text else None,
    )
    return Issued(jwts.mint(pair), text, int((pair.expires_at - now).total_seconds()), scopes)


def _may_act(token: OAuthToken) -> bool:
    """Whether the person still belongs to the account."""
    member = Membership.objects.filter(account_id=token.account_id, user_id=token.user_id).exists()
    return bool(token.user.is_active) and member
