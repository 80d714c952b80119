"""Plumtree over HyParView, as its paper measures it: the redundancy and the last hop of broadcasts.

The cluster is grown, each node joining through one by chance, stabilised, and then broadcasts: from one node, and from
a node by chance each time. Measured of each: how many got it, the redundancy (RMR, payloads for each receiver less
one), the hops of the last delivery (LDH) beside those of a flood from there over the same graph, and control messages.
In the end a share of the nodes dies at once, and the one node broadcasts among the others. How much processor time all
of that takes is the simulator's budget.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from statistics import mean
from time import process_time
from typing import Any, NamedTuple

from benchmarks.overlays.graphs import flood, graph_of
from benchmarks.overlays.rows import Row
from partisan_actors.cluster.broadcast_events import Broadcast, Root
from partisan_actors.testing.broadcasts import BROADCAST, Tally, broadcasting_layers
from partisan_actors.testing.network import ConstantLatency, LatencyModel, Network
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies.hyparview import HyParView

__all__ = ["AFTER", "FIRST", "ONE", "SHARED", "rows"]

FIRST, ONE, SHARED, AFTER = "the first ones", "one root", "roots by chance", "after the failures"
"""The phases, in their order. The first messages of a root travel on the shared tree, and the first of all on none."""

_LATENCY = ConstantLatency(0.002)
"""The same for all links, so that a flood takes the ways of the fewest hops."""


class Course(NamedTuple):
    """What one broadcast was."""

    root: str
    reached: float  # share of the nodes
    rmr: float
    ldh: int
    control: float  # IHAVEs, GRAFTs and PRUNEs for each node
    flood: int = 0  # the hops of a flood from there


class _Cluster:
    """A simulated cluster, and what its broadcasts cost."""

    def __init__(self, seed: int, latency: LatencyModel) -> None:
        self.tally = Tally()
        self.sent: Counter[str] = Counter()
        self.hops: dict[tuple[Root, int], int] = {}
        topology = HyParView()
        self.simulation = ProtocolSimulation(
            seed,
            lambda node: broadcasting_layers(node, topology.overlay(node.name), sent=self._count),
            network=Network(latency),
            observer=self.tally,
        )

    def _count(self, name: str, message: tuple[Any, ...], receivers: int) -> None:
        self.sent[message[0]] += receivers
        if message[0] == "ihave":
            self.sent["control"] += len(message[1])
        elif message[0] in ("graft", "prune"):
            self.sent["control"] += receivers

    def broadcast(self, name: str, seconds: float = 1.0) -> Course:
        """Broadcast once, let it come to rest, and say what that was."""
        self.sent.clear()
        machine = self.simulation[name].layer(BROADCAST).machine
        number = machine._number + 1
        self.simulation[name].tell(BROADCAST, Broadcast("handler", bytes(100)))
        self.simulation.run(seconds)
        nodes = self.simulation.alive()
        root = machine.root
        hops = [kept.hop for node in nodes if (kept := node.layer(BROADCAST).machine.kept(root, number)) is not None]
        return Course(
            name,
            self.tally.delivered[root, number] / len(nodes),
            self.sent["gossip"] / (len(nodes) - 1) - 1,
            max(hops),
            self.sent["control"] / len(nodes),
        )

    def beside_floods(self, courses: list[Course]) -> list[Course]:
        """The same, with the hops of a flood from the same root over the overlay as it is now."""
        views = {node.name: node.layer("overlay").machine.neighbours() for node in self.simulation.alive()}
        graph, places = graph_of(views), {name: place for place, name in enumerate(views)}
        hops = {root: len(flood(graph, places[root])) - 1 for root in dict.fromkeys(course.root for course in courses)}
        return [course._replace(flood=hops[course.root]) for course in courses]


def rows(
    seed: int, nodes: int, broadcasts: int, cycles: int, failed: float, latency: LatencyModel = _LATENCY
) -> list[Row]:
    """Run it.

    Args:
        broadcasts: half of them from one node, half from nodes by chance; the first, and those after the failures, come
            on top.
        cycles: shuffle intervals between the last join and the first broadcast.
        failed: percent of the nodes that die at once in the end.
    """
    began = process_time()
    cluster = _Cluster(seed, latency)
    simulation = cluster.simulation
    simulation.grow(nodes, spacing=0.01)
    budget = [Row("grown", process_time() - began, "s of one core")]
    simulation.run(cycles * HyParView().shuffle_interval)
    budget.append(Row("and stabilised", process_time() - began, "s of one core"))
    chance = Random(seed)
    sender = chance.choice(simulation.alive()).name
    half = broadcasts // 2
    courses = {
        FIRST: [cluster.broadcast(sender) for _ in range(4)],
        ONE: [cluster.broadcast(sender) for _ in range(half)],
        SHARED: [cluster.broadcast(chance.choice(simulation.alive()).name) for _ in range(broadcasts - half)],
    }
    budget.append(Row("and the broadcasts over", process_time() - began, "s of one core"))
    courses = {phase: cluster.beside_floods(found) for phase, found in courses.items()}
    others = [node for node in simulation.alive() if node.name != sender]
    for node in chance.sample(others, int(len(others) * failed / 100)):
        simulation.crash(node)
    simulation.run(HyParView().shuffle_interval)
    # The first of these are on the shared tree again, and the next one floods what is new of the sender's own.
    courses[AFTER] = cluster.beside_floods([cluster.broadcast(sender, 5.0) for _ in range(8)])
    return [*_summary(courses), *_each(courses), *budget]


def _summary(courses: dict[str, list[Course]]) -> list[Row]:
    quiet = [course for phase in (FIRST, ONE, SHARED) for course in courses[phase]]
    made = [
        Row("reached by each broadcast, at the least", 100 * min(course.reached for course in quiet), "%"),
        Row("RMR of a flood: a root's first on its own tree", courses[FIRST][-1].rmr),
    ]
    for phase in (ONE, SHARED):
        made += [
            Row(f"RMR, {phase}", mean(course.rmr for course in courses[phase])),
            Row(f"LDH / a flood's, {phase}", mean(course.ldh / course.flood for course in courses[phase])),
        ]
    control = mean(course.control for phase in (ONE, SHARED) for course in courses[phase])
    after = courses[AFTER]
    return [
        *made,
        Row("control messages for a node and broadcast", control),
        Row("reached after the failures, at the least", 100 * min(course.reached for course in after), "%"),
        Row("RMR after the failures, from the sixth", mean(course.rmr for course in after[5:])),
    ]


def _each(courses: dict[str, list[Course]]) -> list[Row]:
    made, number = [], 0
    for phase, found in courses.items():
        for course in found:
            number += 1
            made += [
                Row("RMR", course.rmr, "", phase, number),
                Row("LDH", course.ldh, "hops", phase, number),
                Row("a flood's LDH", course.flood, "hops", phase, number),
            ]
    return made
