"""The folder broker: whole messages, each to one worker, in order."""

import threading

import pytest
from kombu import Connection

import config.broker


@pytest.fixture
def connect(tmp_path):
    connections = []

    def _connect():
        connections.append(Connection("folder://localhost", transport_options={"folder": str(tmp_path / "queue")}))
        return connections[-1].channel()

    yield _connect
    for connection in connections:
        connection.release()


def test_messages_come_in_the_order_in_which_they_were_sent(connect):
    channel = connect()
    for number in range(5):
        channel._put("work", {"number": number})
    assert channel._size("work") == 5
    assert [connect()._get("work")["number"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_many_writers_and_readers_lose_and_double_nothing_and_never_see_half_a_message(connect):
    sent, per_writer, received, failures = 4, 100, [], []
    writing = threading.Event()

    def write(channel, writer: int) -> None:
        for number in range(per_writer):
            channel._put("work", {"id": f"{writer}-{number}", "filling": "x" * 5000})

    def read(channel) -> None:
        while True:
            done = writing.is_set()
            try:
                received.append(channel._get("work")["id"])
            except config.broker.Empty:
                if done:
                    return
            except Exception as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read, args=(connect(),)) for _ in range(3)]
    writers = [threading.Thread(target=write, args=(connect(), writer)) for writer in range(sent)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    writing.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert sorted(received) == sorted(f"{writer}-{number}" for writer in range(sent) for number in range(per_writer))


def test_purging_empties_a_queue_and_says_how_many_there_were(connect):
    channel = connect()
    channel._put("work", {})
    channel._put("work", {})
    assert channel._purge("work") == 2
    assert channel._size("work") == 0


def test_a_message_is_nobodys_business_but_the_owners(connect, tmp_path):
    connect()._put("work", {})
    assert (tmp_path / "queue" / "work").stat().st_mode & 0o077 == 0
