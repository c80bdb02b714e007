"""Long polls: waiting in a web thread for something to happen in the database."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_SECONDS = 30
# Each wait holds a web thread; a process has eight, and most must stay free for everyone else.
_places = threading.BoundedSemaphore(4)


def wait(look: Callable[[], T | None], *, seconds: float) -> T | None:
    """What `look` finds, as soon as it finds something; None once the time is over.

    Where all places are taken it looks once: the caller says how it stands now, and the client asks again.
    """
    if not _places.acquire(blocking=False):
        return look()
    try:
        end = time.monotonic() + seconds
        pause = 0.01  # seconds: an instance is up in a tenth of one
        while (found := look()) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 1.3, 0.5)
        return found
    finally:
        _places.release()
