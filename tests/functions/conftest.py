"""What every test of functions begins with: lanes that run at once, in the test's own transaction."""

from concurrent.futures import Executor, Future

import pytest

from functions import tasks


class AtOnce(Executor):
    """Runs what it is given before it hands it back."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@pytest.fixture(autouse=True)
def _lanes(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "lanes", AtOnce())
