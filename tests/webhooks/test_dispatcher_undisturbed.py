"""What the dispatcher goes on through: slow receivers, names that hang, a cache that is away, and what nobody has thought of."""

import socket
import threading
from types import SimpleNamespace

import pytest
from redis import RedisError

from core.context import SYSTEM
from tests import make
from tests.webhooks.receiver import Receiver, Reply, dispatching, until
from webhooks import dispatcher as module
from webhooks import lanes
from webhooks.actions import deliveries, endpoints
from webhooks.models import Attempt, Delivery, Endpoint
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
        for _ in range(lanes.IN_FLIGHT):
            make.make_delivery(slow)
    with dispatching():
        try:
            until(lambda: Delivery.objects.exclude(lease=None).count() == 80)
            make.make_delivery(quick)
            attempt = until(Attempt.objects.filter(delivery__endpoint=quick).first)
        finally:
            hold.set()
    assert "cannot be reached" in attempt.error


def test_receivers_that_answer_slowly_hold_up_no_other_account(monkeypatch):
    monkeypatch.setattr(lanes, "SOCKETS", 5)
    monkeypatch.setattr(lanes, "SHARE", 3)
    hold, crowd = threading.Event(), make.make_account()
    with Receiver(lambda _: hold.wait() and Reply()) as slow, Receiver() as quick:
        for _ in range(3):
            endpoint = make.make_webhook(crowd, url=slow.url, events=["ssh_key.*"])
            for _ in range(lanes.IN_FLIGHT):
                make.make_delivery(endpoint)
        waiting = Delivery.objects.filter(endpoint__account=crowd)
        other = make.make_webhook(make.make_account(), url=quick.url, events=["ssh_key.*"])
        with dispatching():
            try:
                until(lambda: not waiting.filter(lease=None).exists())
                make.make_delivery(other)
                until(lambda: quick.got)
                assert len(slow.got) == 3
            finally:
                hold.set()
            until(lambda: not waiting.exclude(state="delivered").exists())


def test_410_from_where_deliveries_went_before_does_not_disable_the_new_address():
    asked, answer = threading.Event(), threading.Event()

    def gone(_):
        asked.set()
        answer.wait()
        return Reply(410)

    with Receiver(gone) as old, Receiver() as new:
        endpoint = make.make_webhook(make.make_account(), url=old.url, events=["ssh_key.*"])
        delivery = deliveries.test(endpoint=endpoint, by=SYSTEM)
        with dispatching():
            try:
                until(asked.is_set)
                endpoints.update(endpoint=endpoint, by=SYSTEM, url=new.url)
            finally:
                answer.set()
            until(lambda: Attempt.objects.filter(delivery=delivery, status=410).exists())
    endpoint.refresh_from_db()
    assert endpoint.state == "active"
    assert endpoint.failing_since


def test_a_secret_that_cannot_be_unsealed_stops_its_own_webhook_only():
    account = make.make_account()
    with Receiver() as receiver, Receiver() as witness:
        broken = make.make_webhook(account, url=receiver.url, events=["ssh_key.*"])
        Endpoint.objects.filter(pk=broken.pk).update(sealed_secret="not ours")
        make.make_delivery(broken)
        make.make_delivery(make.make_webhook(account, url=witness.url, events=["ssh_key.*"]))
        with dispatching():
            until(lambda: witness.got)
            assert receiver.got == []
            endpoints.rotate_secret(endpoint=broken, by=SYSTEM)
            until(lambda: receiver.got)


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
