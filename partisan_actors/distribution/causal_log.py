"""The dependency log of causal order, after Kshemkalyani and Singhal (Distributed Computing 11, 1998).

Owns what one node knows of messages that may not have arrived: by sender and clock, for whom. It decides nothing and
delivers nothing; it promises that a stamp carries every dependency that is needed and none that either of the paper's
two propagation constraints makes needless (section 3, "achieving optimality"):

1. that a message was delivered at a member, as known from the causal past, is not said again of that member;
2. nor is one said that a later message to the same member is known to depend on: whoever waits for the later one has
   waited for it, too.

A destination that is gone from an entry has met one of the two. What was dropped is not listed anywhere: an entry
that one log lacks, while it has a newer one of that sender, was dropped there, and so may be dropped in all others
(the paper's implicit tracking). For that the newest entry of each sender stays, even without destinations.

One thing is not in the paper: an empty newest entry goes to a receiver once. Messages of one channel are delivered in
their order, so what it said then is in the receiver's log ever since, and its log drops at least as much.

A dead sender's entries are removed at once, and a dead destination too: why that is safe is told in `causal`.

With many members most of a message's cost is here, and grows with the senders that are active. So entries stand in the
order of their clocks, the newest last, and senders in theirs, so that nothing is sorted or searched for; and what was
told to whom is one set of members for each sender, not one table for each receiver. Pure.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence

from partisan_actors.distribution.causal_stamps import LARGEST_SMALL_SET, Entries, Key, encode_set

__all__ = ["DependencyLog"]

Fields = list[int | bytes]


class DependencyLog:
    """The log of one node for one label."""

    __slots__ = ("_order", "_told", "entries")

    def __init__(self) -> None:
        self.entries: Entries = {}  # by sender, and by clock in ascending order
        self._order: list[Key] = []  # the senders, sorted
        # By sender: the clock of its newest entry when that was empty, and the members that were told so.
        self._told: dict[Key, tuple[int, int]] = {}

    def __len__(self) -> int:
        """Entries that still have destinations."""
        return sum(1 for times in self.entries.values() for members in times.values() if members)

    def sending(self, key: Key, clock: int, destinations: int, bits: Sequence[int]) -> list[Fields]:
        """Take a message of this node into the log; the dependencies for each receiver, as a stamp has them.

        Args:
            key: this node.
            clock: of the message.
            destinations: all of them, as a set.
            bits: those of the set, one by one.
        """
        # hot path: once per message, over the whole log.
        result = [self._for_one(destinations)] if len(bits) == 1 else self._for_several(destinations, bits)
        own = self._of(key)
        own[clock] = destinations
        _purge(own)
        return result

    def _for_one(self, bit: int) -> Fields:
        """What `_for_several` gives, for one receiver, in a third of the time."""
        fields: Fields = []
        others = ~bit
        for sender in self._order:
            times = self.entries[sender]
            start = len(fields)
            fields += (*sender, 0)
            concerned = False
            time = members = 0
            for time, members in times.items():
                if members:
                    fields += (time, members if members <= LARGEST_SMALL_SET else encode_set(members))
                    if members & bit:
                        times[time] = members & others
                        concerned = True
            if not members and self._untold(sender, time, bit):
                fields += (time, 0)
            count = len(fields) - start - 3 >> 1
            if count:
                fields[start + 2] = count
            else:
                del fields[start:]
            if concerned:
                _purge(times)
        return fields

    def _for_several(self, destinations: int, bits: Sequence[int]) -> list[Fields]:
        others = ~destinations
        stamps: dict[int, Fields] = {bit: [] for bit in bits}
        for sender in self._order:
            times = self.entries[sender]
            concerned = 0
            for members in times.values():
                concerned |= members
            concerned &= destinations
            newest, members = next(reversed(times.items()))
            untold = 0 if members & others else self._untold(sender, newest, destinations & ~members)
            special = concerned | untold
            if special != destinations:
                fields = _fields(sender, times, others, False)
                for bit in bits if fields else ():
                    if not special & bit:
                        stamps[bit] += fields
            while special:
                bit = special & -special
                special ^= bit
                # Constraint 2: the other destinations of this message learn of the dependency from their copy.
                stamps[bit] += _fields(sender, times, others | bit, bool(untold & bit))
            if concerned:
                # Constraint 2 again: from here on, this message stands for all before it to the same members.
                _remove(times, destinations)
        return list(stamps.values())

    def _untold(self, sender: Key, newest: int, members: int) -> int:
        """Those of the members that have not been told of an empty newest entry; they are now."""
        clock, told = self._told.get(sender, (0, 0))
        if clock != newest:
            told = 0
        untold = members & ~told
        if untold:
            self._told[sender] = newest, told | untold
        return untold

    def tell_anew(self, member_bit: int) -> None:
        """A channel to another incarnation of a member begins: it has been told nothing."""
        for sender, (clock, members) in self._told.items():
            self._told[sender] = clock, members & ~member_bit

    def merge(self, key: Key, clock: int, destinations: int, entries: Entries, known: int) -> None:
        """Take in what a delivered message carried.

        Args:
            key: its sender.
            clock: of the message.
            destinations: all of them.
            entries: its dependencies, without those of dead senders.
            known: members of whom nothing needs to be said: this node, which has it all now, and dead ones.
        """
        # hot path: once per message, over all that it carried.
        keep = ~known
        log = self.entries
        for sender, theirs in entries.items():
            if sender == key:
                continue
            mine = log.get(sender)
            if mine is None:
                _merge(self._of(sender), theirs, keep)
            elif mine != theirs:  # where they are equal, `known` is in neither
                _merge(mine, theirs, keep)
        _merge(self._of(key), entries.get(key, {}) | {clock: destinations}, keep)

    def _of(self, sender: Key) -> dict[int, int]:
        times = self.entries.get(sender)
        if times is None:
            times = self.entries[sender] = {}
            insort(self._order, sender)
        return times

    def delivered(self, sender: Key, clock: int, member_bit: int) -> None:
        """That member has delivered what the sender sent it up to `clock` (constraint 1)."""
        times = self.entries.get(sender)
        if times is None:
            return
        for time in times:
            if time <= clock:
                times[time] &= ~member_bit
        _purge(times)

    def drop(self, members: int) -> None:
        """Nothing needs to be said of these destinations any more."""
        for times in self.entries.values():
            _remove(times, members)

    def forget(self, senders: Iterable[Key]) -> None:
        """Remove all entries of these senders."""
        for sender in senders:
            if self.entries.pop(sender, None) is not None:
                self._order.remove(sender)
                self._told.pop(sender, None)


def _fields(sender: Key, times: dict[int, int], mask: int, with_newest: bool) -> Fields:
    """What a stamp says of a sender: its entries, of the members in the mask; the newest also when it is empty."""
    fields: Fields = [*sender, 0]
    for time, members in times.items():
        members &= mask
        if members:
            fields += (time, members if 0 < members <= LARGEST_SMALL_SET else encode_set(members))
    if with_newest:
        fields += (next(reversed(times)), 0)
    count = len(fields) - 3 >> 1
    if not count:
        return []
    fields[2] = count
    return fields


def _merge(mine: dict[int, int], theirs: dict[int, int], keep: int) -> None:
    """Take the entries of one sender in."""
    newest_here = next(reversed(mine)) if mine else 0
    newest_there = next(reversed(theirs))
    newest = newest_here if newest_here > newest_there else newest_there
    for time, members in list(mine.items()):
        known = theirs.get(time)
        if known is not None:
            mine[time] = members = members & known & keep
            if not members and time != newest:
                del mine[time]
        elif time < newest_there:
            # They know a newer one and not this one: dropped in their past, so it is needless.
            del mine[time]
    if newest_here < newest_there:
        for time, members in theirs.items():
            if time > newest_here and ((members := members & keep) or time == newest):
                mine[time] = members


def _remove(times: dict[int, int], members: int) -> None:
    for time, present in times.items():
        if present & members:
            times[time] = present & ~members
    _purge(times)


def _purge(times: dict[int, int]) -> None:
    """Remove entries without destinations, but the newest: it stands for all that is not listed."""
    if len(times) > 1 and not all(times.values()):
        newest = next(reversed(times))
        for time in [time for time, members in times.items() if not members and time != newest]:
            del times[time]
