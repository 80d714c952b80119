"""The sending end of one stream, as the parts above see it.

Promised: `send` never waits and never calls back. One of a session that ended takes nothing more. Who has waited
longest for room is told first, and who comes while it is another's turn waits, but for the first few bytes.

Not known here: what carries the stream, what a signal means.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Protocol

from partisan_actors.distribution.bearer import Bearer
from partisan_actors.distribution.stream import Signal
from partisan_actors.distribution.streams import Stream
from partisan_actors.processes.clock import Clock

__all__ = ["Outgoing", "SentThrough"]


class SentThrough(Protocol):
    """What an outgoing stream asks of its session."""

    def in_use(self, outgoing: Outgoing) -> None:
        """It is about to get its first signal."""

    def overflowed(self) -> None:
        """It was offered more than it may keep: the session is to end."""


class Outgoing:
    """Signals to one stream of a session."""

    __slots__ = (
        "_clock",
        "_last_place",
        "_offer",
        "_places",
        "_sending",
        "_session",
        "_told",
        "_turn_ends",
        "_used",
        "_waiting",
        "bearer",
        "ended",
        "stream",
    )

    def __init__(self, session: SentThrough, stream: Stream, bearer: Bearer, clock: Clock, used: bool) -> None:
        """Begin.

        Args:
            bearer: what carries it; may be replaced.
            used: its session need not be told of its first signal.
        """
        self.stream = stream
        self.bearer = bearer
        self.ended = False  # with its session
        self._session = session
        self._clock = clock
        self._sending = stream.sending
        self._used = used
        self._offer: Callable[[Signal, Hashable], bool] = stream.sending.offer if used else self._first_offer
        self._waiting: dict[int, Callable[[], None]] = {}  # to be told when there is room; by place
        self._places: list[int] = []  # these places, and some that were given up, as a heap
        self._told: set[int] = set()  # places of those who were called and have not looked yet
        self._turn_ends = 0  # while somebody is told: from so many bytes buffered on, nobody else is to send
        self._last_place = 0

    def __repr__(self) -> str:
        return f"<Outgoing {self.stream!r}>"

    @property
    def unsent(self) -> int:
        """Bytes of signals that no frame has taken yet."""
        return self._sending.unsent

    @property
    def unacknowledged(self) -> int:
        """Bytes of signals in frames that the peer has not acknowledged."""
        return self._sending.unacknowledged

    @property
    def congested(self) -> bool:
        """Whether senders should wait: from the high watermark on until the low one, and for others whose turn it is.

        Never once it ended.
        """
        if self._sending.congested or (self._told and self._sending.buffered >= self._turn_ends):
            return not self.ended
        return False

    def keeps_waiting(self, place: int) -> bool:
        """Whether it is not the turn yet of who waits at that place, or not any more."""
        return (self._sending.congested or place in self._waiting) and not self.ended

    def send(self, signal: Signal, flow: Hashable = 0) -> bool:
        """Queue one signal, whatever is queued already; False when the session has ended, or ends by this.

        Args:
            signal: its bytes, or a tuple of buffers that are its bytes together. They must not change any more.
            flow: signals of one flow arrive in the order sent; a large one of another flow may be passed. In a
                monotonic channel: the key of which only the newest unsent signal is kept.

        Raises: NotSendable for one that is larger than a frame.
        """
        # hot path: once per message; 0.3 us.
        if self._offer(signal, flow) and not self._look_up():
            return False
        bearer = self.bearer
        if not bearer.waits_for_flush:
            bearer.dirty()
        return True

    def when_room(self, callback: Callable[[], None], place: int = 0) -> int:
        """Call `callback` once, later, when there is room for its sender, or the session has ended.

        Who goes on, or gives up, is to say so by `forget`: then the next one is called. (All at once, 128 senders of
        512 KiB got through half as much: most of them were called only to find it full again.)

        Args:
            place: what this gave before, of one that `keeps_waiting`: whoever has waited longest is called first. Else
                one that fills the stream again and again would keep all others out.

        Returns: the place.
        """
        if not place:
            self._last_place += 1
            place = self._last_place
        if place not in self._waiting:
            self._told.discard(place)
            self._waiting[place] = callback
            heappush(self._places, place)
        if not self._told and not self._sending.congested:
            self._call_next()
        return place

    def forget(self, place: int) -> None:
        """Who waited at that place waits no more."""
        self._waiting.pop(place, None)
        self._told.discard(place)
        if not self._told and not self._sending.congested:
            self._call_next()

    def tell_room(self) -> None:
        """There is room again."""
        if not self._told:
            self._call_next()

    def _call_next(self) -> None:
        places = self._places
        while places:
            place = heappop(places)
            callback = self._waiting.pop(place, None)
            if callback is not None:
                self._told.add(place)
                self._turn_ends = self._sending.buffered + self._sending.turn
                self._clock.call_soon(callback)
                return

    def end(self) -> None:
        """Take nothing any more."""
        self.ended = True
        self._offer = _take_nothing
        while self._waiting:
            self._call_next()

    def _first_offer(self, signal: Signal, flow: Hashable) -> bool:
        self._offer = self._sending.offer
        self._session.in_use(self)
        return self._offer(signal, flow)

    def _look_up(self) -> bool:
        """`offer` wants to be looked at; whether it took the signal."""
        if self.ended:
            return False
        if self._sending.overflowed:
            self._session.overflowed()
            return False
        if not self.bearer.backlogged:
            self.bearer.write_frames()
        return True


def _take_nothing(signal: Signal, flow: Hashable) -> bool:
    """The `offer` of a stream that ended."""
    return True
