"""The byte pipes between an SSH channel and a process inside: descriptors without buffers to lose, and back pressure.

Who opens them, and why, is `node.session`.
"""

import contextlib
import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.session import Session

CHUNK = 1 << 16


class Input:
    """Bytes to a process's standard input, or to a terminal, on a descriptor that this owns."""

    END = b""

    def __init__(self, session: "Session", fd: int) -> None:
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

    def __init__(self, session: "Session", fd: int, datatype: int | None) -> None:
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
