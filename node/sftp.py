"""SFTP for images without OpenSSH's sftp-server: asyncssh's, run inside the instance, never in the agent.

Reached only in a process that `node.forkserver` has put into the instance, as the instance's user. asyncssh speaks SFTP
over a channel of its own; here the channel is the process's standard input and output.
"""

import asyncio
import sys

from asyncssh.logging import logger
from asyncssh.sftp import SFTPServer, run_sftp_server


class Channel(asyncio.StreamReader):
    """What asyncssh's SFTP server asks of a reader, a writer and the channel behind them, in one."""

    logger = logger
    writer: asyncio.StreamWriter

    @property
    def channel(self) -> "Channel":
        return self

    def is_closing(self) -> bool:
        return self.writer.is_closing()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    def get_extra_info(self, name: str, default=None):
        # OpenSSH's order of a symlink's arguments is not the standard's, and all clients follow it.
        return "OpenSSH" if name == "client_version" else default


async def session() -> None:
    loop = asyncio.get_running_loop()
    channel = Channel()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(channel), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    channel.writer = asyncio.StreamWriter(transport, protocol, None, loop)
    await run_sftp_server(SFTPServer(channel), channel, channel, 3)  # type: ignore[arg-type]
    # The transport tells nobody when all is written.
    while transport.get_write_buffer_size():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def serve() -> None:
    """Serve one session on standard input and output."""
    asyncio.run(session())
