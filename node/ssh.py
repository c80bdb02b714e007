"""The SSH front end: authenticates by the instance's keys, then only carries bytes to and from processes inside.

Nothing of a session happens in the agent: shells, commands, scp and sftp are processes that `Instance.enter` started,
terminals are opened inside, and forwarded connections end in the instance's own network.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.forward import SSHForwarder

from node import errors, sandbox
from node.session import Session

if TYPE_CHECKING:
    from node.instance import Instance

log = logging.getLogger(__name__)

LOGIN_SECONDS = 30
PORTS = [22, *range(2222, 2242)]  # the plain one where it can be had


def bind(address: str, preferred: int) -> socket.socket:
    """A socket on `preferred` (0 for none), else on the first workable port. Raises errors.Retryable."""
    for port in [preferred, *PORTS] if preferred else PORTS:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((address, port))
        except OSError:  # taken, or not for ordinary users
            bound.close()
        else:
            return bound
    raise errors.Retryable(f"No port is free for SSH at {address}: tried 22 and {PORTS[1]} to {PORTS[-1]}.")


async def listen(instance: "Instance", bound: socket.socket) -> asyncssh.SSHAcceptor:
    """Serve SSH for `instance` on the bound socket, which the listener owns from here on."""
    return await asyncssh.listen(
        sock=bound,
        server_factory=lambda: Server(instance),
        server_host_keys=[instance.host_key],
        server_version="Lambda",
        config=None,
        encoding=None,
        line_editor=False,
        login_timeout=LOGIN_SECONDS,
        gss_host=None,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        agent_forwarding=False,
        x11_forwarding=False,
        compression_algs=None,
        rdns_lookup=False,
    )


class Server(asyncssh.SSHServer):
    """One connection to one instance."""

    connection: asyncssh.SSHServerConnection  # from connection_made on

    def __init__(self, instance: "Instance") -> None:
        self.instance = instance

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Only the instance's user, only by a key of its specification."""
        if username != sandbox.USER:
            return False
        offered = key.public_data
        for line in self.instance.spec.ssh_keys:
            with contextlib.suppress(asyncssh.KeyImportError):
                if asyncssh.import_public_key(line).public_data == offered:
                    return True
        return False

    def session_requested(self) -> "Session":
        return Session(self.instance, self.connection)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int):
        """`ssh -L`: to the instance itself, by whatever name; the host and its networks are not reached this way."""
        if not self._is_instance(dest_host):
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED,
                "Only ports of the instance itself can be forwarded: use localhost.",
            )
        return self._forward(dest_port)

    def _is_instance(self, host: str) -> bool:
        spec = self.instance.spec
        if host.lower() in ("localhost", spec.hostname.lower(), spec.address):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    async def _forward(self, port: int) -> SSHForwarder:
        running = self.instance.running
        try:
            if running is None:
                raise OSError("the instance is not running")
            inside = await self.instance.fleet.spawner.dial(running.pidfd, port)
            _, peer = await asyncio.get_running_loop().create_connection(SSHForwarder, sock=inside)
        except OSError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        return SSHForwarder(peer)
