"""What the routing machine is told, and what it wants done: the events and effects of `routing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.wire.relays import Buffer, Relay, RouteMessage

__all__ = [
    "Arrived",
    "Doubted",
    "Effect",
    "Event",
    "Forward",
    "Ignored",
    "Learned",
    "LinkDown",
    "LinkUp",
    "Measured",
    "MemberDown",
    "RelayReceived",
    "RouteReceived",
    "Send",
    "SendRoute",
    "Suspected",
    "Trusted",
    "Undeliverable",
]


class LinkUp(NamedTuple):
    """Event: there is a link to this node, over a connection of its own, and it takes what is relayed."""

    node: str


class LinkDown(NamedTuple):
    """Event: that link has ended."""

    node: str


class Measured(NamedTuple):
    """Event: a round trip over the link to this node takes so many seconds."""

    node: str
    seconds: float


class MemberDown(NamedTuple):
    """Event: it is a member no more: nothing is kept for it, and nobody asked for it."""

    node: str


class Suspected(NamedTuple):
    """Event: some member cannot reach it, and it has not refuted that yet: `MemberDown` or `Trusted` follows."""

    node: str


class Trusted(NamedTuple):
    """Event: it is a member, and nobody says any more that it cannot be reached."""

    node: str


class Learned(NamedTuple):
    """Event: by the way, what that node said of itself came in over `via` first, and had crossed so many links."""

    node: str
    via: str
    hops: int = 1


class Doubted(NamedTuple):
    """Event: for so many seconds nothing was heard of that node, though it was sent something that it answers."""

    node: str
    seconds: float


class Send(NamedTuple):
    """Event: bring this to that node. The buffers must not change any more."""

    destination: str
    body: Sequence[Buffer]


class RelayReceived(NamedTuple):
    """Event: a RELAY frame came over the link to `node`."""

    node: str
    relay: Relay


class RouteReceived(NamedTuple):
    """Event: a ROUTE frame came over the link to `node`."""

    node: str
    message: RouteMessage


class Forward(NamedTuple):
    """Effect: write this over the link to `node`; it may be dropped there."""

    node: str
    relay: Relay


class SendRoute(NamedTuple):
    """Effect: write this message over the link to `node`; it may be dropped there."""

    node: str
    message: RouteMessage


class Arrived(NamedTuple):
    """Effect: hand up what `source` sent to this node; it has crossed so many links."""

    source: str
    body: Sequence[Buffer]
    hops: int


class Undeliverable(NamedTuple):
    """Effect: hand back what was to be sent: no way was found in time, or the node is a member no more.

    What has left this node and is lost on its way comes back to nobody.
    """

    destination: str
    body: Sequence[Buffer]


class Ignored(NamedTuple):
    """Effect: what came over the link to `node` was not taken in, for `reason`, one of a few."""

    node: str
    reason: str


Event: TypeAlias = (
    LinkUp
    | LinkDown
    | Measured
    | MemberDown
    | Suspected
    | Trusted
    | Learned
    | Doubted
    | Send
    | RelayReceived
    | RouteReceived
    | TimerFired
)
Effect: TypeAlias = Forward | SendRoute | Arrived | Undeliverable | Ignored | SetTimer | CancelTimer
