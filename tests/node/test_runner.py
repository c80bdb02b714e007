"""What a runner promises the platform: code in, limits kept, versions replaced, and an answer to every call."""

import json
import subprocess
import threading

import pytest

from functions.drivers.base import Busy, RunnerError, RunnerUnavailable, UnknownRevision
from functions.drivers.local import LocalDriver

HELLO = "def handler(event, context):\n    return 'hello'\n"
WAIT = "import time\nprint('begun')\ndef handler(event, context):\n    print('working', flush=True)\n    time.sleep(event)\n    return 'slept'\n"


def until(true) -> None:
    """Wait for a condition; pytest's own time-out is the limit."""
    while not true():
        threading.Event().wait(0.005)


class Background:
    """A call in a thread of its own: `answer()` waits for what came of it."""

    def __init__(self, runner, revision: str, event: bytes, **options) -> None:
        self.outcome = self.error = None
        self.thread = threading.Thread(target=self.run, args=(runner, revision, event, options))
        self.thread.start()

    def run(self, runner, revision, event, options) -> None:
        try:
            self.outcome = runner.invoke(revision, event, **options)
        except RunnerError as error:
            self.error = error

    def answer(self):
        self.thread.join()
        return self.error or self.outcome


def test_the_runtimes_of_the_node_are_listed(runner):
    found = {runtime.family: runtime for runtime in runner.driver.runtimes()}
    assert found["python"].label == found["python"].name.replace("python", "Python ")
    assert found["node"].label == found["node"].name.replace("nodejs", "Node.js ")
    assert found["node"].version.startswith(found["node"].name.removeprefix("nodejs"))


def test_a_revision_nobody_put_is_unknown(runner):
    with pytest.raises(UnknownRevision):
        runner.invoke("nobody-put-this")
    with pytest.raises(UnknownRevision):
        runner.driver.check("nobody-put-this")


def test_a_checked_function_is_warm_for_its_first_call(runner):
    revision = runner.deploy(HELLO + "print('loading')\n")
    build = runner.driver.check(revision)
    assert build.ok
    assert build.log == "loading\n"
    assert build.init_ms >= 1
    assert build.max_memory_mb >= 1
    outcome = runner.invoke(revision)
    assert outcome.result == b'"hello"'
    assert outcome.cold_start is None


@pytest.mark.slow
def test_the_reason_of_a_cold_start_is_told(runner):
    first = runner.deploy(WAIT, function="reasons", timeout_ms=60000)
    assert runner.invoke(first, b"0").cold_start == "first"
    assert runner.invoke(first, b"0").cold_start is None
    slow = Background(runner, first, b"2")
    until(lambda: runner.driver.status()["busy"] >= 1)
    assert runner.invoke(first, b"0").cold_start == "scale_out"
    slow.answer()
    second = runner.deploy(WAIT + "# two\n", function="reasons")
    assert runner.invoke(second, b"0").cold_start == "new_version"
    runner.driver.set_live("reasons", second)
    assert runner.invoke(second, b"0").cold_start is None


def test_the_workers_of_an_old_version_end_when_a_new_one_is_live(runner):
    before = runner.driver.status()["warm"]
    old = runner.deploy("import os\ndef handler(event, context):\n    return event\n", function="versions")
    runner.driver.check(old)
    assert runner.driver.status()["warm"] == before + 1
    new = runner.deploy("def handler(event, context):\n    return [event]\n", function="versions")
    runner.driver.check(new)
    runner.driver.set_live("versions", new)
    until(lambda: runner.driver.status()["warm"] <= before + 1)
    assert runner.invoke(new, b"1").result == b"[1]"
    runner.driver.set_live("versions", None)
    with pytest.raises(UnknownRevision):
        runner.invoke(new)


@pytest.mark.slow
def test_more_calls_than_may_run_wait_and_then_are_refused_with_the_limit(runner):
    revision = runner.deploy(WAIT, max_concurrency=2, timeout_ms=5000)
    running = [Background(runner, revision, b"1.5") for _ in range(2)]
    until(lambda: runner.driver.status()["busy"] >= 2)
    with pytest.raises(Busy) as refusal:
        runner.invoke(revision, b"0")
    assert (refusal.value.limit_name, refusal.value.limit) == ("max_concurrency", 2)
    assert [call.answer().status for call in running] == ["succeeded"] * 2
    assert runner.invoke(revision, b"0").status == "succeeded"


def test_a_call_that_waits_gets_the_first_worker_that_is_free(runner):
    revision = runner.deploy(WAIT, max_concurrency=1, timeout_ms=60000)
    runner.driver.check(revision)
    calls = [Background(runner, revision, b"0.05") for _ in range(8)]
    assert {call.answer().status for call in calls} == {"succeeded"}


@pytest.mark.slow
def test_an_account_has_a_limit_over_all_its_functions(runner):
    limits = {"account": "dave", "account_concurrency": 1, "timeout_ms": 5000}
    slow, other = runner.deploy(WAIT, **limits), runner.deploy(HELLO, **limits)
    call = Background(runner, slow, b"1.5")
    until(lambda: runner.driver.status()["busy"] >= 1)
    with pytest.raises(Busy) as refusal:
        runner.invoke(other)
    assert (refusal.value.limit_name, refusal.value.limit) == ("account_concurrency", 1)
    assert runner.invoke(runner.deploy(HELLO, account="erin")).status == "succeeded"
    assert call.answer().status == "succeeded"
    assert runner.invoke(other).status == "succeeded"


@pytest.mark.slow
def test_a_burst_of_slow_calls_gets_workers_of_its_own(runner):
    revision = runner.deploy(WAIT, max_concurrency=8, timeout_ms=60000)
    calls = [Background(runner, revision, b"3") for _ in range(8)]
    until(lambda: runner.driver.status()["busy"] == 8)
    assert [call.answer().status for call in calls] == ["succeeded"] * 8


@pytest.mark.slow
def test_memory_comes_from_idle_workers_of_others_and_is_refused_when_all_is_in_use(own_runner):
    runner = own_runner(options=("--memory-mb", "256", "--ready-python", "1", "--ready-node", "0")).start()
    one, two, three = (runner.deploy(WAIT, timeout_ms=5000) for _ in range(3))
    for revision in (one, two, three):
        assert runner.invoke(revision, b"0").status == "succeeded"
    assert runner.driver.status()["memory_mb"] == {"used": 256, "limit": 256}
    assert runner.invoke(one, b"0").cold_start == "evicted"
    running = [Background(runner, revision, b"2") for revision in (one, three)]
    until(lambda: runner.driver.status()["busy"] == 2)
    with pytest.raises(Busy) as refusal:
        runner.invoke(two, b"0")
    assert (refusal.value.limit_name, refusal.value.limit) == ("node_memory_mb", 256)
    assert [call.answer().status for call in running] == ["succeeded"] * 2


def test_a_worker_that_nobody_needs_ends(own_runner):
    runner = own_runner(options=("--keep-warm", "0.1", "--ready-python", "1", "--ready-node", "0")).start()
    revision = runner.deploy(HELLO)
    runner.invoke(revision)
    until(lambda: runner.driver.status()["warm"] == 0)
    assert runner.invoke(revision).cold_start == "expired"


@pytest.mark.slow
def test_what_a_running_function_prints_can_be_read_at_once(runner):
    revision = runner.deploy(WAIT, timeout_ms=60000)
    call = Background(runner, revision, b"1", execution="exec_live")
    until(lambda: "working" in (runner.driver.logs("exec_live") or ""))
    assert "END RequestId" not in runner.driver.logs("exec_live")
    call.answer()
    assert "END RequestId" in runner.driver.logs("exec_live")
    assert runner.driver.logs("exec_nobody") is None


@pytest.mark.slow
def test_six_megabytes_pass_both_ways(runner):
    text = "x" * (6 * 1024 * 1024 - 2)
    for family, code in (
        ("python", "def handler(event, context):\n    return event\n"),
        ("node", "exports.handler = async (event) => event;"),
    ):
        outcome = runner.run(code, json.dumps(text).encode(), family=family, memory_mb=512, timeout_ms=30000)
        assert outcome.status == "succeeded", outcome
        assert json.loads(outcome.result) == text


def test_many_threads_share_one_driver(runner):
    revision = runner.deploy("def handler(event, context):\n    return event\n", max_concurrency=4)
    wrong = []

    def call(thread: int) -> None:
        for number in range(50):
            event = f"[{thread}, {number}]".encode()
            if runner.invoke(revision, event).result != event:
                wrong.append(event)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_runner_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(RunnerUnavailable, match="is not running"):
        LocalDriver(tmp_path / "nowhere").invoke("r", "e", b"{}")
    with pytest.raises(RunnerUnavailable, match=r"manage\.py up"):
        LocalDriver(tmp_path).status()


def test_two_runners_never_share_a_home(runner):
    second = subprocess.run(
        [*runner.who.command, "-m", "node.runner", "--home", str(runner.home)],
        cwd="/" if runner.who.user else None,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr


def test_health_says_what_runs_and_how_strongly_it_is_limited(runner):
    status = runner.driver.status()
    assert status["ok"]
    assert status["reason"] == ""
    assert status["mode"] == runner.who.tier
    assert status["memory_limits"] in ("enforced", "approximate")
    assert set(runner.runtimes.values()) <= set(status["runtimes"])


def test_where_no_sandbox_can_be_made_calls_are_refused_with_the_reason_and_the_cure(own_runner):
    runner = own_runner()
    bwrap = runner.home / "bin/bwrap"
    bwrap.parent.mkdir(mode=0o755)
    bwrap.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    bwrap.chmod(0o755)
    runner.environment["LAMBDA_BWRAP"] = str(bwrap)
    runner.start()
    revision = runner.deploy(HELLO)
    for call in (runner.invoke, runner.driver.check):
        with pytest.raises(RunnerUnavailable, match="apparmor_restrict_unprivileged_userns=0"):
            call(revision)
    until(lambda: not runner.driver.status()["ok"])
    assert "since 23.10" in runner.driver.status()["reason"]


def test_a_runner_that_is_stopped_lets_calls_end(own_runner):
    runner = own_runner(options=("--ready-python", "1", "--ready-node", "0")).start()
    call = Background(runner, runner.deploy(WAIT, timeout_ms=60000), b"0.5")
    until(lambda: runner.driver.status()["busy"] == 1)
    runner.end()
    assert call.answer().result == b'"slept"'
