"""A switch of the topology, as `Node.switch_topology` promises it: all or nothing, and each keeps what is its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from partisan_actors import Node
from partisan_actors.testing import Simulation
from partisan_actors.topologies import ClientServer, FullMesh, HyParView, Topology, XBot
from tests.nodes import cluster_of


@dataclass(frozen=True, kw_only=True)
class Unregistered(HyParView):
    """Known where this module is imported, and by no name."""

    @property
    def name(self) -> str:
        return "of_nobody_else"


@dataclass(frozen=True, kw_only=True)
class Unsendable(HyParView):
    """One with a parameter that stays where it is."""

    def parameters(self) -> Mapping[str, Any]:
        return {**super().parameters(), "arwl": object()}


@dataclass(frozen=True, kw_only=True)
class Wordy(HyParView):
    """One with parameters that there are not."""

    def parameters(self) -> Mapping[str, Any]:
        return {**super().parameters(), "speed": 3}


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """One in which nodes can be made."""
    with Simulation(seed=1) as simulation:
        yield simulation


def formed(simulation: Simulation, topologies: list[Topology]) -> list[Node]:
    nodes = [simulation.node(f"n{index}@sim", topology=topology) for index, topology in enumerate(topologies)]
    for node in nodes[1:]:
        simulation.join(node, nodes[0])
    simulation.run(20.0)
    return nodes


@pytest.mark.parametrize(
    ("topology", "error", "text"),
    [
        (Unregistered(), ValueError, "there is no topology 'of_nobody_else'"),
        (Unsendable(), TypeError, "object"),
        (Wordy(), ValueError, "no parameter speed"),
        (XBot(cost=lambda one, other: 1.0), ValueError, "a function"),
        (ClientServer("server"), ValueError, "of one node"),
        (FullMesh, TypeError, "write FullMesh()"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_d27_what_the_others_could_not_make_is_an_error_and_changes_nothing(simulation, topology, error, text):
    """It was taken by this node alone, or had broken its links by the time that it raised."""
    nodes = formed(simulation, [FullMesh()] * 3)
    with pytest.raises(error, match=text):
        nodes[0].switch_topology(topology)
    simulation.run(20.0)
    assert {cluster_of(node).topology for node in nodes} == {"full_mesh"}
    assert {len(node.neighbours()) for node in nodes} == {2}
    nodes[0].switch_topology(HyParView())
    simulation.run(20.0)
    assert {cluster_of(node).topology for node in nodes} == {"hyparview"}


@pytest.mark.parametrize("between", [None, FullMesh()], ids=["at once", "by way of another"])
def test_d27_reserved_slots_are_filled_after_a_switch(simulation, between):
    """The topology that comes with a switch is for all nodes, and so without the tag of any."""
    slots = {"active_size": 3, "shuffle_active": 2, "reserved": {"server": 1}}
    tags = ["server", "server", *[""] * 8]
    nodes = formed(simulation, [HyParView(tag=tag, **slots) for tag in tags])
    if between is not None:
        nodes[5].switch_topology(between)
        simulation.run(20.0)
    nodes[4].switch_topology(XBot(unbiased=1, **slots))
    simulation.run(120.0)
    assert {cluster_of(node).topology for node in nodes} == {"xbot"}
    # There are two, so what each keeps free for one is for the other; nobody else gets in there.
    assert "n1@sim" in nodes[0].neighbours() and "n0@sim" in nodes[1].neighbours()
    assert all(len(node.neighbours()) <= 2 for node in nodes[2:] if not {"n0@sim", "n1@sim"} & set(node.neighbours()))
