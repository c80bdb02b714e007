"""`/healthz` and `/readyz`, which tell an operator and a load balancer what is missing."""

import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from compute.models import Node
from config import health, tasks
from functions.models import Runner


@pytest.fixture(autouse=True)
def everything_runs(monkeypatch, request):
    tasks.heartbeat()
    cache.set(health.DISPATCHER, time.time())
    if "django_db" in request.keywords:
        request.getfixturevalue("db")
        for model in (Node, Runner):
            model.objects.update_or_create(name="local", defaults={"ok": True, "seen_at": timezone.now()})
    monkeypatch.setattr(health, "_migrated", False)
    yield
    cache.delete_many([health.HEARTBEAT, health.DISPATCHER])


@pytest.mark.django_db
def test_ready_when_all_parts_answer(client):
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_a_silent_worker_makes_it_unready_and_is_named(client):
    cache.set(health.HEARTBEAT, time.time() - health.HEARTBEAT_AGE - 1)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "missing": {"worker": "no worker has been heard for 20 s"}}


@pytest.mark.django_db
def test_a_silent_webhook_dispatcher_is_named_too(client):
    cache.delete(health.DISPATCHER)
    assert client.get("/readyz").json()["missing"] == {"dispatcher": "no webhook dispatcher has been heard for 20 s"}


@pytest.mark.django_db
def test_without_the_shared_cache_nobody_can_say_whether_a_worker_runs(client, monkeypatch):
    from django.core.cache.backends.redis import RedisCache

    monkeypatch.setattr(health, "cache", RedisCache("redis://127.0.0.1:1/0", {}))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "the cache" in response.json()["missing"]["worker"]


@pytest.mark.django_db
def test_a_missing_migration_makes_it_unready_and_says_what_to_run(client):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "manage.py migrate" in response.json()["missing"]["database"]


@pytest.mark.django_db
def test_a_node_that_cannot_run_instances_says_why_and_how_to_mend_it(client):
    Node.objects.update(ok=False, reason="User namespaces are switched off.", remedy="Switch them on.")
    assert client.get("/readyz").json()["missing"] == {"node": "User namespaces are switched off. Switch them on."}


@pytest.mark.django_db
def test_a_runner_that_cannot_run_functions_says_why(client):
    Runner.objects.update(ok=False, reason="The function runner is not running.")
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["missing"] == {"runner": "The function runner is not running."}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "part", "who"), [(Node, "node", "node agent"), (Runner, "runner", "function runner")]
)
def test_what_was_not_seen_for_a_minute_or_never_is_missing(client, model, part, who):
    model.objects.update(seen_at=timezone.now() - health.NODE_AGE - timedelta(seconds=1))
    assert client.get("/readyz").json()["missing"][part].startswith(f"the {who} was last seen at")
    model.objects.all().delete()
    assert client.get("/readyz").json()["missing"] == {part: f"the {who} has not been seen yet"}


def test_alive_needs_no_database(client):
    assert client.get("/healthz").status_code == 200
