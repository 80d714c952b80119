"""Whom a node looks after without a link: one member each round, and now and then one of those that are down.

A member's neighbours are its failure detectors; where all of them died with it, this finds out (SWIM, section 3.1).
And one that is down may be on the other side of a partition, whatever was heard of it last: it is tried for as long as
it is remembered, by everybody, so that a heal is found within seconds however few are left on a side.

Not known here: how somebody is asked, and what the answer means. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from partisan_actors.cluster.records import Member, Records, Status
from partisan_actors.cluster.view_events import Probe
from partisan_actors.distribution.machine import SetTimer

__all__ = ["REJOIN", "ROUND", "Probing"]

REJOIN = ("rejoin", "")
"""The key of the timer for those that are down."""

ROUND = ("round", "")
"""The key of the timer for all others."""

_MOST_WRONG = 6  # so one in 64 of the rounds that it would be at least

# A dial that only asks costs some 0.7 ms at both ends together: of what an idle node of a thousand took, a fifth.
_FEWER_ABOVE = 100

_BUSY = 0.1  # seconds by which timers are late at a node that has more to do than it can
_MOST_ROUNDS = 4


class Probing:
    """One node's."""

    __slots__ = ("_busy", "_down", "_first", "_longest", "_pause", "_rejoin_due", "_round_due", "_rounds", "_wrong")

    def __init__(self, first: float, longest: float) -> None:
        """Begin with nobody down.

        Args:
            first, longest: seconds between two tries of those that are down; the pause grows from the one to the other.
        """
        self._first, self._longest = first, longest
        self._pause = first
        self._busy = 0.0  # seconds by which timers were late, lately
        self._rejoin_due: float | None = None
        self._round_due: float | None = None
        self._rounds = 0
        self._wrong = 0  # how often it was lately, more or less
        self._down: list[str] = []  # looked through when it is used

    def went_down(self, node: str, now: float, random: Random) -> SetTimer:
        """There is one more to be tried."""
        self._down.append(node)
        self._pause = self._first
        return self._next(now, random)

    def forget(self) -> None:
        """Try nobody any more."""
        self._down.clear()
        self._round_due = None

    def set_round(self, interval: float, now: float, random: Random) -> Sequence[SetTimer]:
        """See that there is a next round, `interval` seconds from now, give or take a quarter."""
        if self._round_due is not None:
            return ()
        seconds = interval * random.uniform(0.75, 1.25)
        self._round_due = now + seconds
        return (SetTimer(ROUND, seconds),)

    def round_came(self, now: float) -> float:
        """It is here; by how many seconds it is late."""
        due, self._round_due = self._round_due, None
        return self._see_whether_late(due, now)

    def _see_whether_late(self, due: float | None, now: float) -> float:
        late = now - due if due is not None else 0.0
        self._busy = max(late, self._busy / 2)
        return late

    def in_this_round(self, others: int) -> int:
        """How many are to be looked after: one; none in most rounds at a node that was often wrong, or in a large
        cluster of so many `others`, where more look than in a small one all the same."""
        self._rounds += 1
        rounds = min(1 + others // _FEWER_ABOVE, _MOST_ROUNDS) << self._wrong
        return int(self._rounds % rounds == 0)

    def was_wrong(self) -> None:
        """One that did not answer lives: there are members that this node cannot reach, and it asks in vain."""
        self._wrong = min(self._wrong + 2, _MOST_WRONG)

    def answered(self) -> None:
        """One did."""
        self._wrong = max(self._wrong - 1, 0)

    def rejoin(self, records: Records, now: float, random: Random) -> Sequence[Probe | SetTimer]:
        """The timer is due."""
        self._see_whether_late(self._rejoin_due, now)
        self._down = [node for node in dict.fromkeys(self._down) if _is_down(records.get(node))]
        if not self._down:
            return ()
        self._pause = min(self._pause * 1.5, self._longest)
        member = records.get(random.choice(self._down))
        # One that cannot be dialled, and has no link to anybody, has to come back by itself.
        return (*(self.probe(member) if member is not None and member.can_be_dialled else ()), self._next(now, random))

    def probe(self, member: Member | None) -> Sequence[Probe]:
        """Look whether it answers; one that cannot be dialled is asked by others, to some of which it has links."""
        if member is None:
            return ()
        return (Probe(member.node, member.addresses if member.can_be_dialled else ()),)

    def _next(self, now: float, random: Random) -> SetTimer:
        # A node that has more to do than it can leaves for later what nobody waits for.
        seconds = self._pause * random.uniform(0.75, 1.25) * (1 + self._busy / _BUSY)
        self._rejoin_due = now + seconds
        return SetTimer(REJOIN, seconds)


def _is_down(member: Member | None) -> bool:
    return member is not None and member.status is Status.DOWN
