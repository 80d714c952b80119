"""Ours as one of the files that measure Python's actor systems, in their shape: the same groups, and the same metrics.

Those files, `bench_NAME.py`, share a harness, `_common.py`, which lies in their folder and says what each metric is.
This one joins it when that folder is on the path:

    PYTHONPATH=FOLDER python benchmarks/bench_partisan_actors.py [--runs N] [--only GROUP,GROUP]

`$BENCH_T` is the seconds of a measurement where it is not a count that ends it; 1 without it. One line of JSON is
printed. `python -m benchmarks.distribution --peers FOLDER` runs it beside the others.

An actor is a `GenServer`, a member of a ring a plain process. Both nodes are as they come out of the box; channels are
declared for what is measured beyond the shared metrics: `mixed_channels_*` is `mixed_*` with the bulk on a channel of
its own and the small calls on one with priority.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from _common import PAYLOADS, TELL_N, T, main, now, pcts, ready, rss, server, stop, timed

from partisan_actors import (
    Channel,
    Node,
    Pid,
    Remote,
    receive,
    run_blocking,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
)
from partisan_actors.behaviours import GenServer, call, cast

SERVER = "server@127.0.0.1"
CHANNELS = (Channel("bulk"), Channel("control", priority=1))
CASTS = 200_000
HOPS = 200_000
SMALL, LARGE = b"x" * 100, b"x" * (1 << 20)
IN_FLIGHT = 4
LARGE_PAYLOAD = 60_000
"""Above it, megabytes per second are said, too."""
PAUSE = 0.0005
"""Between two calls whose latency is taken."""

Metrics = dict[str, float]


class Echo(GenServer):
    """Answers with what it is asked, or who it is."""

    def handle_call(self, request: Any, caller: Any) -> Any:
        return self_pid() if request == "pid" else request


class Counter(GenServer):
    """Counts what is cast, and answers how much that was since it was last asked; what is called, it only takes."""

    def init(self) -> None:
        self.counted = 0

    def handle_call(self, request: Any, caller: Any) -> Any:
        if request == "pid":
            return self_pid()
        if request != "counted":
            return None
        counted, self.counted = self.counted, 0
        return counted

    def handle_cast(self, request: Any) -> None:
        self.counted += 1


# On one node.


@contextmanager
def alone() -> Iterator[None]:
    """The block runs in a process of a node that no other can reach."""
    with Node("local@127.0.0.1", listen=None):
        yield


def local() -> Metrics:
    """Calls and casts."""
    with alone():
        echo, counter = Echo.start(), Counter.start()

        def run(count: int) -> None:
            for _ in range(count):
                call(echo, 1)

        calls = timed(run, batch=1000)
        return {"local_call_rps": calls, "local_tell_mps": tell(counter, 1, CASTS)}


def tell(counter: Pid, message: Any, count: int) -> float:
    """Messages per second from one sender, until all are counted."""
    began = now()
    for _ in range(count):
        cast(counter, message)
    counted = call(counter, "counted", timeout=80)
    if counted != count:
        raise RuntimeError(f"{counted} of {count} messages arrived")
    return float(count / (now() - began))


def pass_on(main_process: Pid) -> None:
    """A member of a ring; the first message is who follows it, the others are how many hops are left."""
    following = receive()
    while True:
        left = receive()
        send(following if left else main_process, left - 1)


def ring(size: int) -> float:
    """Hops per second of one token, which has been round once before."""
    members = [spawn(pass_on, self_pid()) for _ in range(size)]
    for member, following in zip(members, members[1:] + members[:1], strict=True):
        send(member, following)
    for hops in (size, HOPS):
        began = now()
        send(members[0], hops)
        receive()
    return float(HOPS / (now() - began))


def rings() -> Metrics:
    """A small one and a large one."""
    with alone():
        return {"ring100_hops_s": ring(100), "ring10k_hops_s": ring(10_000)}


def spawning(count: int, name: str) -> Metrics:
    """So many servers, and what an idle one takes; nothing is collected between."""
    with alone():
        Counter.start()
        gc.collect()
        before, began = rss(), now()
        for _ in range(count):
            Counter.start()
        elapsed = now() - began
        return {f"spawn_{name}_per_s": count / elapsed, f"mem_{name}_bytes": (rss() - before) / count}


# Between two nodes.


def serve() -> None:
    """The other OS process, until the first goes."""
    with Node(SERVER, channels=CHANNELS) as node:
        Echo.start(name="echo")
        Counter.start(name="counter")
        ready(node.address)
        run_blocking(sys.stdin.read)


@contextmanager
def joined() -> Iterator[tuple[Pid, Pid]]:
    """The block runs in a process of a node that has joined another; gives the echo and the counter there."""
    process, (address,) = server()
    try:
        with Node("client@127.0.0.1", channels=CHANNELS) as node:
            node.join(address)
            yield call(Remote("echo", SERVER), "pid"), call(Remote("counter", SERVER), "pid")
    finally:
        stop(process)


def calls_until(echo: Pid, until: float, parent: Pid) -> None:
    """A caller, one call after the other."""
    done = 0
    while now() < until:
        call(echo, SMALL, timeout=30)
        done += 1
    send(parent, done)


def calls(echo: Pid, callers: int, seconds: float) -> float:
    """Round trips per second of so many callers."""
    began = now()
    for _ in range(callers):
        spawn(calls_until, echo, began + seconds, self_pid())
    done = sum(receive() for _ in range(callers))
    return float(done / (now() - began))


def remote_call() -> Metrics:
    """With 1, 16 and 128 callers, each after a tenth of a second to warm up."""
    metrics = {}
    with joined() as (echo, _):
        for callers in (1, 16, 128):
            calls(echo, callers, 0.1)
            metrics[f"remote_call_c{callers}_rps"] = calls(echo, callers, T)
    return metrics


def remote_tell() -> Metrics:
    """Of every size, not paced."""
    metrics = {}
    with joined() as (_, counter):
        for name, size in PAYLOADS:
            rate = tell(counter, b"x" * size, TELL_N[name])
            metrics[f"remote_tell_{name}_mps"] = rate
            if size > LARGE_PAYLOAD:
                metrics[f"remote_tell_{name}_MBps"] = rate * size / 1e6
    return metrics


def latencies(echo: Pid, channel: str | None, seconds: float) -> list[float]:
    """Of small calls of one caller, with a pause between."""
    times, until = [], now() + seconds
    while (began := now()) < until:
        call(echo, SMALL, channel=channel, timeout=30)
        times.append(now() - began)
        sleep(PAUSE)
    return times


def flood(counter: Pid, channel: str | None, sent: list[int]) -> None:
    """One large message after the other, each when the one before has been taken."""
    while True:
        call(counter, LARGE, channel=channel, timeout=80)
        sent[0] += 1


def under_bulk(name: str, echo: Pid, counter: Pid, bulk: str | None, small: str | None) -> Metrics:
    """Small calls while four large messages are in flight, all the time, from as many processes."""
    sent = [0]
    flooding = [spawn(flood, counter, bulk, sent) for _ in range(IN_FLIGHT)]
    sleep(0.1)
    before, began = sent[0], now()
    metrics: Metrics = pcts(latencies(echo, small, 2), name)
    metrics[f"{name}_bulk_MBps"] = (sent[0] - before) * len(LARGE) / 1e6 / (now() - began)
    for pid in flooding:
        send_exit(pid, "kill")
    return metrics


def mixed() -> Metrics:
    """Small calls with nothing else going on, and under bulk."""
    with joined() as (echo, counter):
        latencies(echo, None, 0.2)
        idle: Metrics = pcts(latencies(echo, None, 1), "idle")
        one_connection = under_bulk("mixed", echo, counter, None, None)
        call(counter, LARGE, timeout=80)  # what the killed ones sent has been taken before it
        return idle | one_connection | under_bulk("mixed_channels", echo, counter, "bulk", "control")


GROUPS: dict[str, Callable[[], Metrics]] = {
    "local": local,
    "rings": rings,
    "spawn10k": partial(spawning, 10_000, "10k"),
    "spawn100k": partial(spawning, 100_000, "100k"),
    "remote_call": remote_call,
    "remote_tell": remote_tell,
    "mixed": mixed,
}

if __name__ == "__main__":
    os.environ.setdefault("PARTISAN_COOKIE", secrets.token_hex(32))  # for the OS processes that it starts
    main("partisan_actors", importlib.metadata.version("partisan_actors"), GROUPS, serve)
