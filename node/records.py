"""What the agent knows about an instance on disk: the layout of its directory, written so that a kill -9 loses nothing.

`spec.json` is the truth: replaced whole and synced before anything is done about it. What runs is told by `lock`, held
by the instance's own processes, so it is free exactly when the instance is gone, whoever died first.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

PRIVATE = 0o700
CONSOLE_MOST, CONSOLE_KEPT = 1 << 20, 1 << 18  # bytes


@dataclass
class Spec:
    """One instance as wished for. Sizes in MB and GB; `generation` of the newest operation carried out or begun."""

    id: str
    hostname: str
    image: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    ssh_keys: list[str]
    user_data: str = ""
    start: bool = True
    public_ip: bool = True
    generation: int = 1
    digest: str = ""  # of the request that created it: the same id with another one is a conflict
    running: bool = True  # desired
    base: str = ""  # the image directory below images/, pinned for the life of the disk
    disk: int = 1  # the generation that made the disk: a rebuild only names a new one
    restarted: int = 0  # the generation of the last restart
    address: str = ""
    port: int = 0


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` whole, synced to the disk with its directory."""
    temporary = path.with_name(f".{path.name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Directory:
    """The files of one instance, `instances/<id>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = path / "spec.json"
        self.lock = path / "lock"
        self.status = path / "status"  # of the newest start: our boot id, then what bwrap says, a JSON object a line
        self.console = path / "console.log"
        self.host_key = path / "hostkey"

    def disk(self, generation: int) -> Path:
        return self.path / f"disk-{generation}"

    def save(self, spec: Spec) -> None:
        self.path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        write_file(self.spec, json.dumps(asdict(spec)).encode())

    def load(self) -> Spec:
        """Raises ValueError or OSError when the file is damaged or missing."""
        data = json.loads(self.spec.read_bytes())
        known = {field.name for field in fields(Spec)}
        return Spec(**{name: value for name, value in data.items() if name in known})

    def read_status(self) -> dict:
        """Everything said about the newest start, in one dictionary; lines cut short by a crash are left out."""
        facts: dict = {}
        with contextlib.suppress(OSError):
            for line in self.status.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    facts.update(json.loads(line))
        return facts

    def try_lock(self) -> int | None:
        """A descriptor holding the lock, or None while the instance lives."""
        fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def trim_console(self) -> None:
        """Cut a long console to its newest part. Its writers append, so they go on at the new end.

        What is written in the moment between the two steps is lost; a console is no archive.
        """
        with contextlib.suppress(FileNotFoundError), self.console.open("r+b") as file:
            if os.fstat(file.fileno()).st_size > CONSOLE_MOST:
                file.seek(-CONSOLE_KEPT, os.SEEK_END)
                kept = file.read().partition(b"\n")[2]
                file.truncate(0)
                os.pwrite(file.fileno(), kept, 0)

    def old_disks(self, current: int) -> Iterator[Path]:
        for path in self.path.glob("disk-*"):
            if path != self.disk(current):
                yield path


class Home:
    """The agent's directory. One agent at a time: `claim` holds its lock for the life of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.instances = self.path / "instances"
        self.images = self.path / "images"
        self.deleted = self.path / "deleted"
        self.trash = self.path / "trash"

    def claim(self) -> None:
        """Raises BlockingIOError when another agent has this home."""
        for path in (self.path, self.instances, self.images, self.deleted, self.trash):
            path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        self._lock = os.open(self.path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def directory(self, instance_id: str) -> Directory:
        return Directory(self.instances / instance_id)

    def tombstone(self, instance_id: str) -> int:
        """The generation at which the instance was deleted; 0 when it was not."""
        try:
            return int((self.deleted / instance_id).read_text())
        except (OSError, ValueError):
            return 0

    def bury(self, instance_id: str, generation: int) -> None:
        """Remember the deletion, so that a create that was long under way cannot bring the instance back."""
        write_file(self.deleted / instance_id, str(generation).encode())

    def to_trash(self, path: Path) -> Path:
        """Move a tree out of sight in one step; what is in the trash is removed now or at the next start."""
        grave = self.trash / f"{path.parent.name}-{path.name}-{os.urandom(4).hex()}"
        os.rename(path, grave)
        return grave

    def free_disk_mb(self) -> int:
        return shutil.disk_usage(self.path).free >> 20
