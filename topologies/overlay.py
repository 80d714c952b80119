"""The interface of an overlay: the part of a node that decides which members it keeps a link to.

Two objects. A `Topology` is what a user gives to `Node(topology=...)`: a value, frozen, that may be given to several
nodes. Its `overlay(node)` makes the `Overlay`: the state machine of one life of one node. An overlay is pure: no
socket, clock, greenlet, `hash()`, set order or global random source in it; it is told what happens by events, and
answers with effects, which the driver performs in order before it hands in the next event. `full_mesh` is the smallest.

What an overlay is told of the cluster is the cluster view's judgement, never a socket's, and it decides nothing about
who is a member. A link is a session with a member, whatever connections carry it. So:

- MemberUp comes for each member before it can be a neighbour, and again when it comes back or has moved; MemberDown
  when it has left or is forgotten. A member that is merely silent, or killed, is a LinkDown and no MemberDown.
- LinkUp comes for every link, asked for by either side, LinkDown for its end. For one node they alternate.
- Message comes from members only, over a link or by a route, in the order sent while the session lasts. Its payload
  is what another node's overlay of the same `name` sent: check it all the same, and ignore what is not right.
- Timers are re-set by key: SetTimer replaces the timer of that key.

Connect says that the link is wanted from now on: the driver dials, and dials again after a break, until Disconnect.
Both may be repeated. Disconnect of a link that the other side wants as well closes it there too, so tell it first.
Send to a member without a link goes by a route, if there is one.

Later versions may hand in further events; an overlay ignores those that it does not know.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = [
    "CancelTimer",
    "Connect",
    "Disconnect",
    "Effect",
    "Event",
    "LinkDown",
    "LinkUp",
    "MemberDown",
    "MemberUp",
    "Message",
    "Overlay",
    "Send",
    "SetTimer",
    "TimerFired",
    "Topology",
]


class MemberUp(NamedTuple):
    """Event: the cluster view has this member, and where to dial it."""

    node: str


class MemberDown(NamedTuple):
    """Event: it is a member no more."""

    node: str


class LinkUp(NamedTuple):
    """Event: there is a link to this member."""

    node: str


class LinkDown(NamedTuple):
    """Event: the link has ended."""

    node: str


class Message(NamedTuple):
    """Event: the overlay of another node sent `payload`."""

    node: str
    payload: Any


class TimerFired(NamedTuple):
    """Event: the timer of that key is due."""

    key: Hashable


class Connect(NamedTuple):
    """Effect: keep a link to this member."""

    node: str


class Disconnect(NamedTuple):
    """Effect: end the link to this member, and want it no more."""

    node: str


class Send(NamedTuple):
    """Effect: hand `payload`, a sendable value, to the overlay of another member."""

    node: str
    payload: Any


class SetTimer(NamedTuple):
    """Effect: hand in `TimerFired(key)` in `seconds`, in place of the timer of that key, if one runs."""

    key: Hashable
    seconds: float


class CancelTimer(NamedTuple):
    """Effect: stop the timer of that key, if one runs."""

    key: Hashable


Event: TypeAlias = MemberUp | MemberDown | LinkUp | LinkDown | Message | TimerFired
Effect: TypeAlias = Connect | Disconnect | Send | SetTimer | CancelTimer


class Overlay(Protocol):
    """The overlay of one node: the state, and the protocol over it."""

    @property
    def name(self) -> str:
        """The topology's name."""

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in.

        `now` is in seconds, on a clock that only goes forward; `random` is the only source of chance. Returns what
        is to be done, in order. Raises nothing, whatever a Message holds.
        """

    def neighbours(self) -> list[str]:
        """The members that it wants a link to now, sorted; whether there is one is the driver's to know."""


class Topology(Protocol):
    """A user's choice of an overlay, with its parameters. Equal ones are interchangeable."""

    @property
    def name(self) -> str:
        """Goes into the handshake: nodes whose topologies have other names are refused."""

    def overlay(self, node: str) -> Overlay:
        """The machine for one life of the node of that name."""
