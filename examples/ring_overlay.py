"""An overlay of one's own: a ring of names, each node linked to the next few and to the few before it.

docs/overlay_tutorial.md writes it step by step. Run it: five nodes in one OS process form a ring, and one leaves it.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from gevent import sleep

from partisan_actors import Node
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
                return self._chosen_anew(moved=node)
            case MemberDown(node):
                self._members.discard(node)
                return self._chosen_anew()
        return ()

    def neighbours(self) -> list[str]:
        return self._neighbours

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        return linked

    def _chosen_anew(self, moved: str = "") -> list[Effect]:
        before, self._neighbours = self._neighbours, self._choose()
        effects: list[Effect] = [
            Connect(node) for node in self._neighbours if node not in before or node == moved
        ]
        effects += [Disconnect(node) for node in before if node not in self._neighbours]
        return effects

    def _choose(self) -> list[str]:
        ring = sorted(self._members | {self._node})
        place = ring.index(self._node)
        steps = [step for far in range(1, self._successors + 1) for step in (far, -far)]
        return sorted({ring[(place + step) % len(ring)] for step in steps} - {self._node})


def links(nodes):
    return {node.name.partition("@")[0]: [name.partition("@")[0] for name in node.neighbours()] for node in nodes}


def wait_for(nodes, expected):
    """Links come and go in the background."""
    for _ in range(400):
        if links(nodes) == expected:
            break
        sleep(0.05)
    print(links(nodes))


def main():
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))
    nodes = [Node(f"{name}@127.0.0.1", topology=Ring()).start() for name in "abcde"]
    for node in nodes[1:]:
        node.join(nodes[0].address)
    wait_for(nodes, {"a": ["b", "e"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c", "e"], "e": ["a", "d"]})
    nodes.pop(2).stop()
    wait_for(nodes, {"a": ["b", "e"], "b": ["a", "d"], "d": ["b", "e"], "e": ["a", "d"]})
    for node in nodes:
        node.stop()


if __name__ == "__main__":
    main()
