"""Sign-up: a new user gets an account of their own, with the user as its owner."""

from allauth.account.adapter import DefaultAccountAdapter

from accounts.actions import accounts
from core.db import atomic_write


class AccountAdapter(DefaultAccountAdapter):
    def save_user(self, request, user, form, commit=True):
        with atomic_write():
            user = super().save_user(request, user, form, commit=commit)
            if commit:
                accounts.create(name=user.email.partition("@")[0], owner=user, by=user.actor)
        return user
