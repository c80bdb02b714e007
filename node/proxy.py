"""The way out of an instance: an HTTP proxy that listens inside it and connects from here, to public addresses only."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

PORT = 3128
HEAD_BYTES = 1 << 16
CONNECT_SECONDS = 15
NAT64 = ipaddress.ip_network("64:ff9b::/96")
HOP_BY_HOP = {b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive", b"te", b"upgrade"}


class Refused(Exception):
    """Why, with the status line to answer."""


def is_public(address: str) -> bool:
    """Whether anybody on the internet may call it: not this host, its networks, a cloud's metadata or tunnels there."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip in NAT64):
        return False
    return ip.is_global and not ip.is_multicast


class Proxy:
    """Serves CONNECT and absolute-form requests. `allow` decides on the resolved address that is then connected to."""

    def __init__(self, allow: Callable[[str], bool] = is_public) -> None:
        self.allow = allow

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from inside, one request."""
        upstream = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                host, port, first = parse(head)
                there, upstream = await self.connect(host, port)
            if first:
                upstream.write(first)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, upstream), pump(there, writer))
        except Refused as error:
            answer(writer, *error.args)
        except (OSError, TimeoutError) as error:
            answer(writer, "502 Bad Gateway", f"The connection could not be made: {error or 'it took too long'}.")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            answer(writer, "400 Bad Request", "This is a proxy for HTTP; the request could not be read.")
        finally:
            for side in (writer, upstream):
                if side is not None:
                    side.close()

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of the host's addresses that is allowed and answers. Raises Refused and OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [address for address in (str(where[0]) for *_, where in found) if self.allow(address)]
        failure: Exception = Refused(
            "403 Forbidden", f"{host} is not a public address, and instances may only reach those."
        )
        for address in addresses:
            try:
                # The address that was checked, not the name: it may resolve to another one a moment later.
                there, upstream = await asyncio.open_connection(address, port, limit=HEAD_BYTES)
            except OSError as error:
                failure = error
                continue
            # Who is called from his own address is this host, by a public one: what listens here may trust it.
            if upstream.get_extra_info("sockname")[0] != address:
                return there, upstream
            upstream.close()
        raise failure


def parse(head: bytes) -> tuple[str, int, bytes]:
    """Host, port and what to send there first: nothing for CONNECT. Raises ValueError."""
    request, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    method, target, _ = request.split(b" ", 2)
    url = urlsplit(("//" if method == b"CONNECT" else "") + target.decode("ascii"))
    if not url.hostname or (method != b"CONNECT" and url.scheme != "http"):
        raise ValueError(target)
    if method == b"CONNECT":
        return url.hostname, url.port or 443, b""
    kept = [line for line in lines if line.split(b":", 1)[0].strip().lower() not in HOP_BY_HOP]
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    first = b"\r\n".join([b"%s %s HTTP/1.1" % (method, path.encode()), *kept, b"Connection: close"]) + b"\r\n\r\n"
    return url.hostname, url.port or 80, first


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the end of `source`, then end `sink`."""
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


def answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode()
    writer.write(f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n".encode())
    writer.write(b"Connection: close\r\n\r\n" + body)
