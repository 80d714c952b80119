"""Unix stream sockets: for nodes of one machine, with the file's permissions and the peer's user as the lock.

The socket's file belongs to its owner alone (0600). The user of the other end, as the kernel tells it (Linux only),
must be ours or root, who can do everything anyhow: whoever listens as well as whoever dials. A file that a dead
process left behind is replaced; one that somebody listens on is an error.

Races absorbed here:
- Between bind and listen a socket refuses connections, as a dead one does. Its mode is set
  there, so that nobody connects under a wider one.
- Another process may replace the file at any time. Before it is removed it is compared by
  device and inode with the one that was judged, or made: the number cannot be used again while
  the socket is open. What is left is the instant between comparing and removing.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any

from partisan_actors.processes.clock import Clock
from partisan_actors.transport.addresses import UNIX_PREFIX, UnixAddress, format_address, parse_address
from partisan_actors.transport.dials import SocketDial
from partisan_actors.transport.listeners import BACKLOG, SocketListener
from partisan_actors.transport.ports import Connection, Receiver
from partisan_actors.transport.sockets import SocketFamily, new_socket

__all__ = ["UnixTransport"]

OWNER_ONLY = 0o600
ROOT = 0
BIND_ATTEMPTS = 3  # a file that vanishes or changes between two looks at it is looked at again
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

Identity = tuple[int, int]  # device and inode


class UnixTransport:
    """Connections over unix sockets; a `Transport` for "unix:/path"."""

    def __init__(self, clock: Clock, loop: Any) -> None:
        self._clock = clock
        self._loop = loop
        self._family = SocketFamily(_set_options, _peer_address, _objection)

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> SocketListener:
        """Accept peers at `address`.

        Raises:
            ValueError: the address cannot be read.
            OSError: it cannot be bound, or somebody listens there; the text names it.
        """
        path = _parse(address).path
        try:
            sock = _bind(path)
        except OSError as error:
            text = error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {address}: {text}") from error
        made = _identity(path)
        bound = format_address(UnixAddress(path))
        owner = os.getpid()

        def remove() -> None:
            # The child of a fork closes its copy of the socket; the file is its parent's.
            if os.getpid() == owner:
                _remove(path, made)

        return SocketListener(sock, bound, self._family, accepted, self._clock, self._loop, remove)

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
            dial.try_soon([(socket.AF_UNIX, _parse(address).path)])
        except ValueError as error:
            dial.fail_soon(f"unreachable: {error}")
        return dial


def _parse(address: str) -> UnixAddress:
    parsed = parse_address(address)
    if not isinstance(parsed, UnixAddress):
        raise ValueError(f"address {address!r} is not one of a unix socket")
    return parsed


def _bind(path: str) -> socket.socket:
    sock = new_socket(socket.AF_UNIX)
    try:
        for attempt in range(BIND_ATTEMPTS):
            try:
                sock.bind(path)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or attempt == BIND_ATTEMPTS - 1:
                    raise
            _remove_stale(path)
        os.chmod(path, OWNER_ONLY)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket file of a dead process.

    Raises:
        OSError: the path is something else, or somebody listens there.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EEXIST, "the path exists and is no socket")
    probe = new_socket(socket.AF_UNIX)
    try:
        code = probe.connect_ex(path)
    finally:
        probe.close()
    if code == errno.ECONNREFUSED:
        _remove(path, (status.st_dev, status.st_ino))
    elif code in (0, errno.EAGAIN):
        raise OSError(errno.EADDRINUSE, "a live process listens there")
    elif code != errno.ENOENT:
        raise OSError(code, os.strerror(code))


def _identity(path: str) -> Identity | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove(path: str, identity: Identity | None) -> None:
    if identity is None or _identity(path) != identity:
        return
    try:
        os.unlink(path)
    except OSError:
        # Gone, or not ours to remove any more: a dead file is replaced by whoever comes next.
        return


def _set_options(sock: socket.socket) -> None:
    """Nothing to set: no delays, no keep-alive, and the kernel knows when the peer dies."""


def _peer_address(sock: socket.socket) -> str:
    path = sock.getpeername()
    if isinstance(path, str) and path:
        return UNIX_PREFIX + path
    if not hasattr(socket, "SO_PEERCRED"):
        return UNIX_PREFIX
    pid, uid = _peer_process(sock)
    return f"{UNIX_PREFIX}uid={uid},pid={pid}"


def _objection(sock: socket.socket) -> str | None:
    """Why the peer's user is not one to talk to: it must be able to be us."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid = _peer_process(sock)
    own = os.geteuid()
    return None if uid in (own, ROOT) else f"the other side is user {uid}, and this is user {own}"


def _peer_process(sock: socket.socket) -> tuple[int, int]:
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid
