"""Where the overlays of a simulation hear of members.

In a real node the cluster view tells them. Here that may be a layer of its own (`GivenMembers`), or the simulation,
which knows everybody: `FullMembers` tells all joined nodes of each other, which is for some hundreds of nodes;
`MentionedMembers` tells a node of a member when its overlay first mentions it, which is for 10,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from partisan_actors.testing.simulated_node import SimulatedNode

__all__ = ["FullMembers", "GivenMembers", "MembersSource", "MentionedMembers", "Roll"]


class Roll:
    """Names of which one can be drawn, added and removed in constant time; no set, so the order is always the same."""

    __slots__ = ("_places", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def add(self, name: str) -> None:
        """Write the name in, if it is not in."""
        if name not in self._places:
            self._places[name] = len(self.names)
            self.names.append(name)

    def discard(self, name: str) -> None:
        """Strike the name out, if it is in; the last takes its place."""
        place = self._places.pop(name, None)
        if place is not None:
            last = self.names.pop()
            if last != name:
                self.names[place] = last
                self._places[last] = place

    def draw(self, most: int, without: str, random: Random) -> list[str]:
        """So many names or fewer, by chance, `without` left out."""
        drawn = random.sample(self.names, min(most + 1, len(self.names)))
        return [name for name in drawn if name != without][:most]


class MembersSource(Protocol):
    """Who is told of whom, and when. The ProtocolSimulation that it is of sets `simulation`."""

    simulation: Any

    def joined(self, node: SimulatedNode) -> None:
        """The node has joined, for the first time or again in a new life."""

    def gone(self, node: SimulatedNode, *, left: bool) -> None:
        """It has crashed or left."""

    def mentioned(self, node: SimulatedNode, name: str) -> bool:
        """`node` wants a link to `name`, of which it was not told; whether it may be dialled."""

    def met(self, node: SimulatedNode, name: str) -> bool:
        """`node` has got a link to `name`, of which it was not told; whether it has been now."""

    def find(self, node: SimulatedNode, most: int, random: Random) -> Sequence[str]:
        """What FindMembers of that node finds."""


class _Source:
    simulation: Any

    def joined(self, node: SimulatedNode) -> None:
        """See `MembersSource`."""

    def gone(self, node: SimulatedNode, *, left: bool) -> None:
        """See `MembersSource`."""

    def mentioned(self, node: SimulatedNode, name: str) -> bool:
        """See `MembersSource`."""
        return False

    def met(self, node: SimulatedNode, name: str) -> bool:
        """See `MembersSource`."""
        return False

    def find(self, node: SimulatedNode, most: int, random: Random) -> Sequence[str]:
        """So many live nodes that have joined, by chance: what a cluster view without holes would say."""
        roll: Roll = self.simulation.joined
        return roll.draw(most, node.name, random)


class GivenMembers(_Source):
    """A layer says who is a member: it calls `member_up` and `member_down` of its node.

    It hears of a link before the overlay, which can so be told of the member first. Override `find` to ask its view.
    """


class _Told(_Source):
    """What both have in common: who was told of a node hears that it is gone.

    Args:
        down_after: seconds from a crash to MemberDown; None: never. One that leaves is gone after the round trip.
    """

    def __init__(self, down_after: float | None = 6.0) -> None:
        self.down_after = down_after
        self._told: dict[str, dict[str, None]] = {}  # for each name, who was told of it

    def tell(self, node: SimulatedNode, name: str) -> None:
        """Tell `node` that `name` is a member."""
        about = self.simulation.nodes.get(name)
        self._told.setdefault(name, {})[node.name] = None
        node.member_up(name, about.tag if about is not None else "")

    def met(self, node: SimulatedNode, name: str) -> bool:
        """See `MembersSource`."""
        self.tell(node, name)
        return True

    def gone(self, node: SimulatedNode, *, left: bool) -> None:
        """See `MembersSource`."""
        seconds = self.simulation.leave_delay if left else self.down_after
        if seconds is not None:
            self.simulation.time.push(self.simulation.time.now + seconds, self._down, node)

    def _down(self, gone: SimulatedNode, _b: None, _c: None) -> None:
        if self.simulation.nodes.get(gone.name) is not gone:
            return  # a new life, of which they are told or will be
        nodes = self.simulation.nodes
        for name in self._told.pop(gone.name, {}):
            if nodes[name].alive:
                nodes[name].member_down(gone.name)


class FullMembers(_Told):
    """Everybody who has joined is told of everybody who has, at once."""

    def joined(self, node: SimulatedNode) -> None:
        """See `MembersSource`."""
        nodes = self.simulation.nodes
        for name in list(self.simulation.joined.names):
            if name != node.name:
                self.tell(node, name)
                self.tell(nodes[name], node.name)


class MentionedMembers(_Told):
    """A node is told of a member when its overlay first mentions it, or a link to it comes up."""

    def joined(self, node: SimulatedNode) -> None:
        """Who knew an earlier life is told of this one."""
        nodes = self.simulation.nodes
        for name in list(self._told.get(node.name, {})) if node.life > 1 else ():
            if nodes[name].alive:
                self.tell(nodes[name], node.name)

    def mentioned(self, node: SimulatedNode, name: str) -> bool:
        """See `MembersSource`. One that is known to be down may be dialled all the same, in vain."""
        about = self.simulation.nodes.get(name)
        if about is not None and not self._known_down(about):
            self.tell(node, name)
        return True

    def _known_down(self, about: SimulatedNode) -> bool:
        if about.ended is None or self.down_after is None:
            return False
        return bool(self.simulation.time.now - about.ended >= self.down_after)
