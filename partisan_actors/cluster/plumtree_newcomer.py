"""How a new node learns what was broadcast before it came, so that it gets what is broadcast from then on, and no more.

It asks its neighbours for their marks, and takes what one of them has seen for seen by itself: the first that it got a
link to, since it has been a member since about then. What came to that one after the link was up is left out: it is
passed on, and was perhaps broadcast by somebody who knew this node already. A neighbour that is new itself says so, the
next one is believed in its place, and it tells again when it knows better. Where all are new, as when a cluster begins,
or the first does not answer, `synchronise_timeout` decides.

Until then the numbers below what comes are no holes: nothing is asked for, given up or compared. Pure.

    ("synchronise",)                          tell me your marks
    ("marks", synchronised, last, summaries)  these are they, in several frames
"""

from __future__ import annotations

from typing import Any

from partisan_actors.cluster.broadcast_events import Effect, PlumtreeParameters, Root, SendBroadcast
from partisan_actors.cluster.broadcast_log import BroadcastLog
from partisan_actors.cluster.broadcast_marks import Ranges, without
from partisan_actors.cluster.broadcast_roots import Roots
from partisan_actors.cluster.broadcast_terms import read_summary
from partisan_actors.distribution.machine import CancelTimer, SetTimer

__all__ = ["SYNCHRONISE", "Newcomer"]

SYNCHRONISE = ("synchronise", "")
"""The key of its timer."""

_PER_FRAME = 500  # summaries


class _Marks:
    """What a neighbour has told of its own."""

    __slots__ = ("complete", "summaries", "synchronised")

    def __init__(self, synchronised: bool) -> None:
        self.synchronised = synchronised
        self.complete = False
        self.summaries: list[tuple[Root, int, Ranges]] = []


class Newcomer:
    """Whether this node knows what was broadcast before it came, and what it does to know."""

    def __init__(self, own: Root, parameters: PlumtreeParameters, roots: Roots, log: BroadcastLog) -> None:
        self.synchronised = False
        self._own = own
        self._parameters = parameters
        self._roots = roots
        self._log = log
        # By neighbour, in the order in which the links came up: the last that came before.
        self._since: dict[str, int] = {}
        self._told: dict[str, _Marks] = {}  # by neighbours
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

    def neighbour_down(self, node: str, now: float, effects: list[Effect]) -> None:
        """It is down."""
        self._since.pop(node, None)
        self._waiting.pop(node, None)
        if self._told.pop(node, None) is not None or not self.synchronised:
            self._decide(now, effects)

    def left(self, effects: list[Effect]) -> None:
        """This node is to be new again."""
        self.synchronised = False
        self._told.clear()
        self._stop_timer(effects)

    def asked(self, node: str, effects: list[Effect]) -> None:
        """`node` wants to know."""
        if not self.synchronised and node in self._since:
            self._waiting[node] = None
        self._tell(node, effects)

    def told(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """`node` says what it knows; why that cannot be, if so."""
        match message:
            case (_, bool(synchronised), bool(last), tuple(terms)) if len(terms) <= _PER_FRAME:
                summaries = [read_summary(term) for term in terms]
            case _:
                return "marks"
        if None in summaries:
            return "marks"
        if self.synchronised or node not in self._since:
            return None
        marks = self._told.get(node)
        if marks is None or marks.complete:
            marks = self._told[node] = _Marks(synchronised)
        if len(marks.summaries) < self._parameters.max_roots:
            marks.summaries += [summary for summary in summaries if summary is not None]
        marks.complete = last
        self._decide(now, effects)
        return None

    def time_is_up(self, now: float, effects: list[Effect]) -> None:
        """Believe what there is."""
        self._timing = False
        told = [self._told[node] for node in self._since if node in self._told]
        known = [marks for marks in told if marks.synchronised and marks.complete]
        self._believe(known[:1] or told, now, effects)

    def _decide(self, now: float, effects: list[Effect]) -> None:
        """Believe the neighbour that this node has had longest, if it is not new itself."""
        if self.synchronised:
            return
        for node in self._since:
            marks = self._told.get(node)
            if marks is None or not marks.complete:
                return
            if marks.synchronised:
                self._believe([marks], now, effects)
                return

    def _believe(self, believed: list[_Marks], now: float, effects: list[Effect]) -> None:
        for marks in believed:
            for root, high, missing in marks.summaries:
                state = self._roots.make(root, now) if root != self._own else None
                if state is not None:
                    state.marks.take_over(high, missing, now)
                    self._roots.changed(root)
        self._told.clear()
        self.synchronised = True
        self._stop_timer(effects)
        waiting, self._waiting = self._waiting, {}
        for node in waiting:
            self._tell(node, effects)

    def _stop_timer(self, effects: list[Effect]) -> None:
        if self._timing:
            self._timing = False
            effects.append(CancelTimer(SYNCHRONISE))

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
