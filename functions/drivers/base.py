"""What a runner of functions promises, and the facts that pass between the platform and it.

A runner knows nothing of accounts' rights, prices or Django. A revision never changes: its code, its environment and
its limits are fixed by its id, so that whoever has seen an id knows what runs. All times in the journal are seconds
since the epoch, all durations whole numbers of the unit in their name.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Status = Literal["succeeded", "failed"]
Trigger = Literal["sync", "async"]
Cursor = tuple[str, int]  # a segment of the journal, and how many of its bytes have been read; ("", 0) to begin with
MAX_PAYLOAD = 6 * 1024 * 1024  # bytes of an event, and of a result


class RunnerError(Exception):
    """A runner's refusal, in plain words."""


class UnknownRevision(RunnerError):
    """The runner has never seen the revision or forgot it in a restart: `put` it and ask again."""


class Duplicate(RunnerError):
    """This attempt of this execution is in the journal already; it is never run a second time."""


class Busy(RunnerError):
    """As much runs as may run. `limit_name` is what is exhausted, `retry_after` is in seconds."""

    def __init__(self, limit_name: str, limit: int, retry_after: int = 1):
        self.limit_name, self.limit, self.retry_after = limit_name, limit, retry_after
        super().__init__(f"{limit_name} is exhausted: {limit} run at once")


class RunnerUnavailable(RunnerError):
    """Nothing answers, or functions cannot run on this node; `reason` says so in plain words."""

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Runtime:
    """What a node can run. `name` is what an API client writes (`python3.11`), `label` what people read."""

    name: str
    label: str
    family: Literal["python", "node"]
    version: str


@dataclass(frozen=True)
class Revision:
    """Everything that decides how a function runs. `id`, `account` and `function` are texts of the platform's own."""

    id: str
    account: str
    function: str
    name: str
    version: int
    runtime: str
    handler: str
    memory_mb: int
    timeout_ms: int
    code_sha256: str  # hexadecimal, of the zip
    env: dict[str, str] = field(default_factory=dict, repr=False)  # secrets included
    max_concurrency: int = 10
    account_concurrency: int = 100


@dataclass(frozen=True)
class Failure:
    """Why it failed. `type` is one of ours (`Function.Timeout`) or the name of what the user's code raised."""

    type: str
    message: str
    stack: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"type": self.type, "message": self.message, "stack": self.stack}


@dataclass(frozen=True)
class Build:
    """What came of loading the handler once in a sandbox."""

    ok: bool
    init_ms: int = 0
    max_memory_mb: int = 0
    log: str = ""
    error: Failure | None = None


@dataclass(frozen=True)
class Outcome:
    """How an execution ended. `result` is the JSON that the handler answered."""

    execution_id: str
    status: Status
    result: bytes | None = None
    error: Failure | None = None
    duration_us: int = 0
    billed_ms: int = 0
    init_ms: int | None = None
    cold_start: str | None = None  # first, scale_out, new_version, expired or evicted
    max_memory_mb: int = 0
    log_tail: str = ""


class Driver(Protocol):
    """One runner. Thread-safe; raises only `RunnerError`s."""

    def runtimes(self) -> list[Runtime]:
        """What this node has, found at its start."""

    def put(self, revision: Revision, code: bytes | None) -> bool:
        """Make a revision known; the same again is a no-op. `code` is its zip, or None where the runner may have it.

        False: it does not have code with that hash, call again with it.
        """

    def check(self, revision_id: str) -> Build:
        """Load the handler once, as the first call would. Raises UnknownRevision."""

    def set_live(self, function: str, revision_id: str | None) -> None:
        """The revision that the function's calls use from now on; workers of others end. None: it is deleted."""

    def invoke(
        self,
        revision_id: str,
        execution_id: str,
        event: bytes,
        *,
        attempt: int = 1,
        trigger: Trigger = "sync",
    ) -> Outcome:
        """Run it and wait for the end. A START is in the journal before the code runs, an END before this answers.

        Raises UnknownRevision, Duplicate, Busy, RunnerUnavailable. After RunnerUnavailable it may have run: the journal
        will say.
        """

    def journal(self, cursor: Cursor, limit: int) -> tuple[list[dict[str, Any]], Cursor]:
        """Up to `limit` records after the cursor, oldest first, and the cursor behind them. Complete lines only.

        `{"t": "start", "id": execution, "attempt", "account", "function", "revision", "version", "trigger", "at"}`
        when it begins, where account, function, revision and version are those of the `Revision`; and for each start
        once `{"t": "end"}` with the same members and "status", "error" ({"type", "message", "stack"} or None),
        "started", "ended", "duration_us", "billed_ms", "init_ms", "cold_start", "memory_mb", "max_memory_mb", "log"
        (its tail) and "result_bytes". A runner that died writes the missing ones when it starts again: failed with
        `Platform.RunnerLost`, billed 0.
        """

    def ack(self, cursor: Cursor) -> None:
        """Everything before the cursor is kept elsewhere now: the runner may forget it."""

    def logs(self, execution_id: str) -> str | None:
        """What an execution has printed so far; None where the runner no longer or never knew it."""

    def status(self) -> dict[str, Any]:
        """Warm workers, busy ones, queued calls, cold starts by reason, lag of the journal: for health and people."""
