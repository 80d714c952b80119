"""The network between whole nodes in simulation: connections as TCP has them, in virtual time.

Behaves towards a node as `SocketTransport` does, with the same callbacks. What is written arrives whole and in order,
after what the network says that a way takes; bandwidth is not modelled. A cut holds back what would cross it until it
is mended, as TCP does that sends again, and a dial across it goes on knocking until its time is over. Whose OS process
ends has its connections ended in order by its kernel. Every callback of a node goes through its own clock, so one that
is paused hears of nothing, while its kernel goes on accepting.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from itertools import count

from partisan_actors.testing.network import Network
from partisan_actors.testing.simulated_clock import SimulatedClock
from partisan_actors.testing.trace import Trace
from partisan_actors.testing.virtual_time import VirtualTime
from partisan_actors.transport.callbacks import call_back, report_callback_failure, tell_of_room
from partisan_actors.transport.ports import Connection, Receiver

__all__ = ["SimulatedConnection", "SimulatedTransport", "Wires"]

CAPACITY = 256 * 1024
"""Bytes on the way in one direction before they count as unsent; the kernel's buffers."""

KNOCK = 1.0
"""Seconds until a dial that nobody answers is tried again, as SYN is sent again."""


class Wires:
    """All connections of one simulation."""

    def __init__(self, time: VirtualTime, network: Network, trace: Trace | None) -> None:
        self.time = time
        self.network = network
        self.trace = trace
        self.listeners: dict[str, SimulatedListener] = {}
        self.hosts: dict[str, str] = {}  # for each address that ever listened, whose it is
        self.connections: dict[SimulatedConnection, None] = {}  # the dialling ends that are open, oldest first
        self.ports = count(10_001)

    def note(self, what: str, *about: object) -> None:
        """Add to the trace, if there is one."""
        if self.trace is not None:
            self.trace.add(self.time.now, what, *about)

    def ends(self) -> list[SimulatedConnection]:
        """Both ends of every connection that is open."""
        return [end for near in self.connections for end in (near, near.peer)]

    def cut(self) -> None:
        """There are new cuts: hold back what cannot cross."""
        for end in self.ends():
            if end.held is None and self.network.stops(end.host, end.peer.host):
                end.held = []

    def healed(self) -> None:
        """There are fewer cuts: let go on what was held back."""
        for end in self.ends():
            if end.held is not None and not self.network.stops(end.host, end.peer.host):
                end.let_go()

    def crashed(self, host: str) -> None:
        """The OS process there has ended, and its kernel ends what it had open."""
        for address in [address for address, listener in self.listeners.items() if listener.host == host]:
            del self.listeners[address]
        for end in self.ends():
            if end.host == host:
                end.close("crash")

    def reset(self, a: str, b: str) -> int:
        """Reset every connection between two nodes, whatever is on the way; how many those were."""
        found = [near for near in self.connections if {near.host, near.peer.host} == {a, b}]
        for near in found:
            near.reset()
        return len(found)


class SimulatedTransport:
    """The door of one node; a `Transport`."""

    def __init__(self, wires: Wires, host: str, ip: str, clock: SimulatedClock) -> None:
        self.wires = wires
        self.host = host
        self.ip = ip
        self.clock = clock

    def listen(self, address: str, accepted: Callable[[Connection], Receiver | None]) -> SimulatedListener:
        """Accept those who dial `address`. Raises OSError: somebody does already, or it is not this node's."""
        ip, _, port = address.rpartition(":")
        if port == "0":
            address = f"{ip}:{next(self.wires.ports)}"
        if ip != self.ip:
            raise OSError(errno.EADDRNOTAVAIL, f"{self.host} has the address {self.ip} in this simulation, not {ip}")
        if address in self.wires.listeners:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {address}: {os.strerror(errno.EADDRINUSE)}")
        self.wires.hosts[address] = self.host
        listener = self.wires.listeners[address] = SimulatedListener(self, address, accepted)
        return listener

    def dial(
        self,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> SimulatedDial:
        """Connect to `address`, after a round trip; "refused" after that time, too, "timeout" across a cut."""
        return SimulatedDial(self, address, timeout, connected, failed)


class SimulatedListener:
    """A `Listener`."""

    def __init__(
        self, transport: SimulatedTransport, address: str, accepted: Callable[[Connection], Receiver | None]
    ) -> None:
        self.address = address
        self.host = transport.host
        self.transport = transport
        self.accepted = accepted
        self.turned_away = 0

    def close(self) -> None:
        """Accept nobody any more."""
        if self.transport.wires.listeners.get(self.address) is self:
            del self.transport.wires.listeners[self.address]


class SimulatedDial:
    """A `Dial`."""

    def __init__(
        self,
        transport: SimulatedTransport,
        address: str,
        timeout: float,
        connected: Callable[[Connection], Receiver],
        failed: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._address = address
        self._connected = connected
        self._failed = failed
        self._cancelled = False
        self._until = transport.wires.time.now + timeout
        self._knock()

    def cancel(self) -> None:
        """Give up."""
        self._cancelled = True

    def _knock(self) -> None:
        transport = self._transport
        wires, clock = transport.wires, transport.clock
        if self._cancelled:
            return
        target = wires.hosts.get(self._address)
        if target is not None and wires.network.apart(transport.host, target):
            if wires.time.now >= self._until:
                self._fail("timeout")
            else:
                clock.at(min(wires.time.now + KNOCK, self._until), self._knock)
            return
        there = wires.network.one_way(transport.host, target if target is not None else transport.host)
        # In the peer's kernel: it answers while its node is paused.
        wires.time.push(wires.time.now + there, self._arrive, clock.life, there)

    def _arrive(self, life: int, back: float, _c: None) -> None:
        transport = self._transport
        wires, clock = transport.wires, transport.clock
        if life != clock.life or self._cancelled:
            return
        when = wires.time.now + back
        listener = wires.listeners.get(self._address)
        if listener is None:
            clock.at(when, self._fail, "refused")
            return
        near = SimulatedConnection(transport, self._address)
        far = SimulatedConnection(listener.transport, f"{transport.ip}:{next(wires.ports)}")
        near.peer, far.peer = far, near
        wires.connections[near] = None
        for end in (near, far):
            end.begin()
        wires.note("connect", near.host, far.host)
        far.sends_after(when)  # so that nothing is there before the connection is
        clock.at(when, self._established, near)
        far.arrives_at(when, _accept, far, listener)

    def _established(self, near: SimulatedConnection) -> None:
        if self._cancelled:
            near.close("cancelled")
        elif near.is_open:
            near.start(call_back("connected", self._address, self._connected, near))
        else:
            self._fail("refused")

    def _fail(self, reason: str) -> None:
        if not self._cancelled:
            self._transport.wires.note("unreachable", self._transport.host, self._address, reason)
            call_back("failed", self._address, self._failed, reason)


class SimulatedConnection:
    """One end of a connection; a `Connection`. `peer` is the other end."""

    peer: SimulatedConnection
    security = None

    def __init__(self, transport: SimulatedTransport, peer_address: str) -> None:
        self.peer_address = peer_address
        self.host = transport.host
        self.unsent = 0
        self.is_open = True
        self.held: list[bytes | None] | None = None  # a cut holds back these; None: the end
        self._wires = transport.wires
        self._clock = transport.clock
        self._receiver: Receiver | None = None
        self._on_the_way = 0
        self._last = 0.0  # when what this end sent last arrives
        self._sample: Callable[[], float]

    def begin(self) -> None:
        """Both ends are known."""
        way = self._wires.network.way(self.host, self.peer.host)
        self._sample = way if callable(way) else lambda: way
        if self._wires.network.stops(self.host, self.peer.host):
            self.held = []

    def start(self, receiver: Receiver | None) -> None:
        """Deliver to `receiver` from now on, or end the connection if there is none."""
        self._receiver = receiver
        if receiver is None:
            self.close("refused")

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Send it; what is more than the kernels would hold is counted as unsent."""
        if not self.is_open:
            return
        data = b"".join(buffers)
        self._on_the_way += len(data)
        self.unsent = max(0, self._on_the_way - CAPACITY)
        if self.held is not None:
            self.held.append(data)
        else:
            self._send(data)

    def close(self, reason: str, *, flush: bool = False) -> None:
        """End it; what was written still arrives, and then the end of file."""
        if not self.is_open:
            return
        self._end(reason)
        if self.held is not None:
            self.held.append(None)
        else:
            self._send(None)

    def reset(self) -> None:
        """Reset both ends now; what is on the way is lost."""
        for end in (self, self.peer):
            end._end("reset")

    def let_go(self) -> None:
        """Send what a cut has held back."""
        held, self.held = self.held, None
        for data in held or ():
            self._send(data)

    def arrives_at(self, least: float, function: Callable[..., object], *args: object) -> None:
        """Let this end's node call `function`, one way from now or at `least`, behind what was sent to it before."""
        sender = self.peer
        sender._last = max(self._wires.time.now + sender._sample(), least, sender._last)
        self._clock.at(sender._last, function, *args)

    def sends_after(self, when: float) -> None:
        """Nothing that this end sends arrives before that moment."""
        self._last = max(self._last, when)

    def _send(self, data: bytes | None) -> None:
        self.peer.arrives_at(0.0, self.peer._arrive, data)

    def _arrive(self, data: bytes | None) -> None:
        """At this end."""
        sender = self.peer
        if data is not None:
            sender._taken(len(data))
        if not self.is_open:
            return
        if data is None:
            self._end("eof")
            return
        if self._wires.trace is not None:
            digest = hashlib.blake2b(data, digest_size=8).hexdigest()
            self._wires.note("bytes", sender.host, self.host, len(data), digest)
        try:
            self._hand_in(memoryview(data))
        except BaseException as error:
            self.close("callback failed")
            report_callback_failure(error, "received", self.peer_address)

    def _hand_in(self, data: memoryview) -> None:
        while data and self.is_open and self._receiver is not None:
            into = self._receiver.buffer()
            if not into:
                raise ValueError("the receiver gave an empty buffer")
            size = min(len(into), len(data))
            into[:size] = data[:size]
            data = data[size:]
            self._receiver.received(size)

    def _taken(self, size: int) -> None:
        """The peer has read so much of what this end sent."""
        self._on_the_way -= size
        if self.unsent and self.is_open:
            self.unsent = max(0, self._on_the_way - CAPACITY)
            if not self.unsent:
                self._clock.call_soon(self._report_room)

    def _report_room(self) -> None:
        if not self.is_open or self.unsent or self._receiver is None:
            return
        tell_of_room(self, self._receiver)

    def _end(self, reason: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.unsent = 0
        self._wires.note("end", self.host, self.peer.host, reason)
        if not self.peer.is_open:
            for end in (self, self.peer):
                self._wires.connections.pop(end, None)
        self._clock.call_soon(self._report, reason)

    def _report(self, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            call_back("closed", self.peer_address, receiver.closed, reason)


def _accept(far: SimulatedConnection, listener: SimulatedListener) -> None:
    if far.is_open:
        far.start(call_back("accepted", far.peer_address, listener.accepted, far))
