"""The cluster view over HyParView, in simulation: a storm of joins through one contact, and what a large one costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from time import process_time
from typing import Any

from benchmarks.overlays.graphs import components, degrees, graph_of, one_way
from benchmarks.overlays.rows import Row
from partisan_actors.cluster.view_events import NodeDown
from partisan_actors.testing.peer_services import peer_service, peer_service_simulation
from partisan_actors.topologies.hyparview import HyParView

__all__ = ["storm_rows", "view_rows"]

_LIMIT = 60.0  # simulated seconds in which all are to know the same
_QUIET = 30.0
_CONTACT = "n0@sim"


class _Cluster:
    """Peer services over HyParView, and how often a node was told that another is down."""

    def __init__(self, seed: int) -> None:
        self.downs: Counter[str] = Counter()
        self.simulation = peer_service_simulation(seed, HyParView(), observer=self._observe)

    def _observe(self, node: Any, layer: str, effect: Any) -> None:
        if type(effect) is NodeDown:
            self.downs[effect.node] += 1

    def seconds_until_one(self) -> float | None:
        """Simulated seconds until each of the living knows exactly those; None when that takes too long."""
        names = sorted(node.name for node in self.simulation.alive())

        def is_one() -> bool:
            return all(sorted(peer_service(node).view.table.members()) == names for node in self.simulation.alive())

        try:
            return self.simulation.run_until(is_one, _LIMIT, every=0.01)
        except TimeoutError:
            return None

    def overlay_rows(self) -> list[Row]:
        """The overlay as a graph."""
        graph = graph_of({node.name: peer_service(node).neighbours() for node in self.simulation.alive()})
        return [
            Row("parts of the overlay", len(components(graph))),
            Row("one-way entries", one_way(graph)),
            Row("nodes with a full active view", 100 * degrees(graph).get(5, 0) / len(graph), "%"),
        ]

    def wrongly_down(self, dead: Collection[str] = ()) -> int:
        """How often a node was told that one is down that is not."""
        return sum(count for name, count in self.downs.items() if name not in dead)


def _agreed(figure: str, seconds: float | None) -> list[Row]:
    return [] if seconds is None else [Row(figure, seconds, "simulated s")]


def storm_rows(seed: int, nodes: int) -> list[Row]:
    """All join at the same moment, through the same node."""
    began = process_time()
    cluster = _Cluster(seed)
    cluster.simulation.grow(nodes, contact=_CONTACT)
    made = _agreed("until each knows all", cluster.seconds_until_one())
    made.append(Row("for that", process_time() - began, "s of one core"))
    cluster.simulation.run(_QUIET)
    return [*made, *cluster.overlay_rows(), Row("wrongly told that one is down", cluster.wrongly_down(), "times")]


def view_rows(seed: int, nodes: int) -> list[Row]:
    """One joins after the other, each through one by chance; quiet; then a tenth dies at once."""
    began = process_time()
    cluster = _Cluster(seed)
    simulation = cluster.simulation
    simulation.grow(nodes, spacing=0.01)
    made = _agreed("until each knows all, after the last join", cluster.seconds_until_one())
    made.append(Row("grown", process_time() - began, "s of one core"))
    simulation.run(_QUIET)
    made.append(Row("and half a minute quiet", process_time() - began, "s of one core"))
    dead = simulation.random.sample([node.name for node in simulation.alive()], nodes // 10)
    for name in dead:
        simulation.crash(simulation[name])
    made += _agreed("until the others know that a tenth has died", cluster.seconds_until_one())
    made.append(Row("and a tenth has died", process_time() - began, "s of one core"))
    simulation.run(_QUIET)
    return [*made, *cluster.overlay_rows(), Row("wrongly told that one is down", cluster.wrongly_down(dead), "times")]
