"""Whether a node is on an island: a part of the overlay that no link joins to the rest, though everybody is a member.

Two parts of a cluster that know each other compare nothing, and each finds the other alive when it looks, by a dial. So
nothing says that broadcasts and news do not get across. What does: the *speaker*, the first by name of the members that
can be dialled, writes its record anew every other round. That is news, which go to everybody whom links lead to. Who
has no link to the speaker and hears nothing new of it for `silent_after` is not among them, and joins it.

Where the speaker has a link to everybody, it says nothing. Costs each node one record in two rounds, whatever the size.

Not known here: how the record gets about, and how the parts are joined. Pure.
"""

from __future__ import annotations

from partisan_actors.cluster.member_table import MemberTable
from partisan_actors.cluster.records import Member

__all__ = ["Islands"]

_SPEAKS_EVERY = 2  # rounds


class Islands:
    """One node's."""

    __slots__ = ("_rounds", "_since", "_speaker", "_table", "_version")

    def __init__(self, table: MemberTable) -> None:
        self._table = table
        self._speaker: str | None = None
        self._version = 0  # of its record when it was looked at last
        self._since = 0.0  # when that was new, or there was a link to it
        self._rounds = 0

    def appeared(self, node: str) -> None:
        """There is one more member."""
        if self._speaker is not None and node < self._speaker:
            self._speaker = None  # to be looked for

    def speaks(self) -> bool:
        """Whether this node is to write its record anew, in this round."""
        own = self._table.records.own
        self._rounds += 1
        if self._table.ups <= len(self._table.links) or self._rounds % _SPEAKS_EVERY:
            return False
        return self._find() == own.node

    def beyond(self, now: float, silent_after: float, *, stopped: bool) -> Member | None:
        """The speaker, if this node is not among those whom it reaches.

        Args:
            stopped: this node was, and what it should have heard may be waiting to be read.
        """
        speaker = self._find()
        known = None if speaker is None else self._table.get(speaker)
        if known is None:  # it is this node, or nobody
            return None
        record = self._table.record_of(known)
        silent = known.linked is None and record.version == self._version and not stopped
        if silent and now - self._since <= silent_after:
            return None
        self._version, self._since = record.version, now
        return record if silent else None

    def _find(self) -> str | None:
        if self._speaker is None or not self._may_speak(self._speaker):
            candidates = [name for name in self._table.members() if self._may_speak(name)]
            self._speaker = candidates[0] if candidates else None
            self._version = -1  # of none
        return self._speaker

    def _may_speak(self, name: str) -> bool:
        record = self._table.records.get(name)
        return record is not None and record.dialable and bool(record.addresses) and self._table.alive(name)
