"""The agent's side of `node.forkserver`: ask it to fork something, await what it reports."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from node import errors
from node.forkserver import MAX_REQUEST

REPORT_BYTES = 1 << 16


class Job:
    """One request under way: its reports, in order, until the forked process ends."""

    def __init__(self, report: socket.socket) -> None:
        self.report = report
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[tuple[dict, list[int]]] = asyncio.Queue()
        self.loop.add_reader(report, self._readable)

    def _readable(self) -> None:
        try:
            message, fds, _, _ = socket.recv_fds(self.report, REPORT_BYTES, 4)
        except BlockingIOError:
            return
        except OSError:
            message, fds = b"", []
        if not message:
            self.close()
        self.queue.put_nowait((json.loads(message) if message else {}, fds))

    async def next(self) -> tuple[dict, list[int]]:
        """The next report and its descriptors, which the caller owns; ({}, []) when the process ended.

        Raises OSError with what the process said went wrong.
        """
        facts, fds = await self.queue.get()
        if "error" in facts:
            self.close()
            raise OSError(facts.get("errno", 0), facts["error"])
        return facts, fds

    def close(self) -> None:
        """Stop listening; the process goes on."""
        if self.report.fileno() >= 0:
            self.loop.remove_reader(self.report)
            self.report.close()


class Spawner:
    """A fork server and the socket to it. Started at once, and again by itself should it ever die."""

    def __init__(self, sftp: bool = False) -> None:
        self.sftp = sftp
        self.process: subprocess.Popen[bytes] | None = None
        self.requests: socket.socket | None = None

    def start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_REQUEST)
        script = str(Path(__file__).with_name("forkserver.py"))
        paths = [os.pathsep.join(path for path in sys.path if path)] if self.sftp else []
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", script, *paths],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={},
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        self.requests = ours
        return ours

    def close(self) -> None:
        if self.requests is not None:
            self.requests.close()
        if self.process is not None:
            self.process.wait()

    def submit(self, verb: str, fds: list[int], **request) -> Job:
        """Send a request; `fds` stay the caller's. Raises errors.Fatal when it cannot be sent."""
        requests = self.requests
        if requests is None or self.process is None or self.process.poll() is not None:
            requests = self.start()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        message = json.dumps({"verb": verb, **request}).encode()
        with theirs:
            try:
                socket.send_fds(requests, [message], [theirs.fileno(), *fds])
            except OSError as error:
                ours.close()
                raise errors.Fatal(
                    f"The request is too large for the node, or it is out of resources: {error}."
                ) from None
        return Job(ours)

    async def dial(self, pidfd: int, port: int, listen: bool = False) -> socket.socket:
        """A TCP socket of the instance's own network: connected to `port` there, or listening on it. Raises OSError."""
        job = self.submit("sockets", [pidfd], port=port, listen=listen)
        with contextlib.closing(job):
            _, fds = await job.next()
        if not fds:
            raise OSError("the instance is gone")
        made = socket.socket(fileno=fds[0])
        made.setblocking(False)
        return made

    async def remove(self, paths: list[Path]) -> None:
        """Delete trees. Raises errors.Retryable when something stays."""
        devnull = os.open(os.devnull, os.O_RDWR)
        try:
            job = self.submit("remove", [devnull] * 3, paths=[str(path) for path in paths])
        finally:
            os.close(devnull)
        with contextlib.closing(job):
            facts, _ = await job.next()
        if facts.get("exit") != 0:
            raise errors.Retryable("Some files of the instance could not be removed; it will be tried again.")
