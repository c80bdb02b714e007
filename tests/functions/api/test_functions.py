"""`/v1/functions`: reading, deploying and changing functions as a client sees it."""

import base64
import io
import os
import zipfile

import pytest

from api.parsers import MAX_BYTES
from functions import archive, tasks
from functions.actions import functions as verbs
from functions.drivers.base import RunnerUnavailable
from functions.models import Code, Function, FunctionVersion, Runner
from tests.make import SOURCE, make_account, make_api, make_function, runner, work

pytestmark = pytest.mark.django_db

WANTED = {"name": "hello", "runtime": "python3.11", "handler": "app.handler"}
ZIP = archive.pack({"app.py": SOURCE.encode()})


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def api(alice):
    return make_api(alice)


def refused(answer, status: int = 400) -> dict:
    assert answer.status_code == status, answer.content
    return answer.json()["error"]


@pytest.mark.parametrize(
    "code", [{"inline": SOURCE}, {"zip_base64": base64.b64encode(ZIP).decode()}], ids=["inline", "zip"]
)
def test_a_function_with_code_is_active_when_a_worker_has_built_it(api, code):
    id = api.post("/functions", WANTED | {"code": code}).json()["id"]
    assert "functions.reconcile" in work()
    shown = api.get(f"/functions/{id}").json()
    assert (shown["status"], shown["version"], shown["runtime"], shown["memory"]) == (
        "active",
        1,
        "python3.11",
        "128MB",
    )
    assert api.post(f"/functions/{id}/invoke", {"a": 1}).json()["result"] == {"a": 1}


def test_code_that_is_put_as_a_zip_is_deployed(api):
    id = api.post("/functions", WANTED).json()["id"]
    answer = api.request("PUT", f"/functions/{id}/code", ZIP, content_type="application/zip")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["newest_version"]) == ("created", 1)
    work()
    assert api.get(f"/functions/{id}").json()["version"] == 1
    (version,) = api.get(f"/functions/{id}/versions").json()
    assert (version["status"], version["live"], version["code_bytes"]) == ("ready", True, len(ZIP))


def test_a_zip_above_a_megabyte_may_be_put_though_no_json_may_be_so_large(alice, api):
    function = make_function(alice)
    assert api.request("PUT", f"/functions/{function.public_id}/code", _noisy(2 * MAX_BYTES)).status_code == 202
    assert api.post("/functions", WANTED | {"env": {"A": "x" * MAX_BYTES}}).status_code == 413


def _noisy(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("app.py", SOURCE)
        made.writestr("noise", os.urandom(size))
    return buffer.getvalue()


def test_a_zip_above_fifty_megabytes_is_refused_unread(alice, api):
    function = make_function(alice)
    answer = api.request("PUT", f"/functions/{function.public_id}/code", bytes(archive.MAX_ARCHIVE + 1))
    assert refused(answer, 413)["code"] == "payload_too_large"


@pytest.mark.parametrize(
    ("body", "problem"),
    [(b"", "not_a_zip"), (b"no zip", "not_a_zip"), (archive.pack({"main.py": b""}), "missing_handler")],
)
def test_a_zip_that_cannot_run_is_refused_and_deploys_nothing(alice, api, body, problem):
    function = make_function(alice)
    error = refused(api.request("PUT", f"/functions/{function.public_id}/code", body, content_type="application/zip"))
    assert (error["code"], error["details"]["problem"]) == ("invalid_request", problem)
    assert FunctionVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ({}, "code"),
        ({"inline": "x", "zip_base64": "eA=="}, "code"),
        ({"zip_base64": "%%%"}, "code.zip_base64"),
        ({"url": "https://example.com/code.zip"}, "code"),
    ],
)
def test_code_is_given_in_exactly_one_way(api, code, field):
    assert refused(api.post("/functions", WANTED | {"code": code}))["details"]["field"] == field
    assert not Function.objects.exists()


def test_a_runtime_that_the_node_lacks_is_refused_and_those_that_there_are_are_named(api):
    tasks.sweep()
    assert [one["name"] for one in api.get("/functions/runtimes").json()] == ["python3.11", "nodejs20"]
    error = refused(api.post("/functions", WANTED | {"runtime": "Ruby 3.3"}))
    assert error["details"]["allowed_values"] == ["python3.11", "nodejs20"]
    assert "Node.js 20 (nodejs20)" in error["message"]
    assert Runner.objects.get().ok


@pytest.mark.parametrize("spelling", ["Node.js 20", "nodejs20", "nodejs20.x", "Node.js 20.x", "node.js20"])
def test_a_runtime_has_many_spellings(api, spelling):
    id = api.post("/functions", {"name": "a", "runtime": spelling, "handler": "index.handler"}).json()["id"]
    assert api.get(f"/functions/{id}").json()["runtime"] == "nodejs20"
    assert [one["id"] for one in api.get("/functions", QUERY_STRING=f"runtime={spelling}").json()] == [id]


def test_a_name_that_is_taken_is_a_conflict_that_names_the_other(api):
    first = api.post("/functions", WANTED).json()["id"]
    error = refused(api.post("/functions", WANTED), 409)
    assert (error["code"], error["details"]["existing_id"]) == ("conflict", first)


@pytest.mark.parametrize("secrets", ["s3cr3t", {"TOKEN": ["s3cr3t"]}, {"TOKEN": {"value": "s3cr3t"}}])
def test_a_secret_in_a_wrong_shape_is_not_repeated_in_the_complaint(api, secrets):
    answer = api.post("/functions", WANTED | {"secrets": secrets})
    assert refused(answer)["details"]["field"].startswith("secrets")
    assert b"s3cr3t" not in answer.content


@pytest.mark.parametrize("text", ["AA*", "A", "\u00e9"])
def test_a_zip_that_is_not_base64_is_refused(api, text):
    answer = api.post("/functions", WANTED | {"code": {"zip_base64": text}})
    assert refused(answer)["details"]["field"] == "code.zip_base64"


def test_secrets_go_in_and_never_come_out(api):
    id = api.post("/functions", WANTED | {"secrets": {"TOKEN": "s3cr3t"}, "code": {"inline": SOURCE}}).json()["id"]
    work()
    for path in (f"/functions/{id}", f"/functions/{id}/versions", "/functions?fields=*", "/events"):
        answer = api.get(path)
        assert answer.status_code == 200
        assert b"s3cr3t" not in answer.content
    assert api.get(f"/functions/{id}").json()["secrets"] == ["TOKEN"]


def test_a_patch_merges_variables_and_null_removes_one_or_all(api):
    id = api.post("/functions", WANTED | {"env": {"A": "1", "B": "2"}}).json()["id"]
    assert api.patch(f"/functions/{id}", {"env": {"A": None, "C": "3"}}).json()["env"] == {"B": "2", "C": "3"}
    assert api.patch(f"/functions/{id}", {"env": None, "timeout": 30}).json()["env"] == {}
    assert api.get(f"/functions/{id}").json()["timeout"] == 30


def test_a_change_insists_on_the_version_that_was_read(api):
    id = api.post("/functions", WANTED).json()["id"]
    etag = api.get(f"/functions/{id}")["ETag"]
    assert api.patch(f"/functions/{id}", {"memory": 256}, HTTP_IF_MATCH=etag).status_code == 200
    assert api.patch(f"/functions/{id}", {"memory": 512}, HTTP_IF_MATCH=etag).status_code == 412
    assert api.post(f"/functions/{id}/invoke", HTTP_IF_MATCH=etag).status_code == 412


def test_a_list_tells_its_total_and_its_neighbours_in_headers(alice, api):
    made = [make_function(alice, state="created").public_id for _ in range(5)]
    answer = api.get("/functions?limit=2&offset=2")
    assert [one["id"] for one in answer.json()] == [made[2], made[1]]
    assert answer["X-Total-Count"] == "5"
    links = answer["Link"].split(", ")
    assert [link.rpartition("; ")[2] for link in links] == ['rel="prev"', 'rel="next"']
    assert "limit=2&offset=0>" in links[0]
    assert "limit=2&offset=4>" in links[1]
    assert len(api.get("/functions").json()) == 5
    assert not api.get("/functions").has_header("Link")


def test_filters_narrow_and_what_they_do_not_know_is_refused(alice, api):
    blue = make_function(alice, name="blue", tags=["login", "eu"])
    make_function(alice, name="green", tags=["login"], state="created")
    old = make_function(alice, name="old", state="deprecated")

    def names(query: str) -> list[str]:
        return sorted(one["name"] for one in api.get(f"/functions?{query}").json())

    assert names("tag=login") == ["blue", "green"]
    assert names("tag=login&tag=eu") == ["blue"]
    assert names("tag=log") == []
    assert names("status=active,deprecated") == ["blue", "old"]
    assert names("q=lue") == names("name=blue") == ["blue"]
    assert names("status=deprecated&fields=name") == [old.name]
    assert api.get("/functions?tag=login")["X-Total-Count"] == "2"
    assert blue.public_id == api.get("/functions?name=blue").json()[0]["id"]
    for query in (
        "status=broken",
        "runtime=Cobol",
        "color=red",
        "limit=0",
        "limit=101",
        "offset=-1",
        "fields=password",
    ):
        assert api.get(f"/functions?{query}").status_code == 400, query


def test_fields_choose_what_is_shown(alice, api):
    function = make_function(alice)
    assert api.get("/functions?fields=status,id").json() == [{"id": function.public_id, "status": "active"}]
    assert api.get("/functions?fields=*").json() == [api.get(f"/functions/{function.public_id}").json()]
    assert api.get(f"/functions/{function.public_id}?fields=name").json() == {"name": function.name}


def test_the_lists_one_statement_reads_what_the_orm_would(alice, api):
    for state in ("created", "active", "deprecated"):
        make_function(alice, state=state)
    make_function(make_account())
    fast = api.get("/functions?fields=*").json()
    assert fast == api.get("/functions?fields=*&sort=created_at").json()
    assert len(fast) == 3


def test_the_way_back_is_one_call(api):
    id = api.post("/functions", WANTED | {"code": {"inline": SOURCE}}).json()["id"]
    work()
    api.patch(f"/functions/{id}", {"memory": 256})
    work()
    assert [(one["version"], one["live"]) for one in api.get(f"/functions/{id}/versions").json()] == [
        (2, True),
        (1, False),
    ]
    answer = api.post(f"/functions/{id}/versions/1/activate")
    assert (answer.status_code, answer.json()["version"], answer.json()["memory"]) == (200, 1, "128MB")
    assert refused(api.post(f"/functions/{id}/versions/9/activate"), 404)["code"] == "not_found"
    assert refused(api.post(f"/functions/{id}/versions/x/activate"), 404)["code"] == "not_found"


def test_the_inventorys_id_of_a_function_is_accepted_too(api):
    id = api.post("/functions", WANTED).json()["id"]
    assert api.get(f"/functions/{id.replace('FUNC_', 'RES_')}").json()["id"] == id


def test_a_deleted_function_is_gone_with_its_code(api):
    id = api.post("/functions", WANTED | {"code": {"inline": SOURCE}}).json()["id"]
    work()
    answer = api.delete(f"/functions/{id}")
    assert (answer.status_code, answer.json()["status"]) == (202, "deleting")
    work()
    assert api.get(f"/functions/{id}").status_code == 404
    assert not Code.objects.exists()


def test_a_rehearsed_create_checks_everything_and_leaves_nothing(api):
    answer = api.post("/functions?dry_run=true", WANTED | {"code": {"inline": SOURCE}})
    assert answer.status_code == 200
    assert answer.json()["data"]["id"] is None
    assert not Function.objects.exists()
    assert api.post("/functions?dry_run=true", WANTED | {"code": {"inline": SOURCE}, "memory": 1}).status_code == 400


def test_a_runner_that_is_away_postpones_the_build(api):
    runner().fail_next("put", RunnerUnavailable("The function runner is not running"))
    id = api.post("/functions", WANTED | {"code": {"inline": SOURCE}}).json()["id"]
    work()
    shown = api.get(f"/functions/{id}").json()
    assert (shown["status"], shown["status_reason"]) == ("building", "The function runner is not running")
    row = Function.objects.get()
    due = verbs.take_due(now=row.next_attempt_at)
    assert [one.pk for one in due] == [row.pk]
    tasks.reconcile(function_id=str(row.pk))
    assert api.get(f"/functions/{id}").json()["status"] == "active"
