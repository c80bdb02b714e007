"""Usage that is counted where it happens: so many executions in an hour, not a thing that is held from then until then.

What is held is metered by events (`core.events.Meter`). What happens thousands of times a second is no event each: the
app that counts it keeps exact sums by the hour, and `read` hands them to whoever bills, without either importing the
other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Counted:
    """`quantity` units of `sku` that a resource used, each at `rate` USD. `gigabyte_hours` of memory are among them."""

    resource: UUID
    sku: str
    quantity: Decimal
    rate: Decimal
    gigabyte_hours: Decimal = Decimal(0)

    @property
    def cost(self) -> Decimal:
        """USD, to 12 decimals."""
        return (self.quantity * self.rate).quantize(Decimal("1e-12"))


# Of an account, from a moment until another, both full hours (UTC).
Reader = Callable[[Any, datetime, datetime], Iterable[Counted]]
_readers: list[Reader] = []


def count(reader: Reader) -> None:
    """Make a reader known. Called by the app that counts, when it is loaded."""
    if reader not in _readers:
        _readers.append(reader)


def read(account_id: UUID, start: datetime, end: datetime) -> Iterator[Counted]:
    """Everything counted for an account in the hours from `start` until `end`, an entry for each thing and rate."""
    for reader in _readers:
        yield from reader(account_id, start, end)
