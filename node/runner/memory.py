"""How much memory a sandbox uses: from its cgroup where there is one, else added up over its processes."""

import contextlib
import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
PEAKS = ("memory.max_usage_in_bytes", "memory.peak")
KILLS = ("memory.oom_control", "memory.events")


def descendants(pid: int) -> list[int]:
    """All processes below one, its parent's before their children's."""
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop(0)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    children = [int(child) for child in file.read().split()]
                found += children
                todo += children
    return found


def resident(pids: list[int]) -> int:
    """Bytes that these processes hold together; what they share counts for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
            total += int(file.read().split()[1]) * PAGE
    return total


def proportional(pids: list[int]) -> int:
    """Bytes that these processes hold together; what n share counts an n-th for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    return total


class Memory:
    """Of one sandbox. `pid` is its bootstrap's."""

    def __init__(self, groups: list[Path], pid: int) -> None:
        self.pid = pid
        self.highest = 0  # as far as we have looked
        self.peak_fd = self._open(groups, PEAKS)
        self.kills_fd = self._open(groups, KILLS)
        self.peak()  # it may end before it is asked again

    @staticmethod
    def _open(groups: list[Path], names: tuple[str, ...]) -> int:
        for group in groups:
            for name in names:
                with contextlib.suppress(OSError):
                    return os.open(group / name, os.O_RDONLY | os.O_CLOEXEC)
        return -1

    def peak(self) -> int:
        """The most bytes it has ever used."""
        with contextlib.suppress(OSError, ValueError):
            if self.peak_fd >= 0:
                return int(os.pread(self.peak_fd, 64, 0))
            with open(f"/proc/{self.pid}/status") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        self.highest = max(self.highest, int(line.split()[1]) << 10)
                        break
        return self.highest

    def exceeds(self, limit: int) -> bool:
        """Whether its processes hold more bytes than that now; for where no cgroup limits them."""
        pids = [self.pid, *descendants(self.pid)]
        now = resident(pids)
        if now > limit and len(pids) > 1:
            now = proportional(pids)  # exact, but costs much more
        self.highest = max(self.highest, now)
        return now > limit

    def was_killed(self) -> bool:
        """Whether the kernel ended a process of it for want of memory."""
        with contextlib.suppress(OSError):
            if self.kills_fd >= 0:
                for line in os.pread(self.kills_fd, 512, 0).splitlines():
                    if line.startswith(b"oom_kill "):
                        return int(line.split()[1]) > 0
        return False

    def close(self) -> None:
        for fd in (self.peak_fd, self.kills_fd):
            if fd >= 0:
                os.close(fd)
        self.peak_fd = self.kills_fd = -1
