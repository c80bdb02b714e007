"""The epoch: one number, seen by every process at once, that only grows. In a file or in Redis."""

import os
import subprocess
import sys
import threading

import pytest
from django.conf import settings as configured

from core import epoch, shared

pytestmark = pytest.mark.db
BACKENDS = ["file", *(["redis"] if configured.LAMBDA_REDIS_URL else [])]
IN_ANOTHER_PROCESS = """
import django, sys
from pathlib import Path
from django.conf import settings
django.setup()
settings.LAMBDA_HOME, settings.LAMBDA_REDIS_URL = Path(sys.argv[1]), sys.argv[3]
from core import epoch
print(epoch.current())
for _ in range(int(sys.argv[2])):
    epoch.advance()
"""


@pytest.fixture(params=BACKENDS)
def home(tmp_path, settings, request):
    settings.LAMBDA_HOME = tmp_path
    if request.param == "redis":
        shared.client().delete(epoch.RedisEpoch.KEY)
    else:
        settings.LAMBDA_REDIS_URL = ""
    return tmp_path


def another_process(home, times):
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(home), str(times), configured.LAMBDA_REDIS_URL],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_each_change_raises_it(home):
    before = epoch.current()
    assert epoch.current() == before
    epoch.advance()
    assert epoch.current() > before


def test_it_survives_a_restart(home):
    epoch.advance()
    before = epoch.current()
    epoch._epoch.cache_clear()
    assert epoch.current() == before


@pytest.mark.slow
def test_no_advance_of_any_thread_or_process_is_lost(home):
    """Each changes the number for all others, so what anybody sees never stands still and never goes back."""
    others = [another_process(home, 2000) for _ in range(2)]
    seen = []

    def climb():
        for _ in range(500):
            before = epoch.current()
            epoch.advance()
            after = epoch.current()
            seen.append(after > before)

    threads = [threading.Thread(target=climb) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.communicate(timeout=60)
    assert [other.returncode for other in others] == [0, 0]
    assert len(seen) == 4 * 500
    assert all(seen)
    if not configured.LAMBDA_REDIS_URL:
        assert epoch.current() == 2 * 2000 + 4 * 500


@pytest.mark.slow
def test_another_process_sees_it_at_once_and_is_seen(home):
    epoch.advance()
    before = epoch.current()
    other = another_process(home, 3)
    assert other.communicate(timeout=60)[0].strip() == str(before)
    assert epoch.current() >= before + 3
