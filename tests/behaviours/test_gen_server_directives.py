"""What each callback may return, and what comes of it: the table of callbacks, cell by cell."""

from __future__ import annotations

from contextlib import suppress

import pytest

from partisan_actors.behaviours import GenServer, call, cast, reply, stop, sys
from partisan_actors.behaviours.gen_server import (
    Continue,
    Hibernate,
    Ignore,
    NoReply,
    Reply,
    Stop,
    TimedOut,
    Timeout,
)
from partisan_actors.errors import CallError, ServerExit, StartError
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import monitor, receive, self_pid, send, spawn
from partisan_actors.processes.requests import SystemRequest
from tests.behaviours.servers import (
    Scripted,
    died_of,
    end_of,
    let_pass,
    loop_of,
    process_of,
    seen,
    server_of,
)
from tests.conditions import wait_until

DIRECTIVES = {
    "Continue": Continue("next"),
    "Stop": Stop("done"),
    "Stop(reply=)": Stop("done", reply="bye"),
    "Ignore": Ignore(),
    "Timeout": Timeout(60),
    "Hibernate": Hibernate(),
    "Reply": Reply("value"),
    "NoReply": NoReply(),
}
AFTER = {"Continue", "Stop", "Timeout", "Hibernate"}
ALLOWED = {
    "init": {*AFTER, "Ignore"},
    "handle_call": {"Reply", "NoReply", "Stop", "Stop(reply=)"},
    "handle_cast": AFTER,
    "handle_info": AFTER,
    "handle_continue": AFTER,
    "terminate": set(),
}
CELLS = [(callback, name, name in ALLOWED[callback]) for callback in ALLOWED for name in DIRECTIVES]


class Returning(GenServer):
    """Returns a directive from one callback, the first time."""

    def init(self, callback, directive):
        self.callback, self.directive = callback, directive
        return Continue("first") if callback == "handle_continue" else self.returned("init")

    def returned(self, callback):
        if callback == self.callback:
            self.callback = None
            return self.directive
        return None

    def handle_call(self, request, caller):
        return self.returned("handle_call")

    def handle_cast(self, request):
        return self.returned("handle_cast")

    def handle_info(self, message):
        return self.returned("handle_info")

    def handle_continue(self, term):
        return self.returned("handle_continue")

    def terminate(self, reason):
        return self.returned("terminate")


def reason_of(callback, directive):
    """The reason that the server ended with, or None when it lives."""
    try:
        pid, _ = Returning.start_monitor(callback, directive) or (None, None)
    except StartError as error:
        return error.reason
    if pid is None:
        return None
    match callback:
        case "handle_call":
            with suppress(CallError):
                call(pid, "a request", timeout=0.01)
        case "handle_cast":
            cast(pid, "a request")
        case "handle_info":
            send(pid, "a message")
        case "terminate":
            with suppress(CallError):
                stop(pid)
    with suppress(CallError):
        call(pid, "still there?")
    down = receive(Down, timeout=0, default=None)
    return None if down is None or down.reason == "normal" else down.reason


@pytest.mark.parametrize(("callback", "name", "allowed"), CELLS, ids=lambda value: str(value))
def test_each_cell_of_the_table(callback, name, allowed):
    directive = DIRECTIVES[name]
    reason = reason_of(callback, directive)
    if allowed:
        assert reason == ("done" if name.startswith("Stop") else None)
        return
    assert reason.type == "TypeError"
    assert f"Returning.{callback} returned {type(directive).__name__}(" in reason.message
    assert "it may return" in reason.message


@pytest.mark.parametrize("value", [None, 0, "text", (), object(), Stop])
def test_a_plain_value_of_handle_call_is_the_reply(value):
    assert call(Scripted.start(), lambda self, _: value) is value


@pytest.mark.parametrize("value", [0, "text", [], object(), Stop, TimedOut()])
def test_a_plain_value_of_the_others_is_ignored(value):
    pid = Scripted.start(lambda self: value)
    cast(pid, lambda self: value)
    send(pid, lambda self: value)
    cast(pid, lambda self: Continue(lambda self: value))
    assert call(pid, lambda self, _: "alive") == "alive"
    stop(pid)


@pytest.mark.parametrize("directive", [Reply, NoReply])
def test_then_takes_only_what_can_follow(directive):
    arguments = ("value",) if directive is Reply else ()
    for then in (None, Continue(1), Timeout(1), Hibernate()):
        assert directive(*arguments, then=then).then == then
    for then in (Stop(), Ignore(), Reply(1), NoReply(), "x"):
        with pytest.raises(TypeError, match=rf"{directive.__name__}\(then=...\) takes Continue, Timeout or Hibernate"):
            directive(*arguments, then=then)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", None])
def test_a_timeout_takes_seconds(seconds):
    with pytest.raises(ValueError, match="Timeout takes seconds"):
        Timeout(seconds)


# Reply, NoReply, Stop.


def test_a_stop_replies_after_terminate():
    order = []

    def stopping(self, caller):
        self.on_terminate = lambda reason: order.append(("terminate", reason))
        return Stop("shutdown", reply="bye")

    pid = Scripted.start()
    monitor(pid)
    order.append(call(pid, stopping))
    assert order == [("terminate", "shutdown"), "bye"]
    assert receive(Down).reason == "shutdown"


def test_a_stop_without_a_reply_fails_the_call_with_its_reason():
    with pytest.raises(ServerExit) as failed:
        call(Scripted.start(), lambda self, _: Stop("shutdown"))
    assert failed.value.reason == "shutdown"


def test_a_stop_can_reply_none():
    assert call(Scripted.start(), lambda self, _: Stop(reply=None)) is None


def test_a_stop_replies_though_terminate_fails():
    def stopping(self, caller):
        self.on_terminate = lambda reason: 1 / 0
        return Stop(reply="bye")

    pid = Scripted.start()
    monitor(pid)
    assert call(pid, stopping) == "bye"
    assert receive(Down).reason.type == "ZeroDivisionError"


def test_a_stop_whose_reply_cannot_be_sent_is_a_crash_after_one_terminate(runtime):
    ended = []

    def refuse(message):
        if message == "unsendable":
            raise TypeError("it cannot cross")

    def stopping(self, caller):
        self.on_terminate = ended.append
        return Stop(reply="unsendable")

    pid = Scripted.start()
    runtime.check_message = refuse
    with pytest.raises(ServerExit, match="it cannot cross"):
        call(pid, stopping)
    assert ended == ["normal"]


def test_a_reply_goes_out_before_what_then_does():
    me = self_pid()

    def waits(self):
        send(me, "waiting")
        receive("go".__eq__)

    pid = Scripted.start()
    assert call(pid, lambda self, _: Reply("value", then=Continue(waits))) == "value"
    receive("waiting".__eq__)
    send(pid, "go")
    stop(pid)


def test_no_reply_leaves_the_answer_to_reply():
    callers = []
    pid = Scripted.start()
    me = self_pid()

    def keep(self, caller):
        callers.append(caller)
        return NoReply()

    spawn(lambda: send(me, ("got", call(pid, keep))))
    wait_until(lambda: callers)
    reply(callers[0], "late")
    reply(callers[0], "later: only the first counts")
    assert receive(tuple) == ("got", "late")


# Continue.


def test_a_chain_of_continues_comes_before_any_message():
    def first(self):
        self.seen.append(1)
        send(self_pid(), "message")
        return Continue(second)

    def second(self):
        self.seen.append(2)
        return Continue(third)

    def third(self):
        self.seen.append(3)

    pid = Scripted.start()
    cast(pid, lambda self: Continue(first))
    cast(pid, lambda self: self.seen.append("cast"))
    assert seen(pid) == [1, 2, 3, "cast"]
    assert seen(pid) == [1, 2, 3, "cast", "message"]


def test_a_continue_of_init_comes_before_any_message_and_after_the_start():
    me = self_pid()

    def continued(self):
        send(me, "continuing")
        receive("go".__eq__)
        self.seen.append("continued")

    pid = Scripted.start(lambda self: Continue(continued))  # returns, though `continued` waits
    send(pid, "message")
    send(pid, "go")
    assert seen(pid) == ["continued", "message"]


def test_a_failing_continue_of_init_is_no_failed_start():
    pid, _ = Scripted.start_monitor(lambda self: Continue(lambda self: 1 / 0))
    down = receive(Down)
    assert down.sender == pid
    assert died_of(down.reason, ZeroDivisionError)


def test_an_endless_chain_of_continues_lets_others_run():
    def again(self):
        self.seen.append(None)
        return Continue(again)

    pid = Scripted.start(lambda self: Continue(again))
    other = Scripted.start()
    for _ in range(20):
        assert call(other, lambda self, _: "served") == "served"
    process_of(pid).kill()
    assert end_of(pid) == "noproc"


# Timeout.


def test_a_timeout_that_passes_is_a_message(start):
    server = server_of(start(lambda self: Timeout(0.005)))
    wait_until(lambda: server.seen == [TimedOut()])


@pytest.mark.parametrize("first", ["handle_call", "handle_cast", "handle_info", "handle_continue"])
def test_every_callback_can_set_a_timeout(start, first):
    timeout = Timeout(0.001)
    pid = start()
    server = server_of(pid)
    match first:
        case "handle_call":
            call(pid, lambda self, _: Reply(None, then=timeout))
        case "handle_cast":
            cast(pid, lambda self: timeout)
        case "handle_info":
            send(pid, lambda self: timeout)
        case "handle_continue":
            cast(pid, lambda self: Continue(lambda self: timeout))
    wait_until(lambda: server.seen == [TimedOut()])


@pytest.mark.parametrize("other", ["call", "cast", "message"])
def test_any_message_ends_a_timeout(start, other):
    pid = start(lambda self: Timeout(60))
    loop = loop_of(pid)
    wait_until(lambda: loop.timer)
    match other:
        case "call":
            call(pid, lambda self, _: None)
        case "cast":
            cast(pid, lambda self: None)
        case "message":
            send(pid, lambda self: None)
    wait_until(lambda: loop.timer is None)
    assert server_of(pid).seen == []


def test_a_message_to_the_loop_does_not(start):
    pid = start(lambda self: Timeout(0.01))
    server = server_of(pid)
    sys.get_state(pid)
    wait_until(lambda: server.seen == [TimedOut()])


def test_nor_does_one_that_waits_already(start):
    pid = start()
    server = server_of(pid)
    cast(pid, lambda self: Timeout(0.001))
    sys.get_state(pid)  # is in the mailbox when the timeout is set
    wait_until(lambda: server.seen == [TimedOut()])


def test_nor_one_that_the_timer_finds_waiting(start, me):
    pid = start(lambda self: Timeout(60))
    server, process = server_of(pid), process_of(pid)
    process.deliver(SystemRequest(me, pid, ("get_state",)))
    loop_of(pid)._timed_out()
    wait_until(lambda: server.seen == [TimedOut()])


def test_a_message_that_waits_already_is_in_time(start):
    pid = start()
    server = server_of(pid)
    cast(pid, lambda self: Timeout(0))
    send(pid, "in time")
    let_pass(0.003)
    assert server.seen == ["in time"]


def test_a_message_that_the_timer_finds_waiting_is_in_time(start):
    pid = start(lambda self: Timeout(60))
    server, process = server_of(pid), process_of(pid)
    process.deliver("in time")
    loop_of(pid)._timed_out()
    wait_until(lambda: server.seen)
    assert server.seen == ["in time"]
    let_pass(0.001)
    assert server.seen == ["in time"]


def test_a_timeout_of_zero_comes_at_once_when_nothing_waits(start):
    server = server_of(start(lambda self: Timeout(0)))
    wait_until(lambda: server.seen == [TimedOut()])


def test_a_timeout_of_a_server_that_has_ended_is_nothing(start):
    pid = start(lambda self: Timeout(0.002))
    stop(pid)
    let_pass(0.004)
    assert end_of(pid) == "noproc"


def test_hibernate_changes_nothing(start):
    pid = start(lambda self: Hibernate())
    cast(pid, lambda self: Hibernate())
    assert call(pid, lambda self, _: Reply("value", then=Hibernate())) == "value"
    assert call(pid, lambda self, _: "still") == "still"
