"""What the dispatcher goes on through: names that hang, a cache that is away, and what nobody has thought of."""

import socket
import threading
from types import SimpleNamespace

import pytest
from redis import RedisError

from core.context import SYSTEM
from tests import make
from tests.webhooks.receiver import Receiver, Reply, dispatching, until
from webhooks import dispatcher as module
from webhooks.actions import deliveries
from webhooks.models import Attempt, Delivery
from webhooks.targets import Allowed

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.db]


@pytest.fixture(autouse=True)
def this_machine_is_allowed(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)


def raising(failure):
    def act(*_, **__):
        raise failure

    return act


def test_names_that_hang_hold_up_no_other_name(monkeypatch):
    """Somebody's own name server answers when it likes, and what waits for it cannot be broken off."""
    hold, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **options):
        if host.startswith("slow"):
            hold.wait()
        return real("127.0.0.1", port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(Allowed, "check_address", lambda *_: None)
    monkeypatch.setattr("webhooks.sender.PATIENCE", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    account = make.make_account()
    quick = make.make_webhook(account, url=f"https://quick.example:{port}/", events=["ssh_key.*"])
    for number in range(20):
        slow = make.make_webhook(account, url=f"https://slow{number}.example/", events=["ssh_key.*"])
        for _ in range(module.IN_FLIGHT):
            make.make_delivery(slow)
    with dispatching():
        try:
            until(lambda: Delivery.objects.exclude(lease=None).count() == 80)
            make.make_delivery(quick)
            attempt = until(Attempt.objects.filter(delivery__endpoint=quick).first)
        finally:
            hold.set()
    assert "cannot be reached" in attempt.error


def test_deliveries_go_on_where_the_cache_is_away(monkeypatch):
    monkeypatch.setattr(module, "cache", SimpleNamespace(set=raising(RedisError("away"))))
    with Receiver() as receiver:
        make.make_delivery(make.make_webhook(make.make_account(), url=receiver.url, events=["ssh_key.*"]))
        with dispatching():
            until(lambda: receiver.got)


def test_whatever_goes_wrong_in_an_attempt_is_an_attempt(monkeypatch):
    monkeypatch.setattr("webhooks.sender._wish", raising(ZeroDivisionError))
    with Receiver(Reply(200, {"Retry-After": "1"})) as receiver:
        endpoint = make.make_webhook(make.make_account(), url=receiver.url, events=["ssh_key.*"])
        delivery = deliveries.test(endpoint=endpoint, by=SYSTEM)
        with dispatching():
            until(lambda: Delivery.objects.filter(pk=delivery.pk, state="delivered").exists())
    assert len(receiver.got) == 1
