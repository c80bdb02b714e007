"""Whether there is room for one more: memory and disk by what is really used, and addresses."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from node import errors
from node.records import Home

MEMORY_FLOOR_MB, DISK_FLOOR_MB = 256, 1024
ADDRESSES = 256 * 254  # of 127.64.0.0/16, without each network's first and last


def admit(home: Home, memory_mb: int | None) -> None:
    """Refuse to start more on a machine that is nearly full. Raises errors.Capacity.

    `memory_mb` is how much of the machine's memory to plan with, None for all: the rest counts as taken.
    """
    total, available = memory()
    floor = max(MEMORY_FLOOR_MB, total - memory_mb if memory_mb is not None else 0)
    if available < floor:
        raise errors.Capacity(
            f"The node has {available} MB of memory free and keeps {floor} MB. "
            "Stop or delete instances, or add memory or another node."
        )
    free = home.free_disk_mb()
    if free < DISK_FLOOR_MB:
        raise errors.Capacity(
            f"The node has {free} MB of disk free and keeps {DISK_FLOOR_MB} MB. Delete instances or add disk space."
        )


def choose_address(instance_id: str, taken: Collection[str]) -> str:
    """An address in 127.64.0.0/16, from the id: a later instance seldom gets one that an ssh client remembers."""
    first = int.from_bytes(hashlib.sha256(instance_id.encode()).digest()[:4])
    for step in range(ADDRESSES):
        number = (first + step) % ADDRESSES
        address = f"127.64.{number // 254}.{number % 254 + 1}"
        if address not in taken:
            return address
    raise errors.Capacity(f"All {ADDRESSES} addresses of the node are taken. Delete instances or add another node.")


def memory() -> tuple[int, int]:
    """Total and available memory of the machine, in MB."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(facts[name].split()[0]) >> 10 for name in ("MemTotal", "MemAvailable"))
    return total, available
