"""Which streams of a session get connections of their own, and when they are dialled. Pure.

A stream that is used has a connection of its own, which the first to use it asks for. One of the two nodes makes all
connections of that kind: both could dial at once, and each would keep the one that the other gives up. It is the one
with the smaller name if the peer can be dialled, else the other one; who does not dial asks the peer to.

Promised: a stream for which no connection could be made rides the session's first one until one can be; so many
handshakes at once at most that a peer takes none of us for a crowd of strangers; attempts that fail are tried again
after pauses that grow, for as long as the session lives.

While a session has no link, and goes by a route, its streams ride the first connection, and none is dialled.

Effects: `DialStream`, `AskPeer`, `UseFirst`, `SetTimer`, `CancelTimer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.streams import StreamId

__all__ = [
    "AskPeer",
    "DialStream",
    "Effect",
    "Event",
    "FirstMoved",
    "PeerMoved",
    "StreamConnected",
    "StreamDialFailed",
    "StreamDialling",
    "StreamDiallingParameters",
    "StreamLost",
    "StreamWanted",
    "UseFirst",
]


@dataclass(frozen=True, slots=True)
class StreamDiallingParameters:
    """Times in seconds."""

    at_once: int = 4
    """Attempts under way. A stranger may have 16 from one address, and more peers than one may be there."""

    dial_timeout: float = 4.0

    patience: float = 1.0
    """How long a stream waits for the peer to dial before it rides the first connection."""

    first_pause: float = 0.5
    longest_pause: float = 30.0
    """After a failure, doubled each time."""

    def __post_init__(self) -> None:
        if self.at_once < 1 or min(self.dial_timeout, self.patience, self.first_pause) <= 0:
            raise ValueError("at_once, dial_timeout, patience and first_pause must be above 0")
        if self.longest_pause < self.first_pause:
            raise ValueError("longest_pause must be at least first_pause")


class StreamWanted(NamedTuple):
    """Event: a stream is used here, or the peer asks for its connection."""

    stream: StreamId


class StreamConnected(NamedTuple):
    """Event: a stream has a connection of its own."""

    stream: StreamId


class StreamLost(NamedTuple):
    """Event: it has none any more."""

    stream: StreamId


class StreamDialFailed(NamedTuple):
    """Event: an attempt came to nothing."""

    stream: StreamId


class PeerMoved(NamedTuple):
    """Event: the peer says where it can be dialled now."""

    addresses: tuple[str, ...]


class FirstMoved(NamedTuple):
    """Event: the session's first connection is a link now, or the session has none and goes by a route."""

    link: bool


class DialStream(NamedTuple):
    """Effect: make a connection for that stream; `StreamConnected` or `StreamDialFailed` follows."""

    stream: StreamId
    address: str
    timeout: float


class AskPeer(NamedTuple):
    """Effect: ask the peer to dial for that stream."""

    stream: StreamId


class UseFirst(NamedTuple):
    """Effect: let the session's first connection carry that stream until it has one of its own."""

    stream: StreamId


Event = StreamWanted | StreamConnected | StreamLost | StreamDialFailed | PeerMoved | FirstMoved | TimerFired
Effect = DialStream | AskPeer | UseFirst | SetTimer | CancelTimer


class _Wish:
    """A connection that is wanted."""

    __slots__ = ("connected", "failures", "tried", "under_way")

    def __init__(self) -> None:
        self.connected = False
        self.under_way = False  # an attempt of ours
        self.tried = 0  # addresses, in this round
        self.failures = 0  # rounds since it was last connected


class StreamDialling:
    """The connections of the streams of one session."""

    __slots__ = ("_addresses", "_dials", "_link", "_parameters", "_queue", "_wishes")

    def __init__(self, dials: bool, addresses: tuple[str, ...], parameters: StreamDiallingParameters) -> None:
        """Begin with none.

        Args:
            dials: this node makes the connections, rather than its peer.
            addresses: where the peer can be dialled.
        """
        self._addresses = addresses
        self._dials = dials
        self._link = True  # the first connection is a link, or will be one again soon
        self._parameters = parameters
        self._wishes: dict[StreamId, _Wish] = {}
        self._queue: dict[StreamId, None] = {}  # those to dial next

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take an event."""
        match event:
            case StreamWanted(stream):
                return self._wanted(stream)
            case StreamConnected(stream):
                return self._connected(stream)
            case StreamLost(stream):
                wish = self._wishes.setdefault(stream, _Wish())
                wish.connected = False
                return self._begin(stream, wish)
            case StreamDialFailed(stream):
                return self._failed(stream, random)
            case PeerMoved(addresses):
                return self._moved(addresses)
            case FirstMoved(link):
                return self._first_moved(link)
            case TimerFired(key):
                return self._fired(key, random)  # type: ignore[arg-type]

    def _first_moved(self, link: bool) -> Sequence[Effect]:
        if link is self._link:
            return ()
        self._link = link
        self._queue.clear()
        effects: list[Effect] = []
        for stream, wish in self._wishes.items():
            wish.failures = 0
            if not link:
                wish.connected = wish.under_way = False
            if not wish.connected and not wish.under_way:
                effects += [CancelTimer(stream), *self._begin(stream, wish)]
        return effects

    def _moved(self, addresses: tuple[str, ...]) -> Sequence[Effect]:
        if addresses == self._addresses:
            return ()
        self._addresses = addresses
        effects: list[Effect] = []
        for stream, wish in self._wishes.items():
            if self._dials and self._link and not wish.connected and not wish.under_way:
                # A pause that was meant for the old place is not for the new one.
                effects += [CancelTimer(stream), *self._begin(stream, wish)]
        return effects

    def _wanted(self, stream: StreamId) -> Sequence[Effect]:
        wish = self._wishes.get(stream)
        if wish is None:
            wish = self._wishes[stream] = _Wish()
            return self._begin(stream, wish)
        if wish.connected or wish.under_way or not (self._dials and self._link):
            return ()
        # The peer lacks it, and does not want to wait for the end of our pause.
        return [CancelTimer(stream), *self._begin(stream, wish)]

    def _begin(self, stream: StreamId, wish: _Wish) -> Sequence[Effect]:
        wish.tried = 0
        if not self._link:
            # By a route there is one connection, and it carries everything.
            return (UseFirst(stream),)
        if not self._dials:
            return [AskPeer(stream), SetTimer(stream, self._parameters.patience)]
        if not self._addresses:
            self._queue.pop(stream, None)
            return (UseFirst(stream),)
        self._queue[stream] = None
        return self._dial()

    def _dial(self) -> list[Effect]:
        effects: list[Effect] = []
        under_way = sum(wish.under_way for wish in self._wishes.values())
        while self._queue and under_way < self._parameters.at_once:
            stream = next(iter(self._queue))
            del self._queue[stream]
            wish = self._wishes[stream]
            wish.under_way = True
            under_way += 1
            address = self._addresses[wish.tried % len(self._addresses)]
            wish.tried += 1
            effects.append(DialStream(stream, address, self._parameters.dial_timeout))
        return effects

    def _connected(self, stream: StreamId) -> Sequence[Effect]:
        wish = self._wishes.setdefault(stream, _Wish())
        wish.connected = True
        wish.under_way = False
        wish.failures = 0
        self._queue.pop(stream, None)
        return [CancelTimer(stream), *self._dial()]

    def _failed(self, stream: StreamId, random: Random) -> Sequence[Effect]:
        wish = self._wishes[stream]
        wish.under_way = False
        if wish.connected or not self._link:
            return self._dial()
        if wish.tried < len(self._addresses):
            self._queue[stream] = None
            return self._dial()
        return [UseFirst(stream), self._pause(stream, wish, random), *self._dial()]

    def _pause(self, stream: StreamId, wish: _Wish, random: Random) -> SetTimer:
        parameters = self._parameters
        # The exponent is bounded, as 2 ** 2000 is no float.
        pause = min(parameters.first_pause * 2 ** min(wish.failures, 30), parameters.longest_pause)
        wish.failures += 1
        return SetTimer(stream, pause * random.uniform(0.75, 1.0))

    def _fired(self, stream: StreamId, random: Random) -> Sequence[Effect]:
        wish = self._wishes[stream]
        if wish.connected or not self._link:
            return ()
        if self._dials:
            return self._begin(stream, wish)
        # The peer did not dial in time; ask again, but not for ever at this pace.
        return [UseFirst(stream), AskPeer(stream), self._pause(stream, wish, random)]
