"""What the broadcasts of two nodes tell each other, read and checked: plain tuples, as `plumtree` lists them.

What is not right gives None, never an error. Pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

from partisan_actors.cluster.broadcast_events import MOST_ANNOUNCED, Root
from partisan_actors.cluster.broadcast_marks import Ranges

__all__ = [
    "MOST_AGE",
    "MOST_HOPS",
    "Gossip",
    "read_age",
    "read_announcement",
    "read_announcements",
    "read_gossip",
    "read_marks",
    "read_ranges",
    "read_root",
    "read_summary",
    "read_wanted",
]

MOST_HOPS = 65_535
"""Links that a message may say to have come over: more than there can be members. What goes on says no more, either."""

MOST_AGE = (1 << 40) - 1
"""Milliseconds."""

_MAX_NUMBER = 1 << 62
_MAX_NAME = 255
_MAX_RANGES = 4096
_MAX_BIRTHS = 64


class Gossip(NamedTuple):
    """A message that carries a payload: "gossip" along a tree, or "answer" outside of it."""

    root: Root
    number: int
    hop: int  # links that it has come over, with the last one
    own: bool  # on the root's own tree
    age: int  # milliseconds since it was broadcast, without the time on the links
    handler: str
    payload: bytes


def read_gossip(message: tuple[Any, ...], max_payload: int) -> Gossip | None:
    """`message` is (kind, node, bits, number, hop, own, age, handler, payload)."""
    if len(message) != 9:
        return None
    _, node, bits, number, hop, own, age, handler, payload = message
    root = read_root(node, bits)
    # hot path: types as such, 0.5 us less than by a pattern.
    if root is None or type(own) is not bool or not _between(number, 1, _MAX_NUMBER):
        return None
    if not (_between(hop, 1, MOST_HOPS + 1) and _between(age, 0, MOST_AGE + 1)):
        return None
    if type(handler) is not str or not 0 < len(handler) <= _MAX_NAME:
        return None
    if type(payload) is not bytes or len(payload) > max_payload:
        return None
    return Gossip(root, number, hop, own, age, handler, payload)


def read_root(node: object, bits: object) -> Root | None:
    """A root by its two parts."""
    if type(node) is not str or not 0 < len(node) <= _MAX_NAME or not _between(bits, 0, 1 << 64):
        return None
    return Root(node, bits)  # type: ignore[arg-type]


def read_announcements(message: tuple[Any, ...]) -> list[tuple[Root, int, bool, int]] | None:
    """`message` is ("ihave", announcements); all of them are right, or it is none."""
    if len(message) != 2 or type(message[1]) is not tuple or len(message[1]) > MOST_ANNOUNCED:
        return None
    announcements = [announcement for term in message[1] if (announcement := read_announcement(term)) is not None]
    return announcements if len(announcements) == len(message[1]) else None


def read_announcement(term: object) -> tuple[Root, int, bool, int] | None:
    """One of an IHAVE: (node, bits, number, own, hop) as root, number, own and hop."""
    if type(term) is not tuple or len(term) != 5:
        return None
    node, bits, number, own, hop = term
    root = read_root(node, bits)
    if root is None or type(own) is not bool or not _between(number, 1, _MAX_NUMBER):
        return None
    return (root, number, own, hop) if _between(hop, 1, MOST_HOPS + 1) else None


def read_age(term: object) -> float | None:
    """How long something has been, in milliseconds, as seconds."""
    return term / 1000 if _between(term, 0, MOST_AGE + 1) else None  # type: ignore[operator]


def read_ranges(term: object) -> Ranges | None:
    """Ranges of numbers: sorted, and apart."""
    if not _are_pairs(term, _MAX_RANGES):
        return None
    before = 0
    for first, last in term:
        if not _between(first, before + 1, _MAX_NUMBER) or not _between(last, first, _MAX_NUMBER):
            return None
        before = last
    return term


def read_summary(term: object) -> tuple[Root, int, Ranges] | None:
    """What somebody has seen of a root: (node, bits, high, missing)."""
    if type(term) is not tuple or len(term) != 4:
        return None
    node, bits, high, missing = term
    root, ranges = read_root(node, bits), read_ranges(missing)
    if root is None or ranges is None or not _between(high, 0, _MAX_NUMBER):
        return None
    return (root, high, ranges) if not ranges or ranges[-1][1] <= high else None


def read_marks(term: object) -> tuple[Root, int, Ranges, tuple[tuple[int, int], ...]] | None:
    """The same, and by when what numbers had been broadcast, in milliseconds ago: (number, age) for some of them."""
    if type(term) is not tuple or len(term) != 5:
        return None
    summary, births = read_summary(term[:4]), term[4]
    if summary is None or not _are_pairs(births, _MAX_BIRTHS):
        return None
    before = 0
    for number, age in births:
        if not _between(number, before + 1, summary[1] + 1) or not _between(age, 0, MOST_AGE + 1):
            return None
        before = number
    return (*summary, births)


def read_wanted(term: object) -> tuple[Root, Ranges] | None:
    """What somebody asks for of a root: (node, bits, ranges)."""
    if type(term) is not tuple or len(term) != 3:
        return None
    node, bits, wanted = term
    root, ranges = read_root(node, bits), read_ranges(wanted)
    return None if root is None or ranges is None else (root, ranges)


def _are_pairs(term: object, most: int) -> TypeGuard[tuple[tuple[Any, Any], ...]]:
    return type(term) is tuple and len(term) <= most and all(type(pair) is tuple and len(pair) == 2 for pair in term)


def _between(value: object, low: int, end: int) -> bool:
    return type(value) is int and low <= value < end
