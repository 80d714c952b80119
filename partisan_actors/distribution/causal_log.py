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

A dead sender's entries are removed at once, and a dead destination too: why that is safe is told in `causal`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from partisan_actors.distribution.causal_stamps import Entries, Key

__all__ = ["DependencyLog", "Told"]

Told = dict[Key, int]
"""Per receiver: the clock of the last empty entry that it was sent, by sender."""


class DependencyLog:
    """The log of one node for one label."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: Entries = {}

    def __len__(self) -> int:
        """Entries that still have destinations."""
        return sum(1 for times in self.entries.values() for members in times.values() if members)

    def sending(self, key: Key, clock: int, destinations: int, receivers: list[tuple[int, Told]]) -> list[Entries]:
        """Take a message of this node into the log; the dependencies to send to each receiver, in that order.

        Args:
            key: this node.
            clock: of the message.
            destinations: all of them, as a set.
            receivers: the bit of each, and what it was told.
        """
        # hot path: once per message, over the whole log, and once per receiver over what is in it for that one.
        others = ~destinations
        common: list[tuple[Key, int, int, int, bool]] = []
        for sender, times in self.entries.items():
            newest = max(times)
            for time, members in times.items():
                common.append((sender, time, members & others, members & destinations, time == newest))
        result: list[Entries] = []
        for bit, told in receivers:
            entries: Entries = {}
            for sender, time, kept, dropped, newest_one in common:
                # Constraint 2: the other destinations of this message learn of the dependency from their copy.
                members = kept | dropped & bit
                if not members:
                    if not newest_one or told.get(sender) == time:
                        continue
                    told[sender] = time
                if sender in entries:
                    entries[sender][time] = members
                else:
                    entries[sender] = {time: members}
            result.append(entries)
        # Constraint 2 again: from here on, this message stands for all before it to the same members.
        self.drop(destinations)
        own = self.entries.setdefault(key, {})
        own[clock] = destinations
        _purge(own)
        return result

    def merge(self, key: Key, clock: int, destinations: int, entries: Entries, known: int) -> None:
        """Take in what a delivered message carried.

        Args:
            key: its sender.
            clock: of the message.
            destinations: all of them.
            entries: its dependencies, without those of dead senders.
            known: members of whom nothing needs to be said: this node, which has it all now, and dead ones.
        """
        for sender, times in entries.items():
            if sender != key:
                self._merge_sender(sender, {time: members & ~known for time, members in times.items()})
        theirs = {time: members & ~known for time, members in entries.get(key, {}).items()}
        theirs[clock] = destinations & ~known
        self._merge_sender(key, theirs)

    def _merge_sender(self, sender: Key, theirs: dict[int, int]) -> None:
        mine = self.entries.get(sender)
        if mine is None:
            self.entries[sender] = theirs
            _purge(theirs)
            return
        newest_here, newest_there = max(mine), max(theirs)
        merged: dict[int, int] = {}
        for time, members in mine.items():
            if time in theirs:
                merged[time] = members & theirs[time]
            elif time > newest_there:
                merged[time] = members
            # Otherwise they know a newer one and not this one: dropped in their past, so it is needless.
        for time, members in theirs.items():
            if time > newest_here:
                merged[time] = members
        _purge(merged)
        self.entries[sender] = merged

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
            for time, present in times.items():
                if present & members:
                    times[time] = present & ~members
            if len(times) > 1:
                _purge(times)

    def forget(self, senders: Iterable[Key]) -> None:
        """Remove all entries of these senders."""
        for sender in senders:
            self.entries.pop(sender, None)


def _purge(times: dict[int, int]) -> None:
    """Remove entries without destinations, but the newest: it stands for all that is not listed."""
    if len(times) > 1:
        newest = max(times)
        for time in [time for time, members in times.items() if not members and time != newest]:
            del times[time]
