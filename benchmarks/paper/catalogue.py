"""What each figure compares: systems, sizes, numbers of actors, and a round trip.

The paper names its configurations by connections and affinity. What they are with us:

- "1 connection": what a node does when nothing is said.
- "16 connections": the pair of pids picks one of 16. With Partisan each message takes any of them, and order is lost;
  ours keeps the order of a pair everywhere, so what the paper calls affinity is there already.
- "16, affinity": `partition_key` is the actor's number. What differs from the above is only what picks the connection;
  numbers in a row, of keys as of pids, spread over nearly all of them (16 actors use 15 of 16).
- "4 channels x 16": the paper's undefined, gossip, broadcast and vnode with 16 connections each, and affinity. Actors
  talk on vnode. The others have nothing to carry in these workloads, and a channel's connections are made when it is
  first used, so that this is "16, affinity" on a channel other than the default one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.paper.records import Cell

__all__ = [
    "AFFINITY",
    "CHANNELS",
    "ERLANG",
    "FIGURES",
    "ONE",
    "OURS",
    "SIXTEEN",
    "SMOKE_FIGURES",
    "TUNED",
    "UNTUNED",
    "Figure",
    "System",
    "size_name",
]

OURS = "partisan_actors"


class System(NamedTuple):
    """One runtime in one configuration. The numbers are columns of the raw CSV."""

    name: str
    transport: str
    channels: int = 1
    parallelism: int = 1
    affinity: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is this package."""
        return self.transport == OURS


ONE = System("ours, 1 connection", OURS)
SIXTEEN = System("ours, 16 connections", OURS, parallelism=16)
AFFINITY = System("ours, 16, affinity", OURS, parallelism=16, affinity=True)
CHANNELS = System("ours, 4 channels x 16", OURS, channels=4, parallelism=16, affinity=True)
ERLANG = System("Erlang today", "disterl")
UNTUNED = System("Erlang, 1 untuned connection", "disterl_untuned")
TUNED = System("Erlang, tuned", "disterl_tuned")

_MICRO = (ONE, SIXTEEN, AFFINITY, CHANNELS, ERLANG, UNTUNED, TUNED)
# The paper has two here: Distributed Erlang, and Partisan with everything. One connection of ours is the baseline that
# tells what of a gain is the connections'.
_THROUGHPUT = (ONE, CHANNELS, ERLANG, UNTUNED)
_ACTORS = (16, 32, 64, 128)
_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Figure:
    """A figure: its systems by its cells."""

    number: int
    workload: str
    meaning: str
    sizes: tuple[int, ...]
    actors: tuple[int, ...]
    round_trip: float  # milliseconds
    systems: tuple[System, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """In the order in which they are measured: the light ones first."""
        return tuple(Cell(size, actors) for size in self.sizes for actors in self.actors)

    @property
    def is_latency(self) -> bool:
        """Whether it shows milliseconds, where less is better; the others show requests per second."""
        return self.workload == "micro"

    @property
    def unit(self) -> str:
        """Of what it shows."""
        return "ms" if self.is_latency else "requests/s"

    @property
    def by_connections(self) -> bool:
        """Whether the systems are one, with more and more connections."""
        return self.number == 2


def _with_connections(*counts: int) -> tuple[System, ...]:
    return tuple(AFFINITY._replace(name=f"ours, {count}, affinity", parallelism=count) for count in counts)


FIGURES = (
    Figure(1, "micro", "latency, 512 KB", (512 * _KIB,), _ACTORS, 1, _MICRO),
    Figure(
        2, "micro", "latency by connections, 512 KB", (512 * _KIB,), (128,), 1, _with_connections(8, 16, 32, 64, 128)
    ),
    Figure(3, "micro", "latency, 512 KB", (512 * _KIB,), _ACTORS, 20, _MICRO),
    Figure(4, "micro", "latency, 8 MB", (8 * _MIB,), _ACTORS, 1, _MICRO),
    Figure(5, "echo", "echo", (_KIB, 512 * _KIB, 8 * _MIB), _ACTORS, 1, _THROUGHPUT),
    Figure(6, "echo", "echo", (_KIB, 512 * _KIB, 8 * _MIB), _ACTORS, 20, _THROUGHPUT),
    Figure(7, "kvs", "key-value store", (_KIB, 512 * _KIB, 8 * _MIB), _ACTORS, 1, _THROUGHPUT),
    Figure(8, "kvs", "key-value store", (_KIB, 512 * _KIB, 8 * _MIB), _ACTORS, 20, _THROUGHPUT),
)

_SMOKE_SYSTEMS = {
    1: (ONE, AFFINITY, ERLANG, TUNED),
    2: _with_connections(128),
    3: (SIXTEEN,),
    4: (CHANNELS, UNTUNED),
    5: (CHANNELS, ERLANG),
    6: (ONE,),
    7: (CHANNELS, ERLANG),
    8: (ONE,),
}
SMOKE_FIGURES = tuple(
    replace(
        figure,
        sizes=tuple(64 << shift for shift, _ in enumerate(figure.sizes)),
        actors=figure.actors[:1],
        systems=_SMOKE_SYSTEMS[figure.number],
    )
    for figure in FIGURES
)
"""Next to nothing, with each system somewhere: everything runs, and no value means anything."""


def size_name(size: int) -> str:
    """As the paper says it: KB and MB are powers of two."""
    for unit, name in ((_MIB, "MB"), (_KIB, "KB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"
