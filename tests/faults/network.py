"""A bad network between two nodes: what passes can be held or changed, in each direction by itself."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gevent
from gevent.event import Event

from partisan_actors import Node
from tests.conditions import wait_until
from tests.faults.traffic import CHANNELS
from tests.integration.proxy import Proxy
from tests.nodes import Nodes, cluster_of, connected

__all__ = ["RESET", "BadNetwork", "Direction", "bad_network"]

RESET = object()
"""Among what a change gives: both ends of the connection are reset."""


def unchanged(data: bytes) -> Iterable[Any]:
    return (data,)


class Direction:
    """All bytes from one node to the other, whoever dialled."""

    def __init__(self) -> None:
        self._open = Event()
        self._open.set()
        self.change: Callable[[bytes], Iterable[Any]] = unchanged
        """What becomes of bytes that came: bytes to write, seconds to wait, or RESET."""
        self.passed_bytes = 0

    def hold(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def release(self) -> None:
        """Let all through again."""
        self._open.set()

    def passed(self, data: bytes, sink: Any) -> bool:
        """Write what becomes of `data`; False when the connection is to be reset."""
        self._open.wait()
        for piece in self.change(data):
            if piece is RESET:
                return False
            if isinstance(piece, float):
                gevent.sleep(piece)
            else:
                self._open.wait()
                sink.sendall(piece)
                self.passed_bytes += len(piece)
        return True


class _DirectedProxy(Proxy):
    """Stands before one of the two."""

    def __init__(self, towards: Direction, back: Direction) -> None:
        super().__init__()
        self._towards, self._back = towards, back

    def _serve(self, client: Any) -> None:
        server = self._connect_for(client)
        if server is None:
            return
        both = [
            gevent.spawn(self._pass_through, client, server, self._towards),
            gevent.spawn(self._pass_through, server, client, self._back),
        ]
        self._greenlets.update(both)
        try:
            gevent.joinall(both)
        finally:
            self._greenlets.difference_update(both)
            self._abort(client)
            self._abort(server)

    def _pass_through(self, source: Any, sink: Any, direction: Direction) -> None:
        try:
            while data := source.recv(65536):
                if not direction.passed(data, sink):
                    self.cuts += 1
                    break
            else:
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        self._abort(source)
        self._abort(sink)


def hurry(node: Node) -> None:
    """Let it find others silent and out of reach in a third of the time."""
    parameters = cluster_of(node).peers.parameters
    session = replace(parameters.session, heartbeat_interval=0.3, silence=1.3)
    dialling = replace(parameters.dialling, patience=1.7, refused_again=0.2, longest_pause=0.5)
    object.__setattr__(parameters, "session", session)
    object.__setattr__(parameters, "dialling", dialling)


class BadNetwork:
    """Two nodes that reach each other by it only."""

    def __init__(self, nodes: Nodes, options: Callable[[], dict[str, Any]], hurried: bool) -> None:
        self.there, self.back = Direction(), Direction()  # as `here` sees it
        self.proxies = [_DirectedProxy(self.back, self.there), _DirectedProxy(self.there, self.back)]
        self.here, self.other = (
            nodes.start(name, advertise=proxy.address, **({"channels": CHANNELS} | options()))
            for name, proxy in zip(("here", "there"), self.proxies, strict=True)
        )
        for node, proxy in zip((self.here, self.other), self.proxies, strict=True):
            (proxy.target,) = node.listening
            if hurried:
                hurry(node)

    @property
    def both(self) -> tuple[Node, Node]:
        return self.here, self.other

    @property
    def cuts(self) -> int:
        return sum(proxy.cuts for proxy in self.proxies)

    def join(self) -> None:
        """Make them a cluster."""
        self.here.join(self.other.address)  # type: ignore[arg-type]
        self.wait_until_connected()

    def wait_until_connected(self, timeout: float = 10.0) -> None:
        """Until each has the other."""
        wait_until(lambda: connected(self.here, self.other), timeout, what="both are connected")

    def change(self, change: Callable[[bytes], Iterable[Any]] = unchanged) -> None:
        """Let the same become of what goes either way."""
        self.there.change = self.back.change = change

    def reset(self) -> int:
        """Reset all connections; how many there were."""
        return sum(proxy.cut_all() for proxy in self.proxies)

    def close(self) -> None:
        """End it."""
        for proxy in self.proxies:
            proxy.close()


@contextmanager
def bad_network(
    nodes: Nodes, options: Callable[[], dict[str, Any]] = dict, *, hurried: bool = False
) -> Iterator[BadNetwork]:
    """Two nodes that know each other, with this process one of the first's; `hurried`: down in a third of the time."""
    network = BadNetwork(nodes, options, hurried)
    try:
        network.join()
        with network.here.attached():
            yield network
    finally:
        network.change()
        network.there.release()
        network.back.release()
        network.close()
