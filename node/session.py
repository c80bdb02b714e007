"""One SSH session: a shell, a command or a subsystem, carried to and from a process inside the instance."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncssh

from node import errors
from node.streams import CHUNK, Input, Output, Terminal

if TYPE_CHECKING:
    from node.instance import Instance

log = logging.getLogger(__name__)

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
HANGUP_SECONDS = 0.3  # that a terminal's last words may take when its shell is gone
ENVIRONMENT = ("LANG", "LC_", "TZ", "COLORTERM", "NO_COLOR", "GIT_")
SIGNALS = {"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}


class Session(asyncssh.SSHServerSession):
    """One shell, command or subsystem: bytes between the channel and a process, in both directions with back pressure.

    It ends when the process has ended and its output has been read to the end; the exit status comes last.
    """

    channel: asyncssh.SSHServerChannel  # from connection_made on, which comes before everything else

    def __init__(self, instance: "Instance", connection: asyncssh.SSHServerConnection) -> None:
        self.instance = instance
        self.connection = connection
        self.loop = asyncio.get_running_loop()
        self.terminal: tuple[int, int] | None = None
        self.subsystem = ""
        self.pid = 0
        self.input: Input | None = None
        self.outputs: list[Output] = []
        self.pending = bytearray()  # what came before the process was there
        self.ended_input = False

    # What the client asks for

    def connection_made(self, chan: asyncssh.SSHServerChannel) -> None:
        self.channel = chan

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        self.terminal = (term_size[0] or 80, term_size[1] or 24)
        return True

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self.subsystem = subsystem
        return subsystem == "sftp"

    def session_started(self) -> None:
        self.instance.fleet.spawn(self._run())

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self.input is None:
            self.pending += data
            if len(self.pending) > CHUNK:
                self.channel.pause_reading()
        else:
            self.input.write(data)

    def eof_received(self) -> bool:
        self.ended_input = True
        if self.input is not None:
            self.input.write_eof()
        return True  # keep the way back open

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        self.terminal = (width, height)
        if isinstance(self.input, Terminal):
            self.input.resize(width, height)

    def signal_received(self, signal: str) -> None:
        if self.pid and signal in SIGNALS:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, getattr(globals()["signal"], f"SIG{signal}"))

    def break_received(self, msec: int) -> bool:
        return False

    def pause_writing(self) -> None:
        for output in self.outputs:
            output.pause()

    def resume_writing(self) -> None:
        for output in self.outputs:
            output.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._close()

    # What becomes of it

    async def _run(self) -> None:
        try:
            code, number = await self._process()
        except (OSError, errors.NodeError) as error:
            log.info("%s: a session could not be opened: %s", self.instance.spec.id, error)
            self._say(f"The session could not be opened: {error}\r\n")
            code, number = 255, 0
        finally:
            self._close()
        with contextlib.suppress(OSError, asyncssh.Error):
            if number:
                self.channel.exit_with_signal(signal.Signals(number).name.removeprefix("SIG"))
            else:
                self.channel.exit(code)

    async def _process(self) -> tuple[int, int]:
        """Start the process, carry its bytes, and answer its exit code and the signal that ended it."""
        theirs = [] if self.terminal else self._make_pipes()
        try:
            job = self.instance.enter(**self._command(), stdio=theirs, terminal=self.terminal, env=self._environment())
        finally:
            for fd in theirs:
                os.close(fd)
        with contextlib.closing(job):
            while True:
                facts, fds = await job.next()
                if fds:
                    self._open_terminal(fds[0])
                if "pid" in facts:
                    self.pid = facts["pid"]
                if "exit" in facts or not facts:
                    break
        self.pid = 0
        ends = [output.ended for output in self.outputs]
        if ends:
            # Whoever still holds a pipe keeps the session, as in OpenSSH; a terminal ends with its shell.
            await asyncio.wait(ends, timeout=HANGUP_SECONDS if self.terminal else None)
        return facts.get("exit", 255), facts.get("signal", 0)

    def _command(self) -> dict:
        if self.subsystem:
            if (self.instance.fleet.home.images / self.instance.spec.base / SFTP_SERVER.lstrip("/")).exists():
                return {"argv": [SFTP_SERVER]}
            return {"argv": ["sftp"], "sftp": True}
        command = self.channel.get_command()
        if command is None:
            return {"argv": ["-bash"], "file": "/bin/bash"}
        return {"argv": ["bash", "-c", command], "file": "/bin/bash"}

    def _environment(self) -> dict[str, str]:
        sent = self.channel.get_environment()
        env = {name: value for name, value in sent.items() if name.startswith(ENVIRONMENT) and "\0" not in value}
        if self.terminal:
            env["TERM"] = self.channel.get_terminal_type() or "xterm"
        host, port = self.connection.get_extra_info("peername")[:2]
        spec = self.instance.spec
        env["SSH_CLIENT"] = f"{host} {port} {spec.port}"
        env["SSH_CONNECTION"] = f"{host} {port} {spec.address} {spec.port}"
        return env

    def _make_pipes(self) -> list[int]:
        """Our ends become transports; the process's ends are returned."""
        stdin, ours_in = os.pipe()
        ours_out, stdout = os.pipe()
        ours_err, stderr = os.pipe()
        self._attach(Input(self, ours_in))
        self.outputs = [Output(self, ours_out, None), Output(self, ours_err, asyncssh.EXTENDED_DATA_STDERR)]
        return [stdin, stdout, stderr]

    def _open_terminal(self, master: int) -> None:
        if self.channel.is_closing():
            os.close(master)
            return
        terminal = Terminal(self, master)
        if self.terminal is not None:
            terminal.resize(*self.terminal)  # it may have changed since it was asked for
        self._attach(terminal)
        self.outputs = [Output(self, os.dup(master), None)]

    def _attach(self, target: "Input") -> None:
        self.input = target
        if self.pending:
            target.write(bytes(self.pending))
            self.pending.clear()
            self.channel.resume_reading()
        if self.ended_input:
            target.write_eof()

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            self.channel.write_stderr(text.encode())

    def _close(self) -> None:
        if self.input is not None:
            self.input.close()
        for output in self.outputs:
            output.close()
