"""Makes sandboxes for functions: what bwrap is told, and the wait until the bootstrap inside says that it is ready.

Nothing of the host is inside but its programs and libraries, read-only; no network, no rights, no other user's
processes. As root each sandbox has a host id of its own; as an ordinary user a user namespace of its own.
"""

import asyncio
import contextlib
import logging
import os
import resource
from pathlib import Path

from node import cgroups, errors, probe, seccomp
from node.forkserver import STAGE
from node.runner.memory import Memory
from node.runner.runtimes import Runtime, system_directories
from node.runner.worker import Worker
from node.sandbox import LOWEST_BASE_OF_FUNCTIONS, choose_tier, find_bwrap, memory_file
from node.spawner import Spawner

log = logging.getLogger(__name__)

INSIDE = Path(__file__).with_name("inside")
START_SECONDS = 20.0
PROCESSES = 64
LIMITS = {"NPROC": PROCESSES, "NOFILE": 1024, "CORE": 0, "FSIZE": 512 << 20}
CPU_SHARES_PER_MB = 1024 / 1769  # a function of 1,769 MB weighs as much as an ordinary process
UNSHARE = ["--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-ipc", "--unshare-cgroup-try"]
ENVIRONMENT = {
    "PATH": "/var/lang/bin:/usr/bin:/bin",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "HOME": "/tmp",  # noqa: S108  its own
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
}


def limits(memory_mb: int) -> dict[str, str]:
    """What to write into a sandbox's cgroups: cores are shared by memory, but one may be used wholly if it is free."""
    shares = max(2, int(memory_mb * CPU_SHARES_PER_MB))
    quota = max(cgroups.PERIOD_US, cgroups.PERIOD_US * memory_mb // 1769)
    wanted = cgroups.settings(1, memory_mb, PROCESSES + 8)
    wanted |= {"cpu.max": f"{quota} {cgroups.PERIOD_US}", "cpu.cfs_quota_us": str(quota)}
    return wanted | {"cpu.shares": str(shares), "cpu.weight": str(max(1, shares * 100 // 1024))}


class Sandboxes:
    """Makes workers. `home` is the runner's; groups and slots are taken from here and given back here."""

    def __init__(self, home: Path, groups: cgroups.Cgroups, spawner: Spawner) -> None:
        self.groups = groups
        self.spawner = spawner
        self.tier = choose_tier(home / "uid-base", LOWEST_BASE_OF_FUNCTIONS)
        self.bwrap, self.bwrap_home = find_bwrap()
        self.counted = "memory" in groups.controllers
        self.slots: dict[int, Worker | None] = {}
        self.leftover = [[group] for group in self.existing()]  # to be removed: of a runner that was killed, at first
        # All functions together weigh as much as one ordinary process for each core, however many there are.
        whole = {
            "cpu.shares": str(1024 * (os.cpu_count() or 1)),
            "cpu.weight": str(min(10_000, 100 * (os.cpu_count() or 1))),
        }
        cgroups.apply([*{*groups.parents.values()}], whole)
        self.devnull = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def options(self, runtime: Runtime, code: Path | None) -> tuple[list[str], dict[str, Path]]:
        """bwrap's options, and as root the places that they name below STAGE."""
        places = {"inside": INSIDE, **{f"runtime{n}": path for n, path in enumerate(runtime.places)}}
        places |= {"code": code} if code else {}
        at = {name: f"{STAGE}/{name}" if self.tier.map else str(path) for name, path in places.items()}
        bind = [part for path in system_directories() for part in ("--ro-bind", path, path)]
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            if os.path.islink(f"/{name}"):
                bind += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
            elif os.path.isdir(f"/{name}"):
                bind += ["--ro-bind", f"/{name}", f"/{name}"]
        for path in ("/etc/ld.so.cache", "/etc/ssl/certs", "/etc/alternatives"):
            bind += ["--ro-bind-try", path, path]
        for number, place in enumerate(runtime.places):
            bind += ["--ro-bind", at[f"runtime{number}"], str(place)]
        for name in ("passwd", "group", "hosts"):
            bind += ["--ro-bind", f"{at['inside']}/{name}", f"/etc/{name}"]
        name = runtime.bootstrap
        bind += ["--ro-bind", f"{at['inside']}/{name}", f"/var/runtime/{name}"]
        bind += ["--symlink", str(runtime.executable), f"/var/lang/bin/{runtime.family}"]
        # What is written to memory files is the sandbox's memory; where nothing counts it, it is kept small.
        size = (512 if self.counted else 64) << 20
        task = ["--ro-bind", at["code"], "/var/task"] if code else ["--size", str(8 << 20), "--tmpfs", "/var/task"]
        environment = [part for key, value in ENVIRONMENT.items() for part in ("--setenv", key, value)]
        user = [] if self.tier.map else ["--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns"]
        return [
            *(*user, *UNSHARE, "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "function"),
            *("--clearenv", *environment, *bind, "--proc", "/proc", "--dev", "/dev"),
            *("--size", str(8 << 20), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
            *("--perms", "1777", "--size", str(size), "--tmpfs", "/tmp", *task, "--remount-ro", "/"),  # noqa: S108
            *("--chdir", "/var/task", "--json-status-fd", "5", "--seccomp", "6"),
        ], places

    async def make(self, runtime: Runtime, code: Path | None = None, memory_mb: int = 128) -> Worker:
        """A sandbox whose bootstrap waits for code. Raises errors.NodeError; Unsupported says what to do about it."""
        slot = next(number for number in range(len(self.slots) + 1) if number not in self.slots)
        self.slots[slot] = None
        groups: list[Path] = []
        worker = None
        try:
            groups = await asyncio.to_thread(self.groups.create, f"fn-{slot}-{os.urandom(3).hex()}", limits(memory_mb))
            worker = self.slots[slot] = Worker(self, runtime, slot, groups)
            await self._launch(worker, *self.options(runtime, code))
            await asyncio.wait_for(self._ready(worker), START_SECONDS)
        except (TimeoutError, OSError, errors.NodeError) as error:
            said = worker.log.tail().strip() if worker else ""
            if worker is not None and not worker.over:
                worker.kill()
            else:
                self.give_back(slot, groups)
            raise probe.explain(said, f"A sandbox for functions did not start: {error}".rstrip(": ")) from None
        return worker

    async def _launch(self, worker: Worker, options: list[str], places: dict[str, Path]) -> None:
        with contextlib.ExitStack() as stack:

            def keep(fd: int) -> int:
                stack.callback(os.close, fd)
                return fd

            members = [keep(fd) for fd in cgroups.open_members(worker.groups)]
            control, output, status = worker.open_ends()
            arguments = memory_file("args", ("\0".join(options) + "\0").encode())
            filters = seccomp.program_fd(function=True, counted=self.counted)
            theirs = [keep(fd) for fd in (output, arguments, control, status, filters)]
            output, arguments, control, status, filters = theirs
            bwrap = str(self.bwrap)
            owner = None
            if self.tier.map and self.tier.base is not None:
                places = {**places, "bin": self.bwrap_home}
                bwrap = f"{STAGE}/bin/{self.bwrap.relative_to(self.bwrap_home)}"
                owner = [self.tier.base + 1 + worker.slot, 1]
            program = [str(worker.runtime.executable), *worker.runtime.options]
            facts = {
                "argv": [bwrap, "--args", "3", "--", *program, f"/var/runtime/{worker.runtime.bootstrap}"],
                "cgroups": len(members),
                "places": {name: str(path) for name, path in places.items()} if owner else {},
                "map": owner,
                "bound": True,
            }
            fds = [*members, self.devnull, output, output, arguments, control, status, filters]
            job = self.spawner.submit("launch", fds, **facts)
        with contextlib.closing(job):
            await job.next()

    async def _ready(self, worker: Worker) -> None:
        """Wait for the bootstrap's first word, which carries its process id as the kernel knows it; set its limits."""
        worker.pid = await worker.first_word()
        for name, value in LIMITS.items():
            resource.prlimit(worker.pid, getattr(resource, f"RLIMIT_{name}"), (value, value))
        worker.memory = Memory(worker.groups, worker.pid)

    def give_back(self, slot: int, groups: list[Path]) -> None:
        self.slots.pop(slot, None)
        if groups:
            self.leftover.append(groups)

    def end_all(self) -> None:
        """Those that are just being made as well, which the end of the fork server does not reach yet."""
        for worker in self.slots.values():
            if worker is not None:
                worker.abandon()

    def existing(self) -> list[Path]:
        return [group for parent in {*self.groups.parents.values()} for group in parent.glob("fn-*")]

    def remove_all(self) -> bool:
        """Remove every group there is; False while one still has a process in it."""
        return not [group for group in self.existing() if not cgroups.remove([group])]

    def tidy(self) -> None:
        """Remove the groups of ended sandboxes. Blocking."""
        todo, self.leftover = self.leftover, []
        for groups in todo:
            if not cgroups.remove(groups):
                self.leftover.append(groups)
