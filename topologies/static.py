"""Static: a node is linked to the members that it joined through, and to those that joined through it. No others.

Whoever builds the cluster draws its graph by its joins: a star, a chain, a tree. Promised: a link that was joined is
wanted for as long as both are members, from both sides, and again when one of them comes back; nobody else is ever a
neighbour. Whether the graph holds together is for who draws it: but if it fell apart and the cluster view found the
other part again, the two that met keep that link, as if the one had joined the other. No timers, no chance.

The one that joined says ("keep",) over the link. Then both do with each new link, as the other may have a new life,
which has forgotten; and who was joined remembers only for as long as the one that joined it is a member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Effect,
    Event,
    Joined,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Refuse,
    Send,
)

__all__ = ["Static", "StaticOverlay"]

_NAME = "static"
_KEEP = ("keep",)


@dataclass(frozen=True)
class Static:
    """Connect a node to what it joins, and to nothing else. Takes no parameters."""

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

    def overlay(self, node: str) -> StaticOverlay:
        """The machine for the node of that name."""
        return StaticOverlay(node)


class StaticOverlay:
    """neighbours := the members that this node joined, or that joined it."""

    __slots__ = ("_joined", "_joined_us", "_members", "_node", "refused")

    def __init__(self, node: str) -> None:
        self.refused: dict[str, int] = {}  # what others sent and was not taken in, by reason
        self._node = node
        self._members: set[str] = set()
        self._joined: set[str] = set()  # also those that are no members now: they may come back
        self._joined_us: set[str] = set()  # members only

    @property
    def name(self) -> str:
        """What the handshake says."""
        return _NAME

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        """Take one event in; see `overlay`."""
        match event:
            case MemberUp(node) if node != self._node:
                self._members.add(node)
                return (Connect(node),) if self._wants(node) else ()
            case MemberDown(node) if node in self._members:
                wanted = self._wants(node)
                self._members.discard(node)
                self._joined_us.discard(node)
                return (Disconnect(node),) if wanted else ()
            case Joined(node) if node != self._node:
                self._members.add(node)
                self._joined.add(node)
                return (Connect(node), Send(node, _KEEP))
            case LinkUp(node) if node in self._members and self._wants(node):
                return (Send(node, _KEEP),)
            case Message(node, payload):
                return self._received(node, payload)
        return ()

    def _received(self, node: str, payload: object) -> Sequence[Effect]:
        reason = "payload" if payload != _KEEP else "no member" if node not in self._members else ""
        if reason:
            self.refused[reason] = self.refused.get(reason, 0) + 1
            return (Refuse(node, reason, late=reason != "payload"),)
        self._joined_us.add(node)
        return (Connect(node),)

    def _wants(self, node: str) -> bool:
        return node in self._joined or node in self._joined_us

    def neighbours(self) -> list[str]:
        """The members among those joined, sorted."""
        return sorted((self._joined | self._joined_us) & self._members)

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """All: there is no other way to those behind them."""
        return linked
