"""A plain process becomes a server. What it does then, the other tests see: they run on all kinds of server."""

from __future__ import annotations

import pytest

from partisan_actors.behaviours import call, cast, enter_loop, stop
from partisan_actors.behaviours.gen_server import Continue, Hibernate, NoReply, Reply, Stop, TimedOut, Timeout
from partisan_actors.errors import ActorError, ProcessExit
from partisan_actors.processes.info import process_info
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import (
    monitor,
    receive,
    register,
    self_pid,
    send,
    spawn,
    spawn_link,
    trap_exits,
)
from tests.behaviours.servers import Scripted, died_of, end_of, seen, start_entered


def entering(prepare=lambda: None, then=None, after=lambda: None):
    """A process that prepares, enters the loop, and gets to `after` only when something is wrong."""

    def run():
        prepare()
        server = Scripted()
        server.init()
        enter_loop(server, then)
        after()

    return spawn(run)


def test_it_gets_what_was_sent_before_and_has_not_been_received():
    pid = entering(lambda: receive("go".__eq__))
    send(pid, "before")
    send(pid, "go")
    send(pid, "after")
    assert seen(pid) == ["before", "after"]


def test_its_init_is_not_called():
    class Sensitive(Scripted):
        def init(self):
            raise AssertionError("init was called")

    def run():
        server = Sensitive()
        server.seen = ["mine"]
        enter_loop(server)

    assert seen(spawn(run)) == ["mine"]


def test_it_keeps_its_name_and_pid():
    pid = entering(lambda: register("server", self_pid()))
    assert call(pid, lambda self, _: self_pid()) == pid
    assert call("server", lambda self, _: self_pid()) == pid


def test_it_never_comes_back():
    came_back = []
    pid = entering(after=lambda: came_back.append(True))
    cast(pid, lambda self: Stop("done"))
    assert end_of(pid) in ("done", "noproc")
    assert came_back == []


@pytest.mark.parametrize("reason", ["normal", "shutdown", "oops"])
def test_its_end_is_told_once_with_the_servers_reason(reason, logs):
    pid = start_entered()
    monitor(pid)
    stop(pid, reason)
    assert receive(Down).reason == reason
    assert receive(timeout=0, default=None) is None
    assert len(logs) == (reason == "oops")


def test_finally_blocks_around_it_run():
    unwound = []

    def run():
        try:
            enter_loop(Scripted())
        finally:
            unwound.append(self_pid())

    pid = spawn(run)
    stop(pid)
    assert unwound == [pid]


def test_then_comes_first():
    pid = entering(then=Continue(lambda self: self.seen.append("continued")))
    send(pid, "message")
    assert call(pid, lambda self, _: self.seen) == ["continued", "message"]
    assert call(entering(then=Hibernate()), lambda self, _: "awake") == "awake"


def test_then_can_be_a_timeout():
    me = self_pid()

    class Telling(Scripted):
        def handle_info(self, message):
            send(me, message)

    spawn(lambda: enter_loop(Telling(), Timeout(0.001)))
    assert receive() == TimedOut()


def test_a_then_that_fails_is_its_crash():
    pid = entering(lambda: receive("go".__eq__), then=Continue(lambda self: 1 / 0))
    monitor(pid)
    send(pid, "go")
    assert died_of(receive(Down).reason, ZeroDivisionError)


@pytest.mark.parametrize("then", [Stop("x"), Reply(1), NoReply(), "x"])
def test_then_takes_only_what_can_follow(then):
    pid = entering(lambda: receive("go".__eq__), then=then)
    monitor(pid)
    send(pid, "go")
    reason = receive(Down).reason
    assert died_of(reason, TypeError)
    assert "enter_loop(then=...) takes Continue, Timeout or Hibernate" in reason.message


def test_it_takes_a_server():
    def run():
        with pytest.raises(TypeError, match="takes an instance of a GenServer"):
            enter_loop(Scripted)
        raise ProcessExit("refused")

    pid = spawn(run)
    monitor(pid)
    assert receive(Down).reason == "refused"


def test_only_a_process_of_spawn_can(start):
    with pytest.raises(ActorError, match="only a process made by spawn"):
        enter_loop(Scripted())


def test_nor_a_server_inside_its_callback():
    def enters(self, caller):
        with pytest.raises(ActorError, match="only a process made by spawn"):
            enter_loop(Scripted())
        return "refused"

    assert call(Scripted.start(), enters) == "refused"


def test_one_that_traps_ends_with_the_process_that_spawned_it():
    me = self_pid()

    def parent():
        send(me, spawn_link(lambda: (trap_exits(), enter_loop(Scripted()))))
        receive("go".__eq__)
        raise ProcessExit("normal")

    parent_pid = spawn(parent)
    pid = receive()
    call(pid, lambda self, _: None)
    monitor(pid)
    send(parent_pid, "go")
    assert receive(Down).reason == "normal"


def test_process_info_says_where_it_began():
    pid = start_entered()
    assert "start_entered" in process_info(pid).initial_call
