"""Plumtree over HyParView, as its paper measures it: `python -m benchmarks.overlays.plumtree [--nodes N]`.

The cluster is grown through one contact after the other, stabilised, and then broadcasts: from one node, and from a
node by chance each time. Measured of each: how many got it, the redundancy (RMR, payloads for each receiver less one),
the hops of the last delivery (LDH) beside those of a flood from there over the same graph, and control messages. JSON
lines and a table go to standard output.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import mean
from time import process_time
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.overlays.graphs import Graph, flood, graph_of
from benchmarks.overlays.report import Figure
from partisan_actors.cluster.broadcast_events import Broadcast, Root
from partisan_actors.testing.broadcasts import BROADCAST, Tally, broadcasting_layers
from partisan_actors.testing.network import ConstantLatency, LatencyModel, Network
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies.hyparview import HyParView

__all__ = ["PUBLISHED", "WANTED", "Figures", "experiment", "measure", "plumtree_figures", "run_plumtree"]

PUBLISHED = {
    "reliability": "100 %",
    "flooding_rmr": "about 3",
    "rmr": "about 0",
    "ldh_to_flood": "1",
    "shared_rmr": "about 0",
    "shared_ldh_to_flood": "above 1",
    "control": "about 3",
    "reliability_after_failures": "100 %",
    "rmr_after_failures": "about 0",
}
"""The paper's values, 10,000 nodes and a fanout of 4; read off its figures (papers.md, section 3)."""

WANTED = {
    "reliability": "100 %",
    "rmr": "< 0.01",
    "shared_rmr": "< 0.01",
    "ldh_to_flood": "<= 1.2",
    "reliability_after_failures": "100 %",
    "seconds_broadcast": "< 300",
}

MEANINGS = {
    "reliability": "of the nodes, so many got each broadcast, at the least",
    "flooding_rmr": "RMR of a root's first message on its own tree, a flood",
    "rmr": "RMR of one root, once it has its tree",
    "ldh_to_flood": "LDH of that, divided by a flood's from there",
    "shared_rmr": "RMR of roots by chance, on the tree that they share",
    "shared_ldh_to_flood": "LDH of that, divided by a flood's",
    "control": "IHAVEs, GRAFTs and PRUNEs for each node and broadcast",
    "reliability_after_failures": "after so many nodes have died at once: of the others, so many got each broadcast",
    "rmr_after_failures": "RMR of that root then, from the sixth broadcast on",
    "seconds_grown": "of one core, until all have joined",
    "seconds_stabilised": "and until it has settled",
    "seconds_broadcast": "and until the broadcasts are over",
}


@dataclass
class Figures:
    """What came out: by name, beside how it was got."""

    nodes: int
    broadcasts: int
    seed: int
    values: dict[str, float] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """A JSON line for each."""
        about = {"nodes": self.nodes, "broadcasts": self.broadcasts, "seed": self.seed}
        for name, value in self.values.items():
            line = {"bench": f"plumtree_{name}", **about, "value": round(value, 4), "paper": PUBLISHED.get(name)}
            yield json.dumps(line)

    def table(self) -> Table:
        """For readers."""
        shown = Table(title=f"Plumtree over HyParView: {self.nodes} nodes, {self.broadcasts} broadcasts")
        for heading in ("what", "the paper", "wanted", "here", "meaning"):
            shown.add_column(heading)
        for name, value in self.values.items():
            shown.add_row(name, PUBLISHED.get(name, ""), WANTED.get(name, ""), f"{value:.4g}", MEANINGS[name])
        return shown


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

    def broadcast(self, name: str, seconds: float = 1.0) -> dict[str, float]:
        """Broadcast once, let it come to rest, and say what that was."""
        self.sent.clear()
        machine = self.simulation[name].layer(BROADCAST).machine
        number = machine._number + 1
        self.simulation[name].tell(BROADCAST, Broadcast("handler", bytes(100)))
        self.simulation.run(seconds)
        nodes = self.simulation.alive()
        root = machine.root
        hops = [kept.hop for node in nodes if (kept := node.layer(BROADCAST).machine.kept(root, number)) is not None]
        return {
            "reached": self.tally.delivered[root, number] / len(nodes),
            "rmr": self.sent["gossip"] / (len(nodes) - 1) - 1,
            "ldh": max(hops),
            "control": self.sent["control"] / len(nodes),
        }

    def graph(self) -> tuple[Graph, dict[str, int]]:
        """The overlay as it is, and each node's place in it."""
        views = {node.name: node.layer("overlay").machine.neighbours() for node in self.simulation.alive()}
        return graph_of(views), {name: place for place, name in enumerate(views)}


def measure(
    nodes: int,
    broadcasts: int,
    *,
    seed: int = 1,
    cycles: int = 50,
    failed: float = 0.5,
    latency: LatencyModel | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Figures:
    """Run it.

    Args:
        broadcasts: half of them from one node, half from nodes by chance; those after the failures come on top.
        cycles: shuffle intervals between the last join and the first broadcast.
        failed: share of the nodes that die at once in the end.
        latency: of the links; by default the same for all, so that a flood takes the ways of the fewest hops.
    """
    figures = Figures(nodes, broadcasts, seed)
    values, clocks = figures.values, [process_time()]
    cluster = _Cluster(seed, latency if latency is not None else ConstantLatency(0.002))
    simulation = cluster.simulation
    simulation.grow(nodes, spacing=0.01)
    clocks.append(process_time())
    say(f"{nodes} nodes have joined, {clocks[-1] - clocks[0]:.0f} s")
    simulation.run(cycles * HyParView().shuffle_interval)
    clocks.append(process_time())
    say(f"stabilised, {clocks[-1] - clocks[0]:.0f} s")
    graph, places = cluster.graph()
    chance = Random(seed)
    sender = chance.choice(simulation.alive()).name

    def beside_flood(found: dict[str, float], name: str) -> float:
        return found["ldh"] / (len(flood(graph, places[name])) - 1)

    # The first messages of a root travel on the shared tree, and that of the first on no tree at all.
    warming = [cluster.broadcast(sender) for _ in range(4)]
    values["flooding_rmr"] = warming[-1]["rmr"]
    steady = [cluster.broadcast(sender) for _ in range(broadcasts // 2)]
    names = [chance.choice(simulation.alive()).name for _ in range(broadcasts - broadcasts // 2)]
    shared = [cluster.broadcast(name) for name in names]
    clocks.append(process_time())
    say(f"{broadcasts} broadcasts, {clocks[-1] - clocks[0]:.0f} s")
    values["reliability"] = min(found["reached"] for found in warming + steady + shared)
    values["rmr"] = mean(found["rmr"] for found in steady)
    values["ldh_to_flood"] = mean(beside_flood(found, sender) for found in steady)
    values["shared_rmr"] = mean(found["rmr"] for found in shared)
    values["shared_ldh_to_flood"] = mean(map(beside_flood, shared, names))
    values["control"] = mean(found["control"] for found in steady + shared)
    _fail(cluster, sender, failed, chance, values)
    values |= dict(
        zip(
            ("seconds_grown", "seconds_stabilised", "seconds_broadcast"),
            (clock - clocks[0] for clock in clocks[1:]),
            strict=True,
        )
    )
    return figures


def _fail(cluster: _Cluster, sender: str, failed: float, chance: Random, values: dict[str, float]) -> None:
    """Let so many die at once, and broadcast among the others after one repair pass."""
    simulation = cluster.simulation
    others = [node for node in simulation.alive() if node.name != sender]
    for node in chance.sample(others, int(len(others) * failed)):
        simulation.crash(node)
    simulation.run(HyParView().shuffle_interval)
    # The first of these are on the shared tree again, and the next one floods what is new of the sender's own.
    after = [cluster.broadcast(sender, 5.0) for _ in range(8)]
    values["reliability_after_failures"] = min(found["reached"] for found in after)
    values["rmr_after_failures"] = mean(found["rmr"] for found in after[5:])


def experiment(nodes: int, cycles: int, seed: int) -> Figures:
    """One seed's run."""
    return measure(nodes, 100, seed=seed, cycles=cycles)


def plumtree_figures(runs: list[Figures]) -> list[Figure]:
    """The figures of several seeds."""
    return [
        Figure(
            "plumtree",
            f"{name}: {MEANINGS[name]}",
            "s" if name.startswith("seconds") else "",
            PUBLISHED.get(name, ""),
            WANTED.get(name, ""),
            [run.values[name] for run in runs],
        )
        for name in runs[0].values
    ]


def run_plumtree(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlays.plumtree", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000, help="10,000 by default")
    parser.add_argument("--broadcasts", type=int, default=100)
    parser.add_argument("--cycles", type=int, default=50, help="shuffle intervals to stabilise in")
    parser.add_argument("--failed", type=float, default=0.5, help="share of the nodes that die in the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON lines there, too")
    options = parser.parse_args(arguments)
    gc.disable()  # as in `runs`: nearly nothing that is made holds rings, and to look for them takes a sixth
    progress = Console(stderr=True)
    figures = measure(
        options.nodes,
        options.broadcasts,
        seed=options.seed,
        cycles=options.cycles,
        failed=options.failed,
        say=progress.print,
    )
    lines = "".join(f"{line}\n" for line in figures.lines())
    sys.stdout.write(lines)
    sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(lines)
    Console().print(figures.table())
    return 0


if __name__ == "__main__":
    sys.exit(run_plumtree(sys.argv[1:]))
