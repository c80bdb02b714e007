"""The promises of `functions.drivers.base.Driver`, for every driver: the scripted one, and the runner of this machine."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from core import ids
from functions import archive
from functions.drivers.base import Driver, Duplicate, Revision, UnknownRevision
from functions.drivers.fake import FakeDriver
from tests.node import agents
from tests.node.runners import RunnerProcess

CODE = archive.inline(
    "def handler(event, context):\n    print('hello')\n    return event\n", "python3.11", "app.handler"
)
numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["fake", "local"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    if request.param == "fake":
        yield FakeDriver(tmp_path_factory.mktemp("fake"))
        return
    who = agents.login(agents.OWN)
    with agents.home_for(who) as home:
        runner = RunnerProcess(who, home).start()
        yield runner.driver
        runner.close()


@pytest.fixture
def make_revision(driver: Driver) -> Callable[..., Revision]:
    runtime = next(one.name for one in driver.runtimes() if one.family == "python")

    def make(**changes) -> Revision:
        number = next(numbers)
        facts = {
            "id": ids.encode("fv", ids.new()),
            "account": ids.encode("acct", ids.new()),
            "function": ids.encode("fn", ids.new()),
            "name": f"hello-{number}",
            "version": number,
            "runtime": runtime,
            "handler": "app.handler",
            "memory_mb": 256,
            "timeout_ms": 3000,
            "code_sha256": hashlib.sha256(CODE).hexdigest(),
        }
        return Revision(**{**facts, **changes})

    return make


@pytest.fixture
def revision(driver: Driver, make_revision: Callable[..., Revision]) -> Revision:
    made = make_revision()
    assert driver.put(made, CODE)
    return made


def execution() -> str:
    return ids.encode("exec", ids.new())


def end_of(driver: Driver) -> tuple[str, int]:
    cursor = ("", 0)
    while True:
        records, cursor = driver.journal(cursor, 1000)
        if not records:
            return cursor


def test_its_runtimes_have_the_names_that_clients_write(driver):
    found = {one.name: one for one in driver.runtimes()}
    assert all(one.family in ("python", "node") and one.version and one.label for one in found.values())
    assert any(name.startswith("python3.") for name in found)


def test_code_is_asked_for_once_whatever_the_number_of_revisions(driver, make_revision):
    code = archive.inline(f"def handler(event, context):\n    return {next(numbers)}\n", "python3.11", "app.handler")
    first = make_revision(code_sha256=hashlib.sha256(code).hexdigest())
    assert driver.put(first, None) is False
    assert driver.put(first, code) is True
    assert driver.put(first, None) is True
    assert driver.put(replace(first, id=ids.encode("fv", ids.new()), version=99), None) is True


def test_a_revision_that_loads_is_built(driver, revision):
    build = driver.check(revision.id)
    assert (build.ok, build.error) == (True, None)


def test_what_it_was_never_told_of_it_does_not_know(driver, make_revision):
    stranger = make_revision()
    with pytest.raises(UnknownRevision):
        driver.check(stranger.id)
    with pytest.raises(UnknownRevision):
        driver.invoke(stranger.id, execution(), b"{}")


def test_an_execution_answers_the_handlers_json_and_what_it_used(driver, revision):
    id = execution()
    outcome = driver.invoke(revision.id, id, b'{"name":"Ada"}')
    assert (outcome.execution_id, outcome.status, outcome.error) == (id, "succeeded", None)
    assert outcome.result.replace(b" ", b"") == b'{"name":"Ada"}'
    assert outcome.duration_us > 0
    assert outcome.billed_ms >= 1
    assert "RequestId" in outcome.log_tail
    assert "RequestId" in driver.logs(id)


def test_no_attempt_of_an_execution_is_run_a_second_time(driver, revision):
    id = execution()
    driver.invoke(revision.id, id, b"{}", trigger="async")
    with pytest.raises(Duplicate):
        driver.invoke(revision.id, id, b"{}", trigger="async")
    assert driver.invoke(revision.id, id, b"{}", attempt=2, trigger="async").status == "succeeded"


def test_the_journal_has_a_start_and_an_end_of_each_attempt_with_all_that_is_metered(driver, revision):
    before = end_of(driver)
    id = execution()
    outcome = driver.invoke(revision.id, id, b"{}", attempt=3, trigger="async")
    records, after = driver.journal(before, 1000)
    start, end = records
    whose = {"id": id, "attempt": 3, "trigger": "async", "account": revision.account, "function": revision.function}
    whose |= {"revision": revision.id, "version": revision.version}
    assert whose.items() <= start.items()
    assert whose.items() <= end.items()
    assert (start["t"], end["t"]) == ("start", "end")
    assert end["started"] <= end["ended"]
    assert (end["status"], end["error"], end["memory_mb"]) == ("succeeded", None, 256)
    assert (end["duration_us"], end["billed_ms"]) == (outcome.duration_us, outcome.billed_ms)
    assert end["log"] == outcome.log_tail
    assert {"init_ms", "cold_start", "max_memory_mb", "result_bytes"} <= set(end)
    assert driver.journal(after, 1000) == ([], after)


def test_the_journal_is_read_in_parts_from_where_the_last_one_ended(driver, revision):
    before = end_of(driver)
    ran = [execution() for _ in range(3)]
    for id in ran:
        driver.invoke(revision.id, id, b"{}")
    seen, cursor = [], before
    while True:
        records, cursor = driver.journal(cursor, 2)
        if not records:
            break
        assert len(records) <= 2
        seen += [(record["t"], record["id"]) for record in records]
    assert seen == [(kind, id) for id in ran for kind in ("start", "end")]
    driver.ack(cursor)
    assert driver.journal(cursor, 10) == ([], cursor)


def test_a_function_that_is_no_longer_live_is_let_go(driver, revision):
    driver.set_live(revision.function, revision.id)
    driver.set_live(revision.function, None)
    driver.set_live(revision.function, None)


def test_its_status_is_facts_for_people(driver):
    assert {"warm", "busy", "queued", "cold_starts"} <= set(driver.status())
