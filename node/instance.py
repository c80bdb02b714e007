"""One instance: its processes, its SSH listener and its proxy. `node.fleet` decides what is to happen to it.

Methods that change anything are called under the fleet's lock of this instance; `observe` at any time.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from node import cgroups, errors, probe, proxy, sandbox, ssh
from node.records import Directory, Spec, write_file
from node.spawner import Job

if TYPE_CHECKING:
    from node.fleet import Fleet

log = logging.getLogger(__name__)

CONSOLE_TAIL = 2000
WORD_SECONDS = 0.5  # for bwrap to write the exit code down; a bwrap that was killed never does
SETTLE_SECONDS = 10.0  # milliseconds, but on a machine with much else to do
ENVIRONMENT = {
    "HOME": f"/home/{sandbox.USER}",
    "USER": sandbox.USER,
    "LOGNAME": sandbox.USER,
    "SHELL": "/bin/bash",
    "PATH": sandbox.PATH,
    "LANG": "C.UTF-8",
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), sandbox.PROXY),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
}


class Instance:
    """`running` is set while its processes live, whoever started them."""

    def __init__(self, fleet: "Fleet", directory: Directory, spec: Spec) -> None:
        self.fleet = fleet
        self.directory = directory
        self.spec = spec
        self.running: sandbox.Running | None = None
        self.busy = ""  # the state to show while a verb is at work
        self.error = ""
        self.gone = asyncio.Event()
        self.host_key: asyncssh.SSHKey | None = None
        self.front: asyncssh.SSHAcceptor | None = None
        self.proxy: asyncio.Server | None = None

    def observe(self) -> dict:
        """The wire form of `drivers.base.Observed`."""
        spec = self.spec
        endpoint = None
        if spec.public_ip and spec.port and self.host_key is not None:
            line = self.host_key.export_public_key().decode().strip()
            endpoint = {"host": spec.address, "port": spec.port, "user": sandbox.USER, "host_key": line}
        facts = {} if self.running else self.directory.read_status()
        return {
            "id": spec.id,
            "state": self.busy or ("running" if self.running else "error" if self.error else "stopped"),
            "generation": spec.generation,
            "ready": bool(self.running and not self.busy and (self.front or not spec.public_ip)),
            "endpoint": endpoint,
            "boot_id": self.running.boot_id if self.running else "",
            "exit_code": facts.get("exit-code"),
            "error": self.error,
        }

    def reserve(self) -> socket.socket:
        """Bind the instance's own address, which stays its for life; the port stays if nobody took it meanwhile."""
        bound = ssh.bind(self.spec.address, self.spec.port)
        self.spec.port = bound.getsockname()[1]
        return bound

    def load_host_key(self) -> None:
        """The key made at creation, or a first one."""
        try:
            self.host_key = asyncssh.read_private_key(self.directory.host_key)
        except OSError:
            self.host_key = asyncssh.generate_private_key("ssh-ed25519")
            write_file(self.directory.host_key, self.host_key.export_private_key("openssh"))

    async def start(self, bound: socket.socket | None = None) -> None:
        """Run it and answer SSH; does nothing that is already so. Raises errors.Fatal and Unsupported."""
        self.error = ""
        try:
            lock = self.directory.try_lock()
            if lock is None:
                await self._adopt()
            else:
                with contextlib.closing(os.fdopen(lock, "rb")):
                    if not self.running:
                        await self._launch(lock)
            await self._serve(bound)
        except errors.NodeError as error:
            self.error = str(error)
            raise
        finally:
            if bound is not None and self.front is None:
                bound.close()

    async def _launch(self, lock: int) -> None:
        """Make the disk if there is none, start the processes and watch them."""
        spec, directory, box = self.spec, self.directory, self.fleet.sandbox
        image = self.fleet.home.images / spec.base
        if not image.is_dir():
            raise errors.Fatal("The system image this instance stands on is gone. Rebuild the instance.")
        disk = directory.disk(spec.disk)
        first = not disk.is_dir()
        if first:
            sandbox.make_disk(disk, spec.hostname, box.tier)
        survivor = sandbox.find_running(directory)
        if survivor is not None:
            # Its own root let go of the lock. Two on one disk would destroy it.
            survivor.signal(signal.SIGKILL)
            os.close(survivor.pidfd)
        groups = self.fleet.make_groups(spec)
        console = os.open(directory.console, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        status = sandbox.begin_status(directory, groups)
        begun = os.fstat(console).st_size
        try:
            await box.launch(
                box.options(spec.hostname, image, disk),
                ["/bin/sh", "/run/init", str(sandbox.PROCESSES), f"{spec.hostname} started"],
                sandbox.Descriptors(self.fleet.devnull, console, lock, status),
                groups,
                {"image": image, "disk": disk},
            )
        except errors.Fatal as error:
            said = directory.console.read_bytes()[begun:][-CONSOLE_TAIL:].decode(errors="replace").strip()
            survivor = sandbox.find_running(directory)
            if survivor is not None:
                survivor.signal(signal.SIGKILL)
                os.close(survivor.pidfd)
            raise probe.explain(said, str(error)) from None
        finally:
            os.close(console)
            os.close(status)
        self._watch(sandbox.find_running(directory))
        log.info("%s started", spec.id)

    async def _adopt(self) -> None:
        """Take over what an earlier agent started, or what is already ours."""
        if self.running:
            return
        found = sandbox.find_running(self.directory)
        if found is None:
            raise errors.Retryable("The instance is just ending. Try again.")
        self._watch(found)
        log.info("%s adopted", self.spec.id)

    def _watch(self, found: sandbox.Running | None) -> None:
        if found is None:
            raise errors.Fatal("The instance ended as soon as it had started.")
        self.running = found
        self.gone.clear()
        asyncio.get_running_loop().add_reader(found.pidfd, self._ended, found)

    def _ended(self, found: sandbox.Running) -> None:
        self.running = None
        asyncio.get_running_loop().remove_reader(found.pidfd)
        os.close(found.pidfd)
        self.close()
        self.gone.set()
        log.info("%s ended", self.spec.id)
        if not self.busy:
            self.fleet.went_down(self, found.groups)

    async def _serve(self, bound: socket.socket | None) -> None:
        """Answer SSH and give the instance its way out, then do what is to be done once."""
        running = self.running
        if running is None:
            raise errors.Fatal("The instance ended as soon as it had started.")
        if self.host_key is None:
            self.load_host_key()
        if self.front is None and self.spec.public_ip:
            if bound is None:
                port = self.spec.port
                bound = self.reserve()
                if self.spec.port != port:
                    self.directory.save(self.spec)
            self.front = await ssh.listen(self, bound)
        if self.proxy is None:
            try:
                inside = await self.fleet.spawner.dial(running.pidfd, proxy.PORT, listen=True)
                self.proxy = await asyncio.start_server(proxy.Proxy().serve, sock=inside, limit=proxy.HEAD_BYTES)
            except OSError as error:
                log.warning("%s has no proxy: %s", self.spec.id, error)
        await self._run_user_data()

    async def _run_user_data(self) -> None:
        """Hand the script to a process inside that lives on without the agent; its output goes to the console."""
        done = self.directory.disk(self.spec.disk) / "user-data-started"
        if not self.spec.user_data or done.exists():
            return
        script = sandbox.memory_file("user-data", self.spec.user_data.encode())
        console = os.open(self.directory.console, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            runner = "cat > /tmp/user-data && chmod 700 /tmp/user-data && exec /tmp/user-data < /dev/null"
            if not self.spec.user_data.startswith("#!"):
                runner = "exec /bin/sh"
            with contextlib.closing(self.enter(["/bin/sh", "-c", runner], stdio=[script, console, console])) as job:
                await job.next()
            done.touch()
        except OSError as error:
            log.warning("%s: its user data could not be started: %s", self.spec.id, error)
        finally:
            os.close(script)
            os.close(console)

    def enter(
        self,
        argv: list[str],
        *,
        file: str = "",
        stdio: list[int] | None = None,
        terminal: tuple[int, int] | None = None,
        env: dict[str, str] | None = None,
        sftp: bool = False,
    ) -> Job:
        """Run `argv` inside as the instance's user, on `stdio` or on a new terminal of (columns, rows)."""
        if self.running is None:
            raise errors.Retryable("The instance is not running.")
        tier = self.fleet.sandbox.tier
        rlimits = {"RLIMIT_NPROC": sandbox.PROCESSES, "RLIMIT_CORE": 0}
        if "memory" not in self.fleet.cgroups.controllers:
            rlimits["RLIMIT_DATA"] = self.spec.memory_mb << 20
        members = cgroups.open_members(self.running.groups)
        spawner = self.fleet.sftp_spawner if sftp else self.fleet.spawner
        try:
            return spawner.submit(
                "enter",
                [self.running.pidfd, self.fleet.seccomp, *members, *(stdio or [])],
                namespaces=sandbox.NAMESPACES,
                cgroups=len(members),
                drop_groups=tier.base is not None,
                uid=sandbox.USER_ID,
                gid=sandbox.USER_ID,
                terminal=terminal,
                rlimits=rlimits,
                cwd=ENVIRONMENT["HOME"],
                file=file or argv[0],
                argv=argv,
                env={**ENVIRONMENT, **(env or {})},
                sftp=sftp,
            )
        finally:
            for fd in members:
                os.close(fd)

    def kill(self) -> None:
        if self.running:
            self.running.signal(signal.SIGKILL)

    async def stop(self, grace_seconds: float) -> None:
        """End it: by TERM and, `grace_seconds` later, by KILL; at once for 0. Returns when the disk is free."""
        if self.running:
            groups = self.running.groups
            if grace_seconds > 0:
                self.running.signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.gone.wait(), grace_seconds)
            self.kill()
            await self.gone.wait()
            await self.settle(groups)
        self.error = ""

    async def settle(self, groups: list[Path]) -> None:
        """Wait for bwrap, which ends just after the instance: for the lock, the empty groups and the exit code."""
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < SETTLE_SECONDS:
            lock = self.directory.try_lock()
            if lock is not None:
                os.close(lock)
                told = "exit-code" in self.directory.read_status() or waited > WORD_SECONDS
                if told and cgroups.remove(groups):
                    return
            await asyncio.sleep(0.002)
        log.warning("%s has not let go of its disk or its cgroup", self.spec.id)

    def close(self) -> None:
        """Stop answering; the instance goes on."""
        for server in (self.front, self.proxy):
            if server is not None:
                server.close()
        self.front = self.proxy = None
