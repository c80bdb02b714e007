"""What holds for every test: sockets reach this machine only, and in CI nothing may be skipped.

Warnings are errors by `pyproject.toml`. Builders are in `make.py`, fixtures of one app in that app's folder.
"""

import os
import time
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from accounts import authentication, uses
from api import limits
from core import epoch
from tests import make
from tests.make import runner

hypothesis.settings.register_profile("here", deadline=None)  # how long an example takes is the neighbours' business
hypothesis.settings.load_profile("here")
CI = os.environ.get("CI") == "true"
epoch.REMEMBERED = authentication.REMEMBERED = (
    3600  # of two readings one may else take a statement more, where the five seconds are just over
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI everything optional is installed, so a skipped test is one that silently stopped being run."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever asks for the database is marked `db`, but for the browser's tests, which are slow and see no database.

    `only("redis")` and the like belong to runs that have it. CI has each in one of its runs, so none is lost.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        asks = item.get_closest_marker("django_db") or "db" in fixtures or "transactional_db" in fixtures
        if asks and not item.get_closest_marker("browser"):
            item.add_marker("db")
    here = {connection.vendor, *(["redis"] if settings.LAMBDA_REDIS_URL else [])}
    wanted = [(item, {what for mark in item.iter_markers("only") for what in mark.args}) for item in items]
    config.hook.pytest_deselected(items=[item for item, what in wanted if not what <= here])
    items[:] = [item for item, what in wanted if what <= here]


@pytest.fixture(autouse=True)
def _no_test_pays_for_another() -> None:
    """What outlives a test's database: begin with full buckets, an empty queue, and nothing remembered."""
    epoch.advance()
    uses.forget()
    cache.clear()  # allauth counts its mails and sign-ins there
    runner().reset()  # its journal is a file, which no rollback shortens
    if limits.limiter.cache_info().currsize:
        limits.limiter().forget()
    if settings.LAMBDA_REDIS_URL:
        limits.limiter()._clock = time.time  # not Redis' own: a test may travel in time
    if current_app.conf.broker_url == "memory://":
        with current_app.connection_for_read() as connection:
            connection.default_channel.queue_purge("celery")


@pytest.fixture
def account(db: None) -> Any:
    """Alice's."""
    return make.make_account()


@pytest.fixture
def alice(account: Any) -> Any:
    """A browser in which Alice is signed in."""
    return make.sign_in(make.owner_of(account).user)
