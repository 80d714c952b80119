"""X-BOT's experiment (SRDS 2009): what all links cost together on a map with clusters, and floods after mass failures.

Beside it HyParView, of the same seed, on the same map. A round is one of each timer: a shuffle, and one of X-BOT's.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from math import hypot
from random import Random
from typing import NamedTuple

from benchmarks.overlays.graphs import components, mean_clustering, one_way, paths
from benchmarks.overlays.hyparview import Failure, build, failure, view_graph
from benchmarks.overlays.network import Network
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.overlay import Topology
from partisan_actors.topologies.xbot import XBot

__all__ = ["XBOT_SHARES", "CostRun", "LatencyMap", "experiment", "total_cost"]

XBOT_SHARES = (50, 80, 90)
_SOURCES = 100


class LatencyMap:
    """Round trips in seconds between nodes of a few data centres on a plane: 1 ms within one, up to 280 ms between.

    Args:
        clusters: how many centres there are; node `n<i>` is of the one of number i modulo that.
    """

    def __init__(self, nodes: int, clusters: int, seed: int) -> None:
        random = Random(f"map/{seed}")
        centres = [(random.random(), random.random()) for _ in range(clusters)]
        self._places = {}
        for number in range(nodes):
            x, y = centres[number % clusters]
            self._places[f"n{number}"] = (x + random.gauss(0, 0.005), y + random.gauss(0, 0.005))

    def __call__(self, node: str, other: str) -> float:
        """The round trip."""
        (x, y), (u, v) = self._places[node], self._places[other]
        return 0.001 + 0.2 * hypot(x - u, y - v)


class CostRun(NamedTuple):
    """The links' costs together, in seconds, at the start and after each tenth round; and the overlay at the end."""

    costs: list[float]
    path: float
    clustering: float
    one_way: int
    parts: int
    failures: list[Failure]


def total_cost(network: Network, costs: LatencyMap) -> float:
    """What all links cost together."""
    return sum(costs(name, peer) for name, machine in network.nodes.items() for peer in machine.active) / 2


def experiment(
    nodes: int, cycles: int, seed: int, clusters: int = 20, shares: Sequence[int] = XBOT_SHARES
) -> dict[str, CostRun]:
    """One seed's run of both, by the topology's name."""
    costs = LatencyMap(nodes, clusters, seed)
    topologies: tuple[Topology, ...] = (HyParView(), XBot(cost=costs))
    return {topology.name: _run(topology, costs, nodes, cycles, seed, shares) for topology in topologies}


def _run(topology: Topology, costs: LatencyMap, nodes: int, cycles: int, seed: int, shares: Sequence[int]) -> CostRun:
    network = build(nodes, 0, seed, topology)
    course = [total_cost(network, costs)]
    for number in range(1, cycles + 1):
        network.round()
        if number % 10 == 0 or number == cycles:
            course.append(total_cost(network, costs))
    graph = view_graph(network)
    path, _, _ = paths(graph, Random(0).sample(range(len(graph)), min(_SOURCES, len(graph))))
    kept = pickle.dumps(network)
    failures = [failure(pickle.loads(kept), share, seed) for share in shares]
    return CostRun(course, path, mean_clustering(graph), one_way(graph), len(components(graph)), failures)
