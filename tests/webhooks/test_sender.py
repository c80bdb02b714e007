"""Where a delivery never goes: no address of the corpus is dialled, whatever names, redirects or spellings lead there."""

import asyncio
import socket
import threading
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from core import ids
from tests.webhooks.receiver import Receiver, Reply
from webhooks import sender, targets
from webhooks.actions.attempts import Claimed, Outcome
from webhooks.targets import Allowed

# By their meaning: this machine, its neighbours, its cloud, everybody at once, nobody, and all that only looks public.
ADDRESSES = (
    "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 127.0.0.1 127.0.0.53 127.255.255.254 169.254.0.1 "
    "169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.254 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1 "
    "192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 "
    "240.0.0.1 255.255.255.255 168.63.129.16 100.100.100.200 "
    ":: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 "
    "2001::1 2001:db8::1 2001:10::1 2002:7f00:1::1 2002:a9fe:a9fe::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 "
    "fec0::1 ff02::1"
).split()
SPELLINGS = (
    "https://127.1/ https://2130706433/ https://0x7f000001/ https://0x7f.1/ https://0177.0.0.1/ https://127.0.0.1./ "
    "https://①②⑦.0.0.1/ https://127。0。0。1/ https://[::ffff:7f00:1]/ https://[0:0:0:0:0:0:0:1]/ https://[::1%25lo]/ "
    "https://localhost/ https://LOCALHOST/ https://localhost./ https://a.localhost/ https://0/ https://00000/ "
    "https://user@127.0.0.1/ https://example.com@127.0.0.1/ https://127.0.0.1#@example.com/ https://127.0.0.1\\@example.com/ "
    "https://example.com:22/ https://example.com:6379/x http://example.com/ ftp://example.com/ file:///etc/passwd "
    "gopher://127.0.0.1:70/ https:/127.0.0.1/ //127.0.0.1/ 127.0.0.1 https://127.0.0.1:443:443/ https://exa mple.com/ "
    "https://%31%32%37.0.0.1/"
).split(" ")
URLS = [*(f"https://{f'[{one}]' if ':' in one else one}/" for one in ADDRESSES), *SPELLINGS]


@pytest.fixture
def dialled(monkeypatch):
    """Every address that something tries to connect to; it never gets there."""
    seen = []

    async def connect(loop, sock, address):
        seen.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect)
    return seen


def resolve_to(monkeypatch, *answers):
    """Names resolve to these addresses, one answer after the other; the last one stays."""
    left = list(answers)

    async def getaddrinfo(loop, host, port, *, family=0, type=0, proto=0, flags=0):
        found = left.pop(0) if len(left) > 1 else left[0]
        kinds = [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in found]
        return [(kind, socket.SOCK_STREAM, 6, "", (one, port)) for kind, one in kinds]

    monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", getaddrinfo)


def send(*urls):
    """What came of an attempt at each url."""

    async def run():
        async with sender.open_session() as session:
            outcomes = [Outcome(claimed(), datetime.now(UTC), url, {}, "") for url in urls]
            await asyncio.gather(*(sender.attempt(session, outcome, b"{}") for outcome in outcomes))
            return outcomes

    return asyncio.run(run())


def claimed():
    return Claimed(ids.new(), ids.new(), 1, 1, 10, 0, ids.new())


@pytest.mark.parametrize("loopback", [False, True])
def test_no_forbidden_literal_and_no_odd_spelling_is_dialled(dialled, monkeypatch, settings, loopback):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=loopback)
    resolve_to(monkeypatch, ["127.0.0.1"])
    forbidden = [url for url in URLS if not (loopback and url in HERE)]
    outcomes = send(*forbidden)
    assert dialled == []
    assert {outcome.error.partition(":")[0] for outcome in outcomes} == {"Not sent"}
    assert len(ADDRESSES) >= 40


HERE = ("https://127.0.0.1/ https://127.0.0.53/ https://127.255.255.254/ https://[::1]/ https://localhost/").split()


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_name_leads_to_a_forbidden_address(dialled, monkeypatch, settings, address):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    resolve_to(monkeypatch, [address])
    (outcome,) = send("https://receiver.example/")
    assert dialled == []
    assert outcome.error == f"Not sent: {address} is not an address on the Internet." or ":" in address
    assert outcome.status is None


def test_a_name_with_one_forbidden_address_among_good_ones_is_not_dialled_at_all(dialled, monkeypatch, settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed()
    resolve_to(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    send("https://receiver.example/")
    assert dialled == []


def test_a_name_that_resolves_otherwise_a_moment_later_gains_nothing(dialled, monkeypatch, settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed()
    resolve_to(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    send("https://receiver.example/")
    send("https://receiver.example/")
    assert {address[0] for address in dialled} == {"8.8.8.8"}


def test_only_what_was_checked_is_dialled_on_the_internet(dialled, monkeypatch, settings):
    """The other side of the corpus: what is allowed is really tried, so that the tests above can fail."""
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed()
    resolve_to(monkeypatch, ["8.8.8.8", "2606:4700::1111"])
    send("https://receiver.example:8443/")
    assert {address[:2] for address in dialled} == {("8.8.8.8", 8443), ("2606:4700::1111", 8443)}


def test_what_the_operator_allows_is_dialled_and_its_neighbours_are_not(dialled, monkeypatch, settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed.parse(["10.1.0.0/16"])
    resolve_to(monkeypatch, ["10.1.2.3"], ["10.2.2.3"])
    send("https://inside.example/")
    send("https://inside.example/")
    send("https://10.1.9.9/", "https://10.3.9.9/")
    assert {address[0] for address in dialled} == {"10.1.2.3", "10.1.9.9"}


def test_the_addresses_of_this_machine_are_known():
    mine = [str(network.network_address) for network in targets.own(-1) if network.num_addresses == 1]
    assert "127.0.0.1" in mine
    for address in mine:
        if not address.startswith("fe80:"):  # which name their interface too
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as bound:
                bound.bind((address, 0))


@pytest.mark.parametrize(
    ("address", "url"), [("8.8.8.8", "https://8.8.8.8/"), ("2606:4700::1", "https://[2606:4700::1]/")]
)
def test_a_public_address_of_this_machine_is_dialled_only_where_the_operator_allows_it(
    dialled, monkeypatch, settings, address, url
):
    monkeypatch.setattr(targets, "own", lambda _: [ip_network(address)])
    resolve_to(monkeypatch, [address])
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    refused = send(url, "https://receiver.example/")
    assert {outcome.error for outcome in refused} == {
        f"Not sent: {address} is this machine, not a receiver on the Internet."
    }
    assert dialled == []
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed.parse([address])
    send(url, "https://receiver.example/")
    assert [found[0] for found in dialled] == [address] * 2


def test_an_address_that_becomes_this_machines_own_is_dialled_no_more(dialled, monkeypatch, settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed()
    send("https://8.8.4.4/")
    monkeypatch.setattr(targets, "own", lambda _: [ip_network("8.8.4.4")])
    for module in (targets, sender):
        monkeypatch.setattr(module, "moment", lambda: -1)
    (refused,) = send("https://8.8.4.4/")
    assert [address[0] for address in dialled] == ["8.8.4.4"]
    assert "is this machine" in refused.error


def test_a_name_that_no_name_server_could_know_is_said_not_to_resolve(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed()
    (outcome,) = send(f"https://{'a' * 64}.example/")
    assert outcome.error == "The name of the receiver cannot be resolved."


def test_loopback_is_reached_by_its_literal_names_over_http_and_by_no_other_name(monkeypatch, settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    with Receiver() as receiver:
        port = receiver.server.server_port
        resolve_to(monkeypatch, ["127.0.0.1"])
        answers = send(f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", f"http://receiver.example:{port}/")
    assert [answer.status for answer in answers] == [200, 200, None]
    assert len(receiver.got) == 2


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/", "http://127.0.0.1:{port}/inner", "/inner"])
def test_a_redirect_leads_nowhere(settings, target):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    with Receiver() as receiver:
        receiver.reply = Reply(307, {"Location": target.format(port=receiver.server.server_port)})
        (outcome,) = send(receiver.url)
    assert (outcome.status, len(receiver.got)) == (307, 1)
    assert not outcome.delivered


def test_a_proxy_of_the_environment_is_not_used(monkeypatch, settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    with Receiver() as receiver, Receiver() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server.server_port}")
        send(receiver.url)
    assert (len(receiver.got), len(proxy.got)) == (1, 0)


def test_an_endless_answer_is_cut_off_and_counts_by_its_status(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    with Receiver(Reply(200, body=b"\xff\x00" * 5_000_000)) as receiver:
        (outcome,) = send(receiver.url)
    assert outcome.delivered
    assert outcome.response_body == "\ufffd" * 4096


ENDLESS = "Wed, 21 Oct 20150000000000000000 07:28:00 GMT"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("", 0), ("soon", 0), ("-5", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), (ENDLESS, 0)],
)
def test_a_retry_after_is_read_as_far_as_it_can_be(header, seconds):
    assert sender._wish(header) == seconds


def test_a_receiver_that_is_not_there_is_told_from_one_that_hangs_up(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (nobody,) = send(f"http://127.0.0.1:{port}/")
    assert "cannot be reached" in nobody.error
    with Receiver(lambda _: 1 / 0) as rude:
        (cut,) = send(rude.url)
    assert "without an answer" in cut.error


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"HTTP/1.0 204 No Content\r\n\r\nthanks", "Data after `Connection: close`: b'thanks'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "Duplicate Content-Length"),
        (b"hello\0\r\n\r\n", r"b'hello\x00'"),
    ],
)
def test_what_is_wrong_with_an_answer_that_is_not_http_is_said(settings, answer, wrong):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        (outcome,) = send(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert not outcome.delivered
    assert wrong in outcome.error
