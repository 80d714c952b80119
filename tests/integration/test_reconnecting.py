"""Connections break, at any byte, and whatever processes tell each other does not notice (design, decision 6)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from partisan_actors import (
    Down,
    Exit,
    Node,
    Pid,
    monitor,
    monitor_nodes,
    receive,
    self_pid,
    send,
    send_exit,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import call, cast
from tests.conditions import wait_until
from tests.integration.proxy import Proxy
from tests.integration.workers import Collector, Echo, end_with
from tests.nodes import Nodes, cluster_of, connected, cut, session_between

PAIRS = 24
MESSAGES = 600


class Saboteur:
    """Breaks connections as long as it lives."""

    def __init__(self, sabotage: Callable[[], Any], pause: float = 0.004) -> None:
        self.cuts = 0
        self._sabotage = sabotage
        self._pause = pause
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            gevent.sleep(self._pause)
            self.cuts += bool(self._sabotage())

    def __enter__(self) -> Saboteur:
        return self

    def __exit__(self, *_: object) -> None:
        self._greenlet.kill()
        assert self._greenlet.successful(), self._greenlet.exception


def talk(dest: Pid, flow: int, tell: Pid, enough: Callable[[], bool]) -> None:
    """One flow: messages and casts of one process to another."""
    number = 0
    while number < MESSAGES or not enough():
        (send if number % 5 else cast)(dest, (flow, number))
        number += 1
        if number % 10 == 0:
            gevent.sleep(0.004)
    send(tell, ("sent", flow, number))


def all_talk(pairs: list[tuple[Node, Pid]], enough: Callable[[], bool]) -> dict[int, list[int]]:
    """Let a process of each node talk to each pid until it is enough; what was sent, by flow."""
    for flow, (node, dest) in enumerate(pairs):
        node.spawn(talk, dest, flow, self_pid(), enough)
    sent = [receive(tuple, timeout=40) for _ in pairs]
    return {flow: list(range(count)) for _, flow, count in sent}


def heard(collectors: list[Pid], sent: dict[int, list[int]]) -> dict[int, list[int]]:
    """What they have got, once it is as much as was sent."""
    flows: dict[int, list[int]] = {}

    def all_is_there() -> bool:
        for collector in collectors:
            flows.update(call(collector, "flows"))
        return sum(map(len, flows.values())) >= sum(map(len, sent.values()))

    wait_until(all_is_there, 15)
    return flows


def test_nothing_is_lost_doubled_or_reordered_while_connections_break(nodes):
    """Thousands of messages of many pairs between three nodes, in every direction, and a cut every few milliseconds."""
    members = nodes.cluster("one", "two", "three")
    chance = random.Random(1)

    def sabotage() -> bool:
        one, other = chance.sample(members, 2)
        return cut(one, other)

    with members[0].attached():
        monitor_nodes()
        sessions = [session_between(one, other) for one in members for other in members if one is not other]
        collectors = [Collector.start(node=node.name) for node in members]
        places = [(i, j) for i in range(3) for j in range(3) if i != j]
        pairs = [(members[i], collectors[j]) for i, j in (places[n % len(places)] for n in range(PAIRS))]
        with Saboteur(sabotage) as saboteur:
            sent = all_talk(pairs, lambda: saboteur.cuts >= 60)
        assert heard(collectors, sent) == sent
        # It was the same sessions all the time, and nobody was ever down.
        assert [session.ended for session in sessions] == [None] * 6
        assert receive(timeout=0, default=None) is None


@pytest.fixture
def proxied(nodes: Nodes) -> Iterator[tuple[Node, Node, Proxy, Proxy]]:
    """Two nodes that reach each other by proxies only."""
    proxies = Proxy(), Proxy()
    one, other = (nodes.start("proxied", advertise=proxy.address) for proxy in proxies)
    for node, proxy in zip((one, other), proxies, strict=True):
        (proxy.target,) = node.listening
    try:
        assert other.address == proxies[1].address
        one.join(other.address)
        wait_until(lambda: connected(one, other))
        yield one, other, *proxies
    finally:
        for proxy in proxies:
            proxy.close()


def test_a_connection_may_be_cut_at_any_byte(proxied):
    one, other, *proxies = proxied
    chance = random.Random(2)

    def budget() -> int:
        # Some in the handshake, some in the first frames; and now and then room for what has piled up meanwhile, as
        # a frame has to get through in one piece.
        most = chance.choices((700, 5_000, 30_000, 300_000), (3, 4, 4, 2))[0]
        return chance.randrange(1, most)

    session = session_between(one, other)
    with one.attached():
        collector, back = Collector.start(node=other.name), Collector.start()
        for proxy in proxies:
            proxy.budget = budget
            proxy.cut_all()
        sent = all_talk([(one, collector), (other, back)] * 4, lambda: sum(proxy.cuts for proxy in proxies) >= 40)
        for proxy in proxies:
            proxy.budget = lambda: None
        assert heard([collector, back], sent) == sent
        assert session.ended is None


def test_calls_links_monitors_and_starts_go_on_while_connections_break(nodes):
    one, other = nodes.cluster("one", "other")
    with one.attached():
        trap_exits()
        echo = Echo.start(node=other.name)
        with Saboteur(lambda: cut(one, other), 0.003) as saboteur:
            number = 0
            while saboteur.cuts < 30:
                number += 1
                assert call(echo, ("echo", number), 10) == number
                pid, ref = spawn_opt(end_with, (("end", number),), node=other.name, link=True, monitor=True)
                found = {type(message): message for message in (receive(timeout=10), receive(timeout=10))}
                assert found == {Exit: Exit(pid, ("end", number)), Down: Down(ref, pid, ("end", number))}
            for note in range(1000):
                cast(echo, note)
            ref = monitor(echo)
            assert call(echo, "notes", 10) == tuple(range(1000))
            send_exit(echo, "enough")
            assert receive(timeout=10) == Down(ref, echo, "enough")
        assert receive(timeout=0, default=None) is None


def test_large_messages_survive_a_cut_in_their_middle(nodes):
    one, other = nodes.cluster("one", "other")
    with one.attached():
        echo = Echo.start(node=other.name)
        big = bytes(range(256)) * (3 << 12)
        with Saboteur(lambda: cut(one, other), 0.05):
            for number in range(6):
                assert call(echo, ("echo", (number, big)), 20) == (number, big)


def test_a_cable_that_is_out_for_a_moment_loses_nothing(proxied):
    one, other, *proxies = proxied
    with one.attached():
        echo = Echo.start(node=other.name)
        ref = monitor(echo)
        for proxy in proxies:
            proxy.hold()
        for number in range(2000):
            cast(echo, number)
        gevent.spawn_later(0.5, lambda: [proxy.release() for proxy in proxies])
        assert call(echo, "notes", 10) == tuple(range(2000))
        assert receive(timeout=0, default=ref) is ref


def test_what_was_sent_before_a_stop_arrives(nodes):
    """Leaving is no reason to lose what is on its way."""
    one, other = nodes.cluster("one", "other")
    collector = other.run(Collector.start)

    def say_all() -> None:
        for number in range(5000):
            send(collector, (0, number))

    one.run(say_all)
    one.stop()
    with other.attached():
        assert call(collector, "flows") == {0: list(range(5000))}
        assert other.members() == [other.name] and other.neighbours() == []


def test_a_late_frame_of_an_old_connection_does_no_harm(nodes):
    """A cut that only one side notices: the other still reads what is in its buffers while the new connection comes."""
    one, other = nodes.cluster("one", "other")
    with one.attached():
        echo = Echo.start(node=other.name)
        for round_ in range(20):
            for number in range(50):
                cast(echo, (round_, number))
            cluster_of(one).peers.flush()
            cut(one, other, lambda sock, side=round_ % 2: sock.shutdown(side))
            cast(echo, (round_, 50))
            assert call(echo, ("echo", round_), 10) == round_
        assert call(echo, "notes") == tuple((round_, number) for round_ in range(20) for number in range(51))


def test_d49_monitors_outlive_connections(nodes):
    """Partisan: what tells of ends forgets whom to tell when something under it starts again."""
    one, other = nodes.cluster("one", "other")
    events: list[Any] = []
    one.subscribe(events.append)
    session = session_between(one, other)
    with one.attached():
        echo = Echo.start(node=other.name)
        ref = monitor(echo)
        for _ in range(10):
            before = session.link
            cut(one, other)
            wait_until(lambda before=before: session.link not in (None, before))
        assert events == [] and receive(timeout=0, default=None) is None
        send_exit(echo, "now")
        assert receive(timeout=5) == Down(ref, echo, "now")
