"""How frames find their way over an overlay that does not change, but for a tenth of it that dies in the end.

For each destination some sources, by chance, send it one frame each, which it answers, a second apart; and when all
have, once more. The first round finds the ways, so its look-ups are counted; the second is what a quiet overlay looks
like. The path of a frame is compared with the shortest one, in links where each takes the same, else with the fastest
one in time.
"""

from __future__ import annotations

import gc
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from benchmarks.overlays.graphs import Graph
from benchmarks.overlays.hyparview import build, view_graph
from benchmarks.overlays.rows import Row
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
from partisan_actors.testing.virtual_time import VirtualTime, VirtualTimer
from partisan_actors.wire.relays import ANNOUNCE, ANSWER, LOOK_UP, NO_ROUTE

__all__ = ["LATENCIES", "OVERLAYS", "Round", "RoutedOverlay", "best_ways", "experiment", "rows"]

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
    return [sorted(view) for view in view_graph(build(nodes, 30, random))]


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
        self.stretches: list[float] = []  # of each path, in time; where all links take the same, that is in links

    def row(self) -> dict[str, Any]:
        """The totals and the means."""
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
        }


class RoutedOverlay:
    """A routing machine at each node of a graph that does not change."""

    def __init__(self, graph: Graph, latency: Latency, random: Random, parameters: RoutingParameters) -> None:
        self.round = Round()
        self.graph = graph
        self._time = VirtualTime()
        self._random = random
        self._names = [str(node) for node in range(len(graph))]
        self._machines = [Routing(name, parameters) for name in self._names]
        self._latency: list[dict[str, float]] = []
        self._timers: dict[tuple[int, Any], VirtualTimer] = {}
        self._number = 0  # of the latest frame
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
                self._machines[peer].step(LinkDown(self._names[node]), self._time.now, self._random)
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
        body = b"%d%b" % (self._number, mark)
        self._number += 1
        self._sent[body] = (self._time.now, *way)
        self._feed(source, Send(self._names[destination], (body,)))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self._time.run(seconds)

    def _feed(self, node: int, event: Any, _c: None = None) -> None:
        name, latency = self._names[node], self._latency[node]
        effects: Sequence[Any] = self._machines[node].step(event, self._time.now, self._random)
        for effect in effects:
            kind = type(effect)
            if kind is SendRoute:
                to, message = effect
                self.round.messages[_KINDS[message.kind]] += 1
                self._time.push(self._time.now + latency[to], self._feed, int(to), RouteReceived(name, message))
            elif kind is Forward:
                to, relay = effect
                self.round.frames += 1
                if relay.hops == 1:
                    self._left[bytes(relay.body[0])] = self._time.now
                self._time.push(self._time.now + latency[to], self._feed, int(to), RelayReceived(name, relay))
            elif kind is Arrived:
                self._arrived(node, effect)
            elif kind is SetTimer:
                self._stop_timer(node, effect.key)
                self._timers[node, effect.key] = self._time.call_later(effect.seconds, self._due, node, effect.key)
            elif kind is Undeliverable:
                self.round.undeliverable += 1
            elif kind is not Ignored:
                self._stop_timer(node, effect.key)

    def _due(self, node: int, key: Any) -> None:
        del self._timers[node, key]
        self._feed(node, TimerFired(key))

    def _stop_timer(self, node: int, key: Any) -> None:
        timer = self._timers.pop((node, key), None)
        if timer is not None:
            timer.cancel()

    def _arrived(self, node: int, effect: Arrived) -> None:
        body = bytes(effect.body[0])
        (sent, fastest, shortest), left, round_ = self._sent.pop(body), self._left.pop(body), self.round
        round_.arrived += 1
        round_.hops += effect.hops
        round_.shortest += shortest
        round_.taken += self._time.now - left
        round_.fastest += fastest
        round_.waited += left - sent
        round_.stretches.append((self._time.now - left) / fastest)
        if body.endswith(b"?"):
            self._start(node, int(effect.source), (fastest, shortest), b"!")


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
) -> dict[str, Round]:
    """The rounds, by name."""
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
    return rounds


def rows(seed: int, nodes: int, destinations: int, sources: int, overlay: str) -> list[Row]:
    """One seed's run with either latency, as rows."""
    made = []
    for latency in LATENCIES:
        for name, counted in experiment(overlay, latency, nodes, destinations, sources, seed).items():
            made += _round_rows(f"{latency}, {name}", counted)
        gc.collect()  # machines are in circles, and there are gigabytes of them
    return made


def _round_rows(system: str, counted: Round) -> list[Row]:
    found = counted.row()
    sent = max(counted.sent, 1)
    made = [
        Row("frames sent", counted.sent, "", system),
        Row("arrived", 100 * counted.arrived / sent, "%", system),
        Row("mean hops", found["mean_hops"], "hops", system),
        Row("mean stretch", found["latency_stretch"], "", system),
        Row("data frames per hop", found["frames_per_hop"], "", system),
        Row("mean wait for a way", found["mean_wait_ms"], "ms", system),
    ]
    made += [Row(f"{kind.replace('_', ' ')} messages", counted.messages[kind], "", system) for kind in _KINDS.values()]
    ordered = sorted(counted.stretches)
    if ordered:
        places = [(percent, round(percent / 100 * (len(ordered) - 1))) for percent in (*range(0, 100, 2), 99, 100)]
        made += [Row("stretch", ordered[place], "", system, percent) for percent, place in places]
    return made
