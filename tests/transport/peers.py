"""Receivers that remember and check what a connection does to them, and pairs of connected ends."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent import get_hub

from partisan_actors.processes.clock import GeventClock
from partisan_actors.transport import TLS, Connection, Listener, MemoryTransport, SocketTransport, Transport
from tests.certificates import Authority
from tests.conditions import wait_until

__all__ = [
    "Network",
    "Recorder",
    "active_watchers",
    "open_descriptors",
    "raw_connection",
    "refusing_address",
    "silent_address",
]


@functools.cache
def certificate_of_loopback() -> TLS:
    """One for all: making an authority takes longer than most tests."""
    folder = tempfile.mkdtemp(prefix="certificates-")
    atexit.register(shutil.rmtree, folder)
    return Authority(Path(folder)).tls("127.0.0.1")


class Recorder:
    """A receiver that keeps what comes and holds the connection to the order of calls."""

    def __init__(self, connection: Connection, size: int = 64 * 1024) -> None:
        self.connection = connection
        self.data = bytearray()
        self.keep = True  # False: only count
        self.count = 0
        self.rooms = 0  # how often there was room again
        self.reason: str | None = None
        self.on_received: Callable[[Recorder, int], None] | None = None
        self.on_writable: Callable[[Recorder], None] | None = None
        self.on_closed: Callable[[Recorder], None] | None = None
        self._space = memoryview(bytearray(size))
        self._depth = 0

    def buffer(self) -> memoryview:
        assert self.reason is None
        return self._space

    def received(self, count: int) -> None:
        self._enter()
        assert 0 < count <= len(self._space)
        self.count += count
        if self.keep:
            self.data += self._space[:count]
        try:
            if self.on_received is not None:
                self.on_received(self, count)
        finally:
            self._depth -= 1

    def writable(self) -> None:
        self._enter()
        assert self.connection.unsent == 0
        self.rooms += 1
        try:
            if self.on_writable is not None:
                self.on_writable(self)
        finally:
            self._depth -= 1

    def closed(self, reason: str) -> None:
        self._enter()
        self.reason = reason
        if self.on_closed is not None:
            self.on_closed(self)
        self._depth -= 1

    def _enter(self) -> None:
        assert self.reason is None, "called after closed"
        assert self._depth == 0, "called while called"
        self._depth += 1

    def expect(self, data: bytes) -> None:
        """Wait for exactly `data` as the whole of what has come."""
        wait_until(lambda: len(self.data) >= len(data) or self.reason is not None, what=f"{len(data)} bytes")
        assert self.data == data


class Network:
    """A transport, and everything that was opened over it, so that a test can end by closing all."""

    def __init__(self, kind: str, path: str) -> None:
        self.clock = GeventClock()
        tls = certificate_of_loopback() if kind == "tls" else None
        self.transport: Transport = (
            MemoryTransport(self.clock) if kind == "memory" else SocketTransport(self.clock, tls)
        )
        self.kind = kind
        self.any_address = {"tcp6": "[::1]:0", "unix": f"unix:{path}", "memory": "m:0"}.get(kind, "127.0.0.1:0")
        self.listeners: list[Listener] = []
        self.ends: list[Recorder] = []
        self.raw: list[socket.socket] = []  # closed with the rest

    def record(self, connection: Connection, size: int = 64 * 1024) -> Recorder:
        end = Recorder(connection, size)
        self.ends.append(end)
        return end

    def listen(self, accepted: Callable[[Connection], Any], address: str | None = None) -> Listener:
        listener = self.transport.listen(address or self.any_address, accepted)
        self.listeners.append(listener)
        return listener

    def dial(self, address: str, connected: Callable[[Connection], Recorder] | None = None) -> Recorder:
        """Connect, and wait for it."""
        outcome: list[Any] = []

        def established(connection: Connection) -> Recorder:
            end = connected(connection) if connected is not None else self.record(connection)
            outcome.append(end)
            return end

        self.transport.dial(address, 5.0, established, outcome.append)
        wait_until(lambda: outcome, what="connected or failed")
        assert isinstance(outcome[0], Recorder), outcome[0]
        return outcome[0]

    def pair(self) -> tuple[Recorder, Recorder]:
        """Make a connection: the dialling end and the accepting one."""
        accepted: list[Recorder] = []

        def accept(connection: Connection) -> Recorder:
            accepted.append(self.record(connection))
            return accepted[-1]

        listener = self.listen(accept)
        near = self.dial(listener.address)
        wait_until(lambda: accepted, what="accepted")
        listener.close()
        if self.kind == "tls":
            ends: Any = (near.connection, accepted[0].connection)
            wait_until(lambda: all(end._ready for end in ends), what="the TLS handshake is over")
        return near, accepted[0]

    def failure(self, address: str, timeout: float = 5.0) -> str:
        """Dial `address`, which must fail, and give the reason."""
        reasons: list[str] = []

        def connected(connection: Connection) -> Recorder:
            raise AssertionError(f"connected to {address}")

        self.transport.dial(address, timeout, connected, reasons.append)
        assert not reasons, "failed inside dial"
        wait_until(lambda: reasons, timeout + 5.0, what="failed")
        return reasons[0]

    def close(self) -> None:
        for raw in self.raw:
            raw.close()
        for listener in self.listeners:
            listener.close()
        for end in self.ends:
            end.connection.close("the test is over")
        wait_until(lambda: all(end.reason is not None for end in self.ends), what="every end closed")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def active_watchers() -> int:
    count: int = get_hub().loop.activecnt
    return count


def refusing_address(network: Network) -> str:
    """An address that a socket holds without listening."""
    holder = socket.socket()
    network.raw.append(holder)
    holder.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{holder.getsockname()[1]}"


def silent_address(network: Network) -> str:
    """An address where connecting gets no answer: that of a listener whose queue is full."""
    listening = socket.socket()
    network.raw.append(listening)
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    for _ in range(4):
        filler = socket.socket()
        network.raw.append(filler)
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
    return f"127.0.0.1:{listening.getsockname()[1]}"


def raw_connection(network: Network) -> tuple[socket.socket, Recorder]:
    """A plain non-blocking socket, connected to an accepted end."""
    accepted: list[Recorder] = []

    def accept(connection: Connection) -> Recorder:
        accepted.append(network.record(connection))
        return accepted[-1]

    listener = network.listen(accept)
    if network.kind == "unix":
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(listener.address.removeprefix("unix:"))
    else:
        peer = socket.create_connection(("127.0.0.1", int(listener.address.rpartition(":")[2])))
    network.raw.append(peer)
    peer.setblocking(False)
    wait_until(lambda: accepted, what="accepted")
    listener.close()
    return peer, accepted[0]
