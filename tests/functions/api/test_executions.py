"""`…/executions`, `…/logs` and `…/dead-letters` as a client sees them."""

from dataclasses import replace
from uuid import UUID

import pytest

from core import ids
from functions import calls, tasks
from functions.actions import executions
from functions.api import executions as views
from functions.models import Execution
from tests.make import make_account, make_api, make_function, runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def api(alice):
    return make_api(alice)


@pytest.fixture
def function(alice):
    return make_function(alice)


def run(api, function, **said) -> str:
    runner().script(calls.runner_name(function.pk), **said)
    return api.post(f"/functions/{function.public_id}/invoke").json()["execution_id"]


def test_what_ran_is_listed_newest_first_and_can_be_narrowed(api, function):
    good, bad = run(api, function), run(api, function, error="KeyError")
    tasks.ingest()
    path = f"/functions/{function.public_id}/executions"
    answer = api.get(path)
    assert [(one["id"], one["status"]) for one in answer.json()] == [(bad, "failed"), (good, "succeeded")]
    assert answer["X-Total-Count"] == "2"
    assert [one["id"] for one in api.get(f"{path}?status=failed&fields=id").json()] == [bad]
    assert api.get(f"{path}?trigger=async").json() == []
    shown = api.get(f"{path}/{bad}").json()
    assert (shown["error"]["type"], shown["version"], shown["duration_ms"]) == ("KeyError", 1, 1.5)


def test_an_execution_that_was_answered_just_now_is_waited_for(api, function, monkeypatch):
    """Until the journal has been read there is no row: the reader waits instead of answering 404 after a 200."""
    id = run(api, function)

    def wait(look, **_):
        assert look() is None
        tasks.ingest()
        return look()

    monkeypatch.setattr(views.waiting, "wait", wait)
    assert api.get(f"/functions/{function.public_id}/executions/{id}").json()["status"] == "succeeded"


def test_an_execution_of_another_function_or_of_nobody_is_not_found(alice, api, function):
    run(api, function)
    tasks.ingest()
    old = UUID(int=5)  # nobody waits for what began long ago
    Execution.objects.update(id=old)
    other = make_function(alice)
    assert api.get(f"/functions/{function.public_id}/executions/{ids.encode('exec', old)}").status_code == 200
    for path in (
        f"{other.public_id}/executions/{ids.encode('exec', old)}",
        f"{function.public_id}/executions/nonsense",
    ):
        assert api.get(f"/functions/{path}").status_code == 404


def test_a_queued_execution_shows_its_result_once_it_ran(api, function):
    runner().script(calls.runner_name(function.pk), result={"sum": 3})
    id = api.post(f"/functions/{function.public_id}/invoke?mode=async", {"a": 1}).json()["execution_id"]
    path = f"/functions/{function.public_id}/executions/{id}"
    assert api.get(path).json()["status"] == "queued"
    tasks.dispatch()
    tasks.ingest()
    shown = api.get(path).json()
    assert (shown["status"], shown["result"], shown["trigger"]) == ("succeeded", {"sum": 3}, "async")


@pytest.mark.parametrize("result", [b"{nope", b"NaN", b"1" + b"0" * 999, b"[" * 2000 + b"]" * 2000])
def test_a_result_that_nobody_could_read_is_not_kept(api, function, monkeypatch, result):
    """A function can write to the runner's socket itself, and a page that shows it must not break."""
    run_it = calls.run
    monkeypatch.setattr(calls, "run", lambda *given, **more: replace(run_it(*given, **more), result=result))
    id = api.post(f"/functions/{function.public_id}/invoke?mode=async").json()["execution_id"]
    tasks.dispatch()
    tasks.ingest()
    shown = api.get(f"/functions/{function.public_id}/executions/{id}").json()
    assert (shown["status"], shown["result"]) == ("succeeded", None)


def test_logs_are_those_of_the_last_executions_oldest_first(api, function):
    run(api, function, log="one\ntwo\n")
    run(api, function, log="three")
    tasks.ingest()
    path = f"/functions/{function.public_id}/logs"
    assert api.get(path).json()["lines"] == ["one", "two", "three"]
    assert api.get(f"{path}?tail=2").json()["log"] == "two\nthree"


def test_what_an_execution_prints_is_seen_while_it_runs(api, function):
    id = ids.encode("exec", ids.new())
    api.post(f"/functions/{function.public_id}/invoke")
    runner().begin(function.versions.get().revision_id, id)
    tasks.ingest()
    assert api.get(f"/functions/{function.public_id}/logs?execution={id}").json()["lines"] == ["still running"]


def test_lists_take_as_many_statements_whatever_ran(api, function, django_assert_num_queries):
    path = f"/functions/{function.public_id}"
    for number in range(6):
        runner().script(calls.runner_name(function.pk), result=number)
        api.post(f"{path}/invoke?mode=async")
    tasks.dispatch()
    tasks.ingest()
    for row in Execution.objects.all()[:3]:
        Execution.objects.filter(pk=row.pk).update(dead_at=row.ended_at)
    assert Execution.objects.exclude(answer=None).count() == 6
    with django_assert_num_queries(3):
        assert len(api.get(f"{path}/executions").json()) == 6
    with django_assert_num_queries(3):
        assert len(api.get(f"{path}/dead-letters").json()) == 3


def test_dead_letters_can_be_tried_again_one_by_one(api, function):
    path = f"/functions/{function.public_id}"
    made = [api.post(f"{path}/invoke?mode=async", {"n": n}).json()["execution_id"] for n in range(2)]
    for row in Execution.objects.all():
        executions.give_up(execution=row, type="ValueError", message="no")
    answer = api.post(f"{path}/dead-letters/redrive", {"execution_ids": made[:1]})
    assert answer.json()["redriven"] == 1
    assert [one["id"] for one in api.get(f"{path}/dead-letters").json()] == made[1:]
    assert api.post(f"{path}/dead-letters/redrive", {"execution_ids": ["x"]}).status_code == 400
