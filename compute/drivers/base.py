"""What every machine driver promises, and the facts that pass between the platform and a driver.

A driver knows nothing of accounts, prices or Django. It is called with no transaction open, possibly twice,
possibly by two callers at once, and must converge: the same call again is a no-op that answers the same thing.
Every instance operation carries the caller's `generation`; an operation older than one already seen is refused
with `Conflict`, so that a worker that slept through a change cannot undo it.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

State = Literal["absent", "creating", "stopped", "starting", "running", "stopping", "deleting", "error"]
Strength = Literal["enforced", "best_effort", "none"]


class DriverError(Exception):
    """A driver's refusal, in plain words for the instance's owner."""


class NotFound(DriverError):
    """The driver has no such instance or image."""


class Conflict(DriverError):
    """The id exists with another specification, or the operation is older than one already carried out."""


class Capacity(DriverError):
    """The node has no room now; another node, or the same one later, may have."""


class Unsupported(DriverError):
    """The node cannot do this at all; the text says why and how to mend it."""


class Retryable(DriverError):
    """The outcome is unknown or temporary: read the state and try again."""


class Fatal(DriverError):
    """Trying again will not help; the text says what went wrong."""


@dataclass(frozen=True)
class Capabilities:
    """What a node can do. When `ok` is false, `reason` says why in plain words and `remedy` how to mend it."""

    ok: bool
    tier: str = ""
    reason: str = ""
    remedy: str = ""
    limits: dict[str, Strength] = field(default_factory=dict)  # cpu, memory, pids, disk
    os: str = ""  # what an instance really runs, e.g. "Debian GNU/Linux 12 (bookworm)"
    # vcpus, load (of one minute), memory_mb, memory_free_mb, disk_free_mb: as far as the node knows them
    capacity: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class InstanceSpec:
    """Everything a driver needs to make an instance. `id` is chosen by the platform, before the call."""

    id: str
    hostname: str
    image: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    ssh_keys: tuple[str, ...]  # OpenSSH public key lines
    user_data: str = ""  # run once, as the instance's user, at first boot
    start: bool = True
    public_ip: bool = True  # False: no address of its own to log in at
    generation: int = 1


@dataclass(frozen=True)
class Endpoint:
    """Where an instance answers SSH."""

    host: str
    port: int
    user: str
    host_key: str  # OpenSSH public key line


@dataclass(frozen=True)
class Observed:
    """What is really there now. `ready` is true once SSH answers at `endpoint`."""

    id: str
    state: State
    generation: int = 0
    ready: bool = False
    endpoint: Endpoint | None = None
    boot_id: str = ""  # changes with every start
    exit_code: int | None = None
    error: str = ""


class Driver(Protocol):
    """One kind of machine. Raises only `DriverError`s."""

    def probe(self) -> Capabilities:
        """Say whether instances can run here; leaves nothing behind."""

    def create(self, spec: InstanceSpec) -> Observed:
        """Make the instance, running if `spec.start`; the same id and specification again answers what is there."""

    def start(self, instance_id: str, *, generation: int) -> Observed: ...

    def stop(self, instance_id: str, *, generation: int, grace_seconds: float = 10) -> Observed:
        """Ask it to stop and, after `grace_seconds`, kill it. 0 kills at once."""

    def restart(self, instance_id: str, *, generation: int) -> Observed:
        """Stop and start once per generation: the same generation again does not restart again."""

    def resize(self, instance_id: str, *, vcpus: int, memory_mb: int, disk_gb: int, generation: int) -> Observed:
        """Apply new limits, at once where the node can, else from the next start."""

    def rebuild(self, instance_id: str, *, image: str, generation: int) -> Observed:
        """Throw the disk away and start again from `image` with the same keys and address; once per generation."""

    def delete(self, instance_id: str, *, generation: int) -> None:
        """Remove it and everything it left. Deleting what is absent succeeds."""

    def get(self, instance_id: str) -> Observed:
        """What is there; `absent` for an unknown id."""

    def list(self) -> list[Observed]:
        """Every instance this platform has on the node; one broken instance does not hide the others."""

    def console(self, instance_id: str, *, max_bytes: int = 65536) -> bytes:
        """The newest `max_bytes` of the console. Raises NotFound."""
