"""The second document's function samples, as printed: paths, members and their order; only the values differ."""

import re

import pytest

from functions import tasks
from tests.make import make_account, make_api, make_function, runner

pytestmark = pytest.mark.django_db
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def test_the_list_shows_exactly_the_documented_members():
    alice = make_account()
    function = make_function(
        alice, name="user-authentication", runtime="Node.js 20", handler="index.handler", tags=["login"]
    )
    api = make_api(alice)
    assert api.post(f"/functions/{function.public_id}/invoke", {"name": "Ada"}).status_code == 200
    tasks.ingest()
    answer = api.get("/functions?status=active&runtime=Node.js%2020&tag=login")
    assert answer.status_code == 200
    (shown,) = answer.json()
    assert list(shown) == ["id", "name", "created_at", "last_executed"]
    assert re.fullmatch(r"FUNC_\d{10}", shown["id"])
    assert shown["name"] == "user-authentication"
    assert re.fullmatch(TIME, shown["created_at"])
    assert re.fullmatch(TIME, shown["last_executed"])


def test_a_function_is_deployed_with_the_three_documented_fields():
    runner()
    body = {"name": "user-authentication", "runtime": "Node.js 20", "handler": "index.handler"}
    answer = make_api().post("/functions", body)
    assert answer.status_code == 201
    shown = answer.json()
    assert list(shown) == ["id", "status", "deployment_started"]
    assert re.fullmatch(r"FUNC_\d{10}", shown["id"])
    assert shown["status"] == "created"
    assert re.fullmatch(TIME, shown["deployment_started"])


def test_what_ran_is_counted_in_the_documented_usage():
    alice = make_account()
    function = make_function(alice, memory=1024)
    api = make_api(alice)
    runner().script(tasks.calls.runner_name(function.pk), result=1, duration_us=360_000_000)
    for _ in range(3):
        assert api.post(f"/functions/{function.public_id}/invoke").json()["result"] == 1
    tasks.ingest()
    assert api.get("/usage").json() == {
        "total_executions": 3,
        "gigabytes_hour": "0.3 GBh",
        "current_month_cost": "$0.02",
    }
