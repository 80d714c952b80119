"""Nodes that relay for each other, in virtual time, over memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from partisan_actors.distribution.relaying import Relaying
from partisan_actors.distribution.routing_parameters import RoutingParameters
from partisan_actors.wire.relays import RELAYS_FEATURE, Buffer
from tests.distribution.nodes import Node, connected
from tests.distribution.world import World

__all__ = ["RelayingWorld"]


class Relays:
    """A node's relaying, and what it tells."""

    def __init__(self, node: Node, most_waiting: int, parameters: RoutingParameters | None, old: bool) -> None:
        self.node = node
        self.arrived: list[tuple[str, bytes]] = []
        self.undeliverable: list[tuple[str, bytes]] = []
        self.answers: dict[bytes, bytes] = {}  # to what is answered as it arrives, and how
        if not old:
            node.peers.identity = replace(node.peers.identity, features=node.peers.identity.features | RELAYS_FEATURE)
        self._parameters = parameters
        self._most_waiting = most_waiting
        self.relaying: Relaying
        self.begin(epoch=1)

    def begin(self, epoch: int) -> None:
        """A life begins."""
        self.relaying = self.node.peers.relaying = Relaying(
            self.node.name,
            self.node.clock,
            self._arrived,
            self._undeliverable,
            epoch=epoch,
            parameters=self._parameters,
            most_waiting=self._most_waiting,
        )

    def _arrived(self, source: str, body: bytes | memoryview) -> None:
        body = bytes(body)
        self.arrived.append((source, body))
        if body in self.answers:
            self.relaying.send(source, (self.answers[body],))

    def _undeliverable(self, destination: str, body: Sequence[Buffer]) -> None:
        self.undeliverable.append((destination, b"".join(body)))

    def send(self, destination: str, *body: bytes) -> None:
        self.relaying.send(destination, body)


class RelayingWorld(World):
    """Such nodes by name, linked as a test says."""

    def __init__(
        self,
        names: Iterable[str],
        seed: int = 1,
        capacity: int = 4096,
        jitter: float = 0.0,
        most_waiting: int = 1 << 20,
        parameters: RoutingParameters | None = None,
        old: Iterable[str] = (),
    ) -> None:
        super().__init__(seed, capacity=capacity, jitter=jitter)
        self.relays = {name: Relays(self.node(name), most_waiting, parameters, name in set(old)) for name in names}

    def __getitem__(self, name: str) -> Relays:
        return self.relays[name]

    def link(self, one: str, other: str) -> None:
        """Connect two, and tell both."""
        mine, theirs = self[one].node, self[other].node
        self.want(mine, theirs)
        self.clock.until(lambda: connected(mine, theirs), 5.0)
        self[one].relaying.linked(mine.session(theirs))
        self[other].relaying.linked(theirs.session(mine))

    def line(self) -> None:
        """Link each to the next."""
        names = list(self.relays)
        for one, other in itertools.pairwise(names):
            self.link(one, other)

    def cut(self, one: str, other: str) -> None:
        """End the session of two, and tell both."""
        session = self[one].node.session(self[other].node)
        for node, peer in ((one, other), (other, one)):
            self[node].node.peers.forget(peer)
            self[node].relaying.unlinked(peer)
        session.end("cut")
        self.clock.run(0.1)
