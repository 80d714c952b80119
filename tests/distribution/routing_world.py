"""Many routing machines, and the links between them, with time as a number."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.routing import Routing, RoutingParameters
from partisan_actors.distribution.routing_events import (
    Arrived,
    Event,
    Forward,
    Ignored,
    Learned,
    LinkDown,
    LinkUp,
    Measured,
    MemberDown,
    RelayReceived,
    RouteReceived,
    Send,
    SendRoute,
    Undeliverable,
)

__all__ = ["RoutingWorld"]


class RoutingWorld:
    """Machines by name; a link takes `latency` seconds one way, and loses what is under way when it is cut."""

    def __init__(self, names: Iterable[str], seed: int = 1, parameters: RoutingParameters | None = None) -> None:
        self.random = Random(seed)
        self.parameters = parameters
        self.now = 100.0
        self.machines: dict[str, Routing] = {}
        self.arrived: list[tuple[str, str, bytes, int]] = []  # at whom, from whom, what, hops
        self.undeliverable: list[tuple[str, str, bytes]] = []  # from whom, to whom, what
        self.frames: list[tuple[str, str, Any]] = []  # RELAY frames that crossed a link: from, to, relay
        self.messages: Counter[int] = Counter()  # ROUTE frames that crossed a link, by kind
        self.trace: list[object] = []
        self._links: dict[tuple[str, str], tuple[float, int]] = {}  # latency, and which link of the two that is
        self._queue: list[tuple[float, int, str, Event, int]] = []
        self._timers: dict[tuple[str, object], int] = {}
        self._order = 0
        for name in names:
            self.start(name)

    def start(self, name: str, first_number: int = 0) -> None:
        """A life of a node begins."""
        self.machines[name] = Routing(name, self.parameters, first_number)

    def link(self, one: str, other: str, latency: float = 0.01, *, measured: bool = False) -> None:
        self._order += 1
        self._links[one, other] = self._links[other, one] = (latency, self._order)
        for node, peer in ((one, other), (other, one)):
            self.feed(node, LinkUp(peer))
            if measured:
                self.feed(node, Measured(peer, 2 * latency))

    def line(self, latency: float = 0.01) -> None:
        """Link each to the next."""
        names = list(self.machines)
        for one, other in itertools.pairwise(names):
            self.link(one, other, latency)

    def cut(self, one: str, other: str) -> None:
        for node, peer in ((one, other), (other, one)):
            del self._links[node, peer]
            self.feed(node, LinkDown(peer))

    def linked(self, one: str, other: str) -> bool:
        return (one, other) in self._links

    def links(self) -> list[tuple[str, str]]:
        """Each once."""
        return sorted(pair for pair in self._links if pair[0] < pair[1])

    def stop(self, name: str) -> None:
        """A node dies."""
        for one, other in self.links():
            if name in (one, other):
                self.cut(one, other)
        del self.machines[name]

    def member_down(self, name: str) -> None:
        for node in self.machines:
            self.feed(node, MemberDown(name))

    def learned(self, at: str, destination: str, via: str, hops: int = 1) -> None:
        self.feed(at, Learned(destination, via, hops))

    def send(self, source: str, destination: str, body: bytes = b"body") -> None:
        self.feed(source, Send(destination, (body,)))

    def feed(self, node: str, event: Event) -> None:
        """Give a machine an event, and perform its effects."""
        machine = self.machines.get(node)
        if machine is None:
            return
        self.perform(node, machine.step(event, self.now, self.random))

    def perform(self, node: str, effects: Sequence[Any]) -> None:
        for effect in effects:
            self.trace.append((self.now, node, effect))
            match effect:
                case Forward(to, relay):
                    self.frames.append((node, to, relay))
                    self._cross(node, to, RelayReceived(node, relay))
                case SendRoute(to, message):
                    self.messages[message.kind] += 1
                    self._cross(node, to, RouteReceived(node, message))
                case Arrived(source, body, hops):
                    self.arrived.append((node, source, b"".join(body), hops))
                case Ignored():
                    pass  # `counters.ignored` says so, too
                case Undeliverable(destination, body):
                    self.undeliverable.append((node, destination, b"".join(body)))
                case SetTimer(key, seconds):
                    assert seconds > 0
                    self._timers[node, key] = self._at(self.now + seconds, node, TimerFired(key), 0)
                case CancelTimer(key):
                    self._timers.pop((node, key), None)
                case _:
                    raise AssertionError(effect)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self.until(self.now + seconds)

    def until(self, when: float) -> None:
        while self._queue and self._queue[0][0] <= when:
            self.now, order, node, event, link = heapq.heappop(self._queue)
            match event:
                case TimerFired(key):
                    if self._timers.get((node, key)) != order:
                        continue
                    del self._timers[node, key]
                case RelayReceived(peer, _) | RouteReceived(peer, _):
                    if self._links.get((node, peer), (0.0, 0))[1] != link:
                        continue
            self.feed(node, event)
        self.now = when

    def distances(self, source: str) -> dict[str, int]:
        """The links between a node and each other one."""
        distances, border = {source: 0}, [source]
        while border:
            reached = []
            for node in border:
                for one, other in self._links:
                    if one == node and other not in distances:
                        distances[other] = distances[node] + 1
                        reached.append(other)
            border = reached
        return distances

    def _cross(self, node: str, to: str, event: Event) -> None:
        if (node, to) in self._links:
            latency, link = self._links[node, to]
            self._at(self.now + latency, to, event, link)

    def _at(self, when: float, node: str, event: Event, link: int) -> int:
        self._order += 1
        heapq.heappush(self._queue, (when, self._order, node, event, link))
        return self._order
