"""Whole nodes in virtual time, over memory."""

from __future__ import annotations

from collections.abc import Callable

from partisan_actors.distribution import JoinFailure, PeerParameters, Session
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.distribution.stream import StreamParameters
from partisan_actors.transport import MemoryTransport
from tests.distribution.nodes import Node, connected
from tests.distribution.virtual_time import Jitter, VirtualClock

__all__ = ["SMALL", "World", "cut_all", "numbered"]

SMALL = PeerParameters(
    session=SessionParameters(
        stream=StreamParameters(
            joined=1000,
            fragment=700,
            alone=1000,
            turn=500,
            low_watermark=4000,
            high_watermark=8000,
            hard_limit=64000,
            largest=5000,
            owed_bytes=1000,
        )
    ),
    backlog=1000,
)


class World:
    """Nodes on one memory transport, in virtual time."""

    def __init__(
        self,
        seed: int = 1,
        cut_after: Callable[[], int | None] | None = None,
        capacity: int = 4096,
        jitter: float = 0.0,
    ) -> None:
        self.clock = VirtualClock(seed)
        steps = Jitter(self.clock, jitter) if jitter else self.clock
        self.transport = MemoryTransport(steps, capacity=capacity, chunk=1500, cut_after=cut_after)
        self.nodes: list[Node] = []

    def node(self, name: str, **options: object) -> Node:
        options.setdefault("listen", f"{name}:0")
        node = Node(name, clock=self.clock, transport=self.transport, **options)  # type: ignore[arg-type]
        self.nodes.append(node)
        return node

    def join(self, node: Node, address: str, timeout: float = 5.0) -> Session | JoinFailure:
        results: list[Session | JoinFailure] = []
        node.peers.contact(address, results.append, timeout)
        self.clock.until(lambda: results, timeout + 0.5)
        assert len(results) == 1
        return results[0]

    def pair(self, **options: object) -> tuple[Node, Node]:
        """Two nodes that want each other and are connected."""
        one, other = self.node("a", **options), self.node("b", **options)
        self.want(one, other)
        self.clock.until(lambda: connected(one, other), 5.0)
        return one, other

    @staticmethod
    def want(one: Node, other: Node) -> None:
        one.peers.connect(other.name, other.listening)
        other.peers.connect(one.name, one.listening)

    def kill(self, node: Node) -> None:
        """End it as SIGKILL does: its sockets are closed and nothing of it runs any more."""
        for address in node.listening:
            self.transport.listeners.pop(address)
        for link in list(node.peers._links):
            if not link.routed:
                link.connection.cut()  # type: ignore[attr-defined]
        node.peers.tell = lambda *arguments: None  # type: ignore[method-assign]
        node.peers._closed = True
        node.peers._reaching.close()


def cut_all(world: World) -> None:
    """Break every connection."""
    for connection in list(world.transport.connections):
        connection.cut()


def numbered(count: int) -> list[bytes]:
    """So many signals that can be told apart."""
    return [b"%d;" % number for number in range(count)]
