"""Members and invitations by the API: who may invite, change and remove whom, and what becomes of the link."""

import re

import pytest
import time_machine
from django.core import mail
from django.test import TestCase

from accounts import tasks
from accounts.actions import members, oauth_tokens
from accounts.models import Membership
from core.context import SYSTEM
from core.errors import NotFound
from core.models import Event
from tests import make
from tests.make import Api

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def alice():
    return make.make_account(name="Northwind Labs")


@pytest.fixture
def owner(alice):
    return make.make_api(alice)


def as_(account, role: str, **fields) -> Api:
    """A client of a new member's, with all that the role may do."""
    return make.make_api(account, member=make.make_member(account, role), **fields)


def invite(api: Api, email: str = "Bob@Example.com", role: str = "developer"):
    response = api.post("/account/members", {"email": email, "role": role})
    assert response.status_code == 201, response.content
    return response.json()["data"]


def mailed_link() -> str:
    """The link in the newest mail, once the worker has sent it."""
    make.work()
    return re.search(r"/invitations/(\S+)", mail.outbox[-1].body)[1]


def swept() -> list[str]:
    with TestCase.captureOnCommitCallbacks(execute=True):
        tasks.sweep_invitations()
    return make.work()


def types() -> list[str]:
    return list(Event.objects.filter(type__startswith="member.").order_by("seq").values_list("type", flat=True))


def test_an_invitation_is_listed_with_the_members_and_mailed(alice, owner):
    invited = invite(owner)
    assert (invited["status"], invited["email"], invited["user_id"]) == ("invited", "bob@example.com", None)
    assert [row["status"] for row in owner.get("/account/members").json()["data"]] == ["invited", "active"]
    link = mailed_link()
    sent = mail.outbox[-1]
    assert sent.to == ["bob@example.com"]
    assert sent.subject == "Join Northwind Labs on Lambda"
    assert "as developer" in sent.body
    assert "7 days" not in sent.body
    assert link not in str(Membership.with_invited.values())
    assert types()[-1] == "member.invited"


def test_nothing_of_an_invitation_grants_anything(alice, owner):
    invite(owner)
    assert Membership.objects.filter(account=alice).count() == 1
    assert alice.memberships.count() == 1


def test_the_list_is_filtered_by_status_role_and_address(alice, owner):
    invite(owner)
    make.make_member(alice, "viewer")
    ask = lambda query: [row["role"] for row in owner.get(f"/account/members?{query}").json()["data"]]  # noqa: E731
    assert ask("status=invited") == ["developer"]
    assert ask("role=viewer,owner") == ["viewer", "owner"]
    assert ask("email=BOB@example.com") == ["developer"]
    assert ask("q=bob&sort=role&order=desc") == ["viewer", "developer"]
    with time_machine.travel(make.days(8)):
        members_now = Membership.with_invited.for_account(alice)
        assert sorted(row.status_now for row in members_now) == ["active", "active", "expired"]
        assert all(row.status == row.status_now for row in members_now)


def test_who_is_a_member_or_invited_is_not_invited_twice(alice, owner):
    first = invite(owner)
    again = owner.post("/account/members", {"email": "bob@example.com", "role": "viewer"})
    assert again.status_code == 409
    assert again.json()["error"]["details"]["existing_id"] == first["id"]
    bob = make.make_member(alice, "viewer")
    member = owner.post("/account/members", {"email": bob.user.email.upper(), "role": "viewer"})
    assert member.status_code == 409
    assert member.json()["error"]["details"]["existing_id"] == bob.public_id


def test_no_more_than_fifty_invitations_may_be_open(owner, monkeypatch):
    monkeypatch.setattr(members, "MAX_INVITED", 2)
    invite(owner, "a@example.com")
    invite(owner, "b@example.com")
    third = owner.post("/account/members", {"email": "c@example.com", "role": "viewer"})
    assert (third.status_code, third.json()["error"]["code"]) == (403, "quota_exceeded")


def test_a_wrong_address_or_role_is_named_with_what_is_allowed(owner):
    error = owner.post("/account/members", {"email": "bob", "role": "boss"}).json()["error"]
    assert [one["field"] for one in error["details"]["errors"]] == ["email", "role"]
    assert error["details"]["errors"][1]["allowed_values"] == ["owner", "admin", "developer", "billing", "viewer"]


def test_a_link_opens_once_and_the_id_stays(alice, owner):
    invited = invite(owner)
    link = mailed_link()
    row = Membership.with_invited.invited_by_link(link)
    joined = members.accept(member=row, user=make.make_user("bob"), by=SYSTEM)
    assert joined.public_id == invited["id"]
    assert owner.get(f"/account/members/{invited['id']}").json()["data"]["status"] == "active"
    assert Membership.with_invited.invited_by_link(link) is None
    with pytest.raises(NotFound):
        members.accept(member=row, user=make.make_user("charlie"), by=SYSTEM)
    assert types()[-1] == "member.joined"


def test_a_link_ends_after_seven_days_and_a_new_one_can_be_sent(owner):
    invited = invite(owner)
    old = mailed_link()
    with time_machine.travel(make.days(7.01)):
        assert Membership.with_invited.invited_by_link(old) is None
        assert owner.post(f"/account/members/{invited['id']}/resend").json()["data"]["status"] == "invited"
        new = mailed_link()
        assert new != old
        assert Membership.with_invited.invited_by_link(old) is None
        assert Membership.with_invited.invited_by_link(new) is not None


def test_the_old_link_stops_when_a_new_one_is_sent_and_mails_do_not_follow_each_other_at_once(owner):
    invited = invite(owner)
    old = mailed_link()
    assert owner.post(f"/account/members/{invited['id']}/resend").status_code == 409
    with time_machine.travel(make.days(0.01)):
        owner.post(f"/account/members/{invited['id']}/resend")
        assert Membership.with_invited.invited_by_link(old) is None


def test_a_cancelled_invitation_opens_nothing(owner):
    invited = invite(owner)
    link = mailed_link()
    assert owner.delete(f"/account/members/{invited['id']}").status_code == 200
    assert Membership.with_invited.invited_by_link(link) is None
    assert owner.get(f"/account/members/{invited['id']}").status_code == 404
    assert types()[-1] == "member.removed"


def test_an_invitation_whose_message_was_lost_is_mailed_by_the_sweep(alice, owner):
    members.invite(
        account=alice,
        by=SYSTEM,
        giver=make.owner_of(alice),
        grantable=make.owner_of(alice).scopes,
        email="bob@example.com",
        role="viewer",
    )
    assert swept() == []  # it is not late yet
    with time_machine.travel(make.days(0.01)):
        assert swept() == ["accounts.mail_invitation"]
        assert len(mail.outbox) == 1
        assert swept() == []


@pytest.mark.parametrize("role", ["admin", "developer", "billing", "viewer"])
def test_an_admin_invites_everybody_but_owners(alice, role):
    admin = as_(alice, "admin")
    assert invite(admin, role=role)["role"] == role
    refused = admin.post("/account/members", {"email": "eve@example.com", "role": "owner"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_a_key_hands_out_no_role_that_can_do_more_than_it(alice):
    narrow = make.make_api(alice, scopes=["members:*", "billing:*", "account:read", "catalog:read"])
    assert invite(narrow, role="billing")
    refused = narrow.post("/account/members", {"email": "eve@example.com", "role": "viewer"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_an_admin_can_neither_change_nor_remove_an_owner(alice):
    admin, owner = as_(alice, "admin"), make.owner_of(alice)
    for refused in (
        admin.patch(f"/account/members/{owner.public_id}", {"role": "viewer"}),
        admin.delete(f"/account/members/{owner.public_id}"),
    ):
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    owner.refresh_from_db()
    assert owner.role == "owner"


def test_an_admin_cannot_make_themselves_owner(alice):
    member = make.make_member(alice, "admin")
    admin = make.make_api(alice, member=member)
    assert admin.patch(f"/account/members/{member.public_id}", {"role": "owner"}).status_code == 403


def test_the_last_owner_can_neither_leave_nor_step_down(alice, owner):
    me = make.owner_of(alice).public_id
    for refused in (owner.delete(f"/account/members/{me}"), owner.patch(f"/account/members/{me}", {"role": "admin"})):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    invited = invite(owner, role="owner")
    assert owner.delete(f"/account/members/{me}").status_code == 409, "an invited owner is none yet"
    members.accept(
        member=Membership.with_invited.get(pk=Membership.key(invited["id"])), user=make.make_user("bob"), by=SYSTEM
    )
    assert owner.delete(f"/account/members/{me}").status_code == 200


def test_a_new_role_binds_the_members_key_with_its_next_request(alice, owner):
    bob = make.make_member(alice, "developer")
    key = make.make_api(alice, member=bob)
    assert key.get("/instances").status_code == 200
    changed = owner.patch(f"/account/members/{bob.public_id}", {"role": "billing"})
    assert changed.json()["data"]["role"] == "billing"
    assert key.get("/instances").status_code == 403
    event = Event.objects.get(type="member.role_changed")
    assert (event.data["role"], event.data["previous_role"]) == ("billing", "developer")


def test_the_same_role_again_changes_nothing(alice, owner):
    bob = make.make_member(alice, "developer")
    assert owner.patch(f"/account/members/{bob.public_id}", {"role": "developer"}).status_code == 200
    assert "member.role_changed" not in types()


def test_the_keys_of_who_is_removed_stop_for_good(alice, owner):
    bob = make.make_member(alice, "developer")
    row, secret = make.make_key(alice, member=bob)
    token, issued = oauth_tokens.generate(
        account=alice, by=SYSTEM, maker=bob.user, name="laptop", scopes=["instances:read"], grantable=bob.scopes
    )
    key = Api(secret.key)
    assert Api(issued.access).get("/instances").status_code == 200
    assert key.get("/instances").status_code == 200
    owner.delete(f"/account/members/{bob.public_id}")
    assert (key.get("/instances").status_code, key.get("/instances").json()["error"]["code"]) == (401, "key_revoked")
    make.make_member(alice, "developer", bob.user)
    assert key.get("/instances").status_code == 401, "it came back to life"
    assert Api(issued.access).get("/instances").status_code == 401, "it came back to life"
    row.refresh_from_db()
    token.refresh_from_db()
    assert row.revoked_at
    assert token.revoked_at


def test_one_may_remove_oneself(alice, owner):
    bob = make.make_member(alice, "admin")
    assert make.make_api(alice, member=bob).delete(f"/account/members/{bob.public_id}").status_code == 200


def test_whether_a_second_factor_is_required_is_the_owners_and_admins_to_say(alice, owner):
    assert owner.patch("/account", {"require_mfa": True}).json()["data"]["require_mfa"] is True
    assert as_(alice, "admin").patch("/account", {"require_mfa": False}).json()["data"]["require_mfa"] is False
    assert as_(alice, "billing").patch("/account", {"require_mfa": True}).status_code == 403
    assert owner.get("/account").json()["data"]["name"] == "Northwind Labs"


def test_two_owners_who_demote_each_other_leave_one(alice, owner):
    second = make.make_member(alice, "owner")
    me = make.owner_of
    first = Membership.objects.filter(account=alice, role="owner").exclude(pk=second.pk).get()
    assert (
        make.make_api(alice, member=second).patch(f"/account/members/{first.public_id}", {"role": "viewer"}).status_code
        == 200
    )
    assert (
        make.make_api(alice, member=second)
        .patch(f"/account/members/{second.public_id}", {"role": "viewer"})
        .status_code
        == 409
    )
    assert me(alice).pk == second.pk
