"""What the cluster view is told, and what it wants done: the events and effects of `membership`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from partisan_actors.cluster.records import Member
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = [
    "LEAVE",
    "Connect",
    "Effect",
    "Event",
    "Forget",
    "Join",
    "Leave",
    "NameConflict",
    "NodeDown",
    "NodeUp",
    "PeerLost",
    "Refused",
    "SendView",
    "SessionStarted",
    "Synchronised",
    "Unreachable",
    "ViewReceived",
]

LEAVE = "leave"
"""Why a session ended, or a node is down, when that was the other's will."""


class SessionStarted(NamedTuple):
    """Event: there is a session with this life, whose handshake named these addresses."""

    node: str
    epoch: int
    bits: int
    addresses: Sequence[str]


class PeerLost(NamedTuple):
    """Event: the session with this life has ended; `reason` is LEAVE if the peer said so."""

    node: str
    bits: int
    reason: str


class Unreachable(NamedTuple):
    """Event: a session with a member that Connect named did not come about in time."""

    node: str


class ViewReceived(NamedTuple):
    """Event: this came over the session with `node`."""

    node: str
    payload: object


class Leave(NamedTuple):
    """Event: leave the cluster, and be alone."""


class Join(NamedTuple):
    """Event: be a member again after Leave. Before a contact is dialled, and before a newcomer is let in."""


class SendView(NamedTuple):
    """Effect: send `payload` over the sessions with `nodes`."""

    nodes: tuple[str, ...]
    payload: tuple[object, ...]


class NodeUp(NamedTuple):
    """Effect: a member is reachable."""

    node: str
    epoch: int
    bits: int


class NodeDown(NamedTuple):
    """Effect: the member of the last NodeUp of that name is not; `reason`: LEAVE, "newer life", or its session's."""

    node: str
    bits: int
    reason: str


class Connect(NamedTuple):
    """Effect: keep a session with this member from now on. Without addresses, the member has to dial."""

    node: str
    addresses: tuple[str, ...]


class Forget(NamedTuple):
    """Effect: want it no more, and end its session, if there is one, after what was sent. Connect may follow."""

    node: str


class Synchronised(NamedTuple):
    """Effect: what `node` knew when it had our hello is known here."""

    node: str


class NameConflict(NamedTuple):
    """Effect: a later life goes by this node's name; once for each."""

    record: Member


class Refused(NamedTuple):
    """Effect: of what `node` sent, so many entries were not taken in, the first of them for `reason`."""

    node: str
    reason: str
    entries: int


Event: TypeAlias = SessionStarted | PeerLost | Unreachable | ViewReceived | Leave | Join | TimerFired
Effect: TypeAlias = (
    SendView | NodeUp | NodeDown | Connect | Forget | Synchronised | NameConflict | Refused | SetTimer | CancelTimer
)
