"""The epoch: one number, seen by every process of this installation at once, that only grows."""

import os
import subprocess
import sys
import threading

import pytest

from core import epoch

IN_ANOTHER_PROCESS = """
import django, sys
from pathlib import Path
from django.conf import settings
django.setup()
settings.LAMBDA_HOME = Path(sys.argv[1])
from core import epoch
print(epoch.current())
for _ in range(int(sys.argv[2])):
    epoch.advance()
"""


@pytest.fixture
def home(tmp_path, settings):
    settings.LAMBDA_HOME = tmp_path
    return tmp_path


def another_process(home, times):
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(home), str(times)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_new_installation_begins_at_nought_and_each_change_raises_it(home):
    assert epoch.current() == 0
    epoch.advance()
    assert epoch.current() == 1


def test_it_survives_a_restart(home):
    epoch.advance()
    epoch._shared.cache_clear()
    assert epoch.current() == 1


@pytest.mark.slow
def test_no_advance_of_any_thread_or_process_is_lost(home):
    others = [another_process(home, 20_000) for _ in range(2)]
    threads = [threading.Thread(target=lambda: [epoch.advance() for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = [epoch.current()]
    for thread in threads:
        thread.join()
        seen.append(epoch.current())
    for other in others:
        other.communicate(timeout=60)
    assert [other.returncode for other in others] == [0, 0]
    assert epoch.current() == 2 * 20_000 + 4 * 5000
    assert seen == sorted(seen)


@pytest.mark.slow
def test_another_process_sees_it_at_once_and_is_seen(home):
    epoch.advance()
    other = another_process(home, 3)
    assert other.communicate(timeout=60)[0].strip() == "1"
    assert epoch.current() == 4
