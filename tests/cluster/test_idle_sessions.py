"""Sessions that end because nobody needs them: what is sent in that very moment arrives, once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from partisan_actors import CallError, Node, Remote, demonitor, monitor, receive, send
from partisan_actors.behaviours import GenServer, call
from partisan_actors.testing import Network, Simulation
from partisan_actors.testing.network import ConstantLatency
from partisan_actors.topologies import Static

IDLE = 20.0
LATENCY = 0.01


class Collector(GenServer):
    def init(self) -> None:
        self.got: list[Any] = []

    def handle_cast(self, request: Any) -> None:
        self.got.append(request)

    def handle_info(self, message: Any) -> None:
        self.got.append(message)

    def handle_call(self, request: Any, caller: Any) -> list[Any]:
        return list(self.got)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def line() -> Iterator[tuple[Simulation, Node, Node]]:
    """a - b - c, on a static overlay; a and c."""
    with Simulation(1, network=Network(ConstantLatency(LATENCY))) as simulation:
        a, b, c = (simulation.node(f"{name}@sim", topology=Static()) for name in "abc")
        simulation.join(b, a)
        simulation.join(c, b)
        simulation.run_until(lambda: len(a.members()) == 3)
        for node in (a, b, c):
            peers = node._clustered().peers
            peers.parameters = replace(peers.parameters, session=replace(peers.parameters.session, idle=IDLE))
            node.run(Collector.start, name="collector")
        yield simulation, a, c


def session(node: Node, other: Node) -> Any:
    return node._clustered().peers.session(other.name)


def send_to(node: Node, other: Node, message: Any) -> None:
    node.send_from_thread(Remote("collector", other.name), message)


def collected(node: Node) -> list[Any]:
    return node.run(call, "collector", "what came")


def test_what_is_sent_around_the_end_of_an_idle_session_arrives_once_and_in_order(line: tuple[Simulation, Node, Node]):
    simulation, a, c = line
    sent: dict[str, list[int]] = {"a": [], "c": []}

    def both(which: str, number: int) -> None:
        for name, node, other in (("a", a, c), ("c", c, a)):
            if name in which:
                send_to(node, other, number)
                sent[name].append(number)

    number = 0
    for which in ("a", "c", "ac"):
        for step in range(-8, 16):
            both("a", number := number + 1)
            simulation.run_until(lambda: session(a, c) is not None and session(c, a) is not None)
            simulation.run(1.0)
            ends = min(session(a, c).last_active, session(c, a).last_active) + IDLE
            simulation.run(ends + step * LATENCY / 2 - a._running().clock.now())
            both(which, number := number + 1)
            both(which, number := number + 1)
            simulation.run(LATENCY * 1.5)
            both(which, number := number + 1)
            simulation.run(1.0)
    assert collected(c) == sent["a"]
    assert collected(a) == sent["c"]


def test_what_is_sent_where_the_other_end_has_no_session_any_more_waits_for_the_next(
    line: tuple[Simulation, Node, Node],
):
    # No word of its end has come, as the route broke: what was sent on the session would be lost with it.
    simulation, a, c = line
    send_to(a, c, 1)
    simulation.run_until(lambda: session(c, a) is not None)
    simulation.run(1.0)
    for node, other in ((a, c), (c, a)):
        session(node, other).drop("a test")
    assert session(a, c).rests
    session(c, a).end("a test")
    for number in range(2, 6):
        send_to(a, c, number)
    simulation.run(5.0)
    assert collected(c) == [1, 2, 3, 4, 5]


def test_messages_that_wait_for_a_member_which_has_vanished_fail_in_time(line: tuple[Simulation, Node, Node]):
    simulation, a, c = line
    send_to(a, c, 1)
    simulation.run_until(lambda: session(c, a) is not None)
    simulation.run(1.0)
    simulation.partition([c])
    simulation.run_until(lambda: session(a, c) is None or session(a, c).rests, IDLE + 30.0)
    outcome = a.run(_called, Remote("collector", c.name))
    assert outcome == "NoConnection"


def _called(dest: Any) -> str:
    try:
        call(dest, "what came", timeout=30.0)
    except CallError as error:
        return type(error).__name__
    return "answered"


def end_soon(node: Node) -> None:
    """Its sessions end after 2 s without anything."""
    peers = node._clustered().peers
    peers.parameters = replace(peers.parameters, session=replace(peers.parameters.session, idle=2.0))


def send_some(a: Node, c: Node, number: int, sent: dict[Node, list[int]], random: Random) -> None:
    """Each sends the number to the other, never, once or three times."""
    for node, other in ((a, c), (c, a)):
        for _ in range(random.choice((0, 1, 1, 3))):
            send_to(node, other, number)
            sent[node].append(number)


@pytest.mark.parametrize("seed", range(6))
def test_links_break_and_sessions_end_idle_and_nothing_is_lost_or_doubled(
    line: tuple[Simulation, Node, Node], seed: int
):
    simulation, a, c = line
    b = simulation.nodes["b@sim"]
    random = Random(seed)
    for node in (a, b, c):
        end_soon(node)
    sent: dict[Node, list[int]] = {a: [], c: []}
    for number in range(250):
        send_some(a, c, number, sent, random)
        if random.random() < 0.2:
            simulation.reset(b, random.choice((a, c)))
        simulation.run(random.choice((0.0, 0.01, 0.3, 1.99, 2.0, 2.01, 2.02, 2.03, 2.04, 2.05, 2.3, 5.0)))
    simulation.run(30.0)
    assert collected(c) == sent[a]
    assert collected(a) == sent[c]
    assert len(a.members()) == 3


@pytest.mark.parametrize("seed", range(3))
def test_a_link_that_comes_and_goes_meanwhile_changes_nothing_of_that(line: tuple[Simulation, Node, Node], seed: int):
    simulation, a, c = line
    random = Random(seed)
    for node in (a, c):
        end_soon(node)
    sent: dict[Node, list[int]] = {a: [], c: []}
    for number in range(250):
        send_some(a, c, number, sent, random)
        if random.random() < 0.4:
            one, other = random.choice(((a, c), (c, a)))
            peers = one._clustered().peers
            peers.connect(other.name, other.listening) if random.random() < 0.5 else peers.forget(other.name)
        simulation.run(random.choice((0.0, 0.01, 0.02, 0.05, 0.3, 1.99, 2.0, 2.01, 2.02, 2.03, 2.04, 2.05, 2.3, 5.0)))
    simulation.run(30.0)
    assert collected(c) == sent[a]
    assert collected(a) == sent[c]


@pytest.mark.parametrize("step", range(-4, 10))
def test_calls_monitors_and_acknowledged_messages_around_the_end_go_through(
    line: tuple[Simulation, Node, Node], step: int
):
    simulation, a, c = line
    send_to(a, c, 1)
    simulation.run_until(lambda: session(c, a) is not None)
    simulation.run(1.0)
    for node, other in ((a, c), (c, a)):
        ends = min(session(a, c).last_active, session(c, a).last_active) + IDLE
        simulation.run(ends + step * LATENCY / 2 - a._running().clock.now())
        assert node.run(_talk, Remote("collector", other.name)) == ("answered", "none")
        simulation.run_until(lambda: session(a, c) is not None and session(c, a) is not None)
        simulation.run(1.0)
    assert collected(c) == [1, "plain", "acknowledged"] and collected(a) == ["plain", "acknowledged"]


def _talk(dest: Remote) -> tuple[str, str]:
    send(dest, "plain")
    send(dest, "acknowledged", ack=True)
    ref = monitor(dest)
    outcome = _called(dest)
    demonitor(ref)
    return outcome, receive(timeout=1.0, default="none")
