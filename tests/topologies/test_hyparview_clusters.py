"""HyParView in whole clusters, in virtual time: joins, storms, failures, partitions that heal, leaves."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.overlays.graphs import components, degrees, graph_of, one_way
from benchmarks.overlays.network import Network
from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.overlay import MemberUp


def simulation(topology, seed, **options):
    return ProtocolSimulation(seed, lambda node: [overlay_layer(topology.overlay(node.name))], **options)


def machine(node):
    return node.slots[0].layer.machine


def views(sim):
    return {node.name: machine(node).active for node in sim.alive()}


def graph(sim):
    return graph_of(views(sim))


def settled(sim):
    """One overlay, the same from both ends, without the dead, of links that are there and wanted."""
    found = views(sim)
    for node in sim.alive():
        assert set(found[node.name]) <= set(found)
        assert len(found[node.name]) <= machine(node).parameters.active_size
        assert sorted(peer for peer, half in node.halves.items() if half.wanted) == machine(node).wanted()
    shape = graph_of(found)
    assert one_way(shape) == 0
    assert len(components(shape)) == 1
    return shape


@pytest.mark.parametrize("seed", range(5))
def test_twelve_nodes_that_join_at_once_are_connected_and_symmetric(seed):
    # Partisan's own hyparview_manager_high_client_test, which it fails: 11 clients and a server (D51)
    sim = simulation(HyParView(), seed)
    server = sim.add("server@sim", tag="server")
    for number in range(11):
        sim.join(sim.add(f"client{number}@sim", tag="client"), server.name)
    sim.run(15.0)
    settled(sim)
    victim = sim["client3@sim"]
    sim.crash(victim)
    sim.run(5.0)
    settled(sim)


@pytest.mark.parametrize("seed", range(20))
def test_partisan_issue_75_nine_nodes_through_one_contact_have_no_island(seed):
    sim = simulation(HyParView(active_size=3), seed)
    sim.grow(9, contact="n0@sim")
    sim.run(25.0)
    settled(sim)


def test_a_storm_of_a_thousand_joins_through_one_contact_is_one_overlay():
    sim = simulation(HyParView(), 1)
    sim.grow(1000, contact="n0@sim")
    sim.run(1.0)
    assert len(components(graph(sim))) == 1
    sim.run(14.0)
    assert degrees(settled(sim))[5] >= 990


@pytest.mark.parametrize("seed", range(3))
def test_most_nodes_die_at_once(seed):
    sim = simulation(HyParView(), seed)
    sim.grow(100, spacing=0.1, contact="n0@sim")
    sim.run(30.0)
    for node in sim.alive()[:70]:
        sim.crash(node)
    sim.run(30.0)
    assert len(settled(sim)) == 30


def test_a_partition_that_heals_is_joined_by_several_links():
    sim = simulation(HyParView(), 4)
    sim.grow(60, spacing=0.1, contact="n0@sim")
    sim.run(20.0)
    names = [node.name for node in sim.alive()]
    side = set(names[:20])
    cut = sim.partition(sorted(side))
    sim.run(60.0)
    assert [len(part) for part in components(graph(sim))] == [40, 20]
    sim.heal(cut)
    sim.run(5.0)
    sim.join(sim[names[0]], names[-1])  # what the driver does that finds a member again
    sim.run(5.0)
    found = views(sim)
    settled(sim)
    assert sum((peer in side) != (name in side) for name, view in found.items() for peer in view) // 2 >= 3


def test_those_who_are_left_refill_at_once():
    sim = simulation(HyParView(), 5)
    sim.grow(40, spacing=0.1, contact="n0@sim")
    sim.run(30.0)
    links = sum(map(len, graph(sim)))
    sim.leave(sim["n7@sim"])
    sim.run(1.0)  # no tick has to come
    assert sum(map(len, settled(sim))) >= links - 6


def test_it_comes_to_rest_after_churn():
    sim = simulation(HyParView(), 6, strict=True)
    sim.grow(60, contact="n0@sim")
    sim.churn(2.0, leaves=0.5)
    sim.run(60.0)
    sim.churn(0.0)
    sim.run(40.0)
    settled(sim)


def test_a_node_that_loses_all_finds_members_again():
    sim = simulation(HyParView(), 7)
    sim.grow(30, spacing=0.1, contact="n0@sim")
    sim.run(20.0)
    lonely = sim["n9@sim"]
    known = {*machine(lonely).active, *machine(lonely).passive}
    for name in sorted(known):
        sim.crash(sim[name])
    if len(sim.alive()) == 1:
        sim.grow(5)
    sim.run(40.0)
    settled(sim)


def test_idle_it_sends_a_frame_or_two_a_second_at_most():
    sim = simulation(HyParView(), 8)
    sim.grow(100, contact="n0@sim")
    sim.run(60.0)
    before = sim.sent[0]
    sim.run(100.0)
    # In ten seconds a shuffle of at most 6 frames there and 6 back.
    assert (sim.sent[0] - before) / 100 / 100 <= 1.25


def test_servers_hold_the_slots_that_are_reserved_for_them():
    sim = simulation(HyParView(reserved={"server": 1}), 9)
    for number in range(30):
        node = sim.add(f"n{number}@sim", tag="server" if number % 5 == 0 else "")
        if number:
            sim.join(node, "n0@sim")
    sim.run(60.0)
    for view in views(sim).values():
        assert sum(int(name[1:-4]) % 5 != 0 for name in view) <= 4
    settled(sim)


def test_the_same_seed_gives_the_same_overlay():
    def outcome():
        sim = simulation(HyParView(), 10)
        sim.grow(50, contact="n0@sim")
        sim.churn(1.0)
        sim.run(30.0)
        return views(sim), {node.name: machine(node).passive for node in sim.alive()}, sim.sent

    assert outcome() == outcome()


@pytest.mark.parametrize("count", [2, 5, 6, 7, 100])
def test_members_that_never_joined_through_anybody_find_each_other(count):
    # A running cluster switches to it from another overlay.
    network = Network(HyParView(), Random(count))
    names = [f"n{number}" for number in range(count)]
    for name in names:
        network.start(name)
    for name in names:
        for other in names:
            network.tell(name, MemberUp(other))
    network.run()
    for _ in range(6):
        network.round()
    found = graph_of({name: machine.active for name, machine in network.nodes.items()})
    assert len(components(found)) == 1
    assert one_way(found) == 0
    assert sum(map(len, found)) >= count * min(5, count - 1) - 2
