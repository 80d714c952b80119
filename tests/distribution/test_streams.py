"""Sessions with several streams: connections of their own, moves between connections, breaks."""

from __future__ import annotations

import random
from typing import Any

import pytest

from partisan_actors.distribution import Session
from partisan_actors.distribution.channels import Channel
from partisan_actors.distribution.link import Link
from partisan_actors.distribution.ports import LocalIdentity
from tests.distribution.nodes import Node, connected
from tests.distribution.world import SMALL, World, cut_all, numbered

CHANNELS = (Channel("default"), Channel("bulk", parallelism=4), Channel("control", priority=5))
"""Numbers on a session: the default channel is 1, "bulk" 2, "control" 3."""


def pair(world: World, **options: object) -> tuple[Node, Node]:
    return world.pair(channels=CHANNELS, **options)


def streams_of(node: Node, other: Node) -> list[tuple[int, int]]:
    """Every stream of the channels that the two declare."""
    return [
        (agreed.number, index) for agreed in node.session(other).channels.values() for index in range(agreed.streams)
    ]


def received_in_order(node: Node, stream: tuple[int, int]) -> bytes:
    return b"".join(node.by_stream.get(stream, []))


def written_on(session: Session) -> list[tuple[int, int]]:
    """Notes each write from now on, by the stream that the connection was made for; (1, 0): the first one."""
    order: list[tuple[int, int]] = []

    def note(link: Link | None, stream: tuple[int, int]) -> None:
        assert link is not None
        write = link.connection.write

        def noted(buffers: Any) -> None:
            order.append(stream)
            write(buffers)

        link.connection.write = noted  # type: ignore[method-assign, assignment]

    note(session.link, (1, 0))
    for stream, connection in session.connections._connections.items():
        if connection.link is not None:
            note(connection.link, stream)
    return order


def test_each_stream_of_a_channel_has_a_connection_of_its_own(world: World):
    one, other = pair(world)
    for stream in streams_of(one, other):
        one.session(other).outgoing(stream).send(b"%d.%d" % stream)
    world.clock.until(lambda: len(other.bodies) == 6, 1.0)
    assert len(one.session(other).connections) == len(other.session(one).connections) == 5
    assert sorted(other.bodies) == [b"%d.%d" % stream for stream in sorted(streams_of(one, other))]


def test_no_connection_is_made_before_it_is_used(world: World):
    one, other = pair(world)
    world.clock.run(10.0)
    assert len(one.session(other).connections) == len(other.session(one).connections) == 0
    assert one.peers.open_connections == 1


@pytest.mark.parametrize("first", ["a", "b"])
def test_either_side_may_be_the_first_to_use_a_stream(world: World, first: str):
    one, other = pair(world)
    here, there = (one, other) if first == "a" else (other, one)
    here.session(there).outgoing((2, 3)).send(b"x")
    world.clock.until(lambda: there.bodies, 1.0)
    there.session(here).outgoing((2, 3)).send(b"y")
    world.clock.until(lambda: here.bodies, 1.0)
    assert len(one.session(other).connections) == 1


def test_both_sides_using_a_stream_at_once_make_one_connection(world: World):
    one, other = pair(world)
    one.session(other).outgoing((2, 0)).send(b"x")
    other.session(one).outgoing((2, 0)).send(b"y")
    world.clock.until(lambda: one.bodies and other.bodies, 1.0)
    world.clock.run(5.0)
    assert len(one.session(other).connections) == len(other.session(one).connections) == 1
    assert one.peers.open_connections == 2
    assert one.peers.counters.connections_lost == 0


def test_the_other_side_dials_when_this_one_cannot_be(world: World):
    one = world.node("a", channels=CHANNELS, listen=None)
    other = world.node("b", channels=CHANNELS)
    one.peers.connect(other.name, other.listening)
    world.clock.until(lambda: connected(one, other), 5.0)
    other.session(one).outgoing((2, 1)).send(b"x")
    world.clock.until(lambda: one.bodies, 1.0)
    assert len(other.session(one).connections) == 1


def test_a_stream_rides_the_first_connection_while_it_can_have_none_of_its_own(world: World):
    one, other = pair(world)
    address = other.listening[0]
    listener = world.transport.listeners.pop(address)
    one.session(other).outgoing((2, 1)).send(b"x")
    world.clock.until(lambda: other.bodies, 1.0)
    assert len(one.session(other).connections) == 0

    world.transport.listeners[address] = listener
    world.clock.until(lambda: len(one.session(other).connections) == 1, 31.0)
    one.session(other).outgoing((2, 1)).send(b"y")
    world.clock.until(lambda: len(other.bodies) == 2, 1.0)
    assert other.bodies == [b"x", b"y"]


def test_a_channel_that_only_one_declares_is_not_agreed_on(world: World):
    one = world.node("a", channels=CHANNELS)
    other = world.node("b", channels=(Channel("bulk", parallelism=2), Channel("other")))
    world.want(one, other)
    world.clock.until(lambda: connected(one, other), 5.0)
    agreed = one.session(other).channels
    assert {name: (channel.number, channel.streams) for name, channel in agreed.items()} == {
        "default": (1, 1),
        "bulk": (2, 2),
    }
    assert {name: channel.number for name, channel in other.session(one).channels.items()} == {"default": 1, "bulk": 2}


def test_with_a_peer_of_before_channels_everything_is_one_stream(world: World):
    one = world.node("a", channels=CHANNELS)
    other = world.node("b", channels=CHANNELS)
    identity = other.peers.identity
    other.peers.identity = LocalIdentity(identity.life, identity.topology, (), addresses=identity.addresses, features=0)
    world.want(one, other)
    world.clock.until(lambda: connected(one, other), 5.0)
    session = one.session(other)
    assert session.channels == {} and session.system is session.default
    session.send(b"x")
    other.session(one).send(b"y")
    world.clock.until(lambda: one.bodies and other.bodies, 1.0)
    assert session.default.stream.id == (0, 0)


def test_a_stream_of_a_session_that_ended_takes_nothing_more(world: World):
    one, other = pair(world)
    session = one.session(other)
    used = session.outgoing((2, 0))
    used.send(b"x")
    world.clock.until(lambda: other.bodies, 1.0)
    one.peers.forget(other.name)
    other.peers.forget(one.name)
    session.end("enough")
    assert not used.send(b"y")
    assert not session.outgoing((2, 1)).send(b"z")
    assert not used.congested
    world.clock.run(2.0)
    assert one.peers.open_connections == other.peers.open_connections == 0


def test_who_leaves_is_heard_out_on_every_connection(world: World):
    one, other = pair(world, parameters=SMALL)
    session, streams = one.session(other), streams_of(one, other)
    for stream in streams:
        session.outgoing(stream).send(b"first;")
    world.clock.until(lambda: len(other.bodies) == 6, 1.0)
    for signal in numbered(100):
        for stream in streams:
            session.outgoing(stream).send(signal)
    session.leave("leave")
    world.clock.until(lambda: other.told("ended"), 3.0)
    assert other.told("ended") == ["leave"]
    for stream in streams:
        assert received_in_order(other, stream) == b"first;" + b"".join(numbered(100))


def test_one_that_leaves_and_whose_last_words_never_come_is_waited_for_a_second(world: World):
    one, other = pair(world)
    session = one.session(other)
    session.outgoing((2, 0)).send(b"x")
    world.clock.until(lambda: other.bodies, 1.0)
    connection = next(iter(session.connections._connections.values()))
    assert connection.link is not None
    connection.link.connection.write = lambda buffers: None  # type: ignore[method-assign, assignment, misc]
    connection.link.connection.close = lambda reason, flush: None  # type: ignore[method-assign, assignment, misc]
    session.outgoing((2, 0)).send(b"never read")
    left = world.clock.now()
    session.leave("leave")
    one.peers.forget(other.name)
    world.clock.until(lambda: other.told("ended"), 3.0)
    assert other.told("ended") == ["leave"]
    assert 0.9 < world.clock.now() - left < 1.5


def test_a_connection_that_went_half_open_is_made_anew(world: World):
    one, other = pair(world)
    outgoing = one.session(other).outgoing((2, 0))
    outgoing.send(b"1")
    world.clock.until(lambda: other.bodies, 1.0)
    connection = next(iter(one.session(other).connections._connections.values()))
    assert connection.link is not None
    connection.link.connection.write = lambda buffers: None  # type: ignore[method-assign, assignment, misc]
    outgoing.send(b"2")
    world.clock.until(lambda: len(other.bodies) == 2, 8.0)
    assert other.bodies == [b"1", b"2"]
    assert connected(one, other) and one.told("ended") == []


def test_a_broken_envelope_ends_that_connection_and_three_the_session(world: World):
    one, other = pair(world)
    session = one.session(other)
    session.outgoing((2, 0)).send(b"x")
    world.clock.until(lambda: other.bodies, 1.0)
    for broken in range(1, 4):
        world.clock.until(lambda: len(session.connections) == 1, 5.0)
        connection = next(iter(session.connections._connections.values()))
        assert connection.link is not None
        connection.link.connection.write((b"\xff" * 100,))
        world.clock.until(lambda: other.peers.counters.broken_envelopes == broken, 5.0)  # noqa: B023
    world.clock.until(lambda: one.told("ended"), 5.0)
    assert "broken envelope" in str(other.told("ended")[0])


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_doubled_or_reordered_while_connections_break(seed: int):
    chance = random.Random(seed)
    world = World(seed, cut_after=lambda: chance.choice((None, chance.randrange(200, 40_000))), jitter=0.002)
    one, other = pair(world, parameters=SMALL)
    sent: dict[tuple[str, tuple[int, int]], list[bytes]] = {}
    streams = streams_of(one, other)
    for step in range(1500):
        here, there = chance.choice(((one, other), (other, one)))
        session = here.peers.session(there.name)
        assert session is not None and here.told("ended") == []
        outgoing = session.outgoing(chance.choice(streams))
        if not outgoing.congested:
            signal = b"%d:%s;" % (step, b"x" * chance.choice((1, 10, 1200)))
            assert outgoing.send(signal)
            sent.setdefault((there.name, outgoing.stream.id), []).append(signal)
        world.clock.run(chance.choice((0.0, 0.0, 0.001, 0.05)))
        if not step % 500:
            cut_all(world)
    nodes = {node.name: node for node in (one, other)}

    def all_there() -> bool:
        return all(received_in_order(nodes[name], stream) == b"".join(parts) for (name, stream), parts in sent.items())

    world.clock.until(all_there, 120.0)
    assert len(sent) == 12


@pytest.mark.parametrize("with_system", [True, False])
def test_system_traffic_is_written_first_and_then_each_channel_by_its_priority(world: World, with_system: bool):
    channels = (Channel("default", priority=5), Channel("bulk"), Channel("control", priority=10))
    one, other = world.pair(channels=channels)
    session = one.session(other)
    default, bulk, control, system = session.default, *map(session.outgoing, ((2, 0), (3, 0))), session.system
    for outgoing in (bulk, control):
        outgoing.send(b"x")
    world.clock.until(lambda: len(other.bodies) == 2, 1.0)
    order = written_on(session)
    for outgoing in (default, bulk, control, *([system] if with_system else [])):
        outgoing.send(b"y")
    one.peers.flush()
    # One frame of each; the system's and the default one's go over the same connection.
    assert order == ([(1, 0), (1, 0), (3, 0), (2, 0)] if with_system else [(3, 0), (1, 0), (2, 0)])


def test_a_stream_without_a_connection_of_its_own_lends_its_priority_to_the_first(world: World):
    one, other = world.pair(channels=(Channel("bulk", priority=1), Channel("control", priority=5)))
    session = one.session(other)
    control, bulk = session.outgoing((3, 0)), session.outgoing((2, 0))
    bulk.send(b"x")
    world.clock.until(lambda: other.bodies, 1.0)
    world.transport.listeners.pop(other.listening[0])
    control.send(b"x")
    world.clock.until(lambda: len(other.bodies) == 2, 5.0)
    assert len(session.connections) == 1
    order = written_on(session)
    bulk.send(b"y")
    control.send(b"y")
    one.peers.flush()
    assert order == [(1, 0), (2, 0)]


def test_a_connection_that_gets_its_bytes_out_slowly_is_not_given_up(world: World):
    """A piece of 512 KiB takes long over a slow link, and is acknowledged only when it is whole."""
    one, other = pair(world)
    outgoing = one.session(other).outgoing((2, 0))
    outgoing.send(b"x")
    world.clock.until(lambda: other.bodies, 1.0)
    link = one.session(other).connections._connections[(2, 0)].link
    assert link is not None
    connection: Any = link.connection
    connection.peer.stall()
    outgoing.send(bytes(60_000))
    world.clock.run(0.1)
    assert connection.unsent > 50_000
    for _ in range(30):
        connection.unsent -= 1  # what a kernel would have taken meanwhile
        world.clock.run(1.0)
        assert one.session(other).connections._connections[(2, 0)].link is link
    world.clock.run(10.0)
    assert one.session(other).connections._connections[(2, 0)].link is not link, "now nothing moves"
