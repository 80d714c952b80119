"""What the memory transport has beyond the others: cuts at any byte, stalls, and the same order every time."""

from __future__ import annotations

import pytest

from partisan_actors.transport import MemoryTransport
from tests.transport.peers import Recorder


class StepClock:
    """Runs callbacks one by one, when told; has no time."""

    def __init__(self):
        self.due = []

    def call_soon(self, function, *arguments):
        self.due.append((function, arguments))

    def run(self):
        while self.due:
            function, arguments = self.due.pop(0)
            function(*arguments)


def pair(**settings):
    clock = StepClock()
    transport = MemoryTransport(clock, **settings)
    ends = []

    def record(connection):
        ends.append(Recorder(connection))
        return ends[-1]

    listener = transport.listen("m:0", record)
    transport.dial(listener.address, 1.0, record, pytest.fail)
    assert ends == []
    clock.run()
    near, far = ends
    return clock, transport, near, far


@pytest.mark.parametrize("position", range(21))
def test_a_cut_at_any_byte(position):
    cuts = [position]
    clock, transport, near, far = pair(chunk=3, cut_after=lambda: cuts.pop())
    near.connection.write([b"0123456789"])
    far.connection.write([b"abcdefghij"])
    clock.run()
    assert len(near.data) + len(far.data) == position
    assert b"0123456789".startswith(far.data)
    assert b"abcdefghij".startswith(near.data)
    if position < 20:
        assert (near.reason, far.reason) == ("reset", "reset")
        assert transport.connections == []
    else:
        assert (near.reason, far.reason) == (None, None)
        near.connection.write([b"x"])
        clock.run()
        assert (near.reason, far.reason) == ("reset", "reset")


def test_a_cut_at_once():
    clock, transport, near, far = pair()
    near.connection.write([b"on its way"])
    transport.connections[0].cut()
    assert (near.reason, far.reason) == (None, None)
    clock.run()
    assert (near.reason, far.reason, far.data) == ("reset", "reset", b"")


def test_one_that_does_not_read():
    clock, _, near, far = pair(capacity=100)
    far.connection.stall()
    near.connection.write([bytes(250)])
    clock.run()
    assert (near.connection.unsent, far.count, near.rooms) == (150, 0, 0)
    far.connection.stall(False)
    clock.run()
    assert (near.connection.unsent, far.count, near.rooms) == (0, 250, 1)


def test_what_was_not_taken_is_lost_without_a_flush():
    clock, _, near, far = pair(capacity=100)
    near.connection.write([bytes(250)])
    near.connection.close("done")
    clock.run()
    assert (far.count, far.reason, near.reason) == (100, "eof", "done")


def test_the_same_steps_give_the_same_trace():
    def trace():
        clock, _, near, far = pair(chunk=7)
        seen = []
        for name, end in (("near", near), ("far", far)):
            end.on_received = lambda end, count, name=name: seen.append((name, count))
            end.on_closed = lambda end, name=name: seen.append((name, end.reason))
        near.connection.write([bytes(30)])
        far.connection.write([bytes(20)])
        near.connection.close("done", flush=True)
        clock.run()
        return seen

    assert trace() == trace()
    assert trace()[-1] == ("far", "eof")


def test_a_connection_cut_before_it_is_accepted():
    clock = StepClock()
    transport = MemoryTransport(clock)
    ends = []

    def connected(connection):
        connection.write([b"x"])
        connection.cut()
        ends.append(Recorder(connection))
        return ends[-1]

    listener = transport.listen("m:0", pytest.fail)
    transport.dial(listener.address, 1.0, connected, pytest.fail)
    clock.run()
    assert [end.reason for end in ends] == ["reset"]
