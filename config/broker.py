"""A folder as Celery's broker (`folder://`): one file a message, for one machine without a service. Not the truth.

Not kombu's own `filesystem://`: its messages come into being empty and are written afterwards, and a worker that looks
in between ends with a JSON error. Here a message appears whole or not at all, and whoever removes its file has it.
"""

import json
import os
import time
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, virtual

TRANSPORT_ALIASES["folder"] = "config.broker:Transport"


class Channel(virtual.Channel):
    """Messages of a queue are the files of a folder, oldest name first. Drafts begin with a dot."""

    def _folder(self, queue: str) -> Path:
        folder: Path = Path(self.connection.client.transport_options["folder"]) / queue
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _messages(self, queue: str) -> list[Path]:
        folder = self._folder(queue)
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        name = f"{time.time_ns():020}-{uuid4().hex}"
        draft = self._folder(queue) / f".{name}"
        draft.write_text(json.dumps(message))
        draft.rename(draft.with_name(name))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        for path in self._messages(queue):
            try:
                text = path.read_text()
                path.unlink()
            except FileNotFoundError:
                continue  # another worker was faster
            message: dict[str, Any] = json.loads(text)
            return message
        raise Empty

    def peek(self, queue: str) -> dict[str, Any] | None:
        """The message that waits longest, which stays where it is."""
        for path in self._messages(queue):
            try:
                message: dict[str, Any] = json.loads(path.read_text())
                return message
            except FileNotFoundError:
                continue
        return None

    def _size(self, queue: str) -> int:
        return len(self._messages(queue))

    def _purge(self, queue: str) -> int:
        messages = self._messages(queue)
        for path in messages:
            path.unlink(missing_ok=True)
        return len(messages)


class Transport(virtual.Transport):
    Channel = Channel
    driver_type = driver_name = "folder"
    polling_interval = 0.02  # seconds: a nudge arrives in about 13 ms, for 1 % of a core

    def driver_version(self) -> str:
        return "1"
