"""Connections in virtual time, and the clock of a node; one way is 0.01 s."""

from __future__ import annotations

import pytest

from partisan_actors.testing import Network, Trace
from partisan_actors.testing.network import ConstantLatency
from partisan_actors.testing.simulated_clock import SimulatedClock
from partisan_actors.testing.virtual_time import VirtualTime
from partisan_actors.testing.wires import CAPACITY, SimulatedTransport, Wires


class End:
    """A receiver that writes down what it gets."""

    def __init__(self, world, connection, size=1000):
        self.world = world
        self.connection = connection
        self.got = b""
        self.events = []
        self._buffer = bytearray(size)

    def buffer(self):
        return memoryview(self._buffer)

    def received(self, count):
        self.got += self._buffer[:count]
        self.events.append((round(self.world.time.now, 4), "received"))

    def writable(self):
        self.events.append((round(self.world.time.now, 4), "writable"))

    def closed(self, reason):
        self.events.append((round(self.world.time.now, 4), reason))


class World:
    """Two hosts, of which b listens."""

    def __init__(self):
        self.time = VirtualTime()
        self.network = Network(ConstantLatency(0.01))
        self.trace = Trace()
        self.wires = Wires(self.time, self.network, self.trace)
        self.clocks = {host: SimulatedClock(self.time, host) for host in "ab"}
        self.transports = {
            host: SimulatedTransport(self.wires, host, f"10.0.0.{host}", self.clocks[host]) for host in "ab"
        }
        self.accepted = []
        self.failed = []
        self.connected = []
        self.listener = self.transports["b"].listen("10.0.0.b:1", self._accept)

    def _accept(self, connection):
        self.accepted.append(End(self, connection))
        return self.accepted[-1]

    def _connect(self, connection):
        self.connected.append(End(self, connection))
        return self.connected[-1]

    def dial(self, address="10.0.0.b:1", timeout=5.0):
        failed = self.failed

        def note(reason):
            failed.append((round(self.time.now, 4), reason))

        return self.transports["a"].dial(address, timeout, self._connect, note)

    def pair(self):
        self.dial()
        self.time.run(1.0)
        return self.connected[0], self.accepted[0]


@pytest.fixture
def world():
    return World()


def test_bytes_arrive_in_order_after_one_way(world):
    near, far = world.pair()
    near.connection.write([b"one", memoryview(b"two")])
    near.connection.write([b"three"])
    far.connection.write([b"back"])
    world.time.run(1.0)
    assert far.got == b"onetwothree"
    assert near.got == b"back"
    assert far.events[0] == (1.01, "received")
    assert far.connection.peer_address.startswith("10.0.0.a:")


def test_much_at_once_comes_in_pieces_of_the_receiver_s_buffer(world):
    near, far = world.pair()
    data = bytes(range(256)) * 20
    near.connection.write([data])
    world.time.run(1.0)
    assert far.got == data
    assert len(far.events) == 6


def test_an_end_arrives_behind_what_was_written(world):
    near, far = world.pair()
    near.connection.write([b"last"])
    near.connection.close("enough")
    near.connection.write([b"too late"])
    world.time.run(1.0)
    assert far.got == b"last"
    assert far.events == [(1.01, "received"), (1.01, "eof")]
    assert near.events == [(1.0, "enough")]
    assert not world.wires.connections


def test_a_reset_loses_what_is_on_the_way(world):
    near, far = world.pair()
    near.connection.write([b"lost"])
    assert world.wires.reset("b", "a") == 1
    world.time.run(1.0)
    assert far.got == b""
    assert near.events == far.events == [(1.0, "reset")]


def test_what_is_beyond_the_kernels_is_unsent_until_the_peer_reads(world):
    near, far = world.pair()
    world.clocks["b"].pause()
    near.connection.write([bytes(CAPACITY)])
    assert near.connection.unsent == 0
    near.connection.write([bytes(100)])
    assert near.connection.unsent == 100
    world.time.run(3.0)
    assert near.connection.unsent == 100
    world.clocks["b"].resume()
    world.time.run(1.0)
    assert near.connection.unsent == 0
    assert near.events == [(4.0, "writable")]
    assert len(far.got) == CAPACITY + 100


def test_nobody_there_is_refused_and_silence_is_a_timeout(world):
    world.dial("10.0.0.b:2")
    world.time.run(1.0)
    world.network.cut(["a"])
    world.dial(timeout=3.5)
    world.time.run(10.0)
    assert world.failed == [(0.02, "refused"), (4.5, "timeout")]
    assert world.connected == world.accepted == []


def test_a_dial_across_a_cut_goes_on_when_it_is_mended(world):
    world.network.cut(["b"], one_way=True)
    world.dial()
    world.time.run(1.5)
    world.network.mend()
    world.time.run(3.0)
    assert len(world.connected) == len(world.accepted) == 1


def test_a_dial_that_was_given_up_calls_nobody(world):
    world.dial().cancel()
    dial = world.dial()
    world.time.run(0.015)  # the peer has answered
    dial.cancel()
    world.time.run(1.0)
    assert world.connected == world.failed == []
    assert [end.events for end in world.accepted] in ([], [[(0.03, "eof")]])
    assert not world.wires.connections


def test_a_cut_holds_back_bytes_and_ends_until_it_is_mended(world):
    near, far = world.pair()
    world.network.cut(["a"], ["b"])
    world.wires.cut()
    near.connection.write([b"late"])
    near.connection.close("enough")
    far.connection.write([b"back"])
    world.time.run(9.0)
    assert far.events == []
    world.network.mend()
    world.wires.healed()
    world.time.run(1.0)
    assert far.got == b"late"
    assert far.events == [(10.01, "received"), (10.01, "eof")]


def test_who_dies_before_it_is_known_is_refused(world):
    world.dial()
    world.time.run(0.012)
    world.wires.crashed("b")
    world.clocks["b"].end_life()
    world.time.run(1.0)
    assert len(world.failed) + len(world.connected) == 1
    world.dial()
    world.time.run(1.0)
    assert world.failed[-1][1] == "refused"


def test_a_receiver_that_fails_costs_its_connection_only(world):
    near, far = world.pair()
    far.received = lambda count: 1 / 0
    near.connection.write([b"x"])
    world.time.run(1.0)
    assert far.events == [(1.01, "callback failed")]
    assert near.events == [(1.02, "eof")]


def test_one_address_has_one_listener(world):
    with pytest.raises(OSError, match="in use"):
        world.transports["b"].listen("10.0.0.b:1", print)
    world.listener.close()
    world.transports["b"].listen("10.0.0.b:1", print)
    assert world.transports["b"].listen("10.0.0.b:0", print).address != "10.0.0.b:1"


def test_a_clock_that_is_paused_keeps_everything_for_later_in_its_order():
    time, seen = VirtualTime(), []
    clock = SimulatedClock(time, "seed")
    clock.pause()
    clock.call_later(2.0, seen.append, "second")
    clock.call_later(1.0, seen.append, "first")
    gone = clock.call_later(1.5, seen.append, "gone")
    time.run(3.0)
    gone.cancel()
    assert seen == []
    clock.resume()
    time.run(0.1)
    assert seen == ["first", "second"]


def test_what_an_ended_life_asked_for_never_comes():
    time, seen = VirtualTime(), []
    clock = SimulatedClock(time, "seed")
    clock.call_later(1.0, seen.append, "before")
    clock.end_life()
    clock.call_later(1.0, seen.append, "after")
    time.run(2.0)
    assert seen == ["after"]


def test_a_clock_s_chance_is_its_seed_s_and_its_effort_is_counted():
    first, again, other = (SimulatedClock(VirtualTime(), seed) for seed in ("1", "1", "2"))
    assert first.entropy(8) == again.entropy(8) != other.entropy(8)
    assert first.random.random() == again.random.random() != other.random.random()
    assert first.effort() < first.effort()


def test_the_trace_has_what_happened(world):
    near, _ = world.pair()
    near.connection.write([b"x"])
    near.connection.reset()
    world.dial("10.0.0.b:2")
    world.time.run(1.0)
    words = [line.split()[1] for line in world.trace.lines]
    assert words == ["connect", "end", "end", "unreachable"]
