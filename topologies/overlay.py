"""The interface of an overlay: the part of a node that decides which members it keeps a link to.

Two objects. A `Topology` is what a user gives to `Node(topology=...)`: a value, frozen, that may be given to several
nodes. Its `overlay(node)` makes the `Overlay`: the state machine of one life of one node. An overlay is pure: no
socket, clock, greenlet, `hash()`, set order or global random source in it; it is told what happens by events, and
answers with effects, which the driver performs in order before it hands in the next event. `full_mesh` is the smallest.

What an overlay is told of the cluster is the cluster view's judgement, never a socket's, and it decides nothing about
who is a member. A link is a session with a member over a connection of its own, not by a route, whatever connections
carry it: one that breaks and is made anew at once is no event. So:

- MemberUp comes for each member before it can be a neighbour, and again when it comes back or has moved; MemberDown
  when it has left or is down. A member that is merely silent to this node is a LinkDown and no MemberDown. `tag` is
  what that member's own topology says of it (`Topology.tag`).
- Joined comes when this node has got a link to a member through which it joins the cluster, after the LinkUp; and again
  when it has found, after a partition or as an island of the overlay, a member that its part of the cluster had lost.
- LinkUp comes for every link, asked for by either side, LinkDown for its end. For one node they alternate. Unreachable
  comes, once for each Connect, when a link that is wanted could not be made in time.
- Message comes from members only, over a link, in the order sent while the link lasts. Its payload is what another
  node's overlay of the same `name` sent: check it all the same, and Refuse what is not right.
- Measured answers Measure, MembersFound answers FindMembers.
- Leave comes before this node leaves: the last chance to tell neighbours.
- Timers are re-set by key: SetTimer replaces the timer of that key.

Connect says that the link is wanted from now on: the driver dials, and dials again after a break, until Disconnect.
One to a name that is no member yet waits for its MemberUp. Both may be repeated. Disconnect of a link that the other
side wants as well closes it there too, so tell it first: what is sent before a Disconnect arrives before the LinkDown.
Send to a member without a link is dropped.

Later versions may hand in further events; an overlay ignores those that it does not know.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = [
    "CancelTimer",
    "Connect",
    "Disconnect",
    "Effect",
    "Event",
    "FindMembers",
    "Joined",
    "Leave",
    "LinkDown",
    "LinkUp",
    "Measure",
    "Measured",
    "MemberDown",
    "MemberUp",
    "MembersFound",
    "Message",
    "Overlay",
    "Refuse",
    "Send",
    "SetTimer",
    "TimerFired",
    "Topology",
    "Unreachable",
]


class MemberUp(NamedTuple):
    """Event: the cluster view has this member, and where to dial it."""

    node: str
    tag: str = ""


class Joined(NamedTuple):
    """Event: this node joins the cluster through this member, to which it has a link."""

    node: str


class Leave(NamedTuple):
    """Event: this node is about to leave the cluster; its links end after what this brings is sent."""


class MemberDown(NamedTuple):
    """Event: it is a member no more."""

    node: str


class LinkUp(NamedTuple):
    """Event: there is a link to this member."""

    node: str


class LinkDown(NamedTuple):
    """Event: the link has ended."""

    node: str


class Unreachable(NamedTuple):
    """Event: a link to this member that was asked for could not be made in time; it is still wanted."""

    node: str


class Measured(NamedTuple):
    """Event: how long a round trip to this member takes, in seconds; infinity when it does not answer."""

    node: str
    seconds: float


class MembersFound(NamedTuple):
    """Event: so many members, or fewer, chosen by chance from all that are not known to be down, this node left out."""

    nodes: tuple[str, ...]


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


class Measure(NamedTuple):
    """Effect: measure the round trip to a member, with or without a link, and hand in `Measured`."""

    node: str


class FindMembers(NamedTuple):
    """Effect: look for members in the cluster view, which knows them all, and hand in `MembersFound`."""

    most: int


class Refuse(NamedTuple):
    """Effect: what this member sent was not taken in, for `reason`, one of a few; it is counted, and logged.

    `late`: it was right once, of a link or a relation that has ended meanwhile, and so is nobody's fault.
    """

    node: str
    reason: str
    late: bool = False


class SetTimer(NamedTuple):
    """Effect: hand in `TimerFired(key)` in `seconds`, in place of the timer of that key, if one runs."""

    key: Hashable
    seconds: float


class CancelTimer(NamedTuple):
    """Effect: stop the timer of that key, if one runs."""

    key: Hashable


Event: TypeAlias = (
    MemberUp
    | MemberDown
    | Joined
    | Leave
    | LinkUp
    | LinkDown
    | Unreachable
    | Message
    | Measured
    | MembersFound
    | TimerFired
)
Effect: TypeAlias = Connect | Disconnect | Send | Refuse | Measure | FindMembers | SetTimer | CancelTimer


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

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """To which of the members that there is a link to (sorted) this node passes on what is for everybody.

        All of them, where a node has few; a sparse choice that is symmetrical and keeps everybody connected, where it
        has many and so has everybody else.
        """


class Topology(Protocol):
    """A user's choice of an overlay, with its parameters. Equal ones are interchangeable."""

    @property
    def name(self) -> str:
        """Goes into the handshake: nodes whose topologies have other names are refused."""

    @property
    def tag(self) -> str:
        """What every member is to know of this node: its role, perhaps, or a tag that slots are reserved for.

        A node keeps the one that it has over a switch to a topology that gives it none.
        """

    def parameters(self) -> Mapping[str, Any]:
        """The keyword arguments that make an equal one, sendable; what is of one node alone is not in it."""

    def overlay(self, node: str) -> Overlay:
        """The machine for one life of the node of that name."""
