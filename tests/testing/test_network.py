"""Latencies, cuts, and links whose promise is broken on purpose."""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.distribution.machine import SetTimer
from partisan_actors.errors import NotSendable
from partisan_actors.testing.layers import MachineLayer, Verb, overlay_layer
from partisan_actors.testing.members import FullMembers, GivenMembers, Roll
from partisan_actors.testing.network import (
    ClusteredLatency,
    ConstantLatency,
    ExponentialLatency,
    Network,
    UniformLatency,
)
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies import FullMesh
from partisan_actors.topologies.overlay import Connect, LinkUp, MemberUp, Message, Send
from tests.testing.machines import Flooder, Recorder


def ways(model, count=2000):
    network = Network(model)
    network.random = Random(1)
    return [network.one_way("a", "b") for _ in range(count)]


def test_the_models_are_what_they_say():
    assert set(ways(ConstantLatency(0.5))) == {0.5}
    uniform = ways(UniformLatency(0.001, 0.003))
    assert 0.001 <= min(uniform) < 0.00101 < 0.00299 < max(uniform) <= 0.003
    exponential = ways(ExponentialLatency(0.001, 0.002))
    assert min(exponential) >= 0.001
    assert sum(exponential) / len(exponential) == pytest.approx(0.003, rel=0.1)


def test_a_map_has_near_and_far_nodes_and_the_seed_alone_decides_where():
    names = [f"n{number}" for number in range(60)]
    first, again = ClusteredLatency(7, jitter=0.0), ClusteredLatency(7)
    distances = {(a, b): first.distance(a, b) for a in names for b in names if a < b}
    assert [again.distance(a, b) for a, b in reversed(distances)] == list(reversed(distances.values()))
    near = [seconds for (a, b), seconds in distances.items() if first.cluster(a) == first.cluster(b)]
    far = [seconds for (a, b), seconds in distances.items() if first.cluster(a) != first.cluster(b)]
    assert max(near) < 0.007
    assert sum(far) / len(far) > 4 * sum(near) / len(near)
    assert ClusteredLatency(8).distance("n1", "n2") != first.distance("n1", "n2")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConstantLatency(0.0),
        lambda: UniformLatency(0.003, 0.001),
        lambda: ExponentialLatency(mean=0.0),
        lambda: ClusteredLatency(1, clusters=0),
        lambda: Network(loss=1.5),
        lambda: Network(late=0.0),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.parametrize(
    ("sources", "targets", "one_way", "stopped"),
    [
        ("a", None, False, {"ab", "ac", "ba", "ca"}),
        ("a", "b", False, {"ab", "ba"}),
        ("a", "b", True, {"ab"}),
        ("ab", "c", True, {"ac", "bc"}),
    ],
)
def test_cuts(sources, targets, one_way, stopped):
    network = Network()
    cut = network.cut(sources, targets, one_way=one_way)
    pairs = {x + y for x in "abc" for y in "abc" if x != y}
    assert {pair for pair in pairs if network.stops(*pair)} == stopped
    assert network.apart("b", "a") == bool({"ab", "ba"} & stopped)
    network.cut("c")
    network.mend(cut)
    assert {pair for pair in pairs if network.stops(*pair)} == {"ac", "ca", "bc", "cb"}
    network.mend()
    assert not network.apart("a", "c")


def arrivals(network, count=400):
    """The numbers that arrive of so many sent over one link."""
    simulation = ProtocolSimulation(3, lambda node: [overlay_layer(Recorder())], network=network)
    a, b = simulation.add("a"), simulation.add("b")
    a.tell("overlay", [Connect("b")])
    simulation.run(1.0)
    for number in range(count):
        a.tell("overlay", [Send("b", number)])
        simulation.run(0.001)
    simulation.run(1.0)
    return [event.payload for _, event in b.layer("overlay").machine.log if isinstance(event, Message)]


def test_a_link_keeps_everything_and_its_order():
    assert arrivals(Network(ExponentialLatency())) == list(range(400))


def test_a_link_may_lose_double_and_reorder():
    lossy = arrivals(Network(loss=0.1))
    assert 320 < len(lossy) < 390
    assert lossy == sorted(lossy)
    doubled = arrivals(Network(duplication=0.1))
    assert set(doubled) == set(range(400))
    assert 410 < len(doubled) < 480
    reordered = arrivals(Network(reordering=0.1))
    assert sorted(reordered) == list(range(400)) != reordered


def test_single_pairs_may_be_far_apart():
    network = Network(ConstantLatency(0.01), latencies={("a", "b"): 2.0})
    assert network.round_trip("a", "b") == network.round_trip("b", "a") == 2.01


def test_a_roll_keeps_its_names_whatever_goes():
    roll, kept = Roll(), []
    random = Random(1)
    for number in range(200):
        name = f"n{number}"
        roll.add(name)
        roll.add(name)
        kept.append(name)
        if random.random() < 0.5:
            gone = kept.pop(random.randrange(len(kept)))
            roll.discard(gone)
            roll.discard(gone)
    assert sorted(roll.names) == sorted(kept)
    assert len(roll) == len(kept)
    drawn = roll.draw(5, kept[0], random)
    assert len(set(drawn)) == 5
    assert kept[0] not in drawn


# Layers


def test_who_is_a_member_may_be_another_layer_s_to_say():
    """Its news come before the overlay's own of the same link."""

    class View:
        def step(self, event, now, random):
            return [event] if isinstance(event, str) else ()

    def tell(slot, peer):
        slot.node.member_up(peer)

    def make(node):
        view = MachineLayer("view", View(), {str: tell}, message=Message, link_up=str)
        return [overlay_layer(Recorder()), view]

    simulation = ProtocolSimulation(1, make, members=GivenMembers())
    a, b = simulation.add("a"), simulation.add("b")
    a.tell("overlay", [Connect("b")])
    simulation.run(1.0)
    assert a.linked() == []  # it waits for its MemberUp
    a.member_up("b")
    simulation.run(1.0)
    for node, peer in ((a, "b"), (b, "a")):
        log = [event for _, event in node.layer("overlay").machine.log]
        assert list(map(repr, log[:2])) == [repr(MemberUp(peer)), repr(LinkUp(peer))]


def test_layers_do_not_hear_each_other_s_messages_and_observers_get_the_rest():
    class Talker:
        def step(self, event, now, random):
            if isinstance(event, LinkUp):
                return (Send(event.node, "hello"), SetTimer("later", 1.0))
            return (("heard", event),)

    seen = []

    def make(node):
        layers = [MachineLayer(name, Talker(), {Send: Verb.SEND}, message=Message, link_up=LinkUp) for name in "xy"]
        return [overlay_layer(Recorder()), *layers]

    simulation = ProtocolSimulation(
        1, make, observer=lambda node, layer, effect: seen.append((node.name, layer, effect))
    )
    simulation.add("a").tell("overlay", [Connect("b")])
    simulation.add("b")
    simulation.run(2.0)
    heard = [(name, layer) for name, layer, (_, event) in seen if isinstance(event, Message)]
    assert sorted(heard) == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert len(seen) == 8  # and a timer each
    assert simulation.sent == [0, 2, 2]


def test_strict_payloads_are_copies_and_sendable():
    def pair(strict):
        simulation = ProtocolSimulation(1, lambda node: [overlay_layer(Recorder())], strict=strict)
        a, b = simulation.add("a"), simulation.add("b")
        a.tell("overlay", [Connect("b")])
        simulation.run(1.0)
        return simulation, a, b

    payload = ["a list"]
    for strict in (False, True):
        simulation, a, b = pair(strict)
        a.tell("overlay", [Send("b", payload)])
        simulation.run(1.0)
        got = b.layer("overlay").machine.log[-1][1].payload
        assert got == payload
        assert (got is payload) != strict
    simulation, a, b = pair(True)
    a.tell("overlay", [Send("b", object())])
    with pytest.raises(NotSendable) as caught:
        simulation.run(1.0)
    assert "seed 1" in caught.value.__notes__[0]


# Crowds


def test_a_full_mesh_of_members_is_one():
    simulation = ProtocolSimulation(
        1, lambda node: [overlay_layer(FullMesh().overlay(node.name))], members=FullMembers()
    )
    simulation.grow(20, spacing=0.01)
    simulation.run(1.0)
    names = sorted(simulation.nodes)
    assert all(node.linked() == [name for name in names if name != node.name] for node in simulation.alive())
    simulation.leave(simulation[names[0]])
    simulation.crash(simulation[names[1]])
    simulation.run(10.0)
    assert all(node.layer("overlay").machine.neighbours() == node.linked() for node in simulation.alive())
    assert {len(node.linked()) for node in simulation.alive()} == {17}


def test_churn_ends_and_everybody_is_back():
    simulation = ProtocolSimulation(1, lambda node: [overlay_layer(Flooder())])
    simulation.grow(40, spacing=0.02)
    simulation.churn(3.0, downtime=2.0, leaves=0.5)
    simulation.run(20.0)
    assert len(simulation.joined) < 40
    simulation.churn(0.0)
    simulation.run(10.0)
    assert len(simulation.joined) == len(simulation.alive()) == 40
    lives = sorted(node.life for node in simulation.alive())
    assert 40 < sum(lives) - 40 < 90
    ends = {(node.name, peer) for node in simulation.alive() for peer in node.linked()}
    assert all((peer, name) in ends for name, peer in ends)
