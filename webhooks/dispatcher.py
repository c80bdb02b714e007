"""The process that sends deliveries (`manage.py dispatch_webhooks`): which, when, and how many at once.

Every endpoint has a lane (`webhooks.lanes`). The database is worked on by one thread, in turns: write down what came
of attempts, read the log, claim. All that matters is in its rows; what is in memory may be lost at any moment, and
comes due again when its lease ends.
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone
from redis import RedisError

from core import ids
from core.models import Event
from webhooks import signing
from webhooks.actions import attempts, deliveries
from webhooks.actions.attempts import Claimed, Outcome
from webhooks.lanes import FAILING_SOCKETS, IN_FLIGHT, SOCKETS, Item, Lane, Sockets
from webhooks.models import Delivery, Endpoint
from webhooks.models.cursor import HEARTBEAT
from webhooks.models.delivery import LEASE, unsigned
from webhooks.sender import AGENT, PATIENCE, attempt, open_session

log = logging.getLogger(__name__)

TURN = 0.1  # seconds between two looks at the database
REMEMBERED = 5000  # bodies of events
LOOKUPS = SOCKETS  # names that are resolved at once: where one hangs, no other may have to wait for its thread
BEAT = 5.0  # seconds between two signs of life
T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """What a turn in the database found: the endpoints looked at that are active, with their secrets, and new work."""

    endpoints: dict[UUID, tuple[Endpoint, list[str]]]
    items: list[Item]


class Dispatcher:
    """All of one process. `run` until `stop` is called; at most `PATIENCE` seconds later everything is written down.

    Lanes are changed in the loop's thread alone; the database's thread reads their numbers.
    """

    def __init__(self) -> None:
        self.lanes: dict[UUID, Lane] = {}
        self.sockets = Sockets()
        self.unreadable: set[UUID] = set()  # endpoints whose secret cannot be unsealed
        self.finished: list[Outcome] = []
        self.unsent: list[Claimed] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.bodies: OrderedDict[int, tuple[str, str, bytes]] = OrderedDict()  # by seq: id, type, content
        self.database = ThreadPoolExecutor(1, "database")
        self.stopping = asyncio.Event()
        self.beat_at = 0.0

    def stop(self) -> None:
        self.stopping.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(LOOKUPS, "lookup"))
        async with open_session() as self.session:
            while not self.stopping.is_set():
                began = loop.time()
                well = await self._write_down()
                watched = {key for key, lane in self.lanes.items() if lane.waiting}
                turn = await self._in_database(lambda watched=watched: self._turn(watched))  # type: ignore[misc]
                if turn:
                    self._take(turn)
                await self._pause(began + TURN - loop.time() if well and turn else 1.0)
            await self._end()
        await loop.run_in_executor(self.database, connections.close_all)
        self.database.shutdown()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.001)):
                await self.stopping.wait()

    async def _end(self) -> None:
        """Hand back what was not sent; wait for what was, and write it down."""
        for lane in self.lanes.values():
            self._give_back(lane)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=PATIENCE)
        await self._write_down()

    async def _write_down(self) -> bool:
        """What has finished, and what is handed back. Kept for the next turn while the database is away."""
        outcomes, unsent, self.finished, self.unsent = self.finished, self.unsent, [], []

        def work() -> bool:
            if outcomes:
                attempts.settle(outcomes=outcomes)
            if unsent:
                attempts.release(claimed=unsent)
            return True

        if await self._in_database(work):
            return True
        # Past its lease an outcome says nothing any more: somebody else attempts the delivery.
        self.finished += [one for one in outcomes if timezone.now() - one.at < LEASE]
        return False

    async def _in_database(self, work: Callable[[], T]) -> T | None:
        """What `work` answers in the database's thread; None, with a line in the log, where the database fails."""
        return await asyncio.get_running_loop().run_in_executor(self.database, _guarded, work)

    # --- In the database's thread

    def _turn(self, watched: set[UUID]) -> Turn:
        """Make deliveries of new events, and claim what there is room for. Looks at `watched` endpoints as well."""
        if time.monotonic() >= self.beat_at:
            self.beat_at = time.monotonic() + BEAT
            with suppress(OSError, RedisError):  # without the cache /readyz hears nothing, and all else goes on
                cache.set(HEARTBEAT, time.time(), timeout=None)
        deliveries.fan_out()
        deliveries.replay_some()
        due, now = attempts.due(), timezone.now()
        rows = Endpoint.objects.filter(pk__in=watched.union(due), state="active") if due or watched else ()
        endpoints = {endpoint.pk: (endpoint, secrets) for endpoint in rows if (secrets := self._secrets(endpoint, now))}
        rooms = self._rooms([endpoints[key][0] for key in due if key in endpoints])
        claimed = attempts.claim(rooms=rooms) if rooms else []
        return Turn(endpoints, self._items(claimed))

    def _secrets(self, endpoint: Endpoint, now: datetime) -> list[str]:
        """None where they cannot be unsealed: what waits for that endpoint waits until its secret is rotated."""
        secrets = endpoint.secrets(now)
        if not secrets and endpoint.pk not in self.unreadable:
            self.unreadable.add(endpoint.pk)
            log.error("the secret of %s cannot be unsealed: nothing is sent there", endpoint.public_id)
        return secrets

    def _rooms(self, due: list[Endpoint]) -> dict[UUID, int]:
        """How much each may claim. In another order each time, so that what is scarce is not always the first ones'."""
        random.shuffle(due)
        scarce = FAILING_SOCKETS - sum(lane.flying for lane in self.lanes.values() if lane.endpoint.failing)
        rooms = {}
        for endpoint in due:
            room = self.lanes.get(endpoint.pk, Lane(endpoint, [])).room(endpoint)
            if endpoint.failing:
                room = min(room, scarce)
                scarce -= max(room, 0)
            if room > 0:
                rooms[endpoint.pk] = room
        return rooms

    def _items(self, claimed: list[Claimed]) -> list[Item]:
        expires = time.monotonic() + LEASE.seconds - 2 * PATIENCE
        if missing := {one.event_seq for one in claimed} - self.bodies.keys():
            columns = ("seq", "id", "type", "at", "subject_kind", "data")
            for event in Event.objects.filter(seq__in=missing).values_list(*columns, named=True):
                self.bodies[event.seq] = ids.encode(Event.prefix, event.id), event.type, unsigned(event)
        items = [Item(one, *self.bodies[one.event_seq], expires) for one in claimed if one.event_seq in self.bodies]
        while len(self.bodies) > REMEMBERED:
            self.bodies.popitem(last=False)
        return items

    # --- In the loop's thread

    def _take(self, turn: Turn) -> None:
        """Bring the lanes up to date with what their owners changed, and start the new work."""
        for key, (endpoint, secrets) in turn.endpoints.items():
            lane = self.lanes.setdefault(key, Lane(endpoint, secrets))
            lane.endpoint, lane.secrets = endpoint, secrets
        for item in turn.items:
            self.lanes[item.claimed.endpoint_id].waiting.append(item)
        for key, lane in list(self.lanes.items()):
            if lane.waiting and key not in turn.endpoints:
                self._give_back(lane)  # it was disabled or deleted
            elif lane.waiting:
                self._start(lane)
            elif not lane.flying and not lane.silent and not lane.in_queue:
                del self.lanes[key]

    def _give_back(self, lane: Lane) -> None:
        self.unsent += [item.claimed for item in lane.waiting]
        lane.waiting.clear()

    def _start(self, lane: Lane) -> None:
        """As many senders as the lane may have. Where there is no socket for one, it queues behind the others."""
        for _ in range(min(len(lane.waiting), IN_FLIGHT - lane.flying)):
            if not self.sockets.take(lane):
                return
            task = asyncio.create_task(self._serve(lane))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _serve(self, lane: Lane) -> None:
        """Send what the lane has waiting, one after the other, until others queue for the socket."""
        try:
            while lane.waiting:
                item = lane.waiting.popleft()
                if time.monotonic() < item.expires:  # else its claim is about to end: it comes due again
                    await self._send(lane, item)
                if self.sockets.wanted(lane):
                    break
        finally:
            self.sockets.give_back(lane)
        if following := self.sockets.next():
            self._start(following)
        self._start(lane)

    async def _send(self, lane: Lane, item: Item) -> None:
        at = timezone.now()
        signed = signing.sign(item.event_id, item.content, at, lane.secrets)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            "X-Lambda-Event": item.event_type,
            "X-Lambda-Delivery": ids.encode(Delivery.prefix, item.claimed.id),
            "X-Lambda-Sequence": str(item.claimed.sequence),
            **signed.headers,
        }
        outcome = Outcome(item.claimed, at, lane.endpoint.url, headers, signed.signature, jitter=random.random())  # noqa: S311
        await attempt(self.session, outcome, signed.body)
        self.finished.append(outcome)
        if not outcome.delivered:
            self._give_back(lane)  # whoever fails keeps no queue
        lane.heard(answer=outcome.status is not None)


def _guarded(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except (DatabaseError, InterfaceError) as trouble:
        log.warning("the database does not do what it should; trying again: %s", trouble)
        connections.close_all()
        return None
