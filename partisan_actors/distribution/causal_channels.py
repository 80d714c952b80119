"""The two ends of a channel of causal order, from one incarnation of a member to one of another.

The receiving end is the buffer: it has what arrived and waits for its turn. It owns the channel's numbers: each is
delivered once, in order, and what comes twice is told apart. It knows when a channel has all that was sent before its
sender's flush. What a message waits for beyond its channel is `causal`'s to decide. Pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from partisan_actors.distribution.causal_stamps import Key, Stamp

__all__ = ["ArrivalChannel", "Buffered", "DepartureChannel", "Flush"]


class DepartureChannel:
    """One channel's sending end."""

    __slots__ = ("incarnation", "number", "seen")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation  # of the receiver
        self.number = 1  # the last one given; 1 is the OPEN
        self.seen: dict[Key, int] = {}  # what it was told by SEEN

    def forget(self, member: int, incarnation: int) -> None:
        """Nothing is said of these lives of a member any more."""
        for key in [key for key in self.seen if key[0] == member and key[1] <= incarnation]:
            del self.seen[key]


class Flush(NamedTuple):
    """The sender held that life for dead from that number on."""

    member: int
    incarnation: int
    number: int


class Buffered:
    """A message that waits; one that is gone has its place in the order but no content."""

    __slots__ = ("gone", "key", "message", "size", "stamp", "waits")

    def __init__(self, key: Key, stamp: Stamp, message: Any, size: int, waits: list[tuple[Key, int]]) -> None:
        self.key = key
        self.stamp = stamp
        self.message = message
        self.size = size
        self.waits = waits  # senders and clocks of what this node has to have delivered before
        self.gone = False


class ArrivalChannel:
    """One channel's receiving end."""

    __slots__ = ("announced", "arrived", "delivered", "flushes", "hold", "items", "key", "next")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.next = 1  # the number whose turn it is
        self.arrived = 0  # everything up to this number is here or was
        self.delivered = 0  # clock: all that the sender sent here up to it was delivered
        self.items: dict[int, Buffered | None] = {}  # by number; None has no content: an open, a flush
        self.announced: dict[int, Flush] = {}  # the last one for each member
        self.flushes: list[Flush] = []  # those for deaths that are not settled
        self.hold: int | None = None  # the first of their numbers

    def had(self, number: int) -> bool:
        """Whether that number came before."""
        return number < self.next or number in self.items

    def is_crowded(self, most: int) -> bool:
        """Whether more than so many numbers without content wait for their turn: more than there can be deaths."""
        items = self.items
        return len(items) >= most and sum(buffered is None for buffered in items.values()) >= most

    def put(self, number: int, buffered: Buffered | None) -> None:
        """Keep what has that number."""
        self.items[number] = buffered
        while self.arrived + 1 in self.items:
            self.arrived += 1

    def take(self) -> Buffered | None:
        """The message whose turn it is; what has no content is passed over. Not one behind an unsettled flush."""
        while self.next in self.items:
            if self.hold is not None and self.next > self.hold:
                return None
            buffered = self.items[self.next]
            if buffered is not None:
                return buffered
            self.passed()
        return None

    def passed(self) -> None:
        """Whose turn it was has had it."""
        del self.items[self.next]
        self.next += 1

    def flushed(self, flush: Flush, *, settled: bool) -> None:
        """The sender holds that life for dead from there on; what follows is held back until that is settled."""
        last = self.announced.get(flush.member)
        if last is None or last.incarnation < flush.incarnation:
            self.announced[flush.member] = flush
        if not settled:
            self.flushes.append(flush)
            self.hold = flush.number if self.hold is None else min(self.hold, flush.number)

    def is_flushed(self, member: int, incarnation: int) -> bool:
        """Whether the flush for that life is here, and all that was sent before it."""
        return any(
            flush.member == member and flush.incarnation >= incarnation and flush.number <= self.arrived
            for flush in self.flushes
        )

    def stale(self, number: int, dead: dict[int, int]) -> int:
        """The members of whom what has that number speaks in a life that is dead: it was sent before the flush."""
        members = 0
        for member, incarnation in dead.items():
            flush = self.announced.get(member)
            if flush is None or flush.incarnation < incarnation or flush.number >= number:
                members |= 1 << member
        return members

    def cut(self, *, whole: bool) -> list[Buffered]:
        """Remove what was sent before the last flush, or the `whole` of it."""
        limit = max((flush.number for flush in self.flushes), default=0)
        numbers = sorted(number for number in self.items if whole or number <= limit)
        taken = [buffered for number in numbers if (buffered := self.items.pop(number)) is not None]
        if not whole:
            self.next = max(self.next, limit + 1)
        return taken

    def settle(self, dead: dict[int, int]) -> None:
        """These deaths are settled: nothing is held back for them any more."""
        self.flushes = [flush for flush in self.flushes if flush.incarnation > dead.get(flush.member, 0)]
        self.hold = min((flush.number for flush in self.flushes), default=None)
