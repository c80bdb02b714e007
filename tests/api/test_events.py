"""`/v1/events`: the log as pages, and as a feed that misses nothing and repeats nothing."""

import threading
import time
from contextlib import contextmanager
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from api import waiting
from compute.actions import ssh_keys
from core import db, events, ids
from core.context import SYSTEM
from core.events import declared
from core.models import Event
from tests.make import make_account, make_api, make_instance

# On PostgreSQL a reader sees what is committed and nothing else, not even of a test's own transaction. And it waits for
# transactions of the whole server, so for those of other tests at the same time: hence `wait` and `eventually`.
pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.db]


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def api(alice):
    return make_api(alice)


def newest(account) -> str:
    return Event.objects.for_account(account).first().public_id


def eventually(read, wanted) -> None:
    deadline = time.monotonic() + 20
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == wanted


def types(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [event["type"] for event in answer.json()["data"]]


def test_pages_are_newest_first_and_the_feed_oldest_first(alice, api):
    begin = newest(alice)
    make_instance(alice)
    made = ["instance.requested", "instance.created", "instance.ready"]
    eventually(lambda: types(api.get(f"/events?after={begin}")), made)
    assert types(api.get("/events"))[:3] == made[::-1]
    first = api.get(f"/events?after={begin}&limit=2").json()
    assert first["pagination"] == {"limit": 2, "has_next": True, "after": first["data"][1]["id"]}
    rest = api.get(f"/events?after={first['pagination']['after']}&limit=2").json()
    assert [event["type"] for event in rest["data"]] == made[2:]
    assert not rest["pagination"]["has_next"]
    end = api.get(f"/events?after={rest['pagination']['after']}").json()
    assert (end["data"], end["pagination"]["after"]) == ([], rest["pagination"]["after"])


def test_a_feed_can_be_narrowed_to_types_and_patterns(alice, api):
    begin = newest(alice)
    make_instance(alice)
    ssh_keys.generate(account=alice, by=SYSTEM, name="laptop")
    assert types(api.get(f"/events?after={begin}&type=ssh_key.*&wait=20")) == ["ssh_key.added"]
    both = api.get(f"/events?after={begin}&type=instance.ready,ssh_key.*")
    assert types(both) == ["instance.ready", "ssh_key.added"]
    assert types(api.get("/events?type=instance.*"))[0] == "instance.ready"
    error = api.get("/events?type=instances.*").json()["error"]
    assert {"instance.*", "*", "ssh_key.added"} <= set(error["details"]["allowed_values"])


def test_one_event_is_read_by_its_id_and_only_in_its_account(alice, api):
    make_instance(alice)
    id = newest(alice)
    shown = api.get(f"/events/{id}").json()["data"]
    assert (shown["id"], shown["type"]) == (id, "instance.ready")
    assert set(shown) == {"id", "type", "timestamp", "actor", "via", "request_id", "data"}
    charlie = make_api(make_account(name="Charlie's"))
    assert charlie.get(f"/events/{id}").status_code == 404
    assert charlie.get(f"/events?after={id}").status_code == 400
    assert api.get("/events/evt_nothing").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"wait": 5}, "wait"),
        ({"after": "evt_x"}, "after"),
        ({"after": "inst_01m803p6fsep5t56hn7y1dmqyp"}, "after"),
        ({"after": "NEWEST", "wait": 31}, "wait"),
        ({"after": "NEWEST", "wait": 0}, "wait"),
        ({"after": "NEWEST", "page": 2}, "page"),
        ({"after": "NEWEST", "limit": 101}, "limit"),
    ],
)
def test_what_a_feed_does_not_understand_is_refused(alice, api, query, field):
    query = {name: newest(alice) if value == "NEWEST" else value for name, value in query.items()}
    answer = api.get(f"/events?{urlencode(query)}")
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["field"] == field


def test_a_wait_without_news_ends_with_nothing_and_says_where_to_go_on(alice, api):
    begin = newest(alice)
    started = time.monotonic()
    answer = api.get(f"/events?after={begin}&wait=1").json()
    assert 0.9 < time.monotonic() - started < 3
    assert (answer["data"], answer["pagination"]["after"]) == ([], begin)


def test_a_wait_ends_as_soon_as_something_is_committed():
    alice = make_account()
    api, begin = make_api(alice), newest(alice)

    def later() -> None:
        time.sleep(0.3)
        ssh_keys.generate(account=alice, by=SYSTEM, name="laptop")
        connection.close()

    thread = threading.Thread(target=later)
    thread.start()
    started = time.monotonic()
    answer = api.get(f"/events?after={begin}&wait=20")
    thread.join()
    assert types(answer) == ["ssh_key.added"]
    assert time.monotonic() - started < 15


def test_waits_take_only_a_share_of_the_threads(monkeypatch):
    """And of an account's. Whoever comes too late looks once, and is told at once how it stands."""
    monkeypatch.setattr(waiting, "PLACES", 3)
    monkeypatch.setattr(waiting, "SHARE", 2)
    alice, bob = uuid4(), uuid4()

    def looks(*accounts: UUID) -> int:
        """How often the last one looks, up to twice, where each waits within the wait of the one before."""
        seen = []

        def nested(rest: tuple[UUID, ...]) -> bool | None:
            if rest:
                return waiting.wait(lambda: nested(rest[1:]), account=rest[0], seconds=10) or True
            seen.append(1)
            return len(seen) == 2 or None

        nested(accounts)
        return len(seen)

    assert looks(alice) == looks(alice, alice) == looks(alice, alice, bob) == 2
    assert looks(alice, alice, alice) == 1
    assert looks(alice, alice, bob, bob) == 1


def test_a_reader_of_the_feed_misses_nothing_and_repeats_nothing_whatever_order_writers_commit_in():
    """Writers hold transactions open for different times: numbers are taken in one order, committed in another."""
    alice = make_account()
    api, after = make_api(alice), newest(alice)
    writers, each = 4, 15

    def write(number: int) -> None:
        try:
            for turn in range(each):
                with db.atomic_write():
                    events.record("ssh_key.added", account=alice, by=SYSTEM, data={"n": f"{number}/{turn}"})
                    time.sleep(0.002 * ((number + turn) % 4))
                    events.record("ssh_key.updated", account=alice, by=SYSTEM, data={"n": f"{number}/{turn}"})
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[tuple[str, str]] = []
    deadline = time.monotonic() + 60
    while len(seen) < writers * each * 2:
        page = api.get(f"/events?after={after}&wait=5&limit=7").json()
        assert time.monotonic() < deadline, "the feed stopped before everything had come"
        seen += [(event["type"], event["data"]["n"]) for event in page["data"]]
        after = page["pagination"]["after"]
    for thread in threads:
        thread.join()
    wanted = {
        (kind, f"{n}/{t}") for kind in ("ssh_key.added", "ssh_key.updated") for n in range(writers) for t in range(each)
    }
    assert set(seen) == wanted
    assert len(seen) == len(wanted)
    assert api.get(f"/events?after={after}").json()["data"] == []


@pytest.mark.only("postgresql")
def test_an_event_waits_for_those_whose_transaction_began_before_it():
    """The later number commits first: a cursor on `seq` alone would step over the earlier one for ever."""
    alice = make_account()
    begin = Event.objects.for_account(alice).first()
    read = lambda: [e.data["n"] for e in Event.objects.for_account(alice).committed().after(begin)]  # noqa: E731
    with _another_connection() as other, transaction.atomic():
        _insert(connection, alice, "early transaction")
        _insert(other, alice, "late transaction, committed first")
        other.commit()
        assert read() == []
    eventually(read, ["early transaction", "late transaction, committed first"])


@pytest.mark.only("postgresql")
def test_events_restored_from_another_server_are_read_and_come_before_new_ones():
    alice = make_account()
    begin = Event.objects.for_account(alice).first()
    old = ["first", "second"]
    for number, text in enumerate(old):
        _insert(connection, alice, text)
        Event.objects.filter(data={"n": text}).update(txid=10**15 + number)
    log = Event.objects.for_account(alice).committed().filter(type="ssh_key.added")
    read = lambda: [event.data["n"] for event in log.all()]  # noqa: E731
    assert read() == []
    Event.objects.filter(seq=begin.seq).update(txid=10**15 - 1)
    call_command("migrate", verbosity=0)
    _insert(connection, alice, "third")
    eventually(read, [*old, "third"])
    before = list(Event.objects.values_list("seq", "txid"))
    call_command("migrate", verbosity=0)
    assert list(Event.objects.values_list("seq", "txid")) == before


@contextmanager
def _another_connection():
    other = connection.copy()
    other.set_autocommit(False)
    try:
        yield other
    finally:
        other.close()


def _insert(on, account, text: str) -> None:
    with on.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_event (id, at, account_id, type, actor_kind, actor_id, actor_name, via, ip, request_id, "
            "subject_kind, data, meters) "
            "VALUES (%s, now(), %s, 'ssh_key.added', 'system', '', '', 'system', '', '', '', "
            "jsonb_build_object('n', %s::text), '[]')",
            [ids.new(), account.pk, text],
        )


def test_every_type_has_a_line_of_documentation(api):
    rows = api.get("/event-types?limit=100").json()["data"]
    assert [row["type"] for row in rows] == sorted(declared())
    assert all(row["description"].endswith(".") for row in rows)
