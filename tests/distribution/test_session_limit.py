"""As many sessions as there may be, and one more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import structlog.testing

from partisan_actors.distribution import JoinFailure, PeerParameters, Session
from partisan_actors.distribution.strangers import StrangerParameters
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.transport import SocketTransport
from partisan_actors.wire.hello import RefusalCode
from tests.conditions import wait_until
from tests.distribution.nodes import COOKIE, Node, connected, join, keys_of
from tests.distribution.raw_peer import RawPeer
from tests.distribution.world import World, cut_all

TWO = PeerParameters(sessions=2, strangers=StrangerParameters(lines=1))


def test_the_default_is_enough_for_a_thousand_clients():
    parameters = PeerParameters()
    assert parameters.sessions == 4096 == parameters.acquaintances


@pytest.mark.parametrize("wrong", [{"sessions": 0}, {"sessions": 5000}, {"acquaintances": 100}])
def test_parameters_are_checked(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="acquaintances"):
        PeerParameters(**wrong)


def test_so_many_and_one_more_over_real_sockets(nodes: list[Node]):
    full = Node("full", parameters=TWO)
    one, two, three = (Node(name) for name in ("one", "two", "three"))
    nodes += [full, one, two, three]
    assert isinstance(join(one, full.address), Session)
    assert isinstance(join(two, full.address), Session)
    with structlog.testing.capture_logs() as entries:
        for _ in range(3):
            told = join(three, full.address)
            assert isinstance(told, JoinFailure)
            assert told.reason == "full"
            assert told.text == f"{full.address}: refused: full has as many sessions as it may"
    lines = [entry for entry in entries if entry["event"] == "connection_refused" and entry["node"] == "full"]
    assert [(line["reason"], str(line["address"])[:9]) for line in lines] == [("full", "127.0.0.1")]
    assert full.peers.counters.refusals == {"full": 3}
    assert three.peers.counters.refusals == {"full, by the peer": 3}
    assert connected(full, one) and connected(full, two)
    assert three.log == [] and [kind for kind, _, _ in full.log] == ["started", "started"]
    # Who is in may come again, by another connection; and who leaves makes a place.
    assert isinstance(join(one, full.address), Session)
    one.session(full).leave("leave")
    wait_until(lambda: full.peers.places == 1)
    assert isinstance(join(three, full.address), Session)


def test_a_stranger_does_not_learn_that_there_is_no_place(nodes: list[Node]):
    full, one, two = Node("full", parameters=TWO), Node("one"), Node("two")
    nodes += [full, one, two]
    join(one, full.address)
    join(two, full.address)
    for cookie, code in ((b"a cookie of somebody else", RefusalCode.COOKIE), (COOKIE, RefusalCode.FULL)):
        raw = RawPeer(Life("three", 1, 1), keys_of(cookie))
        raw.dial(SocketTransport(GeventClock()), full.address)
        wait_until(lambda: raw.closed_because)  # noqa: B023
        assert raw.refusal is not None and raw.refusal.code == code


def test_a_full_node_joins_nobody_new_and_is_told_why(world: World):
    full, one, two, three = world.node("full", parameters=TWO), *map(world.node, ("one", "two", "three"))
    for other in (one, two):
        world.join(full, other.address)
    told = world.join(full, three.address)
    assert isinstance(told, JoinFailure)
    assert told.reason == "full" and "refused by this node" in told.text
    assert three.log == []
    assert isinstance(world.join(full, two.address), Session), "whoever answers there may be connected already"


def test_a_full_node_does_not_dial(world: World):
    full, one, two, three = world.node("full", parameters=TWO), *map(world.node, ("one", "two", "three"))
    for other in (one, two):
        world.want(full, other)
    world.clock.run(1.0)
    dialled = full.peers.counters.dialled
    full.peers.connect("three", three.listening)
    world.clock.run(300.0)
    assert full.peers.counters.dialled == dialled
    assert full.told("unreachable") == ["refused: full has as many sessions as it may"]
    assert full.peers.counters.refusals["full"] <= 14, "half a minute apart, by chance up to a quarter less"
    # As soon as it finds that there is a place, it does.
    full.peers.forget("one")
    full.session(one).leave("leave")
    one.peers.forget("full")
    world.clock.until(lambda: connected(full, three), 31.0)
    assert full.told("started") == [1, 1, 1]


def test_a_full_node_is_not_dialled_for_ever(world: World):
    full, one, two, three = world.node("full", parameters=TWO), *map(world.node, ("one", "two", "three"))
    for other in (one, two):
        world.want(full, other)
    world.clock.run(1.0)
    three.peers.connect("full", full.listening)
    world.clock.run(300.0)
    assert three.peers.counters.dialled <= 14
    assert three.told("unreachable") == ["refused: full has as many sessions as it may"]
    assert three.told("started") == three.told("ended") == []


def test_what_waits_for_a_connection_keeps_its_place(world: World):
    full, one, two, three = world.node("full", parameters=TWO), *map(world.node, ("one", "two", "three"))
    for other in (one, two):
        world.want(full, other)
    world.clock.until(lambda: connected(full, one) and connected(full, two), 5.0)
    for _ in range(5):
        cut_all(world)
        told = world.join(three, full.address, 0.5)
        assert isinstance(told, JoinFailure)
        world.clock.until(lambda: connected(full, one) and connected(full, two), 5.0)
    assert full.told("ended") == one.told("ended") == two.told("ended") == []


def test_a_later_life_takes_the_place_of_the_one_before(world: World):
    full, one, two = world.node("full", parameters=TWO), world.node("one"), world.node("two")
    for other in (one, two):
        world.want(full, other)
    world.clock.run(1.0)
    world.kill(one)
    again = world.node("one", epoch=2, listen="again:0")
    world.clock.run(0.05)
    again.peers.connect("full", full.listening)
    world.clock.until(lambda: connected(full, again), 10.0)
    assert full.peers.places == 0


def test_many_that_are_dialled_at_once_find_as_many_places_as_there_are(world: World):
    full = world.node("full", parameters=replace(TWO, sessions=3))
    others = [world.node(f"n{number}") for number in range(10)]
    for other in others:
        full.peers.connect(other.name, other.listening)
    world.clock.run(100.0)
    assert len(full.peers.sessions()) == 3
    assert len(full.told("started")) == 3 and full.told("ended") == []
    assert sorted(len(other.told("started")) for other in others) == [0] * 7 + [1] * 3
    assert not any(other.told("ended") for other in others), "nobody was let in to be sent away"


@pytest.mark.parametrize("seed", range(8))
def test_where_all_want_all_and_have_few_places_nobody_goes_up_and_down(seed: int):
    world = World(seed, jitter=0.02)
    nodes = [world.node(f"n{number}", parameters=replace(TWO, sessions=3)) for number in range(8)]
    for one in nodes:
        for other in nodes:
            if one is not other:
                one.peers.connect(other.name, other.listening)
    world.clock.run(200.0)
    for node in nodes:
        sessions = node.peers.sessions()
        assert len(sessions) <= 3
        assert node.told("ended") == []
        assert len(node.told("started")) == len(sessions)
        told = [name for kind, name, _ in node.log if kind == "unreachable"]
        assert len(told) == len(set(told)), "once for each"
        assert set(told) >= {other.name for other in nodes} - {node.name} - {session.node for session in sessions}
