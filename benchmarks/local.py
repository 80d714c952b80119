"""Ours on one node. All of it runs in a process of the node, as a program would."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.measuring import Scale, rate, resident, time_of
from partisan_actors import Node, Pid, receive, self_pid, send, send_exit, spawn
from partisan_actors.behaviours import GenServer, call, cast, stop
from partisan_actors.behaviours.gen_server import Continue, Stop

__all__ = ["BENCHES", "CASTS", "HOPS", "Counter", "Echo", "measure"]

CASTS = 300_000
WAITING = 100_000
SERVERS = 300_000
HOPS = 100_000


class Echo(GenServer):
    """Answers with what it is asked."""

    def handle_call(self, request: Any, caller: Any) -> Any:
        return request


class Counter(GenServer):
    """Counts what is cast, and says how much that was."""

    def init(self) -> None:
        self.handled = 0

    def handle_call(self, request: Any, caller: Any) -> Any:
        return self.handled

    def handle_cast(self, request: Any) -> None:
        self.handled += 1


class Idle(GenServer):
    """Has a state, and nothing to do."""

    def init(self) -> None:
        self.count = 0


class Brief(GenServer):
    """Ends by itself as soon as it has started."""

    def init(self) -> Continue:
        return Continue()

    def handle_continue(self, term: Any) -> Stop:
        return Stop("normal")


def _calls(server: Pid, count: int) -> None:
    for _ in range(count):
        call(server, 1)


def _call(scale: Scale) -> float:
    return rate(partial(_calls, Echo.start()), scale, batch=1000)


def _call_with_waiting(scale: Scale) -> float:
    own = self_pid()
    for number in range(scale.count(WAITING)):
        send(own, number)
    return _call(scale)


def _cast(scale: Scale) -> float:
    server = Counter.start()
    count = scale.count(CASTS)

    def run() -> None:
        for _ in range(count):
            cast(server, 1)
        if call(server, "handled") != count:
            raise RuntimeError("casts were lost")

    return count / time_of(run)


def _start_stop(scale: Scale) -> float:
    def run(count: int) -> None:
        for _ in range(count):
            stop(Idle.start())

    return rate(run, scale, batch=500)


def _start_end(scale: Scale) -> float:
    def run(count: int) -> None:
        for _ in range(count):
            Brief.start()

    return rate(run, scale, batch=500)


def _nothing() -> None:
    pass


def _spawn(scale: Scale) -> float:
    own = self_pid()

    def run(count: int) -> None:
        for _ in range(count - 1):
            spawn(_nothing)
        spawn(send, own, "done")  # it runs last
        receive()

    return rate(run, scale, batch=1000)


def _idle_memory(scale: Scale) -> float:
    Idle.start()
    gc.collect()
    before = resident()
    count = scale.count(SERVERS)
    for _ in range(count):
        Idle.start()
    gc.collect()
    return (resident() - before) / count


def _pass_on(main: Pid) -> None:
    following = receive()
    while True:
        left = receive()
        send(following if left else main, left - 1)


def _ring(size: int, scale: Scale) -> float:
    members = [spawn(_pass_on, self_pid()) for _ in range(scale.count(size))]
    for member, following in zip(members, members[1:] + members[:1], strict=True):
        send(member, following)

    def run(hops: int) -> None:
        send(members[0], hops)
        receive()

    run(len(members))
    hops = scale.count(HOPS)
    seconds = time_of(partial(run, hops))
    for member in members:
        send_exit(member, "kill")
    return hops / seconds


BENCHES: dict[str, Callable[[Scale], float]] = {
    "call": _call,
    "call_100k_waiting": _call_with_waiting,
    "cast": _cast,
    "start_stop": _start_stop,
    "start_end": _start_end,
    "spawn": _spawn,
    "idle_memory": _idle_memory,
    "ring_100": partial(_ring, 100),
    "ring_10000": partial(_ring, 10_000),
}


def measure(names: list[str], scale: Scale) -> dict[str, float]:
    """Measure these, one after the other, each in a process of its own on one node."""
    with Node("local@127.0.0.1", listen=None) as node:
        return {name: node.run(BENCHES[name], scale) for name in names}
