"""The grid in which scopes are chosen, and what it says of the choice in words."""

import html

import pytest

from accounts.models import ApiKey
from accounts.scopes import ROLE_SCOPES, SCOPES
from accounts.views.permissions import PermissionsForm, words
from tests import make

ALL = frozenset(SCOPES)
NEW = "/settings/api-keys/new"


def chosen(grantable=ALL, **fields):
    form = PermissionsForm({"name": "a", "preset": "custom"} | fields, grantable=frozenset(grantable))
    assert form.is_valid(), form.errors
    return form.granted()


def test_read_write_and_some_give_what_they_say():
    assert chosen(level_networks="read", level_instances="read") == ["instances:read", "networks:read"]
    assert chosen(level_firewalls="write") == ["firewalls:read", "firewalls:write"]
    assert chosen(level_volumes="none") == []
    assert chosen(level_functions="custom", scopes=["functions:invoke", "volumes:read"]) == [
        "volumes:read",  # without a level: ticked by a script, which names scopes alone
        "functions:invoke",
    ]
    assert chosen(level_functions="read", scopes=["functions:invoke"]) == ["functions:read"]


def test_nobody_grants_through_the_grid_what_they_do_not_have():
    viewer = ROLE_SCOPES["viewer"]
    assert chosen(viewer, level_instances="write") == ["instances:read"]
    form = PermissionsForm(grantable=viewer)
    assert {row.name for row in form.grid}.isdisjoint({"members", "audit"})
    assert all([level for level, _ in row.levels] == ["none", "read"] for row in form.grid)


def test_finer_actions_are_offered_where_there_are_some():
    grid = {row.name: row for row in PermissionsForm(grantable=ALL).grid}
    assert [action for _, action, _ in grid["instances"].boxes] == ["read", "create", "update", "delete", "power"]
    assert [level for level, _ in grid["instances"].levels] == ["none", "read", "write", "custom"]
    assert [level for level, _ in grid["SSH keys"].levels] == ["none", "read", "write"]
    assert [level for level, _ in grid["catalog"].levels] == ["none", "read"]


def test_the_words_say_what_it_may_what_not_and_what_is_grave():
    said = words(["members:read", "members:write"])
    assert said["short"] == "All of members"
    assert said["may"] == [
        ("members", ["see who belongs to the account", "invite and remove people and change their roles"])
    ]
    assert "billing" in said["may_not"]
    assert said["grave"] == ["It can invite people and make them admins."]
    assert words(SCOPES)["may_not"] == []
    assert words(["catalog:read"])["grave"] == []


@pytest.mark.django_db
class TestThePage:
    @pytest.fixture
    def account(self):
        return make.make_account()

    @pytest.fixture
    def alice(self, account):
        return make.sign_in(make.owner_of(account).user)

    def test_the_summary_follows_the_choice(self, alice):
        page = alice.get("/settings/permissions?preset=custom&level_functions=custom&scopes=functions:invoke")
        assert "Invoke functions" in html.unescape(page.content.decode())
        assert "Nothing is chosen yet" in alice.get("/settings/permissions?preset=custom").content.decode()
        assert "Nothing is chosen yet" in alice.get("/settings/permissions?preset=nonsense").content.decode()

    def test_without_a_script_the_choice_is_reviewed_before_a_key_is_made(self, alice):
        form = {"name": "ci", "preset": "custom", "level_volumes": "read", "expiry": "7", "review": "1"}
        page = alice.post(NEW, form)
        text = html.unescape(page.content.decode())
        assert page.status_code == 200
        assert "Read volumes" in text
        assert 'name="level_volumes" value="read" checked' in text
        assert 'value="ci"' in text
        assert not ApiKey.objects.exists()

    def test_a_key_made_with_the_grid_can_do_just_that(self, alice):
        form = {"name": "ci", "preset": "custom", "level_volumes": "write", "level_catalog": "read", "expiry": "7"}
        assert alice.post(NEW, form).status_code == 200
        granted = ApiKey.objects.get().scopes
        assert granted == [*(scope for scope in SCOPES if scope.startswith("volumes:")), "catalog:read"]

    def test_the_grid_keeps_its_choice_beside_the_mistake(self, alice):
        page = alice.post(NEW, {"name": "", "preset": "custom", "level_ips": "write", "expiry": "7"})
        assert page.status_code == 422
        assert 'name="level_ips" value="write" checked' in page.content.decode()

    def test_a_keys_name_and_addresses_are_changed(self, account, alice):
        key, _ = make.make_key(account, name="old")
        path = f"/settings/api-keys/{key.public_id}/change"
        page = alice.post(path, {"name": "new", "allowed_cidrs": "203.0.113.0/24\nnowhere"})
        assert page.status_code == 422
        assert "'nowhere' is not an address" in html.unescape(page.content.decode())
        assert 'value="new"' in page.content.decode()
        assert alice.post(path, {"name": "new", "allowed_cidrs": "203.0.113.0/24"}).status_code == 302
        key.refresh_from_db()
        assert (key.name, key.allowed_cidrs) == ("new", ["203.0.113.0/24"])

    def test_a_developer_cannot_change_the_owners_key(self, account):
        key, _ = make.make_key(account)
        bob = make.sign_in(make.make_member(account, "developer").user)
        page = bob.post(f"/settings/api-keys/{key.public_id}/change", {"name": "mine"})
        assert page.status_code == 422
        assert "not yours" in html.unescape(page.content.decode())

    def test_the_later_of_two_editors_is_told_and_loses_nothing(self, account, alice):
        key, _ = make.make_key(account, name="old")
        path = f"/settings/api-keys/{key.public_id}/change"
        version = alice.get(path).context["form"]["version"].value()
        alice.post(path, {"name": "first", "allowed_cidrs": "", "version": version})
        page = alice.post(path, {"name": "second", "allowed_cidrs": "", "version": version})
        assert page.status_code == 422
        assert "changed this" in page.content.decode()
        assert 'value="second"' in page.content.decode()
        key.refresh_from_db()
        assert key.name == "first"

    def test_a_form_sent_twice_makes_one_key(self, alice):
        form = {"name": "ci", "preset": "full", "expiry": "7", "once": "a" * 22}
        assert alice.post(NEW, form).status_code == 200
        again = alice.post(NEW, form)
        assert again.status_code == 409
        assert "not shown again" in again.content.decode()
        assert ApiKey.objects.count() == 1
