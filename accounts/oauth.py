"""What django-oauth-toolkit asks of us: which scopes there are, and how clients, codes and tokens are kept.

oauthlib checks a request step by step and calls the validator; ours answers from our own rows and leaves every write to
the verbs, so that a check and what follows from it are one transaction. The toolkit's own token tables stay empty.
"""

from typing import Any

from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import BaseScopes
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc8628 import errors as device_errors

from accounts.actions import oauth_codes, oauth_tokens
from accounts.actions.oauth_tokens import Issued
from accounts.authentication import standing
from accounts.models import OAuthApp, OAuthCode, OAuthPair, OAuthToken
from accounts.models import oauth_jwt as jwts
from accounts.models.oauth_app import CODE, DEVICE, MACHINE, digest
from accounts.scopes import SCOPES, SENTENCES, expand
from api.errors import AuthenticationFailed
from core.errors import Invalid

# What each grant type of a request needs of the app; apps of people may refresh, programs ask again.
ALLOWED = {
    "authorization_code": {CODE},
    "client_credentials": {MACHINE},
    "urn:ietf:params:oauth:grant-type:device_code": {DEVICE},
    "refresh_token": {CODE, DEVICE},
}
WAITS: dict[str, type[errors.OAuth2Error]] = {
    "authorization_pending": device_errors.AuthorizationPendingError,
    "slow_down": device_errors.SlowDownError,
    "expired_token": device_errors.ExpiredTokenError,
    "access_denied": device_errors.AccessDenied,
    "invalid_grant": errors.InvalidGrantError,
}


class Scopes(BaseScopes):
    def get_all_scopes(self) -> dict[str, str]:
        return SENTENCES

    def get_available_scopes(self, application=None, request=None, *args, **kwargs) -> list[str]:
        return SCOPES if application is None or not application.scopes else application.scopes

    def get_default_scopes(self, application=None, request=None, *args, **kwargs) -> list[str]:
        """Who asks for nothing in particular gets all that the app may have."""
        return self.get_available_scopes(application)


class Validator(OAuth2Validator):
    def _load_application(self, client_id, request) -> OAuthApp | None:
        """No text with a NUL is an id, and PostgreSQL would not even look for one."""
        return None if not client_id or "\x00" in client_id else super()._load_application(client_id, request)

    def _check_secret(self, provided_secret: str, stored_secret: str) -> bool:
        """Also for an app without a secret, which no text fits."""
        return OAuthApp(client_secret=stored_secret).has_secret(provided_secret)

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs) -> bool:
        """Wildcards are written out here, so everything after knows plain scopes only."""
        try:
            request.scopes = expand(scopes)
        except Invalid:
            return False
        return set(request.scopes) <= set(Scopes().get_available_scopes(client))

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs) -> bool:
        return request.client.authorization_grant_type in ALLOWED.get(grant_type, ())

    def validate_user(self, username, password, client, request, *args, **kwargs) -> bool:
        """The password grant, which oauthlib tries before it asks whether it is allowed: nobody signs in here."""
        return False

    # --- Authorization codes

    def save_authorization_code(self, client_id, code, request, *args, **kwargs) -> None:
        """`account` and `scopes` come from the consent page, by way of the credentials."""
        if request.code_challenge_method != "S256":
            raise errors.InvalidRequestError(description="code_challenge_method must be S256", request=request)
        oauth_codes.consent(
            app=request.client,
            account=request.account,
            user=request.user,
            scopes=request.scopes,
            code=code["code"],
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
        )

    def validate_code(self, client_id, code, client, request, *args, **kwargs) -> bool:
        """Only whether it was ours and the app's; whether it still stands, `redeem` decides with the row locked."""
        request.kept_code = OAuthCode.objects.filter(digest=digest(code), app=client).first()
        if request.kept_code is None:
            return False
        if request.kept_code.used_at is not None:
            oauth_codes.redeem(code=code, app=client)  # which revokes what the first one got
            return False
        request.scopes = request.kept_code.scopes
        return True

    def get_code_challenge(self, code, request) -> str:
        return request.kept_code.code_challenge

    def get_code_challenge_method(self, code, request) -> str:
        return "S256"

    def confirm_redirect_uri(self, client_id, code, redirect_uri, client, request, *args, **kwargs) -> bool:
        return redirect_uri == request.kept_code.redirect_uri

    def invalidate_authorization_code(self, client_id, code, request, *args, **kwargs) -> None:
        """`redeem` has done it."""

    # --- Tokens

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs) -> bool:
        """Only whether it was ours and the app's; whether it still stands, `refresh` decides with the row locked."""
        pairs = OAuthPair.objects.select_related("token").filter(digest=digest(refresh_token), token__app=client)
        request.kept_pair = pairs.first()
        return request.kept_pair is not None

    def get_original_scopes(self, refresh_token, request, *args, **kwargs) -> list[str]:
        return request.kept_pair.token.scopes

    def save_bearer_token(self, token: dict[str, Any], request, *args, **kwargs) -> None:
        """oauthlib made up a token; replace it by the one that is issued here."""
        issued = self._issue(request)
        if not isinstance(issued, Issued):
            raise WAITS[issued or "invalid_grant"](request=request)
        token.clear()
        token.update(issued.as_json())

    def _issue(self, request) -> Issued | str | None:
        app = request.client
        match request.grant_type:
            case "authorization_code":
                return oauth_codes.redeem(code=request.code, app=app)
            case "refresh_token":
                return oauth_tokens.refresh(presented=request.refresh_token, app=app, scopes=request.scopes)
            case "client_credentials":
                return oauth_tokens.issue(
                    account=app.account,
                    by=app.user.actor,
                    user=app.user,
                    app=app,
                    name=str(app),
                    scopes=request.scopes,
                    refreshable=False,
                )[1]
        return oauth_codes.poll_device(device_code=request._params.get("device_code") or "", app=app)

    def revoke_token(self, token, token_type_hint, request, *args, **kwargs) -> None:
        """The whole family, whichever of its tokens is presented; of other apps' tokens nothing is told."""
        found = self._family(token)
        if found is not None and found.app_id == request.client.pk:
            oauth_tokens.revoke(token=found, by=found.actor, why="its app handed it back")

    def introspect_token(self, token, token_type_hint, request, *args, **kwargs) -> dict[str, Any] | None:
        """What RFC 7662 tells an app of its own access token, with the scopes that it has now. None: not active."""
        if not request.client.confidential:  # an id alone proves nothing
            raise errors.InvalidClientError(request=request)
        try:
            access = jwts.read(token)
            known = standing(token)
        except (jwts.BadTokenError, AuthenticationFailed):
            return None
        if known.token.app_id != request.client.pk:
            return None
        return {
            "scope": " ".join(sorted(known.credential.scopes)),
            "client_id": request.client.client_id,
            "username": known.credential.user.email,
            "token_type": "Bearer",
            "exp": int(access.expires_at.timestamp()),
            "sub": known.credential.user.public_id,
            "acct": known.credential.account.public_id,
            "aud": jwts.audience(),
            "iss": jwts.issuer(),
        }

    def _family(self, text: str) -> OAuthToken | None:
        pairs = OAuthPair.objects.select_related("token__app")
        try:
            pair = pairs.filter(pk=jwts.read(text).pair).first()
        except jwts.BadTokenError:
            pair = pairs.filter(digest=digest(text)).first()
        return pair.token if pair else None
