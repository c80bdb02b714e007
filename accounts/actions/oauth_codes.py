"""Authorization codes and devices: every write, up to the token that they are exchanged for, once."""

from datetime import timedelta

from django.utils import timezone

from accounts.actions import oauth_tokens
from accounts.actions.oauth_tokens import Issued
from accounts.models import Account, OAuthApp, OAuthCode, OAuthDevice, User
from accounts.models.oauth_app import digest
from accounts.models.oauth_code import CODE_LIFE, DEVICE_LIFE, POLL, generate_user_code
from core.context import SYSTEM
from core.db import atomic_write
from core.errors import Conflict, Invalid


class DeviceCodeUsed(Conflict):
    """Somebody has decided on this code already, or it ran out."""


@atomic_write()
def consent(
    *,
    app: OAuthApp,
    account: Account,
    user: User,
    scopes: list[str],
    code: str,
    redirect_uri: str,
    code_challenge: str,
) -> OAuthCode:
    """Keep what a person said yes to until the app comes for it. Of the code, only a hash."""
    return OAuthCode.objects.create(
        digest=digest(code),
        app=app,
        account=account,
        user=user,
        scopes=scopes,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        expires_at=timezone.now() + CODE_LIFE,
    )


@atomic_write()
def redeem(*, code: str, app: OAuthApp) -> Issued | None:
    """The token for a code, once. A second time the first one's token is revoked: two have the code. None: no longer.

    Records: api_token.created, or api_token.revoked.
    """
    found = _locked_code(code, app)
    if found is None or (found.expires_at <= timezone.now() and found.used_at is None):
        return None
    if found.used_at is not None:
        if found.token is not None:
            oauth_tokens.revoke(token=found.token, by=SYSTEM, why="its authorization code was used twice")
        return None
    found.token, issued = oauth_tokens.issue(
        account=found.account,
        by=found.user.actor,
        user=found.user,
        app=app,
        name=str(app),
        scopes=found.scopes,
    )
    found.used_at = timezone.now()
    found.save(update_fields=["token", "used_at", "updated_at"])
    return issued


@atomic_write()
def begin_device(*, app: OAuthApp, device_code: str, scopes: list[str]) -> OAuthDevice:
    """A device that waits for a person; its `user_code` is what they type."""
    return OAuthDevice.objects.create(
        digest=digest(device_code),
        user_code=generate_user_code(),
        app=app,
        scopes=scopes,
        expires_at=timezone.now() + DEVICE_LIFE,
    )


@atomic_write()
def decide_device(
    *, device: OAuthDevice, user: User, account: Account, scopes: list[str], approve: bool
) -> OAuthDevice:
    """Let the device have a token with `scopes`, or not. Raises: DeviceCodeUsed, Invalid without any scope."""
    device = OAuthDevice.objects.select_for_update(of=("self",)).select_related("app").get(pk=device.pk)
    if device.state != OAuthDevice.State.PENDING or device.expires_at <= timezone.now():
        raise DeviceCodeUsed("This code was used already, or it has expired. Start again on the device.")
    if approve and not scopes:
        raise Invalid("Your role in this account allows nothing of what the device asks for")
    device.state = OAuthDevice.State.APPROVED if approve else OAuthDevice.State.DENIED
    device.user, device.account = user, account
    device.scopes = scopes if approve else device.scopes
    device.save(update_fields=["state", "user", "account", "scopes", "updated_at"])
    return device


@atomic_write()
def poll_device(*, device_code: str, app: OAuthApp) -> Issued | str:
    """The token for an approved device, once; otherwise what RFC 8628 calls the reason to wait or to give up.

    Records: api_token.created.
    """
    device = (
        OAuthDevice.objects.select_for_update(of=("self",))
        .filter(digest=digest(device_code), app=app)
        .select_related("user", "account", "app")
        .first()
    )
    now = timezone.now()
    if device is None or device.state == OAuthDevice.State.USED:
        return "invalid_grant"
    if device.expires_at <= now:
        return "expired_token"
    if device.state == OAuthDevice.State.DENIED:
        return "access_denied"
    if device.state == OAuthDevice.State.PENDING:
        # A little less than the interval: clocks and networks are not exact.
        early = device.polled_at is not None and now < device.polled_at + POLL - timedelta(seconds=1)
        device.polled_at = now
        device.save(update_fields=["polled_at", "updated_at"])
        return "slow_down" if early else "authorization_pending"
    assert device.account is not None
    assert device.user is not None
    _, issued = oauth_tokens.issue(
        account=device.account,
        by=device.user.actor,
        user=device.user,
        app=app,
        name=str(app),
        scopes=device.scopes,
    )
    device.state = OAuthDevice.State.USED
    device.save(update_fields=["state", "updated_at"])
    return issued


def _locked_code(code: str, app: OAuthApp) -> OAuthCode | None:
    rows = OAuthCode.objects.select_for_update(of=("self",)).select_related("account", "user", "token")
    return rows.filter(digest=digest(code), app=app).first()
