"""Whatever is killed, and whenever: every event reaches the receiver at least once, with the same id and the same bytes.

Real processes: `manage.py up`'s web server, worker and dispatcher. Each seeded round makes SSH keys and meanwhile kills -9
one of them, and the receiver now and then fails. Hundreds of rounds: `python -m tests.webhooks.test_chaos ROUNDS`.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.config.test_up import Up
from tests.test_chaos import Client, command, tree
from tests.webhooks.receiver import Receiver, Reply, until

pytestmark = pytest.mark.slow

ROUNDS = 3
KEYS = 6
KILLED = {"web": "gunicorn", "worker": "celery", "dispatcher": "dispatch_webhooks"}


def start(home: Path) -> tuple[Up, Client]:
    up = Up(home, "--port", "8970")
    port = int(up.wait_for(r"API +http://localhost:(\d+)/v1/")[1])
    return up, Client(home, port)


def play(up: Up, client: Client, receiver: Receiver, seed: int) -> None:
    chance = random.Random(seed)
    receiver.got.clear()
    receiver.reply = lambda _: Reply(500 if chance.random() < 0.1 else 200)
    made = []
    for number in range(KEYS):
        status, answer = client.call("POST", "/v1/ssh-keys", {"name": f"{seed} {number} 🚀", "generate": True})
        assert status == 201, answer
        made.append(answer["data"]["id"])
        if number in (1, 3):
            kill(up, "dispatcher" if number == 1 else chance.choice([*KILLED]), chance)
        time.sleep(chance.uniform(0, 0.2))
    until(lambda: set(made) <= {id for id, _ in arrived(receiver)})
    for id in made:
        assert len({body for other, body in arrived(receiver) if other == id}) == 1, f"seed {seed}: other bytes"
        client.call("DELETE", f"/v1/ssh-keys/{id}")


def arrived(receiver: Receiver) -> list[tuple[str, bytes]]:
    """The SSH key that each delivery told of as added, with the delivery's id and bytes."""
    bodies = [(json.loads(one.body), one) for one in list(receiver.got)]
    return [
        (body["data"]["ssh_key_id"], one.headers["webhook-id"].encode() + one.body)
        for body, one in bodies
        if body["type"] == "ssh_key.added"
    ]


def kill(up: Up, which: str, chance: random.Random) -> None:
    victims = [pid for pid in tree(up.process.pid) if KILLED[which] in command(pid)]
    if victims:
        os.kill(chance.choice(victims), signal.SIGKILL)


def rounds(count: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="hooks-", dir="/var/tmp", ignore_cleanup_errors=True) as home,
        Receiver() as receiver,
    ):
        up, client = start(Path(home))
        try:
            wanted = {"url": receiver.url, "events": ["ssh_key.*"]}
            assert client.call("POST", "/v1/webhooks", wanted)[0] == 201
            for seed in range(count):
                play(up, client, receiver, seed)
                print(f"round {seed}: every event arrived", flush=True)
        finally:
            up.stop()


def test_whatever_is_killed_every_event_arrives_at_least_once_with_the_same_bytes():
    rounds(ROUNDS)


if __name__ == "__main__":
    rounds(int(sys.argv[1]))
