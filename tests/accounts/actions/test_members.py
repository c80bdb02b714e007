"""Changes to members that meet each other: one of them wins, and the account keeps an owner."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from accounts.actions import members
from accounts.models import Membership
from core.context import SYSTEM
from core.errors import LambdaError
from tests import make

pytestmark = [pytest.mark.db, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


def at_once(*verbs: Callable[[], object]) -> list[str]:
    """What becomes of verbs that begin together: the refusals' names, or "done"."""
    barrier = Barrier(len(verbs))

    def run(verb: Callable[[], object]) -> str:
        try:
            barrier.wait(10)
            verb()
            return "done"
        except LambdaError as refused:
            return type(refused).__name__
        finally:
            connection.close()

    with ThreadPoolExecutor(len(verbs)) as pool:
        return sorted(pool.map(run, verbs))


def demote(giver: Membership, member: Membership) -> Callable[[], object]:
    return lambda: members.change_role(member=member, by=SYSTEM, giver=giver, grantable=giver.scopes, role="viewer")


def test_two_owners_who_step_down_together_leave_one():
    alice = make.make_account()
    first, second = make.owner_of(alice), make.make_member(alice, "owner")
    assert at_once(demote(first, first), demote(second, second)) == ["LastOwner", "done"]
    assert Membership.objects.filter(account=alice, role="owner").count() == 1


def test_one_link_makes_one_member_whoever_is_quicker():
    alice = make.make_account()
    owner = make.owner_of(alice)
    invited = members.invite(
        account=alice, by=SYSTEM, giver=owner, grantable=owner.scopes, email="bob@example.com", role="viewer"
    )
    users = [make.make_user("bob"), make.make_user("bob")]
    verbs = [lambda user=user: members.accept(member=invited, user=user, by=SYSTEM) for user in users]
    assert at_once(*verbs) == ["NotFound", "done"]
    assert Membership.objects.filter(account=alice).count() == 2
