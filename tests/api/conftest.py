"""A web server as `up` runs it, for what only a real socket can show."""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import Live


@dataclass
class Answer:
    """What came back, to the byte."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served(Live):
    """The web processes of a Lambda that trusts 127.0.0.2 as its proxy."""

    def __init__(self, home: Path):
        super().__init__(home)
        self.home = home
        self.environment |= {"LAMBDA_LOG_LEVEL": "WARNING", "LAMBDA_TRUSTED_PROXIES": "127.0.0.2"}
        self.start_web()

    def send(self, method, path, body=None, *, key=None, headers=(), source=None) -> Answer:
        """One request on a connection of its own, from `source`, with the account's key; `key=""` sends none.

        A body is JSON; bytes go out as they are, and an iterator's in chunks.
        """
        sent = dict(headers)
        if key != "":
            sent.setdefault("Authorization", f"Bearer {key or self.key}".encode())
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        wire = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60, source_address=(source, 0) if source else None
        )
        try:
            wire.request(method, path, body, sent)
            answer = wire.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            wire.close()

    def raw(self, data: bytes) -> bytes:
        """What comes back for exactly these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as wire:
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
            parts = []
            while part := wire.recv(65536):
                parts.append(part)
        return b"".join(parts)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as web:
        yield web
