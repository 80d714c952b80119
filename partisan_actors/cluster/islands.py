"""Whether a node is on an island: a part of the overlay that no link joins to the rest, though everybody is a member.

Two parts of a cluster that know each other compare nothing, and each finds the other alive when it looks, by a dial. So
nothing says that broadcasts and news do not get across. What does: the *speaker*, the first by name of the members that
can be dialled, sends a *beacon* every other round. Whoever gets it passes it on over the links that are for everybody,
and who has no link to the speaker and gets none for `silent_after` is not among those whom it reaches, and joins it.

A beacon is no record, and nobody is told of an old one. Records are compared wherever two meet, and so get across where
broadcasts do not: nodes on an island that have a free slot each ask all others for a place, who have none, again and
again, over links that last for a moment and that neither overlay counts. What comes over those, and is news then to the
rest of the island, must not count either.

Where the speaker has a link to everybody, it sends none. Who has got one waits for a moment before it passes it on, and
leaves out those from whom it comes meanwhile: so it crosses most links one way only. Costs each node, in two rounds,
half as many small frames as it has such links, whatever the size of the cluster.

Not known here: which links those are, and how the parts are joined. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from partisan_actors.cluster.member_table import MemberTable
from partisan_actors.cluster.records import MAX_VERSION, Member
from partisan_actors.cluster.view_events import SendView
from partisan_actors.cluster.view_messages import Beacon
from partisan_actors.distribution.machine import SetTimer

__all__ = ["BEACON", "Islands"]

BEACON = ("beacon", "")
"""The key of the timer for one that is to be passed on."""

_SPEAKS_EVERY = 2  # rounds
_LONGEST = 0.2  # seconds until a beacon is passed on: more than most round trips take


class Islands:
    """One node's."""

    __slots__ = ("_bits", "_informed", "_number", "_own", "_rounds", "_since", "_speaker", "_table")

    def __init__(self, table: MemberTable) -> None:
        self._table = table
        self._speaker: str | None = None
        self._bits: int | None = None  # of the life of it that is listened to
        self._number = 0  # of its last beacon
        self._since = 0.0  # when that came, or there was a link to it
        self._informed: set[str] = set()  # who has that one already
        self._own = 0  # the number of this node's last beacon
        self._rounds = 0

    def appeared(self, node: str) -> None:
        """There is one more member."""
        if self._speaker is not None and node < self._speaker:
            self._speaker = None  # to be looked for

    def speak(self, everybody: Callable[[], Sequence[str]]) -> Iterable[SendView]:
        """Send a beacon, if it is this node that speaks, and in this round.

        Args:
            everybody: gives those whom what is for everybody goes to.
        """
        own = self._table.records.own
        self._rounds += 1
        silent = self._table.ups <= len(self._table.links) or self._rounds % _SPEAKS_EVERY
        if silent or self._find() != own.node:
            return ()
        self._own = min(self._own + 1, MAX_VERSION)
        return _send(tuple(everybody()), Beacon(own.node, own.bits, self._own))

    def heard(self, beacon: Beacon, source: str, now: float, random: Random) -> Iterable[SetTimer]:
        """Take in a beacon that came from `source`: it counts if it is of the speaker's life now."""
        own = self._table.records.own
        if beacon.node == own.node:
            if beacon.bits == own.bits:  # nobody else may count for this node
                self._own = max(self._own, beacon.number)
            return ()
        self._listen(now)
        if (beacon.node, beacon.bits) != (self._speaker, self._bits) or beacon.number < self._number:
            return ()
        if beacon.number == self._number:
            self._informed.add(source)
            return ()
        self._number, self._since = beacon.number, now
        self._informed = {source}
        return (SetTimer(BEACON, random.random() * _LONGEST),)

    def pass_on(self, everybody: Sequence[str]) -> Iterable[SendView]:
        """The moment is over in which the last one may have come from others of `everybody`, too."""
        if self._speaker is None or self._bits is None or not self._number:
            return ()  # another speaks by now, or another life of it
        missing = tuple(node for node in everybody if node not in self._informed)
        return _send(missing, Beacon(self._speaker, self._bits, self._number))

    def beyond(self, now: float, silent_after: float, *, stopped: bool) -> Member | None:
        """The speaker, if this node is not among those whom it reaches.

        Args:
            stopped: this node was, and what it should have heard may be waiting to be read.
        """
        record = self._listen(now)
        if record is None:  # it is this node, or nobody
            return None
        known = self._table.get(record.node)
        if stopped or (known is not None and known.linked is not None):
            self._since = now
        if now - self._since <= silent_after:
            return None
        self._since = now
        return record

    def _listen(self, now: float) -> Member | None:
        """Listen to whoever has to speak now; its record, if it is another node's."""
        speaker = self._find()
        record = None if speaker is None else self._table.records.get(speaker)
        if record is None or speaker == self._table.records.own.node:
            return None
        if record.bits != self._bits:
            self._bits, self._number, self._since = record.bits, 0, now
        return record

    def _find(self) -> str | None:
        if self._speaker is None or not self._may_speak(self._speaker):
            candidates = [name for name in self._table.members() if self._may_speak(name)]
            self._speaker = candidates[0] if candidates else None
            self._bits = None  # of none
        return self._speaker

    def _may_speak(self, name: str) -> bool:
        record = self._table.records.get(name)
        return record is not None and record.can_be_dialled and self._table.alive(name)


def _send(nodes: tuple[str, ...], beacon: Beacon) -> Iterable[SendView]:
    return (SendView(nodes, ("beacon", *beacon)),) if nodes else ()
