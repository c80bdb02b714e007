"""Where a delivery may go. Rules over addresses and URLs: no database, no network.

What may be reached is decided twice: literals when the webhook is made and before each sending, names by the addresses
that they resolve to, of which only those that were checked are dialled (`sender.py`). The list of what is forbidden is
our own: Python's `is_global` is true for addresses that embed 127.0.0.1.
"""

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Self

from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORBIDDEN = [
    ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 "
        "203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32 "  # the last: a cloud's metadata on a public address
        # Of IPv6 only 2000::/3 is the Internet; in it, what tunnels, documents or means something else.
        "::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20"
    ).split()
]
LOOPBACK = "loopback"
# Scheme, host and port as written: what a URL library makes of odd spellings must be what stood there.
_URL = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[^\s/?#@:\[\]\\%]+)(?::([0-9]{1,5}))?([/?][^\s#\\]*)?")
_NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\.?")
MAX_URL = 2000  # characters
MEMORY = 30  # seconds that this machine's addresses are remembered


class ForbiddenTarget(Exception):
    """Nothing is sent there; the text says why."""


@dataclass(frozen=True)
class Allowed:
    """What the operator allows beyond the Internet: networks, and with `loopback` this machine by its literal names."""

    networks: tuple[Network, ...] = ()
    loopback: bool = False

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """From CIDRs and the word `loopback`. Raises ValueError for anything else."""
        words = list(words)
        networks = tuple(ip_network(word) for word in words if word != LOOPBACK)
        return cls(networks, LOOPBACK in words)

    def check_address(self, address: Address) -> None:
        """Raises ForbiddenTarget for an address that nothing may be sent to."""
        if any(address in network for network in self.networks):
            return
        if any(address in network for network in FORBIDDEN):
            raise ForbiddenTarget(f"{address} is not an address on the Internet")
        # Whatever address it has: what listens here may trust whoever calls from here.
        if any(address in network for network in own(moment())):
            raise ForbiddenTarget(f"{address} is this machine, not a receiver on the Internet")

    def check_url(self, text: str) -> URL:
        """The URL as it will be dialled. Raises ForbiddenTarget; whether a name leads somewhere is not asked here."""
        found = _URL.fullmatch(text) if len(text) <= MAX_URL else None
        if not found:
            raise ForbiddenTarget("url must read https://host/path, without user name, spaces and #")
        scheme, host, port, _ = found.groups()
        try:
            url = URL(text)
        except ValueError as wrong:
            raise ForbiddenTarget(f"url cannot be read: {wrong}") from None
        here = self.loopback and _is_here(host)
        if scheme != "https" and not here:
            raise ForbiddenTarget("url must begin with https://: what is sent in the clear can be read on its way")
        if port is not None and not (int(port) in (80, 443) or 1024 <= int(port) <= 65535):
            raise ForbiddenTarget(f"port {port} cannot be used: 80, 443 and 1024 to 65535 can")
        if not here:
            self._check_host(host, url.raw_host or "")
        return url

    def _check_host(self, host: str, dialled: str) -> None:
        """A literal address must be allowed and spelled in the usual way; a name must be one of the DNS."""
        literal = _literal(dialled)
        if literal is not None:
            if host.strip("[]").lower() != str(literal):
                raise ForbiddenTarget(f"{host} is an unusual spelling of {literal}")
            return self.check_address(literal)
        name = dialled.rstrip(".").lower()
        if _NUMERIC.fullmatch(name.rpartition(".")[2]):
            raise ForbiddenTarget(f"{host} is an unusual spelling of an address")
        if name == "localhost" or name.endswith(".localhost"):
            raise ForbiddenTarget(f"{host} is this machine, not a receiver on the Internet")
        return None


def moment() -> int:
    """The same number for as long as this machine's addresses are remembered."""
    return int(time.monotonic() // MEMORY)


@lru_cache(maxsize=1)
def own(_moment: int) -> list[Network]:
    """What this machine takes for itself, as Linux tells it; read anew for each moment."""
    found: list[Network] = []
    with suppress(FileNotFoundError):
        for line in Path("/proc/net/fib_trie").read_text().splitlines():  # "|-- 192.0.2.7", then "/32 host LOCAL"
            words = line.split()
            if words[0] == "|--":
                leaf = words[1]
            elif words[1:] == ["host", "LOCAL"]:
                found.append(ip_network(leaf + words[0]))
    with suppress(FileNotFoundError):  # without IPv6
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
        found += [ip_network(bytes.fromhex(line[:32])) for line in lines]
    return found


def _is_here(host: str) -> bool:
    """Exactly a literal of 127.0.0.0/8, `[::1]` and `localhost`: every other spelling of them is somewhere else."""
    if host in ("localhost", "[::1]"):
        return True
    literal = _literal(host)
    return isinstance(literal, IPv4Address) and literal.is_loopback and str(literal) == host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
