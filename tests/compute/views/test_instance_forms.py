"""Making and changing an instance in the dashboard: what the forms say before, keep, and refuse."""

import html

import pytest

from compute.actions import instances
from compute.models import Instance, Node, SshKey
from compute.views.instance_create import suggested_name
from core import epoch
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db
FORM = {
    "name": "web-1",
    "instance_type": "compute-2x",
    "region": "us-east-1",
    "image": "ubuntu-22.04",
    "start": "on",
}
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nswordfish\n-----END OPENSSH PRIVATE KEY-----"


def shown(page):
    return html.unescape(page.content.decode())


class TestCreate:
    def test_everything_that_is_typed_reaches_the_instance(self, account, alice):
        typed = FORM | {
            "tags": "env=production\r\n\r\nowner: mara=1",
            "user_data": "#!/bin/sh\ntrue\n",
            "protected": "on",
        }
        alice.post("/instances/new", typed)
        row = Instance.objects.get()
        assert (row.name, row.instance_type, row.protected) == ("web-1", "compute-2x", True)
        assert row.tags == {"env": "production", "owner": "mara=1"}
        assert row.user_data.replace("\r", "") == "#!/bin/sh\ntrue\n"
        assert row.desired_state == "running"

    def test_it_need_not_be_started(self, account, alice):
        alice.post("/instances/new", {name: value for name, value in FORM.items() if name != "start"})
        assert Instance.objects.get().desired_state == "stopped"

    def test_a_key_is_pasted_in_the_same_form(self, account, alice):
        known = make.make_ssh_key(account, generate=True)
        alice.post("/instances/new", FORM | {"ssh_keys": [known.public_id], "public_key": make.PUBLIC_KEY})
        added = SshKey.objects.exclude(pk=known.pk).get()
        assert added.name == "alice@laptop"
        assert {key["id"] for key in Instance.objects.get().ssh_keys} == {known.public_id, added.public_id}

    def test_a_pasted_key_that_the_account_has_is_used(self, account, alice):
        known = make.make_ssh_key(account)
        alice.post("/instances/new", FORM | {"public_key": make.PUBLIC_KEY})
        assert SshKey.objects.get() == known
        assert Instance.objects.get().ssh_keys[0]["id"] == known.public_id

    def test_a_key_stays_out_where_the_instance_is_refused(self, account, alice):
        page = alice.post("/instances/new", FORM | {"public_key": make.PUBLIC_KEY, "user_data": "λ" * 40_000})
        assert page.status_code == 422
        assert make.PUBLIC_KEY in shown(page)
        assert not SshKey.objects.exists()

    @pytest.mark.parametrize(("key", "words"), [("nonsense", "must be one OpenSSH line"), (PRIVATE, "a private key")])
    def test_a_key_that_is_none_is_said_beside_it(self, alice, key, words):
        page = alice.post("/instances/new", FORM | {"public_key": key})
        assert page.status_code == 422
        assert words in str(page.context["form"]["public_key"].errors)
        assert "swordfish" not in shown(page), "a private key is not sent back"
        assert not Instance.objects.exists()

    def test_a_tag_without_a_value_is_said_beside_it(self, alice):
        page = alice.post("/instances/new", FORM | {"tags": "env=production\nsolo"})
        assert page.status_code == 422
        assert "“solo” is no tag" in html.unescape(str(page.context["form"]["tags"].errors))
        assert "env=production\nsolo" in shown(page)

    def test_sent_twice_it_is_made_once(self, account, alice):
        typed = FORM | {"once": "a" * 22}
        first, second = (alice.post("/instances/new", typed) for _ in range(2))
        assert Instance.objects.count() == 1
        assert first["Location"] == second["Location"]

    def test_without_a_script_a_button_reviews_and_makes_nothing(self, alice):
        page = alice.post("/instances/new", FORM | {"instance_type": "memory-16x", "review": "1"})
        assert page.status_code == 200
        assert "$163.52" in shown(page).split('class="price"')[1][:40]
        assert not Instance.objects.exists()

    def test_a_name_is_suggested(self, alice):
        assert alice.get("/instances/new").context["form"]["name"].value().count("-") == 1
        assert len({suggested_name() for _ in range(50)}) > 10

    def test_a_member_who_may_add_no_keys_is_asked_for_none(self, account):
        member = make.make_member(account, "viewer")
        api = make.sign_in(member.user)
        assert api.get("/instances/new").status_code == 403


class TestEstimate:
    PATH = "/instances/new/estimate"

    def test_the_choice_is_priced_and_told_as_a_call_while_it_is_made(self, account, alice):
        page = shown(alice.get(self.PATH, FORM | {"instance_type": "compute-8x", "tags": "a=b"}))
        assert "$46.72" in page
        assert "<html" not in page
        assert '"compute-8x"' in page
        assert 'id="call" hx-swap-oob="true"' in page
        assert not Instance.objects.exists()

    def test_what_may_be_secret_stays_out_of_the_address(self, alice):
        page = shown(alice.get("/instances/new"))
        assert 'hx-params="not user_data,public_key,csrfmiddlewaretoken,once"' in page

    def test_what_is_left_of_the_plan_is_said_of_each_type(self):
        account = make.make_account(plan="free")
        make.make_instance(account, instance_type="compute-4x")
        alice = make.sign_in(make.owner_of(account).user)
        form = alice.get("/instances/new").context["form"]
        assert (form.room.instances, form.room.vcpus) == (4, 4)
        problems = {offer.sold.slug: offer.problem for offer in form.offers}
        assert problems["compute-4x"] == ""
        assert problems["compute-8x"] == "Needs 8 vCPUs, your plan has 4 left"
        page = shown(alice.get(self.PATH, FORM | {"instance_type": "compute-8x"}))
        assert "Needs 8 vCPUs, your plan has 4 left" in page

    def test_a_full_plan_and_a_machine_that_cannot_are_said_before_the_form_is_filled(self):
        account = make.make_account(plan="free")
        for _ in range(5):
            make.make_instance(account)
        alice = make.sign_in(make.owner_of(account).user)
        assert "All 5 instances of the plan Free are in use" in shown(alice.get("/instances/new"))
        Node.objects.create(name="here", ok=False, reason="There is no bubblewrap.", remedy="Install it.")
        epoch.advance()
        assert "There is no bubblewrap. Install it." in shown(alice.get("/instances/new"))

    def test_little_memory_is_a_warning_and_no_refusal(self, alice):
        Node.objects.create(name="here", ok=True, capacity={"memory_free_mb": 3000})
        assert "little memory free" in shown(alice.get(self.PATH, FORM | {"instance_type": "memory-1x"}))
        assert "little memory free" not in shown(alice.get(self.PATH, FORM | {"instance_type": "compute-1x"}))


class TestChange:
    @pytest.fixture
    def row(self, account):
        return make.make_instance(account, name="web-1", tags={"env": "staging", "team": "web"})

    def test_name_tags_and_protection_are_changed(self, row, alice):
        path = f"/instances/{row.public_id}/change"
        form = alice.get(path).context["form"]
        assert form["tags"].value() == "env=staging\nteam=web"
        answer = alice.post(path, {"name": "web-9", "tags": "env=production", "protected": "on"})
        assert answer["Location"] == f"/instances/{row.public_id}"
        row.refresh_from_db()
        assert (row.name, row.tags, row.protected) == ("web-9", {"env": "production"}, True)

    def test_the_later_of_two_editors_is_told_and_keeps_what_they_typed(self, row, account, alice):
        path = f"/instances/{row.public_id}/change"
        seen = alice.get(path).context["form"]["version"].value()
        bob = make.make_member(account, "developer")
        bob.user.name = "Bob"
        bob.user.save()
        make.sign_in(bob.user).post(path, {"name": "bobs", "tags": ""})
        page = alice.post(path, {"name": "alices", "tags": "a=b", "version": seen})
        assert page.status_code == 422
        assert "changed this" in shown(page)
        assert "alices" in shown(page)
        row.refresh_from_db()
        assert row.name == "bobs"
        again = page.context["form"]["version"].value()
        assert alice.post(path, {"name": "alices", "tags": "a=b", "version": again}).status_code == 302

    def test_a_machine_that_comes_up_meanwhile_is_no_other_editor(self, account, alice):
        row = make.make_instance(account, state="provisioning")
        path = f"/instances/{row.public_id}/change"
        seen = alice.get(path).context["form"]["version"].value()
        instances.mark_running(instance=row, observed=make.observed(row))
        assert alice.post(path, {"name": "web-9", "tags": "", "version": seen}).status_code == 302

    def test_a_wrong_tag_is_said_and_nothing_is_lost(self, row, alice):
        page = alice.post(f"/instances/{row.public_id}/change", {"name": "precious", "tags": f"{'k' * 65}=1"})
        assert page.status_code == 422
        assert "precious" in shown(page)
        row.refresh_from_db()
        assert row.name == "web-1"


class TestResize:
    def test_each_type_says_what_it_costs_more_or_less(self, account, alice):
        row = make.make_instance(account, instance_type="compute-2x")
        path = f"/instances/{row.public_id}/resize"
        page = shown(alice.get(path))
        assert "+$11.68" in page  # compute-4x: 0.016 an hour more, 730 hours
        assert "−$1.46" in page  # memory-1x has a smaller disk, and is said to be cheaper all the same
        assert "Its disk is smaller than the 20 GB there are" in page
        assert alice.post(path, {"instance_type": "compute-4x"}).status_code == 302
        row.refresh_from_db()
        assert (row.state, row.instance_type) == ("resizing", "compute-4x")

    @pytest.mark.parametrize(
        ("wanted", "words"), [("compute-2x", "already"), ("compute-1x", "cannot shrink"), ("", "required")]
    )
    def test_what_cannot_be_is_said_beside_the_types(self, account, alice, wanted, words):
        row = make.make_instance(account, instance_type="compute-2x")
        page = alice.post(f"/instances/{row.public_id}/resize", {"instance_type": wanted})
        assert page.status_code == 422
        assert words in str(page.context["form"]["instance_type"].errors)
        row.refresh_from_db()
        assert row.state == "running"


class TestRebuild:
    def test_rebuilding_takes_typing_the_name(self, account, alice):
        row = make.make_instance(account, name="web-1")
        path = f"/instances/{row.public_id}/rebuild"
        page = alice.post(path, {"image": "debian-13", "confirm": "web"})
        assert page.status_code == 422
        assert "Type the name exactly: web-1" in shown(page)
        assert page.context["form"]["image"].value() == "debian-13"
        assert alice.post(path, {"image": "debian-13", "confirm": "web-1"}).status_code == 302
        row.refresh_from_db()
        assert (row.state, row.image) == ("rebuilding", "debian-13")

    def test_a_protected_instance_is_not_rebuilt(self, account, alice):
        row = make.make_instance(account, name="web-1", protected=True)
        page = alice.post(f"/instances/{row.public_id}/rebuild", {"image": "debian-13", "confirm": "web-1"})
        assert page.status_code == 422
        assert "protected" in shown(page)


class TestDetail:
    def test_the_first_boot_is_told_step_by_step(self, account, alice):
        key = make.make_ssh_key(account)
        row = make.make_instance(account, state="provisioning", ssh_keys=[key.public_id])
        path = f"/instances/{row.public_id}"
        steps = {step.label: step.status for step in alice.get(path).context["steps"]}
        assert steps == {"Accepted": "done", "Machine made": "busy", "Started": "", "SSH answers": ""}
        instances.mark_running(instance=row, observed=make.observed(row, ready=False))
        steps = {step.label: step.status for step in alice.get(path).context["steps"]}
        assert steps == {"Accepted": "done", "Machine made": "done", "Started": "done", "SSH answers": "busy"}
        instances.mark_ready(instance=row)
        page = alice.get(path)
        assert page.context["steps"] == []
        assert "after you asked for the machine" in shown(page)

    def test_the_step_that_failed_is_shown_as_such(self, account, alice):
        row = make.make_instance(account, state="error")
        steps = {step.label: step.status for step in alice.get(f"/instances/{row.public_id}").context["steps"]}
        assert steps == {"Accepted": "done", "Machine made": "failed", "Started": "", "SSH answers": ""}

    def test_a_machine_that_was_up_before_has_no_first_boot_any_more(self, account, alice):
        row = make.make_instance(account)
        instances.stop(instance=row, by=SYSTEM)
        row.refresh_from_db()
        assert alice.get(f"/instances/{row.public_id}").context["steps"] == []

    def test_the_console_shows_as_many_lines_as_are_asked_for(self, account, alice):
        make.machines().reset()
        id = make.make_api(account).post("/instances", make.WANTED).json()["data"]["id"]
        make.work()
        make.machines().write(id, "".join(f"line {number}\n" for number in range(300)))
        path = f"/instances/{id}"
        assert "line 250\n" in shown(alice.get(f"{path}?tail=50"))
        assert "line 249\n" not in shown(alice.get(f"{path}?tail=50"))
        part = shown(alice.get(f"{path}/console?tail=1000"))
        assert "line 0\n" in part
        assert "<html" not in part
        assert shown(alice.get(f"{path}?tail=7")).count("line 100\n") == 1, "what is no choice is as good as none"

    def test_it_says_what_it_costs_a_month(self, account, alice):
        row = make.make_instance(account, instance_type="compute-4x")
        page = shown(alice.get(f"/instances/{row.public_id}"))
        assert "$23.36 a month" in page

    def test_activity_names_who_did_it(self, account, alice):
        row = make.make_instance(account)
        api = make.make_api(account, name="Deploy from CI")
        api.post(f"/instances/{row.public_id}/restart")
        assert "Deploy from CI · api" in shown(alice.get(f"/instances/{row.public_id}"))
        assert Event.objects.filter(subject_id=row.pk, actor_name="Deploy from CI").exists()

    def test_what_cannot_be_done_has_no_button(self, account, alice):
        row = make.make_instance(account, protected=True)
        page = shown(alice.get(f"/instances/{row.public_id}"))
        assert 'popovertarget="delete"' not in page.replace('popovertargetaction="hide"', "").split("<dialog")[0]
        assert "/rebuild" not in page
        bob = make.sign_in(make.make_member(account, "viewer").user)
        page = shown(bob.get(f"/instances/{row.public_id}"))
        for way in ("/change", "/resize", 'popovertarget="stop"'):
            assert way not in page.split("<dialog")[0]

    @pytest.mark.parametrize("verb", ["change", "resize", "rebuild", "console"])
    def test_charlie_finds_none_of_alices_pages(self, account, verb):
        row = make.make_instance(account)
        charlie = make.sign_in(make.owner_of(make.make_account()).user)
        assert charlie.get(f"/instances/{row.public_id}/{verb}").status_code == 404
