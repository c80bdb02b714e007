"""One attempt at a delivery: an HTTP request that reaches only where it may. What is due, and when: `dispatcher.py`.

Names are resolved once per connection, every address is checked, and only those are dialled, so a name that resolves
differently a moment later gains nothing. No redirects, no proxies, no cookies; at most 4 KiB of the answer are read.
"""

import asyncio
import socket
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings
from yarl import URL

from webhooks.actions.attempts import Outcome
from webhooks.targets import Allowed, ForbiddenTarget, moment

PATIENCE = 10.0  # seconds from dialling to the answer's status
KEPT_BYTES = 4096  # of an answer's body, and of its headers
AGENT = "Lambda-Webhooks/1"


@lru_cache(maxsize=4096)  # refusals are not remembered
def _target(allowed: Allowed, text: str, _moment: int) -> URL:
    """For a moment only: the address in a URL may become this machine's own."""
    return allowed.check_url(text)


class CheckedResolver(AbstractResolver):
    """Addresses of a name, if nothing is sent to forbidden ones thereby. Raises ForbiddenTarget."""

    def __init__(self, allowed: Allowed):
        self.allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if (
            host == "localhost" and self.allowed.loopback
        ):  # its two addresses, whatever the resolver of the machine says
            found = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
        else:
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
            found = [(info[0], str(info[4][0])) for info in infos]
            for _, address in found:
                self.allowed.check_address(ip_address(address.partition("%")[0]))
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=flags)
            for kind, address in found
        ]

    async def close(self) -> None:
        pass


def open_session() -> aiohttp.ClientSession:
    """How many connections there may be at once is for the dispatcher to say."""
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(settings.LAMBDA_WEBHOOK_ALLOW),
        ssl=ssl.create_default_context(),
        use_dns_cache=False,
        limit=0,
        family=socket.AF_UNSPEC,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def attempt(session: aiohttp.ClientSession, outcome: Outcome, body: bytes) -> None:
    """Send, and write into the outcome what came of it. Raises nothing: whatever goes wrong is an outcome."""
    begun = time.perf_counter()
    try:
        url = _target(settings.LAMBDA_WEBHOOK_ALLOW, outcome.url, moment())
        async with asyncio.timeout(PATIENCE):
            async with session.post(url, data=body, headers=outcome.request_headers, allow_redirects=False) as answer:
                outcome.duration_ms = _milliseconds(begun)
                outcome.status = answer.status
                outcome.response_headers = _kept_headers(answer)
                if "Retry-After" in answer.headers:
                    outcome.wish = _wish(answer.headers["Retry-After"])
                await _read(answer, outcome)
    except TimeoutError:
        # Once there is a status it decides, however long the rest of the answer takes.
        outcome.error = f"There was no answer within {PATIENCE:g} s." if outcome.status is None else ""
    except ForbiddenTarget as forbidden:
        outcome.error = f"Not sent: {forbidden}."
    except Exception as failure:  # whatever it is: what is not written down is sent again for ever
        if outcome.status is None:
            outcome.error = _in_words(failure)
    if outcome.status is None:
        outcome.duration_ms = _milliseconds(begun)
    elif 300 <= outcome.status < 400:
        outcome.error = f"The receiver answered {outcome.status}; redirects are not followed: change the webhook's url."
    elif not outcome.delivered:
        outcome.error = f"The receiver answered {outcome.status}."


async def _read(answer: aiohttp.ClientResponse, outcome: Outcome) -> None:
    """The body's beginning. A longer one is cut off with its connection when the caller lets go of it."""
    kept = b""
    try:
        while len(kept) < KEPT_BYTES and (more := await answer.content.read(KEPT_BYTES - len(kept))):
            kept += more
    finally:
        outcome.response_body = _text(kept)


def _kept_headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    room = KEPT_BYTES
    for name, value in answer.raw_headers:
        room -= len(name) + len(value)
        if room < 0:
            break
        found[_text(name)] = _text(value)
    return found


def _text(raw: bytes) -> str:
    """Whatever it is, as text that every database takes."""
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")


def _wish(header: str) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 where there is none that can be read."""
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the latter for years and zones of twenty digits
        return 0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _in_words(failure: Exception) -> str:
    match failure:
        case aiohttp.ClientConnectorDNSError() | UnicodeError():  # the latter for a label of over 63 characters
            return "The name of the receiver cannot be resolved."
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return f"No secure connection: {failure}"[:300]
        case aiohttp.ClientConnectorError() | ConnectionRefusedError():
            return "The receiver cannot be reached: nobody listens there, or the network does not lead there."
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | aiohttp.ClientOSError():
            return "The receiver closed the connection without an answer."
        case aiohttp.ClientResponseError():  # such as a 204 with a body; what was found where is in the message
            found = " ".join(failure.message.replace("^", "").split())
            return f"The receiver's answer is not HTTP: {found}"[:300]
    return f"The receiver's answer is not HTTP: {type(failure).__name__}"


def _milliseconds(begun: float) -> int:
    return int((time.perf_counter() - begun) * 1000)
