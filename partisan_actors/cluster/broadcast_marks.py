"""Which numbers of one root a node has seen: a high-water mark, and the ranges below it that are missing.

What was seen stays seen, however long ago it was: that is what makes every message new once. What is missing is kept
with the time since when that is known. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["Marks", "Ranges", "common", "count", "without"]

Ranges = Sequence[tuple[int, int]]
"""Numbers, as pairs of the first and the last of each run; sorted, no two of them touch."""


def without(ranges: Ranges, others: Ranges) -> list[tuple[int, int]]:
    """The numbers of `ranges` that are not in `others`."""
    left: list[tuple[int, int]] = []
    at = 0
    for first, last in ranges:
        while at < len(others) and others[at][1] < first:
            at += 1
        look = at
        while first <= last and look < len(others) and others[look][0] <= last:
            if others[look][0] > first:
                left.append((first, others[look][0] - 1))
            first = others[look][1] + 1
            look += 1
        if first <= last:
            left.append((first, last))
    return left


def common(ranges: Ranges, others: Ranges) -> list[tuple[int, int]]:
    """The numbers that are in both."""
    return without(ranges, without(ranges, others))


def count(ranges: Ranges) -> int:
    """How many numbers these are."""
    return sum(last - first + 1 for first, last in ranges)


class Marks:
    """What was seen of one root. `seen` is everything up to `high` but for `missing`."""

    __slots__ = ("_missing", "high")

    def __init__(self) -> None:
        self.high = 0
        self._missing: list[tuple[int, int, float]] = []  # first, last, since when that is known; sorted

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """The ranges up to `high` that were not seen; those that touch, known at different times, as one."""
        ranges: list[tuple[int, int]] = []
        for first, last, _ in self._missing:
            if ranges and ranges[-1][1] == first - 1:
                first = ranges.pop()[0]
            ranges.append((first, last))
        return tuple(ranges)

    @property
    def holes(self) -> int:
        """How many ranges these are."""
        return len(self._missing)

    @property
    def missing_since(self) -> float | None:
        """Since when it has been known that something is missing; None where nothing is."""
        return min((since for _, _, since in self._missing), default=None)

    def seen(self, number: int) -> bool:
        """Whether it was."""
        return number <= self.high and (not self._missing or self._hole(number) < 0)

    def add(self, number: int, now: float) -> bool:
        """See `number`, which is above 0; whether that is new."""
        high = self.high
        if number == high + 1:
            self.high = number
            return True
        if number > high:
            self._missing.append((high + 1, number - 1, now))
            self.high = number
            return True
        hole = self._hole(number) if self._missing else -1
        if hole < 0:
            return False
        first, last, since = self._missing[hole]
        self._missing[hole : hole + 1] = [
            (low, top, since) for low, top in ((first, number - 1), (number + 1, last)) if low <= top
        ]
        return True

    def lacking(self, high: int, missing: Ranges) -> list[tuple[int, int]]:
        """What another, who has everything up to `high` but for `missing`, has seen, and this one has not."""
        ours = list(self.missing)
        if high > self.high:
            ours.append((self.high + 1, high))
        return without(ours, [*missing, (high + 1, max(high, self.high) + 1)])

    def learn(self, high: int, now: float) -> None:
        """The numbers up to `high` exist."""
        if high > self.high:
            self._missing.append((self.high + 1, high, now))
            self.high = high

    def take_over(self, high: int, missing: Ranges, now: float) -> None:
        """See all that another has seen, who has everything up to `high` but for `missing`."""
        seen = self.lacking(high, missing)
        self.learn(high, now)
        left = without(self.missing, seen)
        self._missing = [(first, last, self._since(first, now)) for first, last in left]

    def give_up(self, before: float) -> list[tuple[int, int]]:
        """Take for seen what is known to be missing since `before` or earlier; gives these ranges."""
        lost = [(first, last) for first, last, since in self._missing if since <= before]
        if lost:
            self._missing = [hole for hole in self._missing if hole[2] > before]
        return lost

    def give_up_lowest(self) -> tuple[int, int]:
        """Take the lowest range that is missing for seen; gives it."""
        first, last, _ = self._missing.pop(0)
        return first, last

    def _hole(self, number: int) -> int:
        """The index of the range of `_missing` that it is in; -1 for none."""
        at = bisect_right(self._missing, number, key=_first) - 1
        return at if at >= 0 and number <= self._missing[at][1] else -1

    def _since(self, number: int, now: float) -> float:
        hole = self._hole(number)
        return self._missing[hole][2] if hole >= 0 else now


def _first(hole: tuple[int, int, float]) -> int:
    return hole[0]
