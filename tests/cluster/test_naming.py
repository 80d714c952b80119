"""Global names as processes of several real nodes use them."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from partisan_actors import (
    ActorError,
    Down,
    Exit,
    Global,
    NameTaken,
    Node,
    NoProcess,
    Pid,
    StartError,
    global_names,
    monitor,
    receive,
    register,
    self_pid,
    send,
    send_exit,
    spawn,
    trap_exits,
    unregister,
    whereis,
)
from partisan_actors.behaviours import call, cast, stop
from tests.conditions import wait_until
from tests.integration.workers import Echo, Trapping, wait_for_ever
from tests.nodes import connected, cut, session_between, stop_reading

NAME = Global("billing")


def holders(*nodes: Node, name: Global = NAME) -> list[Pid | None]:
    """Who has the name, as each node sees it."""
    return [node.run(whereis, name) for node in nodes]


def waiting_process(node: Node) -> Pid:
    """A process of the node that waits for ever."""
    return node.spawn(wait_for_ever)


def attempt(node: Node, name: Global, pid: Pid) -> str:
    """Register; how that went."""
    try:
        node.run(register, name, pid)
    except NameTaken:
        return "taken"
    return "registered"


def test_a_name_is_known_everywhere_when_it_is_registered(nodes):
    one, two, three = nodes.cluster("one", "two", "three")
    pid = two.run(Echo.start)
    two.run(register, NAME, pid)
    assert holders(one, two, three) == [pid] * 3
    for node in (one, two, three):
        assert node.run(global_names) == ["billing"]
        assert node.run(call, NAME, "where") == two.name
        node.run(send, NAME, node.name)
        node.run(cast, NAME, node.name)
    wait_until(lambda: two.run(call, pid, "count") == 6)
    # Again is no error, and one process may have several.
    two.run(register, NAME, pid)
    two.run(register, Global("another"), pid)
    assert three.run(global_names) == ["another", "billing"]


def test_a_name_has_one_owner(nodes):
    one, two = nodes.cluster("one", "two")
    first, second = waiting_process(one), waiting_process(two)
    one.run(register, NAME, first)
    for node, pid in ((two, second), (one, waiting_process(one))):
        with pytest.raises(NameTaken, match="billing") as raised:
            node.run(register, NAME, pid)
        assert str(first) in str(raised.value) and raised.value.holder == first
    assert holders(one, two) == [first] * 2


def test_of_all_who_want_a_name_at_once_one_gets_it(nodes):
    members = nodes.cluster("one", "two", "three")
    for number in range(15):
        name = Global(f"contested {number}")
        pids = {node.name: waiting_process(node) for node in members}
        tries = [gevent.spawn(attempt, node, name, pids[node.name]) for node in members]
        gevent.joinall(tries, timeout=10, raise_error=True)
        outcomes = [each.value for each in tries]
        assert sorted(outcomes) == ["registered", "taken", "taken"], outcomes
        winner = members[outcomes.index("registered")]
        assert holders(*members, name=name) == [pids[winner.name]] * 3


def test_a_name_is_free_when_its_owner_gives_it_up_or_ends(nodes):
    one, two, three = nodes.cluster("one", "two", "three")
    for end in (
        lambda pid: one.run(unregister, NAME),  # by its own node
        lambda pid: three.run(unregister, NAME),  # by any other
        lambda pid: two.run(send_exit, pid, "kill"),
        lambda pid: two.run(stop, pid),
    ):
        pid = one.run(Echo.start)
        one.run(register, NAME, pid)
        assert holders(one, two, three) == [pid] * 3
        end(pid)
        # It can be had at once, whatever the copies say yet.
        other = waiting_process(two)
        wait_until(lambda other=other: attempt(two, NAME, other) == "registered")
        assert holders(one, two, three) == [other] * 3
        two.run(unregister, NAME)
        wait_until(lambda: holders(one, two, three) == [None] * 3)
    with pytest.raises(NoProcess):
        one.run(call, NAME, 1)
    one.run(send, NAME, "to nobody")


@pytest.mark.parametrize("how", ["leave", "stop", "session"])
def test_the_names_of_a_node_go_with_it(nodes, how):
    one, two, three = nodes.cluster("one", "two", "three")
    pid = three.run(Echo.start)
    three.run(register, NAME, pid)
    with one.attached():
        ref = monitor(NAME)
        call(NAME, "where")
        if how == "leave":
            three.leave()
        elif how == "stop":
            three.stop()
        else:
            session_between(one, three).end("a test")
        down = receive(Down, timeout=5)
        assert (down.ref, down.sender) == (ref, NAME)
        wait_until(lambda: whereis(NAME) is None)
        if how == "session":
            # They find each other again, and the name is where it was.
            wait_until(lambda: whereis(NAME) == pid)
            return
        wait_until(lambda: holders(one, two) == [None, None])
        mine = waiting_process(one)
        register(NAME, mine)
        assert holders(one, two) == [mine, mine]
        if how == "leave":
            assert holders(three) == [pid]  # alone, it keeps its own


def test_a_node_that_joins_learns_all_names_and_brings_its_own(nodes):
    one, two = nodes.cluster("one", "two")
    new = nodes.start("new")
    pids = {}
    for node, name in ((one, "of one"), (two, "of two"), (new, "of new")):
        pids[name] = node.run(Echo.start, name=Global(name))
    new.join(two.address)
    for node in (one, two, new):
        wait_until(lambda node=node: node.run(global_names) == ["of new", "of one", "of two"])
        assert {name: node.run(whereis, Global(name)) for name in pids} == pids


def test_a_server_may_be_started_under_a_name_once(nodes):
    one, two, three = nodes.cluster("one", "two", "three")
    pid = one.run(Echo.start, name=NAME)
    for node in (one, two, three):
        for start in (Echo.start, Echo.start_link, Echo.start_monitor):
            with pytest.raises(StartError) as raised:
                node.run(start, name=NAME)
            assert raised.value.reason == ("already_started", pid)
    with pytest.raises(StartError) as raised:
        one.run(Echo.start, name=NAME, node=two.name)
    assert raised.value.reason == ("already_started", pid)
    # All at once: one starts, and the others are told which.
    name = Global("once")
    starts = [gevent.spawn(start_or_told, node, name) for node in (one, two, three)]
    gevent.joinall(starts, timeout=10, raise_error=True)
    found = holders(one, name=name)
    assert [each.value for each in starts] == found * 3


def start_or_told(node: Node, name: Global) -> Any:
    try:
        return node.run(Echo.start, name=name)
    except StartError as error:
        return error.reason[1]


def test_where_two_owners_meet_the_older_stays(nodes):
    left, right = nodes.cluster("left", "left"), nodes.cluster("right", "right")
    older = left[1].run(Echo.start, name=NAME)
    younger = right[0].run(Trapping.start, name=NAME)
    plain = waiting_process(right[1])
    left[0].run(Echo.start, name=Global("both"))
    right[1].run(register, Global("both"), plain)
    with right[1].attached():
        ref = monitor(plain)
        left[0].join(right[1].address)
        wait_until(lambda: connected(*left, *right))
        wait_until(lambda: holders(*left, *right) == [older] * 4)
        # It does not trap: it ends. One that traps is told, and may go on without the name.
        winner = whereis(Global("both"))
        assert receive(Down, timeout=5) == Down(ref, plain, ("name_conflict", "both", winner))
        wait_until(lambda: call(younger, "count"))
        assert call(younger, "notes") == (Exit(older, ("name_conflict", "billing", older)),)
    assert left[0].run(call, NAME, "where") == left[1].name
    assert holders(*left, *right, name=Global("both")) == [winner] * 4


def test_a_registration_that_is_given_up_is_none(nodes):
    """Its process is killed while it waits for the others' word."""
    one, two = nodes.cluster("one", "two")
    with one.attached():
        pid = waiting_process(one)
        read_on = stop_reading(two, one)
        registering = spawn(register, NAME, pid)
        ref = monitor(registering)
        gevent.sleep(0)
        send_exit(registering, "kill")
        assert receive(Down, timeout=5) == Down(ref, registering, "killed")
        read_on()
        other = waiting_process(two)
        assert attempt(two, NAME, other) == "registered"
        assert holders(one, two) == [other] * 2


def test_an_owner_that_ends_while_it_is_registered_has_nothing(nodes):
    one, two = nodes.cluster("one", "two")
    with one.attached():
        pid = waiting_process(one)
        read_on = stop_reading(two, one)
        failures: list[ActorError] = []

        def registering() -> None:
            try:
                register(NAME, pid)
            except ActorError as error:
                failures.append(error)

        ref = monitor(spawn(registering))
        gevent.sleep(0)
        send_exit(pid, "kill")
        receive(lambda message: message.ref == ref, timeout=5)
        assert "it ended meanwhile" in str(failures[0])
        read_on()
        other = waiting_process(two)
        assert attempt(two, NAME, other) == "registered"


def test_what_cannot_be_registered(nodes):
    one, two = nodes.cluster("one", "two")
    with one.attached():
        dead = waiting_process(one)
        send_exit(dead, "kill")
        wait_until(lambda: not one.run(alive, dead))
        for name, pid, text in (
            (NAME, dead, "not alive"),
            (NAME, waiting_process(two), "another node"),
            (Global(""), self_pid(), "1 to 255"),
            (Global("x" * 256), self_pid(), "1 to 255"),
        ):
            with pytest.raises(ActorError, match=text):
                register(name, pid)
        with pytest.raises(TypeError):
            register(7, self_pid())  # type: ignore[arg-type]
        assert global_names() == []


def alive(pid: Pid) -> bool:
    monitor(pid)
    return receive(Down, timeout=0, default=None) is None


def test_names_survive_broken_connections(nodes):
    one, two = nodes.cluster("one", "two")
    for number in range(20):
        name = Global(f"name {number}")
        pid = waiting_process(one)
        cut(one, two)
        one.run(register, name, pid)
        assert holders(one, two, name=name) == [pid, pid]
    assert len(two.run(global_names)) == 20


def test_many_names(nodes):
    one, two, three = nodes.cluster("one", "two", "three")

    def register_many() -> None:
        trap_exits()
        for number in range(200):
            register(Global(f"{number}"), self_pid())
        wait_for_ever()

    pid = one.spawn(register_many)
    wait_until(lambda: len(three.run(global_names)) == 200)
    late = nodes.start("late")
    late.join(three.address)
    wait_until(lambda: len(late.run(global_names)) == 200)
    assert holders(two, late, name=Global("199")) == [pid, pid]
    two.run(send_exit, pid, "kill")
    wait_until(lambda: [node.run(global_names) for node in (one, two, three, late)] == [[]] * 4)


def test_a_consistent_look_up_asks_the_owner(nodes):
    one, two = nodes.cluster("one", "two")
    pid = two.run(Echo.start, name=NAME)
    with one.attached():
        assert whereis(NAME, consistent=True) == pid
        two.run(unregister, NAME)
        assert whereis(NAME, consistent=True) is None
        assert whereis(Global("nobody"), consistent=True) is None
