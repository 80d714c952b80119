"""Greenlets from outside that are processes for a while, and how names and reasons read."""

from __future__ import annotations

import threading

import gevent
import pytest

from partisan_actors.errors import NotAProcess, ProcessExit
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.processes.messages import Crash, Down, Exit
from partisan_actors.processes.plain import AttachedProcess, is_normal
from partisan_actors.processes.primitives import (
    monitor,
    receive,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn_monitor,
    trap_exits,
)
from partisan_actors.processes.runtime import Runtime, process_of_greenlet
from tests.conditions import wait_until
from tests.processes.probing import alive, down_reason, messages


class Attached:
    """As `Node.attached`: the current greenlet is a process of `runtime` for the block."""

    def __init__(self, runtime):
        self.process = AttachedProcess(runtime)

    def __enter__(self):
        self.process.attach()
        return self.process

    def __exit__(self, kind, error, traceback):
        self.process.detach(error)


def test_a_greenlet_is_a_process_for_the_block(runtime):
    with pytest.raises(NotAProcess):
        self_pid()
    with Attached(runtime) as process:
        assert self_pid() == process.pid and process_of_greenlet() is process
    assert process_of_greenlet() is None and runtime.processes == {}


def test_other_greenlets_are_attached_on_their_own(me, runtime):
    def handler(number):
        with Attached(runtime):
            send(me.pid, (number, self_pid()))
            assert receive(timeout=5) == number

    greenlets = [gevent.spawn(handler, number) for number in range(5)]
    for _ in range(5):
        number, pid = receive(timeout=5)
        send(pid, number)
    gevent.joinall(greenlets, raise_error=True)
    assert list(runtime.processes.values()) == [me]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, "normal"), (ProcessExit("done"), "done"), (ValueError("no"), "ValueError"), (SystemExit(3), "SystemExit")],
)
def test_what_leaves_the_block_is_the_reason_of_its_end(me, runtime, error, expected):
    def handler():
        with Attached(runtime):
            send(me.pid, self_pid())
            receive()
            if error is not None:
                raise error

    def swallowed():
        try:
            handler()
        except BaseException as left:
            return left

    greenlet = gevent.spawn(swallowed)
    pid = receive(timeout=5)
    ref = monitor(pid)
    send(pid, "go")
    reason = down_reason(ref)
    assert (reason.type if type(reason) is Crash else reason) == expected
    assert greenlet.get() is error


def test_two_nodes_in_one_greenlet(runtime, me):
    other = Runtime(Life("b@h", 1, 3), GeventClock())
    with Attached(other) as inner:
        assert self_pid() == inner.pid
    assert self_pid() == me.pid


def test_the_outer_node_may_stop_first(runtime):
    other = Runtime(Life("b@h", 1, 3), GeventClock())
    outer, middle, inner = AttachedProcess(runtime), AttachedProcess(other), AttachedProcess(runtime)
    for process in (outer, middle, inner):
        process.attach()
    outer.detach(None)
    assert self_pid() == inner.pid
    inner.detach(None)
    assert self_pid() == middle.pid
    middle.detach(None)
    assert process_of_greenlet() is None
    middle.detach(None)  # once more is nothing
    assert runtime.processes == {} and other.processes == {}


def test_a_process_may_be_attached_to_another_node(me, runtime):
    other = Runtime(Life("b@h", 1, 3), GeventClock())

    def visits():
        home = self_pid()
        with Attached(other):
            assert self_pid().node == "b@h"
            sleep(0.001)
        assert self_pid() == home

    _, ref = spawn_monitor(visits)
    assert down_reason(ref) == "normal"


def test_only_a_greenlet_of_the_nodes_own_thread_can_be_attached(runtime):
    raised = []

    def in_a_thread():
        try:
            AttachedProcess(runtime).attach()
        except NotAProcess as error:
            raised.append(str(error))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert len(raised) == 1 and "another thread" in raised[0] and "node.run" in raised[0]
    assert runtime.processes == {}


def test_a_link_of_an_attached_greenlet(me):
    trap_exits()
    pid, ref = spawn_monitor(receive)
    send_exit(pid, "kill")
    match messages():
        case [Down(found, _, "killed")]:
            assert found == ref
        case other:
            pytest.fail(repr(other))
    send_exit(me.pid, "to myself")
    assert receive() == Exit(me.pid, "to myself")


def test_a_greenlet_of_gevents_that_is_killed_while_it_is_attached(me, runtime):
    def handler():
        with Attached(runtime):
            send(me.pid, self_pid())
            receive()

    greenlet = gevent.spawn(handler)
    pid = receive(timeout=5)
    ref = monitor(pid)
    greenlet.kill()
    assert down_reason(ref).type == "greenlet.GreenletExit"
    wait_until(lambda: not alive(pid))


def test_which_reasons_are_an_orderly_end():
    class Equal:
        def __eq__(self, other):
            return True

        __hash__ = None

    assert all(is_normal(reason) for reason in ("normal", "shutdown", ("shutdown", "x"), ("shutdown", None)))
    assert not any(
        is_normal(reason) for reason in ("killed", None, ("shutdown",), ("shutdown", 1, 2), ["shutdown", 1], Equal())
    )
    assert not is_normal((Equal(), 1))
