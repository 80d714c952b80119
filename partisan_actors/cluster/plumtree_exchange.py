"""Anti-entropy: what two neighbours have seen, compared by a tree of hashes, and what one of them lacks, found.

While nothing differs it costs one small frame for each round. What differs is found in three more, whatever the number
of roots; what then is missing, `plumtree_pulls` asks for. Pure.

    ("digest", hash)                  of everything; no answer if it is the same
    ("branches", hashes)              the answer else
    ("leaves", branches)              (branch, hashes) of each that differs and has many roots
    ("summary", last, scope, summaries)
                                      (node, bits, high, missing) of the roots under what differs; answered with those
                                      of the other side in that scope: leaves, and branches as LEAVES + branch
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from partisan_actors.cluster.broadcast_events import (
    Effect,
    ExchangeBegun,
    Root,
    SendBeyond,
    SendBroadcast,
)
from partisan_actors.cluster.broadcast_marks import Ranges
from partisan_actors.cluster.broadcast_roots import BRANCHES, LEAVES, Roots, RootState
from partisan_actors.cluster.broadcast_terms import read_summary

__all__ = ["Exchange"]

_LEAVES_IN_BRANCH = LEAVES // BRANCHES
_FEW = 32  # roots of a branch whose summaries are sent without looking at its leaves
_MOST_BRANCHES = 8  # looked at in one comparison
_MOST_SCOPE = 64
_MOST_SUMMARIES = 512


class Exchange:
    """The comparisons with the neighbours."""

    def __init__(self, own: Root, roots: Roots) -> None:
        self._own = own
        self._roots = roots
        self.differences = 0  # comparisons that have shown one

    def begin(self, node: str, now: float, effects: list[Effect]) -> None:
        """Compare with `node`."""
        effects.append(SendBroadcast((node,), ("digest", self._roots.digest(now)), False))
        effects.append(ExchangeBegun(node))

    def begin_beyond(self, node: str, now: float, effects: list[Effect]) -> None:
        """Compare with `node`, which is no neighbour."""
        effects.append(SendBeyond(node, ("digest", self._roots.digest(now))))
        effects.append(ExchangeBegun(node))

    def digest(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """`node` begins; what is wrong with that, if anything."""
        match message:
            case (_, int(digest)):
                if digest != self._roots.digest(now):
                    self.differences += 1
                    effects.append(SendBroadcast((node,), ("branches", self._roots.branches(now)), False))
                return None
        return "digest"

    def branches(
        self, node: str, message: tuple[Any, ...], now: float, random: Random, effects: list[Effect]
    ) -> str | None:
        """Something differs: look where."""
        match message:
            case (_, tuple(hashes)) if len(hashes) == BRANCHES:
                pass
            case _:
                return "branches"
        differing = _differing(hashes, self._roots.branches(now))
        turn = random.randrange(BRANCHES)  # each has its turn when there are more than are looked at
        differing.sort(key=lambda branch: (branch - turn) % BRANCHES)
        small: list[int] = []
        large: list[tuple[int, tuple[int, ...]]] = []
        for branch in differing[:_MOST_BRANCHES]:
            if len(self._roots.under(_leaves_of(branch))) <= _FEW:
                small.append(LEAVES + branch)
            else:
                large.append((branch, self._roots.leaves(branch)))
        if small:
            self._summarise(node, small, effects)
        if large:
            effects.append(SendBroadcast((node,), ("leaves", tuple(large)), False))
        return None

    def leaves(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """The same, one step further down."""
        match message:
            case (_, tuple(branches)) if len(branches) <= _MOST_BRANCHES:
                pass
            case _:
                return "leaves"
        self._roots.digest(now)
        scope: list[int] = []
        for term in branches:
            match term:
                case (int(branch), tuple(hashes)) if 0 <= branch < BRANCHES and len(hashes) == _LEAVES_IN_BRANCH:
                    first = branch * _LEAVES_IN_BRANCH
                    scope += [first + leaf for leaf in _differing(hashes, self._roots.leaves(branch))]
                case _:
                    return "leaves"
        if scope:
            self._summarise(node, scope[:_MOST_SCOPE], effects)
        return None

    def summary(
        self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]
    ) -> list[tuple[Root, Ranges]] | None:
        """`node` says what it has seen: what of that this node lacks; None if that is no summary."""
        match message:
            case (_, bool(last), tuple(scope), tuple(terms)) if (
                len(scope) <= _MOST_SCOPE and len(terms) <= _MOST_SUMMARIES
            ):
                pass
            case _:
                return None
        summaries = [read_summary(term) for term in terms]
        if None in summaries or not all(type(part) is int and 0 <= part < LEAVES + BRANCHES for part in scope):
            return None
        if not last:
            theirs = {summary[0]: summary[1:] for summary in summaries if summary is not None}
            self._answer(node, scope, theirs, now, effects)
        lacked: list[tuple[Root, Ranges]] = []
        for summary in summaries:
            assert summary is not None
            root, high, missing = summary
            state = self._roots.make(root, now) if root != self._own else None
            lacking = state.marks.lacking(high, missing) if state is not None else []
            if state is not None and lacking:
                state.learn(high, now)
                self._roots.changed(root)
                lacked.append((root, lacking))
        return lacked

    def _summarise(self, node: str, scope: Iterable[int], effects: list[Effect]) -> None:
        scope = tuple(scope)
        summaries = tuple(map(_term, self._roots.under(_scope_leaves(scope))[:_MOST_SUMMARIES]))
        effects.append(SendBroadcast((node,), ("summary", False, scope, summaries), False))

    def _answer(
        self,
        node: str,
        scope: Iterable[int],
        theirs: dict[Root, tuple[int, Ranges]],
        now: float,
        effects: list[Effect],
    ) -> None:
        self._roots.digest(now)
        summaries = [
            _term(state)
            for state in self._roots.under(_scope_leaves(scope))
            if theirs.get(state.root) != (state.marks.high, state.marks.missing)
        ]
        if summaries:
            message = ("summary", True, (), tuple(summaries[:_MOST_SUMMARIES]))
            effects.append(SendBroadcast((node,), message, False))


def _term(state: RootState) -> tuple[Any, ...]:
    return (*state.root, state.marks.high, state.marks.missing)


def _leaves_of(branch: int) -> range:
    return range(branch * _LEAVES_IN_BRANCH, (branch + 1) * _LEAVES_IN_BRANCH)


def _scope_leaves(scope: Iterable[int]) -> list[int]:
    leaves: list[int] = []
    for part in scope:
        leaves += [part] if part < LEAVES else _leaves_of(part - LEAVES)
    return leaves


def _differing(theirs: tuple[object, ...], ours: tuple[int, ...]) -> list[int]:
    return [index for index, (one, other) in enumerate(zip(theirs, ours, strict=True)) if one != other]
