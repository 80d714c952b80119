"""The trees that broadcasts travel on: for each, to which neighbours a message goes at once, and to which its IHAVE.

A tree is what is not in it: the neighbours that are lazy. So a neighbour that comes is eager in all trees, and one that
goes changes only those that it was in. One tree is shared by all roots that broadcast rarely; the others have one of
their own, as long as there is room. A tree that is not kept any more has no lazy links: it starts as a flood, which
prunes it. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Container

from partisan_actors.cluster.broadcast_events import Root

__all__ = ["Trees"]


class Trees:
    """The trees at one node. Tree None is the shared one."""

    __slots__ = ("_max_trees", "_own", "_shared", "neighbours")

    def __init__(self, max_trees: int) -> None:
        self._max_trees = max_trees
        self.neighbours: list[str] = []  # sorted
        self._shared: set[str] = set()
        self._own: OrderedDict[Root, set[str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._own)

    def is_neighbour(self, node: str) -> bool:
        """Whether it is."""
        at = bisect_left(self.neighbours, node)
        return at < len(self.neighbours) and self.neighbours[at] == node

    def lazy(self, tree: Root | None) -> set[str]:
        """The lazy neighbours of a tree, to look at."""
        if tree is None:
            return self._shared
        return self._own.get(tree, set())

    def used(self, tree: Root | None) -> set[str]:
        """The lazy neighbours of a tree that is used now, to look at and to change."""
        if tree is None:
            return self._shared
        lazy = self._own.get(tree)
        if lazy is not None:
            self._own.move_to_end(tree)
            return lazy
        while len(self._own) >= self._max_trees:
            self._own.popitem(last=False)
        lazy = self._own[tree] = set()
        return lazy

    def eager(self, tree: Root | None, but: Container[str] = ()) -> list[str]:
        """The eager neighbours of a tree, sorted, without some."""
        lazy = self.lazy(tree)
        return [node for node in self.neighbours if node not in lazy and node not in but]

    def add(self, node: str) -> bool:
        """A neighbour has come; False if it was there."""
        if self.is_neighbour(node):
            return False
        insort(self.neighbours, node)
        return True

    def remove(self, node: str) -> list[Root | None]:
        """A neighbour has gone. Gives the trees that lost their last eager link by that; all links of these are eager
        now, since nothing would come over them before somebody noticed (partisan.md 2.2)."""
        self.neighbours.remove(node)
        repaired: list[Root | None] = []
        for tree, lazy in ((None, self._shared), *self._own.items()):
            if node in lazy:
                lazy.discard(node)
            elif lazy and len(lazy) == len(self.neighbours):
                lazy.clear()
                repaired.append(tree)
        return repaired
