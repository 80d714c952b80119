"""Routing over graphs by chance: while nothing changes, and after everything has."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partisan_actors.distribution.routing import Routing, RoutingParameters
from partisan_actors.distribution.routing_events import (
    Doubted,
    Learned,
    LinkDown,
    LinkUp,
    Measured,
    MemberDown,
    RelayReceived,
    RouteReceived,
    Send,
)
from partisan_actors.wire.relays import Relay, RouteMessage, names_of
from tests.distribution.routing_world import RoutingWorld

SEEDS = st.integers(0, 1 << 32)


def connected_world(random: Random, most: int = 30, extra: int = 1, measured: bool = False) -> RoutingWorld:
    """A graph by chance that is connected, with so many times its nodes of links beyond a tree."""
    count = random.randint(3, most)
    names = [f"n{number:02}" for number in range(count)]
    world = RoutingWorld(names, random.randrange(1 << 30))
    for number in range(1, count):
        world.link(names[random.randrange(number)], names[number], random.uniform(0.001, 0.05), measured=measured)
    add_links(world, random, extra * count, measured)
    return world


def add_links(world: RoutingWorld, random: Random, count: int, measured: bool = False) -> None:
    names = sorted(world.machines)
    for _ in range(count):
        one, other = random.sample(names, 2)
        if not world.linked(one, other):
            world.link(one, other, random.uniform(0.001, 0.05), measured=measured)


def send_some(world: RoutingWorld, random: Random, count: int) -> list[tuple[str, str, bytes]]:
    """Send between pairs by chance; where each is to arrive, from whom, and what."""
    names, sent = sorted(world.machines), []
    for _ in range(count):
        source, destination = random.sample(names, 2)
        body = b"%d" % random.getrandbits(60)
        world.send(source, destination, body)
        sent.append((destination, source, body))
        world.run(random.choice((0.0, 0.0, 0.05)))
    return sent


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_in_a_quiet_overlay_everything_arrives_once_and_each_link_is_crossed_once(seed: int, measured: bool):
    random = Random(seed)
    world = connected_world(random, measured=measured)
    sent = send_some(world, random, 60)
    world.run(20.0)
    assert sorted(arrived[:3] for arrived in world.arrived) == sorted(sent)
    assert len(world.frames) == sum(hops for *_, hops in world.arrived)
    assert world.undeliverable == []
    assert sum(machine.waiting_bytes for machine in world.machines.values()) == 0


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_second_time_nothing_is_looked_up_and_ways_are_short(seed: int):
    random = Random(seed)
    world = connected_world(random)
    again = [(source, destination) for destination, source, _ in send_some(world, random, 40)]
    world.run(20.0)
    messages, before = sum(world.messages.values()), len(world.arrived)
    for source, destination in again:
        world.send(source, destination)
    world.run(20.0)
    assert sum(world.messages.values()) == messages
    hops = sum(hops for *_, hops in world.arrived[before:])
    shortest = sum(world.distances(source)[destination] for source, destination in again)
    assert hops <= 2 * shortest


def links_come_and_go(seed: int, attempts: int) -> None:
    """Whatever happens meanwhile; the last of so many attempts, after all is quiet, arrives for every pair."""
    random = Random(seed)
    world = connected_world(random, most=15, extra=2)
    for _ in range(60):
        links = world.links()
        if random.random() < 0.5 and len(links) > len(world.machines):
            world.cut(*random.choice(links))
        else:
            add_links(world, random, 1)
        send_some(world, random, 3)
    world.run(60.0)
    frames, messages = len(world.frames), sum(world.messages.values())
    world.run(300.0)
    assert (len(world.frames), sum(world.messages.values())) == (frames, messages), "it is quiet"
    assert len(set(world.arrived)) == len(world.arrived)
    assert all(relay.hops + relay.ttl <= RoutingParameters().hop_limit for _, _, relay in world.frames)
    reach = {name: world.distances(name) for name in world.machines}
    pairs = [random.sample(sorted(world.machines), 2) for _ in range(20)]
    bodies = [b"attempt %d" % number for number in range(attempts)]
    for body in bodies:
        for source, destination in pairs:
            world.send(source, destination, body)
            world.run(0.1)
        world.run(30.0)
    expected = sorted((destination, source) for source, destination in pairs if destination in reach[source])
    assert sorted(arrived[:2] for arrived in world.arrived if arrived[2] == bodies[-1]) == expected
    assert sum(machine.waiting_bytes for machine in world.machines.values()) == 0


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_when_links_come_and_go_nothing_comes_twice_or_goes_on_for_ever_and_then_all_is_well_again(seed: int):
    # Ways that are out of date may cost a frame each, which finds it out: a node knows two of them, that in use and
    # another in its place, and both may be.
    links_come_and_go(seed, attempts=3)


@pytest.mark.parametrize("seed", [773250, 2151, 2329, 3006, 3185])
def test_the_second_frame_does_not_go_by_a_way_that_the_first_has_found_to_be_of_no_use(seed: int):
    links_come_and_go(seed, attempts=2)


def test_the_second_time_ways_do_not_lead_back():
    test_the_second_time_nothing_is_looked_up_and_ways_are_short.hypothesis.inner_test(135669)


def churn(world: RoutingWorld, random: Random) -> None:
    """Let links come and go for a while, some of them half a second late for one end's news, with hints by chance."""
    names = sorted(world.machines)
    for _ in range(60):
        links = world.links()
        if random.random() < 0.5 and len(links) > len(names):
            world.cut(*random.choice(links))
        else:
            add_links(world, random, 1)
        send_some(world, random, 2)
        at, node = random.sample(names, 2)
        neighbours = world.machines[at].neighbours()
        if neighbours:
            world.learned(at, node, random.choice(neighbours))
    for number in range(1, len(names)):
        one, other = names[random.randrange(number)], names[number]
        if not world.linked(one, other):
            world.link(one, other)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_once_links_are_quiet_all_pairs_hear_of_each_other_within_seconds(seed: int):
    random = Random(seed)
    world = connected_world(random, most=15, extra=1)
    churn(world, random)
    names = sorted(world.machines)
    wanted = [tuple(random.sample(names, 2)) for _ in range(30)]
    begun, answered, heard = world.now, set[tuple[str, str]](), len(world.arrived)
    repeats = [begun, begun + 0.5, begun + 1.5, begun + 3.5]
    while world.now < begun + 4.5:
        if repeats and world.now >= repeats[0]:
            repeats.pop(0)
            for one, other in sorted({*wanted} - answered):
                if world.now > begun:
                    world.feed(one, Doubted(other, world.now - begun))
                world.send(one, other, b"call")
        world.run(0.01)
        for at, source, body, _ in world.arrived[heard:]:
            heard += 1
            if body == b"call":
                world.send(at, source, b"reply")
            elif body == b"reply":
                answered.add((at, source))
    assert answered == {*wanted}


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_the_same_seed_gives_the_same_trace(seed: int):
    def trace() -> list[object]:
        random = Random(seed)
        world = connected_world(random, most=10)
        send_some(world, random, 20)
        world.cut(*world.links()[0])
        send_some(world, random, 20)
        world.run(20.0)
        return world.trace

    assert trace() == trace()


def test_all_that_want_the_same_node_at_once_find_it_by_its_announcement():
    random = Random(5)
    world = RoutingWorld([f"n{number:03}" for number in range(300)])
    names = sorted(world.machines)
    for number in range(1, 300):
        world.link(names[random.randrange(max(0, number - 20), number)], names[number])
    add_links(world, random, 400)
    for name in names[1:]:
        world.send(name, names[0])
    world.run(10.0)
    assert len({source for _, source, *_ in world.arrived}) == 299
    assert world.machines[names[0]].counters.announcements == 1
    # A flood of each of them would be 400,000.
    assert sum(world.messages.values()) < 60_000


NODES = st.sampled_from(["me", "a", "b", "x", "y"])
U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, 20) | st.integers(0, (1 << 64) - 1)
HOPS = st.integers(1, 255)
EVENTS = st.one_of(
    st.builds(LinkUp, NODES),
    st.builds(LinkDown, NODES),
    st.builds(Measured, NODES, st.floats(allow_nan=True)),
    st.builds(MemberDown, NODES),
    st.builds(Doubted, NODES, st.floats(0, 20)),
    st.builds(Learned, NODES, NODES, st.integers(0, 1000)),
    st.builds(Send, NODES, st.tuples(st.binary(max_size=9))),
    st.builds(
        lambda by, to, source, number, hops, ttl, cost: RelayReceived(
            by, Relay(to, source, number, hops, ttl, cost, names_of(to, source), (b"body",))
        ),
        *(NODES, NODES, NODES, U64, HOPS, st.integers(0, 255), U32),
    ),
    st.builds(
        lambda by, *fields: RouteReceived(by, RouteMessage(*fields)),
        *(NODES, st.integers(0, 9), NODES, NODES, U64, HOPS, st.integers(0, 255), U32, U64, U32),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), EVENTS), max_size=60), SEEDS)
def test_whatever_others_send_the_machine_goes_on(events, seed):
    parameters = RoutingParameters(
        most_waiting=50, most_waiting_in_all=100, most_look_ups=3, most_routes=4, most_seen=8
    )
    world = RoutingWorld(["me"], seed, parameters)
    machine = world.machines["me"]
    for seconds, event in events:
        world.run(seconds)
        world.feed("me", event)
        assert machine.routes <= 4
        assert machine.waiting_bytes <= 100
    linked = machine.neighbours()
    assert all(to != "me" and relay.destination != by for by, to, relay in world.frames)
    assert isinstance(machine, Routing) and "me" not in linked
    world.run(100.0)
    assert machine.waiting_bytes == 0
