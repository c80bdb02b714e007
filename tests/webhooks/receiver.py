"""A receiver of webhooks on this machine, and a dispatcher to send to it. No fixtures and no tests."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from webhooks.dispatcher import Dispatcher

WAIT = 60  # seconds for whatever is awaited


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests may go away in the middle."""


class Receiver:
    """Keeps what it got, and answers `reply`, which may be a function of what came; by HTTPS where it has `tls`."""

    def __init__(self, reply: Reply | Callable[[Received], Reply] | None = None, tls: ssl.SSLContext | None = None):
        self.reply = reply or Reply()
        self.got: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received = Received(self.path, dict(self.headers), body)
                receiver.got.append(received)
                reply = receiver.reply(received) if callable(receiver.reply) else receiver.reply
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def dispatching() -> Iterator[Dispatcher]:
    """A dispatcher at work in a thread of its own."""
    ready, box = threading.Event(), []

    async def run() -> None:
        box.extend([Dispatcher(), asyncio.get_running_loop()])
        ready.set()
        await box[0].run()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait()
    dispatcher, loop = box
    try:
        yield dispatcher
    finally:
        loop.call_soon_threadsafe(dispatcher.stop)
        thread.join()


def until(condition: Callable[[], Any], seconds: float = WAIT) -> Any:
    """What `condition` answers once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found
