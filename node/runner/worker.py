"""One sandbox as the runner sees it: frames to and from the bootstrap, what it prints, its end. `lanes` uses it.

Everything that comes out of it is hostile: frames are bounded and checked, prints are bounded, its end is the
kernel's word.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson

from node.runner.logs import Log
from node.runner.memory import Memory, descendants
from node.runner.revisions import Code, Revision
from node.runner.runtimes import Runtime

if TYPE_CHECKING:
    from node.runner.sandbox import Sandboxes

log = logging.getLogger(__name__)

MOST_FRAME = (6 << 20) + (1 << 17)  # bytes: a result, its id, a stack
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: SCM_CREDENTIALS
READ = 1 << 18


class Owner(Protocol):
    """Who is told what a worker does. `kind` is a frame's letter, or b"" with the exit code when it has ended."""

    def heard(self, worker: "Worker", kind: bytes, payload: bytes) -> None: ...

    def ended(self, worker: "Worker", code: int | None) -> None: ...


class Worker:
    """From `open_ends` to `over`. `revision` is set once and for life."""

    def __init__(self, maker: "Sandboxes", runtime: Runtime, slot: int, groups: list[Path]) -> None:
        self.maker, self.runtime, self.slot, self.groups = maker, runtime, slot, groups
        self.loop = asyncio.get_running_loop()
        self.log = Log()
        self.owner: Owner | None = None
        self.revision: Revision | None = None
        self.memory: Memory | None = None
        self.pid = 0  # of the bootstrap
        self.root_pidfd = -1  # of the sandbox's first process, whose end ends all others
        self.root_pid = 0
        self.over = False
        self.killed_for = ""  # why we ended it
        self.reserved_mb = 0  # of the node's memory
        self.frozen: list[int] = []
        self.calls = 0
        self.buffer = b""
        self.said = b""  # by bwrap
        self.first: asyncio.Future[int] = self.loop.create_future()
        self.born = time.monotonic()

    def open_ends(self) -> tuple[int, int, int]:
        """Begin to listen. The sandbox's ends of control, output and status, which the caller closes."""
        self.control, theirs = socket.socketpair()
        self.control.setblocking(False)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.output, output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(output, True)
        self.status, status = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.status, False)
        self.loop.add_reader(self.control, self._greeted)
        self.loop.add_reader(self.output, self.drain)
        self.loop.add_reader(self.status, self._status)
        return theirs.detach(), output, status

    async def first_word(self) -> int:
        """The bootstrap's process id. Raises OSError when it ended before."""
        return await self.first

    def _greeted(self) -> None:
        """The first frame, whose sender the kernel names: bwrap tells only the first process of the sandbox."""
        try:
            data, extra, _, _ = self.control.recvmsg(5, socket.CMSG_SPACE(CREDENTIALS.size))
        except OSError:
            data, extra = b"", []
        self.loop.remove_reader(self.control)
        pids = [CREDENTIALS.unpack(value)[0] for _, kind, value in extra if kind == socket.SCM_CREDENTIALS]
        if data[4:5] == b"R" and pids and not self.first.done():
            self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            self.loop.add_reader(self.control, self._readable)
            self.first.set_result(pids[0])

    def assign(self, owner: Owner, revision: Revision, code: Code) -> None:
        """Give it a revision for life; it answers `L` or `F`."""
        self.owner, self.revision, self.log = owner, revision, Log()
        stream = time.strftime("%Y/%m/%d/") + f"[{revision.version}]{os.urandom(16).hex()}"
        environment = {
            "_HANDLER": revision.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{revision.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(revision.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": revision.name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(revision.version),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{revision.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        }
        config = {
            "handler": revision.handler,
            "env": environment | revision.env,
            "name": revision.name,
            "version": str(revision.version),
            "memory_mb": revision.memory_mb,
            "arn": f"arn:aws:lambda:local:{revision.account}:function:{revision.name}",
            "log_group": f"/aws/lambda/{revision.name}",
            "log_stream": stream,
            "files": code.files if code.contents is not None else [],
        }
        head = orjson.dumps(config)
        self.send(b"I", len(head).to_bytes(4, "big") + head + (code.contents or b""))

    def call(self, execution_id: bytes, deadline_ms: int, event: bytes) -> None:
        self.calls += 1
        self.send(b"V", bytes([len(execution_id)]) + execution_id + deadline_ms.to_bytes(8, "big") + event)

    def send(self, kind: bytes, payload: bytes) -> None:
        data = len(payload).to_bytes(4, "big") + kind + payload
        try:
            done = self.control.send(data)
        except BlockingIOError:
            done = 0
        except OSError:
            return  # it has ended; its status says so soon
        if done < len(data):
            self.sending = asyncio.ensure_future(self._send_rest(data[done:]))

    async def _send_rest(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            await self.loop.sock_sendall(self.control, data)

    def _readable(self) -> None:
        try:
            data = self.control.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.loop.remove_reader(self.control)
            return
        data = self.buffer + data if self.buffer else data
        at = 0
        while len(data) - at >= 5:
            size = int.from_bytes(data[at : at + 4], "big")
            if size > MOST_FRAME or self.owner is None:
                # Too much, or before it was told anything: no letter at all is what nobody expects.
                self.kill("protocol") if self.owner is None else self.owner.heard(self, b"", b"")
                break
            if len(data) - at < 5 + size:
                break
            kind, payload = data[at + 4 : at + 5], data[at + 5 : at + 5 + size]
            at += 5 + size
            self.owner.heard(self, kind, payload)
        self.buffer = data[at:]

    def drain(self) -> None:
        """Take what it has printed so far, a bounded part at a time, so that a flood does not stop all others."""
        for _ in range(4 if self.output >= 0 else 0):
            try:
                data = os.read(self.output, READ)
            except BlockingIOError:
                return
            if not data:
                self.loop.remove_reader(self.output)
                return
            self.log.add(data)

    def _status(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.status, 4096)
            self.said += data
            if not self.root_pid and b"child-pid" in self.said and b"\n" in self.said:
                self._meet_root()
            if not data:
                self._end()

    def _meet_root(self) -> None:
        self.root_pid = json.loads(self.said.splitlines()[0])["child-pid"]
        with contextlib.suppress(ProcessLookupError):
            self.root_pidfd = os.pidfd_open(self.root_pid)
        if self.killed_for:
            self.kill(self.killed_for)

    def exit_code(self) -> int | None:
        """As bwrap tells it: 128 more than the signal's number when a signal ended it."""
        for line in self.said.splitlines():
            with contextlib.suppress(ValueError):
                code = json.loads(line).get("exit-code")
                if code is not None:
                    return int(code)
        return None

    def kill(self, why: str = "retired") -> None:
        """End every process of it, now."""
        self.killed_for = self.killed_for or why
        if self.root_pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.root_pidfd, signal.SIGKILL)

    def abandon(self) -> None:
        """End it, however far it is: the bootstrap ends as soon as nobody holds the other end of its socket."""
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)
        self.kill("abandoned")

    def freeze(self) -> None:
        """Stop what the user's code left running between two calls, as AWS does."""
        if not self.frozen and self.root_pid:
            pids = descendants(self.root_pid)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            self.frozen = pids

    def thaw(self) -> None:
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def _end(self) -> None:
        """bwrap is gone, and with it everything inside."""
        self.over = True
        self.kill("ended")
        self.drain()
        for source in (self.control, self.output, self.status):
            self.loop.remove_reader(source)
        self.control.close()
        for fd in (self.output, self.status, self.root_pidfd):
            if fd >= 0:
                os.close(fd)
        self.output = self.root_pidfd = -1
        if not self.first.done():
            self.first.set_exception(ChildProcessError("it ended at once"))
            self.first.exception()  # nobody may be waiting any more
        if self.owner is not None:
            self.owner.ended(self, self.exit_code())
        if self.memory is not None:
            self.memory.close()
        self.maker.give_back(self.slot, self.groups)
