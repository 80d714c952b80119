"""What the machine of a session wants done: its effects, beside those of its carrier. Values only."""

from __future__ import annotations

from typing import NamedTuple

from partisan_actors.distribution.carrier import Deliver, DeliverWhole, Room, Write
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.distribution.streams import StreamId

__all__ = [
    "Disconnect",
    "Effect",
    "EndOffered",
    "Ended",
    "Needed",
    "OpenStream",
    "Pass",
    "Silent",
    "Unlinked",
]


class Pass(NamedTuple):
    """Hand the frame that was just taken to what relays: it is of no stream of this session."""


class Silent(NamedTuple):
    """Nothing came from the peer for too long."""


class Disconnect(NamedTuple):
    """Close the present connection; the session goes on over the next.

    `broken`: the peer sent what no peer sends.
    """

    reason: str
    broken: bool = False


class Unlinked(NamedTuple):
    """One of the two sides has given the present connection up, and the session goes on without.

    `answer`: write what is queued and owed, and say that this was all.
    `close`: close it then. When both sides give it up at once, each answers, and waits for the other's answer.
    """

    answer: bool
    close: bool


class OpenStream(NamedTuple):
    """The peer cannot dial and asks us to: that stream is to get a connection of its own."""

    stream: StreamId


class EndOffered(NamedTuple):
    """The peer does not need the session, and rests: end it, or say by `refuse_end` that it is needed."""


class Needed(NamedTuple):
    """The peer needs the session whose end was offered."""


class Ended(NamedTuple):
    """The session is over. Close its connection, if there is one, once what was written is out."""

    reason: str


Effect = (
    Deliver
    | DeliverWhole
    | Pass
    | Write
    | Room
    | Silent
    | Disconnect
    | Unlinked
    | OpenStream
    | EndOffered
    | Needed
    | Ended
    | SetTimer
    | CancelTimer
)
