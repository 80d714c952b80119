"""Five nodes that break, leave, crash and come back, while processes call, watch and name each other.

What must hold afterwards is what must always hold: one cluster, one owner of each name, the same everywhere, and every
monitor and every call of the whole time has ended once, or still stands for good reason.
"""

from __future__ import annotations

import random
import time
from typing import Any

import gevent

from partisan_actors import (
    ActorError,
    Down,
    Global,
    JoinError,
    Node,
    ProcessExit,
    global_names,
    monitor,
    receive,
    send,
    send_exit,
    unregister,
    whereis,
)
from partisan_actors.behaviours import call
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, connected, cut

SECONDS = 3.0
NAMES = [Global(f"name {number}") for number in range(5)]


class Trouble:
    """A cluster, those who use it, and one who troubles it."""

    def __init__(self, nodes: Nodes, seed: int) -> None:
        self.chance = random.Random(seed)
        self.members = nodes.cluster(*["member"] * 5)
        self.end = time.monotonic() + SECONDS
        self.watched: list[list[Any]] = []  # what each watcher was told
        self.done = 0
        self.troubles = 0

    @property
    def running(self) -> list[Node]:
        return [node for node in self.members if "running" in repr(node)]

    # Use.

    def use(self, node: Node) -> None:
        while time.monotonic() < self.end:
            try:
                self._use(node)
                self.done += 1
            except (ActorError, ProcessExit):
                pass  # whatever it is, it is an error of this library, and it comes
            gevent.sleep(self.chance.random() * 0.01)

    def _use(self, node: Node) -> None:
        name, other = self.chance.choice(NAMES), self.chance.choice(self.running)
        match self.chance.randrange(6):
            case 0:
                node.run(Echo.start, name=name)
            case 1:
                node.run(call, name, ("echo", 1), 2.0)
            case 2:
                node.run(unregister, name)
            case 3:
                node.run(lambda: [send(name, number) for number in range(50)])
            case _:
                pid = node.run(lambda: Echo.start(node=other.name))
                told: list[Any] = []
                self.watched.append(told)
                node.spawn(watch, pid, told)
                if self.chance.random() < 0.5:
                    node.run(send_exit, pid, "kill")

    # Trouble.

    def trouble(self) -> None:
        while time.monotonic() < self.end:
            try:
                self._trouble()
                self.troubles += 1
            except JoinError:
                pass
            gevent.sleep(self.chance.random() * 0.08)

    def _trouble(self) -> None:
        one, other = self.chance.sample(self.running, 2)
        session = cluster_of(one).peers.session(other.name)
        match self.chance.choice(("cut", "cut", "cut", "cut", "end", "leave", "join", "stop", "crash")):
            case "cut" if session is not None:
                cut(one, other)
            case "end" if session is not None:
                session.end("trouble")
            case "leave":
                one.leave()
            case "join":
                one.join(other.address, 5.0)
            case "stop" | "crash" as how if len(self.running) > 3:
                if how == "crash":
                    # As others see a crash: its descriptors are closed, and it never says a word.
                    cluster_of(one).abandon()
                one.stop(0.1)
                gevent.spawn_later(self.chance.random() * 0.5, self._restart, one)

    def _restart(self, node: Node) -> None:
        node.start()
        for other in self.running:
            if other is not node:
                try:
                    node.join(other.address, 5.0)
                    return
                except ActorError:  # the other one is gone, or this one again
                    continue


def watch(pid: Any, told: list[Any]) -> None:
    monitor(pid)
    while True:
        told.append(receive())


def test_whatever_happens_it_ends_well(nodes):
    trouble = Trouble(nodes, seed=5)
    users = [gevent.spawn(trouble.use, node) for node in trouble.members]
    trouble.trouble()
    gevent.joinall(users, timeout=20, raise_error=True)
    assert trouble.done > 100 and trouble.troubles > 20
    wait_until(lambda: len(trouble.running) == 5)
    for node in trouble.members[1:]:
        node.join(trouble.members[0].address)
    wait_until(lambda: connected(*trouble.members), 10)

    def names_agree() -> bool:
        return len({tuple(names_of(node).items()) for node in trouble.members}) == 1

    wait_until(names_agree)
    for pid in names_of(trouble.members[0]).values():
        (home,) = [node for node in trouble.members if node.name == pid.node]
        assert pid.home == home.life and home.run(alive, pid)
    assert len(trouble.watched) > 20
    assert all(len(told) <= 1 and all(isinstance(message, Down) for message in told) for told in trouble.watched)
    for node in trouble.members:
        for ties in cluster_of(node).remote._ties.values():
            assert not ties.callers


def names_of(node: Node) -> dict[str, Any]:
    return {name: node.run(whereis, Global(name)) for name in node.run(global_names)}


def alive(pid: Any) -> bool:
    monitor(pid)
    return receive(Down, timeout=0, default=None) is None
