"""Limits the kernel enforces: a cgroup for each instance, version 1 or 2, wherever the agent may make one.

Root always may; an ordinary user may below a delegated version 2 group (`systemd-run --user --scope -p Delegate=yes`).
Groups are made below the agent's own, so that whatever limits the agent limits its instances as well. An instance
remembers its directories, because an agent started from another login has another place of its own.
"""

import errno
import hashlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

CONTROLLERS = ("memory", "cpu", "pids")
PERIOD_US = 100_000


def settings(vcpus: int, memory_mb: int, processes: int) -> dict[str, str]:
    """What to write to which file; a file exists only in the version and controller it belongs to."""
    memory = str(memory_mb << 20)
    quota = str(vcpus * PERIOD_US)
    return {
        "memory.max": memory,
        "memory.swap.max": "0",
        "memory.oom.group": "0",
        "memory.limit_in_bytes": memory,
        "cpu.max": f"{quota} {PERIOD_US}",
        "cpu.cfs_period_us": str(PERIOD_US),
        "cpu.cfs_quota_us": quota,
        "pids.max": str(processes),
    }


def apply(directories: list[Path], wanted: dict[str, str]) -> None:
    """Write the limits. Raises OSError, as when a version 1 group uses more memory than it shall have."""
    for directory in directories:
        for name, value in wanted.items():
            file = directory / name
            if file.exists():
                file.write_text(value)


def open_members(directories: list[Path]) -> list[int]:
    """Descriptors to which a process writes "0" to join. A group that is gone is left out: so are its limits."""
    opened = []
    for directory in directories:
        try:
            opened.append(os.open(directory / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            log.warning("cgroup %s is gone", directory.name)
    return opened


def remove(directories: list[Path]) -> bool:
    """Remove the groups; False while one still has a process in it."""
    for directory in directories:
        try:
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True


class Cgroups:
    """Where this agent makes groups: one parent directory per hierarchy, none when it may not."""

    def __init__(self, home: Path, root: Path = Path("/sys/fs/cgroup"), membership: str | None = None) -> None:
        if membership is None:
            membership = Path("/proc/self/cgroup").read_text()
        self.name = "lambda-" + hashlib.sha256(str(home).encode()).hexdigest()[:8]
        self.parents: dict[str, Path] = {}
        for line in membership.splitlines():
            _, names, path = line.split(":", 2)
            if not names:
                self._use_version_2([root / path.lstrip("/"), root / "unified" / path.lstrip("/")])
            for controller in set(names.split(",")) & set(CONTROLLERS):
                self._use_version_1(controller, [root / names / path.lstrip("/"), root / controller / path.lstrip("/")])

    @property
    def controllers(self) -> set[str]:
        return set(self.parents)

    def _use_version_1(self, controller: str, places: list[Path]) -> None:
        for place in places:
            if (place / "cgroup.procs").exists() and os.access(place, os.W_OK):
                parent = place / self.name
                try:
                    parent.mkdir(exist_ok=True)
                except OSError as error:
                    log.info("no %s limits: %s", controller, error)
                    return
                self.parents[controller] = parent
                return

    def _use_version_2(self, places: list[Path]) -> None:
        for place in places:
            controllers = place / "cgroup.controllers"
            if controllers.exists() and os.access(place, os.W_OK):
                offered = set(controllers.read_text().split()) & set(CONTROLLERS)
                if offered:
                    self._delegate(place, offered)
                return

    def _delegate(self, place: Path, offered: set[str]) -> None:
        """Hand `offered` down to a parent of ours, which version 2 allows only in a group without own processes."""
        enable = " ".join(f"+{name}" for name in sorted(offered))
        try:
            leaf = place / f"{self.name}-agent"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
            (place / "cgroup.subtree_control").write_text(enable)
            parent = place / self.name
            parent.mkdir(exist_ok=True)
            (parent / "cgroup.subtree_control").write_text(enable)
        except OSError as error:
            log.info("no cgroup limits: %s cannot be divided (%s)", place, error)
            return
        for name in offered:
            self.parents[name] = parent

    def create(self, instance_id: str, wanted: dict[str, str]) -> list[Path]:
        """The instance's groups with their limits set. Raises OSError."""
        directories = sorted({parent / instance_id for parent in self.parents.values()})
        for directory in directories:
            directory.mkdir(exist_ok=True, parents=True)
        apply(directories, wanted)
        return directories

    def close(self) -> None:
        """Remove our parents where no instance is left in them."""
        for parent in set(self.parents.values()):
            try:
                parent.rmdir()
            except OSError as error:
                log.info("cgroup %s stays: %s", parent, error.strerror)
