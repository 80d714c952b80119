"""Anti-entropy beneath the trees: what the other pieces of it are told, by whom, and when.

A new node first learns what was before it (`plumtree_newcomer`). From then on neighbours compare what they have seen
(`plumtree_exchange`), at a new link and in rounds, and pull what is missing (`plumtree_pulls`). What was found missing
and has not come within a retention is a gap: by its age nobody keeps it any more. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from partisan_actors.cluster.broadcast_events import Effect, Gap, PlumtreeParameters, Root
from partisan_actors.cluster.broadcast_log import BroadcastLog
from partisan_actors.cluster.broadcast_roots import Roots, RootState
from partisan_actors.cluster.plumtree_exchange import Exchange
from partisan_actors.cluster.plumtree_newcomer import Newcomer
from partisan_actors.cluster.plumtree_pulls import Pulls
from partisan_actors.cluster.plumtree_trees import Trees
from partisan_actors.distribution.machine import SetTimer

__all__ = ["EXCHANGE", "AntiEntropy"]

EXCHANGE = ("exchange", "")
"""The key of the timer of the rounds."""


class AntiEntropy:
    """The anti-entropy of one node. `turn` comes first in each step."""

    def __init__(
        self, own: Root, parameters: PlumtreeParameters, roots: Roots, log: BroadcastLog, trees: Trees
    ) -> None:
        self.holes: dict[Root, None] = {}  # roots of which something is missing
        self._own = own
        self._parameters = parameters
        self._roots = roots
        self._trees = trees
        self._newcomer = Newcomer(own, parameters, roots, log)
        self._exchange = Exchange(own, roots)
        self._pulls = Pulls(parameters, roots, log)
        self._now = 0.0
        self._random: Random
        self._effects: list[Effect]
        self.kinds: dict[str, Callable[[str, tuple[Any, ...]], str | None]] = {
            "digest": self._on_digest,
            "branches": self._on_branches,
            "leaves": self._on_leaves,
            "summary": self._on_summary,
            "pull": self._on_pull,
            "served": self._on_served,
            "synchronise": self._on_synchronise,
            "marks": self._on_marks,
        }

    def turn(self, now: float, random: Random, effects: list[Effect]) -> None:
        """A step begins."""
        self._now, self._random, self._effects = now, random, effects

    @property
    def synchronised(self) -> bool:
        """Whether this node knows what was broadcast before it came."""
        return self._newcomer.synchronised

    # Neighbours, and time

    def member_up(self, node: str) -> None:
        """`node` is a member."""
        if node != self._own.node:
            self._newcomer.came(self._now)

    def neighbour_up(self, node: str) -> None:
        """A link is up."""
        self._newcomer.neighbour_up(node, self._now, self._effects)
        if self.synchronised and self._own.node < node:
            self._meet(node)  # one of the two is enough

    def neighbour_down(self, node: str) -> None:
        """It is down."""
        before = self.synchronised
        self._newcomer.neighbour_down(node, self._now, self._effects)
        self._look(before)
        self._pulls.drop(node, self._effects)

    def left(self) -> None:
        """This node is to be new again."""
        self._newcomer.left(self._effects)

    def round(self) -> None:
        """Compare with one neighbour."""
        if self.synchronised:
            self._exchange.begin(self._random.choice(self._trees.neighbours), self._now, self._effects)

    def timer_fired(self, kind: str, node: str) -> None:
        """A timer that one of the pieces has set."""
        match kind:
            case "meet" if self.synchronised and self._trees.is_neighbour(node):
                self._exchange.begin(node, self._now, self._effects)
            case "pull":
                self._pulls.due(node, self._effects)
            case "synchronise" if not self.synchronised:
                self._newcomer.time_is_up(self._now, self._effects)
                self._look(False)

    def _meet(self, node: str) -> None:
        self._effects.append(SetTimer(("meet", node), self._parameters.meeting_delay))

    def _look(self, before: bool) -> None:
        if before or not self.synchronised:
            return
        # What is missing from now on is missed.
        for state in self._roots:
            self.look_for_holes(state)
        for node in self._trees.neighbours:
            self._meet(node)

    # Holes

    def look_for_holes(self, state: RootState) -> None:
        """The marks of a root have changed."""
        marks = state.marks
        if not marks.holes:
            return
        self.holes[state.root] = None
        while self.synchronised and marks.holes > self._parameters.max_holes:
            self._effects.append(Gap(state.root, *marks.give_up_lowest()))

    def give_up_holes(self) -> None:
        """Give up what has been missing for a retention."""
        if not self.synchronised:
            return
        for root in list(self.holes):
            state = self._roots.get(root)
            if state is not None:
                for first, last in state.marks.give_up(self._now - self._parameters.retention):
                    self._roots.changed(root)
                    self._effects.append(Gap(root, first, last))
            if state is None or not state.marks.holes:
                del self.holes[root]

    # What neighbours say

    def _on_digest(self, node: str, message: tuple[Any, ...]) -> str | None:
        if not self.synchronised:
            return None
        return self._exchange.digest(node, message, self._now, self._effects)

    def _on_branches(self, node: str, message: tuple[Any, ...]) -> str | None:
        if not self.synchronised:
            return None
        return self._exchange.branches(node, message, self._now, self._random, self._effects)

    def _on_leaves(self, node: str, message: tuple[Any, ...]) -> str | None:
        if not self.synchronised:
            return None
        return self._exchange.leaves(node, message, self._now, self._effects)

    def _on_summary(self, node: str, message: tuple[Any, ...]) -> str | None:
        if not self.synchronised:
            return None
        lacked = self._exchange.summary(node, message, self._now, self._effects)
        if lacked is None:
            return "summary"
        for root, _ in lacked:
            state = self._roots.get(root)
            if state is not None:
                self.look_for_holes(state)
        if lacked and self._trees.is_neighbour(node):
            self._pulls.want(node, lacked, self._parameters.meeting_delay, self._effects)
        return None

    def _on_pull(self, node: str, message: tuple[Any, ...]) -> str | None:
        return self._pulls.serve(node, message, self._now, self._effects)

    def _on_served(self, node: str, message: tuple[Any, ...]) -> str | None:
        match message:
            case (_, bool(more), _):
                self._pulls.served(node, more, self._effects)
                return None
        return "served"

    def _on_synchronise(self, node: str, message: tuple[Any, ...]) -> str | None:
        return self._newcomer.asked(node, message, self._now, self._effects)

    def _on_marks(self, node: str, message: tuple[Any, ...]) -> str | None:
        before = self.synchronised
        fault = self._newcomer.told(node, message, self._now, self._effects)
        self._look(before)
        return fault
