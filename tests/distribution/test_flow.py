"""Senders that are faster than their receivers."""

from __future__ import annotations

from functools import partial

from partisan_actors.distribution.outgoing import Outgoing
from tests.distribution.nodes import Node, connected
from tests.distribution.world import SMALL, World, numbered

# Flow control


def stop_reading(world: World, node: Node) -> None:
    for connection in world.transport.connections:
        end = connection if connection.peer_address != node.address else connection.peer
        end.stall()


def let_read(world: World) -> None:
    for connection in world.transport.connections:
        for end in (connection, connection.peer):
            end.stall(False)


def full_stream(world: World) -> tuple[Outgoing, Node]:
    """A stream at its high watermark, and the node at its other end, which does not read."""
    one, other = world.pair(parameters=SMALL)
    outgoing = one.session(other).default
    stop_reading(world, other)
    while not outgoing.congested:
        outgoing.send(bytes(500))
    return outgoing, other


def test_senders_are_told_to_wait_and_when_to_go_on(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    called: list[int] = []
    place = session.default.when_room(lambda: called.append(session.unsent))
    assert called == [], "never from within the call"
    world.clock.settle()
    assert called == [0]
    session.default.forget(place)
    stop_reading(world, other)
    while not session.congested:
        assert session.send(bytes(500))
    session.default.when_room(lambda: called.append(-1))
    world.clock.run(1.0)
    assert session.congested and called == [0]
    assert session.unsent + session.unacknowledged == 8000
    let_read(world)
    world.clock.run(0.5)
    assert not session.congested and called == [0, -1]
    assert sum(map(len, other.bodies)) == 8000


def test_those_who_wait_are_told_one_after_the_other_and_newcomers_wait_behind_them(world: World):
    outgoing, _ = full_stream(world)
    told: list[str] = []
    first, second, third = (outgoing.when_room(partial(told.append, name)) for name in ("one", "two", "three"))
    let_read(world)
    world.clock.run(0.5)
    assert told == ["one"]
    while not outgoing.congested:
        outgoing.send(bytes(500))
    assert outgoing.unsent + outgoing.unacknowledged < 5000, "a little may be sent in between, no 8000 bytes"
    assert not outgoing.keeps_waiting(first)
    assert outgoing.keeps_waiting(second) and outgoing.keeps_waiting(third)
    outgoing.forget(second)  # it has waited long enough
    world.clock.settle()
    assert told == ["one"]
    outgoing.forget(first)
    world.clock.settle()
    assert told == ["one", "three"]


def test_no_two_are_told_at_once_whoever_gives_up(world: World):
    outgoing, _ = full_stream(world)
    told: list[int] = []
    places = [outgoing.when_room(partial(told.append, number)) for number in range(6)]
    let_read(world)
    world.clock.run(0.5)
    for place in places[3:]:
        outgoing.forget(place)
    world.clock.settle()
    assert told == [0]
    outgoing.forget(places[0])
    world.clock.settle()
    assert told == [0, 1]


def test_one_that_finds_it_full_again_keeps_its_place(world: World):
    outgoing, other = full_stream(world)
    told: list[str] = []
    first = outgoing.when_room(lambda: told.append("one"))
    outgoing.when_room(lambda: told.append("two"))
    assert outgoing.when_room(lambda: told.append("never"), first) == first
    let_read(world)
    world.clock.run(0.5)
    assert told == ["one"]
    stop_reading(world, other)
    for _ in range(20):
        outgoing.send(bytes(500))
    assert outgoing.keeps_waiting(first), "it was filled before its turn came"
    assert outgoing.when_room(lambda: told.append("one again"), first) == first
    let_read(world)
    world.clock.run(0.5)
    assert told == ["one", "one again"]
    outgoing.forget(first)
    world.clock.settle()
    assert told == ["one", "one again", "two"]


def test_a_session_that_ends_lets_those_who_wait_go(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    stop_reading(world, other)
    while not session.congested:
        session.send(bytes(500))
    called: list[str] = []
    session.default.when_room(lambda: called.append("room"))
    session.default.when_room(lambda: called.append("room"))
    world.kill(other)
    world.clock.run(2.0)
    assert called == ["room", "room"]
    assert not session.congested
    assert not session.send(b"too late")
    assert session.ended is not None


def test_past_the_hard_limit_the_session_ends(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    stop_reading(world, other)
    count = 0
    while session.send(bytes(5000)):
        count += 1
    assert 12 <= count <= 14
    assert session.ended == "overflow"
    assert one.told("ended") == ["overflow"]
    assert not session.send(b"x")
    let_read(world)
    world.clock.until(lambda: connected(one, other), 10.0)
    assert one.session(other) is not session


def test_nothing_more_is_framed_than_the_connection_takes(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    stop_reading(world, other)
    for _ in range(60):
        session.send(bytes(1000))
    world.clock.run(0.5)
    # What the network takes (4096) and the backlog (1000) and a frame, not more.
    assert session.unacknowledged <= 4096 + 1000 + 1000
    assert session.unsent + session.unacknowledged == 60_000


def test_a_peer_that_stops_reading_costs_the_others_nothing(world: World):
    one, other = world.pair(parameters=SMALL)
    third = world.node("c", parameters=SMALL)
    world.want(one, third)
    world.clock.until(lambda: connected(one, third), 1.0)
    (near,) = [c for c in world.transport.connections if {c.peer_address, c.peer.peer_address} & set(other.listening)]
    for end in (near, near.peer):
        if end.peer_address != other.address:
            end.stall()
    for number in range(50):
        one.session(other).send(bytes(1000))
        one.session(third).send(b"%d;" % number)
        world.clock.run(0.001)
    assert b"".join(third.bodies) == b"".join(numbered(50))


def test_signals_wait_for_the_first_connection_after_a_break_without_being_copied_around(world: World):
    one, other = world.pair()
    session = one.session(other)
    (connection,) = world.transport.connections
    connection.cut()
    for signal in numbered(100):
        session.send(signal)
    world.clock.run(1.0)
    assert b"".join(other.bodies) == b"".join(numbered(100))
