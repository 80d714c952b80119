"""Causal order of one label at one node: what is sent gets a stamp, what arrives waits for what it depends on.

Promised: of two messages of the label for this node, one of which happened before the other (sends and deliveries of
the label at the nodes; a node is the unit), the earlier one is delivered first, or never. Each is delivered once.
Nothing waits for ever: not for a message that was given up, nor for a dead node. What waits is bounded; beyond the
bound the newest is refused, not taken, so the sender's outbox has it still.

**Dependencies** are Kshemkalyani and Singhal's, whose rules are in `causal_log`. A message is delivered when
everything in its stamp that was for this node is (their delivery condition). Between two incarnations there is a
*channel*, numbered from 1 for each receiver: it tells what is here twice and what is missing before it.

**Given up.** A message that its sender gives up is followed by its stamp alone (GONE): delivered in its turn, like a
message without content. So who depends on it still waits for what it depended on.

**Deaths.** A node goes through *incarnations*: another with each life, and with each time that it learns that others
took it for dead. A death is final for an incarnation, and spreads: who learns of one takes nothing from it any more,
drops it from its log and sends FLUSH on every channel. A message that died with its sender can hide dependencies (a
message from somebody else, which the second propagation constraint left out since it would carry it), so what waited
for it cannot just go. Each node waits until every live member's flush for every unsettled death is here, with all
that was sent before it; that is the cut. It then delivers what is buffered of the cut, in the order of Lamport's
clocks, which every stamp carries. The deaths are settled. Only then does it deliver what came after a flush.

*Safe.* No deaths: the paper's proof (theorem 3), where GONE is a message. With deaths: let u happen before m, both
for d, m delivered. If no message between them is lost, the paper's proof holds for them. Otherwise, if m was sent
after its sender learned of the death, it comes after a flush, waits for the settlement, and u, if here, went before:
in the cut, or in its turn. If m was sent before, it is in the cut, and so is u: had u's sender flushed before u, then
whoever delivered u, or what followed from it, had that flush before (it comes first on each channel), so m's sender
had. Everything in the cut that will ever arrive has arrived, and Lamport's clock of u is lower than that of m.
The log may forget a dead member at once, as a sender as well as a destination: whoever would need the entry comes
after a flush. What an old stamp brings of the dead is dropped when it is merged.

*Live.* Of what is for d and not delivered the causally first is deliverable when it arrives, and then it is never
refused, whatever is buffered; so retries bring everything in. A settlement waits for live members only: one that dies
meanwhile is waited for no more, and its death becomes part of the same settlement. While one is under way messages of
the cut are taken beyond the bound: no more than was on its way when the member died.

A node that was taken for dead and is not learns it by NOTICE, or by a flush. It can get nothing more in its old
incarnation, so what it has buffered is all of a cut: it delivers that, and goes on as the next incarnation, with its
log. What it had under way is undelivered.

Expected of the driver: `Tell` is delivered to that life, in any order, again and again until it is taken (with the
outbox of acknowledged delivery, but without its time limit); `up` and `down` are the cluster view's words; nobody
stays in `hearsay` for ever. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from partisan_actors.distribution.causal_channels import ArrivalChannel, Buffered, DepartureChannel, Flush
from partisan_actors.distribution.causal_events import (
    Abandon,
    CausalParameters,
    Deliver,
    Effect,
    Outcome,
    Sent,
    Tell,
)
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.causal_log import DependencyLog
from partisan_actors.distribution.causal_stamps import (
    FLUSH,
    GONE,
    MESSAGE,
    NOTICE,
    OPEN,
    SEEN,
    BadStamp,
    Key,
    Stamp,
    decode,
    encode_set,
    same_life,
)

__all__ = ["Abandon", "CausalOrder", "CausalParameters", "Deliver", "Effect", "Outcome", "Sent", "Tell"]


class CausalOrder:
    """The machine of one label, as one life of one node has it; see the module.

    Args:
        label: with this node among its members.
        node: this node's name.
        incarnation: `incarnation_of` its life.
        parameters: the bounds.
    """

    def __init__(
        self, label: CausalLabel, node: str, incarnation: int, parameters: CausalParameters | None = None
    ) -> None:
        self.label = label
        self.parameters = parameters if parameters is not None else CausalParameters()
        self.incarnation = incarnation
        self.buffered = 0
        self.buffered_bytes = 0
        self.refused = 0  # for want of room
        self._names = label.members
        self._places = {name: place for place, name in enumerate(label.members)}
        self._here = self._places[node]
        self._bit = 1 << self._here
        self._log = DependencyLog()
        self._clock = 0  # messages sent
        self._lamport = 0
        self._reachable: dict[int, int] = {}  # the first incarnation of the life that is up, as the cluster view says
        self._live: dict[int, int] = {}  # incarnations that exist, as far as is known
        self._dead: dict[int, int] = {}  # that one and all before it
        self._settled: dict[int, int] = {}  # the same, once nobody here waits for it
        self._pending: dict[int, int] = {}  # of `_dead` what is not settled
        self._departures: dict[int, DepartureChannel] = {}
        self._arrivals: dict[Key, ArrivalChannel] = {}
        self._waiting: dict[Key, dict[Key, None]] = {}  # channels whose turn waits for that sender
        self._ready: list[Key] = []  # channels to look at
        self._effects: list[Effect] = []

    # What the node asks

    def check(self, destinations: Iterable[str]) -> None:
        """Raises ValueError for one that is no member of the label."""
        for name in destinations:
            if name not in self._places:
                raise ValueError(
                    f"causal label {self.label.name!r} has no member {name!r}; send to one of "
                    f"{', '.join(self._names[:5])}{', ...' if len(self._names) > 5 else ''}, or without this label"
                )

    def send(self, destinations: Iterable[str]) -> Sent:
        """Put a message of this node into the order. All members: `label.members`.

        Raises: ValueError for a destination that is no member of the label; nothing is sent then.
        """
        names = list(dict.fromkeys(destinations))
        self.check(names)
        places = [self._places[name] for name in names]
        goes_to = [place for place in places if place in self._departures]
        unreachable = [self._names[p] for p in places if p != self._here and p not in self._departures]
        here = self._here in places
        if not goes_to:
            return Sent([], here, unreachable)
        self._clock += 1
        self._lamport += 1
        destination_set = sum(1 << place for place in goes_to)
        packed = encode_set(destination_set)
        bits = [1 << place for place in goes_to]
        logs = self._log.sending((self._here, self.incarnation), self._clock, destination_set, bits)
        stamps: list[tuple[str, tuple[Any, ...]]] = []
        for place, fields in zip(goes_to, logs, strict=True):
            channel = self._departures[place]
            channel.number += 1
            head = (MESSAGE, self.incarnation, channel.incarnation, channel.number, self._clock, self._lamport, packed)
            stamps.append((self._names[place], (*head, *fields)))
        return Sent(stamps, here, unreachable)

    def gave_up(self, destination: str, stamp: tuple[Any, ...]) -> list[Effect]:
        """The message with that stamp will not be sent again: what is to be done so that nobody waits for it."""
        departures = self._departures.get(self._places[destination])
        if departures is None or stamp[0] != MESSAGE or stamp[1:3] != (self.incarnation, departures.incarnation):
            # To or from a life that is over: its death tells.
            return []
        return [Tell(destination, (GONE, *stamp[1:]))]

    def receive(self, sender: str, item: Any, message: Any = None, size: int = 0, life: int | None = None) -> Outcome:
        """Take in what another member's machine made: a stamp, with its message and the size of that, or a Tell.

        `life`: `incarnation_of` that of the sender's lives which sent it, where it is known.
        Raises: BadStamp, and then nothing has changed; ValueError for a sender that is no member.
        """
        self.check((sender,))
        place = self._places[sender]
        stamp = decode(item, len(self._names), place, self._here)
        self._refuse_the_impossible(stamp)
        if life is not None and not same_life(stamp.incarnation, life):
            # Each would be kept as one that was met, and is dead.
            raise BadStamp("it is of another life than that which sent it")
        self._effects = []
        taken = self._received(place, stamp, message, size)
        self._run()
        return Outcome(taken, self._effects)

    def up(self, member: str, incarnation: int) -> list[Effect]:
        """A life of a member is up, says the cluster view; of a node that is no member, nothing happens.

        Args:
            member: the node.
            incarnation: `incarnation_of` that life.
        """
        place = self._places.get(member)
        if place is None or place == self._here:
            return []
        self._effects = []
        self._reachable[place] = incarnation
        self._meet(place, incarnation)
        if place not in self._live:
            # It was taken for dead here, or by somebody who told us; it has to come back as another incarnation.
            self._notice(place)
        self._open(place)
        self._run()
        return self._effects

    def down(self, member: str, incarnation: int) -> list[Effect]:
        """That life of the member is not up any more; the arguments are those of `up`."""
        place = self._places.get(member)
        if place is None or place == self._here:
            return []
        self._effects = []
        reachable = self._reachable.get(place)
        if reachable is not None and same_life(reachable, incarnation):
            del self._reachable[place]
        live = self._live.get(place, 0)
        self._bury(place, live if same_life(live, incarnation) else incarnation)
        self._run()
        return self._effects

    def report(self) -> list[Effect]:
        """Tell the others what was delivered here, so that their logs forget it: for when a label has been quiet."""
        effects: list[Effect] = []
        delivered = {channel.key: channel.delivered for channel in self._arrivals.values() if channel.delivered}
        for place, departures in self._departures.items():
            news = {key: clock for key, clock in delivered.items() if departures.seen.get(key) != clock}
            if news:
                departures.seen.update(news)
                fields = [field for key, clock in news.items() for field in (*key, clock)]
                head = (SEEN, self.incarnation, departures.incarnation)
                effects.append(Tell(self._names[place], (*head, *fields)))
        return effects

    def hearsay(self) -> list[tuple[str, int]]:
        """Members, with their incarnations, that stamps tell of and the cluster view has not: who dies too soon.

        A settlement waits for them. The driver says `down` of one that is still here after its time limit; if it is
        alive after all, it comes back as another incarnation, which costs what was under way to it, not the order.
        """
        return [
            (self._names[place], incarnation)
            for place, incarnation in sorted(self._live.items())
            if not same_life(incarnation, self._reachable.get(place, 0))
        ]

    @property
    def dependencies(self) -> int:
        """How many entries with destinations the log has."""
        return len(self._log)

    @property
    def unsettled(self) -> list[str]:
        """Members whose death is not agreed on yet."""
        return [self._names[place] for place in sorted(self._pending)]

    # What comes in

    def _refuse_the_impossible(self, stamp: Stamp) -> None:
        here, incarnation = self._here, self.incarnation
        own = stamp.entries.get((here, incarnation))
        mentioned = max((key[1] for key in stamp.entries if key[0] == here), default=0)
        mentioned = max([mentioned, stamp.to, *(triple[1] for triple in stamp.triples if triple[0] == here)])
        if mentioned > incarnation or (own and max(own) > self._clock):
            raise BadStamp("it is for an incarnation of this node, or depends on a message of it, that never was")

    def _received(self, place: int, stamp: Stamp, message: Any, size: int) -> bool:
        if stamp.kind == NOTICE:
            self._meet(place, stamp.incarnation)
            self._bury_all(stamp)
            return True
        self._meet(place, stamp.incarnation)
        if stamp.incarnation <= self._dead.get(place, 0):
            if same_life(stamp.incarnation, self._reachable.get(place, 0)):
                # It does not know yet that it was taken for dead. Otherwise this was under way when it died.
                self._notice(place)
            return False
        if stamp.to != self.incarnation:
            # It will hear of the incarnation that we are in now, and abandon what it sent to the old one.
            return False
        if stamp.kind == SEEN:
            for member, incarnation, clock in stamp.triples:
                self._log.delivered((member, incarnation), clock, 1 << place)
            return True
        key = (place, stamp.incarnation)
        channel = self._arrivals.get(key)
        if channel is None:
            channel = self._arrivals[key] = ArrivalChannel(key)
        if channel.had(stamp.number):
            return True
        if stamp.kind in (OPEN, FLUSH):
            # The one whose turn it is comes in always: all the others wait for it.
            if stamp.number != channel.next and channel.is_crowded(self.parameters.max_flushes):
                self.refused += 1
                return False
            self._open_or_flush(channel, stamp)
            return True
        return self._message(channel, stamp, message, size)

    def _open_or_flush(self, channel: ArrivalChannel, stamp: Stamp) -> None:
        channel.put(stamp.number, None)
        self._bury_all(stamp)
        if self._arrivals.get(channel.key) is not channel:
            # One of the dead was this node, which has come back as another incarnation: the channel is over.
            return
        for member, incarnation, _ in stamp.triples:
            settled = incarnation <= self._settled.get(member, 0)
            channel.flushed(Flush(member, incarnation, stamp.number), settled=settled)
        if stamp.kind == OPEN:
            self._has_delivered(channel, stamp.clock)
        self._ready.append(channel.key)

    def _message(self, channel: ArrivalChannel, stamp: Stamp, message: Any, size: int) -> bool:
        live, here = self._live, self._here
        for member, incarnation in stamp.entries:
            if live.get(member) != incarnation and member != here:
                # Somebody whom we may not have heard of: a settlement has to wait for it, too.
                self._meet(member, incarnation)
        buffered = Buffered(channel.key, stamp, message, size, list(stamp.waits))
        buffered.gone = stamp.kind == GONE
        if not self._has_room(channel, buffered):
            self.refused += 1
            return False
        channel.put(stamp.number, buffered)
        self.buffered += 1
        self.buffered_bytes += size
        self._ready.append(channel.key)
        return True

    def _has_room(self, channel: ArrivalChannel, buffered: Buffered) -> bool:
        parameters, number = self.parameters, buffered.stamp.number
        if self.buffered < parameters.max_buffered and self.buffered_bytes + buffered.size <= parameters.max_bytes:
            return True
        held = channel.hold is not None and number > channel.hold
        if number == channel.next and not held and self._waits_for(buffered) is None:
            return True  # its turn: it will not stay
        # A settlement waits for what was sent before the flushes; what is refused might never let it end.
        flushed = all(channel.is_flushed(member, incarnation) for member, incarnation in self._pending.items())
        return bool(self._pending) and (not flushed or number <= max(flush.number for flush in channel.flushes))

    # Deliveries

    def _run(self) -> None:
        """Deliver what can be; settle the deaths that can be."""
        while self._ready or self._settles():
            while self._ready:
                channel = self._arrivals.get(self._ready.pop())
                if channel is not None:
                    self._advance(channel)

    def _advance(self, channel: ArrivalChannel) -> None:
        while (buffered := channel.take()) is not None:
            sender = self._waits_for(buffered)
            if sender is not None:
                self._waiting.setdefault(sender, {})[channel.key] = None
                return
            channel.passed()
            self._deliver(channel, buffered)

    def _waits_for(self, buffered: Buffered) -> Key | None:
        """A sender of whom something has to be delivered before; None when it is this one's turn."""
        waits = buffered.waits
        while waits:
            key, clock = waits[-1]
            if key[1] > self._settled.get(key[0], 0):
                channel = self._arrivals.get(key)
                if channel is None or channel.delivered < clock:
                    return key
            waits.pop()
        return None

    def _deliver(self, channel: ArrivalChannel, buffered: Buffered) -> None:
        stamp = buffered.stamp
        self.buffered -= 1
        self.buffered_bytes -= buffered.size
        self._lamport = max(self._lamport, stamp.lamport)
        self._merge(channel, stamp)
        if not buffered.gone:
            self._effects.append(Deliver(self._names[channel.key[0]], buffered.message))
        self._has_delivered(channel, stamp.clock)

    def _merge(self, channel: ArrivalChannel, stamp: Stamp) -> None:
        entries, known = stamp.entries, self._bit
        if self._dead:
            entries = {key: times for key, times in entries.items() if key[1] > self._dead.get(key[0], 0)}
            known |= channel.stale(stamp.number, self._dead)
        if channel.key[1] > self._dead.get(channel.key[0], 0):
            self._log.merge(channel.key, stamp.clock, stamp.destinations, entries, known)
            return
        # Of a dead sender itself nothing is kept, but of what it knew.
        for (member, incarnation), times in entries.items():
            newest = max(times)
            before = {time: members for time, members in times.items() if time != newest}
            self._log.merge((member, incarnation), newest, times[newest], {(member, incarnation): before}, known)

    def _has_delivered(self, channel: ArrivalChannel, clock: int) -> None:
        if clock > channel.delivered:
            channel.delivered = clock
        waiting = self._waiting.pop(channel.key, None)
        if waiting:
            self._ready.extend(waiting)

    # Lives and deaths

    def _meet(self, place: int, incarnation: int) -> None:
        """That incarnation exists, which is the end of those before it."""
        before = self._live.get(place)
        if incarnation <= self._dead.get(place, 0) or incarnation == before:
            return
        if before is not None:
            self._bury(place, min(before, incarnation))
            if incarnation < before:
                return
        self._live[place] = incarnation
        self._open(place)

    def _open(self, place: int) -> None:
        """Begin a channel to the member's present incarnation, unless there is one, or its life is not up."""
        live, reachable = self._live.get(place), self._reachable.get(place)
        if live is None or reachable is None or place in self._departures or not same_life(live, reachable):
            return
        self._departures[place] = DepartureChannel(live)
        self._log.tell_anew(1 << place)
        self._effects.append(Tell(self._names[place], (OPEN, self.incarnation, live, self._clock, *self._deaths())))

    def _notice(self, place: int) -> None:
        if place in self._reachable:
            item = (NOTICE, self.incarnation, self._dead.get(place, 0), *self._deaths())
            self._effects.append(Tell(self._names[place], item))

    def _deaths(self) -> list[int]:
        return [field for place in sorted(self._dead) for field in (place, self._dead[place])]

    def _bury_all(self, stamp: Stamp) -> None:
        for member, incarnation, _ in stamp.triples:
            self._bury(member, incarnation)

    def _bury(self, place: int, incarnation: int) -> None:
        """That incarnation is dead, and all before it: the others are told, and a settlement is due."""
        if incarnation <= self._dead.get(place, 0):
            return
        self._dead[place] = self._pending[place] = incarnation
        self._log.forget([key for key in self._log.entries if key[0] == place and key[1] <= incarnation])
        if place == self._here:
            if incarnation >= self.incarnation:
                self._come_back(incarnation + 1)
                return
        elif self._live.get(place, 0) <= incarnation:
            self._live.pop(place, None)
            self._log.drop(1 << place)
            if self._departures.pop(place, None) is not None:
                self._effects.append(Abandon(self._names[place]))
            self._notice(place)
        for other, departures in self._departures.items():
            departures.forget(place, incarnation)
            departures.number += 1
            item = (FLUSH, self.incarnation, departures.incarnation, departures.number, place, incarnation)
            self._effects.append(Tell(self._names[other], item))

    def _come_back(self, incarnation: int) -> None:
        """This node was taken for dead: nothing more comes in for what it was, so all that is here is due."""
        self._deliver_cut([(channel, channel.cut(whole=True)) for channel in self._arrivals.values()])
        self._arrivals.clear()
        self._waiting.clear()
        self.incarnation = incarnation
        self._effects.extend(Abandon(self._names[place]) for place in self._departures)
        self._departures.clear()
        for place in self._reachable:
            self._open(place)
            if place not in self._departures:
                self._notice(place)

    def _settles(self) -> bool:
        """Whether the cut of all deaths that are not settled was complete, and so is settled now."""
        if not self._pending:
            return False
        for key in self._live.items():
            channel = self._arrivals.get(key)
            if channel is None or not all(channel.is_flushed(*death) for death in self._pending.items()):
                return False
        cut = [
            (channel, channel.cut(whole=self._live.get(channel.key[0]) != channel.key[1]))
            for channel in self._arrivals.values()
        ]
        self._deliver_cut(cut)
        self._settled.update(self._pending)
        self._pending.clear()
        for channel in list(self._arrivals.values()):
            if channel.key[1] <= self._settled.get(channel.key[0], 0):
                del self._arrivals[channel.key]
            else:
                channel.settle(self._settled)
        self._waiting.clear()
        self._ready.extend(self._arrivals)
        return True

    def _deliver_cut(self, cut: list[tuple[ArrivalChannel, list[Buffered]]]) -> None:
        due = [(item.stamp.lamport, channel.key, channel, item) for channel, items in cut for item in items]
        # Equal clocks are of two senders, and neither happened before the other.
        due.sort(key=lambda entry: entry[:2])
        for _, _, channel, buffered in due:
            self._deliver(channel, buffered)
