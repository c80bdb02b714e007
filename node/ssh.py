"""The SSH front end: authenticates by the instance's keys, then only carries bytes to and from processes inside.

Nothing of a session happens in the agent: shells, commands, scp and sftp are processes that `Instance.enter` started,
terminals are opened inside, and forwarded connections end in the instance's own network.
"""

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import signal
import socket
import struct
import termios
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.forward import SSHForwarder

from node import errors, sandbox

if TYPE_CHECKING:
    from node.instance import Instance

log = logging.getLogger(__name__)

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
CHUNK = 1 << 16
LOGIN_SECONDS = 30
HANGUP_SECONDS = 0.3  # that a terminal's last words may take when its shell is gone
ENVIRONMENT = ("LANG", "LC_", "TZ", "COLORTERM", "NO_COLOR", "GIT_")
SIGNALS = {"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}


async def listen(instance: "Instance", bound: socket.socket) -> asyncssh.SSHAcceptor:
    """Serve SSH for `instance` on the bound socket, which the listener owns from here on."""
    return await asyncssh.listen(
        sock=bound,
        server_factory=lambda: Server(instance),
        server_host_keys=[instance.host_key],
        server_version="Lambda",
        config=None,
        encoding=None,
        line_editor=False,
        login_timeout=LOGIN_SECONDS,
        gss_host=None,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        agent_forwarding=False,
        x11_forwarding=False,
        compression_algs=None,
        rdns_lookup=False,
    )


class Server(asyncssh.SSHServer):
    """One connection to one instance."""

    def __init__(self, instance: "Instance") -> None:
        self.instance = instance
        self.connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Only the instance's user, only by a key of its specification."""
        if username != sandbox.USER:
            return False
        offered = key.public_data
        for line in self.instance.spec.ssh_keys:
            with contextlib.suppress(asyncssh.KeyImportError):
                if asyncssh.import_public_key(line).public_data == offered:
                    return True
        return False

    def session_requested(self) -> "Session":
        return Session(self.instance, self.connection)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int):
        """`ssh -L`: to the instance itself, by whatever name; the host and its networks are not reached this way."""
        if not self._is_instance(dest_host):
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "Only ports of the instance itself can be forwarded: use localhost."
            )
        return self._forward(dest_port)

    def _is_instance(self, host: str) -> bool:
        spec = self.instance.spec
        if host.lower() in ("localhost", spec.hostname.lower(), spec.address):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    async def _forward(self, port: int) -> SSHForwarder:
        running = self.instance.running
        try:
            if running is None:
                raise OSError("the instance is not running")
            inside = await self.instance.fleet.spawner.dial(running.pidfd, port)
            _, peer = await asyncio.get_running_loop().create_connection(SSHForwarder, sock=inside)
        except OSError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        return SSHForwarder(peer)


class Session(asyncssh.SSHServerSession):
    """One shell, command or subsystem: bytes between the channel and a process, in both directions with back pressure.

    It ends when the process has ended and its output has been read to the end; the exit status comes last.
    """

    def __init__(self, instance: "Instance", connection: asyncssh.SSHServerConnection) -> None:
        self.instance = instance
        self.connection = connection
        self.loop = asyncio.get_running_loop()
        self.channel: asyncssh.SSHServerChannel | None = None
        self.terminal: tuple[int, int] | None = None
        self.subsystem = ""
        self.pid = 0
        self.input: asyncio.WriteTransport | Terminal | None = None
        self.outputs: list[Output] = []
        self.pending = bytearray()  # what came before the process was there
        self.ended_input = False

    # What the client asks for

    def connection_made(self, chan: asyncssh.SSHServerChannel) -> None:
        self.channel = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: dict) -> bool:
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
        terminal.resize(*self.terminal)
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


class Input:
    """Bytes to a process's standard input, or to a terminal, on a descriptor that this owns."""

    END = b""

    def __init__(self, session: Session, fd: int) -> None:
        self.session = session
        self.fd = fd
        self.buffer = bytearray()
        self.ending = False
        os.set_blocking(fd, False)

    def write(self, data: bytes) -> None:
        if self.fd < 0 or self.ending:
            return
        self.buffer += data
        self._flush()
        if self.buffer:
            self.session.loop.add_writer(self.fd, self._writable)
            if len(self.buffer) > CHUNK:
                self.session.channel.pause_reading()

    def write_eof(self) -> None:
        if self.END:
            self.write(self.END)
        self.ending = True
        if not self.buffer:
            self._finish()

    def _finish(self) -> None:
        self.close()

    def _writable(self) -> None:
        self._flush()
        if self.fd >= 0 and not self.buffer:
            self.session.loop.remove_writer(self.fd)
            self.session.channel.resume_reading()  # may write more at once, and come to the end
            if self.ending and not self.buffer:
                self._finish()

    def _flush(self) -> None:
        try:
            while self.buffer:
                del self.buffer[: os.write(self.fd, self.buffer[:CHUNK])]
        except BlockingIOError:
            pass
        except OSError:
            # The process reads no more; what it was sent is lost, as in any pipe.
            self.close()
            self.session.channel.resume_reading()

    def close(self) -> None:
        if self.fd >= 0:
            self.session.loop.remove_writer(self.fd)
            os.close(self.fd)
            self.fd = -1
            self.buffer.clear()


class Terminal(Input):
    """The master side of a terminal that was opened inside. Its end of input is typed, not closed."""

    END = b"\x04"

    def _finish(self) -> None:
        pass

    def resize(self, columns: int, rows: int) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Output:
    """Bytes from a process to the channel, on a descriptor that this owns. `ended` is done at their end."""

    def __init__(self, session: Session, fd: int, datatype: int | None) -> None:
        self.session = session
        self.fd = fd
        self.datatype = datatype
        self.ended = session.loop.create_future()
        os.set_blocking(fd, False)
        self.resume()

    def pause(self) -> None:
        if self.fd >= 0:
            self.session.loop.remove_reader(self.fd)

    def resume(self) -> None:
        if self.fd >= 0:
            self.session.loop.add_reader(self.fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last one closed the terminal
            data = b""
        if not data or self.session.channel.is_closing():
            self.close()
        elif self.datatype is None:
            self.session.channel.write(data)
        else:
            self.session.channel.write_stderr(data)

    def close(self) -> None:
        if self.fd >= 0:
            self.session.loop.remove_reader(self.fd)
            os.close(self.fd)
            self.fd = -1
        if not self.ended.done():
            self.ended.set_result(None)
