"""The transport of a real node: TCP, under TLS where there are certificates, or unix sockets, as the address says."""

from __future__ import annotations

from collections.abc import Callable

from gevent import get_hub

from partisan_actors.processes.clock import Clock
from partisan_actors.transport.addresses import UNIX_PREFIX
from partisan_actors.transport.dials import SocketDial
from partisan_actors.transport.listeners import SocketListener
from partisan_actors.transport.ports import Connection, Receiver
from partisan_actors.transport.tcp import TcpTransport
from partisan_actors.transport.tls import TLS
from partisan_actors.transport.unix import UnixTransport

__all__ = ["SocketTransport"]


class SocketTransport:
    """Connections over sockets; a `Transport` that belongs to the thread that made it."""

    def __init__(self, clock: Clock, tls: TLS | None = None) -> None:
        """Make it. With `tls`, all of TCP is under TLS. Raises as `TLS` does."""
        loop = get_hub().loop
        self._tcp = TcpTransport(clock, loop, tls)
        self._unix = UnixTransport(clock, loop)

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> SocketListener:
        """Accept peers at `address`: "host:port", "[v6]:port" or "unix:/path".

        Raises:
            ValueError: the address cannot be read.
            OSError: it cannot be bound; the text names it.
        """
        return self._of(address).listen(address, accepted)

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> SocketDial:
        """Connect to `address` within `timeout` seconds; one of the two callbacks follows, later."""
        return self._of(address).dial(address, timeout, connected, failed)

    def _of(self, address: str) -> TcpTransport | UnixTransport:
        return self._unix if address.startswith(UNIX_PREFIX) else self._tcp
