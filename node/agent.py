"""The node agent, `python -m node.agent --home DIR`: one process per machine that owns its instances.

Here: the command line, the control socket, signals. What it does with instances is `node.fleet`.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import resource
import signal
import sys
from pathlib import Path

from node import client, control, errors, recovery
from node.fleet import Fleet
from node.records import Home

log = logging.getLogger("node.agent")

REQUEST_BYTES = 1 << 22
OPERATIONS = {"probe", "create", "start", "stop", "restart", "resize", "rebuild", "delete", "get", "list", "console"}


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m node.agent", description="Own the instances of this machine.")
    parser.add_argument("--home", type=Path, required=True, help="directory for instances and images")
    parser.add_argument("--socket", type=Path, help="control socket (default: agent.sock in the home)")
    parser.add_argument(
        "--stop-instances-on-exit",
        action="store_true",
        help="end the instances on SIGTERM and start them again next time; otherwise they go on and are taken over",
    )
    parser.add_argument("--memory-mb", type=int, help="plan with so much memory of this machine (default: all)")
    return parser.parse_args(argv)


class Control:
    """Answers the control socket."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.running: set[asyncio.Task] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request. What was begun is finished even if the caller goes away."""
        with contextlib.suppress(OSError, ValueError):
            line = await reader.readline()
            if line:
                work = asyncio.ensure_future(self.answer(line))
                self.running.add(work)
                work.add_done_callback(self.running.discard)
                writer.write(await asyncio.shield(work))
                await writer.drain()
        writer.close()

    async def answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
            if request["op"] not in OPERATIONS:
                raise errors.Fatal(f"There is no operation {request['op']!r}.")
            result = {"result": await getattr(self.fleet, request["op"])(**request["arguments"])}
        except errors.NodeError as error:
            result = {"error": {"kind": error.kind, "message": str(error)}}
        except OSError as error:
            log.exception("an operation failed")
            result = {"error": {"kind": "Retryable", "message": f"The node had a problem: {error.strerror or error}."}}
        except Exception as error:
            log.exception("an operation failed")
            result = {"error": {"kind": "Fatal", "message": f"The node failed: {type(error).__name__}: {error}."}}
        return json.dumps(result).encode() + b"\n"


async def serve(arguments: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    home = Home(arguments.home)
    try:
        home.claim()
    except BlockingIOError:
        raise SystemExit(f"Another node agent already runs in {home.path}.") from None
    # A descriptor or more per instance and session; the limit that matters is the system's.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    fleet = Fleet(home, arguments.memory_mb)
    answers = Control(fleet)
    path = arguments.socket or client.socket_path(home.path)
    server = await asyncio.start_unix_server(answers.serve, sock=control.bind(path), limit=REQUEST_BYTES)
    fleet.spawner.start()
    recovery.begin(fleet)
    fleet.spawn(fleet.trim_consoles())
    log.info("the node agent serves %s", home.path)
    await ended.wait()
    server.close()
    if answers.running:
        await asyncio.wait(answers.running, timeout=5)
    await fleet.close(arguments.stop_instances_on_exit)
    path.unlink(missing_ok=True)
    log.info("the node agent ends, %s", "with its instances" if arguments.stop_instances_on_exit else "instances go on")


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
