"""The way out of instances: what it lets through, what it refuses, and that an instance uses it unasked."""

import asyncio
import contextlib

import pytest

from node import proxy
from node.proxy import Proxy, is_public


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111"])
def test_public_addresses_are_allowed(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.64.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "2002:7f00:1::", "2001:0:7f00:1::", "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_addresses_of_this_host_its_networks_and_tunnels_to_them_are_not(address):
    assert not is_public(address)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what it got, as HTTP."""
    data = await reader.read(65536)
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data)
    writer.close()


async def ask(request: str, allow=lambda address: True) -> bytes:
    """One request through a proxy to a server, both on this machine: 127.0.0.2, called from 127.0.0.1, is a stranger."""
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(await asyncio.start_server(echo, "0.0.0.0", 0))
        front = await asyncio.start_server(Proxy(allow).serve, "127.0.0.1", 0, limit=proxy.HEAD_BYTES)
        await stack.enter_async_context(front)
        reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
        port = origin.sockets[0].getsockname()[1]
        writer.write(request.replace("PORT", str(port)).encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer


def through(request: str, **options) -> bytes:
    return asyncio.run(ask(request, **options))


def test_a_plain_request_is_passed_on_in_origin_form_without_what_is_for_the_proxy():
    answer = through(
        "GET http://127.0.0.2:PORT/a?b=c HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\n\r\nGET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" in answer


def test_a_tunnel_carries_bytes_both_ways():
    answer = through("CONNECT 127.0.0.2:PORT HTTP/1.1\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
    assert answer.endswith(b"hello")


@pytest.mark.parametrize(
    "target", ["GET http://127.0.0.1:PORT/", "CONNECT 127.0.0.1:PORT", "CONNECT localhost:PORT", "CONNECT [::1]:PORT"]
)
def test_a_target_on_this_machine_is_forbidden_in_words(target):
    answer = through(f"{target} HTTP/1.1\r\n\r\n", allow=is_public)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden")
    assert b"not a public address" in answer


def test_an_address_that_is_this_machines_own_is_forbidden_however_public():
    answer = through("CONNECT 127.0.0.1:PORT HTTP/1.1\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden")


@pytest.mark.parametrize(
    "junk",
    ["hello\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET ftp://x/ HTTP/1.1\r\n\r\n", "CONNECT x:port HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_proxy_request_is_a_bad_request(junk):
    assert through(junk).startswith(b"HTTP/1.1 400 Bad Request")


def test_a_target_that_does_not_answer_is_a_bad_gateway():
    assert through("GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 502 Bad Gateway")


def test_an_instance_uses_the_proxy_unasked_and_reaches_nothing_of_the_host(agent):
    seen = agent.create()
    targets = "http://10.0.0.1/ http://169.254.169.254/latest/ http://127.64.0.1/"
    status = f"for target in {targets}; do curl -s -o /dev/null -w '%{{http_code}} ' $target; done"
    assert agent.run(seen, status).split() == ["403", "403", "403"]
    known = "python3 -c 'import urllib.request as u; print(sorted(u.getproxies()))'"
    assert agent.run(seen, known) == "['http', 'https', 'no']"
    assert agent.run(seen, "apt-config dump Acquire::http::Proxy") == 'Acquire::http::Proxy "http://127.0.0.1:3128";'
