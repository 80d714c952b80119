"""Whole programs: how they end, what a fork of one may do, and gevent's monkey-patching."""

from __future__ import annotations

import signal
import textwrap

import pytest

from partisan_actors import NodeDown, NodeUp, Remote, monitor_nodes, receive
from partisan_actors.behaviours import call
from tests.integration.programs import run_forked, run_program


def test_a_program_that_ends_in_order_leaves_the_cluster(nodes, programs):
    program, here = programs.start(), nodes.start()
    here.join(program.address)
    with here.attached():
        monitor_nodes()
        assert program.end() == 0
        assert receive(timeout=5) == NodeDown(program.name, "leave")
        assert program.log() == ""


def test_an_interrupt_ends_a_program_that_only_waits(nodes, programs):
    """It leaves the `with` as KeyboardInterrupt, so the node stops in order."""
    program, here = programs.start(), nodes.start()
    here.join(program.address)
    with here.attached():
        monitor_nodes()
        assert call(program.echo, "where") == program.name
        program.signal(signal.SIGINT)
        assert receive(timeout=5) == NodeDown(program.name, "leave")
        assert program.wait() != 0
        assert "KeyboardInterrupt" in program.log()


def test_a_child_of_a_fork_does_its_parent_no_harm():
    """It has copies of all descriptors, and must not read, write or close what they stand for."""
    result = run_program(
        textwrap.dedent(
            """
            import os, sys, tempfile, gevent
            from partisan_actors import *
            from partisan_actors.behaviours import call
            from tests.integration.workers import Echo

            path = tempfile.mkdtemp() + "/socket"

            def fails(use):
                try:
                    use()
                except NotAProcess as error:
                    return "fork" in str(error)
                return False

            def in_child(how):
                if how == "use":
                    uses = [self_pid, processes, lambda: send("x", 1), lambda: receive(timeout=0), one.members,
                            one.start, lambda: one.run(int), lambda: one.spawn(int), one.stop, one.leave,
                            lambda: one.join("a:1"), lambda: call(echo, 1), lambda: one.send_from_thread("x", 1)]
                    assert all(map(fails, uses)), [fails(use) for use in uses]
                    for _ in range(100):  # its hub runs, with everything that the parent's watches
                        gevent.sleep(0.002)
                    # A node of its own is welcome.
                    with Node("child@127.0.0.1") as child:
                        child.join(address)
                        assert call(Remote("echo", two.name), "where") == two.name
                    os._exit(7)
                # Leaves the block of the node, and ends as a program does.
                sys.exit(8)

            with Node("one@127.0.0.1", listen=["unix:" + path, "127.0.0.1:0"]) as one:
                two = Node("two@127.0.0.1").start()
                address = two.address
                one.join(address)
                with two.attached():
                    Echo.start(name="echo")
                echo = Remote("echo", two.name)
                monitor(echo)
                for how in ("use", "exit"):
                    pid = os.fork()
                    if not pid:
                        in_child(how)
                    for number in range(150):
                        assert call(echo, ("echo", number)) == number
                        gevent.sleep(0.002)
                    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
                        gevent.sleep(0.01)
                    print(how, os.waitstatus_to_exitcode(ended[1]))
                assert os.path.exists(path)
                assert receive(timeout=0, default=None) is None
                print(call(echo, "where"))
                print(one.members())
            two.stop()
            print("parent ends")
            """
        )
    )
    assert result.stdout.splitlines() == [
        "use 7",
        "exit 8",
        "two@127.0.0.1",
        "['one@127.0.0.1', 'two@127.0.0.1']",
        "parent ends",
    ], result.stderr
    assert result.returncode == 0 and result.stderr == ""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_monkey_patched_program_works_as_well(when):
    """There `threading` makes greenlets, and calls them threads."""
    patch = "from gevent import monkey; monkey.patch_all()"
    result = run_program(
        textwrap.dedent(
            f"""
            {patch if when == "before" else ""}
            from partisan_actors import *
            from partisan_actors.behaviours import call
            from tests.integration.workers import Echo
            {patch if when == "after" else ""}
            import socket, threading, time
            import gevent

            def attached(node, echo):
                with node.attached():
                    return call(echo, "where")

            def in_thread(function):
                got = []
                thread = threading.Thread(target=lambda: got.append(function()))
                thread.start()
                thread.join(10)
                return got

            with Node("one@127.0.0.1") as one, Node("two@127.0.0.1") as two:
                two.join(one.address)
                echo = one.run(Echo.start, name="echo")
                print(call(echo, "where"))
                print(in_thread(lambda: one.run(call, echo, "where")))
                print(in_thread(lambda: attached(one, echo)))
                print(in_thread(lambda: one.spawn(int).node))
                in_thread(lambda: one.send_from_thread(echo, "from a thread"))
                print([one.run(run_blocking, threading.get_native_id) != threading.get_native_id()])
                print(gevent.get_hub().threadpool.apply(one.run, (call, echo, "notes")))
                time.sleep(0.01)
            """
        )
    )
    name = "one@127.0.0.1"
    assert result.stdout.splitlines() == [
        name, f"['{name}']", f"['{name}']", f"['{name}']", "[True]", "('from a thread',)",
    ], result.stderr  # fmt: skip
    assert result.returncode == 0 and result.stderr == ""


@pytest.mark.parametrize(
    ("source", "status", "error"),
    [
        ("node = Node('a@127.0.0.1').start()\nnode.spawn(receive)", 0, ""),  # ends without a word
        ("with Node('a@127.0.0.1'):\n    raise SystemExit(3)", 3, ""),
        ("with Node('a@127.0.0.1'):\n    1 / 0", 1, "ZeroDivisionError"),
        ("with Node('a@127.0.0.1'):\n    send_exit(self_pid(), 'over')", 1, "over"),
        ("with Node('a@127.0.0.1'):\n    spawn(print, 'printed')\n    sleep(0)", 0, ""),
        ("with Node('a@127.0.0.1') as n:\n    send_after(0.3, self_pid(), 1)\n    receive()", 0, ""),
    ],
)
def test_how_a_program_ends(source, status, error):
    ended, errors = run_forked(f"from partisan_actors import *\n{source}")
    assert ended == status, errors
    assert error in errors if error else errors == ""


def test_a_native_thread_waits_for_a_node_that_the_main_thread_stops():
    """And an interrupt of the thread's wait ends what it started."""
    result = run_program(
        textwrap.dedent(
            """
            import os, signal, threading
            from partisan_actors import *

            def endless():
                register("endless", self_pid())
                receive()

            def own_thread():
                with Node("a@127.0.0.1") as node:
                    register("keeper", self_pid())
                    nodes.append(node)
                    ready.set()
                    receive("stop".__eq__)

            nodes, ready = [], threading.Event()
            thread = threading.Thread(target=own_thread)
            thread.start()
            ready.wait()
            (node,) = nodes
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                node.run(endless)
            except KeyboardInterrupt:
                print("interrupted")
            while node.run(whereis, "endless") is not None:
                pass
            print("ended")
            node.send_from_thread("keeper", "stop")
            thread.join()
            """
        )
    )
    assert result.stdout.splitlines() == ["interrupted", "ended"], result.stderr
    assert result.returncode == 0 and result.stderr == ""


def test_logs_go_to_standard_error_and_not_to_the_output():
    result = run_program(
        "import sys\n"
        "from partisan_actors import *\n"
        "with Node('a@127.0.0.1'):\n"
        "    pid, ref = spawn_monitor(lambda: 1 / 0)\n"
        "    receive()\n"
        "    print('done')\n"
    )
    assert result.stdout == "done\n"
    assert "process_crashed" in result.stderr and "ZeroDivisionError" in result.stderr


def test_nodes_see_a_restarted_program_as_a_new_life(nodes, programs):
    """Restarted in order, at another port; the old one's pids are nobody's."""
    first, here = programs.start("again"), nodes.start("here")
    here.join(first.address)
    with here.attached():
        monitor_nodes()
        first.end()
        assert receive(timeout=5) == NodeDown(first.name, "leave")
        second = programs.start(first.name)
        second.ask("join", here.address)
        assert receive(timeout=5) == NodeUp(first.name)
        assert call(Remote("echo", first.name), "where") == second.name
