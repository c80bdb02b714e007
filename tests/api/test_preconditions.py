"""ETag, If-Match and If-None-Match: nobody overwrites what they have not seen."""

import threading

import pytest
from django.db import connection

from compute.actions import instances
from compute.models import Instance
from core.context import SYSTEM
from core.models import Event
from tests.make import make_account, make_api, make_instance, make_key, observed

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def api(alice):
    return make_api(alice)


def single_reads(alice, api) -> dict[str, dict]:
    """The path of one of each noun, with a change of it."""
    ssh_key = api.post("/ssh-keys", {"name": "laptop", "generate": True}).json()["data"]["id"]
    return {
        f"/instances/{make_instance(alice).public_id}": {"name": "other"},
        f"/ssh-keys/{ssh_key}": {"name": "other"},
        f"/account/api-keys/{make_key(alice)[0].public_id}": {"name": "other"},
        "/account": {"name": "other"},
    }


def test_every_noun_has_an_etag_that_changes_with_it_and_that_its_changes_may_insist_on(alice, api):
    for path, change in single_reads(alice, api).items():
        old = api.get(path)["ETag"]
        assert api.get(path)["ETag"] == old, path
        changed = api.patch(path, change, HTTP_IF_MATCH=old)
        assert changed.status_code == 200, (path, changed.content)
        assert api.get(path)["ETag"] == changed["ETag"] != old, path
        refused = api.patch(path, {"name": "third"}, HTTP_IF_MATCH=old)
        assert refused.status_code == 412, path
        assert refused.json()["error"]["code"] == "precondition_failed"
        assert refused.json()["error"]["details"]["current_etag"] == changed["ETag"]
        assert api.get(path).json()["data"]["name"] == "other"


def test_who_has_the_version_already_gets_304_without_a_body(alice, api):
    for path in single_reads(alice, api):
        tag = api.get(path)["ETag"]
        for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = api.get(path, HTTP_IF_NONE_MATCH=header)
            assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", tag), (path, header)
            assert answer["X-RateLimit-Limit"]
        assert api.get(path, HTTP_IF_NONE_MATCH='"0"').status_code == 200


def test_deletes_and_actions_honour_it_too(alice, api):
    row = make_instance(alice)
    path, tag = f"/instances/{row.public_id}", None
    tag = api.get(path)["ETag"]
    instances.update(instance=row, by=SYSTEM, name="meanwhile")
    events = Event.objects.count()
    for method, where in (("DELETE", path), ("POST", f"{path}/stop"), ("POST", f"{path}/resize")):
        body = {"instance_type": "compute-2x", "restart": True} if where.endswith("resize") else None
        assert api.request(method, where, body, HTTP_IF_MATCH=tag).status_code == 412
    assert Event.objects.count() == events
    tag = api.get(path)["ETag"]
    assert api.post(f"{path}/stop", HTTP_IF_MATCH=tag).status_code == 202
    assert api.delete(path, HTTP_IF_MATCH=tag).status_code == 412
    assert api.delete(path, HTTP_IF_MATCH="*").status_code == 202


def test_what_a_worker_changes_is_a_new_version(alice, api):
    row = make_instance(alice, state="provisioning")
    path = f"/instances/{row.public_id}"
    tags = [api.get(path)["ETag"]]
    row = instances.mark_running(instance=row, observed=observed(row, ready=False))
    tags.append(api.get(path)["ETag"])
    instances.mark_ready(instance=row)
    tags.append(api.get(path)["ETag"])
    instances.postpone(instance=row, reason="The node is away")
    tags.append(api.get(path)["ETag"])
    assert len(set(tags)) == 4


def test_the_precondition_comes_after_existence_and_scope(alice, api):
    row = make_instance(alice)
    charlie = make_api(make_account(name="Charlie's"))
    assert charlie.delete(f"/instances/{row.public_id}", HTTP_IF_MATCH='"99"').status_code == 404
    reader = make_api(alice, scopes=["instances:read"])
    assert reader.delete(f"/instances/{row.public_id}", HTTP_IF_MATCH='"99"').status_code == 403
    assert api.request("PUT", f"/instances/{row.public_id}", {}, HTTP_IF_MATCH='"99"').status_code == 405
    assert api.post("/nowhere", HTTP_IF_MATCH='"99"').status_code == 404


def test_a_create_has_no_version_to_insist_on(api):
    answer = api.post("/ssh-keys", {"name": "laptop", "generate": True}, HTTP_IF_MATCH='"1"')
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["field"] == "If-Match"
    assert api.get("/ssh-keys").json()["data"] == []


def test_a_stored_answer_is_given_again_though_the_version_has_moved_on(alice, api):
    row = make_instance(alice)
    path = f"/instances/{row.public_id}"
    headers = {"HTTP_IF_MATCH": api.get(path)["ETag"], "HTTP_IDEMPOTENCY_KEY": "once"}
    first = api.patch(path, {"name": "other"}, **headers)
    again = api.patch(path, {"name": "other"}, **headers)
    assert (again.status_code, again.content) == (200, first.content)
    refused = api.patch(path, {"name": "third"}, HTTP_IF_MATCH=headers["HTTP_IF_MATCH"], HTTP_IDEMPOTENCY_KEY="twice")
    assert refused.status_code == 412


def test_patch_is_a_merge_patch(alice, api):
    path = f"/instances/{make_instance(alice, tags={'a': '1', 'b': '2'}).public_id}"
    merge = {"content_type": "application/merge-patch+json"}
    assert api.patch(path, {"tags": {"a": None, "c": "3"}}, **merge).json()["data"]["tags"] == {"b": "2", "c": "3"}
    assert api.patch(path, {"name": "other"}, **merge).json()["data"]["tags"] == {"b": "2", "c": "3"}
    assert api.patch(path, {"tags": {}}, **merge).json()["data"]["tags"] == {"b": "2", "c": "3"}
    assert api.patch(path, {"tags": None}, **merge).json()["data"]["tags"] == {}


@pytest.mark.db
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_of_many_who_insist_on_one_version_exactly_one_succeeds():
    alice = make_account()
    row = make_instance(alice)
    tag = make_api(alice).get(f"/instances/{row.public_id}")["ETag"]
    clients = [make_api(alice) for _ in range(8)]
    start, statuses = threading.Barrier(len(clients)), []

    def change(number: int) -> None:
        try:
            start.wait()
            # Not through `Api.patch`: its commit callbacks belong to one thread.
            answer = clients[number].client.patch(
                f"/v1/instances/{row.public_id}", {"name": f"n{number}"}, "application/json", HTTP_IF_MATCH=tag
            )
            statuses.append(answer.status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 7
    assert Instance.objects.get(pk=row.pk).version == row.version + 1
