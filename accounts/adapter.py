"""Where django-allauth asks what is ours to say: what sign-up makes, when somebody must prove again that it is them,
and how second factors are named and kept."""

import time

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.http import HttpRequest

from accounts.actions import accounts, members
from accounts.models import Membership
from core.db import atomic_write
from core.seals import seal, unseal

SEALED_FOR = "authenticator secret"
INVITATION = "invitation"  # of the session: the id of the membership whose link was opened before signing up


class AccountAdapter(DefaultAccountAdapter):
    def save_user(self, request, user, form, commit=True):
        """A new user becomes a member where their address was invited, else the owner of an account of their own."""
        with atomic_write():
            user = super().save_user(request, user, form, commit=commit)
            if not commit:
                return user
            invited = _invited(request, user.email)
            if invited:
                members.accept(member=invited, user=user, by=user.actor)
                request.session["account"] = invited.account.public_id
                request.proved_address = invited.email
            else:
                accounts.create(name=user.email.partition("@")[0][:100], owner=user, by=user.actor)
        return user

    def is_email_verified(self, request, email):
        """The link that somebody signs up with was mailed to their address alone: no need for another one."""
        return email.lower() == getattr(request, "proved_address", None)

    def is_reauthentication_required(self, *, app, **kwargs):
        """Not while the last proof, be it the sign-in itself, is recent. (allauth alone would not count a sign-in.)"""
        request = context.request
        records = get_authentication_records(request, request.user)
        return not records or time.time() - records[-1]["at"] >= app_settings.REAUTHENTICATION_TIMEOUT

    def get_client_ip(self, request):
        return request.client_ip  # which knows our trusted proxies


def _invited(request: HttpRequest, email: str) -> Membership | None:
    """The invitation that this browser opened, if it is for this address and still stands."""
    key = request.session.pop(INVITATION, None)
    member = Membership.with_invited.select_related("account").filter(pk=key, user=None).first() if key else None
    return member if member and member.email == email.lower() and member.status == "invited" else None


class MfaAdapter(DefaultMFAAdapter):
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "add_email_blocked": "While a second factor is on, no address can be added: turn it off, and on again after.",
    }

    def encrypt(self, text: str) -> str:
        return seal(SEALED_FOR, text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(SEALED_FOR, encrypted_text)

    def generate_authenticator_name(self, user, type) -> str:
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1
        return "Passkey" if number == 1 else f"Passkey {number}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Lambda"}
