"""Sessions over connections that come and go: whole `Peers` in virtual time, over memory."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partisan_actors.distribution import JoinFailure, PeerParameters, Session
from partisan_actors.errors import NotSendable
from tests.distribution.nodes import connected
from tests.distribution.world import SMALL, World, cut_all, numbered

# What is sent arrives


def test_signals_arrive_in_order_in_both_directions(world: World):
    one, other = world.pair()
    for signal in numbered(1000):
        assert one.session(other).send(signal)
        assert other.session(one).send(signal)
    world.clock.run(0.5)
    assert b"".join(one.bodies) == b"".join(other.bodies) == b"".join(numbered(1000))
    assert one.session(other).unsent == one.session(other).unacknowledged == 0


def test_what_is_sent_before_the_next_flush_leaves_in_one_frame(world: World):
    one, other = world.pair()
    for signal in numbered(100):
        one.session(other).send(signal)
    assert one.peers.dirty == [one.session(other).first]
    world.clock.run(0.01)
    assert len(other.bodies) == 1
    assert one.peers.dirty == []


def test_a_whole_frame_leaves_at_once(world: World):
    one, other = world.pair()
    sent = one.peers.counters.frames_sent
    for _ in range(4):
        one.session(other).send(bytes(64 << 10))
    assert one.peers.counters.frames_sent == sent + 1


def test_flush_writes_without_waiting_for_the_hub(world: World):
    one, other = world.pair()
    sent = one.peers.counters.frames_sent
    one.session(other).send(b"x")
    one.peers.flush()
    assert one.peers.counters.frames_sent == sent + 1
    assert one.session(other).unsent == 0


@pytest.mark.parametrize("size", [0, 1, 65_000, 300_000, 3_000_000])
def test_signals_of_every_size(world: World, size: int):
    one, other = world.pair()
    for signal in (b"before", (bytes(size), b"and", bytes(7)), b"after"):
        one.session(other).send(signal)
    world.clock.run(2.0)
    assert b"".join(other.bodies) == b"before" + bytes(size) + b"and" + bytes(7) + b"after"


def test_a_signal_that_is_too_large_is_refused_and_harms_nobody(world: World):
    one, other = world.pair(parameters=SMALL)
    with pytest.raises(NotSendable):
        one.session(other).send(bytes(5001))
    one.session(other).send(b"fine")
    world.clock.run(0.5)
    assert other.bodies == [b"fine"]


# Connections break


def test_a_broken_connection_is_made_again_and_nobody_above_notices(world: World):
    one, other = world.pair()
    sent = []
    for number in range(20):
        signal = b"%d;" % number
        sent.append(signal)
        one.session(other).send(signal)
        if number % 3 == 0:
            one.peers.flush()
            cut_all(world)
        world.clock.run(0.3)
    assert b"".join(other.bodies) == b"".join(sent)
    assert [kind for kind, _, _ in one.log + other.log] == ["started", "started"]
    assert one.peers.counters.connections_lost == 7


def exchange_over_cuts(
    seed: int, cuts: list[int], signals: int, parameters: PeerParameters | None, jitter: float = 0.0
) -> None:
    left = iter(cuts)
    world = World(seed, cut_after=lambda: next(left, None), jitter=jitter)
    one, other = world.node("a", parameters=parameters), world.node("b", parameters=parameters)
    world.want(one, other)
    chance = Random(seed)
    world.clock.run(1.0)
    sent: dict[str, list[bytes]] = {"a": [], "b": []}
    for number in range(signals):
        for node, to in ((one, other), (other, one)):
            session = node.peers.session(to.name)
            if session is not None and not session.congested:
                signal = b"%d:" % number + bytes(chance.randrange(800))
                assert session.send(signal)
                sent[node.name].append(signal)
        world.clock.run(chance.choice([0.0, 0.001, 0.1, 0.4]))
    world.clock.until(lambda: next(left, None) is None and connected(one, other), 600.0)
    world.clock.run(5.0)
    assert [kind for kind, _, _ in one.log] == [kind for kind, _, _ in other.log] == ["started"]
    assert b"".join(other.bodies) == b"".join(sent["a"])
    assert b"".join(one.bodies) == b"".join(sent["b"])
    assert one.session(other).unacknowledged == other.session(one).unacknowledged == 0


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 30),
    # From the 500th byte on, a connection can become a proven one.
    cuts=st.lists(st.integers(0, 3000) | st.integers(500, 20_000), max_size=15),
    small=st.booleans(),
    jitter=st.sampled_from([0.0, 0.005]),
)
def test_cut_at_any_byte(seed: int, cuts: list[int], small: bool, jitter: float):
    # Few enough in a row for no verdict: 15 cuts, each redialled within 0.25 s, take less than 5 s.
    exchange_over_cuts(seed, cuts, 60, SMALL if small else None, jitter)


def test_a_hundred_cuts_in_a_row_lose_and_double_nothing():
    chance = Random(3)
    exchange_over_cuts(3, [chance.randrange(700, 4000) for _ in range(100)], 400, SMALL)


def test_a_stale_half_open_connection_does_not_keep_the_redial_out(world: World):
    one, other = world.pair()
    session = other.session(one)
    (near,) = world.transport.connections
    theirs = near if near.peer_address == one.address else near.peer
    mine = theirs.peer
    # The network forgot the connection: one end sees it break, the other one hears nothing.
    theirs.stall()
    mine.close("reset")
    one.session(other).send(b"x")
    took = world.clock.until(lambda: connected(one, other) and other.bodies == [b"x"], 4.0)
    assert took < 1.0
    assert other.session(one) is session
    assert [kind for kind, _, _ in one.log + other.log] == ["started", "started"]


# Both dial at once


@pytest.mark.parametrize("seed", range(30))
def test_both_ends_dialling_at_once_settle_on_one_connection(seed: int):
    world = World(seed)
    one, other = world.node("a"), world.node("b")
    one.peers.connect("b", other.listening)
    other.peers.connect("a", one.listening)
    world.clock.until(lambda: connected(one, other), 2.0)
    world.clock.run(0.1)
    assert connected(one, other)
    assert one.log == [("started", "b", 1)] and other.log == [("started", "a", 1)]
    assert one.peers.open_connections == other.peers.open_connections == 1
    for _ in range(10):
        cut_all(world)
        world.clock.run(chance_of(seed))
        world.clock.until(lambda: connected(one, other), 2.0)
    world.clock.run(30.0)
    assert connected(one, other)
    assert one.peers.open_connections == other.peers.open_connections == 1
    assert len(one.log) == len(other.log) == 1


def chance_of(seed: int) -> float:
    return Random(seed).choice([0.0, 0.0001, 0.5])


@pytest.mark.parametrize("seed", range(40))
def test_dials_that_cross_settle_whatever_each_step_takes(seed: int):
    world = World(seed, jitter=0.1)
    one, other = world.node("a"), world.node("b")
    one.peers.connect("b", other.listening)
    world.clock.run(Random(seed).uniform(0.0, 0.3))
    other.peers.connect("a", one.listening)
    for _ in range(5):
        world.clock.until(lambda: connected(one, other), 5.0)
        world.clock.run(10.0)
        assert connected(one, other)
        assert one.peers.open_connections == other.peers.open_connections == 1
        assert len(one.log) == len(other.log) == 1
        cut_all(world)


@pytest.mark.parametrize("offset", range(40))
def test_dials_that_cross_after_any_number_of_steps_settle(offset: int):
    world = World(offset)
    one, other = world.node("a"), world.node("b")
    first, second = (one, other) if offset % 2 else (other, one)
    first.peers.connect(second.name, second.listening)
    for _ in range(offset // 2):
        if world.clock._soon:
            function, arguments = world.clock._soon.popleft()
            function(*arguments)
    second.peers.connect(first.name, first.listening)
    world.clock.until(lambda: connected(one, other), 2.0)
    world.clock.run(20.0)
    assert connected(one, other)
    assert len(one.log) == len(other.log) == 1
    assert one.peers.open_connections == other.peers.open_connections == 1


def test_both_join_each_other_at_once(world: World):
    one, other = world.node("a"), world.node("b")
    results: list[Session | JoinFailure] = []
    one.peers.contact(other.address, results.append, 5.0)
    other.peers.contact(one.address, results.append, 5.0)
    world.clock.until(lambda: len(results) == 2, 2.0)
    assert all(isinstance(result, Session) and result.ended is None for result in results)
    world.clock.run(10.0)
    assert connected(one, other)
    assert len(one.log) == len(other.log) == 1


def test_joining_a_node_that_is_connected_gives_its_session(world: World):
    one, other = world.pair()
    session = one.session(other)
    session.send(b"before")
    assert world.join(one, other.address) is session
    assert world.join(other, one.address) is other.session(one)
    session.send(b"after")
    world.clock.run(0.5)
    assert b"".join(other.bodies) == b"beforeafter"
    assert len(one.log) == len(other.log) == 1


def test_joining_a_node_whose_connection_is_broken_resumes_its_session(world: World):
    one, other = world.node("a"), world.node("b", listen=None)
    assert isinstance(world.join(other, one.address), Session)
    session = one.session(other)
    other.listening = one.listening  # so that the redial of a goes wrong
    session.send(b"x")
    cut_all(world)
    assert world.join(other, one.address) is other.session(one)
    world.clock.run(1.0)
    assert one.session(other) is session
    assert other.bodies == [b"x"]
