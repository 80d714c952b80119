"""Anti-entropy beneath the trees: what the other pieces of it are told, by whom, and when.

A new node first learns what was before it (`plumtree_newcomer`). From then on neighbours compare what they have seen
(`plumtree_exchange`), at a new link and in rounds, and pull what is missing (`plumtree_pulls`). Where that goes on, the
neighbours lack it, too: they may have come later. So it is compared with a few members beyond them. What was found
missing and has not come within a retention is a gap: by its age nobody keeps it any more. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from partisan_actors.cluster.broadcast_events import Effect, Gap, PlumtreeParameters, Root
from partisan_actors.cluster.broadcast_log import BroadcastLog
from partisan_actors.cluster.broadcast_roots import Roots, RootState
from partisan_actors.cluster.plumtree_beyond import Beyond
from partisan_actors.cluster.plumtree_exchange import Exchange
from partisan_actors.cluster.plumtree_newcomer import Newcomer
from partisan_actors.cluster.plumtree_pulls import Pulls
from partisan_actors.cluster.plumtree_trees import Trees
from partisan_actors.distribution.machine import SetTimer

__all__ = ["EXCHANGE", "AntiEntropy"]

EXCHANGE = ("exchange", "")
"""The key of the timer of the rounds."""

_BEYOND = ("beyond", "")
_SOON = 5  # meeting delays, from when it is known what is missing: the neighbours have had the time to give it
_MOST_TURNS = 6  # in which members beyond the neighbours are asked for what is missing: after that nobody has it


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
        self._beyond = Beyond(own.node)
        self._turns = 0  # in which it was asked for beyond the neighbours, since nothing was missing
        self._newcomer = Newcomer(own, parameters, roots, log, self._beyond)
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
            "asked": self._on_asked,
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
        self._beyond.member_up(node)
        if node != self._own.node:
            self._newcomer.came(self._now)

    def member_down(self, node: str) -> None:
        """It is not any more."""
        self._beyond.member_down(node)
        if not self._trees.is_neighbour(node):
            self._pulls.drop(node, self._effects)

    def is_for(self, born: float) -> bool:
        """Whether what was broadcast at that time is for this node."""
        return self._newcomer.is_for(born)

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
        if not self.synchronised:
            return
        self._exchange.begin(self._random.choice(self._trees.neighbours), self._now, self._effects)
        before = self._now - self._parameters.exchange_interval
        states = (self._roots.get(root) for root in self.holes)
        times = (state.marks.missing_since for state in states if state is not None)
        if any(since is not None and since <= before for since in times):
            self._ask_beyond()

    def _ask_beyond(self) -> None:
        """What is missing stays so: compare with members that are no neighbours."""
        if self._turns < _MOST_TURNS and self._trees.neighbours:
            self._turns += 1
            for node in self._beyond.next(self._parameters.beyond, self._trees.neighbours):
                self._exchange.begin_beyond(node, self._now, self._effects)

    def timer_fired(self, kind: str, node: str) -> None:
        """A timer that one of the pieces has set."""
        match kind:
            case "meet" if self.synchronised and self._trees.is_neighbour(node):
                self._exchange.begin(node, self._now, self._effects)
            case "pull":
                self._pulls.due(node, self._effects)
            case "beyond" if self.synchronised and self.holes:
                self._ask_beyond()
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
        if self.holes:
            self._turns = 0
            self._effects.append(SetTimer(_BEYOND, _SOON * self._parameters.meeting_delay))

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
        if not self.holes:
            self._turns = 0

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
        if lacked and (self._trees.is_neighbour(node) or node in self._beyond):
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

    def _on_asked(self, node: str, message: tuple[Any, ...]) -> str | None:
        return self._newcomer.quoted(node, message)

    def _on_marks(self, node: str, message: tuple[Any, ...]) -> str | None:
        before = self.synchronised
        fault = self._newcomer.told(node, message, self._now, self._effects)
        self._look(before)
        return fault
