"""How to call the node agent: one JSON line over its unix socket, one back. Synchronous, standard library only."""

import hashlib
import json
import os
import socket
import tempfile
from pathlib import Path

SOCKET = "agent.sock"
LONGEST_PATH = 107  # bytes that a unix socket's address holds
ANSWER_BYTES = 1 << 26


class Refused(Exception):
    """The agent's refusal; `kind` is a class of `node.errors`, by name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Unreachable(Exception):
    """No agent answered. `sent` tells whether it may have begun to do what was asked."""

    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def socket_path(home: Path, name: str = SOCKET) -> Path:
    """Where the daemon of `home` listens: there, or in a short private directory if that path is too long."""
    path = home.absolute() / name
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"lambda-{os.stat(home).st_uid}", f"{digest}.sock")


def call(path: Path, op: str, timeout: float, **arguments):
    """The result of one operation. Raises Refused and Unreachable; `timeout` in seconds for the whole answer."""
    sent = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps({"op": op, "arguments": arguments}).encode() + b"\n")
            sent = True
            with sock.makefile("rb") as answers:
                line = answers.readline(ANSWER_BYTES)
        except OSError as error:
            raise Unreachable(str(error) or type(error).__name__, sent) from None
    if not line.endswith(b"\n"):
        raise Unreachable("the agent ended before it answered", sent)
    answer = json.loads(line)
    if "error" in answer:
        raise Refused(**answer["error"])
    return answer["result"]
