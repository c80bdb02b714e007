"""Functions for real: sandboxes run them, a worker builds, dispatches and counts, and whoever dies loses nothing."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import WAIT, Live
from tests.servers import folder

pytestmark = pytest.mark.slow

PYTHON = """
import os, time

def handler(event, context):
    print("hello", event.get("name"), os.environ["TOKEN"] == "s3cr3t")
    time.sleep(event.get("sleep", 0))
    if event.get("fail"):
        raise KeyError(event["fail"])
    return {"hello": event.get("name"), "function": context.function_name, "left": context.get_remaining_time_in_millis() > 0}
"""
NODE = "exports.handler = async (event) => ({hello: event.name, node: process.version.slice(0, 1)})\n"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with folder() as home, Live(home) as machine:
        machine.environment["LAMBDA_RUNNER"] = "local"
        start_runner(machine)
        machine.start_web(1)
        machine.start_worker()
        until(lambda: machine.request("GET", "/v1/functions/runtimes").body)
        yield machine


def start_runner(machine: Live) -> Any:
    home = Path(machine.environment["LAMBDA_HOME"]) / "runner"
    return machine.start("node.runner", "--home", str(home), "--ready-python", "1", "--ready-node", "1")


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def deploy(live: Live, name: str, source: str, runtime: str = "Python 3.11", **fields: Any) -> str:
    body = {"name": name, "runtime": runtime, "handler": "app.handler", "code": {"inline": source}} | fields
    made = live.request("POST", "/v1/functions", body)
    assert (made.status, made.body["status"]) == (201, "created")
    path = f"/v1/functions/{made.body['id']}"
    until(lambda: live.request("GET", path).body["status"] not in ("created", "building"))
    return path


def test_a_function_is_deployed_runs_logs_and_is_counted(live):
    path = deploy(live, "hello", PYTHON, secrets={"TOKEN": "s3cr3t"}, memory=256)
    shown = live.request("GET", path).body
    assert shown["status"] == "active", shown
    answer = live.request("POST", f"{path}/invoke", {"name": "Ada"}).body
    assert answer["result"] == {"hello": "Ada", "function": "hello", "left": True}, answer
    assert "hello Ada True" in answer["log_tail"]
    row = live.request("GET", f"{path}/executions/{answer['execution_id']}").body
    assert (row["status"], row["duration_ms"], row["billed_ms"]) == (
        "succeeded", answer["duration_ms"], answer["billed_ms"],
    )  # fmt: skip
    assert live.request("GET", "/v1/usage").body["total_executions"] == 1
    assert live.request("GET", path).body["last_executed"]


def test_what_the_code_does_wrong_is_told_with_its_type_stack_and_log(live):
    path = deploy(live, "failing", PYTHON, secrets={"TOKEN": "x"})
    answer = live.request("POST", f"{path}/invoke", {"fail": "missing"}).body
    assert (answer["status"], answer["error"]["type"]) == ("failed", "KeyError")
    assert any("app.py" in line for line in answer["error"]["stack"])
    assert "hello None False" in answer["log_tail"]
    late = deploy(live, "late", PYTHON, secrets={"TOKEN": "x"}, timeout=1)
    answer = live.request("POST", f"{late}/invoke", {"sleep": 60}).body
    assert (answer["error"]["type"], answer["status"]) == ("Function.Timeout", "failed")


def test_code_that_does_not_load_fails_its_deployment_and_what_was_live_stays(live):
    path = deploy(live, "broken", "import nothing_of_that_name\n")
    shown = live.request("GET", path).body
    assert shown["status"] == "failed"
    assert "nothing_of_that_name" in shown["status_reason"]
    good = deploy(live, "good", "def handler(event, context):\n    return 1\n")
    live.request("PATCH", good, {"handler": "app.absent"})
    until(lambda: live.request("GET", good).body["status_reason"])
    assert live.request("GET", good).body["version"] == 1
    assert live.request("POST", f"{good}/invoke").body["result"] == 1


def test_node_runs_too(live):
    path = deploy(live, "node", NODE, "Node.js 20")
    answer = live.request("POST", f"{path}/invoke", {"name": "Grace"}).body
    assert answer["result"] == {"hello": "Grace", "node": "v"}, answer


def test_whoever_is_killed_no_execution_is_lost_or_counted_twice(live):
    """Runner and worker are killed while executions are queued and run; each ends once, and the sums are the rows."""
    path = deploy(
        live, "chaos", "import time\n\ndef handler(event, context):\n    time.sleep(0.05)\n    return event['n']\n"
    )
    worker, runner = live.processes[-1], live.processes[0]
    accepted = []
    for number in range(30):
        reply = live.request("POST", f"{path}/invoke?mode=async", {"n": number})
        assert reply.status == 202
        accepted.append(reply.body["execution_id"])
        if number == 10:
            live.kill(runner, signal.SIGKILL)
            runner = start_runner(live)
        if number == 20:
            live.kill(worker, signal.SIGKILL)
            worker = live.start_worker()

    def settled() -> list[dict[str, Any]] | None:
        rows = live.request("GET", f"{path}/executions?limit=100").body
        return rows if rows and all(row["status"] in ("succeeded", "failed") for row in rows) else None

    rows = {row["id"]: row for row in until(settled)}
    assert set(rows) == set(accepted)
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    results = {live.request("GET", f"{path}/executions/{id}").body["result"] for id in accepted}
    assert results <= {*range(30), None}
    # Each attempt that began is counted: the last of each, and those that the killed runner lost.
    every = [one["id"] for one in live.request("GET", "/v1/functions").body]
    ran = [row for id in every for row in live.request("GET", f"/v1/functions/{id}/executions?limit=100").body]
    assert live.request("GET", "/v1/usage").body["total_executions"] == sum(row["attempt"] for row in ran)
