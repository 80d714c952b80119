"""Ours in two OS processes. The one that measures starts the other, and prints a line for each cell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

from benchmarks.paper import workloads
from benchmarks.paper.load import Load
from benchmarks.paper.records import Cell, Order, Outcome
from partisan_actors import (
    Channel,
    Node,
    Pid,
    receive,
    run_blocking,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn_link,
    spawn_opt,
)

__all__ = ["channels_of", "measure", "percentile", "send_options", "serve"]

NEAR, FAR = "near@127.0.0.1", "far@127.0.0.1"
CHANNELS = ("default", "gossip", "broadcast", "vnode")
"""The paper's four; its undefined is our default."""

WARM_UP_SIZE = 512 << 10
"""Bytes of a message at the most while connections are made and their windows grow."""


def channels_of(order: Order) -> tuple[Channel, ...]:
    """What both nodes declare."""
    return tuple(Channel(name, parallelism=order.parallelism) for name in CHANNELS[: order.channels])


def send_options(order: Order, actor: int) -> workloads.Options:
    """How the messages of an actor travel, and the answers."""
    options: workloads.Options = {}
    if order.channels > 1:
        options["channel"] = CHANNELS[order.channels - 1]
    if order.affinity:
        options["partition_key"] = actor
    return options


def percentile(actors: list[list[float]], share: float) -> int:
    """Of the requests of all actors, in microseconds; 0 of none.

    Every actor counts the same, as in the paper, where each makes as many requests. Here those that are served fast
    make more of them, and would hide that others wait.
    """
    weighted = sorted((time, 1 / len(times)) for times in actors for time in times)
    reached, goal = 0.0, share * sum(map(bool, actors)) - 1e-6
    for time, weight in weighted:
        reached += weight
        if reached >= goal:
            return round(time * 1e6)
    return 0


def serve(order: Order) -> None:
    """The other OS process: a node on which the first starts what it needs, until that goes."""
    with Node(FAR, spawnable=("benchmarks.paper.*",), channels=channels_of(order)) as node:
        print(node.address, flush=True)
        run_blocking(sys.stdin.read)


@contextmanager
def _serving(order: Order) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The other OS process, for the block, and its node's address."""
    command = [sys.executable, "-m", "benchmarks.paper", "--serve", order.to_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()  # it has nothing to keep, and may have gigabytes to send


def measure(order: Order) -> None:
    """Measure the cells until one leaves something under way that would disturb the next."""
    with _serving(order) as (address, far), Node(NEAR, channels=channels_of(order)) as node:
        node.join(address)
        warm = 0
        for cell in order.cells:
            if cell.size != warm:
                light = Cell(min(cell.size, WARM_UP_SIZE), cell.actors)
                node.run(_run, order, light, order.seconds / 5, far.pid)
                warm = cell.size
            outcome, quiet = node.run(_run, order, cell, order.seconds, far.pid)
            print(outcome.to_json(), flush=True)
            if not quiet:
                far.kill()
                os._exit(0)  # stopping the node would wait for what is under way


class _Actor(NamedTuple):
    order: Order
    setting: workloads.Setting
    number: int
    parent: Pid
    times: list[float]  # its latencies so far

    def run(self) -> None:
        prepare = workloads.PREPARE[self.order.workload]
        request, peer = prepare(self.setting, self.number, send_options(self.order, self.number))
        send(self.parent, peer)
        until = receive()
        count = 0
        while not count or monotonic() < until:
            self.times.append(request(count))
            count += 1
        send(self.parent, "finished")


def _run(order: Order, cell: Cell, seconds: float, far: int) -> tuple[Outcome, bool]:
    """One cell, and whether nothing of it is under way any more."""
    vnodes = [spawn_opt(workloads.vnode, (self_pid(), cell.size), node=FAR) for _ in range(_vnodes(order))]
    for _ in vnodes:
        receive("ready".__eq__)
    setting = workloads.Setting(FAR, cell.size, tuple(vnodes), [0])
    times: list[list[float]] = [[] for _ in range(cell.actors)]
    actors = [
        spawn_link(_Actor(order, setting, number, self_pid(), times[number]).run) for number in range(cell.actors)
    ]
    peers = [receive() for _ in actors]
    load, began = Load.of(os.getpid(), far), monotonic()
    for pid in actors:
        send(pid, began + seconds)
    finished = _wait(cell.actors, began + order.limit)
    elapsed, messages = monotonic() - began, sum(map(len, times))
    spent = Load.of(os.getpid(), far).since(load)
    quiet = finished and (not vnodes or _settle(setting, messages, began + elapsed + order.limit))
    if quiet:
        for pid in (*vnodes, *filter(None, peers)):
            send_exit(pid, "kill")
    outcome = Outcome(
        size=cell.size,
        actors=cell.actors,
        messages=messages,
        time_us=round(elapsed * 1e6),
        median_us=percentile(times, 0.5),
        p99_us=percentile(times, 0.99),
        near_cpu_us=spent.near,
        far_cpu_us=spent.far,
        busy_us=spent.busy,
        cut=not finished,
    )
    return outcome, quiet


def _vnodes(order: Order) -> int:
    return workloads.VNODES if order.workload == "kvs" else 0


def _wait(actors: int, deadline: float) -> bool:
    """For so many to say that they have finished; whether all did."""
    return all(receive(timeout=max(0.0, deadline - monotonic()), default=None) for _ in range(actors))


def _settle(setting: workloads.Setting, requests: int, deadline: float) -> bool:
    """Wait for the answers that no client waits for; whether all came."""
    while setting.settled[0] < requests and monotonic() < deadline:
        sleep(0.005)
    return setting.settled[0] >= requests
