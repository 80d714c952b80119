"""One connection over a non-blocking stream socket; what TCP and unix sockets share.

Promises: `write` never waits and never calls back; `unsent` is exact; every event does a
bounded amount of work, so that one busy peer delays another by at most one such turn;
`closed` is called exactly once; watchers stop before their descriptor is closed (the loop
would otherwise watch a number that may by then be another file).

Does not know frames, sessions, or whether it was dialled or accepted.

No greenlet is involved: a gevent socket's `recv` and `sendall` do not yield while the socket
stays ready, which was seen to starve a process for 28 s, and waking a reader costs a switch
for each message. Loop watchers are level-triggered, so giving way is to return.

Races absorbed here:
- The peer says why it leaves and closes; our next write fails before we have read that. The
  write only notes the failure, and what has arrived is delivered before `closed`.
- We say why we leave and close; bytes that the peer had under way would make the kernel answer
  with a reset, which discards our last words at the peer. So a flushing close shuts the sending
  side down and reads to the peer's end of file, for at most FLUSH_SECONDS.
- A callback closes the connection whose event is being handled: looked for after each callback.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from gevent.monkey import get_original

from partisan_actors.processes.clock import Clock, Timer
from partisan_actors.transport.callbacks import report_callback_failure
from partisan_actors.transport.ports import Connection, Receiver

__all__ = [
    "FLUSH_SECONDS",
    "WRITE_BUDGET",
    "NewConnection",
    "SendQueue",
    "SocketConnection",
    "SocketFamily",
    "accept_descriptor",
    "adopt_socket",
    "describe_error",
    "new_socket",
]

# A small call beside 16 x 1 MiB on another channel, p50, p99 and what that got: 512 KiB and 1 MiB here 1.2 ms, 2.4 ms,
# 1.3 GB/s; 128 and 256 KiB 0.45 ms, 1.6 ms, 1.2 GB/s; 64 and 128 KiB 0.36 ms, 1.8 ms, 0.85 GB/s.
READ_BUDGET = 128 * 1024  # bytes read for one readiness event
WRITE_BUDGET = 256 * 1024  # bytes written by one call of `write`, or for one readiness event
BUFFER_COST = 256  # bytes of the write budget that each buffer costs, whatever its size: sendmsg walks them
MOST_BUFFERS = 1024  # IOV_MAX of Linux, the BSDs and macOS
FLUSH_SECONDS = 1.0
INPUT_TURNS_AFTER_FAILURE = 64  # 8 MiB: more than the kernel's largest receive buffer by default (6 MiB)
READABLE = 1  # gevent's names for what a watcher watches
WRITABLE = 2

_RESET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN})
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class NewConnection(Connection, Protocol):
    """A connection whose receiver is not known yet."""

    def start(self, receiver: Receiver | None) -> None:
        """Deliver to `receiver` from now on, or end the connection if there is none."""


class SocketFamily(NamedTuple):
    """What differs between TCP, with and without TLS, and unix sockets."""

    prepare: Callable[[socket.socket], None]  # sets the options of a new connection's socket
    peer_address: Callable[[socket.socket], str]  # names the peer of a connected one
    objection: Callable[[socket.socket], str | None] = lambda sock: None  # why nobody must talk to that peer
    wrap: Callable[[SocketConnection, bool], NewConnection] | None = None  # with whether we dialled; None: as it is

    def connection(
        self, sock: socket.socket, peer_address: str, dialled: bool, clock: Clock, loop: Any
    ) -> NewConnection:
        """Make the connection of a connected socket."""
        plain = SocketConnection(sock, peer_address, clock, loop)
        return plain if self.wrap is None else self.wrap(plain, dialled)


def new_socket(family: int) -> socket.socket:
    """Make a non-blocking stream socket.

    Of the standard library's class, in programs that are monkey-patched too: gevent's own
    would wait in the hub, where there is nothing to switch to.
    """
    made: socket.socket = get_original("socket", "socket")(family, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def adopt_socket(descriptor: int) -> socket.socket:
    """Make a non-blocking socket object of a stream socket's descriptor, which it owns from now on."""
    adopted: socket.socket = get_original("socket", "socket")(fileno=descriptor)
    adopted.setblocking(False)
    return adopted


def accept_descriptor(listening: socket.socket) -> int:
    """Accept a connection, as a bare descriptor.

    Not by `accept`: in a monkey-patched program that makes one of gevent's sockets, even here.

    Raises:
        OSError: BlockingIOError when nobody waits, or what accept(2) says.
    """
    accept: Callable[[], tuple[int, Any]] = listening._accept  # type: ignore[attr-defined]
    return accept()[0]


def describe_error(error: OSError) -> str:
    """Name the reason why a connection ended: "reset", "timeout", "unreachable: ..." or "error: ..."."""
    if error.errno in _RESET:
        return "reset"
    if error.errno == errno.ETIMEDOUT:
        return "timeout"
    text = os.strerror(error.errno) if error.errno else str(error)
    return f"unreachable: {text}" if error.errno in _UNREACHABLE else f"error: {text}"


class SendQueue:
    """Buffers that wait for the kernel, first in first out, held without copying."""

    __slots__ = ("_buffers", "size")

    def __init__(self) -> None:
        self._buffers: deque[bytes | memoryview] = deque()
        self.size = 0  # bytes in all of them

    def append(self, buffers: Sequence[bytes | memoryview], sent: int = 0) -> None:
        """Queue `buffers` but for the first `sent` bytes of them."""
        for buffer in buffers:
            length = len(buffer)
            if sent >= length:
                sent -= length
                continue
            self._buffers.append(memoryview(buffer)[sent:] if sent else buffer)
            self.size += length - sent
            sent = 0

    def clear(self) -> None:
        """Drop all of it."""
        self._buffers.clear()
        self.size = 0

    def send(self, sock: socket.socket) -> None:
        """Give the kernel what it takes, up to about WRITE_BUDGET bytes of work.

        Raises:
            OSError: the connection is broken.
        """
        room = WRITE_BUDGET
        while self._buffers and room > 0:
            batch, size = self.batch(room)
            try:
                sent = sock.sendmsg(batch)
            except BlockingIOError:
                return
            self.forget(sent)
            room -= sent + BUFFER_COST * len(batch)
            if sent < size:
                # The kernel is full. Asking again would only make it say so.
                return

    def batch(self, room: int) -> tuple[list[bytes | memoryview], int]:
        """The first buffers, up to `room` bytes, and how many bytes that is. They stay in the queue."""
        batch: list[bytes | memoryview] = []
        size = 0
        for buffer in self._buffers:
            if size + len(buffer) > room:
                batch.append(memoryview(buffer)[: room - size])
                return batch, room
            batch.append(buffer)
            size += len(buffer)
            if len(batch) == MOST_BUFFERS or size == room:
                break
        return batch, size

    def forget(self, sent: int) -> None:
        """Take the first `sent` bytes off."""
        self.size -= sent
        buffers = self._buffers
        while sent:
            first = buffers[0]
            if sent < len(first):
                buffers[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            buffers.popleft()


class SocketConnection:
    """A connected socket and its receiver; a `Connection`."""

    security = None

    __slots__ = (
        "_clock",
        "_deadline",
        "_loop",
        "_open",
        "_output_error",
        "_queue",
        "_reader",
        "_reason",
        "_receiver",
        "_socket",
        "_writer",
        "peer_address",
        "unsent",
    )

    def __init__(self, sock: socket.socket, peer_address: str, clock: Clock, loop: Any) -> None:
        self.peer_address = peer_address
        self.unsent = 0
        self._socket: socket.socket | None = sock  # None once it is closed
        self._clock = clock
        self._loop = loop
        self._queue = SendQueue()
        self._reader = loop.io(sock.fileno(), READABLE)
        self._writer: Any = None  # made when the kernel first takes less than it is given
        self._receiver: Receiver | None = None  # None before `start` and after `closed`
        self._open = True  # False from `close`, or the first sign of the end on
        self._output_error: str | None = None  # why writing failed, while input is still delivered
        self._reason = ""  # what `closed` will say
        self._deadline: Timer | None = None  # ends a flush

    def start(self, receiver: Receiver | None) -> None:
        """Deliver to `receiver` from now on, or end the connection if there is none.

        It may have been closed already; a flush that is under way goes on.
        """
        self._receiver = receiver
        if not self._open:
            return
        if receiver is None:
            self.close("refused")
            return
        self._reader.start(self._on_readable)

    # Writing

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Send what the kernel takes at once and queue the rest."""
        sock = self._socket
        if not self._open or sock is None or self._output_error is not None:
            return
        total = sum(map(len, buffers))
        if self.unsent:
            self._queue.append(buffers)
            self.unsent += total
            return
        if total > WRITE_BUDGET or len(buffers) > MOST_BUFFERS:
            self._queue.append(buffers)
            self._send_queued(sock)
        else:
            try:
                # A call that moves 100 bytes between two sockets takes 2.3 µs with send and 3.0 with sendmsg.
                sent = sock.send(buffers[0]) if len(buffers) == 1 else sock.sendmsg(buffers)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._output_failed(error)
                return
            if sent == total:
                return
            self._queue.append(buffers, sent)
            self.unsent = self._queue.size
        if self.unsent:
            self._await_room(sock)

    def _send_queued(self, sock: socket.socket) -> None:
        try:
            self._queue.send(sock)
        except OSError as error:
            self._output_failed(error)
            return
        self.unsent = self._queue.size

    def _await_room(self, sock: socket.socket) -> None:
        if self._writer is None:
            self._writer = self._loop.io(sock.fileno(), WRITABLE)
        self._writer.start(self._on_writable)

    def _on_writable(self) -> None:
        sock, receiver = self._socket, self._receiver
        if sock is None:
            return
        self._send_queued(sock)
        if self.unsent or self._output_error is not None:
            return
        self._writer.stop()
        if not self._open:
            self._end_output(sock)
            return
        if receiver is None:
            return
        try:
            receiver.writable()
        except BaseException as error:
            self._callback_failed(error, "writable")

    def _output_failed(self, error: OSError) -> None:
        """Note it, and deliver what has arrived before saying so: the peer's reason may be in it."""
        self._output_error = describe_error(error)
        self._queue.clear()
        self.unsent = 0
        if self._writer is not None:
            self._writer.stop()
        if self._open:
            self._clock.call_soon(self._deliver_the_rest, INPUT_TURNS_AFTER_FAILURE)
        else:
            self._clock.call_soon(self._finish, self._reason)

    def _deliver_the_rest(self, turns: int) -> None:
        if not self._open or self._output_error is None:
            return
        self._on_readable()
        if turns > 1:
            self._clock.call_soon(self._deliver_the_rest, turns - 1)
        else:
            self._finish(self._output_error)

    # Reading

    def _on_readable(self) -> None:
        sock, receiver = self._socket, self._receiver
        if sock is None or receiver is None or not self._open:
            return
        try:
            self._read_turn(sock, receiver)
        except BaseException as error:
            self._callback_failed(error, "received")
            return
        if self.unsent and self._output_error is None:
            # The kernel calls a socket writable when a third of its buffer is free, though it takes bytes before. A
            # peer that is heard has got some: so the whole window is used over a WAN, not two thirds of it.
            self._on_writable()

    def _read_turn(self, sock: socket.socket, receiver: Receiver) -> None:
        room = READ_BUDGET
        while room > 0:
            buffer = receiver.buffer()
            size = len(buffer)
            if size > room:
                buffer = buffer[:room]
                size = room
            elif not size:
                raise ValueError("the receiver gave an empty buffer")
            try:
                count = sock.recv_into(buffer)
            except BlockingIOError:
                if self._output_error is not None:
                    self._finish(self._output_error)
                return
            except OSError as error:
                self._finish(describe_error(error))
                return
            if not count:
                self._finish(self._output_error or "eof")
                return
            receiver.received(count)
            if not self._open:
                return
            if count < size and self._output_error is None:
                # The kernel has no more; a call that only says so costs as much as one that reads.
                return
            room -= count

    def _callback_failed(self, error: BaseException, callback: str) -> None:
        # Also for an interrupt: how much of the input was used is not known, so the stream is broken.
        self._finish("callback failed")
        report_callback_failure(error, callback, self.peer_address)

    # Ending

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; `closed(reason)` follows in a later callback."""
        if not self._open:
            if not flush and self._socket is not None:
                self._clock.call_soon(self._finish, self._reason)
            return
        self._open = False
        self._reason = reason
        sock = self._socket
        if flush and sock is not None and self._output_error is None:
            self._deadline = self._clock.call_later(FLUSH_SECONDS, self._finish, reason)
            self._reader.stop()
            self._reader.start(self._on_discardable)
            if not self.unsent:
                self._end_output(sock)
            return
        self._release()
        self._clock.call_soon(self._finish, reason)

    def _end_output(self, sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._clock.call_soon(self._finish, self._reason)
            return
        if not self._reader.active:
            self._clock.call_soon(self._finish, self._reason)

    def _on_discardable(self) -> None:
        """Read for nothing while flushing, so that closing sends no reset over our last words."""
        sock = self._socket
        if sock is None:
            return
        try:
            for _ in range(READ_BUDGET // 65536):
                if not sock.recv(65536):
                    break
            else:
                return
        except BlockingIOError:
            return
        except OSError:
            self._finish(self._reason)
            return
        self._reader.stop()
        if not self.unsent:
            self._finish(self._reason)

    def _finish(self, reason: str) -> None:
        """Close the descriptor and tell the receiver, if that is still to be done."""
        if self._open:
            self._open = False
            self._reason = reason
        self._release()
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        try:
            receiver.closed(self._reason)
        except BaseException as error:
            report_callback_failure(error, "closed", self.peer_address)

    def _release(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        if self._deadline is not None:
            self._deadline.cancel()
        self._queue.clear()
        self.unsent = 0
        sock.close()
