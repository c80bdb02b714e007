"""The unix socket by which the platform reaches a daemon of this machine: its own user's from the first moment."""

import os
import socket
from pathlib import Path


def bind(path: Path) -> socket.socket:
    """A listening address at `path`. The home's lock says that nobody else answers there. Raises SystemExit."""
    if path.parent.name.startswith("lambda-") and not path.parent.exists():
        path.parent.mkdir(mode=0o700)
    facts = path.parent.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise SystemExit(
            f"{path.parent} belongs to somebody else or is writable for others; remove it or use --socket."
        )
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    return made
