"""Ours between two nodes in two OS processes, as Erlang's and Partisan's distribution are measured.

The processes on the other node count, echo and give credit; the ones here call, send and flood.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.local import Counter, Echo
from partisan_actors import (
    Channel,
    Node,
    Pid,
    receive,
    run_blocking,
    self_pid,
    send,
    send_exit,
    spawn_link,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import call, cast

__all__ = ["BENCHES", "CHANNELS", "SERVER", "measure", "serve"]

SERVER = "server@127.0.0.1"
CHANNELS = (Channel("bulk"), Channel("bulk16", parallelism=16), Channel("control", priority=1))
MEBIBYTE = 1 << 20
OUTSTANDING = 16

Figures = dict[str, float]


def serve() -> None:
    """The other OS process: a node on which the first starts what it needs, until that goes."""
    with Node(SERVER, spawnable=("benchmarks.*",), channels=CHANNELS) as node:
        print(node.address, flush=True)
        run_blocking(sys.stdin.read)


# On the other node.


def sink(owner: Pid, count: int) -> None:
    """Count messages, then tell."""
    for _ in range(count):
        receive(bytes)
    send(owner, "done")


def give_credit(owner: Pid, channel: str) -> None:
    """Answer each large message with a small one, on the channel that it came on."""
    while True:
        receive(bytes)
        send(owner, "credit", channel=channel)


# On this one.


def percentile(values: list[float], share: float) -> float:
    """In microseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1e6


def _caller(server: Pid, until: float, parent: Pid, channel: str | None) -> None:
    times: list[float] = []
    while (began := perf_counter()) < until:
        call(server, b"x" * 100, channel=channel)
        times.append(perf_counter() - began)
    send(parent, times)


def calls(callers: int, seconds: float) -> Figures:
    """Closed-loop callers of one server."""
    server = Echo.start(node=SERVER)
    for span in (seconds / 5, seconds):  # the first to warm up
        began = perf_counter()
        for _ in range(callers):
            spawn_link(_caller, server, began + span, self_pid(), None)
        times = [time for _ in range(callers) for time in receive(list)]
        elapsed = perf_counter() - began
    return {"per_s": len(times) / elapsed, "p50_us": percentile(times, 0.5), "p99_us": percentile(times, 0.99)}


def casts(size: int, batch: int, seconds: float) -> Figures:
    """One sender, batch after batch, each timed to the last one's handling."""
    server = Counter.start(node=SERVER)
    payload = b"x" * size
    done, began = 0, perf_counter()
    while not done or perf_counter() - began < seconds:
        for _ in range(batch):
            cast(server, payload)
        done += batch
        if call(server, "handled", timeout=60) != done:
            raise RuntimeError("casts were lost")
    return {"per_s": done / (perf_counter() - began)}


def bulk(senders: int, channel: str, seconds: float) -> Figures:
    """Messages of 1 MiB from so many senders, each to a receiver of its own, with the sender's number as the key."""
    each = max(2, int(256 * seconds) // senders)

    def sender(key: int, parent: Pid) -> None:
        receiver = spawn_opt(sink, (self_pid(), each), node=SERVER)
        send(parent, "ready")
        receive("go".__eq__)
        payload = bytes(MEBIBYTE)
        for _ in range(each):
            send(receiver, payload, channel=channel, partition_key=key)
        receive("done".__eq__)
        send(parent, "done")

    pids = [spawn_link(sender, number, self_pid()) for number in range(senders)]
    for _ in pids:
        receive("ready".__eq__)
    began = perf_counter()
    for pid in pids:
        send(pid, "go")
    for _ in pids:
        receive("done".__eq__)
    return {"mb_per_s": senders * each * MEBIBYTE / 1e6 / (perf_counter() - began)}


def mixed(flood: str, small: str | None, seconds: float) -> Figures:
    """Small calls of one caller while 16 messages of 1 MiB are outstanding from another process."""
    sent = [0]

    def flooder() -> None:
        receiver = spawn_opt(give_credit, (self_pid(), flood), node=SERVER)
        payload = bytes(MEBIBYTE)
        for number in range(OUTSTANDING):
            send(receiver, payload, channel=flood, partition_key=number)
        while True:
            receive("credit".__eq__)
            sent[0] += 1
            send(receiver, payload, channel=flood, partition_key=sent[0])

    trap_exits()
    server = Echo.start(node=SERVER)
    call(server, b"x", channel=small)
    pid = spawn_link(flooder)
    settled = perf_counter() + 0.3
    while perf_counter() < settled:
        call(server, b"x", channel=small)
    began, before = perf_counter(), sent[0]
    spawn_link(_caller, server, began + seconds, self_pid(), small)
    times = receive(list)
    figures = {
        "p50_us": percentile(times, 0.5),
        "p99_us": percentile(times, 0.99),
        "bulk_mb_per_s": (sent[0] - before) * MEBIBYTE / 1e6 / (perf_counter() - began),
    }
    send_exit(pid, "kill")
    return figures


BENCHES: dict[str, Callable[[float], Figures]] = {
    "call_1": lambda seconds: calls(1, seconds),
    "call_16": lambda seconds: calls(16, seconds),
    "call_128": lambda seconds: calls(128, seconds),
    "cast_100B": lambda seconds: casts(100, 20_000, seconds),
    "cast_100B_backlog": lambda seconds: casts(100, 100_000, seconds),
    "cast_1KiB": lambda seconds: casts(1 << 10, 20_000, seconds),
    "bulk_1": lambda seconds: bulk(1, "bulk", seconds),
    "bulk_16": lambda seconds: bulk(16, "bulk", seconds),
    "bulk_16_on_16": lambda seconds: bulk(16, "bulk16", seconds),
    "bulk_128_on_16": lambda seconds: bulk(128, "bulk16", seconds),
    "mixed_one_connection": lambda seconds: mixed("default", None, seconds),
    "mixed_channels": lambda seconds: mixed("bulk", "control", seconds),
    "mixed_on_16": lambda seconds: mixed("bulk16", "control", seconds),
}
"""What is measured, each by a process of its own."""


def measure(address: str, names: list[str], seconds: float) -> dict[str, Any]:
    """Measure these between a new node and the one at `address`."""
    with Node("client@127.0.0.1", channels=CHANNELS) as node:
        node.join(address)
        return {name: node.run(BENCHES[name], seconds) for name in names}
