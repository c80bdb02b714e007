"""Accounts and who belongs to them: every write."""

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from accounts.models import Account, Membership, User
from catalog.models import Plan
from core import epoch, events
from core.context import Actor
from core.db import atomic_write
from core.errors import Conflict, Invalid


@atomic_write()
def create(*, name: str, owner: User, plan: str = "free", by: Actor) -> Account:
    """A new account with its owner.

    Records: account.updated, member.joined. Raises: Invalid for an unknown plan or a name not of 1 to 100 characters.
    """
    account = Account.objects.create(name=_named(name), plan=_plan(plan))
    member = Membership.objects.create(account=account, user=owner, role=Membership.Role.OWNER)
    events.record("account.updated", account=account, by=by, subject=account)
    events.record("member.joined", account=account, by=by, subject=member)
    return account


@atomic_write()
def create_user(*, email: str, password: str | None = None, name: str = "", by: Actor) -> User:
    """A user whose address the operator vouches for; without a password they set one by "Forgot your password?".

    Raises: Invalid for what is no e-mail address.
    """
    try:
        validate_email(email)
    except ValidationError:
        raise Invalid.field("email", f"'{email}' is not an e-mail address", value=email) from None
    user = User.objects.create_user(email, password, name=name)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


@atomic_write()
def update_user(*, user: User, by: Actor, name: str, is_active: bool, is_staff: bool, is_superuser: bool) -> User:
    """What only operators change. Whoever is not active cannot sign in, and no key of theirs works.

    Records: user.updated. Raises: Conflict where nobody could undo it.
    """
    user = User.objects.select_for_update().get(pk=user.pk)
    if user.is_superuser and not (is_active and is_staff and is_superuser):
        others = User.objects.filter(is_active=True, is_staff=True, is_superuser=True).exclude(pk=user.pk)
        if not others.exists():
            raise Conflict(f"{user.email} is the last operator with every right: make another one first")
    user.name, user.is_active, user.is_staff, user.is_superuser = name, is_active, is_staff, is_superuser
    user.save(update_fields=["name", "is_active", "is_staff", "is_superuser", "updated_at"])
    facts = {"is_active": is_active, "is_staff": is_staff, "is_superuser": is_superuser}
    events.record("user.updated", account=None, by=by, subject=user, data=facts)
    transaction.on_commit(epoch.advance)
    return user


@atomic_write()
def update(*, account: Account, by: Actor, name: str | None = None, require_mfa: bool | None = None) -> Account:
    """Another name, or whether members must have a second factor: who has none is asked for it with their next page.

    Records: account.updated. Raises: Invalid for a name not of 1 to 100 characters.
    """
    name = None if name is None else _named(name)
    account = _locked(account)
    account.name = account.name if name is None else name
    account.require_mfa = account.require_mfa if require_mfa is None else require_mfa
    account.save(update_fields=["name", "require_mfa", "updated_at"])
    events.record("account.updated", account=account, by=by, subject=account)
    return account


@atomic_write()
def change_plan(*, account: Account, plan: str, by: Actor) -> Account:
    """Another plan, with its rate and quotas, from the next request on. Records: account.updated. Raises: Invalid."""
    account = _locked(account)
    account.plan = _plan(plan)
    account.save(update_fields=["plan", "updated_at"])
    events.record("account.updated", account=account, by=by, subject=account)
    transaction.on_commit(epoch.advance)
    return account


@atomic_write()
def suspend(*, account: Account, reason: str, by: Actor) -> Account:
    """Nothing of the account can be changed until it is resumed; what runs goes on.

    Records: account.suspended. Raises: Invalid without a reason, which the customer is shown.
    """
    if not reason.strip():
        raise Invalid.field("reason", "Say why: the customer is shown the reason", value=reason)
    account = _locked(account)
    account.suspended_at, account.suspended_reason = timezone.now(), reason.strip()
    account.save(update_fields=["suspended_at", "suspended_reason", "updated_at"])
    events.record("account.suspended", account=account, by=by, subject=account, data={"reason": reason.strip()})
    transaction.on_commit(epoch.advance)
    return account


@atomic_write()
def resume(*, account: Account, by: Actor) -> Account:
    """Records: account.resumed, unless it was not suspended."""
    account = _locked(account)
    if account.suspended_at is None:
        return account
    account.suspended_at, account.suspended_reason = None, ""
    account.save(update_fields=["suspended_at", "suspended_reason", "updated_at"])
    events.record("account.resumed", account=account, by=by, subject=account)
    transaction.on_commit(epoch.advance)
    return account


def _locked(account: Account) -> Account:
    return Account.objects.select_for_update(of=("self",)).select_related("plan").get(pk=account.pk)


def _named(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise Invalid.field("name", "An account needs a name of 1 to 100 characters", value=name)
    return name


def _plan(slug: str) -> Plan:
    plan: Plan | None = Plan.objects.named(slug)
    if plan is None:
        allowed = list(Plan.objects.on_sale().values_list("slug", flat=True))
        raise Invalid.field("plan", "Invalid plan specified", value=slug, allowed=allowed)
    return plan
