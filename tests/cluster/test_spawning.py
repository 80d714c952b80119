"""Starting processes and servers on other nodes, as far as they let one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import gevent
import pytest
from structlog.testing import capture_logs

from partisan_actors import (
    ActorError,
    CallError,
    Crash,
    Down,
    Exit,
    Global,
    NameTaken,
    NoConnection,
    Node,
    NotSendable,
    Pid,
    Ref,
    Remote,
    StartError,
    monitor,
    process_info,
    receive,
    register,
    self_pid,
    send,
    send_exit,
    spawn,
    spawn_monitor,
    spawn_opt,
    trap_exits,
    whereis,
)
from partisan_actors.behaviours import GenServer, call, stop
from partisan_actors.behaviours import sys as server_sys
from partisan_actors.processes.runtime import current_process
from tests.conditions import wait_until
from tests.integration import workers
from tests.integration.workers import Echo, NotStarting, crash, end_with, greet, report_start, say_name, wait_for_ever
from tests.nodes import cluster_of, connected, running_nodes, session_between


@pytest.fixture(scope="module")
def both() -> Iterator[list[Node]]:
    with capture_logs(), running_nodes() as nodes:
        yield nodes.cluster("here", "there")


@pytest.fixture
def here(both: list[Node], logs: list[Any]) -> Iterator[Node]:
    with both[0].attached():
        yield both[0]


@pytest.fixture
def there(both: list[Node], here: Node) -> Node:
    return both[1]


def down(ref: Ref) -> Any:
    return receive(lambda message: type(message) is Down and message.ref == ref, timeout=5).reason


# Processes.


def test_a_function_runs_on_the_other_node_with_its_arguments(here, there):
    pid = spawn_opt(greet, (self_pid(), 1, "two"), {"three": [3]}, node=there.name)
    assert receive(timeout=5) == (pid, (1, "two"), {"three": [3]})
    assert pid.node == there.name and pid.home == there.life
    assert down(monitor(pid)) in ("normal", "noproc")


def test_the_own_name_is_no_other_node(here):
    pid = spawn_opt(lambda: wait_for_ever(), node=here.name)
    assert process_info(pid).parent == self_pid()


def test_it_is_monitored_from_before_its_first_step(there):
    for number in range(50):
        pid, ref = spawn_opt(end_with, (number,), node=there.name, monitor=True)
        assert receive(timeout=5) == Down(ref, pid, number)
    pid, ref = spawn_opt(crash, node=there.name, monitor=True)
    match receive(timeout=5):
        case Down(_, _, Crash("ZeroDivisionError", "as asked", traceback)):
            assert "workers.py" in traceback
        case other:
            pytest.fail(repr(other))
    assert process_info(self_pid()).monitors == []


def test_it_is_linked_from_before_its_first_step(there):
    trap_exits()
    for number in range(50):
        pid = spawn_opt(end_with, (number,), node=there.name, link=True)
        assert receive(timeout=5) == Exit(pid, number)
    assert process_info(self_pid()).links == []


def test_it_has_its_name_from_its_first_step(there):
    pid = spawn_opt(say_name, (self_pid(), "named there"), node=there.name, name="named there")
    assert receive(timeout=5) == (pid, pid)
    with pytest.raises(NameTaken, match="named there"):
        spawn_opt(report_start, (self_pid(),), node=there.name, name="named there")
    pid_of_global = spawn_opt(say_name, (self_pid(), Global("ours")), node=there.name, name=Global("ours"))
    assert receive(timeout=5) == (pid_of_global, pid_of_global)
    assert whereis(Global("ours")) == pid_of_global
    with pytest.raises(NameTaken, match="ours"):
        spawn_opt(report_start, (self_pid(),), node=there.name, name=Global("ours"))
    # Nothing was started where the name was taken.
    assert receive(timeout=0, default=None) is None
    for each in (pid, pid_of_global):
        send_exit(each, "kill")


def test_the_end_of_its_starter_finds_it(here, there):
    """A link to a starter that ends while the new process is being made."""

    def starter() -> None:
        spawn_opt(wait_for_ever, node=there.name, name="orphan", link=True)
        wait_for_ever()

    session = session_between(here, there)
    for rounds in range(12):
        pid, _ = spawn_monitor(starter)
        sent = session.machine.sending.sent
        wait_until(lambda sent=sent: session.unsent or session.machine.sending.sent > sent, what="it has asked")
        for _ in range(rounds):
            gevent.sleep(0)
        send_exit(pid, "kill")
        receive(Down, timeout=5)
        wait_until(lambda: there.run(whereis, "orphan") is None, what="no orphan is left")


# What may be started.


def test_only_what_is_listed_may_be_started(nodes):
    here, closed, picky = nodes.cluster("here", "closed", "picky", spawnable=())
    picky.stop()
    picky = nodes.start(picky.name, spawnable=("tests.integration.workers.gr*", "tests.integration.workers.Echo"))
    picky.join(here.address)
    with here.attached():
        for target in (wait_for_ever, greet, os.getcwd):
            with pytest.raises(ActorError, match="spawnable"):
                spawn_opt(target, node=closed.name, monitor=True)
        with pytest.raises(ActorError, match="spawnable"):
            Echo.start(node=closed.name)
        spawn_opt(greet, (self_pid(),), node=picky.name)
        receive(timeout=5)
        assert call(Echo.start(node=picky.name), "where") == picky.name
        for refused in (wait_for_ever, crash, os.getcwd):
            with pytest.raises(ActorError, match="picky"):
                spawn_opt(refused, (), node=picky.name)
        with pytest.raises(ActorError, match="NotStarting"):
            NotStarting.start("raise", node=picky.name)
        assert process_info(self_pid()).monitors == []


def test_a_pattern_does_not_open_what_a_module_has_imported(here, there):
    """`spawnable` names what a module defines: `workers.*` is not what `workers` got from elsewhere."""
    for dotted in (
        "tests.integration.workers:threading.Lock",
        "tests.integration.workers:receive",
        "tests.integration.workers:Any",
        "tests.integration.workers:__builtins__",
        "tests.integration.workers:Order",
        "tests.integration.workers:nothing",
        "tests.integration.nothing:crash",
        "tests.integration:workers.threading.Lock",
        "os:system",
        "tests.integration.workers",
        ":crash",
    ):
        with pytest.raises(ActorError):
            ask_to_start(here, there, dotted)
    assert ask_to_start(here, there, "tests.integration.workers:wait_for_ever").node == there.name


def ask_to_start(here: Node, there: Node, dotted: str) -> Any:
    """What a node would do that does not look at what it asks for."""

    spawning = cluster_of(here)._runtime.router.spawn.__self__  # type: ignore[attr-defined]
    start = {"args": (), "kwargs": {}, "link": False, "monitor": False, "name": None}
    with patch("partisan_actors.cluster.spawning.dotted_name", lambda _: dotted):
        return spawning.spawn(current_process(), there.name, object(), start)


def test_what_the_other_node_cannot_import_is_refused_here(there):
    def local() -> None:
        pass

    for target in (local, lambda: None, print_nothing.__get__(1)):
        with pytest.raises(ActorError, match="cannot be started on another node"):
            spawn_opt(target, node=there.name)
    in_main = type(local)(local.__code__, {}, "in_main")
    in_main.__module__, in_main.__qualname__ = "__main__", "in_main"
    with pytest.raises(ActorError, match="__main__"):
        spawn_opt(in_main, node=there.name)


def print_nothing(self: int) -> None:
    pass


def test_arguments_that_cannot_cross_start_nothing(there):
    for attempt in (
        lambda: spawn_opt(greet, (self_pid(), print), node=there.name, monitor=True),
        lambda: spawn_opt(greet, (), {"dest": print}, node=there.name, monitor=True),
        lambda: Echo.start_monitor(print, node=there.name),
    ):
        with pytest.raises(NotSendable):
            attempt()
    assert process_info(self_pid()).monitors == []


def test_there_is_nothing_to_start_on_no_node(here):
    began = time.monotonic()
    for attempt in (
        lambda: spawn_opt(greet, node="nowhere@127.0.0.1", monitor=True),
        lambda: Echo.start_link(node="nowhere@127.0.0.1"),
    ):
        with pytest.raises(NoConnection, match="nowhere"):
            attempt()
    assert time.monotonic() - began < 1
    assert process_info(self_pid()).monitors == [] and process_info(self_pid()).links == []


# Servers.


def test_a_server_starts_with_its_arguments_and_its_name(there):
    pid = Echo.start_link(1, [2], node=there.name, name="a server", key="value")
    assert call(Remote("a server", there.name), "given") == ((1, [2]), {"key": "value"})
    assert process_info(self_pid()).links == [pid]
    status = server_sys.get_status(pid)
    assert (status["pid"], status["name"], status["parent"]) == (pid, "a server", self_pid())
    with pytest.raises(StartError) as raised:
        Echo.start_link(node=there.name, name="a server")
    assert raised.value.reason == ("already_started", pid)
    trap_exits()
    stop(pid)
    assert receive(timeout=5) == Exit(pid, "normal")
    assert receive(timeout=0, default=None) is None


@pytest.mark.parametrize("start", ["start", "start_link", "start_monitor"])
def test_a_start_that_fails_leaves_nothing(there, start):
    trap_exits()
    begin = getattr(NotStarting, start)
    with pytest.raises(StartError) as raised:
        begin("raise", node=there.name)
    assert raised.value.reason.type == "ValueError" and "no start" in str(raised.value)
    with pytest.raises(StartError) as raised:
        begin("stop", ["why", 1], node=there.name, name="for a while")
    assert raised.value.reason == ["why", 1]
    with pytest.raises(StartError) as raised:
        begin("sleep", 30, node=there.name, timeout=0.03)
    assert raised.value.reason == "timeout"
    assert begin("ignore", node=there.name) is None
    assert there.run(whereis, "for a while") is None
    assert receive(timeout=0, default=None) is None
    info = process_info(self_pid())
    assert (info.links, info.monitors) == ([], [])


def test_a_started_server_is_monitored_at_once(there):
    pid, ref = Echo.start_monitor(node=there.name)
    send_exit(pid, "kill")
    assert receive(timeout=5) == Down(ref, pid, "killed")


def test_a_server_ends_with_the_process_that_started_it(there):
    starter = spawn(start_and_wait, there.name, self_pid())
    pid = receive(Pid, timeout=5)
    ref = monitor(pid)
    send_exit(starter, ("shutdown", "parent"))
    assert down(ref) == ("shutdown", "parent")


def start_and_wait(node: str, tell: Pid) -> None:
    send(tell, Echo.start_link(node=node))
    wait_for_ever()


def test_a_start_ends_when_the_other_node_does(nodes):
    here, there = nodes.cluster("here", "there")
    with here.attached():
        failures: list[Any] = []

        def starter() -> None:
            try:
                NotStarting.start("wait for ever", node=there.name)
            except (CallError, StartError) as error:
                failures.append(error)

        spawn_monitor(starter)
        wait_until(lambda: there.run(whereis, "in its init"))
        session_between(here, there).end("test")
        receive(Down, timeout=5)
        assert isinstance(failures[0], NoConnection)
        wait_until(lambda: connected(here, there))
        there.stop(timeout=0.5)


def test_a_start_with_a_monitor_that_fails_leaves_no_down(nodes):
    """The end of the session fires the monitor, of which the one who starts was never told."""
    here, there = nodes.cluster("here", "there")
    with here.attached():
        failures: list[Any] = []

        def starter() -> None:
            try:
                spawn_opt(wait_for_ever, node=there.name, link=True, monitor=True, name=Global("taken"))
            except NoConnection as error:
                failures.append(error)
                failures.append(receive(timeout=0, default=None))

        started = cut_before_the_answer(there)
        pid, ref = spawn_monitor(starter)
        wait_until(lambda: started)
        session_between(here, there).end("test")
        assert receive(Down, timeout=5) == Down(ref, pid, "normal")
        assert isinstance(failures[0], NoConnection) and failures[1] is None


def cut_before_the_answer(there: Node) -> list[Any]:
    """Let starts on `there` come in and never begin."""
    asked: list[Any] = []
    cluster_of(there).remote.incoming.spawn_requested = lambda ties, caller: asked.append(caller)
    return asked


def test_a_process_started_from_elsewhere_is_like_any_other(here, there):
    """Its parent is the process that asked; it registers, links and starts others as if it were at home."""
    pid = Echo.start(node=there.name)
    assert there.run(lambda: process_info(pid).parent) == self_pid()
    inner = there.run(lambda: Echo.start(node=here.name))
    assert process_info(inner) is not None
    register("from there", inner)
    assert there.run(call, Remote("from there", here.name), "where") == here.name
    for each in (pid, inner):
        send_exit(each, "kill")


def test_a_class_that_is_no_behaviour_is_refused(there):
    with pytest.raises(ActorError, match="neither a function nor a behaviour"):
        spawn_opt(workers.Order, (1,), node=there.name)
    assert issubclass(Echo, GenServer)
