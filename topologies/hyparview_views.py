"""What HyParView keeps of other nodes: the names of the passive view, and what it has agreed with neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

__all__ = ["Attempt", "Bond", "PassiveView", "shuffled"]


class Bond:
    """An agreement to be neighbours: each side's nonce."""

    __slots__ = ("mine", "theirs")

    def __init__(self, mine: int, theirs: int) -> None:
        self.mine = mine
        self.theirs = theirs


class Attempt:
    """A node that is asked to be a neighbour.

    Args:
        priority: what it will be asked with; "" is for the moment at which there is a link to decide.
        forced: whether a neighbour has to go for it, if it agrees and there is no room.
        since: when it began, in seconds.
    """

    __slots__ = ("asked", "forced", "nonce", "priority", "retried", "since")

    def __init__(self, priority: str, forced: bool, since: float) -> None:
        self.priority = priority
        self.forced = forced
        self.since = since
        self.nonce = -1
        self.asked = False
        self.retried = False


class PassiveView:
    """Names without an order that means anything: at most `size`, each once.

    Samples are taken by exchanging entries of the list in place, so each entry is as likely as any other.
    """

    __slots__ = ("_held", "_names", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._names: list[str] = []
        self._held: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> Sequence[str]:
        """All, to look at."""
        return self._names

    def add(self, name: str, random: Random, sent: list[str]) -> None:
        """Take a name in. Without room one of `sent` goes, which the peer has now, else any one.

        Names are taken off `sent` as they go.
        """
        if name in self._held:
            return
        names = self._names
        if len(names) >= self._size:
            victim = ""
            while sent and victim not in self._held:
                victim = sent.pop()
            if victim not in self._held:
                victim = names[int(random.random() * len(names))]
            self.remove(victim)
        names.append(name)
        self._held.add(name)

    def remove(self, name: str) -> None:
        """Forget a name, if it is there."""
        if name in self._held:
            self._held.remove(name)
            names = self._names
            place = names.index(name)
            names[place] = names[-1]
            names.pop()

    def clear(self) -> None:
        """Forget all."""
        self._names.clear()
        self._held.clear()

    def sample(self, most: int, random: Random) -> list[str]:
        """So many of them, or all if there are fewer, by chance."""
        return shuffled(self._names, most, random)


def shuffled(names: list[str], most: int, random: Random) -> list[str]:
    """The first `most` of `names`, after those have been drawn by chance from all; the list changes its order."""
    count = len(names)
    if most > count:
        most = count
    draw = random.random
    for place in range(most):
        other = place + int(draw() * (count - place))
        names[place], names[other] = names[other], names[place]
    return names[:most]
