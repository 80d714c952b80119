"""X-BOT's experiment (SRDS 2009): what all links cost together on a map with clusters, and floods after mass failures.

Beside it HyParView, of the same seed, on the same map. A round is one of each timer: a shuffle, and one of X-BOT's.
A smaller run of both keeps the nodes' places and all links, for a picture.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from math import hypot
from random import Random
from typing import NamedTuple

from benchmarks.overlays.graphs import components, mean_clustering, one_way, paths
from benchmarks.overlays.hyparview import SHARES, Failure, build, failure, failure_rows, view_graph
from benchmarks.overlays.network import Network
from benchmarks.overlays.rows import Row
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.overlay import Topology
from partisan_actors.topologies.xbot import XBot

__all__ = ["CostRun", "LatencyMap", "experiment", "map_rows", "rows", "total_cost"]

_SOURCES = 100


class LatencyMap:
    """Round trips in seconds between nodes of a few data centres on a plane: 1 ms within one, up to 280 ms between.

    Args:
        clusters: how many centres there are; node `n<i>` is of the one of number i modulo that.

    Attributes: `places` (each node's, by its name).
    """

    def __init__(self, nodes: int, clusters: int, seed: int) -> None:
        random = Random(f"map/{seed}")
        centres = [(random.random(), random.random()) for _ in range(clusters)]
        self.places: dict[str, tuple[float, float]] = {}
        for number in range(nodes):
            x, y = centres[number % clusters]
            self.places[f"n{number}"] = (x + random.gauss(0, 0.005), y + random.gauss(0, 0.005))

    def __call__(self, node: str, other: str) -> float:
        """The round trip."""
        (x, y), (u, v) = self.places[node], self.places[other]
        return 0.001 + 0.2 * hypot(x - u, y - v)


class CostRun(NamedTuple):
    """The links' costs together, in seconds, by the round after which; and the overlay at the end."""

    costs: dict[int, float]
    path: float
    clustering: float
    one_way: int
    parts: int
    failures: list[Failure]


def total_cost(network: Network, costs: LatencyMap) -> float:
    """What all links cost together."""
    return sum(costs(name, peer) for name, machine in network.nodes.items() for peer in machine.active) / 2


def experiment(
    nodes: int, cycles: int, seed: int, clusters: int = 20, shares: Sequence[int] = SHARES
) -> dict[str, CostRun]:
    """One seed's run of both, by the topology's name."""
    costs = LatencyMap(nodes, clusters, seed)
    return {topology.name: _run(topology, costs, nodes, cycles, seed, shares) for topology in _topologies(costs)}


def _topologies(costs: LatencyMap) -> tuple[Topology, ...]:
    return HyParView(), XBot(cost=costs)


def _run(topology: Topology, costs: LatencyMap, nodes: int, cycles: int, seed: int, shares: Sequence[int]) -> CostRun:
    network = build(nodes, 0, Random(seed), topology)
    course = {0: total_cost(network, costs)}
    for number in range(1, cycles + 1):
        network.round()
        course[number] = total_cost(network, costs)
    graph = view_graph(network)
    path, _, _ = paths(graph, Random(0).sample(range(len(graph)), min(_SOURCES, len(graph))))
    kept = pickle.dumps(network)
    failures = [failure(pickle.loads(kept), share, seed) for share in shares]
    return CostRun(course, path, mean_clustering(graph), one_way(graph), len(components(graph)), failures)


def rows(seed: int, nodes: int, cycles: int, clusters: int) -> list[Row]:
    """One seed's run, as rows."""
    made = []
    for system, run in experiment(nodes, cycles, seed, clusters).items():
        made += [Row("cost of all links", cost, "s", system, cycle) for cycle, cost in run.costs.items()]
        made += [
            Row("mean path", run.path, "hops", system),
            Row("clustering", run.clustering, "", system),
            Row("one-way entries", run.one_way, "", system),
            Row("parts", run.parts, "", system),
            *failure_rows(run.failures, system),
        ]
    return made


def map_rows(seed: int, nodes: int, cycles: int, clusters: int) -> list[Row]:
    """Where the nodes are, and the links of either overlay: `x` is a node's number, and the value the other end's."""
    costs = LatencyMap(nodes, clusters, seed)
    made = []
    for number, (x, y) in enumerate(costs.places.values()):
        made += [Row("place, from left", x, x=number), Row("place, from below", y, x=number)]
    for topology in _topologies(costs):
        graph = view_graph(build(nodes, cycles, Random(seed), topology))
        links = [(node, peer) for node, view in enumerate(graph) for peer in sorted(view) if node < peer]
        made += [Row("link", peer, "", topology.name, node) for node, peer in links]
    return made
