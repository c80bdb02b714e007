"""The operators' health page: it names what does not answer, what waits and what is stuck, and never breaks itself."""

import logging
import time
from datetime import timedelta

import pytest
from celery import Celery, current_app
from django.core.cache import cache
from django.test import TestCase
from django.utils import timezone

from accounts.actions import audit
from compute.actions import instances
from compute.models import Instance, Node
from config import errors, health, operations, queue, tasks
from config.broker import Channel
from core.models import Event
from functions.models import Runner
from tests import make
from webhooks.models.cursor import HEARTBEAT as DISPATCHER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def everything_runs():
    tasks.heartbeat()
    cache.set_many(dict.fromkeys([queue.CLOCK, DISPATCHER], time.time()))
    capacity = {"vcpus": 8, "load": 1.5, "memory_mb": 16384, "memory_free_mb": 8192, "disk_free_mb": 102400}
    node = {"ok": True, "seen_at": timezone.now(), "limits": {"cpu": "enforced"}, "capacity": capacity}
    Node.objects.update_or_create(name="local", defaults=node)
    Runner.objects.update_or_create(name="local", defaults={"ok": True, "seen_at": timezone.now()})


@pytest.fixture
def browser():
    return make.sign_in(make.make_operator())


def page(browser):
    response = browser.get("/admin/health/")
    assert response.status_code == 200
    return response


def fact(response, name):
    return next(found for found in response.context["facts"] if found.name == name)


def test_a_sound_installation_is_said_to_be_sound(browser):
    make.make_instance()
    audit.seal()
    found = page(browser)
    assert "Everything runs, and nothing is stuck." in found.text
    assert "8 CPUs, 16 GB" in found.text
    assert "1 instance with 1 vCPU" in found.text
    assert fact(found, "Audit log").note == "Sealed to its end."


def test_it_is_for_operators_alone(client):
    assert client.get("/admin/health/").status_code == 302
    assert make.sign_in(make.make_user()).get("/admin/health/").status_code == 302


@pytest.mark.parametrize(
    ("name", "key"), [("Worker", health.HEARTBEAT), ("Clock", queue.CLOCK), ("Webhook dispatcher", DISPATCHER)]
)
def test_what_is_silent_is_named(browser, name, key):
    cache.set(key, time.time() - 100)
    found = page(browser)
    assert fact(found, name).state == "error"
    assert fact(found, name).note.startswith("Heard 10")
    assert f"<b>{name}</b>" in found.text
    cache.delete(key)
    assert fact(page(browser), name).state == "error"


def test_a_runner_that_cannot_run_functions_says_why_and_one_that_is_silent_since_when(browser):
    Runner.objects.update(ok=False, reason="Its socket does not answer.")
    assert fact(page(browser), "Function runner").note == "Its socket does not answer."
    Runner.objects.update(ok=True, seen_at=timezone.now() - timedelta(seconds=90))
    assert fact(page(browser), "Function runner").note.startswith("Heard 9")
    Runner.objects.all().delete()
    assert fact(page(browser), "Function runner").state == "error"


def test_a_node_that_cannot_run_instances_says_why_and_one_that_is_silent_since_when(browser):
    Node.objects.update(ok=False, reason="User namespaces are off.", remedy="Switch them on.")
    assert fact(page(browser), "Node agent local").note == "User namespaces are off. Switch them on."
    Node.objects.update(ok=True, seen_at=timezone.now() - timedelta(seconds=90))
    assert fact(page(browser), "Node agent local").note.startswith("Heard 9")
    Node.objects.all().delete()
    assert fact(page(browser), "Node agent").state == "error"


@pytest.mark.parametrize("part", ["cache", "broker"])
def test_a_page_about_what_is_broken_is_not_broken_itself(browser, monkeypatch, part):
    if part == "cache":
        from django.core.cache.backends.redis import RedisCache

        away = RedisCache("redis://127.0.0.1:1/0", {})
        monkeypatch.setattr(operations, "cache", away)
        monkeypatch.setattr(errors, "cache", away)
        assert fact(page(browser), "Cache").state == "error"
    else:
        monkeypatch.setattr(queue, "current_app", Celery(broker="redis://127.0.0.1:1/0", set_as_current=False))
        assert "does not answer" in fact(page(browser), "Queue").note


def test_the_queue_shows_how_many_wait_and_for_how_long_the_oldest(browser, tmp_path, monkeypatch):
    assert fact(page(browser), "Queue").note == "Empty."
    away = Celery(broker="folder://localhost", set_as_current=False)
    away.conf.broker_transport_options = {"folder": str(tmp_path)}
    monkeypatch.setattr(queue, "current_app", away)
    assert fact(page(browser), "Queue").note == "Empty."
    for _ in range(2):
        away.send_task("config.heartbeat")
    found = fact(page(browser), "Queue")
    assert found.state == "ready"
    assert found.note.startswith("2 nudges waiting. The oldest has waited for 0.")
    monkeypatch.setattr(queue.time, "time", lambda now=time.time: now() + 60)
    assert fact(page(browser), "Queue").state == "error"
    with away.connection_for_read() as connection:
        channel = connection.channel()
        assert isinstance(channel, Channel)
        assert channel._size("celery") == 2, "looking takes nothing away"


@pytest.mark.only("redis")
def test_the_oldest_message_is_seen_in_redis_too(settings, monkeypatch):
    away = Celery(broker=settings.LAMBDA_REDIS_URL, set_as_current=False)
    monkeypatch.setattr(queue, "current_app", away)
    with away.connection_for_write() as connection:
        connection.channel().queue_purge("celery")
    assert queue.waiting() == (0, None)
    for _ in range(2):
        away.send_task("config.heartbeat")
    depth, oldest = queue.waiting()
    assert depth == 2
    assert 0 <= oldest < 60


def test_the_clock_is_heard_when_it_sends_and_the_worker_when_it_carries_out():
    cache.delete_many([queue.CLOCK, health.HEARTBEAT])
    current_app.send_task("config.heartbeat")
    assert cache.get(queue.CLOCK)
    assert cache.get(health.HEARTBEAT) is None
    make.work()
    assert cache.get(health.HEARTBEAT)


def test_a_stuck_row_is_shown_with_why_and_tried_again_by_its_button(browser):
    row = make.make_instance(state="provisioning", name="stuck-one")
    assert not page(browser).context["stuck"], "it has only just begun"
    for _ in range(5):
        row.refresh_from_db()
        instances.postpone(instance=row, reason="The disk is <full>")
    Instance.objects.update(updated_at=timezone.now() - timedelta(minutes=5))
    found = page(browser)
    assert "1 row stuck" in found.text
    assert "The disk is &lt;full&gt;" in found.text
    assert "5 minutes ago" in found.text

    make.work()
    [one] = found.context["stuck"]
    with TestCase.captureOnCommitCallbacks(execute=True):
        browser.post(one["retry"], {"action": "retry", "_selected_action": row.pk, "of_row": "1"})
    row.refresh_from_db()
    assert (row.attempts, row.state) == (0, "provisioning")
    assert Event.objects.first().data["reason"] == "Tried again"
    assert make.work() == ["compute.reconcile"]
    row.refresh_from_db()
    assert row.state == "running"
    assert not page(browser).context["stuck"]


def test_what_failed_is_shown_and_tried_again_towards_what_was_asked_for(browser):
    row = make.make_instance(state="error")
    found = page(browser)
    assert "Instance failed" in found.text
    assert "The disk is full" in found.text
    instances.retry(instance=row, by=make.SYSTEM)
    row.refresh_from_db()
    assert (row.state, row.desired_state) == ("starting", "running")


def test_there_is_nothing_to_try_again_where_all_is_as_it_should_be():
    with pytest.raises(instances.InvalidState, match="nothing to try again"):
        instances.retry(instance=make.make_instance(), by=make.SYSTEM)


def test_an_error_of_the_platform_is_shown_with_its_place_and_without_what_somebody_sent(browser):
    cache.delete(errors.LAST)
    handler = errors.Remember()
    try:
        raise ValueError("hunter2")
    except ValueError:
        record = logging.LogRecord(
            "django.request", logging.ERROR, "x.py", 1, "Internal Server Error: %s", ("/v1/x",), None
        )
        record.exc_info = __import__("sys").exc_info()
    handler.emit(record)
    text = page(browser).text
    assert "Internal Server Error: /v1/x" in text
    assert "ValueError in test_operations.py" in text
    assert "hunter2" not in text


def test_a_storm_of_errors_is_kept_as_a_few(caplog):
    cache.delete(errors.LAST)
    handler = errors.Remember()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "again", (), None)
    for _ in range(100):
        handler.emit(record)
    assert len(errors.last()) == 1


@pytest.mark.only("sqlite")  # in one transaction nothing is committed yet, as PostgreSQL sees it
def test_seals_that_fall_behind_are_named(browser):
    audit.seal()
    make.make_account()
    assert fact(page(browser), "Audit log").state == "ready", "a second is nothing"
    Event.objects.update(at=timezone.now() - timedelta(seconds=30))
    assert fact(page(browser), "Audit log").state == "error"


def test_the_page_takes_as_many_queries_whatever_there_is(browser, django_assert_max_num_queries):
    make.make_instance(state="provisioning")
    Instance.objects.update(updated_at=timezone.now() - timedelta(minutes=5))
    page(browser)
    with django_assert_max_num_queries(25) as few:
        page(browser)
    for _ in range(4):
        make.make_instance(state="provisioning")
        make.make_instance(state="error")
    Instance.objects.update(updated_at=timezone.now() - timedelta(minutes=5))
    with django_assert_max_num_queries(len(few)):
        assert len(page(browser).context["stuck"]) == 5
