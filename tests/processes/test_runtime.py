"""The table of a node: who is in it, what a destination means, and that everybody is told of an end."""

from __future__ import annotations

import gc
import weakref

import pytest

from partisan_actors.errors import NotAProcess
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life, Pid, Ref, Remote
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.plain import AttachedProcess
from partisan_actors.processes.primitives import link, monitor, receive, self_pid, send_exit, spawn, trap_exits
from partisan_actors.processes.runtime import Runtime, current_process, process_of_greenlet
from tests.processes.probing import alive, messages, settle

ELSEWHERE = Pid(Life("b@h", 1, 3), 1)


def test_serials_are_never_given_twice(runtime):
    given = [runtime.new_serial(), runtime.new_ref().serial, runtime.spawn(int, (), {}).pid.serial]
    assert len(set(given)) == 3 and given == sorted(given)
    assert type(runtime.new_ref()) is Ref and runtime.new_ref().home is runtime.home


def test_spawn_needs_no_process(runtime):
    assert process_of_greenlet() is None
    process = runtime.spawn(lambda: current_process().pid, (), {})
    settle()
    assert process.value == process.pid and process.parent is None


def test_what_a_destination_means(runtime):
    process = runtime.spawn(receive, (), {})
    runtime.register("here", process)
    assert runtime.resolve(process.pid) is process
    assert runtime.resolve(Pid(Life("a@h", 5, 2), process.pid.serial)) is process
    assert runtime.resolve("here") is process
    assert runtime.resolve(Remote("here", "a@h")) is process
    assert runtime.resolve(Remote("here", "b@h")) == Remote("here", "b@h")
    assert runtime.resolve(ELSEWHERE) is ELSEWHERE
    assert runtime.resolve(Pid(Life("a@h", 1, 9), process.pid.serial)) is None
    assert runtime.is_alive(process.pid) and not runtime.is_alive(ELSEWHERE)
    assert runtime.process(ELSEWHERE) is None


def test_a_closed_runtime_makes_no_process_and_says_why(runtime):
    process = AttachedProcess(runtime)
    process.attach()
    runtime.closed = "a@h has stopped"
    for function in (self_pid, receive, lambda: spawn(int), lambda: runtime.spawn(int, (), {})):
        with pytest.raises(NotAProcess, match="a@h has stopped"):
            function()
    process.detach(None)
    with pytest.raises(NotAProcess, match="a@h has stopped"):
        AttachedProcess(runtime)


def test_a_runtime_that_nobody_needs_is_freed():
    runtime = Runtime(Life("c@h", 1, 4), GeventClock())
    gone = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert gone() is None  # what is registered for forks does not keep it


def test_one_that_cannot_be_told_keeps_nobody_else_from_it(me, runtime, logs):
    class Failing:
        def down(self, reason):
            raise OSError("no way to the watcher")

    class Router(type(runtime.router)):
        def link(self, process, pid):
            pass  # it stands

        def monitor(self, monitor, dest):
            pass

        def link_exit(self, process, pid, reason):
            raise OSError("no way to the link")

        def demonitor(self, monitor):
            raise OSError("no way to the watched")

    def worker():
        monitor(ELSEWHERE)
        link(ELSEWHERE)
        link(test)
        receive()

    test = self_pid()
    runtime.router = Router("a@h", runtime.is_alive)
    trap_exits()
    pid = spawn(worker)
    settle()
    runtime.process(pid).add_watch(Failing())
    ref = monitor(pid)
    send_exit(pid, "kill")
    assert messages() == [Down(ref, pid, "killed"), Exit(pid, "killed")]
    assert [(entry["event"], entry["reason"], entry["pid"]) for entry in logs] == [
        ("end_not_told", f"OSError: no way to the {what}", str(pid)) for what in ("watched", "watcher", "link")
    ]
    assert not alive(pid)


def test_each_node_has_its_own_processes(me):
    other = Runtime(Life("b@h", 1, 3), GeventClock())
    ran = []
    theirs = other.spawn(lambda: ran.append(current_process().runtime), (), {})
    ours = spawn(lambda: ran.append(current_process().runtime))
    settle()
    assert ran == [other, me.runtime] and theirs.pid != ours
