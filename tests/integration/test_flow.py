"""A peer that stops reading holds up who sends to it, within bounds, and nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from partisan_actors import (
    CallTimeout,
    Channel,
    Down,
    Node,
    Pid,
    WouldBlock,
    monitor,
    process_info,
    receive,
    self_pid,
    send,
    send_exit,
    spawn,
    spawn_monitor,
    spawn_opt,
)
from partisan_actors.behaviours import call, cast
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cut, session_between, stop_reading

HIGH, LOW = 512 << 10, 300 << 10
KIBIBYTE = bytes(1024)


class Slow:
    """Two nodes beside a third, `slow`, that can be made to stop reading from the first."""

    def __init__(self, nodes: Nodes) -> None:
        channel = Channel("default", high_watermark=HIGH, low_watermark=LOW)
        self.here, self.slow, self.other = nodes.cluster("here", "slow", "other", channels=(channel,))
        self._read_on: Callable[[], None] | None = None

    @property
    def session(self) -> Any:
        return session_between(self.here, self.slow)

    def stop_reading(self) -> None:
        self._read_on = stop_reading(self.slow, self.here)

    def read_on(self) -> None:
        read_on, self._read_on = self._read_on, None
        if read_on is not None:
            read_on()

    def fill(self, dest: Pid) -> int:
        """Send until there is no room; how many went."""
        count = 0
        while not self.session.congested:
            send(dest, (count, KIBIBYTE))
            count += 1
        return count


@pytest.fixture
def slow(nodes: Nodes) -> Iterator[Slow]:
    slow = Slow(nodes)
    with slow.here.attached():
        yield slow
    slow.read_on()


def numbers(notes: tuple[tuple[int, bytes], ...]) -> list[int]:
    return [number for number, _ in notes]


def test_a_sender_waits_for_room_and_goes_on(slow):
    echo = Echo.start(node=slow.slow.name)
    slow.stop_reading()
    sent = slow.fill(echo)
    assert sent * 1024 < HIGH + (64 << 10)

    def sender() -> None:
        for number in range(sent, sent + 2000):
            send(echo, (number, KIBIBYTE))

    pid, ref = spawn_monitor(sender)
    wait_until(lambda: process_info(pid).reductions)
    gevent.sleep(0)
    buffered = slow.session.unsent + slow.session.unacknowledged
    assert process_info(pid) is not None and buffered < HIGH + (64 << 10)
    slow.read_on()
    assert receive(Down, timeout=10) == Down(ref, pid, "normal")
    assert numbers(call(echo, "notes", 10)) == list(range(sent + 2000))
    assert not slow.session.congested


def test_a_sender_may_be_told_instead(slow):
    echo = Echo.start(node=slow.slow.name)
    slow.stop_reading()
    sent = slow.fill(echo)
    with pytest.raises(WouldBlock, match=slow.slow.name):
        send(echo, "no room", nosuspend=True)
    with pytest.raises(WouldBlock):
        cast(echo, "no room", nosuspend=True)
    slow.read_on()
    wait_until(lambda: not slow.session.congested)
    send(echo, (sent, b""), nosuspend=True)
    assert numbers(call(echo, "notes", 10)) == list(range(sent + 1))


def test_a_call_that_waits_for_room_keeps_its_time_limit(slow):
    echo = Echo.start(node=slow.slow.name)
    slow.stop_reading()
    slow.fill(echo)
    began = time.monotonic()
    with pytest.raises(CallTimeout):
        call(echo, ("echo", 1), 0.1)
    assert time.monotonic() - began < 2.0
    slow.read_on()
    assert call(echo, ("echo", 2), 5) == 2


def test_one_that_stops_reading_costs_nobody_else_anything(slow):
    echo, other = Echo.start(node=slow.slow.name), Echo.start(node=slow.other.name)
    third = slow.other.run(Echo.start, node=slow.slow.name)
    slow.stop_reading()
    slow.fill(echo)
    waiting = [spawn(send, echo, (number, KIBIBYTE)) for number in range(50)]
    began = time.monotonic()
    for number in range(200):
        assert call(other, ("echo", number)) == number
        assert slow.other.run(call, third, ("echo", number)) == number
    assert time.monotonic() - began < 3.0
    assert all(process_info(pid) is not None for pid in waiting)
    assert slow.here.neighbours() == sorted([slow.slow.name, slow.other.name])


def test_the_signals_of_the_runtime_never_wait(slow):
    """Links, monitors, exits and replies go into the queue behind what fills it, and arrive in order."""
    echo = Echo.start(node=slow.slow.name)
    local = Echo.start()
    slow.stop_reading()
    sent = slow.fill(echo)
    asked = slow.slow.run(spawn_asker, local)
    ref = monitor(echo)
    send_exit(echo, "after all that")
    assert receive(timeout=0, default=None) is None
    slow.read_on()
    assert receive(timeout=10) == Down(ref, echo, "after all that")
    assert slow.slow.run(receive_from, asked) == "answered while it was full"
    assert sent


def spawn_asker(dest: Pid) -> Pid:
    """A process that asks once and keeps the answer for who asks it."""
    return spawn(ask_and_tell, dest)


def ask_and_tell(dest: Pid) -> None:
    answer = call(dest, ("echo", "answered while it was full"), 10)
    send(receive(), answer)


def receive_from(pid: Pid) -> Any:
    send(pid, self_pid())
    return receive(timeout=10)


def test_a_waiting_sender_can_be_ended_and_ends_with_the_session(slow):
    echo = Echo.start(node=slow.slow.name)
    slow.stop_reading()
    slow.fill(echo)
    killed, killed_ref = spawn_monitor(send, echo, "never")
    freed, freed_ref = spawn_monitor(send, echo, "never")
    wait_until(lambda: all(process_info(pid).current_function is not None for pid in (killed, freed)))
    send_exit(killed, "kill")
    assert receive(Down, timeout=5) == Down(killed_ref, killed, "killed")
    watch = monitor(echo)
    slow.session.end("test")
    ends = {message.ref: message.reason for message in (receive(Down, timeout=5), receive(Down, timeout=5))}
    assert ends == {freed_ref: "normal", watch: "noconnection"}


def test_a_cut_while_it_is_full_loses_nothing(slow):
    echo = Echo.start(node=slow.slow.name)
    slow.stop_reading()
    sent = slow.fill(echo)
    spawn(lambda: [send(echo, (number, KIBIBYTE)) for number in range(sent, sent + 500)])
    assert cut(slow.here, slow.slow)
    slow.read_on()
    wait_until(lambda: len(call(echo, "notes", 10)) == sent + 500, 10)
    assert numbers(call(echo, "notes", 10)) == list(range(sent + 500))


@pytest.mark.parametrize("high", [1000, 100 << 20])
def test_watermarks_may_be_anything(nodes, high):
    channel = Channel("default", high_watermark=high, low_watermark=high // 2)
    here, there = nodes.cluster("here", "there", channels=(channel,))
    with here.attached():
        echo = Echo.start(node=there.name)
        for number in range(2000):
            send(echo, (number, KIBIBYTE))
        assert numbers(call(echo, "notes")) == list(range(2000))


def test_large_messages_leave_room_for_small_ones_of_others(nodes):
    here, there = nodes.cluster("here", "there")
    with here.attached():
        echo, bulk = Echo.start(node=there.name), Echo.start(node=there.name)
        spawn_monitor(lambda: [cast(bulk, bytes(1 << 20)) for _ in range(60)])
        slowest = 0.0
        while receive(Down, timeout=0, default=None) is None:
            began = time.monotonic()
            call(echo, "where", 10)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2.0
        wait_until(lambda: call(bulk, "count", 20) == 60)  # of another pair, so it may pass the last ones


@pytest.mark.parametrize("size", [8 << 20, 64 << 10])
def test_one_that_sends_without_end_keeps_nobody_else_from_sending(nodes, size):
    here, there = nodes.cluster("here", "there")
    with here.attached():
        echo, bulk = Echo.start(node=there.name), Echo.start(node=there.name)

        def flood(payload: bytes) -> None:
            while True:
                cast(bulk, payload)

        flooder, _ = spawn_monitor(flood, bytes(size))
        wait_until(lambda: session_between(here, there).congested)
        for number in range(10):
            assert call(echo, ("echo", number), 2.0) == number
        send_exit(flooder, "kill")


def test_senders_to_a_full_mailbox_take_turns():
    with Node("turns@127.0.0.1", listen=None):
        counts = dict.fromkeys("abc", 0)

        def take() -> None:
            while True:
                counts[receive(str)] += 1

        receiver = spawn_opt(take, max_mailbox=1)
        assert isinstance(receiver, Pid)

        def flood(name: str) -> None:
            while True:
                send(receiver, name)

        for name in counts:
            spawn_monitor(flood, name)
        wait_until(lambda: sum(counts.values()) > 300)
        assert min(counts.values()) > 50
