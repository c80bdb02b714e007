"""gunicorn's threaded worker, whose requests go to the thread that was busy last.

The standard pool hands them round: each thread in turn, with cold caches of its own (SQLite's pages, the allocator's
arena). On one connection that cost a third of a request's CPU. How many processes and threads: `gunicorn.py`.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from threading import Lock
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Seat:
    """Where an idle thread waits for what it is handed."""

    def __init__(self) -> None:
        self.handed: Any = None
        self.waiting = Lock()
        self.waiting.acquire()


class LastIdleFirst:
    """A queue whose items come in order, each to the thread that asked last: what an executor needs of SimpleQueue."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._idle: list[Seat] = []
        self._mutex = Lock()

    def put(self, item: Any) -> None:
        with self._mutex:
            if not self._idle:
                self._items.append(item)
                return
            seat = self._idle.pop()
        seat.handed = item
        seat.waiting.release()

    def get(self, block: bool = True) -> Any:
        with self._mutex:
            if self._items:
                return self._items.popleft()
            if not block:
                raise Empty
            seat = Seat()
            self._idle.append(seat)
        seat.waiting.acquire()
        return seat.handed

    def get_nowait(self) -> Any:
        return self.get(block=False)


class Worker(ThreadWorker):
    def get_thread_pool(self) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(max_workers=self.cfg.threads)
        pool._work_queue = LastIdleFirst()  # type: ignore[assignment]  # before its first thread starts
        return pool
