"""Every node that a cluster view knows: its record, and what this node makes of it.

Not known here: what changes it, and what follows. Pure.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from random import Random

from partisan_actors.cluster.records import Member, RecordLimits, Records, Status
from partisan_actors.cluster.suspicion import Suspicion

__all__ = ["Known", "MemberTable"]


class Known:
    """What this node makes of another one, of which it has a record."""

    __slots__ = ("excused_until", "gone_since", "linked", "node", "root", "said", "suspicion", "up")

    def __init__(self, node: str) -> None:
        self.node = node
        self.linked: int | None = None  # bits of the life that there is a link to
        self.root: int | None = None  # of the digests in its last hello over the link
        self.said = 0  # the version of its record that it said itself last, over the link
        self.up: int | None = None  # bits of the life of the last NodeUp, until its NodeDown
        self.gone_since: float | None = None  # when it was found down, or left
        self.suspicion: Suspicion | None = None
        self.excused_until = 0.0  # it refuted a suspicion of ours: it is alive, and we cannot reach it


class MemberTable:
    """All of them."""

    __slots__ = ("_known", "links", "records", "terms", "ups")

    def __init__(self, own: Member, limits: RecordLimits) -> None:
        self.records = Records(own, limits)
        self.terms: dict[str, tuple[object, ...]] = {}  # entries of live members, as they were told last
        self.links: list[str] = []  # those that there is a link to, sorted
        self.ups = 0  # how many others are up
        self._known: dict[str, Known] = {}  # one for each record but the own

    def __iter__(self) -> Iterator[Known]:
        return iter(list(self._known.values()))

    def __bool__(self) -> bool:
        return bool(self._known)

    def get(self, node: str) -> Known | None:
        """What is known of another node, if it has a record."""
        return self._known.get(node)

    def make(self, node: str) -> Known:
        """What is known of another node that has a record."""
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = Known(node)
        return known

    def record_of(self, known: Known) -> Member:
        """Its record."""
        record = self.records.get(known.node)
        assert record is not None  # the two tables have the same keys
        return record

    def gone_for(self, record: Member, now: float) -> float | None:
        """Since how many seconds its member is down or has left; None: it is up."""
        known = self._known.get(record.node)
        if record.status is Status.ALIVE or known is None or known.gone_since is None:
            return None
        return now - known.gone_since

    def members(self) -> list[str]:
        """The names of the members that are not known to be down, this node's included, sorted."""
        return sorted([self.records.own.node, *(known.node for known in self._known.values() if known.up is not None)])

    def alive(self, node: str, bits: int | None = None) -> bool:
        """Whether `node`, or this life of it, is a member that is not known to be down."""
        known = self._known.get(node)
        if known is None:
            own = self.records.own
            return node == own.node and bits in (None, own.bits)
        return known.up is not None and bits in (None, known.up)

    def some(self, most: int, random: Random) -> list[str]:
        """So many members other than this one, or fewer, by chance."""
        alive = [known.node for known in self._known.values() if known.up is not None]
        return random.sample(alive, min(most, len(alive)))

    def without_link(self) -> list[str]:
        """The members that there is no link to."""
        if self.ups <= len(self.links):
            return []
        return [known.node for known in self._known.values() if known.up is not None and known.linked is None]

    def behind(self, topology: int) -> bool:
        """Whether there is a member that does not run with that version of the topology yet."""
        known = (self.record_of(known) for known in self._known.values() if known.up is not None)
        return self.records.own.topology < topology or any(record.topology < topology for record in known)

    def link(self, known: Known, bits: int) -> None:
        """There is a link to that life."""
        if known.linked is None:
            insort(self.links, known.node)
        known.linked = bits
        known.root = None

    def as_informed_as(self, node: str) -> tuple[str, ...]:
        """Those that there is a link to and that knew the same as `node` at their last hello; it is one of them."""
        known = self._known.get(node)
        if known is None or known.root is None:
            return (node,)
        return tuple(link for link in self.links if self._known[link].root == known.root)

    def unlink(self, node: str, bits: int) -> bool:
        """There is none any more; whether there was one."""
        known = self._known.get(node)
        if known is None or known.linked != bits:
            return False
        known.linked = None
        self.links.remove(node)
        return True

    def forget(self, before: float) -> None:
        """Drop those that are gone since then."""
        if self.ups == len(self._known):
            return  # hot path: each node looks each round, and mostly all are there
        for known in self:
            if known.up is None and known.linked is None and (known.gone_since or 0.0) <= before:
                self.records.forget(known.node)
                del self._known[known.node]
                self.terms.pop(known.node, None)

    def clear(self) -> None:
        """Be alone."""
        self._known.clear()
        self.terms.clear()
        self.links.clear()
        self.ups = 0
        self.records.forget_all()
