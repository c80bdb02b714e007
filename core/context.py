"""Who acts, and in which request: what events and log lines are stamped with. Set at the edges, read here."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

request_id: ContextVar[str] = ContextVar("request_id", default="")
ip: ContextVar[str] = ContextVar("ip", default="")
via: ContextVar[str] = ContextVar("via", default="system")  # api, dashboard, admin, cli or system


@dataclass(frozen=True)
class Actor:
    """Who did it: a user, an API key, an OAuth token or the platform itself. `id` is the public id."""

    kind: str
    id: str = ""
    name: str = ""


SYSTEM = Actor("system", "", "Lambda")


@contextmanager
def acting(*, through: str, request: str = "", address: str = "") -> Iterator[None]:
    """Stamp everything recorded in this block with where it came from."""
    tokens = [(via, via.set(through)), (request_id, request_id.set(request)), (ip, ip.set(address))]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)
