"""Whom a node looks after without a link: one member each round, and now and then one of those that are down.

A member's neighbours are its failure detectors; where all of them died with it, this finds out (SWIM, section 3.1).
And one that is down may be on the other side of a partition, whatever was heard of it last: it is tried for as long as
it is remembered, by everybody, so that a heal is found within seconds however few are left on a side.

Not known here: how somebody is asked, and what the answer means. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from partisan_actors.cluster.records import Member, Records, Status
from partisan_actors.cluster.suspicion import LocalHealth
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

_MOST_ROUNDS = 4

_MOST_AT_ONCE = 256  # dials that a node of a large cluster has under way when it may be cut off


class Probing:
    """One node's."""

    __slots__ = (
        "_around",
        "_down",
        "_first",
        "_health",
        "_longest",
        "_more",
        "_pause",
        "_round_due",
        "_rounds",
        "_wrong",
    )

    def __init__(self, health: LocalHealth, first: float, longest: float) -> None:
        """Begin with nobody down.

        Args:
            health: the node's, which says whether its timers are late.
            first, longest: seconds between two tries of those that are down; the pause grows from the one to the other.
        """
        self._health = health
        self._first, self._longest = first, longest
        self._pause = first
        self._round_due: float | None = None
        self._rounds = 0
        self._wrong = 0  # how often it was lately, more or less
        self._down: list[str] = []  # looked through when it is used
        self._around: set[str] = set()  # those that are looked after at once, as others were found down
        self._more = 0  # how many next, if none of them answers

    def went_down(self, node: str, random: Random) -> SetTimer:
        """There is one more to be tried."""
        self._down.append(node)
        self._pause = self._first
        return self._next(random)

    def forget(self) -> None:
        """Try nobody any more."""
        self._down.clear()
        self._around.clear()
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
        return now - due if due is not None else 0.0

    def in_this_round(self, others: int) -> int:
        """How many are to be looked after: one; none in most rounds at a node that was often wrong, or in a large
        cluster of so many `others`, where more look than in a small one all the same, or at a node that is late."""
        self._rounds += 1
        rounds = _MOST_ROUNDS if self._health.is_late else min(1 + others // _FEWER_ABOVE, _MOST_ROUNDS)
        return int(self._rounds % (rounds << self._wrong) == 0)

    def was_wrong(self) -> None:
        """One that did not answer lives: there are members that this node cannot reach, and it asks in vain."""
        self._wrong = min(self._wrong + 2, _MOST_WRONG)

    def answered(self) -> None:
        """One did."""
        self._wrong = max(self._wrong - 1, 0)

    def rejoin(self, records: Records, random: Random) -> Sequence[Probe | SetTimer]:
        """The timer is due."""
        self._down = [node for node in dict.fromkeys(self._down) if _is_down(records.get(node))]
        if not self._down:
            return ()
        self._pause = min(self._pause * 1.5, self._longest)
        member = records.get(random.choice(self._down))
        # One that cannot be dialled, and has no link to anybody, has to come back by itself.
        return (*(self.probe(member) if member is not None and member.can_be_dialled else ()), self._next(random))

    def around(self, others: Sequence[str], most: int, random: Random) -> list[str]:
        """Choose whom to look after, as one that this node could not reach is down: so many, one time after another.

        They are twice as many each time as long as none of them answers. So who is cut off finds that of all others
        soon, and a node of a cluster in which many died asks a few and knows that it is not.
        """
        if self._around or not most:
            return []
        self._more = most
        return self._choose(others, random)

    def looked(self, node: str, answers: bool, others: Callable[[], Sequence[str]], random: Random) -> list[str]:
        """One of those that were looked after `answers`, or does not; whom to look after next."""
        if node not in self._around:
            return []
        self._around.discard(node)
        if answers:
            self._more = 0
        return self._choose(others(), random) if self._more and not self._around else []

    def _choose(self, others: Sequence[str], random: Random) -> list[str]:
        chosen = random.sample(others, min(self._more, len(others)))
        self._around.update(chosen)
        self._more = min(2 * self._more, _MOST_AT_ONCE)
        return chosen

    def probe(self, member: Member | None) -> Sequence[Probe]:
        """Look whether it answers; one that cannot be dialled is asked by others, to some of which it has links."""
        if member is None:
            return ()
        return (Probe(member.node, member.addresses if member.can_be_dialled else ()),)

    def _next(self, random: Random) -> SetTimer:
        # A node that has more to do than it can leaves for later what nobody waits for.
        return SetTimer(REJOIN, self._pause * random.uniform(0.75, 1.25) * (1 + self._health.score))


def _is_down(member: Member | None) -> bool:
    return member is not None and member.status is Status.DOWN
