"""What a comparison has shown to be missing: asked for, served, given up.

One batch at a time of each neighbour; what one was asked for is not asked of another meanwhile. A comparison also finds
what is just on its way: so there is a while between the finding and the asking. Pure.

    ("pull", wanted)        the messages with these numbers, please: (node, bits, ranges) for each root
    ("served", more, b"")   that was all of them that are kept, or `more`: as much as goes at once
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from partisan_actors.cluster.broadcast_events import Effect, PlumtreeParameters, Root, SendBroadcast, Unavailable
from partisan_actors.cluster.broadcast_log import BroadcastLog, Kept
from partisan_actors.cluster.broadcast_marks import Ranges, common, count, without
from partisan_actors.cluster.broadcast_roots import Roots
from partisan_actors.cluster.broadcast_terms import MOST_AGE, MOST_HOPS, read_wanted
from partisan_actors.distribution.machine import CancelTimer, SetTimer

__all__ = ["Pulls", "answer"]

_MOST_UNAVAILABLE = 64  # numbers that handlers are asked for, of each pull
_MOST_ROOTS = 1024  # in one pull


def answer(kept: Kept, kind: str, now: float) -> tuple[Any, ...]:
    """The message that carries a payload on."""
    age = min(max(int((now - kept.born) * 1000), 0), MOST_AGE)
    return (kind, *kept.root, kept.number, min(kept.hop + 1, MOST_HOPS), kept.own, age, kept.handler, kept.payload)


class Pulls:
    """What is asked of others, and what is served to them."""

    def __init__(self, parameters: PlumtreeParameters, roots: Roots, log: BroadcastLog) -> None:
        self._parameters = parameters
        self._roots = roots
        self._log = log
        self._wanted: dict[str, dict[Root, Ranges]] = {}  # by neighbour: what it has, and we lacked
        self._asked: dict[str, dict[Root, Ranges]] = {}  # what it was asked for

    def want(self, node: str, wanted: Sequence[tuple[Root, Ranges]], delay: float, effects: list[Effect]) -> None:
        """`node` has these."""
        if node not in self._wanted:
            self._wanted[node] = {}
            effects.append(SetTimer(("pull", node), delay))
        # What an earlier comparison has shown and is still missing is in this one, too.
        self._wanted[node].update(wanted)

    def drop(self, node: str, effects: list[Effect]) -> None:
        """Nothing is asked of `node` any more: it has gone, or does not answer."""
        self._asked.pop(node, None)
        if self._wanted.pop(node, None) is not None:
            effects.append(CancelTimer(("pull", node)))

    def due(self, node: str, effects: list[Effect]) -> None:
        """The timer of a neighbour has fired."""
        if node in self._asked:
            self.drop(node, effects)
        elif node in self._wanted:
            self._ask(node, effects)

    def served(self, node: str, more: bool, effects: list[Effect]) -> None:
        """`node` has served what it was asked for, as far as it could."""
        asked = self._asked.pop(node, None)
        if asked is None:
            return
        wanted = self._wanted[node]
        left = {root: self._lacked(root, ranges) for root, ranges in asked.items()}
        progress = sum(map(count, left.values())) < sum(map(count, asked.values()))
        if not (more and progress):
            for root, ranges in asked.items():
                wanted[root] = without(wanted[root], ranges)
        self._ask(node, effects)

    def _ask(self, node: str, effects: list[Effect]) -> None:
        room = self._parameters.pull_count
        asked: dict[Root, Ranges] = {}
        wanted = self._wanted[node]
        for root, ranges in wanted.items():
            lacked = self._lacked(root, ranges)
            for others in self._asked.values():
                lacked = without(lacked, others.get(root, ()))
            if lacked and room > 0 and len(asked) < _MOST_ROOTS:
                asked[root] = lacked = _first_of(lacked, room)
                room -= count(lacked)
        if not asked:
            self.drop(node, effects)
            return
        self._asked[node] = asked
        terms = tuple((*root, tuple(ranges)) for root, ranges in asked.items())
        effects.append(SendBroadcast((node,), ("pull", terms), False))
        effects.append(SetTimer(("pull", node), self._parameters.pull_timeout))

    def _lacked(self, root: Root, ranges: Ranges) -> list[tuple[int, int]]:
        state = self._roots.get(root)
        return common(ranges, state.marks.missing) if state is not None else []

    def serve(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """`node` asks; why it must not, if so."""
        if len(message) != 2 or type(message[1]) is not tuple or len(message[1]) > _MOST_ROOTS:
            return "pull"
        room, size, more = self._parameters.pull_count, self._parameters.pull_bytes, False
        handlers_room = _MOST_UNAVAILABLE
        for term in message[1]:
            wanted = read_wanted(term)
            if wanted is None:
                return "pull"
            root, ranges = wanted
            kept = [(number, number) for number in self._log.numbers(root)]
            for number, _ in common(kept, ranges):
                if room <= 0 or size <= 0:
                    more = True
                    break
                entry = self._log.get(root, number)
                assert entry is not None
                effects.append(SendBroadcast((node,), answer(entry, "answer", now), True))
                room -= 1
                size -= len(entry.payload)
            handlers_room -= self._unavailable(node, root, without(ranges, kept), handlers_room, effects)
        effects.append(SendBroadcast((node,), ("served", more, b""), True))
        return None

    def _unavailable(self, node: str, root: Root, ranges: Ranges, room: int, effects: list[Effect]) -> int:
        """Say what was seen of these, and is kept no more; how many numbers that is."""
        state = self._roots.get(root)
        if state is None:
            return 0
        seen = without([(1, state.marks.high)], state.marks.missing)
        gone = _first_of(common(ranges, seen), room)
        effects.extend(Unavailable(node, root, first, last) for first, last in gone)
        return count(gone)


def _first_of(ranges: Ranges, most: int) -> list[tuple[int, int]]:
    """The lowest numbers of these, so many at most."""
    first_of: list[tuple[int, int]] = []
    for first, last in ranges:
        if most <= 0:
            break
        last = min(last, first + most - 1)
        first_of.append((first, last))
        most -= last - first + 1
    return first_of
