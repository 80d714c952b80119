"""Broadcast over HyParView, in simulation: what the overlay makes of links and neighbours, the broadcast bears."""

from __future__ import annotations

import pytest

from benchmarks.overlays import plumtree
from partisan_actors.cluster.broadcast_events import Broadcast, MemberUp, PlumtreeParameters
from partisan_actors.testing.broadcasts import BROADCAST, Tally, broadcasting_layers
from partisan_actors.testing.network import ConstantLatency
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies import FullMesh
from partisan_actors.topologies.hyparview import HyParView

QUICK = PlumtreeParameters(retention=60.0, hold=2.0, exchange_interval=5.0, forget_after=1000.0)


def machine(node):
    return node.layer(BROADCAST).machine


def grown(count: int, *, topology=None, seed: int = 1, **options):
    topology, tally = topology or HyParView(), Tally()
    simulation = ProtocolSimulation(
        seed,
        lambda node: broadcasting_layers(node, topology.overlay(node.name), QUICK),
        observer=tally,
        **options,
    )
    simulation.grow(count, spacing=0.05)
    simulation.run(20.0)
    assert all(machine(node).synchronised for node in simulation.alive())
    return simulation, tally


def say(simulation, name: str, seconds: float = 2.0):
    number = machine(simulation[name])._number + 1
    simulation[name].tell(BROADCAST, Broadcast("handler", b"x"))
    simulation.run(seconds)
    return machine(simulation[name]).root, number


def test_every_node_gets_it_once_while_others_join_and_their_neighbours_change():
    simulation, tally = grown(60)
    keys = []
    for index in range(10):
        simulation.grow(5)
        keys.append((say(simulation, f"n{index}@sim", 0.5), 60 + 5 * index))
    simulation.run(20.0)
    # Those that came within a second may have it, too.
    assert all(members <= tally.delivered[key] <= members + 15 for key, members in keys)
    assert tally.twice == [] and tally.gaps == []


def test_everybody_that_lives_gets_it_under_churn():
    simulation, tally = grown(80, seed=3)
    source = simulation["n0@sim"]
    keys = []
    for _ in range(10):
        simulation.churn(1.0, downtime=4.0, leaves=0.3)
        simulation.run(2.0)
        simulation.churn(0.0)
        if not source.alive:
            source = next(iter(simulation.alive()))
        members = {(node.name, node.life) for node in simulation.alive()}
        keys.append((say(simulation, source.name, 0.5), members))
    simulation.run(30.0)
    living = {(node.name, node.life) for node in simulation.alive()}
    for key, members in keys:
        seen = {tuple(life.rsplit(" ", 1)) for life in tally._seen[key]}
        assert {(name, str(life)) for name, life in members & living} <= seen
    assert tally.twice == []


def test_two_parts_of_a_partition_find_together():
    simulation, tally = grown(40, seed=5)
    for node in simulation.alive():
        for other in simulation.alive():
            node.tell(BROADCAST, MemberUp(*machine(other).root))
    side = [f"n{index}@sim" for index in range(15)]
    simulation.partition(side)
    simulation.run(10.0)
    keys = [say(simulation, "n3@sim"), say(simulation, "n30@sim")]
    assert [tally.delivered[key] for key in keys] == [15, 25]
    simulation.heal()
    simulation.join(simulation["n3@sim"], "n30@sim")
    simulation.run(30.0)
    assert [tally.delivered[key] for key in keys] == [40, 40]
    assert tally.twice == [] and tally.gaps == []


def test_the_same_over_a_full_mesh():
    simulation, tally = grown(12, topology=FullMesh(), strict=True)
    key = say(simulation, "n5@sim")
    assert tally.delivered[key] == 12


def test_the_paper_s_figures_in_small():
    rows = plumtree.rows(1, nodes=200, broadcasts=12, cycles=3, failed=50, latency=ConstantLatency(0.01))
    values = {row.figure: row.value for row in rows if row.x is None}
    assert values["reached by each broadcast, at the least"] == 100.0
    assert values["reached after the failures, at the least"] == 100.0
    assert values["RMR of a flood: a root's first on its own tree"] == pytest.approx(3.0, abs=0.1)
    assert values["RMR, one root"] < 0.01 and values["RMR, roots by chance"] < 0.01
    assert values["LDH / a flood's, one root"] <= 1.2
    assert values["control messages for a node and broadcast"] < 3.0
    assert [row.x for row in rows if row.figure == "RMR"] == list(range(1, 4 + 12 + 8 + 1))
