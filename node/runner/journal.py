"""The journal: a line when an execution starts, before its code runs, and one when it has ended, before it is told.

It is the meter: what is not in it did not happen. Lines of JSON in numbered segments, the members as
`functions.drivers.base.Driver.journal` names them. Written by one write each, so a kill -9 loses none; a power cut may
lose the last tenth of a second. A segment goes when its reader has acknowledged it and all it started has ended.
"""

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Any

import orjson

SEGMENT_BYTES = 16 << 20
READ_BYTES = 4 << 20
LOST = {"type": "Platform.RunnerLost", "message": "The runner ended while the function ran.", "stack": []}

Started = tuple[str, int]  # execution and attempt


class Journal:
    """`claim` what an earlier runner left before use; one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)
        self.segments: dict[str, set[Started]] = {}  # what each has started
        self.open: dict[Started, tuple[str, dict[str, Any]]] = {}  # what has not ended: its segment and START
        self.owed: list[tuple[Started, dict[str, Any]]] = []  # ENDs that could not be written yet
        self.acknowledged: tuple[str, int] = ("", 0)
        self.fd = -1
        self.size = 0
        self.dirty = False
        for name in sorted(os.listdir(path)):
            self._scan(name)
        self._begin()
        self._end_the_lost()

    def _scan(self, name: str) -> None:
        started = self.segments.setdefault(name, set())
        with (self.path / name).open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):  # cut short as its runner died: its code never ran
                    record = orjson.loads(line)
                    key = (record["id"], record["attempt"])
                    if record["t"] == "start":
                        started.add(key)
                        self.open[key] = (name, record)
                    else:
                        self.open.pop(key, None)

    def _end_the_lost(self) -> None:
        now = time.time()
        facts = {"status": "failed", "error": LOST, "ended": now, "duration_us": 0, "billed_ms": 0, "init_ms": None}
        facts |= {"cold_start": None, "max_memory_mb": 0, "log": "", "result_bytes": 0}
        for key, (_, start) in list(self.open.items()):
            self.end(key, {**facts, "started": start["at"]})

    def _begin(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        # Above every number there ever was, also where a new disk took the place of an old one: a cursor knows them.
        last = int(max(self.segments, default="0").split(".")[0])
        self.name = f"{max(last + 1, int(time.time())):012d}.jsonl"
        self.fd = os.open(self.path / self.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.segments[self.name] = set()
        self.size = 0
        self._forget()

    def has(self, key: Started) -> bool:
        return any(key in started for started in self.segments.values())

    def start(self, key: Started, facts: dict[str, Any]) -> None:
        """Write that it starts now. `facts` are the members that both records have. Raises OSError: it must not run."""
        record = {"t": "start", "id": key[0], "attempt": key[1], **facts}
        self._append(record)
        self.segments[self.name].add(key)
        self.open[key] = (self.name, record)

    def end(self, key: Started, facts: dict[str, Any]) -> None:
        """Write how it ended. Raises OSError when the disk has no room; then it is written as soon as there is."""
        try:
            self._append({**self.open[key][1], **facts, "t": "end"})
        except OSError:
            self.owed.append((key, facts))
            raise
        del self.open[key]
        if self.size > SEGMENT_BYTES:
            self._begin()

    def _append(self, record: dict[str, Any]) -> None:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        done = os.write(self.fd, line)
        if done != len(line):
            os.ftruncate(self.fd, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += done
        self.dirty = True

    def settle(self) -> None:
        """Write the ENDs for which the disk had no room."""
        while self.owed:
            key, facts = self.owed[0]
            try:
                self._append({**self.open[key][1], **facts, "t": "end"})
            except OSError:
                return
            del self.open[key], self.owed[0]

    def sync(self) -> None:
        """Wait for the disk; in a thread of its own."""
        if self.dirty:
            self.dirty = False
            with contextlib.suppress(OSError):  # a segment was just finished, and its descriptor closed
                os.fdatasync(self.fd)

    def read(self, cursor: tuple[str, int], limit: int) -> tuple[bytes, tuple[str, int]]:
        """Up to `limit` whole lines from the cursor on, and the cursor behind them."""
        segment, offset = cursor
        names = sorted(self.segments)
        if segment not in self.segments:
            later = [name for name in names if name > segment]
            segment, offset = later[0], 0
        while True:
            with (self.path / segment).open("rb") as file:
                file.seek(offset)
                data = file.read(READ_BYTES)
            whole = data[: data.rfind(b"\n") + 1]
            if whole or segment == names[-1]:
                break
            # What is left of a finished segment is a line cut short, if anything.
            segment, offset = names[names.index(segment) + 1], 0
        lines = whole.splitlines(keepends=True)[:limit]
        whole = b"".join(lines)
        return whole, (segment, offset + len(whole))

    def acknowledge(self, segment: str, offset: int) -> None:
        self.acknowledged = max(self.acknowledged, (segment, offset))
        self._forget()

    def _forget(self) -> None:
        needed = {name for name, _ in self.open.values()}
        for name in sorted(self.segments):
            if name < self.acknowledged[0] and name not in needed and name != self.name:
                (self.path / name).unlink()
                del self.segments[name]

    def lag_seconds(self) -> float:
        """How old the oldest record is that has not been acknowledged; 0 when all have."""
        line, _ = self.read(self.acknowledged, 1)
        if not line:
            return 0.0
        record = orjson.loads(line)
        return max(0.0, time.time() - record.get("ended", record["at"]))
