"""Members and invitations: every write. A change binds the next request of every process, session and key."""

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils import timezone

from accounts.actions import api_keys, oauth_tokens
from accounts.models import Account, ApiKey, Membership, OAuthToken, User
from accounts.models.invitation import LIFE, Link
from core import epoch, events
from core.context import Actor
from core.db import atomic_write
from core.errors import Conflict, Invalid, LimitExceeded, NotAllowed, NotFound

MAX_INVITED = 50  # invitations of an account that nobody has accepted: mail is not for advertising
RESEND_AFTER = 60  # seconds


class AlreadyMember(Conflict):
    pass


class AlreadyInvited(Conflict):
    pass


class NotInvited(Conflict):
    code = "invalid_state"


class LastOwner(Conflict):
    pass


class TooManyInvitations(LimitExceeded):
    pass


@atomic_write()
def invite(
    *, account: Account, by: Actor, giver: Membership, grantable: frozenset[str], email: str, role: str
) -> Membership:
    """An invitation of seven days, mailed after the commit. `giver` invites by a credential with `grantable` scopes.

    Records: member.invited. Raises: Invalid, NotAllowed for a role that the giver may not hand out, AlreadyMember,
    AlreadyInvited, TooManyInvitations.
    """
    email = email.strip().lower()
    giver.insist_on_granting(_role(role), grantable)
    _lock(account)
    _insist_on_new(account, email)
    member = Membership.with_invited.create(
        account=account, email=email, role=role, invited_by=giver.user, expires_at=timezone.now() + LIFE
    )
    events.record("member.invited", account=account, by=by, subject=member)
    events.enqueue("accounts.mail_invitation", member_id=str(member.pk))
    return member


def _insist_on_new(account: Account, email: str) -> None:
    known = EmailAddress.objects.filter(email__iexact=email, verified=True).values("user")
    member = Membership.objects.filter(account=account, user__in=known).first()
    if member:
        raise AlreadyMember(f"{email} is a member already", existing_id=member.public_id)
    invited = Membership.with_invited.filter(account=account, user=None)
    if same := invited.filter(email=email).first():
        raise AlreadyInvited(
            f"{email} is invited already",
            suggestion="Resend the invitation, or cancel it and invite with another role.",
            existing_id=same.public_id,
        )
    if (used := invited.count()) >= MAX_INVITED:
        raise TooManyInvitations(
            f"{used} invitations of this account are open, which is as many as there may be",
            suggestion="Cancel those that nobody will accept.",
            limit=MAX_INVITED,
            used=used,
            requested=1,
        )


@atomic_write()
def resend(*, member: Membership, by: Actor) -> Membership:
    """A new link for seven more days; the old one stops working.

    Records: member.invited. Raises: NotInvited for a member, LimitExceeded within a minute of the last mail.
    """
    member = _locked(member)
    if member.active:
        raise NotInvited(f"{member.name} has joined already", current="active", allowed_from=["invited", "expired"])
    if member.mailed_at and (timezone.now() - member.mailed_at).total_seconds() < RESEND_AFTER:
        raise NotInvited("The invitation was mailed within the last minute: give it time to arrive")
    member.expires_at, member.digest, member.mailed_at = timezone.now() + LIFE, None, None
    member.save(update_fields=["expires_at", "digest", "mailed_at", "updated_at"])
    events.record("member.invited", account=member.account, by=by, subject=member)
    events.enqueue("accounts.mail_invitation", member_id=str(member.pk))
    return member


@atomic_write()
def new_link(*, member: Membership) -> Link | None:
    """The link to put into the mail, the only one that works from now on; None where nobody waits for it any more."""
    link = Link.generate()
    waiting = Membership.with_invited.filter(pk=member.pk, user=None, mailed_at=None, expires_at__gt=timezone.now())
    return link if waiting.update(digest=link.digest) else None


@atomic_write()
def mark_mailed(*, member: Membership, link: Link) -> None:
    Membership.with_invited.filter(pk=member.pk, digest=link.digest).update(mailed_at=timezone.now())


@atomic_write()
def accept(*, member: Membership, user: User, by: Actor) -> Membership:
    """The invited user is a member from now on. Whether the invited address is theirs, the caller has checked.

    Records: member.joined. Raises: NotFound for an invitation that was used, cancelled or has expired, AlreadyMember
    for a user who has joined by another one, NotAllowed while the account is suspended.
    """
    account = _lock(member.account)
    found = Membership.with_invited.select_for_update(of=("self",)).filter(pk=member.pk, user=None).first()
    if found is None or found.status != "invited":
        raise NotFound("This invitation was used, cancelled or has expired: ask for a new one")
    if account.suspended_at:
        raise NotAllowed(f"The account is suspended: {account.suspended_reason}")
    if Membership.objects.filter(account=account, user=user).exists():
        raise AlreadyMember(f"You are a member of {account.name} already")
    found.user, found.email, found.expires_at, found.digest = user, "", None, None
    found.save(update_fields=["user", "email", "expires_at", "digest", "updated_at"])
    events.record("member.joined", account=account, by=by, subject=found)
    transaction.on_commit(epoch.advance)
    return found


@atomic_write()
def change_role(
    *, member: Membership, by: Actor, giver: Membership, grantable: frozenset[str], role: str
) -> Membership:
    """Another role, also for one who is still invited.

    Records: member.role_changed, unless it is the same. Raises: Invalid, LastOwner, NotAllowed for a role that the
    giver may not hand out and for an owner whom the giver may not touch.
    """
    _lock(member.account)
    member = _locked(member)
    if _role(role) == member.role:
        return member
    giver.insist_on_managing(member)
    giver.insist_on_granting(role, grantable)
    _insist_on_owner(member)
    before, member.role = member.role, role
    member.save(update_fields=["role", "updated_at"])
    events.record("member.role_changed", account=member.account, by=by, subject=member, data={"previous_role": before})
    transaction.on_commit(epoch.advance)
    return member


@atomic_write()
def remove(*, member: Membership, by: Actor, giver: Membership) -> Membership:
    """The member, or the invitation, is gone, and their keys and tokens for this account are revoked. Everybody may go.

    Records: member.removed, api_key.revoked, api_token.revoked. Raises: LastOwner, NotAllowed for an owner
    whom the giver may not touch.
    """
    _lock(member.account)
    member = _locked(member)
    if member.pk != giver.pk:
        giver.insist_on_managing(member)
    _insist_on_owner(member)
    if member.active:  # what came back to life with a later invitation would surprise everybody
        for key in ApiKey.objects.working().filter(account=member.account, created_by=member.user):
            api_keys.revoke(key=key, by=by)
        for token in OAuthToken.objects.working().filter(account=member.account, user=member.user):
            oauth_tokens.revoke(token=token, by=by)
    events.record("member.removed", account=member.account, by=by, subject=member)
    Membership.with_invited.filter(pk=member.pk).delete()
    transaction.on_commit(epoch.advance)
    return member


def _insist_on_owner(member: Membership) -> None:
    """Raises LastOwner where the account would have none without this member."""
    others = Membership.objects.filter(account=member.account, role=Membership.Role.OWNER).exclude(pk=member.pk)
    if member.active and member.role == Membership.Role.OWNER and not others.exists():
        raise LastOwner(
            f"{member.name} is the account's last owner, and an account needs one",
            suggestion="Make another member owner first.",
        )


def _lock(account: Account) -> Account:
    """One change of an account's members at a time: two owners who demote each other must not both succeed."""
    return Account.objects.select_for_update().get(pk=account.pk)


def _locked(member: Membership) -> Membership:
    rows = Membership.with_invited.select_for_update(of=("self",)).select_related("account", "user", "invited_by")
    found = rows.filter(pk=member.pk).first()
    if found is None:
        raise NotFound(f"Resource not available: {member.name} is no member any more")
    return found


def _role(role: str) -> str:
    if role not in Membership.Role.values:
        raise Invalid.field("role", f"There is no role '{role}'", value=role, allowed=Membership.Role.values)
    return role
