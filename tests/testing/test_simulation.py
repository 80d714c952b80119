"""Whole nodes in virtual time: what time does, what the network does to them, and what they may not wait for."""

from __future__ import annotations

import time

import gevent
import pytest
from gevent.event import Event
from structlog.testing import capture_logs

from partisan_actors import (
    CallError,
    CallTimeout,
    Down,
    Exit,
    Global,
    JoinError,
    Node,
    NodeDown,
    NotAProcess,
    NotSimulated,
    Remote,
    global_names,
    link,
    monitor,
    monitor_nodes,
    receive,
    register,
    run_blocking,
    self_pid,
    send,
    send_after,
    sleep,
    trap_exits,
    whereis,
)
from partisan_actors.behaviours import GenServer, call
from partisan_actors.testing import Network, Simulation, Trace
from partisan_actors.testing.network import ConstantLatency


class Echo(GenServer):
    def handle_call(self, request, caller):
        return request


def wait_for_ever():
    receive(Global)


@pytest.fixture(autouse=True)
def logs():
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def simulation():
    with Simulation(1, network=Network(ConstantLatency(0.01))) as simulation:
        yield simulation


@pytest.fixture
def pair(simulation):
    a, b = simulation.node("a@sim"), simulation.node("b@sim")
    simulation.join(b, a)
    simulation.run(1.0)
    return a, b


# Time


def test_a_wait_of_an_hour_takes_no_time(simulation):
    node = simulation.node("a@sim")
    before = time.monotonic()
    node.run(sleep, 3600.0)
    assert time.monotonic() - before < 20.0
    assert simulation.now == pytest.approx(3600.0, abs=0.1)


def test_time_stands_still_while_the_program_computes(simulation):
    node = simulation.node("a@sim")
    simulation.run(1.5)
    pid = node.spawn(wait_for_ever)
    assert node.members() == ["a@sim"]
    assert simulation.now == 1.5
    assert pid.home.node == "a@sim"


def test_run_until_stops_when_it_is_true(simulation):
    node = simulation.node("a@sim")
    heard = []
    node.spawn(lambda: (sleep(2.0), heard.append(1)))
    assert simulation.run_until(lambda: heard, 5.0) == pytest.approx(2.0, abs=0.1)
    with pytest.raises(TimeoutError, match="not within 3"):
        simulation.run_until(lambda: len(heard) > 1, 3.0)


def test_timers_come_in_their_order_and_at_their_time(simulation):
    node = simulation.node("a@sim")

    def timers():
        for seconds in (0.3, 0.1, 0.2):
            send_after(seconds, self_pid(), seconds)
        return [(receive(float), round(simulation.now, 3)) for _ in range(3)]

    assert node.run(timers) == [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]


def test_many_turns_in_a_row_end(simulation):
    """A slice is counted, as the clock does not go on in it."""
    node = simulation.node("a@sim")

    def ping(count):
        for _ in range(count):
            send(self_pid(), "ping")
            receive(str)
        return count

    assert node.run(ping, 2000) == 2000


def test_a_program_that_waits_in_vain_is_told_so():
    with Simulation(1, limit=100.0) as simulation:
        node = simulation.node("a@sim")
        with pytest.raises(TimeoutError, match="100"):
            node.run(wait_for_ever)


def test_clocks_run_apart_by_rate_and_skew(simulation):
    slow = simulation.node("slow@sim", rate=0.5, skew=-50.0)
    right = simulation.node("right@sim")
    slow.run(sleep, 1.0)
    assert simulation.now == pytest.approx(2.0, abs=0.11)
    assert right.life.epoch - slow.life.epoch == pytest.approx(50_000)


def test_greenlets_and_events_of_gevent_are_part_of_it(simulation):
    node = simulation.node("a@sim")
    event = Event()
    gevent.spawn(event.set)
    assert node.run(event.wait)
    assert simulation.now == 0.0


# Messages


def test_a_call_takes_a_round_trip(simulation, pair):
    a, b = pair
    pid = b.run(Echo.start)
    start = simulation.now
    assert a.run(call, pid, "hello") == "hello"
    assert simulation.now - start == pytest.approx(0.02, abs=1e-6)


def test_a_call_across_a_partition_ends_and_one_after_it_is_answered(simulation, pair):
    a, b = pair
    b.run(lambda: register("echo", Echo.start()))
    simulation.partition([a], [b])
    start = simulation.now
    with pytest.raises(CallError):
        a.run(call, Remote("echo", b.name), 1, 2.0)
    assert simulation.now - start == pytest.approx(2.0, abs=0.1)
    simulation.run_until(lambda: a.members() == [a.name] and b.members() == [b.name], 20.0)
    simulation.heal()
    simulation.run_until(lambda: a.members() == b.members() == [a.name, b.name], 20.0)
    assert a.run(call, Remote("echo", b.name), 2) == 2


def test_a_short_partition_loses_nothing(simulation, pair):
    a, b = pair
    pid = b.run(Echo.start)
    cut = simulation.partition([a])
    with pytest.raises(CallTimeout):
        a.run(call, pid, 1, 1.0)
    simulation.heal(cut)
    assert a.run(call, pid, 2) == 2
    assert a.members() == b.members() == [a.name, b.name]


def test_a_reset_connection_loses_nothing(simulation, pair):
    a, b = pair
    received = []
    collector = b.spawn(lambda: [received.append(receive(int)) for _ in range(50)])

    def talk():
        for number in range(50):
            send(collector, number)
            sleep(0.003)

    a.spawn(talk)
    simulation.run(0.05)
    assert simulation.reset(a, b) >= 1
    simulation.run(3.0)
    assert received == list(range(50))


def test_a_monitor_fires_once_when_the_node_crashes(simulation, pair):
    a, b = pair
    pid = b.spawn(wait_for_ever)

    def watch():
        ref = monitor(pid)
        sleep(1.0)
        simulation.crash(b)
        down = receive(Down)
        return down.ref == ref, down.reason, receive(Down, timeout=30.0, default=None)

    assert a.run(watch) == (True, "noconnection", None)
    assert a.members() == [a.name]


@pytest.mark.parametrize("one_way", [False, True])
def test_a_link_breaks_in_a_partition_at_both_ends(simulation, pair, one_way):
    a, b = pair
    ended = []

    def linked(to):
        trap_exits()
        if to is not None:
            link(to)
        ended.append(receive(Exit).reason)

    other = b.spawn(linked, None)
    a.spawn(linked, other)
    simulation.run(1.0)
    simulation.partition([a], [b], one_way=one_way)
    simulation.run(20.0)
    assert ended == ["noconnection", "noconnection"]


def test_a_global_name_that_two_sides_take_has_one_owner_after_the_heal(simulation, pair):
    a, b = pair
    ended = []

    def owner():
        trap_exits()
        register(Global("leader"), self_pid())
        ended.append(receive(Exit).reason[0])

    simulation.partition([a], [b])
    simulation.run(10.0)
    pids = [node.spawn(owner) for node in pair]
    simulation.run(1.0)
    assert [node.run(whereis, Global("leader")) for node in pair] == pids
    simulation.heal()
    simulation.run_until(lambda: ended, 30.0)
    simulation.run(1.0)
    holders = [node.run(whereis, Global("leader")) for node in pair]
    assert ended == ["name_conflict"]
    assert holders[0] == holders[1]
    assert holders[0] in pids
    assert a.run(global_names) == ["leader"]


def test_a_bridge_keeps_both_sides_as_its_members(simulation, pair):
    a, b = pair
    c = simulation.node("c@sim")
    simulation.join(c, a)
    simulation.run(1.0)
    simulation.partition([a], [b])
    simulation.run(10.0)
    assert c.members() == [a.name, b.name, c.name]
    assert sorted([*c.neighbours()]) == [a.name, b.name]
    assert b.name not in a.neighbours()


# Lives


def test_what_a_crashed_node_was_doing_never_goes_on(simulation, pair):
    _, b = pair
    done = []

    def late():
        try:
            sleep(1.0)
            done.append("slept")
        finally:
            done.append("unwound")

    b.spawn(late)
    simulation.run(0.5)
    simulation.crash(b)
    simulation.run(10.0)
    assert done == []
    with pytest.raises(NotAProcess):
        b.run(int)


def test_a_restarted_node_is_a_new_life_at_the_same_address(simulation, pair):
    a, b = pair
    old = b.run(Echo.start)
    before = b.life, b.address
    simulation.restart(b, a)
    assert b.life.epoch > before[0].epoch
    assert b.life.bits != before[0].bits
    assert b.address == before[1]
    simulation.run_until(lambda: a.members() == [a.name, b.name], 10.0)
    with pytest.raises(CallError):
        a.run(call, old, 1)


def test_a_short_pause_is_only_late(simulation, pair):
    a, b = pair
    pid = b.run(Echo.start)
    simulation.pause(b, 2.0)
    start = simulation.now
    assert a.run(call, pid, 1) == 1
    assert simulation.now - start == pytest.approx(2.02, abs=0.02)
    assert a.members() == [a.name, b.name]


def test_a_long_pause_is_a_node_down_and_a_node_up(simulation, pair):
    a, b = pair
    simulation.pause(b)
    simulation.run_until(lambda: a.members() == [a.name], 20.0)
    simulation.resume(b)
    simulation.run_until(lambda: a.members() == b.members() == [a.name, b.name], 20.0)


def test_a_slow_node_does_one_thing_after_the_other_and_knows_that_it_is_late(simulation, pair):
    a, b = pair
    pid = b.run(Echo.start)
    a.run(call, pid, 0)
    assert simulation._clocks[b.name].lateness() == 0.0
    simulation.slow(b, 0.04)
    answers, start = [], simulation.now
    for number in range(20):
        a.spawn(lambda number=number: answers.append(call(pid, number)))
    simulation.run_until(lambda: len(answers) == 20, 10.0)
    assert simulation.now - start > 0.06
    assert simulation._clocks[b.name].lateness() > 0.03
    simulation.slow(b, 0.0)
    simulation.run(30.0)
    assert simulation._clocks[b.name].lateness() < 0.001
    assert a.members() == b.members() == [a.name, b.name]
    with pytest.raises(ValueError, match="0 s or more"):
        simulation.slow(b, -1.0)


def test_what_comes_to_a_slow_node_keeps_its_order_through_pauses(simulation, pair):
    a, b = pair
    got = []
    pid = b.spawn(lambda: [got.append(receive(int)) for _ in range(300)])
    for number in range(300):
        a.run(send, pid, number)
        if number % 50 == 0:
            simulation.slow(b, 0.03)
        if number % 50 == 20:
            simulation.pause(b, 0.2)
        if number % 50 == 30:
            simulation.slow(b, 0.0)
        simulation.run(0.01)
    simulation.run_until(lambda: len(got) == 300, 20.0)
    assert got == list(range(300))


def test_nobody_listens_at_an_address_of_somebody_else(simulation):
    simulation.node("a@sim")
    with pytest.raises(OSError, match="address"):
        simulation.node("b@sim", listen="10.0.0.1:1")


def test_a_join_through_a_dead_contact_fails(simulation, pair):
    a, b = pair
    address = a.address
    simulation.crash(a)
    simulation.run(20.0)
    with pytest.raises(JoinError):
        b.join(address, 3.0)


# What is not simulated


def wait_with_timeout():
    with gevent.Timeout(1.0):
        pass


def connect():
    from gevent import socket

    socket.create_connection(("127.0.0.1", 9), timeout=1.0)


@pytest.mark.parametrize(
    ("function", "args", "text"),
    [
        (gevent.sleep, (1.0,), "timer"),
        (wait_with_timeout, (), "timer"),
        (lambda: Event().wait(1.0), (), "timer"),
        (run_blocking, (int,), "thread"),
        (connect, (), "real world"),
    ],
)
def test_a_wait_for_the_real_world_is_refused(simulation, function, args, text):
    node = simulation.node("a@sim")
    with pytest.raises(NotSimulated, match=text):
        node.run(function, *args)
    assert node.run(lambda: "alive") == "alive"


def test_afterwards_the_real_world_is_back():
    with Simulation(1) as simulation:
        simulation.node("a@sim")
        simulation.run(1.0)
    start = time.monotonic()
    gevent.sleep(0.01)
    assert time.monotonic() - start > 0.005
    with Node("real@127.0.0.1", cookie="0123456789abcdef") as node:
        assert node.run(run_blocking, int) == 0


def test_one_simulation_at_a_time_and_none_outside_its_block(simulation):
    with pytest.raises(RuntimeError, match="already"), Simulation(2):
        pass
    with pytest.raises(RuntimeError, match="block"):
        Simulation(3).node("a@sim")


def test_only_the_program_lets_time_pass(simulation):
    with pytest.raises(RuntimeError, match="process sleeps"):
        simulation.node("a@sim").run(simulation.run, 1.0)


def test_an_error_in_an_event_is_raised_where_the_program_waits(simulation):
    node = simulation.node("a@sim")
    node._runtime.clock.call_later(1.0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        simulation.run(2.0)
    simulation.run(1.0)
    assert simulation.now == pytest.approx(2.0, abs=1e-6)


def test_a_circle_of_events_is_found(simulation, monkeypatch):
    monkeypatch.setattr("partisan_actors.testing.driver._MOST_AT_ONCE", 1000)
    clock = simulation.node("a@sim")._runtime.clock

    def again():
        clock.call_soon(again)

    again()
    with pytest.raises(RuntimeError, match="circles"):
        simulation.run(1.0)
    clock.end_life()


def test_a_failure_says_its_seed():
    with pytest.raises(ZeroDivisionError) as caught, Simulation(4711) as simulation:
        simulation.run(1.0)
        raise ZeroDivisionError
    assert "seed 4711" in "".join(caught.value.__notes__)


# The trace


def traced(seed):
    trace = Trace()
    with Simulation(seed, trace=trace) as simulation:
        a, b = simulation.node("a@sim"), simulation.node("b@sim")
        simulation.join(b, a)
        a.run(call, b.run(Echo.start), "hello")
        simulation.run(5.0)
    return trace


def test_a_seed_has_one_trace_and_another_seed_another():
    assert traced(5).digest == traced(5).digest != traced(6).digest
    assert traced(5).count > 20


def test_a_condition_may_wait_for_a_process(simulation):
    node = simulation.node("a@sim")
    node.spawn(lambda: (sleep(1.0), register("here", self_pid()), wait_for_ever()))
    assert simulation.run_until(lambda: node.run(whereis, "here"), 5.0) == pytest.approx(1.0, abs=0.2)


def test_a_node_stops_in_order_and_the_others_are_told_that_it_left(simulation, pair):
    a, b = pair

    def watch():
        monitor_nodes()
        return receive(NodeDown)

    heard = []
    a.spawn(lambda: heard.append(watch()))
    simulation.run(1.0)
    b.stop()
    simulation.run_until(lambda: heard, 5.0)
    assert (heard[0].node, heard[0].reason) == (b.name, "leave")


def test_the_program_may_be_a_process(simulation, pair):
    a, b = pair
    with a.attached():
        me = self_pid()
        b.spawn(lambda: (sleep(1.0), send(me, "hello")))
        assert receive(str) == "hello"
        assert receive(str, timeout=2.0, default="nothing") == "nothing"


def test_a_node_that_its_program_is_attached_to_may_crash(simulation, pair):
    a, b = pair
    with b.attached():
        simulation.crash(b)
        with pytest.raises(NotAProcess):
            self_pid()
    simulation.run_until(lambda: a.members() == [a.name], 10.0)
