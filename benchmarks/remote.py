"""Ours between two nodes, in two OS processes on loopback. The one that measures starts the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import NamedTuple

from benchmarks.local import Counter, Echo
from benchmarks.measuring import Scale, time_of
from benchmarks.serving import served_by
from partisan_actors import Node, Pid, receive, run_blocking, self_pid, send, spawn_link
from partisan_actors.behaviours import call, cast

__all__ = ["BENCHES", "measure", "serve"]

SERVER = "server@127.0.0.1"
PAYLOAD = b"x" * 100


def serve() -> None:
    """The other OS process: a node on which the first starts its servers, until that goes."""
    with Node(SERVER, spawnable=("benchmarks.local.*",)) as node:
        print(node.address, flush=True)
        run_blocking(sys.stdin.read)


class _Caller(NamedTuple):
    server: Pid
    until: float
    parent: Pid

    def run(self) -> None:
        done = 0
        while not done or perf_counter() < self.until:  # one at least, however short the time and busy the machine
            call(self.server, PAYLOAD)
            done += 1
        send(self.parent, done)


def _calls(callers: int, scale: Scale) -> float:
    server = Echo.start(node=SERVER)
    for seconds in (scale.seconds / 5, scale.seconds):  # the first to warm up
        began = perf_counter()
        for _ in range(callers):
            spawn_link(_Caller(server, began + seconds, self_pid()).run)
        done = sum(receive() for _ in range(callers))
    return float(done / (perf_counter() - began))


def _casts(size: int, full: int, scale: Scale) -> float:
    server = Counter.start(node=SERVER)
    payload = b"x" * size
    count = scale.count(full)

    def run() -> None:
        for _ in range(count):
            cast(server, payload)
        if call(server, "handled", timeout=60) != count:
            raise RuntimeError("casts were lost")

    return count / time_of(run)


BENCHES: dict[str, Callable[[Scale], float]] = {
    "remote_call_1": partial(_calls, 1),
    "remote_call_16": partial(_calls, 16),
    "remote_call_128": partial(_calls, 128),
    "remote_cast_100B": partial(_casts, 100, 100_000),
    "remote_cast_1KiB": partial(_casts, 1 << 10, 50_000),
    "remote_cast_64KiB": partial(_casts, 1 << 16, 4_000),
    "remote_cast_1MiB": partial(_casts, 1 << 20, 400),
}


def measure(names: list[str], scale: Scale) -> dict[str, float]:
    """Measure these, one after the other, each by a process of its own."""
    with served_by("partisan_actors") as address, Node("client@127.0.0.1", listen=None) as node:
        node.join(address)
        return {name: node.run(BENCHES[name], scale) for name in names}
