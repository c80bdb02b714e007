"""Long polls: waiting in a web thread for something to happen in the database."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

MAX_SECONDS = 30
# Each wait holds a web thread; a process has eight, and most must stay free for everyone else.
PLACES = 4
SHARE = 3  # of one account
_waiting: list[UUID] = []  # accounts
_lock = threading.Lock()


def wait(look: Callable[[], T | None], *, account: UUID, seconds: float) -> T | None:
    """What `look` finds, as soon as it finds something; None once the time is over.

    Where all places are taken it looks once: the caller says how it stands now, and the client asks again.
    """
    if seconds <= 0 or not _take_place(account):
        return look()
    try:
        end = time.monotonic() + seconds
        pause = 0.01  # seconds: an instance is up in a tenth of one
        while (found := look()) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 1.3, 0.5)
        return found
    finally:
        with _lock:
            _waiting.remove(account)


def _take_place(account: UUID) -> bool:
    with _lock:
        if len(_waiting) >= PLACES or _waiting.count(account) >= SHARE:
            return False
        _waiting.append(account)
        return True
