"""Peers for tests: nodes that note what they are told, over any transport."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from partisan_actors.distribution import Conduits, JoinFailure, LocalIdentity, PeerParameters, Peers, Session
from partisan_actors.distribution.channels import Channel, declare_channels
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.processes.clock import Clock, GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.transport import SocketTransport, Transport
from partisan_actors.wire.handshake import PROTOCOL, Hello, Keys, derive_key
from tests.conditions import wait_until

__all__ = ["COOKIE", "Node", "connected", "join", "keys_of"]

COOKIE = b"a cookie that nobody guesses"

_bits = itertools.count(1)


@functools.cache
def _key(cookie: bytes) -> bytes:
    return derive_key(cookie)


def keys_of(*cookies: bytes) -> Keys:
    """The keys of cookies, each derived once in a run: that takes 40 ms."""
    return Keys.derived([_key(cookie) for cookie in cookies])


class Node:
    """A `Peers` and everything that it tells."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        transport: Transport | None = None,
        epoch: int = 1,
        bits: int | None = None,
        topology: str = "full_mesh",
        cookies: Sequence[bytes] = (COOKIE,),
        parameters: PeerParameters | None = None,
        protocol: tuple[int, int] = (PROTOCOL, PROTOCOL),
        channels: Sequence[Channel] = (),
        listen: str | None = "127.0.0.1:0",
        conduits: Conduits | None = None,
    ) -> None:
        self.clock = clock if clock is not None else GeventClock(seed=1)
        self.life = Life(name, epoch, bits if bits is not None else next(_bits))
        self.name = name
        self.log: list[tuple[str, object, object]] = []  # everything, in order
        self.rests: list[tuple[str, bool]] = []  # whose sessions rested, and went on
        self.bodies: list[bytes] = []
        self.by_stream: dict[tuple[int, int], list[bytes]] = {}  # the same, by stream
        self.refused_by_us: dict[str, str] = {}
        self.routed = conduits is not None
        self.kept: set[str] = set()  # names of those whose sessions something hangs on
        self.listening: list[str] = []
        declared = declare_channels(channels)
        identity = LocalIdentity(self.life, topology, declared, addresses=lambda: self.listening, protocol=protocol)
        transport = transport if transport is not None else SocketTransport(self.clock)
        self.peers = Peers(identity, keys_of(*cookies), self.clock, transport, self, parameters, conduits)
        if listen is not None:
            self.listening = self.peers.listen([listen])

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.listening[0]

    def told(self, kind: str) -> list[object]:
        """The details of every event of a kind."""
        return [detail for what, _, detail in self.log if what == kind]

    def session(self, other: Node) -> Session:
        """The live session with `other`."""
        session = self.peers.session(other.name)
        assert session is not None
        return session

    # What `Peers` tells

    def session_started(self, session: Session) -> None:
        """Note it."""
        self.log.append(("started", session.node, session.number))

    def received(self, session: Session, body: memoryview | bytes, outgoing: Outgoing) -> None:
        """Note it."""
        assert ("started", session.node, session.number) in self.log
        assert session.ended is None
        self.bodies.append(bytes(body))
        self.by_stream.setdefault(outgoing.stream.id, []).append(bytes(body))

    def session_ended(self, session: Session, reason: str) -> None:
        """Note it."""
        self.log.append(("ended", session.node, reason))

    def linked(self, session: Session) -> None:
        """Note it, where that is of interest."""
        if self.routed:
            self.log.append(("linked", session.node, session.number))

    def unlinked(self, node: str, bits: int, reason: str) -> None:
        """Note it; without routes, a node without a link is down."""
        if self.routed:
            self.log.append(("unlinked", node, reason))
        else:
            self.peers.down(node, reason)

    def resting(self, session: Session) -> None:
        """Note it."""
        self.rests.append((session.node, True))

    def resumed(self, session: Session) -> None:
        """Note it."""
        self.rests.append((session.node, False))

    def keeps(self, session: Session) -> bool:
        """Whether a test says that it is needed."""
        return session.node in self.kept

    def unreachable(self, node: str, reason: str) -> None:
        """Note it."""
        self.log.append(("unreachable", node, reason))

    def check_peer(self, hello: Hello) -> str | None:
        """Refuse whom a test named."""
        return self.refused_by_us.get(hello.node)


def join(node: Node, address: str, timeout: float = 5.0) -> Session | JoinFailure:
    """Contact `address` and wait for what comes of it."""
    results: list[Session | JoinFailure] = []
    node.peers.contact(address, results.append, timeout)
    wait_until(lambda: results, timeout + 1.0, what=f"an outcome of {node.name} contacting {address}")
    assert len(results) == 1
    return results[0]


def connected(one: Node, other: Node) -> bool:
    """Whether the two have the same session, with a connection."""
    mine, theirs = one.peers.session(other.name), other.peers.session(one.name)
    return (
        mine is not None
        and theirs is not None
        and mine.connected
        and theirs.connected
        and mine.number == theirs.number
        and mine.peer == other.life
        and theirs.peer == one.life
    )
