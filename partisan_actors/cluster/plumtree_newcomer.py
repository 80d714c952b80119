"""How a new node learns what was broadcast before it came, so that it gets what is broadcast from then on, and no more.

It asks its neighbours for their marks, and takes what they have seen for seen by itself. What came to a neighbour after
the link to this node was up is left out: that is passed on, and was perhaps broadcast by somebody who knew this node
already. A neighbour that is new itself says so, and tells again when it knows better; where all are new, as when a
cluster begins, what they say is believed after `synchronise_timeout`.

Until then the numbers below what comes are no holes: nothing is asked for, given up or compared. Pure.

    ("synchronise",)                          tell me your marks
    ("marks", synchronised, last, summaries)  these are they, in several frames
"""

from __future__ import annotations

from typing import Any

from partisan_actors.cluster.broadcast_events import Effect, PlumtreeParameters, Root, SendBroadcast
from partisan_actors.cluster.broadcast_log import BroadcastLog
from partisan_actors.cluster.broadcast_marks import without
from partisan_actors.cluster.broadcast_roots import Roots
from partisan_actors.cluster.broadcast_terms import read_summary
from partisan_actors.distribution.machine import CancelTimer, SetTimer

__all__ = ["SYNCHRONISE", "Newcomer"]

SYNCHRONISE = ("synchronise", "")
"""The key of its timer."""

_PER_FRAME = 500  # summaries


class Newcomer:
    """Whether this node knows what was broadcast before it came, and what it does to know."""

    def __init__(self, own: Root, parameters: PlumtreeParameters, roots: Roots, log: BroadcastLog) -> None:
        self.synchronised = False
        self._own = own
        self._parameters = parameters
        self._roots = roots
        self._log = log
        self._since: dict[str, int] = {}  # by neighbour: the last that came before the link was up
        self._waiting: dict[str, None] = {}  # neighbours that want to know what we do not know yet
        self._timing = False

    def neighbour_up(self, node: str, effects: list[Effect]) -> None:
        """A link is up: what comes from now on is passed on over it."""
        self._since[node] = self._log.sequence
        if self.synchronised:
            return
        effects.append(SendBroadcast((node,), ("synchronise",), False))
        if not self._timing:
            self._timing = True
            effects.append(SetTimer(SYNCHRONISE, self._parameters.synchronise_timeout))

    def neighbour_down(self, node: str) -> None:
        """It is down."""
        self._since.pop(node, None)
        self._waiting.pop(node, None)

    def left(self, effects: list[Effect]) -> None:
        """This node is to be new again."""
        self.synchronised = False
        if self._timing:
            self._timing = False
            effects.append(CancelTimer(SYNCHRONISE))

    def asked(self, node: str, effects: list[Effect]) -> None:
        """`node` wants to know."""
        if not self.synchronised and node in self._since:
            self._waiting[node] = None
        self._tell(node, effects)

    def told(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """`node` says what it knows; why that cannot be, if so."""
        match message:
            case (_, bool(synchronised), bool(last), tuple(terms)) if len(terms) <= _PER_FRAME:
                pass
            case _:
                return "marks"
        if self.synchronised or node not in self._since:
            return None
        summaries = [read_summary(term) for term in terms]
        if None in summaries:
            return "marks"
        for summary in summaries:
            assert summary is not None
            root, high, missing = summary
            state = self._roots.make(root, now) if root != self._own else None
            if state is not None:
                state.marks.take_over(high, missing, now)
                self._roots.changed(root)
        if synchronised and last:
            self.finish(effects)
        return None

    def finish(self, effects: list[Effect]) -> None:
        """What is known now is all that there is to know."""
        if self.synchronised:
            return
        self.synchronised = True
        if self._timing:
            self._timing = False
            effects.append(CancelTimer(SYNCHRONISE))
        waiting, self._waiting = self._waiting, {}
        for node in waiting:
            self._tell(node, effects)

    def _tell(self, node: str, effects: list[Effect]) -> None:
        passed_on: dict[Any, list[int]] = {}
        # One to which no link is up here yet has been passed on nothing: what comes now is above these marks.
        for kept in self._log.since(self._since.get(node, self._log.sequence)):
            passed_on.setdefault(kept.root, []).append(kept.number)
        terms: list[tuple[Any, ...]] = []
        for state in self._roots:
            marks = state.marks
            missing = marks.missing
            if state.root in passed_on:
                others = [(number, number) for number in sorted(passed_on[state.root])]
                seen = without(without([(1, marks.high)], missing), others)
                missing = tuple(without([(1, marks.high)], seen))
            terms.append((*state.root, marks.high, missing))
        frames = [tuple(terms[at : at + _PER_FRAME]) for at in range(0, len(terms), _PER_FRAME)] or [()]
        for frame in frames:
            message = ("marks", self.synchronised, frame is frames[-1], frame)
            effects.append(SendBroadcast((node,), message, False))
