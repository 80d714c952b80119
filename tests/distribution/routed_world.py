"""Nodes that reach each other over others, in virtual time, over memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from partisan_actors.distribution import PeerParameters
from partisan_actors.distribution.conduits import Conduits
from partisan_actors.distribution.relaying import Relaying
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.wire.relays import RELAYS_FEATURE, Buffer
from tests.distribution.nodes import Node, connected
from tests.distribution.world import World

__all__ = ["RoutedWorld", "routed"]


class RoutedWorld(World):
    """Nodes that relay, and go by routes where no link leads."""

    def __init__(self, names: str = "", *, links: Sequence[str] = (), seed: int = 1, jitter: float = 0.0) -> None:
        """Make nodes of those names, one letter each, and link the pairs."""
        super().__init__(seed, capacity=1 << 16, jitter=jitter)
        self.by_name = {name: self.node(name) for name in names}
        for pair in links:
            self.link(pair[0], pair[1])

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    def node(self, name: str, **options: object) -> Node:
        holder: list[Node] = []

        def send(destination: str, buffers: Sequence[Buffer]) -> None:
            relaying = holder[0].peers.relaying
            assert relaying is not None
            relaying.send(destination, buffers)

        def doubt(destination: str, seconds: float) -> None:
            relaying = holder[0].peers.relaying
            assert relaying is not None
            relaying.doubt(destination, seconds)

        conduits = Conduits(name, self.clock, send, doubt=doubt)
        options.setdefault("parameters", PeerParameters(session=SessionParameters(idle=60.0)))
        node = super().node(name, conduits=conduits, **options)
        holder.append(node)
        identity = node.peers.identity
        node.peers.identity = replace(identity, features=identity.features | RELAYS_FEATURE)
        node.peers.relaying = Relaying(
            name, self.clock, conduits.arrived, conduits.undeliverable, epoch=node.life.epoch
        )
        return node

    def link(self, one: str, other: str) -> None:
        """Let two want a link to each other, and wait for it."""
        self.want(self[one], self[other])
        self.clock.until(lambda: linked(self[one], self[other]), 5.0)

    def unlink(self, one: str, other: str) -> None:
        """Let two want their link no more."""
        self[one].peers.forget(other)
        self[other].peers.forget(one)
        self.clock.until(lambda: not linked(self[one], self[other]), 5.0)

    def line(self, names: str) -> None:
        """Link each to the next."""
        for one, other in itertools.pairwise(names):
            self.link(one, other)

    def part(self, one: str, other: str) -> None:
        """Cut the link of two, and let neither dial the other any more, as a firewall does that refuses."""
        for name, peer in ((one, other), (other, one)):
            dialler = self[name].peers._reaching.diallers[peer]
            dialler._machine.addresses = ("nowhere:1",)
            session = self[name].peers.session(peer)
            if session is not None and session.direct:
                assert session.link is not None
                session.hello = replace(session.hello, addresses=())
                session.link.connection.cut()  # type: ignore[attr-defined]

    def kill(self, node: Node) -> None:
        """As SIGKILL does: it relays nothing any more, its own frames neither."""
        assert node.peers.relaying is not None
        node.peers.relaying.close()
        super().kill(node)

    def open(self, one: str, other: str) -> None:
        """Let one open a session with another."""
        self[one].peers.open(other)
        self.clock.until(lambda: connected(self[one], self[other]), 8.0)


def linked(one: Node, other: Node) -> bool:
    """Whether the two have the same session, with a link."""
    return connected(one, other) and one.session(other).direct and other.session(one).direct


def routed(one: Node, other: Node) -> bool:
    """Whether the two have the same session, by a route."""
    return connected(one, other) and not one.session(other).direct and not other.session(one).direct
