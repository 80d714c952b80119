"""The roots that a node knows, and a tree of hashes over what it has seen of them.

Promised: equal knowledge of the roots that are up gives equal hashes, on whatever node; a change costs O(1), when the
hashes are next asked for. 4,096 leaves, by a hash of the root, under 64 branches.

A root that has been down for twice the retention is not in the hashes: nothing of it is to be had any more. It is
remembered for `forget_after`, as it may come back, and its messages must not be new then. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from partisan_actors.cluster.broadcast_births import Births
from partisan_actors.cluster.broadcast_events import PlumtreeParameters, Root
from partisan_actors.cluster.broadcast_marks import Marks

__all__ = ["BRANCHES", "LEAVES", "RootState", "Roots"]

BRANCHES = 64
LEAVES = BRANCHES * 64
_GRAINS = 8  # whiles in a retention, of which it is known what was broadcast in them


def _hash(value: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "big")


class RootState:
    """What this node has seen of one root."""

    __slots__ = ("_grain", "births", "fingerprint", "leaf", "marks", "root")

    def __init__(self, root: Root, grain: float) -> None:
        self.root = root
        self.marks = Marks()
        self.births = Births()
        self._grain = grain
        self.leaf = _hash(tuple(root)) % LEAVES
        self.fingerprint = 0  # as it is in the hashes; 0: it is not

    def born(self, number: int, by: float) -> None:
        """A number had been broadcast by that time."""
        self.births.note(number, by, self._grain)

    def learn(self, high: int, now: float) -> None:
        """The numbers up to `high` exist."""
        self.marks.learn(high, now)
        self.born(high, now)


class Roots:
    """All of them."""

    def __init__(self, parameters: PlumtreeParameters) -> None:
        self._parameters = parameters
        self._states: dict[Root, RootState] = {}
        self._members: dict[str, int] = {}
        self._down: dict[Root, float] = {}  # since when, in that order
        self._changed: dict[Root, None] = {}  # since the hashes were last brought up to date
        self._leaves: dict[int, dict[Root, RootState]] = {}  # those in the hashes
        self._hashes: dict[int, int] = {}  # by leaf, of those that are not 0
        self._branches = [0] * BRANCHES
        self._digest = 0

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[RootState]:
        return iter(self._states.values())

    def get(self, root: Root) -> RootState | None:
        """What is known of it."""
        return self._states.get(root)

    def make(self, root: Root, now: float) -> RootState | None:
        """What is known of it, from now on; None when there are too many roots that are up."""
        state = self._states.get(root)
        if state is not None:
            return state
        if len(self._states) >= self._parameters.max_roots:
            if not self._down:
                return None
            self._forget(next(iter(self._down)))
        state = self._states[root] = RootState(root, self._parameters.retention / _GRAINS)
        if self._members.get(root.node) != root.bits:
            self._down[root] = now  # it is not known to be up; if it is, MemberUp follows
        return state

    def changed(self, root: Root) -> None:
        """Its marks have."""
        self._changed[root] = None

    def member_up(self, node: str, bits: int) -> None:
        """This life is a member."""
        self._members[node] = bits
        root = Root(node, bits)
        if self._down.pop(root, None) is not None:
            self._changed[root] = None

    def member_down(self, node: str, bits: int, now: float) -> None:
        """It is not any more."""
        if self._members.get(node) == bits:
            del self._members[node]
        root = Root(node, bits)
        if root in self._states and root not in self._down:
            self._down[root] = now

    def sweep(self, now: float) -> None:
        """Forget those that have been down for long."""
        parameters = self._parameters
        for root, since in list(self._down.items()):
            if since > now - 2 * parameters.retention:
                return
            if since <= now - parameters.forget_after:
                self._forget(root)
            elif self._states[root].fingerprint:
                self._changed[root] = None

    def _forget(self, root: Root) -> None:
        self._enter(self._states.pop(root), 0)
        del self._down[root]
        self._changed.pop(root, None)

    # The hashes

    def digest(self, now: float) -> int:
        """The hash over everything."""
        self._bring_up_to_date(now)
        return self._digest

    def branches(self, now: float) -> tuple[int, ...]:
        """The hashes of the branches."""
        self._bring_up_to_date(now)
        return tuple(self._branches)

    def leaves(self, branch: int) -> tuple[int, ...]:
        """The hashes of the leaves of a branch."""
        first = branch * (LEAVES // BRANCHES)
        return tuple(self._hashes.get(leaf, 0) for leaf in range(first, first + LEAVES // BRANCHES))

    def under(self, leaves: Iterable[int]) -> list[RootState]:
        """What is known of the roots of these leaves, as far as it is in the hashes."""
        return [state for leaf in leaves for state in self._leaves.get(leaf, {}).values()]

    def _bring_up_to_date(self, now: float) -> None:
        changed, self._changed = self._changed, {}
        horizon = now - 2 * self._parameters.retention
        for root in changed:
            state = self._states[root]
            marks = state.marks
            gone = self._down.get(root, now) <= horizon
            self._enter(state, 0 if gone or not marks.high else _hash((*root, marks.high, marks.missing)))

    def _enter(self, state: RootState, fingerprint: int) -> None:
        change = state.fingerprint ^ fingerprint
        if not change:
            return
        leaf = state.leaf
        state.fingerprint = fingerprint
        self._digest ^= change
        self._branches[leaf // (LEAVES // BRANCHES)] ^= change
        self._hashes[leaf] = self._hashes.get(leaf, 0) ^ change
        if fingerprint:
            self._leaves.setdefault(leaf, {})[state.root] = state
            return
        del self._leaves[leaf][state.root]
        if not self._leaves[leaf]:
            del self._leaves[leaf], self._hashes[leaf]
