"""OAuth apps: every write."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from oauth2_provider.validators import AllowedURIValidator

from accounts.models import Account, OAuthApp, User
from accounts.models.oauth_app import CODE, KINDS, LOOPBACK, digest, generate_secret
from accounts.scopes import grant
from core import epoch, events
from core.context import Actor
from core.db import atomic_write
from core.errors import Conflict, Invalid, LimitExceeded, checked_name

MAX_APPS = 100  # of one account: each costs a row, and nobody has this many programs


class OAuthAppQuotaExceeded(LimitExceeded):
    pass


class NoSecret(Conflict):
    """The app cannot keep one, so it has none to rotate."""


@atomic_write()
def create(
    *,
    account: Account,
    by: Actor,
    maker: User,
    name: str,
    sort: str,
    scopes: Iterable[str],
    grantable: frozenset[str],
    redirect_uris: Iterable[str] = (),
) -> tuple[OAuthApp, str]:
    """An app of one of KINDS, and its secret, which is nowhere else; "" where it can keep none.

    Records: oauth_app.created. Raises: Invalid, OAuthAppQuotaExceeded.
    """
    if sort not in KINDS:
        raise Invalid.field("sort", f"Unknown kind of app '{sort}'", value=sort, allowed=list(KINDS))
    _, _, client_type, way = KINDS[sort]
    uris = _checked(redirect_uris) if way == CODE else []
    if way == CODE and not uris:
        raise Invalid.field("redirect_uris", "Say where people are sent back to after their consent", value=[])
    secret = generate_secret() if client_type == OAuthApp.CLIENT_CONFIDENTIAL else ""
    _lock_quota(account)
    app = OAuthApp.objects.create(
        account=account,
        user=maker,
        name=checked_name(name),
        client_type=client_type,
        authorization_grant_type=way,
        client_secret=digest(secret) if secret else "",
        hash_client_secret=False,  # it is hashed already
        redirect_uris=" ".join(uris),
        scopes=grant(scopes, grantable),
    )
    events.record("oauth_app.created", account=account, by=by, subject=app, data={"scopes": app.scopes})
    return app, secret


@atomic_write()
def rotate_secret(*, app: OAuthApp, by: Actor) -> tuple[OAuthApp, str]:
    """Another secret; the old one stops at once, tokens go on. Records: oauth_app.rotated. Raises: NoSecret."""
    app = _locked(app)
    if not app.confidential:
        raise NoSecret(f"“{app.name}” cannot keep a secret, so it has none")
    secret = generate_secret()
    app.client_secret = digest(secret)
    app.save(update_fields=["client_secret", "updated_at"])
    events.record("oauth_app.rotated", account=app.account, by=by, subject=app)
    return app, secret


@atomic_write()
def delete(*, app: OAuthApp, by: Actor) -> None:
    """The app, and with it every token that it was given, which stop at once. Records: oauth_app.deleted."""
    app = _locked(app)
    events.record("oauth_app.deleted", account=app.account, by=by, subject=app)
    app.delete()
    transaction.on_commit(epoch.advance)


def _locked(app: OAuthApp) -> OAuthApp:
    return OAuthApp.objects.select_for_update(of=("self",)).select_related("account", "user").get(pk=app.pk)


def _lock_quota(account: Account) -> None:
    Account.objects.select_for_update().get(pk=account.pk)
    if OAuthApp.objects.filter(account=account).count() >= MAX_APPS:
        raise OAuthAppQuotaExceeded(
            f"An account may have {MAX_APPS} OAuth apps",
            suggestion="Delete one that is no longer needed.",
            limit=MAX_APPS,
            used=MAX_APPS,
            requested=1,
        )


def _checked(uris: Iterable[str]) -> list[str]:
    """Redirect URIs that are compared letter by letter: https, an app's own scheme, or http on the person's machine."""
    found = []
    for uri in uris:
        scheme = urlsplit(uri).scheme
        own = "." in scheme  # com.example.app: RFC 8252 wants a domain name, which javascript and data are not
        if not (scheme == "https" or own or (scheme == "http" and urlsplit(uri).hostname in LOOPBACK)):
            raise Invalid.field("redirect_uris", f"'{uri}' must begin with https:// (or http://127.0.0.1)", value=uri)
        try:
            AllowedURIValidator([scheme], name="redirect uri", allow_path=True, allow_query=True)(uri)
        except ValidationError:
            raise Invalid.field("redirect_uris", f"'{uri}' is not an address to redirect to", value=uri) from None
        found.append(uri)
    return found
