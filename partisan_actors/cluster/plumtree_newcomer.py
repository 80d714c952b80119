"""How a new node learns what was broadcast before it came, so that it gets what is broadcast from then on, and no more.

It asks its neighbours for their marks, with how long it has been a member, and takes for seen what they say was
broadcast before that, or rather `newcomer_overlap` before: the sender may have known this node already, though it knew
of nobody yet. All else is missing, whoever has it, or nobody any more. So it does not matter when the link came up, nor
what the neighbour was passed before, nor whether it came later itself: by when what was broadcast (`broadcast_births`)
is passed on from node to node. That is not exact for what is kept no more, so what comes and is older than it should be
is not delivered (`is_for`).

An age says too little, being without the time on the links, and who is asked takes this node to have come later by so
much. It may be long where a link is cut, or stopped. So who answers quotes the age that the node has by what it said.
If that is less than its age by then by more than the overlap, the answer is believed only where no better one is to be
had, and the node asks again. A peer that quotes nothing is believed.

A neighbour that is new itself says so, and tells again when it knows better. The next one is believed in its place.
Where `synchronise_timeout` has passed and all are new, they are asked again, over the links that there are by then. If
they still do not know, as when a cluster begins, those are believed who came no later. Where all have come later, and
nobody has told them either for `beyond_after` of that, a few members beyond the neighbours are asked, too: not sooner,
since a way to each has to be looked for, and in a storm of joins one in six has only younger ones about it for a
moment. When that has led to nothing for `synchronise_rounds` of the timeout, the others are believed.

Until then the numbers below what comes are no holes: nothing is asked for, given up or compared. Pure.

    ("synchronise", age)                             tell me your marks; age in milliseconds
    ("asked", age)                                   what follows is for one that is so old now, by what it said
    ("marks", synchronised, older, last, summaries)  these are they, in several frames: (node, bits, high, missing,
                                                     births); `older`: I came no later than you
"""

from __future__ import annotations

import math
from typing import Any

from partisan_actors.cluster.broadcast_events import Effect, PlumtreeParameters, Root, SendBeyond, SendBroadcast
from partisan_actors.cluster.broadcast_log import BroadcastLog
from partisan_actors.cluster.broadcast_marks import Ranges, without
from partisan_actors.cluster.broadcast_roots import Roots, RootState
from partisan_actors.cluster.broadcast_terms import MOST_AGE, read_age, read_marks
from partisan_actors.cluster.plumtree_beyond import Beyond
from partisan_actors.distribution.machine import CancelTimer, SetTimer

__all__ = ["SYNCHRONISE", "Newcomer"]

SYNCHRONISE = ("synchronise", "")
"""The key of its timer."""

_PER_FRAME = 500  # summaries

_LATE = 1.0  # seconds that an answer may take, if the overlap is less: or one from far away would never do

_Told = tuple[Root, int, Ranges, tuple[tuple[int, int], ...]]


class _Marks:
    """What a neighbour has told of its own."""

    __slots__ = ("complete", "late", "older", "summaries", "synchronised")

    def __init__(self, synchronised: bool, older: bool, late: bool) -> None:
        self.synchronised = synchronised
        self.older = older
        self.late = late  # it takes us to have come later than we did
        self.complete = False
        self.summaries: list[_Told] = []


class Newcomer:
    """Whether this node knows what was broadcast before it came, and what it does to know."""

    def __init__(
        self, own: Root, parameters: PlumtreeParameters, roots: Roots, log: BroadcastLog, beyond: Beyond
    ) -> None:
        self.synchronised = False
        self._own = own
        self._parameters = parameters
        self._roots = roots
        self._log = log
        self._beyond = beyond
        self._came: float | None = None  # when this node was no longer alone
        self._neighbours: dict[str, None] = {}  # in the order in which the links came up
        self._asked: dict[str, None] = {}  # members beyond them
        self._told: dict[str, _Marks] = {}  # by all of these
        self._questions: dict[str, int] = {}  # to all of these, and the age in the last one, in milliseconds
        self._quoted: dict[str, float] = {}  # our age by them, ahead of what they tell
        self._waiting: dict[str, float] = {}  # who wants to know what we do not know yet, and when they came
        self._timing = False
        self._rounds = 0  # in which nobody knew

    def came(self, now: float) -> None:
        """There is another member, or a neighbour: what is broadcast from now on is for this node."""
        if self._came is None:
            self._came = now

    def is_for(self, born: float) -> bool:
        """Whether what was broadcast at that time is for this node."""
        return self._came is None or born >= self._came - self._parameters.newcomer_overlap

    def neighbour_up(self, node: str, now: float, effects: list[Effect]) -> None:
        """A link is up."""
        self.came(now)
        self._neighbours[node] = None
        if not self.synchronised:
            self._ask((node,), now, effects)

    def neighbour_down(self, node: str, now: float, effects: list[Effect]) -> None:
        """It is down."""
        self._neighbours.pop(node, None)
        self._waiting.pop(node, None)
        self._quoted.pop(node, None)
        self._questions.pop(node, None)
        if self._told.pop(node, None) is not None or not self.synchronised:
            self._decide(now, effects)

    def left(self, effects: list[Effect]) -> None:
        """This node is to be new again."""
        self.synchronised = False
        self._came = None
        self._forget()
        self._stop_timer(effects)

    def asked(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """`node` wants to know; why that cannot be, if so."""
        age = read_age(message[1]) if len(message) == 2 else None
        if age is None:
            return "synchronise"
        if not self.synchronised:
            self._waiting[node] = now - age
        self._tell(node, now - age, now, effects)
        return None

    def quoted(self, node: str, message: tuple[Any, ...]) -> str | None:
        """`node` says how old it takes us to be; why that cannot be, if so."""
        age = read_age(message[1]) if len(message) == 2 else None
        if age is None:
            return "asked"
        if not self.synchronised and self._is_asked(node):
            self._quoted[node] = age
        return None

    def told(self, node: str, message: tuple[Any, ...], now: float, effects: list[Effect]) -> str | None:
        """`node` says what it knows; why that cannot be, if so."""
        match message:
            case (_, bool(synchronised), bool(older), bool(last), tuple(terms)) if len(terms) <= _PER_FRAME:
                summaries = [read_marks(term) for term in terms]
            case _:
                return "marks"
        if None in summaries:
            return "marks"
        if self.synchronised or not self._is_asked(node):
            return None
        marks = self._told.get(node)
        if marks is None or marks.complete:
            marks = self._told[node] = _Marks(synchronised, older, self._is_late(node, now, effects))
        if len(marks.summaries) < self._parameters.max_roots:
            marks.summaries += [summary for summary in summaries if summary is not None]
        marks.complete = last
        self._decide(now, effects)
        return None

    def time_is_up(self, now: float, effects: list[Effect]) -> None:
        """Believe what there is, or ask others."""
        if not self._timing:
            return  # it was stopped when this had fired
        self._timing = False
        told = [self._told[node] for node in (*self._neighbours, *self._asked) if node in self._told]
        older = [marks for marks in told if marks.older and not marks.late]
        self._rounds += bool(told)
        may_be_told = self._rounds <= 1 and self._beyond.any_but(self._neighbours)
        if (older and not may_be_told) or self._rounds >= self._parameters.synchronise_rounds:
            self._believe(older or told, now, effects)
        elif self._neighbours:
            self._ask(tuple(self._neighbours), now, effects)
            if not older and self._rounds >= self._parameters.beyond_after:
                self._ask_beyond(now, effects)

    def _ask_beyond(self, now: float, effects: list[Effect]) -> None:
        for node in self._beyond.next(self._parameters.beyond, self._neighbours):
            self._asked[node] = None
            effects.append(SendBeyond(node, self._question((node,), now)))

    def _is_asked(self, node: str) -> bool:
        return node in self._neighbours or node in self._asked

    def _age(self, now: float) -> float:
        assert self._came is not None  # there are neighbours
        return now - self._came

    def _question(self, nodes: tuple[str, ...], now: float) -> tuple[str, int]:
        age = math.ceil(self._age(now) * 1000)
        self._questions.update(dict.fromkeys(nodes, age))
        return ("synchronise", age)

    def _is_late(self, node: str, now: float, effects: list[Effect]) -> bool:
        """Whether what `node` begins to tell is by a question that waited for long; it is asked again, then."""
        quoted = self._quoted.pop(node, None)
        if quoted is None or self._age(now) - quoted <= max(self._parameters.newcomer_overlap, _LATE):
            return False
        if quoted * 1000 >= self._questions.get(node, 0):  # or a later question is under way
            question = self._question((node,), now)
            is_neighbour = node in self._neighbours
            effects.append(SendBroadcast((node,), question, False) if is_neighbour else SendBeyond(node, question))
        return True

    def _ask(self, nodes: tuple[str, ...], now: float, effects: list[Effect]) -> None:
        effects.append(SendBroadcast(nodes, self._question(nodes, now), False))
        if not self._timing:
            self._timing = True
            effects.append(SetTimer(SYNCHRONISE, self._parameters.synchronise_timeout))

    def _decide(self, now: float, effects: list[Effect]) -> None:
        """Believe the first one that has told all and is not new itself."""
        for node in (*self._neighbours, *self._asked) if not self.synchronised else ():
            marks = self._told.get(node)
            if marks is not None and marks.complete and marks.synchronised and not marks.late:
                self._believe([marks], now, effects)
                return

    def _believe(self, believed: list[_Marks], now: float, effects: list[Effect]) -> None:
        for marks in believed:
            for root, high, missing, births in marks.summaries:
                state = self._roots.make(root, now) if root != self._own else None
                if state is not None:
                    state.marks.take_over(high, missing, now)
                    state.births.take_over(births, now)
                    state.born(high, now)  # in case that they did not go so far
                    self._roots.changed(root)
        self._forget()
        self.synchronised = True
        self._stop_timer(effects)
        waiting, self._waiting = self._waiting, {}
        for node, came in waiting.items():
            self._tell(node, came, now, effects)

    def _forget(self) -> None:
        self._rounds = 0
        for kept in (self._told, self._asked, self._questions, self._quoted):
            kept.clear()

    def _stop_timer(self, effects: list[Effect]) -> None:
        if self._timing:
            self._timing = False
            effects.append(CancelTimer(SYNCHRONISE))

    def _tell(self, node: str, came: float, now: float, effects: list[Effect]) -> None:
        """Say what was broadcast before `node` came, as far as this node knows."""
        overlap = self._parameters.newcomer_overlap
        since = came - overlap
        theirs: dict[Root, list[int]] = {}
        for kept in self._log.born_since(since):
            theirs.setdefault(kept.root, []).append(kept.number)
        # Half of it is left for the question's time on the link, by which `came` is too late.
        older = self._came is None or self._came - overlap / 2 <= came
        terms: list[tuple[Any, ...]] = []
        for state in self._roots:
            others = [(number, number) for number in sorted(theirs.get(state.root, ()))]
            missing = self._missing(state, others, since) if self.synchronised else self._not_seen(state, others)
            terms.append((*state.root, state.marks.high, missing, state.births.told(now)))
        age = min(round((now - came) * 1000), MOST_AGE)
        effects.append(SendBroadcast((node,), ("asked", age), False))
        frames = [tuple(terms[at : at + _PER_FRAME]) for at in range(0, len(terms), _PER_FRAME)] or [()]
        for frame in frames:
            message = ("marks", self.synchronised, older, frame is frames[-1], frame)
            effects.append(SendBroadcast((node,), message, False))

    def _missing(self, state: RootState, theirs: Ranges, since: float) -> Ranges:
        """The numbers of a root that were broadcast since then, by all that is known, seen here or not."""
        high, before = state.marks.high, state.births.before(since)
        if before >= high:
            return ()
        kept = [(number, number) for number in self._log.numbers(state.root)]
        return tuple(without([(before + 1, high)], without(kept, theirs)))

    def _not_seen(self, state: RootState, theirs: Ranges) -> Ranges:
        """The numbers that this node, which is new, has not seen, or has and keeps for who asks."""
        everything = [(1, state.marks.high)]
        return tuple(without(everything, without(without(everything, state.marks.missing), theirs)))
