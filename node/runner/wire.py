"""What passes over the runner's socket: a head of JSON and a body of bytes, both after their lengths.

A request's head has "op" and its arguments, an answer's whatever the operation says, or "error". One request at a time
on a connection, which stays open. `Connections` is the blocking client, safe to use from many threads. Standard
library only.
"""

import json
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOCKET = "runner.sock"
LENGTHS = struct.Struct("!II")  # of the head and of the body
MOST_HEAD, MOST_BODY = 8 << 20, 64 << 20  # bytes
CONNECT_SECONDS = 5.0


class Unreachable(Exception):
    """No runner answered. `sent` tells whether it may have begun to do what was asked."""

    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def pack(head: dict[str, Any], body: bytes = b"", dumps: Callable[[Any], bytes] | None = None) -> bytes:
    encoded = dumps(head) if dumps else json.dumps(head).encode()
    return LENGTHS.pack(len(encoded), len(body)) + encoded + body


class Connections:
    """To the runner of one home. A connection that has been idle is used again, by whoever comes first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.idle: list[socket.socket] = []
        self.lock = threading.Lock()

    def call(self, op: str, body: bytes = b"", *, timeout: float, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        """One answer, head and body. Raises Unreachable; `timeout` in seconds for each step of the answer."""
        data = pack({"op": op, **arguments}, body)
        sock = self._send(data, timeout)
        try:
            answer = receive(sock)
        except OSError as error:
            sock.close()
            raise Unreachable(str(error) or type(error).__name__, True) from None
        except BaseException:
            sock.close()
            raise
        with self.lock:
            self.idle.append(sock)
        return answer

    def _send(self, data: bytes, timeout: float) -> socket.socket:
        """The connection that a request went out on. One that a runner has closed since could not take it whole."""
        while True:
            with self.lock:
                sock = self.idle.pop() if self.idle else None
            used = sock is not None
            sock = sock or self._connect()
            try:
                sock.settimeout(timeout)
                sock.sendall(data)
            except OSError as error:
                sock.close()
                if used and isinstance(error, BrokenPipeError):
                    continue
                raise Unreachable(str(error) or type(error).__name__, True) from None
            return sock

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_SECONDS)
        try:
            sock.connect(str(self.path))
        except OSError as error:
            sock.close()
            raise Unreachable(str(error), False) from None
        return sock

    def close(self) -> None:
        with self.lock:
            for sock in self.idle:
                sock.close()
            self.idle.clear()


def receive(sock: socket.socket) -> tuple[dict[str, Any], bytes]:
    parts = [more(sock)]
    have, whole, head = len(parts[0]), LENGTHS.size, 0
    while have < whole or not head:
        if not head and have >= LENGTHS.size:
            parts = [b"".join(parts)]
            head, body = LENGTHS.unpack_from(parts[0])
            whole += head + body
        else:
            parts.append(more(sock))
            have += len(parts[-1])
    data = b"".join(parts)
    end = LENGTHS.size + head
    return json.loads(data[LENGTHS.size : end]), data[end:]


def more(sock: socket.socket) -> bytes:
    part = sock.recv(1 << 18)
    if not part:
        raise ConnectionAbortedError("the runner ended before it answered")
    return part
