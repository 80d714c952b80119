"""A storm: faults by chance over some seconds, for simulations of both kinds, and calm after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any, Protocol

__all__ = ["FAULTS", "Stormy", "storm"]

FAULTS = ("partition", "one way", "bridge", "pause", "crash", "heal")
"""What `storm` draws from."""


class Stormy(Protocol):
    """What it needs of a simulation."""

    nodes: dict[str, Any]

    def run(self, seconds: float) -> Any:
        """Let time pass."""

    def partition(
        self, sources: Collection[Any], targets: Collection[Any] | None = None, *, one_way: bool = False
    ) -> Any:
        """Cut some off."""

    def heal(self) -> None:
        """Mend all."""

    def pause(self, node: Any, seconds: float | None = None) -> None:
        """Stop one for a while."""

    def crash(self, node: Any) -> None:
        """End one."""


def storm(
    simulation: Stormy,
    random: Random,
    seconds: float,
    restart: Callable[[Any], object],
    *,
    faults: Iterable[str] = FAULTS,
    spare: Collection[str] = (),
    interval: float = 2.0,
) -> None:
    """Let faults happen for so many seconds, then heal, resume and restart everything.

    Args:
        random: decides; of the scenario's seed.
        restart: starts a crashed node again and sees that it joins.
        faults: which of FAULTS.
        spare: names that are neither paused nor crashed.
        interval: seconds between two faults, on average.
    """
    kinds = tuple(faults)
    down: list[Any] = []
    left = seconds
    while left > 0.0:
        wait = min(random.expovariate(1.0 / interval), left)
        simulation.run(wait)
        left -= wait
        names = sorted(simulation.nodes)
        kind = random.choice(kinds)
        if kind in ("pause", "crash"):
            nodes = [simulation.nodes[name] for name in names if name not in spare]
            node = random.choice([node for node in nodes if node not in down] or nodes)
            if kind == "pause":
                simulation.pause(node, random.uniform(0.1, 8.0))
            elif node not in down and len(down) * 2 < len(names):
                simulation.crash(node)
                down.append(node)
        else:
            _cut(simulation, random, kind, names)
    simulation.heal()
    simulation.run(10.0)  # the longest pause is over
    for node in down:
        restart(node)


def _cut(simulation: Stormy, random: Random, kind: str, names: list[str]) -> None:
    random.shuffle(names)
    third = max(1, len(names) // 3)
    if kind == "heal":
        simulation.heal()
    elif kind == "bridge":
        simulation.partition(sorted(names[:third]), sorted(names[third : 2 * third]))
    else:
        simulation.partition(sorted(names[: random.randint(1, third)]), one_way=kind == "one way")
