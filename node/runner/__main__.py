"""`python -m node.runner --home DIR`: the command line and the signals of the runner."""

import argparse
import asyncio
import fcntl
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from node import client, control
from node.runner import wire
from node.runner.daemon import Connection
from node.runner.runner import Runner, Settings

log = logging.getLogger("node.runner")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m node.runner", description="Run this machine's functions.")
    parser.add_argument("--home", type=Path, required=True, help="directory for the journal and the code")
    parser.add_argument("--memory-mb", type=int, help="promise workers so much together (default: 3/4 of the machine)")
    parser.add_argument("--keep-warm", type=float, default=600.0, help="seconds before an unused worker ends")
    parser.add_argument("--ready-python", type=int, default=3, help="sandboxes kept ready for Python (default: 3)")
    parser.add_argument("--ready-node", type=int, default=2, help="sandboxes kept ready for each Node (default: 2)")
    parser.add_argument("--init-seconds", type=float, default=10.0, help="longest that loading a function may take")
    return parser.parse_args(argv)


def claim(home: Path) -> int:
    """Hold the home for the life of the process. Raises SystemExit when another runner has it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home / "runner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"Another runner already runs in {home}.") from None
    return lock


async def serve(arguments: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    home = arguments.home.absolute()
    claim(home)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    settings = Settings(
        memory_mb=arguments.memory_mb or whole * 3 // 4,
        keep_warm=arguments.keep_warm,
        init_seconds=arguments.init_seconds,
        ready={"python": arguments.ready_python, "node": arguments.ready_node},
    )
    runner = Runner(home, settings)
    path = client.socket_path(home, wire.SOCKET)
    server = await loop.create_unix_server(lambda: Connection(runner), sock=control.bind(path))
    runner.begin()
    log.info("the function runner serves %s with %s", home, ", ".join(runner.pool.runtimes))
    await ended.wait()
    server.close()
    await runner.close()
    path.unlink(missing_ok=True)
    log.info("the function runner ends, with its sandboxes")


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
