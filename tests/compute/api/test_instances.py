"""`/v1/instances` as clients see it. What every endpoint has in common is in `tests/test_contract.py`.

Over 300 lines long, because it walks through everything that one can do with an instance.
"""

import re
import threading
from datetime import timedelta

import pytest
import time_machine
from django.db import connection

from api import waiting
from compute.actions import instances
from compute.drivers.base import Capabilities, Retryable
from compute.models import Instance
from core.context import SYSTEM
from tests import make
from tests.api.test_errors import refused

pytestmark = [pytest.mark.django_db, pytest.mark.db]
commits = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def api(account):
    return make.make_api(account)


@pytest.fixture(autouse=True)
def machines(db):
    driver = make.machines()
    driver.reset()
    return driver


def test_the_documents_request_is_accepted_and_soon_an_instance_one_can_log_in_to(api):
    body = {
        "name": "my-web-server",
        "instance_type": "t2.medium",
        "region": "us-east-1",
        "image": "ubuntu-22.04",
        "tags": {"environment": "production"},
    }
    answer = api.post("/instances", body)
    assert answer.status_code == 201
    shape = answer.json()
    assert set(shape) == {"success", "data", "metadata"}
    assert shape["success"] is True
    created = shape["data"]
    assert (created["status"], created["ready"], created["ssh"]) == ("pending", False, None)
    assert (created["instance_type"], created["vcpus"]) == ("compute-4x", 4)
    make.work()
    row = api.get(f"/instances/{created['id']}").json()["data"]
    assert (row["status"], row["ready"], row["billing_state"]) == ("running", True, "billed")
    assert row["ssh"] == {
        "user": "lambda",
        "host": row["public_ip"],
        "port": 2222,
        "command": f"ssh -p 2222 lambda@{row['public_ip']}",
    }
    assert re.fullmatch(r"RES_\d{10}", row["resource_id"])
    assert re.fullmatch(r"\d+\.\d{4}", row["hourly_price"])
    for name in ("created_at", "updated_at", "started_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[name]), name
    assert row["tags"] == body["tags"]


def test_the_whole_life_of_an_instance(api):
    id = api.post("/instances", make.WANTED).json()["data"]["id"]
    make.work()
    steps = [
        ("stop", {}, "stopping", "stopped"),
        ("start", {}, "starting", "running"),
        ("restart", {}, "restarting", "running"),
        ("resize", {"instance_type": "compute-2x", "restart": True}, "resizing", "running"),
        ("rebuild", {"image": "debian-12"}, "rebuilding", "running"),
    ]
    for verb, body, at_once, at_last in steps:
        answer = api.post(f"/instances/{id}/{verb}", body)
        assert (answer.status_code, answer.json()["data"]["status"]) == (202, at_once), verb
        make.work()
        assert api.get(f"/instances/{id}").json()["data"]["status"] == at_last, verb
    row = api.get(f"/instances/{id}").json()["data"]
    assert (row["instance_type"], row["image"]) == ("compute-2x", "debian-12")
    answer = api.delete(f"/instances/{id}")
    assert (answer.status_code, answer.json()["data"]["status"]) == (202, "deleting")
    make.work()
    refused(api.get(f"/instances/{id}"), 404, "not_found")
    assert api.get("/instances").json()["pagination"]["total_items"] == 0


@pytest.mark.parametrize(
    ("state", "verb"), [("running", "start"), ("stopped", "stop"), ("stopping", "stop"), ("pending", "start")]
)
def test_what_is_so_already_is_answered_with_200_and_changes_nothing(account, api, state, verb):
    row = make.make_instance(account, state=state)
    answer = api.post(f"/instances/{row.public_id}/{verb}")
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, state)
    assert Instance.objects.get(pk=row.pk).version == row.version


def test_a_verb_in_the_wrong_state_says_which_would_be_right(account, api):
    row = make.make_instance(account, state="stopped")
    error = refused(api.post(f"/instances/{row.public_id}/restart"), 409, "invalid_state")
    assert (error["details"]["current"], error["details"]["allowed_from"]) == ("stopped", ["running"])


def test_a_protected_instance_is_not_deleted(account, api):
    row = make.make_instance(account, protected=True)
    refused(api.delete(f"/instances/{row.public_id}"), 409, "protected")
    assert api.patch(f"/instances/{row.public_id}", {"protected": False}).json()["data"]["protected"] is False
    assert api.delete(f"/instances/{row.public_id}").status_code == 202


def test_a_quota_names_limit_use_and_request():
    api = make.make_api(make.make_account(plan="free"))
    for _ in range(5):
        assert api.post("/instances", make.WANTED).status_code == 201
    details = refused(api.post("/instances", make.WANTED), 403, "quota_exceeded")["details"]
    assert (details["limit"], details["used"], details["requested"]) == (5, 5, 1)


def test_a_list_shows_what_a_get_shows_whatever_has_happened_since_it_was_last_asked(account, api):
    ids = [api.post("/instances", make.WANTED | {"name": f"web-{n}"}).json()["data"]["id"] for n in range(3)]
    changes = [
        make.work,
        lambda: api.patch(f"/instances/{ids[0]}", {"name": "renamed", "tags": {"env": "prod"}}),
        lambda: api.post(f"/instances/{ids[1]}/stop"),
        make.work,
        lambda: api.delete(f"/instances/{ids[2]}"),
    ]
    for change in [lambda: None, *changes]:
        change()
        alone = [api.get(f"/instances/{id}").json()["data"] for id in reversed(ids)]
        listed = api.get("/instances").json()["data"]
        assert [one | {"month_to_date_cost": ""} for one in listed] == [
            one | {"month_to_date_cost": ""} for one in alone
        ]


def test_a_list_shows_what_instances_have_cost_by_now(account, api):
    row = make.make_instance(account)
    with time_machine.travel(row.metered_from + timedelta(hours=1), tick=False):
        assert api.get("/instances").json()["data"][0]["month_to_date_cost"] == f"{row.hourly_price:.4f}"
    with time_machine.travel(row.metered_from + timedelta(hours=3), tick=False):
        assert api.get("/instances").json()["data"][0]["month_to_date_cost"] == f"{3 * row.hourly_price:.4f}"


def test_user_data_reaches_the_machine_and_is_never_shown(account, api, machines):
    answer = api.post("/instances", make.WANTED | {"user_data": "#!/bin/sh\necho swordfish"})
    id = answer.json()["data"]["id"]
    make.work()
    everything = [answer] + [api.get(path) for path in (f"/instances/{id}", "/instances", f"/instances/{id}/events")]
    for shown in everything:
        assert shown.status_code < 300
        assert b"swordfish" not in shown.content
        assert b"user_data" not in shown.content
    assert "swordfish" in machines.file.read_text()


def test_a_patch_changes_what_it_names_and_nothing_else(account, api):
    row = make.make_instance(account, tags={"env": "prod", "team": "web"})
    shown = api.patch(f"/instances/{row.public_id}", {"tags": {"team": None, "new": "1"}}).json()["data"]
    assert (shown["tags"], shown["name"], shown["status"]) == ({"env": "prod", "new": "1"}, "web-1", "running")
    shown = api.patch(f"/instances/{row.public_id}", {"name": "Renamed"}).json()["data"]
    assert (shown["name"], shown["tags"]) == ("Renamed", {"env": "prod", "new": "1"})
    assert api.patch(f"/instances/{row.public_id}", {}).status_code == 200


@pytest.mark.parametrize("field", ["region", "status", "id", "image", "user_data"])
def test_what_cannot_be_changed_is_refused_by_name(account, api, field):
    row = make.make_instance(account)
    error = refused(api.patch(f"/instances/{row.public_id}", {field: "x"}), 400, "unknown_parameter")
    assert error["details"]["field"] == field


def test_an_instance_that_cannot_run_here_is_a_503_with_the_reason(api, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        instances.note_node(
            name="local", capabilities=Capabilities(ok=False, reason="No user namespaces.", remedy="sysctl x=1")
        )
    answer = api.post("/instances", make.WANTED)
    error = refused(answer, 503, "service_unavailable")
    assert "No user namespaces." in error["message"]
    assert error["suggestion"] == "sysctl x=1"
    assert answer["Retry-After"] == "30"


class TestTenants:
    VERBS = ["start", "stop", "restart", "resize", "rebuild"]

    def test_charlie_finds_nothing_of_alices(self, account):
        row = make.make_instance(account)
        charlie = make.make_api()
        path = f"/instances/{row.public_id}"
        answers = [charlie.get(path), charlie.patch(path, {"name": "mine"}), charlie.delete(path)]
        answers += [
            charlie.post(f"{path}/{verb}", {"instance_type": "compute-2x"} if verb == "resize" else {})
            for verb in self.VERBS
        ]
        answers += [charlie.get(f"{path}/{view}") for view in ("wait", "console-log", "events")]
        for answer in answers:
            assert answer.status_code in (404, 400), answer.content
        assert [answer.status_code for answer in answers].count(404) >= len(
            answers
        ) - 1  # a rebuild needs its image first
        assert charlie.get("/instances").json()["data"] == []
        stored = Instance.objects.get(pk=row.pk)
        assert (stored.name, stored.state, stored.version) == ("web-1", "running", row.version)

    def test_not_found_reads_the_same_for_what_is_anothers_and_what_is_not(self, account):
        row = make.make_instance(account)
        charlie = make.make_api()
        nothing = "inst_01m803p6fsep5t56hn7y1dmqyp"
        first = refused(charlie.get(f"/instances/{row.public_id}"), 404, "not_found")
        second = refused(charlie.get(f"/instances/{nothing}"), 404, "not_found")
        assert first["message"].replace(row.public_id, nothing) == second["message"]

    def test_bob_a_member_sees_alices(self, account):
        row = make.make_instance(account)
        bob = make.make_api(account, member=make.make_member(account, "viewer"))
        assert bob.get(f"/instances/{row.public_id}").status_code == 200


class TestWaiting:
    def test_ends_at_once_where_it_is_so(self, account, api):
        row = make.make_instance(account)
        for status in ("running", "ready"):
            answer = api.get(f"/instances/{row.public_id}/wait?status={status}&timeout=30")
            assert (answer.status_code, answer.json()["data"]["status"]) == (200, "running")

    @pytest.mark.slow
    def test_is_a_408_with_the_state_when_the_time_is_over(self, account, api):
        row = make.make_instance(account, state="provisioning")
        error = refused(api.get(f"/instances/{row.public_id}/wait?timeout=1"), 408, "wait_timeout")
        assert (error["details"]["current"], error["details"]["ready"]) == ("provisioning", False)

    @pytest.mark.parametrize(
        ("state", "wanted"),
        [
            ("stopped", "running"),
            ("error", "running"),
            ("running", "stopped"),
            ("deleting", "running"),
            ("running", "pending"),
        ],
    )
    def test_is_a_409_at_once_where_nothing_leads_there(self, account, api, state, wanted):
        row = make.make_instance(account, state=state)
        error = refused(api.get(f"/instances/{row.public_id}/wait?status={wanted}&timeout=30"), 409, "invalid_state")
        assert error["details"]["current"] == state
        if state == "error":
            assert "The disk is full" in error["message"]

    @pytest.mark.parametrize("query", ["status=flying", "timeout=0", "timeout=31", "timeout=x", "for=ever"])
    def test_for_nonsense_is_refused(self, account, api, query):
        row = make.make_instance(account)
        assert api.get(f"/instances/{row.public_id}/wait?{query}").status_code == 400

    @pytest.mark.slow
    def test_counts_as_one_request(self, account, api):
        row = make.make_instance(account, state="provisioning")
        first = api.get(f"/instances/{row.public_id}/wait?timeout=1")
        second = api.get("/instances")
        assert int(first["X-RateLimit-Remaining"]) - int(second["X-RateLimit-Remaining"]) == 1

    @commits
    @pytest.mark.parametrize("wanted", ["running", "deleted"])
    def test_ends_as_soon_as_it_happens(self, account, api, monkeypatch, wanted):
        row = make.make_instance(account, state="provisioning" if wanted == "running" else "deleting")
        waits, wait = threading.Event(), waiting.wait

        def watched(*arguments, **options):
            waits.set()
            return wait(*arguments, **options)

        monkeypatch.setattr(waiting, "wait", watched)

        def happen():
            assert waits.wait(30)
            if wanted == "running":
                instances.mark_running(instance=row, observed=make.observed(row))
            else:
                instances.mark_deleted(instance=row)
            connection.close()

        happening = threading.Thread(target=happen)
        happening.start()
        answer = api.get(f"/instances/{row.public_id}/wait?status={wanted}&timeout=30")  # 408 had nobody noticed
        happening.join()
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, wanted)


def test_the_console_shows_its_newest_lines(account, api, machines):
    id = api.post("/instances", make.WANTED).json()["data"]["id"]
    make.work()
    api.post(f"/instances/{id}/restart")
    make.work()
    log = api.get(f"/instances/{id}/console-log").json()["data"]
    assert log["lines"] == ["web-1 started", "web-1 started"]
    assert len(api.get(f"/instances/{id}/console-log?tail=1").json()["data"]["lines"]) == 1
    for tail in ("0", "x", "10001"):
        refused(api.get(f"/instances/{id}/console-log?tail={tail}"), 400, "invalid_request")


def test_the_console_of_what_never_ran_is_empty(account, api):
    row = make.make_instance(account, state="pending")
    assert api.get(f"/instances/{row.public_id}/console-log").json()["data"]["lines"] == []


def test_a_console_that_cannot_be_read_is_a_503(account, api, machines):
    row = make.make_instance(account)
    machines.fail_next("console", Retryable("The agent restarts."))
    refused(api.get(f"/instances/{row.public_id}/console-log"), 503, "service_unavailable")


def test_the_events_tell_the_instances_story_newest_first(account, api):
    id = api.post("/instances", make.WANTED).json()["data"]["id"]
    make.work()
    other = make.make_instance(account)
    log = api.get(f"/instances/{id}/events").json()
    assert [event["type"] for event in log["data"]] == ["instance.ready", "instance.created", "instance.requested"]
    requested = log["data"][-1]
    assert requested["actor"]["kind"] == "api_key"
    assert requested["data"]["instance_id"] == id != other.public_id


def test_verbs_of_the_system_do_not_show_as_a_users(account, api):
    row = make.make_instance(account)
    instances.mark_lost(instance=row)
    newest = api.get(f"/instances/{row.public_id}/events").json()["data"][0]
    assert (newest["actor"]["kind"], newest["actor"]["name"]) == (SYSTEM.kind, SYSTEM.name)
