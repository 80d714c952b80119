"""A transport within one OS process, for tests: no socket, and every step through the clock.

Behaves as `SocketTransport` does towards its callers, with the same callbacks in the same
order for the same calls: what crosses goes in steps of at most `chunk` bytes, each a callback
of its own, and `capacity` bytes stand for the kernel's buffers. A connection can be cut after
any number of bytes, or stalled as a peer is that stops reading.
Addresses are any text; "host:0" gets a port of its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from itertools import count

from partisan_actors.processes.clock import Clock
from partisan_actors.transport.callbacks import call_back, report_callback_failure, tell_of_room
from partisan_actors.transport.ports import Connection, Receiver

__all__ = ["MemoryConnection", "MemoryDial", "MemoryListener", "MemoryTransport"]


class MemoryTransport:
    """Connects everybody who shares this object; a `Transport`.

    Args:
        clock: every callback goes through its `call_soon`.
        capacity: bytes on the way in each direction before they count as unsent.
        chunk: most bytes delivered in one step.
        cut_after: asked for each new connection after how many bytes, both directions
            together, it is reset; None: never.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity: int = 256 * 1024,
        chunk: int = 64 * 1024,
        cut_after: Callable[[], int | None] | None = None,
    ) -> None:
        self.clock = clock
        self.capacity = capacity
        self.chunk = chunk
        self.cut_after = cut_after
        self.listeners: dict[str, MemoryListener] = {}
        self.connections: list[MemoryConnection] = []  # the dialling ends that are open, oldest first
        self._ports = count(10_001)

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> MemoryListener:
        """Accept those who dial `address`.

        Raises:
            OSError: somebody does already.
        """
        if address.endswith(":0"):
            address = f"{address[:-2]}:{next(self._ports)}"
        if address in self.listeners:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {address}: {os.strerror(errno.EADDRINUSE)}")
        listener = self.listeners[address] = MemoryListener(self, address, accepted)
        return listener

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> MemoryDial:
        """Connect to `address`, or fail with "refused", in the next step: no time passes."""
        dial = MemoryDial()
        self.clock.call_soon(self._connect, dial, address, connected, failed)
        return dial

    def _connect(
        self,
        dial: MemoryDial,
        address: str,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> None:
        if dial.cancelled:
            return
        listener = self.listeners.get(address)
        if listener is None:
            call_back("failed", address, failed, "refused")
            return
        near = MemoryConnection(self, address)
        far = MemoryConnection(self, f"memory:{next(self._ports)}")
        near.peer, far.peer = far, near
        near.cut_after(self.cut_after() if self.cut_after is not None else None)
        self.connections.append(near)
        near.start(call_back("connected", address, connected, near))
        # As with sockets, the accepting end learns of it in a step of its own.
        self.clock.call_soon(self._accept, far, listener)

    def _accept(self, far: MemoryConnection, listener: MemoryListener) -> None:
        if far.peer.is_open:
            far.start(call_back("accepted", far.peer_address, listener.accepted, far))


class MemoryListener:
    """A `Listener`."""

    def __init__(
        self, transport: MemoryTransport, address: str, accepted: Callable[[Connection], Receiver | None]
    ) -> None:
        self.address = address
        self.accepted = accepted
        self.turned_away = 0
        self._transport = transport

    def close(self) -> None:
        """Accept nobody any more."""
        if self._transport.listeners.get(self.address) is self:
            del self._transport.listeners[self.address]


class MemoryDial:
    """A `Dial`."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Give up."""
        self.cancelled = True


class MemoryConnection:
    """One end of a connection; a `Connection`. `peer` is the other end."""

    peer: MemoryConnection
    security = None

    def __init__(self, transport: MemoryTransport, peer_address: str) -> None:
        self.peer_address = peer_address
        self.unsent = 0
        self._transport = transport
        self._receiver: Receiver | None = None
        self.is_open = True
        self._ended = False  # by `close`: what is in `_outgoing` still arrives, then the end of file
        self._outgoing = bytearray()  # written and not yet delivered; what is above the capacity is unsent
        self._budget: list[int | None] = [None]  # bytes until the cut; shared by both ends
        self._stalled = False
        self._scheduled = False  # a step of delivery to the peer is due

    def start(self, receiver: Receiver | None) -> None:
        """Deliver to `receiver` from now on, or end the connection if there is none."""
        self._receiver = receiver
        if receiver is None:
            self.close("refused")
        self.peer._schedule()

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Pass on what there is capacity for and count the rest as unsent."""
        if not self.is_open:
            return
        for buffer in buffers:
            self._outgoing += buffer
        self.unsent = max(0, len(self._outgoing) - self._transport.capacity)
        self._schedule()

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; what was passed on, with `flush` all that was written, still arrives."""
        if not self.is_open:
            return
        self._end(reason)
        self._ended = True
        if not flush:
            del self._outgoing[self._transport.capacity :]
        self._schedule()

    def cut_after(self, count: int | None) -> None:
        """Reset both ends once `count` more bytes, of both directions together, have been delivered."""
        self._budget = self.peer._budget = [count]

    def cut(self) -> None:
        """Reset both ends now; what is on the way is lost."""
        for end in (self, self.peer):
            end._outgoing.clear()
            end._end("reset")

    def stall(self, flag: bool = True) -> None:
        """Deliver nothing to this end any more, as if it did not read, or go on with that."""
        self._stalled = flag
        self.peer._schedule()

    def _schedule(self) -> None:
        if self._scheduled or not (self._outgoing or self._ended):
            return
        self._scheduled = True
        self._transport.clock.call_soon(self._step)

    def _step(self) -> None:
        """Deliver some bytes to the peer, or the end of file."""
        self._scheduled = False
        peer = self.peer
        receiver = peer._receiver
        if receiver is None or not peer.is_open or peer._stalled:
            return
        budget = self._budget[0]
        if budget is not None and budget <= 0:
            self.cut()
            return
        if not self._outgoing:
            if self._ended:
                peer._end("eof")
            return
        try:
            self._deliver(receiver, budget)
        except BaseException as error:
            peer.close("callback failed")
            report_callback_failure(error, "received", peer.peer_address)
        self._schedule()

    def _deliver(self, receiver: Receiver, budget: int | None) -> None:
        into = receiver.buffer()
        if not into:
            raise ValueError("the receiver gave an empty buffer")
        size = min(len(into), len(self._outgoing), self._transport.chunk)
        if budget is not None:
            size = min(size, budget)
            self._budget[0] = budget - size
        into[:size] = self._outgoing[:size]
        del self._outgoing[:size]
        had_unsent = self.unsent > 0
        self.unsent = max(0, len(self._outgoing) - self._transport.capacity) if self.is_open else 0
        if had_unsent and not self.unsent and self.is_open:
            self._transport.clock.call_soon(self._report_room)
        receiver.received(size)

    def _report_room(self) -> None:
        if not self.is_open or self.unsent or self._receiver is None:
            return
        tell_of_room(self, self._receiver)

    def _end(self, reason: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.unsent = 0
        self._transport.clock.call_soon(self._report, reason)

    def _report(self, reason: str) -> None:
        if self in self._transport.connections:
            self._transport.connections.remove(self)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            call_back("closed", self.peer_address, receiver.closed, reason)
