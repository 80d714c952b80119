"""The command: `python -m benchmarks.overlays.routing [--nodes N] [--destinations N] [--overlay ...] [--latency ...]`.

How frames find their way over an overlay: for each destination some sources, by chance, send it one frame each, which
it answers, a second apart; and when all have, once more. The first round finds the ways, so its look-ups are counted;
the second is what a quiet overlay looks like. The path of a frame is compared with the shortest one, in links where
each takes the same, else with the fastest one in time. One line of JSON for each round to standard output or `--json`,
a table to standard error.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.overlays.graphs import Graph, graph_of
from benchmarks.overlays.network import Network
from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.distribution.routing import Routing, RoutingParameters
from partisan_actors.distribution.routing_events import (
    Arrived,
    Forward,
    Ignored,
    LinkDown,
    LinkUp,
    Measured,
    RelayReceived,
    RouteReceived,
    Send,
    SendRoute,
    Undeliverable,
)
from partisan_actors.wire.relays import ANNOUNCE, ANSWER, LOOK_UP, NO_ROUTE

__all__ = ["LATENCIES", "OVERLAYS", "Round", "RoutedOverlay", "experiment", "main"]

Latency = Callable[[int, int], float]

_KINDS = {LOOK_UP: "look_up", ANSWER: "answer", NO_ROUTE: "no_route", ANNOUNCE: "announce"}


def random_regular(nodes: int, random: Random, degree: int = 5) -> Graph:
    """A graph by chance in which each node has so many neighbours, but for a few that have one less."""
    graph: Graph = [[] for _ in range(nodes)]
    stubs = [node for node in range(nodes) for _ in range(degree)]
    for _ in range(100):
        random.shuffle(stubs)
        left = []
        for one, other in zip(stubs[::2], stubs[1::2], strict=False):
            if one == other or other in graph[one]:
                left += [one, other]
            else:
                graph[one].append(other)
                graph[other].append(one)
        stubs = left
        if len(stubs) < 2:
            break
    return graph


def hyparview(nodes: int, random: Random) -> Graph:
    """The active views of HyParView after joins through one contact and 30 cycles."""
    from partisan_actors.topologies.hyparview import HyParView

    network = Network(HyParView(), random)
    names = [f"n{number:05}" for number in range(nodes)]
    for name in names:
        network.start(name)
        if name != names[0]:
            network.join(name, names[0])
            network.run()
    for _ in range(30):
        network.round()
    return graph_of({name: network.nodes[name].neighbours() for name in names})


OVERLAYS: dict[str, Callable[[int, Random], Graph]] = {"random": random_regular, "hyparview": hyparview}


def unit(nodes: int, random: Random) -> Latency:
    """Each link takes 1 ms."""
    return lambda one, other: 0.001


def clustered(nodes: int, random: Random) -> Latency:
    """Ten places, in each of which a link takes up to 1 ms, and by chance 10 to 100 ms between two of them."""
    place = [random.randrange(10) for _ in range(nodes)]
    between = {(a, b): random.uniform(0.01, 0.1) for a in range(10) for b in range(a)}
    near = [random.uniform(0.0002, 0.0005) for _ in range(nodes)]

    def latency(one: int, other: int) -> float:
        a, b = place[one], place[other]
        return near[one] + near[other] + (between[max(a, b), min(a, b)] if a != b else 0.0)

    return latency


LATENCIES: dict[str, Callable[[int, Random], Latency]] = {"unit": unit, "clustered": clustered}


class Round:
    """What was counted while frames were sent."""

    def __init__(self) -> None:
        self.sent = self.arrived = self.undeliverable = 0
        self.frames = 0  # RELAY frames that crossed a link
        self.hops = self.shortest = 0  # links: of the paths taken, and of the shortest ones
        self.taken = self.fastest = 0.0  # seconds: the same in time, from when the frame left its source
        self.messages: Counter[str] = Counter()  # ROUTE frames that crossed a link, by kind
        self.waited = 0.0  # seconds that frames waited for a way
        self.seconds = 0.0  # that it took to simulate

    def row(self) -> dict[str, Any]:
        """What is reported."""
        return {
            "sent": self.sent,
            "arrived": self.arrived,
            "undeliverable": self.undeliverable,
            "mean_hops": round(self.hops / max(self.arrived, 1), 3),
            "hops_stretch": round(self.hops / max(self.shortest, 1), 4),
            "latency_stretch": round(self.taken / max(self.fastest, 1e-9), 4),
            "frames_per_hop": round(self.frames / max(self.hops, 1), 4),
            "mean_wait_ms": round(1000 * self.waited / max(self.sent, 1), 2),
            **{f"{kind}_messages": self.messages[kind] for kind in _KINDS.values()},
            "seconds": round(self.seconds, 1),
        }


class RoutedOverlay:
    """A routing machine at each node of a graph that does not change."""

    def __init__(self, graph: Graph, latency: Latency, random: Random, parameters: RoutingParameters) -> None:
        self.now = 0.0
        self.round = Round()
        self.graph = graph
        self._random = random
        self._names = [str(node) for node in range(len(graph))]
        self._machines = [Routing(name, parameters) for name in self._names]
        self._latency: list[dict[str, float]] = []
        self._queue: list[tuple[float, int, int, Any]] = []
        self._timers: dict[tuple[int, Any], int] = {}
        self._order = 0
        self._sent: dict[bytes, tuple[float, float, int]] = {}  # when it was sent; the fastest and the shortest way
        self._left: dict[bytes, float] = {}  # and when it left
        for node, view in enumerate(graph):
            self._latency.append({self._names[peer]: latency(node, peer) for peer in view})
            for name, seconds in self._latency[node].items():
                self._machines[node].step(LinkUp(name), 0.0, random)
                self._machines[node].step(Measured(name, 2 * seconds), 0.0, random)

    def kill(self, dead: Sequence[int]) -> None:
        """These die; whoever had a link to one notices."""
        for node in dead:
            for peer in self.graph[node]:
                self.graph[peer].remove(node)
                self._latency[peer].pop(self._names[node])
                self._machines[peer].step(LinkDown(self._names[node]), self.now, self._random)
            self.graph[node] = []
            self._latency[node] = {}

    def begin(self) -> Round:
        """Count from here on."""
        self.round = Round()
        return self.round

    def send(self, source: int, destination: int, way: tuple[float, int]) -> None:
        """Send a frame, and let it be answered. `way`: seconds and links of the best one."""
        self._start(source, destination, way, b"?")

    def exchange(
        self, counted: Round, destination: int, sources: Sequence[int], ways: Sequence[tuple[float, int]]
    ) -> None:
        """Let each source send to the destination, in its turn, and wait for all of it."""
        self.round = counted
        for source in sources:
            self.send(source, destination, ways[source])
            self.run(1.0)
        self.run(15.0)

    def _start(self, source: int, destination: int, way: tuple[float, int], mark: bytes) -> None:
        self.round.sent += 1
        body = b"%d%b" % (self._order, mark)
        self._order += 1
        self._sent[body] = (self.now, *way)
        self._feed(source, Send(self._names[destination], (body,)))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        started, end, queue = time.perf_counter(), self.now + seconds, self._queue
        while queue and queue[0][0] <= end:
            self.now, order, node, event = heapq.heappop(queue)
            if type(event) is TimerFired:
                if self._timers.get((node, event.key)) != order:
                    continue
                del self._timers[node, event.key]
            self._feed(node, event)
        self.now = end
        self.round.seconds += time.perf_counter() - started

    def _feed(self, node: int, event: Any) -> None:
        name, latency = self._names[node], self._latency[node]
        effects: Sequence[Any] = self._machines[node].step(event, self.now, self._random)
        for effect in effects:
            kind = type(effect)
            if kind is SendRoute:
                to, message = effect
                self.round.messages[_KINDS[message.kind]] += 1
                self._at(latency[to], int(to), RouteReceived(name, message))
            elif kind is Forward:
                to, relay = effect
                self.round.frames += 1
                if relay.hops == 1:
                    self._left[bytes(relay.body[0])] = self.now
                self._at(latency[to], int(to), RelayReceived(name, relay))
            elif kind is Arrived:
                self._arrived(node, effect)
            elif kind is SetTimer:
                self._timers[node, effect.key] = self._at(effect.seconds, node, TimerFired(effect.key))
            elif kind is Undeliverable:
                self.round.undeliverable += 1
            elif kind is not Ignored:
                self._timers.pop((node, effect.key), None)

    def _arrived(self, node: int, effect: Arrived) -> None:
        body = bytes(effect.body[0])
        (sent, fastest, shortest), left, round_ = self._sent.pop(body), self._left.pop(body), self.round
        round_.arrived += 1
        round_.hops += effect.hops
        round_.shortest += shortest
        round_.taken += self.now - left
        round_.fastest += fastest
        round_.waited += left - sent
        if body.endswith(b"?"):
            self._start(node, int(effect.source), (fastest, shortest), b"!")

    def _at(self, seconds: float, node: int, event: Any) -> int:
        self._order += 1
        heapq.heappush(self._queue, (self.now + seconds, self._order, node, event))
        return self._order


def best_ways(graph: Graph, latency: Latency, source: int) -> list[tuple[float, int]]:
    """To each node: the seconds of the fastest way, and the links of the shortest."""
    fastest = [float("inf")] * len(graph)
    fastest[source] = 0.0
    queue = [(0.0, source)]
    while queue:
        seconds, node = heapq.heappop(queue)
        if seconds > fastest[node]:
            continue
        for peer in graph[node]:
            there = seconds + latency(node, peer)
            if there < fastest[peer]:
                fastest[peer] = there
                heapq.heappush(queue, (there, peer))
    shortest = [-1] * len(graph)
    shortest[source], front = 0, [source]
    for node in front:
        for peer in graph[node]:
            if shortest[peer] < 0:
                shortest[peer] = shortest[node] + 1
                front.append(peer)
    return list(zip(fastest, shortest, strict=True))


def experiment(
    overlay: str, latency: str, nodes: int, destinations: int, sources: int, seed: int, most_routes: int = 1024
) -> list[dict[str, Any]]:
    """The rounds, as rows."""
    random = Random(seed)
    graph = OVERLAYS[overlay](nodes, random)
    takes = LATENCIES[latency](nodes, random)
    world = RoutedOverlay(graph, takes, random, RoutingParameters(most_routes=most_routes))
    rounds = {name: world.begin() for name in ("first", "quiet", "broken", "mended")}
    pairs = []
    for destination in random.sample(range(nodes), destinations):
        ways = best_ways(graph, takes, destination)
        others = [node for node in range(nodes) if node != destination and ways[node][1] > 0]
        pairs.append((destination, random.sample(others, sources)))
        for name in ("first", "quiet"):
            world.exchange(rounds[name], *pairs[-1], ways)
    dead = random.sample(range(nodes), nodes // 10)
    world.kill(dead)
    gone = set(dead)
    for destination, chosen in pairs[-20:]:
        if destination not in gone:
            ways = best_ways(world.graph, takes, destination)
            living = [node for node in chosen if ways[node][1] > 0]
            for name in ("broken", "mended"):
                world.exchange(rounds[name], destination, living, ways)
    about = {"overlay": overlay, "latency": latency, "nodes": nodes, "destinations": destinations, "sources": sources}
    return [{**about, "seed": seed, "round": name, **counted.row()} for name, counted in rounds.items()]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """What a reader wants first."""
    made = Table(title="Routing: every message arrives, paths at most 1.3 times the best, 1.05 frames a hop")
    columns = ["overlay", "latency", "nodes", "round", "sent", "arrived", "mean_hops", "hops_stretch"]
    columns += ["latency_stretch", "frames_per_hop", "mean_wait_ms", "look_up_messages", "answer_messages"]
    columns += ["announce_messages", "no_route_messages"]
    for column in columns:
        made.add_column(column.removesuffix("_messages").replace("_", " "), justify="right")
    for row in rows:
        made.add_row(*(str(row[column]) for column in columns))
    return made


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlays.routing", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--destinations", type=int, default=200)
    parser.add_argument("--sources", type=int, default=10, help="of each destination")
    parser.add_argument("--overlay", choices=sorted(OVERLAYS), default="hyparview")
    parser.add_argument("--latency", choices=[*LATENCIES, "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append the lines there")
    options = parser.parse_args()
    gc.set_threshold(100_000, 50, 1000)  # millions of small objects that live as long as the run
    rows: list[dict[str, Any]] = []
    for latency in LATENCIES if options.latency == "both" else (options.latency,):
        found = experiment(options.overlay, latency, options.nodes, options.destinations, options.sources, options.seed)
        rows += found
        lines = "".join(json.dumps(row) + "\n" for row in found)
        if options.json is not None:
            with options.json.open("a") as file:
                file.write(lines)
        else:
            sys.stdout.write(lines)
        gc.collect()  # machines are in circles, and there are gigabytes of them
    console = Console(stderr=True, highlight=False)
    console.width = max(console.width, 160)
    console.print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
