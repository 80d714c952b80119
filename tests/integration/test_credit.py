"""Mailboxes with a limit, and senders on other nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from partisan_actors import (
    Channel,
    Node,
    Pid,
    Remote,
    WouldBlock,
    process_info,
    receive,
    register,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_opt,
    unregister,
)
from partisan_actors.behaviours import call
from partisan_actors.cluster.credit import Credit
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, session_between

LIMIT = 50


def reader(gate: list[int]) -> None:
    """Take messages from when the gate is open."""
    while not gate:
        sleep(0.01)
    while True:
        receive(str)


@pytest.fixture
def pair(nodes: Nodes) -> Iterator[list[Node]]:
    here, there = nodes.cluster("here", "there")
    with here.attached():
        yield [here, there]


def start_reader(node: Node, name: str | None = None, gate: Sequence[int] = ()) -> Pid:
    def start() -> Pid:
        pid = spawn_opt(reader, (gate,), max_mailbox=LIMIT)
        assert isinstance(pid, Pid)
        if name is not None:
            register(name, pid)
        return pid

    return node.run(start)


def fill(dest: Pid | Remote) -> int:
    """Send until told to wait."""
    sent = 0

    def full() -> bool:
        nonlocal sent
        try:
            send(dest, "x", nosuspend=True)
        except WouldBlock:
            return True
        sent += 1
        return False

    wait_until(full, what="it is full")
    return sent


@pytest.mark.parametrize("named", [False, True])
def test_a_full_mailbox_holds_its_senders_elsewhere_until_half_of_it_is_taken(pair: list[Node], named: bool):
    _, there = pair
    gate: list[int] = []
    pid = start_reader(there, "reader", gate)
    dest = Remote("reader", there.name) if named else pid
    assert fill(dest) >= LIMIT
    sent: list[int] = []

    def sender() -> None:
        send(dest, "held")
        sent.append(1)

    spawn(sender)
    echo = there.run(Echo.start)
    assert call(echo, ("echo", 1)) == 1
    assert sent == []
    assert there.run(process_info, pid).mailbox_length >= LIMIT
    gate.append(1)
    wait_until(lambda: sent, what="the sender goes on")


def test_others_on_the_same_connection_do_not_wait(pair: list[Node]):
    _, there = pair
    fill(start_reader(there))
    other = start_reader(there)
    send(other, "x", nosuspend=True)
    echo = there.run(Echo.start)
    for number in range(100):
        assert call(echo, ("echo", number)) == number
        send(echo, "x", nosuspend=True)


def start_held_sender(pid: Pid) -> None:
    """Start one that is held by a full mailbox, and says "free" when it goes on."""
    owner = self_pid()

    def sender() -> None:
        send(pid, "held")
        send(owner, "free")

    spawn(sender)


def test_the_end_of_the_receiver_frees_its_senders(pair: list[Node]):
    _, there = pair
    pid = start_reader(there)
    fill(pid)
    start_held_sender(pid)
    there.run(send_exit, pid, "kill")
    assert receive(str, timeout=5.0) == "free"
    send(pid, "to nobody", nosuspend=True)


def test_the_end_of_the_session_frees_its_senders(pair: list[Node]):
    here, there = pair
    pid = start_reader(there)
    fill(pid)
    start_held_sender(pid)
    session_between(here, there).end("enough")
    assert receive(str, timeout=5.0) == "free"


def test_a_call_to_a_full_mailbox_ends_in_time(pair: list[Node]):
    _, there = pair
    pid = start_reader(there)
    fill(pid)
    with pytest.raises(TimeoutError):
        call(pid, "x", timeout=0.2)


def test_a_name_that_moved_to_another_process_holds_nobody(pair: list[Node]):
    _, there = pair
    start_reader(there, "reader")
    fill(Remote("reader", there.name))
    gate = [1]

    def move() -> None:
        unregister("reader")
        pid = spawn_opt(reader, (gate,), max_mailbox=LIMIT)
        assert isinstance(pid, Pid)
        register("reader", pid)

    there.run(move)
    wait_until(lambda: not credit_of(pair).full)
    send(Remote("reader", there.name), "x")


def test_calls_that_gave_up_leave_nothing_behind(pair: list[Node]):
    _, there = pair
    pid = start_reader(there)
    fill(pid)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            call(pid, "x", timeout=0.01)
    assert credit_of(pair).full == {pid.serial: {}}


def test_sessions_that_ended_leave_nothing_at_a_full_mailbox(pair: list[Node]):
    here, there = pair
    pid = start_reader(there)
    process = there._runtime.processes[pid.serial]  # type: ignore[union-attr]
    for _ in range(3):
        fill(pid)
        session_between(here, there).end("enough")
        wait_until(lambda: cluster_of(here).peers.session(there.name) is not None)
        wait_until(lambda: cluster_of(there).peers.session(here.name) is not None)
    wait_until(lambda: len(process.room or ()) <= 1)


def test_what_holds_senders_is_never_dropped_for_a_newer_message(nodes: Nodes):
    here, there = nodes.cluster("here", "there", channels=(Channel("latest", monotonic=True),))
    with here.attached():
        gates: list[list[int]] = [[], []]
        readers = [start_reader(there, gate=gate) for gate in gates]
        for number in range(LIMIT * 2):
            for pid in readers:
                send(pid, "x", channel="latest", partition_key=(pid, number))
        full = credit_of([here, there]).full
        wait_until(lambda: sorted(full) == sorted(pid.serial for pid in readers))
        for gate in gates:
            gate.append(1)
        wait_until(lambda: not credit_of([here, there]).full)


def credit_of(pair: list[Node]) -> Credit:
    here, there = pair
    ties = cluster_of(here).remote.ties_to(there.name)
    assert not isinstance(ties, str)
    return ties.credit


def test_senders_of_acknowledged_messages_wait_too(pair: list[Node]):
    _, there = pair
    pid = start_reader(there)
    fill(pid)
    with pytest.raises(WouldBlock, match="max_mailbox"):
        send(pid, "x", ack=True, nosuspend=True)
