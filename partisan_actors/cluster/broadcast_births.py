"""By when the messages of one root had been broadcast, long after they are kept no more, in a few numbers.

It is what a member that has been apart is told by: which of the numbers it has not seen were for it.

Promised: `before` gives no number that was broadcast at that time or later; and all those that were before, but for
some where others of the same while were not. So more than there was may be taken to have been for a member, but never
something where there was nothing. The whiles are `grain` seconds for what is new, and longer for what is old. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["MOST_BIRTHS", "Births"]

MOST_BIRTHS = 16
"""Whiles that are told apart, of each root."""


class Births:
    """That of one root. All times are seconds on this node's clock."""

    __slots__ = ("_whiles",)

    def __init__(self) -> None:
        # Of each while: when its first message had been broadcast, its last, and the number of the last; sorted.
        self._whiles: list[tuple[float, float, int]] = []

    def note(self, number: int, by: float, grain: float) -> None:
        """`number`, and all below it, had been broadcast by that time."""
        # hot path: once for each message at each node.
        whiles, first = self._whiles, by
        if whiles and number <= whiles[-1][2]:
            return  # it is of a while that is known
        while whiles and whiles[-1][1] > by:
            first = whiles.pop()[0]  # these had come late
        if whiles and by - whiles[-1][0] < grain:
            first = whiles.pop()[0]
        whiles.append((min(first, by), by, number))
        if len(whiles) > MOST_BIRTHS:
            self._thin(by, grain)

    def _thin(self, now: float, grain: float) -> None:
        """Let two whiles become one, with the last message of the later: those that are shortest for their age."""
        whiles = self._whiles

        def length(at: int) -> float:
            return (whiles[at + 1][1] - whiles[at - 1][1]) / (now - whiles[at][1] + grain)

        del whiles[min(range(1, len(whiles) - 1), key=length)]

    def before(self, time: float) -> int:
        """The highest number that had been broadcast before that time, as far as is known; 0 for none."""
        for _, last, highest in reversed(self._whiles):
            if last < time:
                return highest
        return 0

    def told(self, now: float) -> tuple[tuple[int, int], ...]:
        """What another node is told: numbers, and how many milliseconds ago they had been broadcast."""
        return tuple((highest, max(int((now - last) * 1000), 0)) for _, last, highest in self._whiles)

    def take_over(self, told: Iterable[tuple[int, int]], now: float) -> None:
        """Know what another node has told, too, which is as old as that or a little older."""
        known = {highest: last for _, last, highest in self._whiles}
        for number, age in told:
            by = now - age / 1000
            known[number] = min(known.get(number, by), by)
        whiles: list[tuple[float, float, int]] = []
        by = math.inf
        for number in sorted(known, reverse=True):
            by = min(by, known[number])  # a lower number was broadcast before
            whiles.append((by, by, number))
        self._whiles = whiles[MOST_BIRTHS - 1 :: -1]
