"""Who can talk to whom in a simulation, and how long that takes.

Promised: the same answers for the same seed and the same questions in the same order; no answer depends on
PYTHONHASHSEED. A link keeps what it promises (in order, nothing lost, until it ends) unless `loss`, `duplication` or
`reordering` break that on purpose: a protocol over links needs none of them, one that tolerates a relay which drops
does.

A *cut* stops what goes from some nodes to others. Three make the known ones: both ways (`Network.cut`), one way
(`one_way=True`), and a bridge, where a third group is named by neither side and still reaches both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import hypot
from random import Random
from typing import Protocol

__all__ = [
    "ClusteredLatency",
    "ConstantLatency",
    "Cut",
    "ExponentialLatency",
    "LatencyModel",
    "Network",
    "UniformLatency",
]


class LatencyModel(Protocol):
    """How long one way from a node to another takes. Write your own: any object with this method."""

    def way(self, source: str, target: str, random: Random) -> float | Callable[[], float]:
        """Seconds, where they are always the same, or a function that draws them for each message from `random`."""


@dataclass(frozen=True, slots=True)
class ConstantLatency:
    """Always the same."""

    seconds: float = 0.001

    def __post_init__(self) -> None:
        _check(self.seconds > 0.0, "seconds", "above 0")

    def way(self, source: str, target: str, random: Random) -> float:
        """See `LatencyModel`."""
        return self.seconds


@dataclass(frozen=True, slots=True)
class UniformLatency:
    """Evenly between two bounds, in seconds; drawn for each message."""

    low: float = 0.001
    high: float = 0.003

    def __post_init__(self) -> None:
        _check(0.0 < self.low <= self.high, "low", "above 0 and at most high")

    def way(self, source: str, target: str, random: Random) -> Callable[[], float]:
        """See `LatencyModel`."""
        return _uniform(self.low, self.high - self.low, random)


@dataclass(frozen=True, slots=True)
class ExponentialLatency:
    """A floor and a long tail, as a busy network has it."""

    floor: float = 0.001
    mean: float = 0.002
    """What comes on top of the floor, on average, in seconds."""

    def __post_init__(self) -> None:
        _check(self.floor > 0.0, "floor", "above 0")
        _check(self.mean > 0.0, "mean", "above 0")

    def way(self, source: str, target: str, random: Random) -> Callable[[], float]:
        """See `LatencyModel`."""
        return _exponential(self.floor, 1.0 / self.mean, random)


class ClusteredLatency:
    """A map: clusters (data centres) on a plane, their nodes close around them; a way takes what its length does.

    A position follows from the seed and the name alone, so it does not matter who is asked for first.

    Args:
        seed: of the map.
        clusters: how many there are.
        side: seconds from one side of the plane to the other.
        radius: seconds from a cluster's middle to its farthest node.
        floor: seconds that every way takes at least.
        jitter: most seconds that a message takes longer, by chance.
    """

    def __init__(
        self,
        seed: int,
        *,
        clusters: int = 8,
        side: float = 0.1,
        radius: float = 0.002,
        floor: float = 0.0005,
        jitter: float = 0.0,
    ) -> None:
        _check(clusters >= 1, "clusters", "1 or more")
        _check(floor > 0.0, "floor", "above 0")
        _check(min(side, radius, jitter) >= 0.0, "side, radius, jitter", "0 or more")
        self.seed, self.radius, self.floor, self.jitter = seed, radius, floor, jitter
        draw = Random(f"{seed}/map").uniform
        self.middles = [(draw(0.0, side), draw(0.0, side)) for _ in range(clusters)]
        self._positions: dict[str, tuple[float, float]] = {}

    def cluster(self, node: str) -> int:
        """In which cluster the node is, from 0."""
        return Random(f"{self.seed}/cluster/{node}").randrange(len(self.middles))

    def position(self, node: str) -> tuple[float, float]:
        """Where the node is, in seconds from the plane's corner."""
        found = self._positions.get(node)
        if found is None:
            x, y = self.middles[self.cluster(node)]
            draw = Random(f"{self.seed}/position/{node}").uniform
            found = (x + draw(-self.radius, self.radius), y + draw(-self.radius, self.radius))
            self._positions[node] = found
        return found

    def distance(self, a: str, b: str) -> float:
        """Seconds that a way between the two takes without jitter."""
        (ax, ay), (bx, by) = self.position(a), self.position(b)
        return self.floor + hypot(ax - bx, ay - by)

    def way(self, source: str, target: str, random: Random) -> float | Callable[[], float]:
        """See `LatencyModel`."""
        distance = self.distance(source, target)
        if self.jitter == 0.0:
            return distance
        jitter, draw = self.jitter, random.random
        return lambda: distance + jitter * draw()


class Cut:
    """Nothing gets from `sources` to `targets`, nor back unless it is one-way; None: to all who are not a source."""

    __slots__ = ("one_way", "sources", "targets")

    def __init__(self, sources: Collection[str], targets: Collection[str] | None, one_way: bool) -> None:
        self.sources = frozenset(sources)
        self.targets = None if targets is None else frozenset(targets)
        self.one_way = one_way

    def stops(self, source: str, target: str) -> bool:
        """Whether a message of `source` to `target` does not get through."""
        return self._stops(source, target) or (not self.one_way and self._stops(target, source))

    def _stops(self, source: str, target: str) -> bool:
        if source not in self.sources:
            return False
        return target not in self.sources if self.targets is None else target in self.targets


@dataclass
class Network:
    """The network of one simulation; a fresh one for each.

    Args:
        latency: one way, see the models here.
        loss, duplication, reordering: shares of the messages, from 0 to 1, that are lost, arrive twice, or arrive later
            than their followers, by up to `late` seconds. `disturb` changes them.
    """

    latency: LatencyModel = field(default_factory=UniformLatency)
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    late: float = 0.05
    latencies: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """One way in seconds for single pairs, (from, to), in place of what the model says."""

    def __post_init__(self) -> None:
        self.cuts: list[Cut] = []
        self.random = Random(0)
        self.faithful = True  # whether links keep their promise
        self.disturb(self.loss, self.duplication, self.reordering, self.late)

    def disturb(self, loss: float = 0.0, duplication: float = 0.0, reordering: float = 0.0, late: float = 0.05) -> None:
        """Break the promise of links from now on, by these shares; without arguments: keep it again."""
        for name, share in (("loss", loss), ("duplication", duplication), ("reordering", reordering)):
            _check(0.0 <= share <= 1.0, name, "from 0 to 1")
        _check(late > 0.0, "late", "above 0")
        self.loss, self.duplication, self.reordering, self.late = loss, duplication, reordering, late
        self.faithful = not (loss or duplication or reordering)

    def way(self, source: str, target: str) -> float | Callable[[], float]:
        """One way from `source` to `target`: seconds, or a function that draws them."""
        fixed = self.latencies.get((source, target)) if self.latencies else None
        return fixed if fixed is not None else self.latency.way(source, target, self.random)

    def one_way(self, source: str, target: str) -> float:
        """Seconds that one message takes now."""
        way = self.way(source, target)
        return way if isinstance(way, float) else way()

    def round_trip(self, source: str, target: str) -> float:
        """Seconds there and back now."""
        return self.one_way(source, target) + self.one_way(target, source)

    def cut(self, sources: Collection[str], targets: Collection[str] | None = None, *, one_way: bool = False) -> Cut:
        """Let nothing get from `sources` to `targets` (None: all others), nor back, until `mend` of this."""
        made = Cut(sources, targets, one_way)
        self.cuts.append(made)
        return made

    def mend(self, cut: Cut | None = None) -> None:
        """Take a cut back; None: all of them."""
        self.cuts = [] if cut is None else [other for other in self.cuts if other is not cut]

    def stops(self, source: str, target: str) -> bool:
        """Whether a message of `source` to `target` does not get through now."""
        return any(cut.stops(source, target) for cut in self.cuts)

    def apart(self, a: str, b: str) -> bool:
        """Whether the two cannot have a link now: one direction is enough for that."""
        return bool(self.cuts) and (self.stops(a, b) or self.stops(b, a))


# One function for all ways of a network: one for each of 60,000 ways is a sixth of the time at 10,000 nodes, all of it
# spent on waiting for memory.
@lru_cache(maxsize=64)
def _uniform(low: float, span: float, random: Random) -> Callable[[], float]:
    draw = random.random
    return lambda: low + span * draw()


@lru_cache(maxsize=64)
def _exponential(floor: float, rate: float, random: Random) -> Callable[[], float]:
    draw = random.expovariate
    return lambda: floor + draw(rate)


def _check(holds: bool, name: str, relation: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {relation}")
