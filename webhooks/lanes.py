"""Who of the receivers gets how many requests at once, so that whoever is slow or fails holds up nobody else.

Every endpoint has a lane: a few requests in flight and a short queue of claimed rows behind them. Endpoints that fail
share a fifth of the sockets, those of one account have no more than that, and one that does not even answer is only
probed.
"""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from webhooks.actions.attempts import Claimed
from webhooks.models import Endpoint

IN_FLIGHT = 4  # requests at once to one endpoint
QUEUED = 100  # claimed rows behind them, of an endpoint that works
SOCKETS = 500
SHARE = SOCKETS // 5  # of one account: receivers that answer well but slowly may not hold up everybody else's
FAILING_SOCKETS = SOCKETS // 5
SILENT = 5  # attempts in a row without any answer, after which an endpoint is only probed …
PROBE_EVERY = 30.0  # … so often (seconds)


class Item(NamedTuple):
    """A claimed delivery with the body it will have, until `expires` (monotonic seconds)."""

    claimed: Claimed
    event_id: str
    event_type: str
    content: bytes
    expires: float


@dataclass
class Lane:
    endpoint: Endpoint
    secrets: list[str]
    waiting: deque[Item] = field(default_factory=deque)
    flying: int = 0
    silent: int = 0  # attempts in a row without any answer
    rests_until: float = 0  # monotonic seconds
    in_queue: bool = False  # for a socket

    def room(self, endpoint: Endpoint) -> int:
        """How many more rows it may claim; `endpoint` as it is now."""
        if self.silent >= SILENT:
            return 1 if not self.flying and not self.waiting and time.monotonic() >= self.rests_until else 0
        if len(self.waiting) > QUEUED // 2:
            return 0  # a claim costs the same however many rows it takes
        taken = self.flying + len(self.waiting)
        return (IN_FLIGHT if endpoint.failing else IN_FLIGHT + QUEUED) - taken

    def heard(self, *, answer: bool) -> None:
        """An attempt ended, with any answer or none."""
        self.silent = 0 if answer else self.silent + 1
        if self.silent >= SILENT:
            self.rests_until = time.monotonic() + PROBE_EVERY


class Sockets:
    """Which lane has how many of the `SOCKETS`, and which wait for one. Changed in the loop's thread alone."""

    def __init__(self) -> None:
        self.taken = 0
        self.of_account: Counter[UUID] = Counter()
        self.queue: deque[Lane] = deque()

    def take(self, lane: Lane) -> bool:
        """One more for the lane; False where there is none for it, and it queues behind the others."""
        if self._full(lane):
            if not lane.in_queue:
                lane.in_queue = True
                self.queue.append(lane)
            return False
        self._count(lane, 1)
        return True

    def give_back(self, lane: Lane) -> None:
        self._count(lane, -1)

    def wanted(self, lane: Lane) -> bool:
        """Whether others wait for what this lane has."""
        return bool(self.queue) and self._full(lane)

    def next(self) -> Lane | None:
        """Out of the queue: the first lane for which there is a socket."""
        lane = next((lane for lane in self.queue if not self._full(lane)), None)
        if lane:
            self.queue.remove(lane)
            lane.in_queue = False
        return lane

    def _full(self, lane: Lane) -> bool:
        return self.taken >= SOCKETS or self.of_account[lane.endpoint.account_id] >= SHARE

    def _count(self, lane: Lane, by: int) -> None:
        lane.flying += by
        self.taken += by
        self.of_account[lane.endpoint.account_id] += by
