"""The cluster view: what a node knows of every node, and the only truth about who is in the cluster.

Two things, kept apart. The *records* (`records`) are what members say of themselves, and merge alike everywhere. The
*judgement* (`_Known`) is this node's own: whether it has a session with a member, and whether it has lost it. It is
not gossiped; NodeUp and NodeDown follow from both.

Promised:

- NodeUp comes with the session of a member that is not known to have left, NodeDown once for each NodeUp, and that of
  an earlier life before the NodeUp of the next;
- members that reach each other, if only through others, come to hold the same records: at once where sessions are
  whole, else within a few rounds of `digest_interval`;
- a member that was lost is remembered, and wanted, for `forget_after`; one that left is wanted no more;
- one that has no place left for a session with this node, or for which this node has none, is like one that cannot be
  reached: there is no NodeUp of it, and so no NodeDown, until there is a place on both sides. No session ends to make
  one, so nobody goes up and down for want of it;
- a change costs a node a bounded number of messages, but for the few next to it, who tell everybody, once. Nothing of
  the cluster's size is sent while nothing changes.

On the system channel, as plain tuples; for an entry see `_entry`:

    ("hello", entry, digest)   at a session's start, from both sides, and each round to one member: the own record,
                               and 64 bits over the records of all live members
    ("view", entries)          the answer to each hello: everything if the digests differ, else nothing
    ("news", entries)          what has changed

What a hello or a view teaches comes from a newcomer or another part of the cluster: everybody is told. What news
teach was told to everybody already, by somebody who may not reach all: it goes on to the next `relay_fanout` members
round the ring of names, which reaches all without luck. Holes that are left close by digest.

A newcomer dials all that it hears of at once; the others leave it `connect_delay_min` to `connect_delay_max` for that,
so that two rarely dial each other at the same moment.

Expected of the driver: for each name, SessionStarted before what its session brings, and PeerLost after; each Connect
is followed by SessionStarted or Unreachable. Connect and Forget are what a full mesh wants; under another overlay the
driver asks that one. Not known: sockets, dialling, how a silent peer is found out. Pure.

Its events and effects are in `view_events`.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from partisan_actors.cluster.records import (
    MalformedRecord,
    Member,
    RecordLimits,
    Records,
    Status,
    member_from_term,
)
from partisan_actors.cluster.view_events import (
    LEAVE,
    Connect,
    Effect,
    Event,
    Forget,
    Join,
    Leave,
    NameConflict,
    NodeDown,
    NodeUp,
    PeerLost,
    Refused,
    SendView,
    SessionStarted,
    Synchronised,
    Unreachable,
    ViewReceived,
)
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = ["Membership", "MembershipParameters"]

_NEWER_LIFE = "newer life"
_ROUND = ("round", "")


@dataclass(frozen=True, slots=True)
class MembershipParameters:
    """Times are seconds. Raises ValueError, naming the relation that does not hold."""

    connect_delay_min: float = 0.1
    """How long a newcomer is left to dial us, at least: its handshakes with everybody take about that."""

    connect_delay_max: float = 0.3
    """And at most; drawn anew for each member."""

    digest_interval: float = 10.0
    """From one comparison with a member to the next, give or take a quarter."""

    forget_after: float = 86_400.0
    """How long a lost member is remembered and dialled, and that one has left."""

    relay_fanout: int = 2
    """To how many members news go on: two, so that one that is about to die holds nothing up."""

    limits: RecordLimits = field(default_factory=RecordLimits)

    def __post_init__(self) -> None:
        relations = {
            "0 <= connect_delay_min <= connect_delay_max": 0 <= self.connect_delay_min <= self.connect_delay_max,
            "connect_delay_max < digest_interval": self.connect_delay_max < self.digest_interval,
            "digest_interval < forget_after": self.digest_interval < self.forget_after,
            "1 <= relay_fanout": self.relay_fanout >= 1,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"membership parameters: {relation} does not hold")


class _Known:
    """What this node makes of another one, of which it has a record."""

    __slots__ = ("delayed", "lost_since", "node", "session", "up", "wanted")

    def __init__(self, node: str, lost_since: float | None) -> None:
        self.node = node
        self.lost_since = lost_since  # when it was found down, or left; None: up, or not known so far
        self.session: int | None = None  # bits of the life that there is a session with
        self.up: int | None = None  # bits of the life of the last NodeUp, until its NodeDown
        self.wanted: tuple[str, ...] | None = None  # the addresses of the last Connect, until a Forget
        self.delayed = False  # whether the first Connect waits for a timer


class Membership:
    """The view of one life of one node; see the module.

    Args:
        addresses: where others can dial this node; none if they cannot.
    """

    def __init__(
        self,
        node: str,
        epoch: int,
        bits: int,
        addresses: Sequence[str],
        parameters: MembershipParameters | None = None,
    ) -> None:
        self.parameters = parameters if parameters is not None else MembershipParameters()
        self.left = False  # from Leave to Join
        self.refused: dict[str, int] = {}  # what was not taken in, by reason
        own = Member(node, epoch, bits, tuple(addresses), bool(addresses), 1, Status.ALIVE)
        self._records = Records(own, self.parameters.limits)
        self._known: dict[str, _Known] = {}  # one for each record but the own
        self._sessions: list[str] = []  # the names of those with a session, sorted
        self._conflict = own.life  # the latest life of the own name
        self._now = 0.0
        self._random: Random
        self._effects: list[Effect]

    # What others ask

    def members(self) -> list[str]:
        """The names of the members that are not known to be down, this node's included, sorted."""
        return sorted([self._records.own.node, *filter(self.alive, self._known)])

    def alive(self, node: str) -> bool:
        """Whether `node` is a member that is not known to be down."""
        known = self._known.get(node)
        if known is None:
            return node == self._records.own.node
        return known.lost_since is None

    def undecided(self) -> list[str]:
        """The members that were heard of and so far neither reached nor given up, sorted."""
        return sorted(node for node in self._known if self.alive(node) and self._known[node].session is None)

    def record(self, node: str) -> Member | None:
        """What `node` last said of itself, down or not."""
        return self._records.get(node)

    def records(self) -> list[Member]:
        """All of them, sorted by name."""
        return sorted(self._records.all())

    @property
    def changes(self) -> tuple[int, int]:
        """How many lives of other nodes became members so far, and how many left by their own will."""
        return self._records.joins, self._records.leaves

    def life_known(self, node: str) -> int:
        """The epoch of the latest life of `node` that was heard of; 0 for none."""
        record = self._records.get(node)
        return record.epoch if record is not None else 0

    def step(self, event: Event, now: float, random: Random) -> list[Effect]:
        """Take one event in; what is to be done, in order. `now` in seconds, monotonic."""
        self._now, self._random = now, random
        effects = self._effects = []
        match event:
            case ViewReceived(node, payload):
                self._received(node, payload)
            case SessionStarted():
                self._session_started(event)
            case PeerLost(node, bits, reason):
                self._peer_lost(node, bits, reason)
            case Unreachable(node):
                self._unreachable(node)
            case TimerFired(key):
                self._timer_fired(key)
            case Leave():
                self._leave()
            case Join() if self.left:
                self.left = False
                self._records.write(Status.ALIVE, self._records.own.version + 1)
        return effects

    # Sessions

    def _session_started(self, event: SessionStarted) -> None:
        node = event.node
        if self.left:
            # A former member that has not heard of our leave. It takes a Join to let anybody in.
            self._send([node], "news", [self._records.own])
            self._effects.append(Forget(node))
            return
        addresses = tuple(event.addresses)[: self.parameters.limits.max_addresses]
        try:
            # Of version 0, below all that it says itself: its hello follows.
            self._learn(Member(node, event.epoch, event.bits, addresses, bool(addresses), 0, Status.ALIVE))
        except MalformedRecord as fault:
            self._refuse(node, [str(fault)])
            self._effects.append(Forget(node))
            return
        known = self._known[node]
        if self._record_of(known).bits != event.bits:
            # The news of a later life were faster than the end of this one.
            known.wanted = None
            self._effects.append(Forget(node))
            self._settle(known, _NEWER_LIFE, at_once=True)
            return
        if known.session is None:
            insort(self._sessions, node)
            if len(self._sessions) == 1:
                self._set_round()
        known.session = event.bits
        # Before NodeUp: what others send on that is then behind our record, for which the peer may have to wait, to
        # know that we are back, if we have left before.
        self._hello(node)
        if self._record_of(known).status is Status.ALIVE:
            self._settle(known, _NEWER_LIFE, at_once=True)

    def _peer_lost(self, node: str, bits: int, reason: str) -> None:
        known = self._known.get(node)
        if known is None or known.session != bits:
            return
        self._close(known)
        record = self._record_of(known)
        if record.status is Status.ALIVE:
            known.lost_since = self._now
            if reason == LEAVE:
                # Its own news of that may not have got through. If this is wrong, it will refute it.
                self._records.merge(record._replace(status=Status.LEFT))
                self._pass_on("news", node, [known])
        self._settle(known, reason, at_once=True)

    def _unreachable(self, node: str) -> None:
        known = self._known.get(node)
        if known is not None and known.session is None and known.lost_since is None:
            known.lost_since = self._now

    # Records

    def _received(self, node: str, payload: object) -> None:
        known = self._known.get(node)
        if known is None or known.session is None:
            if not self.left:
                self._refuse(node, ["no session"])
            return
        limit = self.parameters.limits.max_members
        match payload if isinstance(payload, tuple) else None:
            case ("hello", tuple(entry), int(digest)) if entry[:1] == (node,):
                self._take(node, "hello", (entry,))
                self._send([node], "view", self._records.all() if digest != self._records.digest else [])
                if self._record_of(known).status is Status.LEFT:
                    # It does not say that it is back, and has now been told that it left.
                    self._settle(known, LEAVE, at_once=True)
            case ("view", tuple(entries)) if len(entries) <= limit:
                self._take(node, "view", entries)
                self._effects.append(Synchronised(node))
            case ("news", tuple(entries)) if len(entries) <= limit:
                self._take(node, "news", entries)
            case _:
                self._refuse(node, ["payload"])

    def _take(self, source: str, kind: str, entries: tuple[object, ...]) -> None:
        """Merge what `source` sent. An entry that is not right costs that entry only."""
        newcomer = self._sessions == [source]  # all that we know is from there
        version = self._records.own.version
        learned: list[_Known] = []
        seen: set[str] = set()
        faults: list[str] = []
        for entry in entries:
            try:
                member, down_for = self._from_entry(entry)
                if member.node in seen:
                    raise MalformedRecord("duplicate")
                seen.add(member.node)
                known = self._learn(member, down_for)
            except MalformedRecord as fault:
                faults.append(str(fault))
                continue
            if known is not None:
                learned.append(known)
        self._refuse(source, faults)
        for known in learned:
            self._settle(known, _NEWER_LIFE, at_once=newcomer)
        self._pass_on(kind, source, learned)
        if self._records.own.version != version:
            self._send(self._sessions, "news", [self._records.own])

    def _learn(self, member: Member, down_for: int = -1) -> _Known | None:
        """Merge one record; what is known of its node, or None if it was no news. Raises MalformedRecord."""
        node = member.node
        own = self._records.own
        if node == own.node:
            if member.life > self._conflict:
                self._conflict = member.life
                self._effects.append(NameConflict(member))
            self._records.refute(member)
            return None
        before = self._records.get(node)
        if before is None and down_for >= self.parameters.forget_after:
            return None
        if not self._records.merge(member):
            return None
        known = self._known.get(node)
        since = self._now - down_for if down_for >= 0 else None
        if before is None or known is None:
            known = self._known[node] = _Known(node, since)
        elif member.status is Status.LEFT:
            known.lost_since = self._now if since is None else since
        elif member.life != before.life or before.status is Status.LEFT:
            known.lost_since = None
        return known

    def _record_of(self, known: _Known) -> Member:
        record = self._records.get(known.node)
        assert record is not None  # the two tables have the same keys
        return record

    def _pass_on(self, kind: str, source: str, learned: list[_Known]) -> None:
        others = [node for node in self._sessions if node != source]
        if kind == "news":
            start = bisect_right(others, self._records.own.node)
            others = (others[start:] + others[:start])[: self.parameters.relay_fanout]
        if learned:
            self._send(others, "news", map(self._record_of, learned))

    def _hello(self, node: str) -> None:
        self._effects.append(SendView((node,), ("hello", self._entry(self._records.own), self._records.digest)))

    def _send(self, nodes: Sequence[str], kind: str, records: Iterable[Member]) -> None:
        if nodes:
            self._effects.append(SendView(tuple(nodes), (kind, tuple(map(self._entry, records)))))

    def _entry(self, record: Member) -> tuple[object, ...]:
        """The term of a record, and after it since how many seconds its member is down or gone for us; -1: it is not.

        That is what those begin with who never heard of it. Without it a newcomer would count in all who died today,
        and the memory of the dead would be young again with everybody who is told of them.
        """
        known = self._known.get(record.node)
        if known is None or known.lost_since is None:
            return (*record.to_term(), -1)
        return (*record.to_term(), max(0, int(self._now - known.lost_since)))

    def _from_entry(self, entry: object) -> tuple[Member, int]:
        if not isinstance(entry, tuple) or not entry:
            raise MalformedRecord("shape")
        down_for = entry[-1]
        if type(down_for) is not int or down_for < -1:
            raise MalformedRecord("down for")
        return member_from_term(entry[:-1], self.parameters.limits), down_for

    def _refuse(self, node: str, faults: list[str]) -> None:
        for fault in faults:
            self.refused[fault] = self.refused.get(fault, 0) + 1
        if faults:
            self._effects.append(Refused(node, faults[0], len(faults)))

    # Judgement

    def _settle(self, known: _Known, reason: str, *, at_once: bool) -> None:
        """Tell what follows from a member's record and session, and see that it is dialled, or is not."""
        record = self._record_of(known)
        if known.session not in (None, record.bits):
            # A later life was heard of before the end of this one was seen.
            self._down(known, reason)
            self._drop(known)
        alive = record.status is Status.ALIVE
        here = alive and known.session is not None
        if not here or known.up != record.bits:
            self._down(known, reason if alive else LEAVE)
        if here and known.up is None:
            known.up = record.bits
            known.lost_since = None
            self._effects.append(NodeUp(known.node, record.epoch, record.bits))
        if not alive:
            self._drop(known)
        elif here or at_once or known.wanted is not None:
            self._want(known)
        elif not known.delayed:
            known.delayed = True
            delay = self._random.uniform(self.parameters.connect_delay_min, self.parameters.connect_delay_max)
            self._effects.append(SetTimer(("connect", known.node), delay))

    def _down(self, known: _Known, reason: str) -> None:
        if known.up is not None:
            self._effects.append(NodeDown(known.node, known.up, reason))
            known.up = None

    def _want(self, known: _Known) -> None:
        self._stop_delay(known)
        record = self._record_of(known)
        addresses = record.addresses if record.dialable else ()
        if known.wanted != addresses:
            known.wanted = addresses
            self._effects.append(Connect(known.node, addresses))

    def _drop(self, known: _Known) -> None:
        self._stop_delay(known)
        if known.wanted is not None or known.session is not None:
            known.wanted = None
            self._close(known)
            self._effects.append(Forget(known.node))

    def _close(self, known: _Known) -> None:
        if known.session is not None:
            known.session = None
            self._sessions.remove(known.node)

    def _stop_delay(self, known: _Known) -> None:
        if known.delayed:
            known.delayed = False
            self._effects.append(CancelTimer(("connect", known.node)))

    # Time, and the own will

    def _timer_fired(self, key: object) -> None:
        match key:
            case ("round", _):
                self._round()
            case ("connect", str(node)) if node in self._known and self._known[node].delayed:
                self._known[node].delayed = False
                self._want(self._known[node])

    def _round(self) -> None:
        horizon = self._now - self.parameters.forget_after
        for node, known in list(self._known.items()):
            if known.session is None and known.lost_since is not None and known.lost_since <= horizon:
                self._drop(known)
                self._records.forget(node)
                del self._known[node]
        if self._sessions:
            self._hello(self._random.choice(self._sessions))
        if self._known:
            self._set_round()

    def _set_round(self) -> None:
        self._effects.append(SetTimer(_ROUND, self.parameters.digest_interval * self._random.uniform(0.75, 1.25)))

    def _leave(self) -> None:
        if self.left:
            return
        self.left = True
        self._records.write(Status.LEFT, self._records.own.version)
        self._send(self._sessions, "news", [self._records.own])
        for _, known in sorted(self._known.items()):
            self._down(known, LEAVE)
            self._drop(known)
        self._known.clear()
        self._records.forget_all()
        self._effects.append(CancelTimer(_ROUND))
