"""Broadcasts of many nodes over a graph, in virtual time: an event queue, and what came out of it."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from random import Random
from typing import Any

from partisan_actors.cluster.broadcast_events import (
    BEYOND_KINDS,
    Broadcast,
    BroadcastReceived,
    Deliver,
    Gap,
    Left,
    MemberDown,
    MemberUp,
    NeighbourDown,
    NeighbourUp,
    PlumtreeParameters,
    Refused,
    Root,
    SendBeyond,
    SendBroadcast,
    Unavailable,
)
from partisan_actors.cluster.plumtree import Plumtree
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = ["World", "random_graph"]


def random_graph(names: list[str], degree: int, random: Random) -> list[tuple[str, str]]:
    """A connected graph in which nearly every node has `degree` neighbours: HyParView's, as it is when it has settled.

    Pairs of half-links, by chance; a pair that would be a loop or a second link is mended by swaps.
    """
    halves = [name for name in names for _ in range(degree)]
    random.shuffle(halves)
    edges = [(halves[at], halves[at + 1]) for at in range(0, len(halves) - 1, 2)]
    known = Counter(frozenset(edge) for edge in edges)
    for index, (one, other) in enumerate(edges):
        while len({one, other}) == 1 or known[frozenset((one, other))] > 1:
            swap = random.randrange(len(edges))
            third, fourth = edges[swap]
            if len({one, other, third, fourth}) < 3:
                continue
            known[frozenset((one, other))] -= 1
            known[frozenset((third, fourth))] -= 1
            edges[swap], (one, other) = (third, other), (one, fourth)
            edges[index] = (one, other)
            known[frozenset(edges[swap])] += 1
            known[frozenset((one, other))] += 1
            if len(set(edges[swap])) == 1 or known[frozenset(edges[swap])] > 1:
                one, other = edges[index]
                continue
    return sorted({(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]})


class World:
    """Nodes, links with a latency, and time."""

    def __init__(
        self,
        seed: int = 1,
        *,
        latency: float = 0.01,
        jitter: float = 0.0,
        parameters: PlumtreeParameters | None = None,
        tell_members: bool = True,
    ) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.parameters = parameters
        self.nodes: dict[str, Plumtree] = {}
        self.links: set[tuple[str, str]] = set()
        self.delivered: dict[str, list[tuple[Root, int, str, bytes]]] = defaultdict(list)
        self.times: dict[tuple[str, Root, int], float] = {}
        self.gaps: dict[str, list[Gap]] = defaultdict(list)
        self.refused: list[tuple[str, Refused]] = []
        self.unavailable: list[tuple[str, Unavailable]] = []
        self.sent: Counter[str] = Counter()  # frames, by what they are
        self.hops: dict[tuple[Root, int], int] = {}  # of the last delivery
        self.ihaves = 0
        self._latency = latency
        self._jitter = jitter
        self._tell_members = tell_members
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._timers: dict[tuple[str, Hashable], int] = {}
        self._arrivals: dict[tuple[str, str, bool], float] = {}
        self._lives = itertools.count(1)
        self._generations: dict[tuple[str, str], int] = {}
        self._sessions: set[tuple[str, str]] = set()  # pairs that have spoken beyond their links

    # Who is there

    def add(self, *names: str) -> None:
        """Start nodes."""
        for name in names:
            node = self.nodes[name] = Plumtree(name, next(self._lives), self.parameters)
            if self._tell_members:
                for other in self.nodes.values():
                    self._step(other.root.node, MemberUp(*node.root))
                    self._step(name, MemberUp(*other.root))

    def crash(self, *names: str) -> None:
        """End nodes; the others notice at once."""
        for name in names:
            for link in [link for link in sorted(self.links) if name in link]:
                self.unlink(*link)
            root = self.nodes.pop(name).root
            for other in list(self.nodes) if self._tell_members else ():
                self._step(other, MemberDown(*root))

    def link(self, one: str, other: str) -> None:
        """Make two nodes neighbours."""
        pair = (min(one, other), max(one, other))
        if pair in self.links:
            return
        self.links.add(pair)
        self._generations[pair] = self._generations.get(pair, 0) + 1
        self._step(one, NeighbourUp(other))
        self._step(other, NeighbourUp(one))

    def unlink(self, one: str, other: str) -> None:
        """They are not any more; what is on its way is lost."""
        pair = (min(one, other), max(one, other))
        self.links.remove(pair)
        self._generations[pair] += 1
        self._step(one, NeighbourDown(other))
        self._step(other, NeighbourDown(one))

    def connect(self, edges: Iterable[tuple[str, str]]) -> None:
        """Make all these links."""
        for one, other in edges:
            self.link(one, other)

    def leave(self, name: str) -> list[tuple[str, str]]:
        """Leave the cluster; gives the links that were."""
        links = [link for link in sorted(self.links) if name in link]
        for link in links:
            self.unlink(*link)
        self._step(name, Left())
        return links

    def cut(self, side: Iterable[str]) -> list[tuple[str, str]]:
        """Part these from the others; gives the links that were cut."""
        side = set(side)
        cut = [link for link in sorted(self.links) if (link[0] in side) != (link[1] in side)]
        for link in cut:
            self.unlink(*link)
        return cut

    def neighbours(self, name: str) -> list[str]:
        """Those that there is a link to."""
        return [link[link[0] == name] for link in sorted(self.links) if name in link]

    def joined(self, one: str, other: str) -> bool:
        """Whether links lead from one to the other."""
        reached, look = {one}, [one]
        for name in look:
            more = [peer for peer in self.neighbours(name) if peer not in reached]
            reached.update(more)
            look += more
        return other in reached

    # What they do

    def broadcast(self, name: str, payload: bytes = b"x", handler: str = "h") -> tuple[Root, int]:
        """Broadcast from a node; gives what it is known by."""
        self._step(name, Broadcast(handler, payload))
        root, number, _, _ = self.delivered[name][-1]
        return root, number

    def receive(self, name: str, sender: str, message: Any) -> None:
        """Let a node receive a message."""
        self._step(name, BroadcastReceived(sender, message))

    def step(self, name: str, event: Any) -> None:
        """Hand an event to a node."""
        self._step(name, event)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, function, args = heapq.heappop(self._queue)
            function(*args)
        self.now = end

    def who_has(self, root: Root, number: int) -> set[str]:
        """The nodes that got this message."""
        return {name for name in self.nodes if any(got[:2] == (root, number) for got in self.delivered[name])}

    def twice(self) -> list[tuple[str, Any]]:
        """What a node got more than once."""
        return [
            (name, key)
            for name, got in self.delivered.items()
            for key, times in Counter(one[:2] for one in got).items()
            if times > 1
        ]

    # Inside

    def _step(self, name: str, event: Any) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        for effect in node.step(event, self.now, self.random):
            match effect:
                case SendBroadcast(targets, message, bulky):
                    for target in targets:
                        self._send(name, target, message, bulky)
                case SendBeyond(target, message):
                    self._sessions.add((min(name, target), max(name, target)))
                    self._send(name, target, message, False)
                case SetTimer(key, seconds):
                    number = self._timers[name, key] = next(self._order)
                    self._push(seconds, self._fire, name, node, key, number)
                case CancelTimer(key):
                    self._timers.pop((name, key), None)
                case Deliver(root, number, handler, payload):
                    self.delivered[name].append((root, number, handler, payload))
                    self.times[name, root, number] = self.now
                case Gap():
                    self.gaps[name].append(effect)
                case Refused():
                    self.refused.append((name, effect))
                case Unavailable():
                    self.unavailable.append((name, effect))

    def _send(self, sender: str, target: str, message: Any, bulky: bool) -> None:
        kind = message[0]
        self.sent[kind] += 1
        if kind == "ihave":
            self.ihaves += len(message[1])
        pair = (min(sender, target), max(sender, target))
        if pair not in self.links:
            if pair in self._sessions and kind in BEYOND_KINDS and self.joined(sender, target):
                self._push(3 * self._latency, self._step, target, BroadcastReceived(sender, message))
            return
        delay = self._latency + (self.random.uniform(0, self._jitter) if self._jitter else 0.0)
        # In order, on each of the two channels.
        at = max(self.now + delay, self._arrivals.get((sender, target, bulky), 0.0))
        self._arrivals[sender, target, bulky] = at
        self._push(at - self.now, self._arrive, pair, self._generations[pair], target, sender, message)

    def _arrive(self, pair: tuple[str, str], generation: int, target: str, sender: str, message: Any) -> None:
        if self._generations[pair] != generation or target not in self.nodes:
            return
        node = self.nodes[target]
        before = node.delivered
        self._step(target, BroadcastReceived(sender, message))
        if message[0] == "gossip" and node.delivered != before:
            key = (Root(message[1], message[2]), message[3])
            self.hops[key] = max(self.hops.get(key, 0), message[4])

    def _fire(self, name: str, node: Plumtree, key: Hashable, number: int) -> None:
        if self.nodes.get(name) is node and self._timers.get((name, key)) == number:
            del self._timers[name, key]
            self._step(name, TimerFired(key))

    def _push(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), function, args))
