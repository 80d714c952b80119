"""Trouble: what is done by chance to a cluster under watch, and meanwhile in it; each act by its name.

An act is a function of a cluster and of a chance, which decides whom it hits. So a scenario takes them in any order
from a seed, and a property test takes them from whatever draws for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from partisan_actors.testing.checked_cluster import CheckedCluster
from partisan_actors.testing.checked_traffic import CheckedLife

__all__ = ["ACTS", "LONGEST", "Act", "trouble"]

Act: TypeAlias = Callable[[CheckedCluster, Random], None]

ACTS: dict[str, Act] = {}

LONGEST = 90.0
"""Seconds of it without a `settle`, at most: what is broadcast is kept for two minutes."""

_FEWEST = 3  # nodes that run, and that have joined
_MOST = 12  # that there are, so that there are many to each of their links
_KINDS = ("monitor", "link", "spawn")
_NAMES = ("first", "second", "third")


def trouble(cluster: CheckedCluster, random: Random, count: int) -> None:
    """So many acts, or fewer if they take longer than LONGEST."""
    names = sorted(ACTS)
    weights = [_WEIGHTS.get(name, 1) for name in names]
    until = cluster.simulation.now + LONGEST
    for _ in range(count):
        if cluster.simulation.now >= until:
            return
        (name,) = random.choices(names, weights)
        ACTS[name](cluster, random)


_WEIGHTS = {"wait": 5, "call": 3, "tie": 3, "broadcast": 3, "kill": 2}


def _act(function: Act) -> Act:
    ACTS[function.__name__.removeprefix("_")] = function
    return function


def _some(random: Random, lives: Sequence[CheckedLife]) -> CheckedLife | None:
    return random.choice(lives) if lives else None


# Who is there


@_act
def _join(cluster: CheckedCluster, random: Random) -> None:
    """One that has left comes back, or a new one comes."""
    contact = _some(random, cluster.running())
    life = _some(random, [life for life in cluster.running() if life.left and life is not contact])
    if life is None and len(cluster.lives) < _MOST:
        life = cluster.add()
    if life is not None and contact is not None:
        cluster.join(life, contact)


@_act
def _leave(cluster: CheckedCluster, random: Random) -> None:
    lives = [life for life in cluster.joined() if not life.paused]
    if len(lives) > _FEWEST:
        cluster.leave(random.choice(lives))


@_act
def _crash(cluster: CheckedCluster, random: Random) -> None:
    if len(cluster.joined()) > _FEWEST:
        cluster.crash(random.choice(cluster.alive()))


@_act
def _restart(cluster: CheckedCluster, random: Random) -> None:
    dead = [name for name, life in cluster.lives.items() if not life.alive]
    contact = _some(random, cluster.running())
    if dead and contact is not None:
        cluster.restart(random.choice(dead), contact)


@_act
def _pause(cluster: CheckedCluster, random: Random) -> None:
    if len(cluster.running()) > _FEWEST:
        cluster.pause(random.choice(cluster.running()))


@_act
def _resume(cluster: CheckedCluster, random: Random) -> None:
    life = _some(random, [life for life in cluster.alive() if life.paused])
    if life is not None:
        cluster.resume(life)


@_act
def _slow(cluster: CheckedCluster, random: Random) -> None:
    """Up to half of what it has the time for: its timers are late, and nobody has to give it up."""
    if cluster.running():
        cluster.slow(random.choice(cluster.running()), random.choice([0.0, 0.002, 0.005, 0.01]))


# Who reaches whom


@_act
def _partition(cluster: CheckedCluster, random: Random) -> None:
    """Full, one way, or with others that still reach both sides."""
    lives = random.sample(cluster.alive(), len(cluster.alive()))
    size = random.randint(1, max(1, len(lives) // 2))
    others = lives[size : size + random.randint(1, 4)] if random.random() < 0.4 else None
    if others != []:
        cluster.partition(lives[:size], others, one_way=random.random() < 0.3)


@_act
def _heal(cluster: CheckedCluster, random: Random) -> None:
    cluster.heal()


@_act
def _wait(cluster: CheckedCluster, random: Random) -> None:
    cluster.simulation.run(random.choice([0.01, 0.3, 2.0, 7.0]))


# What they do


@_act
def _call(cluster: CheckedCluster, random: Random) -> None:
    caller = _some(random, cluster.running())
    if caller is not None:
        cluster.call(caller, random.choice(cluster.alive()))


@_act
def _tie(cluster: CheckedCluster, random: Random) -> None:
    if len(cluster.running()) > 1:
        watcher, target = random.sample(cluster.running(), 2)
        cluster.tie(watcher, target, random.choice(_KINDS))


@_act
def _kill(cluster: CheckedCluster, random: Random) -> None:
    living = cluster.ties.living()
    if living:
        cluster.ties.kill(random.choice(living))


@_act
def _broadcast(cluster: CheckedCluster, random: Random) -> None:
    root = _some(random, cluster.running())
    if root is not None:
        cluster.broadcast(root)


@_act
def _take(cluster: CheckedCluster, random: Random) -> None:
    life = _some(random, cluster.running())
    if life is not None:
        cluster.take(life, random.choice(_NAMES))
