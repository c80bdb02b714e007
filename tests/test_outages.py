"""The database is gone or held: callers are told to come back, nothing acknowledged is lost, and it heals by itself."""

import signal
import sqlite3
import threading
import time
import uuid

import pytest
from django.db import connection, connections
from django.utils import timezone

from compute.models import Instance
from core import db
from tests import make, servers
from tests.live import WAIT, Live

pytestmark = pytest.mark.db

OUTAGE = 10  # seconds


class Writer(threading.Thread):
    """A client as the documents ask for: it tries again, with the same idempotency key, until it has an answer."""

    def __init__(self, live: Live, may_end: threading.Event):
        super().__init__()
        self.live, self.may_end = live, may_end
        self.acknowledged: dict[str, str] = {}  # idempotency key: instance
        self.refusals = []
        self.start()

    def run(self):
        while not self.may_end.is_set():
            key = str(uuid.uuid4())
            while key not in self.acknowledged:
                reply = self.live.create(key, name=key)
                if reply.status == 201:
                    self.acknowledged[key] = reply.data["id"]
                else:
                    self.refusals.append(reply)
                    time.sleep(0.2)
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.only("postgresql")
def test_ten_seconds_without_the_database_lose_nothing_and_heal_by_themselves(tmp_path):
    with servers.folder() as folder, servers.postgresql(folder) as database, Live(tmp_path, database.url) as live:
        web, worker = live.start_web(), live.start_worker()
        may_end = threading.Event()
        writers = [Writer(live, may_end) for _ in range(4)]
        time.sleep(3)
        database.stop(signal.SIGQUIT)  # as if its machine had lost power
        before = sum(len(writer.acknowledged) for writer in writers)
        time.sleep(OUTAGE)
        assert live.request("GET", "/healthz").status == 200
        database.start()
        back = time.monotonic()
        while live.request("GET", "/v1/instances").status != 200:
            assert time.monotonic() - back < 10
            time.sleep(0.1)
        time.sleep(3)
        may_end.set()
        for writer in writers:
            writer.join(WAIT)

        refusals = [refusal for writer in writers for refusal in writer.refusals]
        assert refusals
        assert {refusal.status for refusal in refusals} == {503}
        assert {refusal.body["error"]["code"] for refusal in refusals} == {"service_unavailable"}
        assert all(int(refusal.headers["Retry-After"]) > 0 for refusal in refusals)

        acknowledged = {key: id for writer in writers for key, id in writer.acknowledged.items()}
        assert len(acknowledged) > before > 0
        there = everything(live)
        assert {instance["name"]: instance["id"] for instance in there} == acknowledged
        assert len(there) == len(acknowledged)

        assert (web.poll(), worker.poll()) == (None, None)
        deadline = time.monotonic() + WAIT
        while {instance["status"] for instance in everything(live)} != {"running"}:
            assert time.monotonic() < deadline, "the worker did not come back to its work"
            time.sleep(0.5)


def everything(live):
    found, page = [], 1
    while True:
        reply = live.request("GET", f"/v1/instances?limit=100&page={page}")
        found += reply.data
        if len(reply.data) < 100:
            assert reply.body["pagination"]["total_items"] == len(found)
            return found
        page += 1


@pytest.fixture
def impatient(monkeypatch):
    """SQLite and the queue before it wait half a second in this test's process."""
    monkeypatch.setattr(db, "PATIENCE", 0.5)
    options = connections.settings["default"]["OPTIONS"]
    patience, options["timeout"] = options["timeout"], 0.5
    connection.close()
    yield
    options["timeout"] = patience
    connection.close()


@pytest.mark.slow
@pytest.mark.only("sqlite")
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_while_somebody_holds_the_database_writes_are_told_to_come_back_and_reads_go_on(impatient):
    account = make.make_account()
    api = make.make_api(account)
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        for headers in ({}, {"HTTP_IDEMPOTENCY_KEY": "k"}):
            refused = api.post("/instances", make.WANTED, **headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
            assert int(refused.headers["Retry-After"]) > 0
        assert api.get("/instances").json()["data"] == []
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert api.post("/instances", make.WANTED, HTTP_IDEMPOTENCY_KEY="k").status_code == 201
    assert Instance.objects.for_account(account).count() == 1


@pytest.mark.slow
@pytest.mark.only("sqlite")
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_last_in_the_queue_of_writers_does_not_wait_for_all_before_it(impatient):
    account = make.make_account()
    _, secret = make.make_key(account)
    holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    answers = []

    def post():
        answers.append(make.Api(secret.key).post("/instances", make.WANTED).status_code)
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(8)]
    began = timezone.now()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    took = (timezone.now() - began).total_seconds()
    holder.execute("ROLLBACK")
    holder.close()
    assert answers == [503] * 8
    assert took < 8 * 0.5
