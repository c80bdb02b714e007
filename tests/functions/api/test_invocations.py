"""`POST …/invoke`: what comes back, what is refused, and that a key runs a function once."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import epoch
from core.context import SYSTEM
from functions import calls, tasks
from functions.actions import executions, functions
from functions.api import invocations
from functions.drivers.base import Busy, RunnerUnavailable
from functions.models import Execution, Function
from tests.make import make_account, make_api, make_function, runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def function(alice) -> Function:
    return make_function(alice, name="hello")


@pytest.fixture
def invoke(alice, function):
    api = make_api(alice)

    def call(body=None, *, query: str = "", function: Function = function, **extra):
        return api.post(f"/functions/{function.public_id}/invoke{query}", body, **extra)

    return call


def script(function: Function, **said) -> None:
    runner().script(calls.runner_name(function.pk), **said)


def test_it_answers_the_result_and_what_it_used(invoke):
    answer = invoke({"name": "Ada"})
    assert answer.status_code == 200
    shown = answer.json()
    members = "execution_id status result error duration_ms billed_ms memory_used_mb log_tail"
    assert list(shown) == members.split()
    assert (shown["status"], shown["result"], shown["error"]) == ("succeeded", {"name": "Ada"}, None)
    assert (shown["duration_ms"], shown["billed_ms"], shown["memory_used_mb"]) == (1.5, 2, 12)
    assert answer["X-Execution-Id"] == shown["execution_id"]
    assert (answer["X-Function-Status"], answer["X-Duration-Ms"], answer["X-Billed-Ms"]) == ("succeeded", "1.500", "2")


def test_a_functions_own_failure_is_an_answer_with_its_type(invoke, function):
    script(function, error="Function.Timeout", cold_start="first", log="so far\n")
    answer = invoke()
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["status"], shown["result"], shown["error"]["type"]) == ("failed", None, "Function.Timeout")
    assert (shown["log_tail"], shown["cold_start"]) == ("so far\n", "first")


@pytest.mark.parametrize("event", [None, True, 1.5, "text", [1, {"a": None}], {"λ": "😀\u2028"}])
def test_any_json_is_an_event(invoke, event):
    assert invoke(json.dumps(event).encode()).json()["result"] == event


def test_no_body_is_an_empty_object(invoke):
    assert invoke().json()["result"] == {}


@pytest.mark.parametrize("body", [b"{", b"hello", b"{'a': 1}", b"\xff", b"NaN"])
def test_what_is_no_json_is_refused(invoke, body):
    answer = invoke(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_curls_own_content_type_will_do(invoke):
    answer = invoke(b'{"a":1}', content_type="application/x-www-form-urlencoded")
    assert answer.json()["result"] == {"a": 1}


def test_an_event_above_six_megabytes_is_refused(invoke):
    answer = invoke(b'"' + b"x" * (6 * 1024 * 1024) + b'"')
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")


def test_a_queued_event_may_have_a_quarter_of_a_megabyte(invoke):
    answer = invoke(b'"' + b"x" * (256 * 1024) + b'"', query="?mode=async")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")


def test_a_mode_that_there_is_not_is_refused(invoke):
    assert invoke(query="?mode=later").json()["error"]["details"]["allowed_values"] == ["sync", "async"]


def test_once_known_a_function_is_invoked_without_a_query(invoke):
    invoke()
    with CaptureQueriesContext(connection) as queries:
        assert invoke().status_code == 200
    assert len(queries) == 0


def test_what_was_deployed_is_what_runs_from_the_next_invocation_on(invoke, function):
    invoke()
    functions.update(function=function, by=SYSTEM, memory=256)
    tasks.reconcile(function_id=str(function.pk))
    epoch.advance()
    id = invoke().json()["execution_id"]
    tasks.ingest()
    assert Execution.objects.get(pk=Execution.key(id)).function_version == 2


def test_a_runner_that_forgot_a_version_is_told_again(invoke):
    invoke()
    runner().die()
    assert invoke().json()["status"] == "succeeded"


@pytest.mark.parametrize("state", ["created", "failed", "deleting"])
def test_what_is_not_active_is_not_run(alice, invoke, state):
    answer = invoke(function=make_function(alice, state=state))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "invalid_state")
    assert answer.json()["error"]["details"]["current"] == state


def test_a_deprecated_function_runs_and_says_so_until_its_sunset(alice, invoke):
    function = make_function(alice)
    sunset = timezone.now() + timedelta(days=1)
    functions.deprecate(function=function, by=SYSTEM, message="Use b.", sunset_at=sunset, replacement="b")
    answer = invoke(function=function)
    assert answer.status_code == 200
    assert answer["Deprecation"].startswith("@")
    assert answer["Sunset"].endswith("GMT")
    Function.objects.filter(pk=function.pk).update(sunset_at=timezone.now())
    epoch.advance()
    answer = invoke(function=function)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")
    assert "Use b." in answer.json()["error"]["message"]


def test_where_no_more_may_run_at_once_it_says_which_limit_and_when_to_try_again(invoke):
    runner().fail_next("invoke", Busy("max_concurrency", 10, 3))
    answer = invoke()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], answer["Retry-After"]) == (429, "concurrency_exceeded", "3")
    assert error["details"] == {"limit_name": "max_concurrency", "limit": 10}


def test_without_a_runner_it_says_why(invoke):
    runner().fail_next("invoke", RunnerUnavailable("The function runner is not running"))
    answer = invoke()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
    assert "The function runner is not running" in answer.json()["error"]["message"]


def test_another_accounts_function_does_not_exist(function):
    charlie = make_api(make_account(name="Charlie's"))
    for id in (function.public_id, "FUNC_0000000000", "FUNC_1", "hello"):
        assert charlie.post(f"/functions/{id}/invoke").status_code == 404
    assert runner().calls("invoke") == 0


def test_a_key_that_may_only_invoke_can_do_that_and_nothing_else(alice, function):
    api = make_api(alice, scopes=["functions:invoke"])
    assert api.post(f"/functions/{function.public_id}/invoke").status_code == 200
    assert api.get(f"/functions/{function.public_id}").status_code == 403


# --- With a key


def test_a_key_runs_the_function_once_and_replays_the_answer(invoke):
    first = invoke({"n": 1}, HTTP_IDEMPOTENCY_KEY="k")
    again = invoke({"n": 1}, HTTP_IDEMPOTENCY_KEY="k")
    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert runner().calls("invoke") == 1
    tasks.ingest()
    row = Execution.objects.get()
    assert (row.status, row.public_id) == ("succeeded", first.json()["execution_id"])


def test_a_key_of_another_request_is_refused(invoke):
    for query in ("", "?mode=async"):
        key = f"k{query}"
        invoke({"n": 1}, query=query, HTTP_IDEMPOTENCY_KEY=key)
        answer = invoke({"n": 2}, query=query, HTTP_IDEMPOTENCY_KEY=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_a_refusal_is_not_kept(invoke):
    for refusal in (Busy("max_concurrency", 10, 1), RunnerUnavailable("away")):
        runner().fail_next("invoke", refusal)
        assert invoke(HTTP_IDEMPOTENCY_KEY=str(refusal)).status_code in (429, 503)
        assert invoke(HTTP_IDEMPOTENCY_KEY=str(refusal)).status_code == 200


def test_a_key_whose_request_lost_sight_of_its_run_does_not_run_it_again(invoke, function, monkeypatch):
    """The runner had it begun and did not answer; whoever repeats the request is told where to look."""
    monkeypatch.setattr(invocations, "TWIN_PATIENCE", 0.01)

    def run_and_vanish(*arguments, **options):
        run(*arguments, **options)
        raise RunnerUnavailable("it went away")

    run = calls.run
    with monkeypatch.context() as broken:
        broken.setattr(calls, "run", run_and_vanish)
        assert invoke(HTTP_IDEMPOTENCY_KEY="k").status_code == 503
    answer = invoke(HTTP_IDEMPOTENCY_KEY="k")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_in_progress")
    tasks.ingest()
    Execution.objects.update(ended_at=timezone.now() - timedelta(minutes=1))
    answer = invoke(HTTP_IDEMPOTENCY_KEY="k")
    assert answer.status_code == 409
    assert answer.json()["error"]["details"]["execution_id"] == Execution.objects.get().public_id
    starts = [line for line in runner().journal(("", 0), 100)[0] if line["t"] == "start"]
    assert len(starts) == 1


def test_a_key_is_free_again_after_a_day(invoke):
    first = invoke(HTTP_IDEMPOTENCY_KEY="k").json()
    Execution.objects.update(queued_at=timezone.now() - executions.KEY_KEPT - timedelta(seconds=1))
    assert invoke(HTTP_IDEMPOTENCY_KEY="k").json()["execution_id"] != first["execution_id"]


def test_a_queued_invocation_is_queued_once(invoke):
    first = invoke({"n": 1}, query="?mode=async", HTTP_IDEMPOTENCY_KEY="k")
    again = invoke({"n": 1}, query="?mode=async", HTTP_IDEMPOTENCY_KEY="k")
    assert first.status_code == again.status_code == 202
    assert list(first.json()) == ["execution_id", "status"]
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    assert Execution.objects.count() == 1


def test_the_same_key_of_another_account_is_another_key(invoke):
    invoke(HTTP_IDEMPOTENCY_KEY="k")
    charlie = make_account(name="Charlie's")
    other = make_function(charlie)
    assert make_api(charlie).post(f"/functions/{other.public_id}/invoke", HTTP_IDEMPOTENCY_KEY="k").status_code == 200
    assert runner().calls("invoke") == 2
