"""The orderly end of all processes: roots first, each with `"shutdown"`, and a kill for what is left."""

from __future__ import annotations

from partisan_actors.processes.messages import Exit
from partisan_actors.processes.primitives import receive, self_pid, spawn, spawn_link, spawn_monitor, trap_exits
from partisan_actors.processes.runtime import current_process
from partisan_actors.processes.stopping import stop_processes
from tests.conditions import wait_until
from tests.processes.probing import down_reason, until_waiting


def ends_in_order(order, name):
    trap_exits()
    message = receive(Exit)
    order.append((name, message.reason))


def test_everybody_is_told_to_shut_down(me, runtime):
    order = []
    pids = [spawn_monitor(ends_in_order, order, name) for name in "abc"]
    until_waiting(*(pid for pid, _ in pids))
    stop_processes(runtime, 5.0, None)
    assert order == [(name, "shutdown") for name in "abc"]
    assert [down_reason(ref) for _, ref in pids] == ["normal"] * 3
    assert list(runtime.processes.values()) == [me]  # an attached greenlet is spared


def test_a_child_is_its_parents_to_stop(me, runtime):
    order = []

    def parent():
        trap_exits()
        children = [spawn_link(ends_in_order, order, name) for name in ("first", "second")]
        ready.append(children)
        assert receive(Exit).reason == "shutdown"
        for child in reversed(children):
            runtime.process(child).signal_exit(self_pid(), "shutdown")
            receive(Exit)
        order.append("parent")

    ready = []
    spawn(parent)
    wait_until(lambda: ready)
    until_waiting(*ready[0])
    stop_processes(runtime, 5.0, None)
    assert order == [("second", "shutdown"), ("first", "shutdown"), "parent"]


def test_what_a_parent_leaves_behind_is_told_next(me, runtime):
    order = []
    ready = []
    spawn(lambda: (ready.append(spawn(ends_in_order, order, "orphan")), receive()))
    wait_until(lambda: ready)
    until_waiting(*ready)
    stop_processes(runtime, 5.0, None)
    assert order == [("orphan", "shutdown")]


def test_what_does_not_end_is_killed(me, runtime):
    def ignores():
        trap_exits()
        while True:
            receive()

    pid, ref = spawn_monitor(ignores)
    until_waiting(pid)
    begun = runtime.clock.now()
    stop_processes(runtime, 0.02, None)
    assert 0.02 <= runtime.clock.now() - begun < 1.0
    assert down_reason(ref) == "killed"


def test_a_process_that_stops_the_others_is_spared_and_its_children_are_told(me, runtime):
    order = []

    def stops():
        child = spawn(ends_in_order, order, "child")
        until_waiting(child)
        stop_processes(runtime, 5.0, current_process())
        order.append("spared")

    _, ref = spawn_monitor(stops)
    assert down_reason(ref) == "normal"
    assert order == [("child", "shutdown"), "spared"]
