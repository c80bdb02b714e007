"""Instances in the dashboard."""

import html

import pytest

from compute.actions import instances
from compute.models import Instance
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db
FORM = {"name": "web-1", "instance_type": "compute-1x", "region": "us-east-1", "image": "ubuntu-22.04", "user_data": ""}
HTMX = {"HTTP_HX_REQUEST": "true"}


def shown(page):
    return html.unescape(page.content.decode())


def test_an_instance_is_made_by_a_form_and_its_page_shown(account, alice):
    key = make.make_ssh_key(account)
    assert alice.get("/instances/new").status_code == 200
    answer = alice.post("/instances/new", FORM | {"ssh_keys": [key.public_id], "protected": "on"})
    row = Instance.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/instances/{row.public_id}")
    assert (row.name, row.protected, row.ssh_keys[0]["id"]) == ("web-1", True, key.public_id)
    page = alice.get(answer["Location"])
    assert page.status_code == 200
    assert row.public_id in shown(page)
    event = Event.objects.get(type="instance.requested")
    assert (event.via, event.actor_kind) == ("dashboard", "user")


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"region": "mars-1"}, {"instance_type": ""}, {"user_data": "λ" * 33_000}]
)
def test_a_mistake_is_said_and_nothing_typed_is_lost(alice, wrong):
    page = alice.post("/instances/new", FORM | {"name": "my precious"} | wrong)
    assert page.status_code == 422
    assert wrong.get("name", "my precious") in shown(page)
    assert not Instance.objects.exists()


def test_a_quota_that_is_used_up_is_said_on_the_form():
    account = make.make_account(plan="free")
    for _ in range(5):
        make.make_instance(account, state="pending")
    page = make.sign_in(make.owner_of(account).user).post("/instances/new", FORM)
    assert page.status_code == 422
    assert "allows 5 instances" in shown(page)


@pytest.mark.parametrize("state", ["pending", "provisioning", "running", "stopping", "stopped", "error", "deleting"])
def test_the_page_of_an_instance_shows_every_state(account, alice, state):
    row = make.make_instance(account, state=state)
    for path in ("/instances", f"/instances/{row.public_id}"):
        page = alice.get(path)
        assert page.status_code == 200
        assert state in shown(page).lower()
    assert ("The disk is full" in shown(page)) == (state == "error")


@pytest.mark.parametrize(("state", "status"), [("pending", 200), ("running", 286), ("stopped", 286), ("error", 286)])
def test_the_live_part_stops_asking_once_nothing_is_about_to_change(account, alice, state, status):
    row = make.make_instance(account, state=state)
    for path in ("/instances", f"/instances/{row.public_id}"):
        page = alice.get(path, **HTMX)
        assert page.status_code == status
        assert "<html" not in shown(page)


@pytest.mark.parametrize(
    ("state", "action", "after"),
    [("running", "stop", "stopping"), ("stopped", "start", "starting"), ("running", "restart", "restarting")],
)
def test_power_is_one_button(account, alice, state, action, after):
    row = make.make_instance(account, state=state)
    answer = alice.post(f"/instances/{row.public_id}/power/{action}")
    assert (answer.status_code, answer["Location"]) == (302, f"/instances/{row.public_id}")
    assert Instance.objects.get().state == after


def test_a_verb_that_cannot_be_is_explained(account, alice):
    row = make.make_instance(account, state="stopped")
    page = alice.post(f"/instances/{row.public_id}/power/restart", follow=True)
    assert "The instance is stopped" in shown(page)
    assert alice.post(f"/instances/{row.public_id}/power/fly").status_code == 404
    assert alice.get(f"/instances/{row.public_id}/power/stop").status_code == 405


def test_deleting_takes_typing_the_name(account, alice):
    row = make.make_instance(account, name="precious")
    path = f"/instances/{row.public_id}/delete"
    assert alice.get(path).status_code == 200
    page = alice.post(path, {"confirm": "preciou"})
    assert page.status_code == 422
    assert "Type the name exactly: precious" in shown(page)
    assert Instance.objects.get().state == "running"
    assert alice.post(path, {"confirm": "precious"})["Location"] == "/instances"
    assert Instance.objects.get().state == "deleting"


def test_a_protected_instance_is_not_deleted_by_typing(account, alice):
    row = make.make_instance(account, name="precious", protected=True)
    page = alice.post(f"/instances/{row.public_id}/delete", {"confirm": "precious"}, follow=True)
    assert "protected" in shown(page)
    assert Instance.objects.get().state == "running"


def test_the_first_boot_script_is_never_shown(account, alice):
    row = make.make_instance(account, user_data="echo swordfish")
    for path in ("/instances", f"/instances/{row.public_id}", f"/instances/{row.public_id}/delete"):
        assert "swordfish" not in shown(alice.get(path))


def test_what_a_customer_typed_is_text_and_never_markup(account, alice):
    row = make.make_instance(account, name="<script>alert(1)</script>", tags={"<b>": "<i>"})
    for path in ("/", "/instances", f"/instances/{row.public_id}", f"/instances/{row.public_id}/delete"):
        page = alice.get(path)
        assert page.status_code == 200
        assert b"<script>alert" not in page.content
        assert b"<i>" not in page.content


def test_a_viewer_looks_and_changes_nothing(account):
    row = make.make_instance(account)
    bob = make.sign_in(make.make_member(account, "viewer").user)
    assert bob.get("/instances").status_code == bob.get(f"/instances/{row.public_id}").status_code == 200
    assert bob.get("/instances/new").status_code == bob.post("/instances/new", FORM).status_code == 403
    assert bob.post(f"/instances/{row.public_id}/power/stop").status_code == 403
    assert bob.post(f"/instances/{row.public_id}/delete", {"confirm": "web-1"}).status_code == 403
    assert Instance.objects.get().state == "running"


def test_charlie_finds_nothing_of_alices(account):
    row = make.make_instance(account, name="alices own")
    charlie = make.sign_in(make.owner_of(make.make_account()).user)
    assert "alices own" not in shown(charlie.get("/instances"))
    path = f"/instances/{row.public_id}"
    assert charlie.get(path).status_code == charlie.get(f"{path}/delete").status_code == 404
    assert charlie.post(f"{path}/power/stop").status_code == 404
    assert charlie.post(f"{path}/delete", {"confirm": "alices own"}).status_code == 404
    assert charlie.get("/instances/nonsense").status_code == 404


def test_every_page_forbids_what_it_does_not_bring_itself(alice):
    policy = alice.get("/instances")["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_ssh_line_says_when_it_works(account, alice):
    row = make.make_instance(account, state="running")
    path = f"/instances/{row.public_id}"
    row = instances.stop(instance=row, by=SYSTEM)
    assert "SSH answers here again once it is started" in shown(alice.get(path))
    instances.mark_stopped(instance=row)
    assert "SSH answers here again once it is started" in shown(alice.get(path))
    row = instances.start(instance=row, by=SYSTEM)
    assert "SSH answers in a moment" in shown(alice.get(path))
    instances.delete(instance=row, by=SYSTEM)
    assert "SSH answers no more" in shown(alice.get(path))
