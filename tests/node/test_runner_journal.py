"""The journal says what happened, once, whoever is killed when."""

import os
import resource
import time
from threading import Thread

import pytest

from functions.drivers.base import Duplicate, RunnerUnavailable, UnknownRevision
from node.runner.journal import Journal
from tests.node.agents import processes_mentioning

FACTS = {"account": "a", "function": "f", "revision": "r", "version": 1, "trigger": "sync", "at": 1.0, "memory_mb": 128}
END = {"status": "succeeded", "error": None, "ended": 2.0}


def lines(journal: Journal, cursor=("", 0), limit=1000) -> list[bytes]:
    return journal.read(cursor, limit)[0].splitlines()


def test_a_reader_with_a_cursor_gets_every_record_once(tmp_path):
    journal = Journal(tmp_path / "journal")
    seen, cursor = [], ("", 0)
    for number in range(30):
        journal.start((f"e{number}", 1), FACTS)
        journal.end((f"e{number}", 1), END)
        if number % 7 == 0:
            data, cursor = journal.read(cursor, 3)
            seen += data.splitlines()
    while True:
        data, cursor = journal.read(cursor, 3)
        if not data:
            break
        seen += data.splitlines()
    assert seen == lines(journal)
    assert len(seen) == 60


def test_what_was_open_when_its_runner_died_is_ended_by_the_next(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.start(("done", 1), FACTS)
    journal.end(("done", 1), END)
    journal.start(("open", 2), FACTS)
    for _ in range(2):  # the second one finds nothing to do
        journal = Journal(tmp_path / "journal")
        data, cursor = journal.read(("", 0), 1000)
        records = (data + journal.read(cursor, 1000)[0]).splitlines()
        ends = [line for line in records if b'"t":"end"' in line and b'"open"' in line]
        assert len(ends) == 1
        assert b"Platform.RunnerLost" in ends[0]
        assert b'"billed_ms":0' in ends[0]
        assert b'"attempt":2' in ends[0]
    assert journal.has(("open", 2))
    assert not journal.has(("open", 1))


def test_a_line_cut_short_is_never_read_and_never_in_the_way(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.start(("whole", 1), FACTS)
    with (tmp_path / "journal" / journal.name).open("ab") as file:
        file.write(b'{"t": "start", "id": "cut"')
    data, cursor = journal.read(("", 0), 10)
    assert len(data.splitlines()) == 1
    assert journal.read(cursor, 10) == (b"", cursor)
    journal = Journal(tmp_path / "journal")
    data, _ = journal.read(cursor, 10)
    assert b"RunnerLost" in data
    assert not journal.has(("cut", 1))


def test_a_reader_of_a_disk_that_is_gone_reads_the_new_one_from_its_start(tmp_path, monkeypatch):
    old = Journal(tmp_path / "old")
    for number in range(3):
        old.start((f"e{number}", 1), FACTS)
    _, cursor = old.read(("", 0), 10)
    later = time.time() + 1
    monkeypatch.setattr(time, "time", lambda: later)
    new = Journal(tmp_path / "new")
    new.start(("fresh", 1), FACTS)
    assert [b'"fresh"' in line for line in lines(new, cursor)] == [True]


def test_a_segment_goes_when_it_is_acknowledged_and_all_it_started_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("node.runner.journal.SEGMENT_BYTES", 500)
    journal = Journal(tmp_path / "journal")
    journal.start(("slow", 1), FACTS)
    for number in range(10):
        journal.start((f"e{number}", 1), FACTS)
        journal.end((f"e{number}", 1), END)
    first, *_, last = sorted(os.listdir(tmp_path / "journal"))
    journal.acknowledge(last, 0)
    assert sorted(os.listdir(tmp_path / "journal")) == [first, last]
    assert journal.has(("slow", 1))
    journal.end(("slow", 1), END)
    journal.acknowledge(last, 0)
    assert sorted(os.listdir(tmp_path / "journal"))[0] == last


def test_a_full_disk_refuses_the_start_and_owes_the_end(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.start(("first", 1), FACTS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + 20, hard))
    try:
        with pytest.raises(OSError, match=r"space|large"):
            journal.start(("second", 1), FACTS)
        with pytest.raises(OSError, match=r"space|large"):
            journal.end(("first", 1), END)
        journal.settle()
        assert len(lines(journal)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.settle()
    assert len(lines(journal)) == 2
    assert not journal.open
    assert not journal.has(("second", 1))


HELLO = "def handler(event, context):\n    print('hi')\n    return event\n"


def test_every_execution_has_a_start_and_an_end_that_say_what_was_answered(runner):
    revision = runner.deploy(HELLO, account="carol", version=7)
    outcome = runner.invoke(revision, b'"x"', execution="exec_record", attempt=2, trigger="async")
    start, end = (record for record in runner.records() if record["id"] == "exec_record")
    assert start["t"] == "start"
    shared = {"id", "attempt", "account", "function", "revision", "version", "trigger", "at"}
    assert {name: start[name] for name in shared} == {name: end[name] for name in shared}
    assert (start["account"], start["revision"], start["version"]) == ("carol", revision, 7)
    assert (start["attempt"], start["trigger"]) == (2, "async")
    assert (end["t"], end["status"], end["error"], end["result_bytes"]) == ("end", "succeeded", None, 3)
    for name in ("duration_us", "billed_ms", "init_ms", "cold_start", "max_memory_mb"):
        assert end[name] == getattr(outcome, name)
    assert end["cold_start"] == "first"
    assert end["billed_ms"] >= end["duration_us"] / 1000
    assert end["memory_mb"] == 128
    assert end["log"] == outcome.log_tail
    assert end["started"] <= end["ended"]


def test_the_same_attempt_never_runs_twice(runner):
    revision = runner.deploy(HELLO)
    runner.invoke(revision, execution="exec_once")
    with pytest.raises(Duplicate):
        runner.invoke(revision, execution="exec_once")
    assert runner.invoke(revision, execution="exec_once", attempt=2).status == "succeeded"


@pytest.mark.slow
def test_a_killed_runner_leaves_no_sandbox_and_no_execution_without_an_end(own_runner):
    runner = own_runner().start()
    revision = runner.deploy(
        "import time\ndef handler(event, context):\n    print('hi')\n    time.sleep(event)\n", timeout_ms=60000
    )
    runner.invoke(revision, b"0", execution="exec_done")
    refusals = []

    def call(name: str) -> None:
        try:
            runner.invoke(revision, b"50", execution=name)
        except RunnerUnavailable as error:
            refusals.append(str(error))

    threads = [Thread(target=call, args=(f"exec_lost{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    while runner.driver.status()["busy"] < 3:
        pass
    runner.kill()
    for thread in threads:
        thread.join()
    assert len(refusals) == 3
    assert all("the journal will tell" in text for text in refusals)
    while processes_mentioning(str(runner.home)):
        pass
    runner.start()
    records = runner.records()
    ends = {record["id"]: record for record in records if record["t"] == "end"}
    assert sum(record["t"] == "end" for record in records) == len(ends) == 4
    assert ends["exec_done"]["status"] == "succeeded"
    for number in range(3):
        lost = ends[f"exec_lost{number}"]
        assert (lost["status"], lost["error"]["type"], lost["billed_ms"]) == ("failed", "Platform.RunnerLost", 0)
    with pytest.raises(UnknownRevision):
        runner.invoke(revision)
    assert runner.driver.put(runner.put[revision][0], None)  # its code is still there
    with pytest.raises(Duplicate):
        runner.invoke(revision, b"0", execution="exec_lost1")
    assert runner.invoke(revision, b"0", execution="exec_lost1", attempt=2).status == "succeeded"


def test_what_has_been_acknowledged_is_forgotten_and_the_lag_is_none(own_runner):
    runner = own_runner().start()
    revision = runner.deploy(HELLO)
    runner.invoke(revision)
    assert runner.driver.status()["journal_lag_seconds"] > 0
    records, cursor = runner.driver.journal(("", 0), 1000)
    assert len(records) == 2
    runner.driver.ack(cursor)
    assert runner.driver.status()["journal_lag_seconds"] == 0
    assert runner.driver.journal(cursor, 1000) == ([], cursor)
