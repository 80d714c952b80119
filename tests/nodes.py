"""Nodes for tests: several in this OS process, over real sockets, all stopped when the test is over."""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from partisan_actors import Node
from partisan_actors.cluster.cluster import Cluster
from partisan_actors.distribution.live_session import Session
from partisan_actors.wire import handshake
from tests.conditions import wait_until

__all__ = ["SPAWNABLE", "Nodes", "cluster_of", "connected", "cut", "running_nodes", "session_between", "stop_reading"]

SPAWNABLE = ("tests.*",)

_numbers = itertools.count(1)
_derive_once = functools.cache(handshake.derive_key)  # some 100 ms for each node otherwise, and one key for nearly all


class Nodes:
    """Makes nodes, each with a name that no other node of this run has."""

    def __init__(self) -> None:
        self.made: list[Node] = []

    def make(self, name: str = "node", **options: Any) -> Node:
        """A node that does not run yet."""
        options.setdefault("spawnable", SPAWNABLE)
        node = Node(name if "@" in name else f"{name}-{next(_numbers)}@127.0.0.1", **options)
        self.made.append(node)
        return node

    def start(self, name: str = "node", **options: Any) -> Node:
        """A node that runs."""
        return self.make(name, **options).start()

    def cluster(self, *names: str, **options: Any) -> list[Node]:
        """Nodes that all know each other."""
        started = [self.start(name, **options) for name in names]
        for node in started[1:]:
            node.join(started[0].address)  # type: ignore[arg-type]
        wait_until(lambda: connected(*started), what="all are connected")
        return started

    def close(self) -> None:
        """Stop all that run."""
        for node in self.made:
            node.stop(timeout=1.0)


@contextmanager
def running_nodes() -> Iterator[Nodes]:
    """Nodes that are stopped at the end of the block."""
    nodes = Nodes()
    with patch.object(handshake, "derive_key", _derive_once):
        try:
            yield nodes
        finally:
            nodes.close()


def cluster_of(node: Node) -> Cluster:
    """The inside of a node that runs."""
    assert node._cluster is not None
    return node._cluster


def session_between(one: Node, other: Node) -> Session:
    """The session that `one` has with `other`."""
    session = cluster_of(one).peers.session(other.name)
    assert session is not None, f"{one.name} has no session with {other.name}"
    return session


def connected(*nodes: Node) -> bool:
    """Whether each of them has all the others, and no one else, as members and neighbours."""
    names = sorted(node.name for node in nodes)
    return all(
        node.members() == names and node.neighbours() == [name for name in names if name != node.name] for node in nodes
    )


def cut(one: Node, other: Node, how: Callable[[Any], None] | None = None) -> bool:
    """Break the connection between two nodes, as a network does: neither says a word. False if there is none."""
    link = session_between(one, other).link
    sock = getattr(link.connection, "_socket", None) if link is not None else None  # a route has none
    if sock is None:
        return False
    try:
        (how or _shut)(sock)
    except OSError:  # the other side was quicker
        return False
    return True


def stop_reading(node: Node, peer: Node) -> Callable[[], None]:
    """Let `node` read nothing more from `peer`, until what is returned is called."""
    link = session_between(node, peer).link
    assert link is not None
    connection: Any = link.connection
    connection._reader.stop()

    def read_on() -> None:
        if connection._socket is not None:
            connection._reader.start(connection._on_readable)

    return read_on


def _shut(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)
