"""An overlay of one's own: a ring of names, each node linked to the next few and to the last few.

docs/overlay_tutorial.md writes it step by step. Run it: a ring of twelve in virtual time, then three real nodes.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from gevent import sleep

from partisan_actors import Node
from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.members import FullMembers
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies.overlay import Connect, Disconnect, Effect, Event, MemberDown, MemberUp


@dataclass(frozen=True)
class Ring:
    """Connect each node to so many that follow it in the order of names, and so to as many before it."""

    successors: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.successors, int) or self.successors < 1:
            raise ValueError(f"ring: successors is 1 or more, not {self.successors!r}")

    @property
    def name(self) -> str:
        return "ring"

    @property
    def tag(self) -> str:
        return ""

    def parameters(self) -> Mapping[str, Any]:
        return {"successors": self.successors}

    def overlay(self, node: str) -> "RingOverlay":
        return RingOverlay(node, self.successors)


class RingOverlay:
    """neighbours := the next and the last few on the ring of members."""

    def __init__(self, node: str, successors: int) -> None:
        self._node = node
        self._successors = successors
        self._members: set[str] = set()
        self._neighbours: list[str] = []

    @property
    def name(self) -> str:
        return "ring"

    def step(self, event: Event, now: float, random: Random) -> Sequence[Effect]:
        match event:
            case MemberUp(node) if node != self._node:
                self._members.add(node)
                return self._choose_anew(moved=node)
            case MemberDown(node):
                self._members.discard(node)
                return self._choose_anew()
        return ()

    def neighbours(self) -> list[str]:
        return self._neighbours

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        return linked

    def _choose_anew(self, moved: str = "") -> list[Effect]:
        before, self._neighbours = self._neighbours, self._choose()
        effects: list[Effect] = [Connect(node) for node in self._neighbours if node not in before or node == moved]
        effects += [Disconnect(node) for node in before if node not in self._neighbours]
        return effects

    def _choose(self) -> list[str]:
        ring = sorted(self._members | {self._node})
        place = ring.index(self._node)
        steps = [step for far in range(1, self._successors + 1) for step in (far, -far)]
        return sorted({ring[(place + step) % len(ring)] for step in steps} - {self._node})


def simulate():
    simulation = ProtocolSimulation(
        seed=1,
        make=lambda node: [overlay_layer(Ring().overlay(node.name))],
        members=FullMembers(),
    )
    simulation.grow(12, spacing=0.5)
    simulation.run(10.0)
    print("n5@sim has links to", simulation["n5@sim"].linked())
    simulation.crash(simulation["n4@sim"])
    simulation.run(10.0)
    print("n5@sim has links to", simulation["n5@sim"].linked())


def cluster():
    nodes = [Node(f"{name}@127.0.0.1", topology=Ring()).start() for name in ("ann", "bob", "cy")]
    for node in nodes[1:]:
        node.join(nodes[0].address)
    show(nodes, links=2)
    nodes.pop().stop()
    show(nodes, links=1)
    for node in nodes:
        node.stop()


def show(nodes, links):
    """Links come and go in the background."""
    while any(len(node.neighbours()) != links for node in nodes):
        sleep(0.01)
    print([node.neighbours() for node in nodes])


if __name__ == "__main__":
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))
    simulate()
    cluster()
