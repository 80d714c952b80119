"""A sparse, symmetrical choice among nodes that are all linked: a ring of their names, with chords.

Promised, when all of them make it over the same names: whom one passes news on to, passes on to it; everybody is
reached, in about three steps for each factor of four in their number; nobody passes on to more than two for each such
factor. While they know different names it is a good guess, and what is missed is for anti-entropy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["FEW", "chordal_ring"]

FEW = 8
"""Up to so many others, all of them are passed on to: chords would save nothing."""

_FACTOR = 4  # from one chord's length to the next


def chordal_ring(node: str, others: Sequence[str]) -> Sequence[str]:
    """Those of `others`, which are sorted and without `node`, at distance 1, 4, 16, ... from it, both ways round."""
    if len(others) <= FEW:
        return others
    place = bisect_left(others, node)
    size = len(others) + 1
    chosen: set[int] = set()
    distance = 1
    while distance < size:
        # On the ring `node` stands at `place`, and those from there on in `others` one further.
        for spot in ((place + distance) % size, (place - distance) % size):
            chosen.add(spot if spot < place else spot - 1)
        distance *= _FACTOR
    return [others[spot] for spot in sorted(chosen)]
