"""What the cluster view is told, and what it wants done: the events and effects of `membership`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from partisan_actors.cluster.records import Member
from partisan_actors.distribution.dialling import BUSY, SILENT
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = [
    "BUSY",
    "LEAVE",
    "NEWER_LIFE",
    "NO_LINK",
    "REFUSED",
    "SILENT",
    "Closed",
    "Contact",
    "Effect",
    "Event",
    "Forget",
    "Heard",
    "Join",
    "Leave",
    "LinkDown",
    "LinkUp",
    "Met",
    "Moved",
    "NameConflict",
    "NodeDown",
    "NodeUp",
    "Probe",
    "Probed",
    "Refused",
    "SendView",
    "Suspected",
    "Synchronised",
    "Trusted",
    "Unreachable",
    "ViewReceived",
    "Written",
]

LEAVE = "leave"
"""Why a link ended, or a node is down, when that was the other's will."""

NEWER_LIFE = "newer life"
"""Why a node is down when a later life of its name is a member."""

REFUSED = "connection refused"
"""Why a link ended, or was not made, when the machine of the member answered for it."""

NO_LINK = "no link"
"""Why nothing is taken in of a node: its link has ended, and this came after by a route. Nobody's fault."""


class LinkUp(NamedTuple):
    """Event: there is a link to this life, whose handshake named these addresses."""

    node: str
    epoch: int
    bits: int
    addresses: Sequence[str]


class Met(NamedTuple):
    """Event: this life has proved itself, by whatever way: it is a member, if nothing later is known of it."""

    node: str
    epoch: int
    bits: int
    addresses: Sequence[str]


class LinkDown(NamedTuple):
    """Event: the link to this life was lost, and could not be made again; `reason` is LEAVE if the peer said so."""

    node: str
    bits: int
    reason: str


class Closed(NamedTuple):
    """Event: the link to this life has ended by the will of one of the two, which says nothing of either."""

    node: str
    bits: int


class Unreachable(NamedTuple):
    """Event: a link to this member could not be made."""

    node: str
    reason: str


class Probed(NamedTuple):
    """Event: a life of that name answered, or nobody did, for `reason`.

    It may say that it has `left`, and the digest of the members that it knows.
    """

    node: str
    bits: int | None
    reason: str = ""
    left: bool = False
    digest: int | None = None


class ViewReceived(NamedTuple):
    """Event: this came over the link to `node`."""

    node: str
    payload: object


class Written(NamedTuple):
    """Event: the own record is to say this from now on."""

    tag: str
    topology: int


class Leave(NamedTuple):
    """Event: leave the cluster, and be alone."""


class Join(NamedTuple):
    """Event: be a member again after Leave. Before a contact is dialled, and before a newcomer is let in."""


class SendView(NamedTuple):
    """Effect: send `payload` over the links to `nodes`."""

    nodes: tuple[str, ...]
    payload: tuple[object, ...]


class NodeUp(NamedTuple):
    """Effect: there is a member of that name."""

    node: str
    epoch: int
    bits: int


class NodeDown(NamedTuple):
    """Effect: the member of the last NodeUp of that name is none; `reason`: LEAVE, NEWER_LIFE, or what it died of."""

    node: str
    bits: int
    reason: str


class Moved(NamedTuple):
    """Effect: the record of a member that is up says something else of it: an address, a tag, a topology."""

    node: str


class Suspected(NamedTuple):
    """Effect: somebody cannot reach this member, and it has not refuted that yet."""

    node: str


class Trusted(NamedTuple):
    """Effect: it has refuted that, or is reached."""

    node: str


class Heard(NamedTuple):
    """Effect: the first word of a member came in over the link to `via`: that is a way to it."""

    node: str
    via: str


class Forget(NamedTuple):
    """Effect: end the link to it, after what was sent: this life is no member, or this node is none."""

    node: str


class Probe(NamedTuple):
    """Effect: see whether anybody answers by that name at these addresses, and hand in `Probed`.

    Without addresses: over other members, if there is a way; for one that nobody can dial.
    """

    node: str
    addresses: tuple[str, ...]


class Contact(NamedTuple):
    """Effect: make a link to this node, which answers, and is down, suspected, or has left; or is on another `island`.

    One that has left says so again, over that. `briefly`: it is a member like others, and knows of other members.
    """

    node: str
    addresses: tuple[str, ...]
    island: bool = False
    briefly: bool = False


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


Event: TypeAlias = (
    LinkUp | Met | LinkDown | Closed | Unreachable | Probed | ViewReceived | Written | Leave | Join | TimerFired
)
Effect: TypeAlias = (
    SendView
    | NodeUp
    | NodeDown
    | Moved
    | Suspected
    | Trusted
    | Heard
    | Forget
    | Probe
    | Contact
    | Synchronised
    | NameConflict
    | Refused
    | SetTimer
    | CancelTimer
)
