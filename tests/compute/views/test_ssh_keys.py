"""SSH keys in the dashboard."""

import html

import pytest

from compute.models import SshKey
from tests import make

pytestmark = pytest.mark.django_db


def shown(page):
    return html.unescape(page.content.decode())


def test_a_pasted_key_is_kept(alice):
    page = alice.post("/ssh-keys/new", {"name": "laptop", "public_key": make.PUBLIC_KEY}, follow=True)
    assert "laptop" in shown(page)
    assert SshKey.objects.get().public_key == make.PUBLIC_KEY


@pytest.mark.parametrize("wrong", [{"public_key": "nonsense"}, {"public_key": ""}, {"name": ""}])
def test_a_mistake_is_said_and_nothing_typed_is_lost(alice, wrong):
    typed = {"name": "my laptop", "public_key": make.PUBLIC_KEY} | wrong
    page = alice.post("/ssh-keys/new", typed)
    assert page.status_code == 422
    assert typed["name"] in shown(page)
    assert typed["public_key"] in shown(page)
    assert not SshKey.objects.exists()


def test_a_private_key_pasted_by_mistake_is_not_sent_back(alice):
    page = alice.post("/ssh-keys/new", {"name": "x", "public_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nswordfish"})
    assert page.status_code == 422
    assert "This is a private key" in shown(page)
    assert "swordfish" not in shown(page)


def test_a_generated_key_is_on_one_page_that_nobody_may_keep(alice):
    page = alice.post("/ssh-keys/new", {"name": "made", "generate": "1"})
    assert page.status_code == 200
    assert page["Cache-Control"] == "no-store"
    assert "BEGIN OPENSSH PRIVATE KEY" in shown(page)
    assert "PRIVATE KEY" not in shown(alice.get("/ssh-keys"))


def test_a_key_is_removed_on_request_only(account, alice):
    key = make.make_ssh_key(account)
    assert alice.get(f"/ssh-keys/{key.public_id}/remove").status_code == 200
    assert SshKey.objects.exists()
    assert alice.post(f"/ssh-keys/{key.public_id}/remove").status_code == 302
    assert not SshKey.objects.exists()


def test_charlie_and_a_viewer_remove_nothing(account):
    key = make.make_ssh_key(account)
    charlie = make.sign_in(make.owner_of(make.make_account()).user)
    viewer = make.sign_in(make.make_member(account, "viewer").user)
    assert charlie.post(f"/ssh-keys/{key.public_id}/remove").status_code == 404
    assert viewer.post(f"/ssh-keys/{key.public_id}/remove").status_code == 403
    assert viewer.get("/ssh-keys").status_code == 200
    assert SshKey.objects.exists()
