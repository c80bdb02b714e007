"""The web process hands a request to the thread that was busy last."""

import threading
from queue import Empty

import pytest

from config.workers import LastIdleFirst


def idle(queue, names):
    """Threads that ask one after the other, and what each was handed."""
    handed = {}
    threads = []
    for name in names:
        thread = threading.Thread(target=lambda name=name: handed.update({name: queue.get()}))
        thread.start()
        while len(queue._idle) < len(threads) + 1:  # it waits
            pass
        threads.append(thread)
    return threads, handed


def test_work_goes_to_the_thread_that_asked_last():
    queue = LastIdleFirst()
    threads, handed = idle(queue, ["first", "second", "third"])
    for item in "abc":
        queue.put(item)
    for thread in threads:
        thread.join(10)
    assert handed == {"third": "a", "second": "b", "first": "c"}


def test_work_that_nobody_waits_for_is_done_in_order():
    queue = LastIdleFirst()
    queue.put("a")
    queue.put("b")
    assert [queue.get(), queue.get_nowait()] == ["a", "b"]
    with pytest.raises(Empty):
        queue.get_nowait()
