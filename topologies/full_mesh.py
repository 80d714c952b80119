"""Full mesh: every member is a neighbour. The floor that other overlays are measured against, and their example.

Promised: a link to every member that is known, wanted from the moment that it is known until it leaves. So n nodes
hold n(n-1)/2 links; some 200 nodes are the practical limit. No messages, no timers, no chance; and what becomes of a
link changes nothing, as the driver dials again by itself. News for everybody go round a ring with chords, as n copies
from each of n nodes would be too many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from partisan_actors.topologies.chordal_ring import chordal_ring
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Effect,
    Event,
    MemberDown,
    MemberUp,
    Message,
    Refuse,
)

__all__ = ["FullMesh", "FullMeshOverlay"]

_NAME = "full_mesh"


@dataclass(frozen=True)
class FullMesh:
    """Connect every node to every other. Takes no parameters."""

    @property
    def name(self) -> str:
        """What the handshake says."""
        return _NAME

    @property
    def tag(self) -> str:
        """None: all nodes are alike."""
        return ""

    def parameters(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def overlay(self, node: str) -> FullMeshOverlay:
        """The machine for the node of that name."""
        return FullMeshOverlay(node)


class FullMeshOverlay:
    """neighbours := members."""

    __slots__ = ("_members", "_node")

    def __init__(self, node: str) -> None:
        self._node = node
        self._members: set[str] = set()

    @property
    def name(self) -> str:
        """What the handshake says."""
        return _NAME

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in; see `overlay`."""
        match event:
            case MemberUp(node) if node != self._node:
                self._members.add(node)
                # For one that is known, too: it may have moved, and the link that it has may be its own doing.
                return (Connect(node),)
            case MemberDown(node) if node in self._members:
                self._members.discard(node)
                return (Disconnect(node),)
            case Message(node, _):
                return (Refuse(node, "payload"),)  # a mesh says nothing
        return ()

    def neighbours(self) -> list[str]:
        """Every member but this node, sorted."""
        return sorted(self._members)

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """All, where they are few; else those next to this node on a ring of names, and some far across it."""
        return chordal_ring(self._node, linked)
