"""The two views of a SCAMP node, and chance over them.

The partial view holds those whose subscription this node keeps, the in-view those that keep its own. Promised: what is
drawn depends on the names in it and on the `Random` alone, not on the order in which they came.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from random import Random

__all__ = ["View", "draw"]


class View:
    """Names, each with a time; sorted, and quick to draw from."""

    __slots__ = ("_names", "_times")

    def __init__(self) -> None:
        self._names: list[str] = []
        self._times: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, node: object) -> bool:
        return node in self._times

    @property
    def names(self) -> Sequence[str]:
        """Sorted; not to be changed, and not to be kept over a change."""
        return self._names

    def put(self, node: str, time: float) -> bool:
        """Add it, or write its time anew; whether it was added."""
        added = node not in self._times
        if added:
            insort(self._names, node)
        self._times[node] = time
        return added

    def discard(self, node: str) -> bool:
        """Take it out; whether it was in."""
        if self._times.pop(node, None) is None:
            return False
        del self._names[bisect_left(self._names, node)]
        return True

    def clear(self) -> None:
        """Take all out."""
        self._names.clear()
        self._times.clear()

    def older_than(self, time: float) -> list[str]:
        """Those whose time is before it, sorted."""
        return [node for node in self._names if self._times[node] < time]


def draw(names: Sequence[str], among: Container[str], but: Container[str], random: Random) -> str | None:
    """One of `names` by chance that is in `among` and not in `but`; None when there is none.

    From a place drawn by chance it is the next that fits: where few do not, as nearly always, that is as good as a
    draw among those that do, and does not look at all of them.
    """
    if not names:
        return None
    start = random.randrange(len(names))
    for offset in range(len(names)):
        node = names[(start + offset) % len(names)]
        if node in among and node not in but:
            return node
    return None
