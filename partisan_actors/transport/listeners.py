"""A listening socket: accepts a bounded number of peers for each event, and survives a lack of descriptors.

Out of descriptors, a pending peer keeps the listening socket readable while `accept` fails, so
a plain loop would spin at full load. One descriptor is held in reserve for that: given up, it
lets the newcomer be accepted and turned away, and is taken back. If even that fails, accepting
pauses for PAUSE_SECONDS.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import structlog

from partisan_actors.processes.clock import Clock, Timer
from partisan_actors.transport.callbacks import report_callback_failure
from partisan_actors.transport.ports import OTHER_USER, Connection, Receiver
from partisan_actors.transport.sockets import (
    READABLE,
    NewConnection,
    SocketFamily,
    accept_descriptor,
    adopt_socket,
)

__all__ = ["BACKLOG", "SocketListener", "connect_receiver"]

BACKLOG = 1024
ACCEPTS_PER_EVENT = 64
PAUSE_SECONDS = 0.1
LOG_SECONDS = 5.0  # at most one line about failures to accept in that time

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
# What accept(2) says of one newcomer rather than of the listening socket; Linux passes on network errors.
_NEWCOMER_LOST = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ETIMEDOUT,
    }
)

_log = structlog.get_logger("partisan_actors")


def connect_receiver(connection: NewConnection, made: Callable[[Connection], Receiver | None], callback: str) -> None:
    """Ask `made` for the receiver of a new connection and start it; without one the connection ends."""
    try:
        receiver = made(connection)
    except BaseException as error:
        connection.close("callback failed")
        report_callback_failure(error, callback, connection.peer_address)
        return
    connection.start(receiver)


class SocketListener:
    """A bound and listening socket; a `Listener`."""

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        family: SocketFamily,
        accepted: Callable[[Connection], Receiver | None],
        clock: Clock,
        loop: Any,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.turned_away = 0  # peers for which there was no descriptor
        self._socket: socket.socket | None = sock  # None once it is closed
        self._family = family
        self._accepted = accepted
        self._clock = clock
        self._loop = loop
        self._on_close = on_close  # runs while the socket is still open
        self._reserve = _open_reserve()
        self._resume_timer: Timer | None = None
        self._failures = 0  # since the last log line
        self._next_log = clock.now()
        self._watcher = loop.io(sock.fileno(), READABLE)
        self._watcher.start(self._on_acceptable)

    def close(self) -> None:
        """Accept nobody any more."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        self._watcher.stop()
        self._watcher.close()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        if self._on_close is not None:
            self._on_close()
        sock.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _on_acceptable(self) -> None:
        for _ in range(ACCEPTS_PER_EVENT):
            # A callback may have closed the listener.
            if self._socket is None:
                return
            try:
                descriptor = accept_descriptor(self._socket)
            except BlockingIOError:
                return
            except OSError as error:
                if not self._goes_on_after(error):
                    return
                continue
            self._welcome(descriptor)

    def _welcome(self, descriptor: int) -> None:
        sock = adopt_socket(descriptor)
        try:
            self._family.prepare(sock)
            objection = self._family.objection(sock)
            peer_address = self._family.peer_address(sock)
        except OSError:
            # It has gone again.
            sock.close()
            return
        connection = self._family.connection(sock, peer_address, False, self._clock, self._loop)
        connect_receiver(connection, self._accepted, "accepted")
        if objection is not None:
            # Only now, so that its receiver is told, and counts it like others. Nothing of it was read.
            connection.close(f"{OTHER_USER}{objection}")

    def _goes_on_after(self, error: OSError) -> bool:
        """Deal with a failure to accept; whether to go on with the next newcomer."""
        if error.errno in _NEWCOMER_LOST:
            return True
        self._log_failure(error)
        if error.errno in _OUT_OF_DESCRIPTORS and self._turn_one_away():
            return True
        self._pause()
        return False

    def _turn_one_away(self) -> bool:
        if self._socket is None or self._reserve is None:
            return False
        os.close(self._reserve)
        try:
            descriptor = accept_descriptor(self._socket)
        except OSError as error:
            turned_away = isinstance(error, BlockingIOError)
        else:
            os.close(descriptor)
            self.turned_away += 1
            turned_away = True
        # Another thread may have taken the free descriptor meanwhile.
        self._reserve = _open_reserve()
        return turned_away and self._reserve is not None

    def _pause(self) -> None:
        self._watcher.stop()
        self._resume_timer = self._clock.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._socket is None:
            return
        if self._reserve is None:
            self._reserve = _open_reserve()
        self._watcher.start(self._on_acceptable)

    def _log_failure(self, error: OSError) -> None:
        self._failures += 1
        now = self._clock.now()
        if now < self._next_log:
            return
        self._next_log = now + LOG_SECONDS
        _log.warning("accept_failed", address=self.address, reason=error.strerror, failures=self._failures)
        self._failures = 0


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
