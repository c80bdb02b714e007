"""`GET /v1/account/audit-log`: who, what, when, from where; as pages and as NDJSON."""

import json
import time
from urllib.parse import urlencode

import pytest

from accounts.api import audit_log
from core.models import Event
from tests.make import Api, days, make_account, make_api, make_function, make_instance, make_key

pytestmark = pytest.mark.django_db
commits = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.db]


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def api(alice):
    return make_api(alice)


def entries(api, **query) -> list[dict]:
    answer = api.get(f"/account/audit-log?{urlencode({'limit': 100} | query)}")
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def exported(api, query: str = "", **headers) -> list[dict]:
    answer = api.get(f"/account/audit-log{query}", **headers)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def test_an_entry_says_who_did_what_to_what_from_where_in_which_request(alice):
    key, secret = make_key(alice, name="ci")
    api = Api(secret.key, REMOTE_ADDR="203.0.113.7")
    answer = api.post("/ssh-keys", {"name": "laptop", "generate": True}, secure=True)
    assert answer.status_code == 201
    (entry,) = entries(make_api(alice), type="ssh_key.added")
    assert entry["actor"] == {"kind": "api_key", "id": key.public_id, "name": "ci"}
    assert (entry["ip"], entry["via"]) == ("203.0.113.7", "api")
    assert entry["request_id"] == answer["X-Request-Id"]
    assert entry["subject"] == {"kind": "ssh_key", "id": answer.json()["data"]["id"]}


def test_filters_narrow_to_type_actor_subject_request_address_and_time(alice, api):
    row = make_instance(alice)
    answer = api.post("/ssh-keys", {"name": "laptop", "generate": True})
    actor = entries(api, type="ssh_key.*")[0]["actor"]["id"]
    assert {entry["type"] for entry in entries(api, type="instance.*,ssh_key.added")} == {
        "instance.requested", "instance.created", "instance.ready", "ssh_key.added",
    }  # fmt: skip
    assert [entry["type"] for entry in entries(api, actor=actor)] == ["ssh_key.added"]
    assert {entry["actor"]["kind"] for entry in entries(api, actor="system")} == {"system"}
    assert {entry["subject"]["id"] for entry in entries(api, subject=row.public_id)} == {row.public_id}
    assert [entry["type"] for entry in entries(api, request_id=answer["X-Request-Id"])] == ["ssh_key.added"]
    assert [entry["type"] for entry in entries(api, ip="127.0.0.1")] == ["ssh_key.added"]
    assert entries(api, since=days(1).isoformat()) == []
    assert entries(api, until=days(-1).isoformat()) == []
    assert len(entries(api, since=days(-1).isoformat(), until=days(1).isoformat())) == len(entries(api))


def test_every_subject_that_the_log_names_is_one_that_it_can_be_narrowed_to(alice, api):
    make_function(alice)
    subjects = {entry["subject"]["id"] for entry in entries(api)}
    assert any(id.startswith("FUNC_") for id in subjects)
    for id in subjects:
        assert {entry["subject"]["id"] for entry in entries(api, subject=id)} == {id}
    assert entries(api, subject="FUNC_0000000000") == []
    charlies = make_function(make_account(name="Charlie's")).public_id
    assert entries(api, subject=charlies) == entries(api, subject=charlies.replace("FUNC", "RES")) == []


@pytest.mark.parametrize(
    "query", ["type=nothing.*", "subject=nonsense", "since=soon", "format=csv", "created_after=2026-01-01"]
)
def test_what_it_does_not_understand_is_refused(api, query):
    assert api.get(f"/account/audit-log?{query}").status_code == 400


def test_charlie_reads_nothing_of_alices(alice):
    make_instance(alice)
    charlie = make_api(make_account(name="Charlie's"))
    assert "instance.created" not in {entry["type"] for entry in entries(charlie)}


class TestExport:
    pytestmark = commits

    @pytest.mark.parametrize("batch", [1, 2, 3, 1000])
    def test_an_export_is_the_whole_list_the_other_way_round_however_large_its_batches(
        self, alice, api, monkeypatch, batch
    ):
        monkeypatch.setattr(audit_log, "BATCH", batch)
        for _ in range(3):
            make_instance(alice)
        wanted = entries(api)[::-1]
        deadline = time.monotonic() + 120
        while len(found := exported(api, HTTP_ACCEPT="application/x-ndjson")) < len(wanted):
            assert time.monotonic() < deadline
            time.sleep(0.1)  # on PostgreSQL other tests' open transactions hold the end back
        assert found == wanted
        assert exported(api, "?format=ndjson") == wanted
        assert exported(api, "?format=ndjson&type=instance.ready") == [
            e for e in wanted if e["type"] == "instance.ready"
        ]

    def test_an_export_has_no_pages_and_its_refusals_are_json(self, alice, api):
        refused = api.get("/account/audit-log?format=ndjson&page=2")
        assert refused.json()["error"]["code"] == "unknown_parameter"
        reader = make_api(alice, scopes=["instances:read"])
        refused = reader.get("/account/audit-log", HTTP_ACCEPT="application/x-ndjson")
        assert (refused.status_code, refused["Content-Type"]) == (403, "application/json")
        assert refused.json()["error"]["code"] == "insufficient_scope"

    def test_an_export_reads_in_batches_and_holds_no_more(self, alice, api, monkeypatch, django_assert_max_num_queries):
        monkeypatch.setattr(audit_log, "BATCH", 2)
        for _ in range(3):
            make_instance(alice)
        total = Event.objects.for_account(alice).count()
        with django_assert_max_num_queries(total // 2 + 8):
            exported(api, "?format=ndjson")
