"""Peers that are OS processes of their own: killed, stopped, started again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from partisan_actors.distribution import Session
from tests.conditions import wait_until
from tests.distribution.nodes import Node, join
from tests.forking import Forked

Start = Callable[..., "Program"]


class Program:
    """One running peer_program."""

    def __init__(self, name: str, epoch: int, *others: str) -> None:
        self.name = name
        self.process = Forked("tests.distribution.peer_program", name, str(epoch), *others)
        self.address = self.process.stdout.readline().decode().strip()

    def signal(self, number: int) -> float:
        """Send a signal; when that was."""
        self.process.send_signal(number)
        return time.monotonic()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs, and ends them with the test."""
    programs: list[Program] = []

    def start(*arguments: object) -> Program:
        programs.append(Program(*arguments))  # type: ignore[arg-type]
        return programs[-1]

    yield start
    for program in programs:
        program.end()


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node("here")
    yield made
    made.peers.close()
    wait_until(lambda: not made.peers.open_connections)


def connect(node: Node, program: Program) -> Session:
    session = join(node, program.address)
    assert isinstance(session, Session)
    node.peers.connect(program.name, [program.address])
    session.send(b"hello")
    wait_until(lambda: node.bodies)
    node.bodies.clear()
    return session


def test_a_killed_process_is_found_within_a_second(node: Node, start: Start):
    program = start("there", 1)
    connect(node, program)
    killed = program.signal(signal.SIGKILL)
    wait_until(lambda: node.told("ended"), 1.5)
    assert time.monotonic() - killed < 1.5
    assert node.told("ended") == ["connection refused"]


def test_a_stopped_process_is_found_within_five_seconds_and_comes_back(node: Node, start: Start):
    program = start("there", 1)
    connect(node, program)
    stopped = program.signal(signal.SIGSTOP)
    wait_until(lambda: node.told("ended"), 6.0)
    assert 3.0 < time.monotonic() - stopped < 6.0
    assert node.told("ended") == ["silent"]
    program.signal(signal.SIGCONT)
    wait_until(lambda: len(node.told("started")) == 2, 10.0)
    session = node.peers.session("there")
    assert session is not None and session.number == 2
    session.send(b"again")
    wait_until(lambda: node.bodies == [b"again"])


def test_a_process_that_was_stopped_for_two_seconds_is_not_down(node: Node, start: Start):
    program = start("there", 1)
    session = connect(node, program)
    stopped = program.signal(signal.SIGSTOP)
    session.send(b"waits")
    wait_until(lambda: time.monotonic() - stopped > 2.0)
    program.signal(signal.SIGCONT)
    wait_until(lambda: node.bodies == [b"waits"])
    assert [kind for kind, _, _ in node.log] == ["started"]


def test_started_again_under_the_same_name_it_is_a_new_life(node: Node, start: Start):
    program = start("there", 1, f"here={node.address}")
    connect(node, program)
    program.signal(signal.SIGKILL)
    again = start("there", 2, f"here={node.address}")
    wait_until(lambda: len(node.told("started")) == 2, 5.0)
    assert [kind for kind, _, _ in node.log] == ["started", "ended", "started"]
    session = node.peers.session("there")
    assert session is not None
    assert session.peer.epoch == 2 and session.hello.addresses == (again.address,)
    session.send(b"new")
    wait_until(lambda: node.bodies == [b"new"])


def test_much_both_ways_while_the_connection_is_cut(node: Node, start: Start):
    program = start("there", 1, f"here={node.address}")
    session = connect(node, program)
    expected = b""
    for number in range(300):
        signal_bytes = number.to_bytes(4, "big") * 500
        expected += signal_bytes
        session.send(signal_bytes)
        if number % 20 == 0:
            link = session.link
            if link is not None:
                link.connection.close("cut by the test")
            wait_until(lambda: session.connected)
    wait_until(lambda: sum(map(len, node.bodies)) >= len(expected), 10.0)
    assert b"".join(node.bodies) == expected
    assert [kind for kind, _, _ in node.log] == ["started"]
