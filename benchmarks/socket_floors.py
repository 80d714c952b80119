"""What gevent's sockets do with nothing on top, between two OS processes on loopback.

A client says in 16 bytes what follows: `count` messages of `size` bytes, of which each is sent back, or, with
`answer` 0, none, and one byte at the end of all.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import gevent
from gevent import socket

from benchmarks.measuring import Scale, time_of
from benchmarks.remote import PAYLOAD
from benchmarks.serving import served_by

__all__ = ["BENCHES", "measure", "serve"]

_ORDER = struct.Struct(">BxxxIQ")  # answer, size, count
_READ = 256 << 10


def serve() -> None:
    """The other OS process, until the first goes."""
    listening = socket.socket()  # gevent's create_server makes one of the standard library's
    listening.bind(("127.0.0.1", 0))
    listening.listen(256)
    print(listening.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            gevent.spawn(_serve_one, listening.accept()[0])

    accepting = gevent.spawn(accept)
    gevent.get_hub().threadpool.apply(sys.stdin.read)
    accepting.kill()


def _serve_one(connection: Any) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while order := _receive(connection, _ORDER.size):
        answer, size, count = _ORDER.unpack(order)
        if answer:
            while count and (message := _receive(connection, size)):
                connection.sendall(message)
                count -= 1
            continue
        left = count * size
        while left and (read := len(connection.recv(min(_READ, left)))):
            left -= read
        connection.sendall(b"!")


def _receive(connection: Any, size: int) -> bytes:
    """So many bytes, or none at the end."""
    data: bytes = connection.recv(size)
    while data and len(data) < size:
        data += connection.recv(size - len(data))
    return data


def _connect(address: str) -> Any:
    connection = socket.create_connection(("127.0.0.1", int(address)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _calls(callers: int, address: str, scale: Scale) -> float:
    connections = [_connect(address) for _ in range(callers)]
    for connection in connections:
        connection.sendall(_ORDER.pack(1, len(PAYLOAD), 1 << 60))

    def run(connection: Any, until: float) -> int:
        done = 0
        while not done or perf_counter() < until:  # one at least, however short the time and busy the machine
            connection.sendall(PAYLOAD)
            _receive(connection, len(PAYLOAD))
            done += 1
        return done

    for seconds in (scale.seconds / 5, scale.seconds):  # the first to warm up
        began = perf_counter()
        greenlets = [gevent.spawn(run, connection, began + seconds) for connection in connections]
        gevent.joinall(greenlets)
    result = sum(greenlet.get() for greenlet in greenlets) / (perf_counter() - began)
    for connection in connections:
        connection.close()
    return float(result)


def _casts(size: int, full: int, address: str, scale: Scale) -> float:
    payload = b"x" * size
    count = scale.count(full)
    with _connect(address) as connection:

        def run() -> None:
            connection.sendall(_ORDER.pack(0, size, count))
            for _ in range(count):
                connection.sendall(payload)
            connection.recv(1)

        return count / time_of(run)


BENCHES: dict[str, Callable[[str, Scale], float]] = {
    "remote_call_1": partial(_calls, 1),
    "remote_call_16": partial(_calls, 16),
    "remote_call_128": partial(_calls, 128),
    "remote_cast_100B": partial(_casts, 100, 100_000),
    "remote_cast_1KiB": partial(_casts, 1 << 10, 50_000),
    "remote_cast_64KiB": partial(_casts, 1 << 16, 4_000),
    "remote_cast_1MiB": partial(_casts, 1 << 20, 400),
}


def measure(names: list[str], scale: Scale) -> dict[str, float]:
    """Measure these, one after the other, over fresh connections."""
    with served_by("gevent") as address:
        return {name: BENCHES[name](address, scale) for name in names}
