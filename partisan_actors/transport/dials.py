"""One attempt to connect, over the addresses that a name stands for, in turn, within one time limit.

Promises: exactly one of `connected` and `failed` is called, from the hub, later than `dial`;
none after `cancel`.

Races absorbed here:
- Dialling a local port on which nobody listens may hit upon that very port as its own: TCP then
  connects the socket with itself (simultaneous open). It looks connected, and holds the port
  against the one that should listen there. It counts as refused.
- A unix listener whose queue is full refuses with EAGAIN, for which no watcher exists: tried
  again every RETRY_SECONDS.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import gevent

from partisan_actors.processes.clock import Clock, Timer, call_at_deadline
from partisan_actors.transport.callbacks import report_callback_failure
from partisan_actors.transport.listeners import connect_receiver
from partisan_actors.transport.ports import OTHER_USER, Connection, Receiver
from partisan_actors.transport.sockets import (
    WRITABLE,
    SocketFamily,
    new_socket,
)

__all__ = ["Candidate", "SocketDial"]

RETRY_SECONDS = 0.02

Candidate = tuple[int, Any]  # the address family, and the address as `connect` takes it

_REFUSED = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT, errno.ENOTCONN})
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EINTR})


class SocketDial:
    """An attempt to connect; a `Dial`."""

    def __init__(
        self,
        address: str,
        timeout: float,
        family: SocketFamily,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
        clock: Clock,
        loop: Any,
    ) -> None:
        self._address = address
        self._family = family
        self._connected = connected
        self._failed = failed
        self._clock = clock
        self._loop = loop
        self._over = False
        self._failure = ""  # the weightiest failure of the candidates so far
        self._candidates: deque[Candidate] = deque()
        self._socket: socket.socket | None = None  # the attempt under way
        self._watcher: Any = None
        self._attempt_timer: Timer | None = None
        self._resolution: Any = None  # the greenlet that asks the resolver
        self._end = clock.now() + timeout
        self._timer = call_at_deadline(clock, timeout, self._fail, "timeout")

    def try_soon(self, candidates: Sequence[Candidate]) -> None:
        """Try `candidates` in turn, starting in a later callback."""
        self._candidates.extend(candidates)
        self._clock.call_soon(self._try_next)

    def resolve(self, look_up: Callable[[], Sequence[Candidate]]) -> None:
        """Try the candidates that `look_up`, which may wait for a resolver, comes back with."""
        # The one greenlet in the transport: resolvers are written to wait.
        self._resolution = gevent.spawn(_outcome_of, look_up)
        self._resolution.rawlink(self._on_resolved)

    def fail_soon(self, reason: str) -> None:
        """Fail with `reason` in a later callback."""
        self._clock.call_soon(self._fail, reason)

    def cancel(self) -> None:
        """Give up; neither callback is called any more."""
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        self._drop_attempt()
        if self._resolution is not None:
            self._resolution.kill(block=False)

    def _on_resolved(self, resolution: Any) -> None:
        self._resolution = None
        if self._over:
            return
        outcome = resolution.value
        if not isinstance(outcome, list):
            self._fail(f"unreachable: {outcome}")
            return
        self._candidates.extend(outcome)
        self._try_next()

    def _try_next(self) -> None:
        if self._over:
            return
        if not self._candidates:
            self._fail(self._failure or "unreachable: the name has no address")
            return
        candidate = self._candidates.popleft()
        try:
            self._socket = sock = new_socket(candidate[0])
            self._family.prepare(sock)
            code = sock.connect_ex(candidate[1])
        except OSError as error:
            self._attempt_failed(error.errno or 0, str(error))
            return
        if code == 0:
            self._on_connectable()
        elif code in _UNDER_WAY:
            self._await_connection(sock)
        elif code == errno.EAGAIN and candidate[0] == socket.AF_UNIX:
            self._drop_attempt()
            self._candidates.appendleft(candidate)
            self._attempt_timer = self._clock.call_later(RETRY_SECONDS, self._try_next)
        else:
            self._attempt_failed(code)

    def _await_connection(self, sock: socket.socket) -> None:
        self._watcher = self._loop.io(sock.fileno(), WRITABLE)
        self._watcher.start(self._on_connectable)
        if self._candidates:
            # A silent address must leave time for the others: each gets an equal share of what is left.
            share = (self._end - self._clock.now()) / (len(self._candidates) + 1)
            self._attempt_timer = self._clock.call_later(max(share, 0.0), self._attempt_failed, errno.ETIMEDOUT)

    def _on_connectable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._attempt_failed(code)
                return
            if sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername():
                self._attempt_failed(errno.ECONNREFUSED)
                return
            peer_address = self._family.peer_address(sock)
            objection = self._family.objection(sock)
        except OSError as error:
            self._attempt_failed(error.errno or 0, str(error))
            return
        if objection is not None:
            self._attempt_failed(0, f"{OTHER_USER}{objection}")
            return
        self._succeed(sock, peer_address)

    def _succeed(self, sock: socket.socket, peer_address: str) -> None:
        self._socket = None
        self.cancel()
        # The dial's own watcher is gone by now: the connection makes the only one on this descriptor.
        connection = self._family.connection(sock, peer_address, True, self._clock, self._loop)
        connect_receiver(connection, self._connected, "connected")

    def _attempt_failed(self, code: int, text: str | None = None) -> None:
        self._drop_attempt()
        self._failure = _weightier(self._failure, _failure_of(code, text))
        self._try_next()

    def _fail(self, reason: str) -> None:
        if self._over:
            return
        self.cancel()
        try:
            self._failed(reason)
        except BaseException as error:
            report_callback_failure(error, "failed", self._address)

    def _drop_attempt(self) -> None:
        if self._attempt_timer is not None:
            self._attempt_timer.cancel()
            self._attempt_timer = None
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _outcome_of(look_up: Callable[[], Sequence[Candidate]]) -> list[Candidate] | str:
    """Look up, and give the failure as text: an exception would be printed as the greenlet's crash."""
    try:
        return list(look_up())
    except Exception as error:
        return getattr(error, "strerror", None) or str(error)


def _failure_of(code: int, text: str | None) -> str:
    if code in _REFUSED:
        return "refused"
    if code == errno.ETIMEDOUT:
        return "timeout"
    return f"unreachable: {os.strerror(code) if code > 0 else text}"


def _weightier(first: str, second: str) -> str:
    """Choose what to report of two candidates' failures.

    A refusal proves that nobody listens, which a failure detector acts upon: so it is reported
    only if no other candidate left it open.
    """
    for reason in ("timeout", "refused"):
        if reason in (first, second):
            return reason
    return first or second
