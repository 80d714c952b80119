"""TCP: options, names, and the addresses that a host name stands for; under TLS where the node has certificates.

Not here: what TLS does (see `tls_connection`), and anything that happens on a connection once it is made (see
`sockets`).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.monkey import get_original

from partisan_actors.processes.clock import Clock
from partisan_actors.transport.addresses import TcpAddress, format_address, is_numeric, parse_address
from partisan_actors.transport.dials import Candidate, SocketDial
from partisan_actors.transport.listeners import BACKLOG, SocketListener
from partisan_actors.transport.ports import Connection, Receiver
from partisan_actors.transport.sockets import NewConnection, SocketConnection, SocketFamily, new_socket
from partisan_actors.transport.tls import TLS, TlsCredentials
from partisan_actors.transport.tls_connection import TlsConnection

__all__ = ["TcpTransport"]

# TCP_NOTSENT_LOWAT: how many bytes the kernel takes beyond what it has on the way, so how much a small frame may find
# before it on its connection (else up to the send buffer's 4 MiB). Writes of 1 MiB to another process over loopback,
# medians of 7 runs: 16 KiB 3.0 GB/s, 64 KiB 3.4, 128 KiB 3.1, 256 KiB 3.0, 512 KiB 3.3, without a limit 4.1; single
# runs differ by a third. From 64 KiB on the value makes no difference that can be told from noise there; a WAN
# wants some slack between two events of a busy hub (128 KiB is 1 ms of a gigabit).
UNSENT_LOW_WATER = 128 * 1024


class TcpTransport:
    """Connections over TCP; a `Transport` for "host:port" and "[v6]:port"."""

    def __init__(self, clock: Clock, loop: Any, tls: TLS | None = None) -> None:
        self._clock = clock
        self._loop = loop
        self._family = SocketFamily(_set_options, _peer_address, wrap=None if tls is None else _under_tls(tls, clock))

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> SocketListener:
        """Accept peers at `address`. A host name waits for the resolver, so it cannot be used in the hub.

        Raises:
            ValueError: the address cannot be read.
            OSError: it cannot be bound; the text names it.
        """
        wanted = _parse(address)
        problem: OSError | None = None
        try:
            for family, socket_address in _look_up(wanted, numeric=is_numeric(wanted.host)):
                try:
                    sock = _bind(family, socket_address)
                except OSError as error:
                    problem = problem or error
                    continue
                bound = _format(family, sock.getsockname())
                return SocketListener(sock, bound, self._family, accepted, self._clock, self._loop)
        except OSError as error:
            problem = error
        if problem is None:
            problem = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        raise OSError(problem.errno, f"cannot listen on {address}: {problem.strerror}") from problem

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> SocketDial:
        """Connect to `address` within `timeout` seconds; one of the two callbacks follows."""
        dial = SocketDial(address, timeout, self._family, connected, failed, self._clock, self._loop)
        try:
            wanted = _parse(address)
            if not wanted.port:
                raise ValueError(f"address {address!r}: nobody listens on port 0")
            if is_numeric(wanted.host):
                dial.try_soon(_look_up(wanted, numeric=True))
            else:
                dial.resolve(lambda: _look_up(wanted, numeric=False))
        except (ValueError, OSError) as error:
            dial.fail_soon(f"unreachable: {error}")
        return dial


def _under_tls(tls: TLS, clock: Clock) -> Callable[[SocketConnection, bool], NewConnection]:
    credentials = TlsCredentials(tls)
    return lambda plain, dialled: TlsConnection(plain, credentials.current(), dialled, clock)


def _parse(address: str) -> TcpAddress:
    parsed = parse_address(address)
    if not isinstance(parsed, TcpAddress):
        raise ValueError(f"address {address!r} is not one of TCP")
    return parsed


def _look_up(address: TcpAddress, *, numeric: bool) -> list[Candidate]:
    """List the socket addresses of a host in the system's order of preference (RFC 6724)."""
    # A number goes through getaddrinfo too, for the zone of "fe80::1%eth0", but needs no resolver.
    look_up = get_original("socket", "getaddrinfo") if numeric else get_hub().resolver.getaddrinfo
    flags = socket.AI_NUMERICSERV | (socket.AI_NUMERICHOST if numeric else 0)
    found = look_up(address.host, address.port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, flags)
    candidates: list[Candidate] = []
    for family, _, _, _, socket_address in found:
        if (family, socket_address) not in candidates:
            candidates.append((family, socket_address))
    return candidates


def _bind(family: int, socket_address: Any) -> socket.socket:
    sock = new_socket(family)
    try:
        # A listener that is started again must not wait for the old one's connections in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "[::]:80" is IPv6 alone, on every system, so that "0.0.0.0:80" can stand beside it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(socket_address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW_WATER)


def _peer_address(sock: socket.socket) -> str:
    return _format(sock.family, sock.getpeername())


def _format(family: int, socket_address: Any) -> str:
    host, port = socket_address[:2]
    if family == socket.AF_INET6 and socket_address[3] and "%" not in host:
        host = f"{host}%{socket_address[3]}"
    return format_address(TcpAddress(host, port))
