"""What the peer service is told, and what it wants done, beside the events and effects of the view."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from partisan_actors.cluster import view_events as view
from partisan_actors.distribution.machine import TimerFired
from partisan_actors.topologies.overlay import Topology

__all__ = [
    "Connect",
    "Disconnect",
    "Event",
    "Gossip",
    "JoinedThrough",
    "Measure",
    "Measured",
    "OverlayReceived",
    "OverlayRefused",
    "SendOverlay",
    "Switch",
    "Switched",
]


class JoinedThrough(NamedTuple):
    """Event: the link to this node is the one that this node joins by."""

    node: str


class OverlayReceived(NamedTuple):
    """Event: the overlay of `node` sent this, over the link to it."""

    node: str
    payload: object


class Measured(NamedTuple):
    """Event: the answer to `Measure`; infinity when it does not answer."""

    node: str
    seconds: float


class Switch(NamedTuple):
    """Event: the whole cluster is to run with this topology."""

    topology: Topology


class Connect(NamedTuple):
    """Effect: keep a link to it from now on. Without addresses it has to dial."""

    node: str
    addresses: tuple[str, ...]


class Disconnect(NamedTuple):
    """Effect: want no link to it any more, and close the one there is, after what was sent."""

    node: str


class SendOverlay(NamedTuple):
    """Effect: send this over the link to `node`."""

    node: str
    payload: object


class OverlayRefused(NamedTuple):
    """Effect: what the overlay of `node` sent was not taken in; `late`: it was right once, and is nobody's fault."""

    node: str
    reason: str
    late: bool


class Measure(NamedTuple):
    """Effect: find out how long a round trip to it takes."""

    node: str
    addresses: tuple[str, ...]


class Gossip(NamedTuple):
    """Effect: what is for everybody goes to these neighbours from now on, sorted."""

    nodes: tuple[str, ...]


class Switched(NamedTuple):
    """Effect: this node runs with that topology from now on."""

    name: str
    version: int


Event: TypeAlias = view.Event | JoinedThrough | OverlayReceived | Measured | Switch | TimerFired
