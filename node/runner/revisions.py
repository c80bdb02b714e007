"""What the runner knows of functions: revisions in memory, their code unpacked on disk under its hash.

Here is the last check of a zip before it becomes files: the platform has checked it too, but another one may ask.
"""

import contextlib
import hashlib
import io
import os
import shutil
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from node import errors

MOST_BYTES = 250 << 20  # of one function's code, unpacked
MOST_FILES = 20_000
SENT_BYTES = 1 << 20  # smaller code is sent into a sandbox that runs already, larger is mounted into a new one
KEPT_SECONDS = 30 * 86400  # of code that nobody has asked for


@dataclass(frozen=True)
class Revision:
    """The wire form of `functions.drivers.base.Revision`, which explains it."""

    id: str
    account: str
    function: str
    name: str
    version: int
    runtime: str
    handler: str
    memory_mb: int
    timeout_ms: int
    code_sha256: str
    env: dict[str, str] = field(default_factory=dict, repr=False)
    max_concurrency: int = 10
    account_concurrency: int = 100


@dataclass(frozen=True)
class Code:
    """Unpacked code. `files` are (name, bytes, mode); `contents` theirs, one after the other, None of large code."""

    path: Path
    files: list[tuple[str, int, int]]
    contents: bytes | None


class Store:
    """The directory of code: one directory for each hash, complete or absent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Code] = {}
        path.mkdir(mode=0o700, exist_ok=True)
        for old in path.iterdir():
            # Nothing runs yet, so nothing can stand on what is removed here.
            if old.name.startswith(".") or old.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(old)

    def find(self, sha256: str) -> Code | None:
        if sha256 not in self.known:
            place = self.path / sha256
            if not place.is_dir():
                return None
            os.utime(place)
            self.known[sha256] = read(place)
        return self.known[sha256]

    def add(self, sha256: str, data: bytes) -> None:
        """Unpack a zip. Raises errors.Fatal when it is not what its hash says, or must not be unpacked."""
        if self.find(sha256) is not None:
            return
        if hashlib.sha256(data).hexdigest() != sha256:
            raise errors.Fatal("The code is not the one that was announced: its SHA-256 differs.")
        unfinished = self.path / f".{sha256}-{os.urandom(4).hex()}"
        try:
            unpack(data, unfinished)
            # Another connection may have been faster; theirs is the same.
            with contextlib.suppress(FileExistsError, OSError):
                unfinished.rename(self.path / sha256)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def unpack(data: bytes, target: Path) -> None:
    """Write the members of a zip below `target`, as files and directories that everybody may read."""
    target.mkdir()
    target.chmod(0o755)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                raise errors.Fatal(f"The code has {len(members)} files; {MOST_FILES} are allowed.")
            check_size(sum(member.file_size for member in members))
            for member in members:
                name = PurePosixPath(member.filename)
                kind = (member.external_attr >> 16) & 0o170000
                if name.is_absolute() or ".." in name.parts or "\\" in member.filename or not name.parts:
                    raise errors.Fatal(f"The code has a file outside of itself: {member.filename!r}.")
                if kind not in (0, 0o100000, 0o040000):
                    raise errors.Fatal(f"{member.filename!r} is neither a file nor a directory.")
                place = target / name
                if member.is_dir():
                    make_directories(place, target)
                    continue
                make_directories(place.parent, target)
                write(archive, member, place)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # without the node's own paths
        raise errors.Fatal(f"The code cannot be unpacked: {why}.") from None


def make_directories(place: Path, target: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    while place != target:
        place.chmod(0o755)
        place = place.parent


def check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise errors.Fatal(f"The code is larger than {MOST_BYTES >> 20} MB unpacked.")


def write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    """Unpack one file: as many bytes as its header says, or it is refused."""
    with archive.open(member) as source, place.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    place.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)


def read(place: Path) -> Code:
    paths = sorted(path for path in place.rglob("*") if path.is_file())
    files = [(str(path.relative_to(place)), path.stat().st_size, path.stat().st_mode & 0o777) for path in paths]
    small = sum(size for _, size, _ in files) <= SENT_BYTES
    return Code(place, files, b"".join(path.read_bytes() for path in paths) if small else None)
