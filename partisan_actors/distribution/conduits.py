"""The conduits of one node: the driver of their machines, and the transport of the addresses "route:<node>".

Promised: a conduit is a `transport.ports.Connection` like any other, but for two things. Nobody but members can be at
the other end, since only members relay: what is known of them is what the handshake proves, end to end, and `security`
is None. So under TLS, too, who is at the other end is known by the cookie alone, and not by its certificate's name. And
whoever relays can read what it relays, as the bytes are not encrypted between the two ends, only between neighbours: a
cluster's members trust each other with that.

Bytes go to whoever is given as `send`, and come by `arrived`. Not known here: how they are relayed, sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from partisan_actors.distribution.bad_input import BadInputLog
from partisan_actors.distribution.conduit import (
    Conduit,
    ConduitParameters,
    Deliver,
    Doubt,
    Ended,
    Opened,
    Transmit,
    Writable,
)
from partisan_actors.distribution.conduit_wire import OPEN, RESET, Buffer, Segment, decode_segment, encode_control
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.processes.clock import Clock, Timer, call_at_deadline
from partisan_actors.transport import Connection, Dial, Listener, Receiver, Transport
from partisan_actors.transport.callbacks import report_callback_failure

__all__ = ["ROUTE", "ConduitConnection", "Conduits", "WithRoutes", "is_route", "route_to"]

ROUTE = "route:"
"""What the addresses of this transport begin with."""

LAST_WORDS = 1.0
"""Seconds that a close with a flush has."""

MOST_FROM_ONE = 16
"""Conduits with one node: two that cross are usual, and a few more when both ends begin anew."""

REMEMBERED = 1024
"""Conduits that have ended and are known by number, so that a late OPEN of theirs opens nothing."""

_TOO_LATE = "nothing is to be done: what it belonged to has ended"

UNDELIVERABLE = 2
"""Times that nobody knew a way, after which it is not waited for."""


def route_to(node: str) -> str:
    """The address of a node that is reached over others."""
    return ROUTE + node


def is_route(address: str) -> bool:
    """Whether it is such an address."""
    return address.startswith(ROUTE)


class ConduitConnection:
    """One end of a conduit; a `Connection`."""

    __slots__ = (
        "_closing",
        "_lost_words",
        "_now",
        "_over",
        "_owner",
        "_reason",
        "_receiver",
        "_timers",
        "dial",
        "machine",
        "node",
        "undeliverable",
    )

    security = None

    def __init__(self, owner: Conduits, node: str, machine: Conduit) -> None:
        self.node = node
        self.machine = machine
        self.dial: ConduitDial | None = None  # that waits for it
        self.undeliverable = 0  # times that nobody knew a way, while it was being opened
        self._owner = owner
        self._now = owner.clock.now
        self._receiver: Receiver | None = None
        self._timers = KeyedTimers(owner.clock, self._fired)
        self._closing = False  # what arrives is dropped
        self._lost_words: Timer | None = None  # when a close that flushes gives up
        self._reason = ""  # what `close` was told
        self._over = False

    def __repr__(self) -> str:
        return f"<ConduitConnection to {self.node}, {self.machine!r}>"

    # As its user sees it

    @property
    def unsent(self) -> int:
        """Bytes that were written and not sent once yet."""
        return self.machine.unsent

    @property
    def peer_address(self) -> str:
        """Who is at the other end."""
        return ROUTE + self.node

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send, as far as the window goes, and keep the rest."""
        if not self._closing:
            self.perform(self.machine.write(buffers, self._now()))

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; with `flush` after what was written, for which there is 1 s."""
        if self._over:
            return
        if self._closing:
            self.perform(self.machine.reset())
            return
        self._closing, self._reason = True, reason
        if flush:
            self._lost_words = self._owner.clock.call_later(LAST_WORDS, self._give_up)
            self.perform(self.machine.close(self._now()))
        else:
            self.perform(self.machine.reset())

    def start(self, receiver: Receiver | None) -> None:
        """Deliver to `receiver` from now on; without one it ends."""
        self._receiver = receiver
        if receiver is None:
            self.close("refused")

    # For its owner

    def take(self, segment: Segment) -> None:
        """Take a segment."""
        now, bad = self._now(), self.machine.bad
        self.perform(self.machine.take(segment, now))
        if self.machine.bad != bad:
            self._owner.refuse(self.node, "a segment that no peer sends")
        if not self._over:
            self.perform(self.machine.read_done(now))

    def perform(self, effects: Sequence[Any]) -> None:
        """Perform effects of the machine."""
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                self._owner.transmit(self.node, effect.buffers)
            elif kind is Deliver:
                self._deliver(effect.data)
            elif kind is SetTimer:
                self._timers.set(effect.key, effect.seconds)
            elif kind is CancelTimer:
                self._timers.cancel(effect.key)
            elif kind is Doubt:
                self._owner.doubt(self.node, effect.seconds)
            elif kind is Writable:
                self._call("writable")
            elif kind is Opened:
                self._opened()
            else:
                assert type(effect) is Ended
                self._ended(effect.reason)

    def _opened(self) -> None:
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.opened(self)

    def _deliver(self, data: Buffer) -> None:
        receiver = self._receiver
        view = memoryview(data)
        while view and receiver is not None and not self._closing:
            try:
                into = receiver.buffer()
                size = min(len(into), len(view))
                into[:size] = view[:size]
                view = view[size:]
                receiver.received(size)
            except Exception as error:
                self._failed(error, "received")

    def _call(self, name: str) -> None:
        if self._receiver is None or self._closing:
            return
        try:
            getattr(self._receiver, name)()
        except Exception as error:
            self._failed(error, name)

    def _failed(self, error: Exception, callback: str) -> None:
        self.close("callback failed")
        report_callback_failure(error, callback, self.peer_address)

    def _fired(self, event: TimerFired) -> None:
        self.perform(self.machine.step(event, self._now()))

    def _give_up(self) -> None:
        self.perform(self.machine.reset())

    def _ended(self, reason: str) -> None:
        self._over = self._closing = True
        self._timers.close()
        if self._lost_words is not None:
            self._lost_words.cancel()
        self._owner.ended(self)
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.failed("refused" if reason == "reset" else reason)
        if self._receiver is not None:
            # Never from within the call that caused it.
            self._owner.clock.call_soon(self._tell_closed, self._receiver, self._reason or reason)

    def _tell_closed(self, receiver: Receiver, reason: str) -> None:
        try:
            receiver.closed(reason)
        except Exception as error:
            report_callback_failure(error, "closed", self.peer_address)


class ConduitDial:
    """An attempt; a `Dial`."""

    __slots__ = ("_connected", "_failed", "_timer", "connection")

    def __init__(
        self, clock: Clock, timeout: float, connected: Callable[[Connection], Receiver], failed: Callable[[str], None]
    ) -> None:
        self._connected: Callable[[Connection], Receiver] | None = connected
        self._failed: Callable[[str], None] | None = failed
        self.connection: ConduitConnection | None = None
        self._timer = call_at_deadline(clock, timeout, self._expired)

    def cancel(self) -> None:
        """Give up."""
        self._connected = self._failed = None
        self._timer.cancel()
        connection, self.connection = self.connection, None
        if connection is not None and connection.dial is self:
            connection.dial = None
            connection.close("cancelled")

    def opened(self, connection: ConduitConnection) -> None:
        """The other end is there."""
        connected, self._connected = self._connected, None
        self._failed = None
        self._timer.cancel()
        if connected is None:
            return
        try:
            connection.start(connected(connection))
        except Exception as error:
            connection.close("callback failed")
            report_callback_failure(error, "connected", connection.peer_address)

    def failed(self, reason: str) -> None:
        """It is not, or does not want to."""
        failed, self._failed = self._failed, None
        self._connected = None
        self._timer.cancel()
        if failed is None:
            return
        try:
            failed(reason)
        except Exception as error:
            report_callback_failure(error, "failed", "a route")

    def _expired(self) -> None:
        connection = self.connection
        if connection is not None and connection.dial is self:
            connection.dial = None
            connection.close("timeout")
        self.failed("timeout")


class Conduits:
    """All conduits of a node."""

    def __init__(
        self,
        node: str,
        clock: Clock,
        send: Callable[[str, Sequence[Buffer]], object],
        parameters: ConduitParameters | None = None,
        *,
        doubt: Callable[[str, float], object] | None = None,
    ) -> None:
        """Begin with none.

        Args:
            node: this node's name.
            send: relays the body of a frame, given as buffers, to a node. It may get lost, come twice, or late; it must
                not call back from within.
            doubt: is told of a node of which nothing was heard for so many seconds, before what was sent goes again.
        """
        self.clock = clock
        self._node = node
        self.parameters = parameters if parameters is not None else ConduitParameters()
        self.accepted: Callable[[Connection], Receiver | None] | None = None  # who takes those that others open
        self.bad = 0  # bodies and segments that no peer sends
        self.unknown = 0  # segments of conduits that there never were, or of an earlier life
        self.dialled = self.taken = self.refused = self.repeated = 0  # conduits; segments sent again
        self._send = send
        self._doubt = doubt
        self._conduits: dict[tuple[str, int], ConduitConnection] = {}
        self._counts: dict[str, int] = {}  # of them, by node
        self._gone: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._bad_input = BadInputLog(node, clock)

    def __len__(self) -> int:
        return len(self._conduits)

    def counted(self) -> dict[str, int]:
        """What they have come to so far, and how many there are."""
        open_ones = [connection.machine for connection in self._conduits.values()]
        return {
            "open": len(open_ones),
            "dialled": self.dialled,
            "taken": self.taken,
            "refused": self.refused,
            "repeated": self.repeated + sum(machine.repeated for machine in open_ones),
            "bad": self.bad + sum(machine.bad for machine in open_ones),
            "unknown": self.unknown,
        }

    # For its users

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> ConduitDial:
        """Open a conduit to the node of `address`; as `Transport.dial`."""
        dial = ConduitDial(self.clock, timeout, connected, failed)
        node = address.removeprefix(ROUTE)
        # The last bit says which of the two opens it, so that two that open at once never draw the same number.
        number = self.clock.random.getrandbits(63) << 1 | (self._node < node)
        self.dialled += 1
        connection = self._made(node, Conduit(number, True, self.parameters))
        connection.dial, dial.connection = dial, connection
        # In a step of its own: what it sends may have an effect, and that may call back.
        self.clock.call_soon(self._start, connection)
        return dial

    def _start(self, connection: ConduitConnection) -> None:
        if connection.dial is not None:
            connection.perform(connection.machine.start(self.clock.now()))

    def close(self) -> None:
        """End all, and tell the other ends once."""
        for connection in list(self._conduits.values()):
            connection.close("stop")

    # For who relays

    def arrived(self, source: str, body: Buffer) -> None:
        """A frame of `source` has come. Its body is not kept."""
        segment = decode_segment(body)
        if segment is None:
            self.bad += 1
            self.refuse(source, "no segment of a conduit")
            return
        key = source, segment.conduit
        connection = self._conduits.get(key)
        if connection is not None:
            connection.take(segment)
        elif segment.kind == OPEN:
            self._open(key)
        elif segment.kind != RESET:
            # Of one that has ended, or of an earlier life of this node.
            if key not in self._gone:
                self.unknown += 1
                self.refuse(source, "of no conduit that there is", late=True)
            self.transmit(source, (encode_control(RESET, segment.conduit),))

    def undeliverable(self, destination: str, body: Sequence[Buffer | bytearray]) -> None:
        """Nobody knew a way for that frame of ours. One that is open goes on trying, one that is to be not for long."""
        segment = decode_segment(b"".join(body))
        connection = self._conduits.get((destination, segment.conduit)) if segment is not None else None
        if connection is None or connection.dial is None:
            return
        connection.undeliverable += 1
        if connection.undeliverable >= UNDELIVERABLE:
            dial, connection.dial = connection.dial, None
            connection.close("unreachable")
            self.clock.call_soon(dial.failed, "unreachable: no way is known")

    # For its connections

    def transmit(self, node: str, buffers: Sequence[Buffer]) -> None:
        """Relay a segment."""
        self._send(node, buffers)

    def doubt(self, node: str, seconds: float) -> None:
        """For so long nothing was heard of what was sent to it."""
        if self._doubt is not None:
            self._doubt(node, seconds)

    def refuse(self, node: str, reason: str, *, late: bool = False) -> None:
        """Write that `node` sent something that was not taken in; `late`: it was right once."""
        advice = _TOO_LATE if late else "run one version of partisan_actors on both nodes, and on those between them"
        self._bad_input.tell("segment_refused", node, reason, advice=advice, level="debug" if late else "warning")

    def ended(self, connection: ConduitConnection) -> None:
        """One is over."""
        key = connection.node, connection.machine.number
        if self._conduits.pop(key, None) is None:
            return
        self.repeated += connection.machine.repeated
        self.bad += connection.machine.bad
        count = self._counts.get(connection.node, 0) - 1
        if count > 0:
            self._counts[connection.node] = count
        else:
            self._counts.pop(connection.node, None)
        self._gone[key] = None
        if len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)

    def _open(self, key: tuple[str, int]) -> None:
        node, number = key
        if key in self._gone:
            return
        if self.accepted is None or self._counts.get(node, 0) >= MOST_FROM_ONE:
            self.refused += 1
            self.transmit(node, (encode_control(RESET, number),))
            return
        self.taken += 1
        connection = self._made(node, Conduit(number, False, self.parameters))
        try:
            receiver = self.accepted(connection)
        except Exception as error:
            connection.close("callback failed")
            report_callback_failure(error, "accepted", connection.peer_address)
            return
        connection.start(receiver)
        if receiver is not None:
            connection.perform(connection.machine.start(self.clock.now()))

    def _made(self, node: str, machine: Conduit) -> ConduitConnection:
        connection = ConduitConnection(self, node, machine)
        self._conduits[node, machine.number] = connection
        self._counts[node] = self._counts.get(node, 0) + 1
        return connection


class WithRoutes:
    """A `Transport` that dials routes by conduits, and all other addresses by another transport."""

    def __init__(self, transport: Transport, conduits: Conduits) -> None:
        self._transport = transport
        self._conduits = conduits

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> Listener:
        """As the other transport does."""
        return self._transport.listen(address, accepted)

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> Dial:
        """By a conduit or by the other transport."""
        if is_route(address):
            return self._conduits.dial(address, timeout, connected, failed)
        return self._transport.dial(address, timeout, connected, failed)
