"""HyParView's experiments (DSN 2007): the overlay of 10,000 nodes after 50 cycles, and floods after mass failures.

One run is of one seed: nodes join one by one through one contact, then the rounds; then, for each share, that share of
the nodes dies at once, and floods are measured before any repair, after one repair pass (everything that follows from
the broken links), and after two (a round more). FindMembers finds nobody there; then it does, which is the cluster view
as the fallback, and rounds are counted until every survivor is in one overlay.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from benchmarks.overlays.graphs import (
    Graph,
    components,
    degrees,
    graph_of,
    mean_clustering,
    one_way,
    paths,
    reliability,
)
from benchmarks.overlays.network import Network
from benchmarks.overlays.rows import Row
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.overlay import Topology

__all__ = [
    "SHARES",
    "Failure",
    "Shape",
    "build",
    "experiment",
    "failure",
    "failure_rows",
    "rows",
    "shape",
    "view_graph",
]

SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
_SOURCES = 200  # from which paths are measured: the mean's error is under 0.01
_MESSAGES = 1000  # for each point, as in the paper
_FALLBACK_ROUNDS = 20


class Shape(NamedTuple):
    """An overlay as a graph: means over all nodes, and over the sources of paths."""

    path: float
    hops: float
    diameter: int
    clustering: float
    degrees: dict[int, float]  # by the number of neighbours, the share of the nodes that have so many, in percent
    one_way: int
    parts: int
    passive: float


class Failure(NamedTuple):
    """Percent of the survivors that a flood reaches, and the rounds until all are in one overlay with the fallback."""

    share: int
    unrepaired: float
    one_pass: float
    two_passes: float
    rounds: int


def build(nodes: int, cycles: int, random: Random, topology: Topology | None = None) -> Network:
    """Nodes that joined one by one through the first, and so many rounds after that."""
    network = Network(topology if topology is not None else HyParView(), random, find_members=False)
    contact = "n0"
    network.start(contact)
    for number in range(1, nodes):
        name = f"n{number}"
        network.start(name)
        network.join(name, contact)
        network.run()
    for _ in range(cycles):
        network.round()
    return network


def view_graph(network: Network) -> Graph:
    """The active views of the living, without the dead in them."""
    return graph_of({name: machine.active for name, machine in network.nodes.items()})


def shape(network: Network) -> Shape:
    """Measure the overlay."""
    graph = view_graph(network)
    sources = Random(0).sample(range(len(graph)), min(_SOURCES, len(graph)))
    path, hops, diameter = paths(graph, sources)
    shares = {degree: 100 * count / len(graph) for degree, count in degrees(graph).items()}
    passive = sum(len(machine.passive) for machine in network.nodes.values()) / len(graph)
    clustering = mean_clustering(graph)
    return Shape(path, hops, diameter, clustering, shares, one_way(graph), len(components(graph)), passive)


def failure(network: Network, share: int, seed: int) -> Failure:
    """Kill that share, in percent, and repair. The network is used up."""
    random = Random(f"{seed}/{share}")
    names = sorted(network.nodes)
    network.kill(random.sample(names, len(names) * share // 100))

    def reached() -> float:
        return 100 * reliability(view_graph(network), _MESSAGES, random)

    unrepaired = reached()
    network.run()
    one_pass = reached()
    network.round()
    two_passes = reached()
    return Failure(share, unrepaired, one_pass, two_passes, _rounds_to_heal(network, random))


def _rounds_to_heal(network: Network, random: Random) -> int:
    """Rounds until there is one overlay, the cluster view helping: FindMembers finds, islands are joined again."""
    network.find_members = True
    for rounds in range(_FALLBACK_ROUNDS):
        parts = components(view_graph(network))
        if len(parts) == 1:
            return rounds
        names = list(network.nodes)
        network.round()
        for part in parts[1:]:
            if len(part) > 1:  # one that is alone asks by itself
                name, other = names[random.choice(part)], names[random.choice(parts[0])]
                network.join(name, other)
                network.run()
    return _FALLBACK_ROUNDS


def experiment(nodes: int, cycles: int, seed: int, shares: Sequence[int] = SHARES) -> tuple[Shape, list[Failure]]:
    """One seed's run."""
    network = build(nodes, cycles, Random(seed))
    kept = pickle.dumps(network)  # quicker than to build it again for each share
    return shape(network), [failure(pickle.loads(kept), share, seed) for share in shares]


def rows(seed: int, nodes: int, cycles: int) -> list[Row]:
    """One seed's run, as rows."""
    found, failures = experiment(nodes, cycles, seed)
    made = [
        Row("mean path", found.path, "hops"),
        Row("hops to the last node", found.hops, "hops"),
        Row("diameter", found.diameter, "hops"),
        Row("clustering", found.clustering),
        Row("one-way entries", found.one_way),
        Row("parts", found.parts),
        Row("passive view", found.passive, "names"),
    ]
    made += [Row("nodes of this degree", share, "%", x=degree) for degree, share in found.degrees.items()]
    return [*made, *failure_rows(failures)]


def failure_rows(failures: Sequence[Failure], system: str = "") -> list[Row]:
    """Floods after mass failures, as rows."""
    made = []
    for found in failures:
        for figure, value in (
            ("reached, no repair", found.unrepaired),
            ("reached, one pass", found.one_pass),
            ("reached, two passes", found.two_passes),
        ):
            made.append(Row(figure, value, "%", system, found.share))
        made.append(Row("cycles until one overlay", found.rounds, "cycles", system, found.share))
    return made
