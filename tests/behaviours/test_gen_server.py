"""A GenServer's loop: its messages, its ends, and what user code cannot do to it."""

from __future__ import annotations

import itertools
import time
from contextvars import ContextVar

import gevent
import pytest

from partisan_actors.behaviours import GenServer, call, cast, stop, sys
from partisan_actors.behaviours.gen_server import Continue, Stop
from partisan_actors.errors import ProcessExit, ServerExit, UnknownRequest
from partisan_actors.processes.info import process_info
from partisan_actors.processes.messages import Crash, Down, Exit
from partisan_actors.processes.primitives import (
    link,
    monitor,
    receive,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_link,
    trap_exits,
)
from tests.behaviours.servers import OwnGreenlet, Scripted, died_of, end_of, process_of, seen, server_of
from tests.conditions import wait_until

# Making one.


def test_an_init_of_its_own_in_python_is_refused():
    with pytest.raises(TypeError, match=r"Wrong defines __init__: .* put the code into init"):

        class Wrong(GenServer):
            def __init__(self):
                pass


def test_so_is_one_that_is_mixed_in():
    class Mixin:
        def __init__(self):
            pass

    with pytest.raises(TypeError, match="defines __init__"):

        class Wrong(Mixin, GenServer):
            pass


@pytest.mark.parametrize("parameter", ["name", "node", "timeout"])
@pytest.mark.parametrize("form", ["self, {}", "self, *, {}=1", "self, a, {}=None, **rest"])
def test_init_leaves_what_start_takes_to_start(parameter, form):
    scope = {"GenServer": GenServer}
    source = f"class Wrong(GenServer):\n    def init({form.format(parameter)}): pass"
    with pytest.raises(TypeError, match=rf"Wrong.init has a parameter called '{parameter}'"):
        exec(source, scope)


def test_so_does_one_that_is_mixed_in():
    class Mixin:
        def init(self, name):
            pass

    with pytest.raises(TypeError, match="parameter called 'name'"):

        class Wrong(Mixin, GenServer):
            pass


def test_the_state_is_all_that_there_is_on_self():
    assert vars(server_of(GenServer.start())) == {}


def test_a_request_that_nobody_handles_is_a_crash_that_says_so():
    for ask in (lambda pid: call(pid, "huh"), lambda pid: cast(pid, "huh")):
        pid, _ = GenServer.start_monitor()
        try:
            ask(pid)
        except ServerExit:
            pass
        reason = receive(Down).reason
        assert reason.type == "partisan_actors.errors.UnknownRequest"
        assert "GenServer does not know" in reason.message
        assert "'huh'" in reason.message


def test_a_message_that_nobody_handles_is_logged(logs):
    pid = GenServer.start()
    send(pid, "huh")
    sys.get_state(pid)
    (event,) = logs
    assert event["event"] == "unexpected_message"
    assert event["log_level"] == "warning"
    assert event["pid"] == str(pid)
    assert event["message"] == "'huh'"


# Messages.


def test_messages_are_handled_in_their_order(start):
    pid = start()
    for number in range(50):
        if number % 3 == 0:
            send(pid, number)
        else:
            cast(pid, lambda self, number=number: self.seen.append(number))
    assert seen(pid) == list(range(50))


def test_a_server_that_is_killed_handles_nothing_more(start):
    handled = []
    pid = start()
    cast(pid, lambda self: send_exit(self_pid(), "kill"))
    cast(pid, lambda self: handled.append("after"))
    assert end_of(pid) == "killed"
    assert handled == []


# Ends.


def test_an_exception_ends_it_with_a_crash(start):
    pid = start()
    cast(pid, lambda self: 1 / 0)
    reason = end_of(pid)
    assert died_of(reason, ZeroDivisionError)
    assert reason.message == "division by zero"
    assert "test_gen_server.py" in reason.traceback


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(3), "SystemExit"),
        (gevent.GreenletExit(), "greenlet.GreenletExit"),
        (gevent.Timeout(1), "gevent.timeout.Timeout"),
        (GeneratorExit(), "GeneratorExit"),
        (RecursionError("deep"), "RecursionError"),
    ],
)
def test_so_does_everything_else_that_is_raised(start, error, reason):
    def fail(self):
        raise error

    pid = start()
    cast(pid, fail)
    assert end_of(pid).type == reason
    assert call(Scripted.start(), lambda self, _: "the node goes on") == "the node goes on"


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", 1), "oops"])
def test_an_exit_raised_in_a_callback_is_a_stop(start, reason):
    ended = []

    def leave(self):
        self.on_terminate = ended.append
        raise ProcessExit(reason)

    pid = start()
    cast(pid, leave)
    assert end_of(pid) == reason
    assert ended == [reason]


def stop_by(how, pid):
    match how:
        case "Stop":
            cast(pid, lambda self: Stop("the reason"))
        case "crash":
            cast(pid, lambda self: 1 / 0)
        case "stop":
            spawn(stop, pid, "the reason")
        case "signal":
            spawn(send_exit, pid, "the reason")
        case "kill":
            send_exit(pid, "kill")


@pytest.mark.parametrize("trapping", [False, True])
@pytest.mark.parametrize("how", ["Stop", "crash", "stop", "signal", "kill"])
def test_when_terminate_runs(start, how, trapping):
    ended = []

    def prepare(self, caller):
        self.on_terminate = ended.append
        trap_exits(trapping)

    pid = start()
    call(pid, prepare)
    monitor(pid)
    stop_by(how, pid)
    if how == "signal" and trapping:
        wait_until(lambda: seen(pid))
        assert isinstance(seen(pid)[0], Exit)  # somebody's signal, but not its parent's, is a message
        stop(pid)
        assert ended == ["normal"]
        return
    reason = receive(Down).reason
    if how == "crash":
        assert died_of(reason, ZeroDivisionError)
    else:
        assert reason == ("killed" if how == "kill" else "the reason")
    assert ended == ([] if how in ("signal", "kill") else [reason])


def test_a_terminate_that_fails_gives_the_reason(start):
    pid = start()
    call(pid, lambda self, _: setattr(self, "on_terminate", lambda reason: 1 / 0))
    cast(pid, lambda self: Stop("shutdown"))
    assert died_of(end_of(pid), ZeroDivisionError)


def test_a_terminate_can_still_call_and_send(start):
    other = Scripted.start()
    me = self_pid()

    def ending(reason):
        send(me, (reason, call(other, lambda self, _: "answer")))

    pid = start()
    call(pid, lambda self, _: setattr(self, "on_terminate", ending))
    stop(pid)
    assert receive(tuple) == ("normal", "answer")


def test_a_signal_in_the_middle_of_terminate_decides(start):
    pid = start()
    process = process_of(pid)
    call(pid, lambda self, _: setattr(self, "on_terminate", lambda reason: sleep(10)))
    monitor(pid)
    cast(pid, lambda self: Stop("shutdown"))
    wait_until(lambda: process.waiter is not None)
    send_exit(pid, "enough")
    assert receive(Down).reason == "enough"


# Its parent.


def parent_of(script, ready):
    """A process that starts a server with a link and then ends with what it is sent."""

    def run():
        pid = Scripted.start_link(script)
        send(ready, pid)
        raise ProcessExit(receive())

    return spawn(run)


@pytest.mark.parametrize("reason", ["normal", "shutdown", "oops"])
def test_one_that_traps_ends_with_its_parent_whatever_the_reason(reason):
    me = self_pid()

    def script(self):
        trap_exits()
        self.on_terminate = lambda reason: send(me, ("terminate", reason))

    parent = parent_of(script, me)
    pid = receive()
    monitor(pid)
    send(parent, reason)
    assert receive(tuple) == ("terminate", reason)
    assert receive(Down).reason == reason


def test_so_it_does_when_the_parent_only_tells_it_to():
    pid = Scripted.start_link(lambda self: trap_exits() and None)
    trap_exits()
    send_exit(pid, "shutdown")
    assert receive(Exit) == Exit(pid, "shutdown")


def test_one_that_does_not_trap_ignores_a_normal_end_of_its_parent():
    parent = parent_of(None, self_pid())
    pid = receive()
    send(parent, "normal")
    assert end_of(parent) in ("normal", "noproc")
    assert call(pid, lambda self, _: "alive") == "alive"


def test_and_ends_with_any_other_without_terminate():
    ended = []
    parent = parent_of(lambda self: setattr(self, "on_terminate", ended.append), self_pid())
    pid = receive()
    monitor(pid)
    send(parent, "oops")
    assert receive(Down).reason == "oops"
    assert ended == []


def test_the_exit_of_another_linked_process_is_a_message():
    pid = Scripted.start(lambda self: trap_exits() and None)
    other = Scripted.start()
    call(pid, lambda self, _: link(other))
    stop(other, "shutdown")
    assert seen(pid) == [Exit(other, "shutdown")]


def test_a_server_without_a_link_has_no_parent_to_end_with():
    me = self_pid()
    spawn(lambda: send(me, Scripted.start(lambda self: trap_exits() and None)))
    pid = receive()
    send_exit(pid, "oops")
    assert seen(pid) == [Exit(me, "oops")]


# Receive in a callback.


def test_receive_in_a_callback_sees_what_handle_info_would_get():
    me = self_pid()

    def collect(self):
        send(me, "collecting")
        self.seen.append([receive(timeout=10) for _ in range(2)])

    def script(self):
        trap_exits()

    parent_ready = self_pid()
    parent = parent_of(script, parent_ready)
    pid = receive()
    cast(pid, collect)
    receive("collecting".__eq__)
    order = []
    cast(pid, lambda self: order.append("cast"))
    spawn(lambda: send(me, ("state", sys.get_state(pid)["seen"])))
    spawn(lambda: send(me, ("reply", call(pid, lambda self, _: order.append("call")))))
    process = process_of(pid)
    wait_until(lambda: len(process.mailbox or ()) == 3)
    send(pid, "one")
    monitor(pid)
    send(parent, "shutdown")
    assert end_of(parent) in ("shutdown", "noproc")
    assert order == []  # it still collects: the parent's exit is none of its business
    send(pid, "two")
    assert receive(tuple) == ("state", [["one", "two"]])
    assert receive(tuple) == ("reply", None)
    assert order == ["cast", "call"]
    assert receive(Down).reason == "shutdown"


def test_what_receive_leaves_keeps_its_order(start):
    pid = start()
    cast(pid, lambda self: sleep(0) or None)
    for number in range(6):
        send(pid, number)
    cast(pid, lambda self: self.seen.append(receive(lambda m: m == "picked")))
    for number in range(6, 9):
        send(pid, number)
    send(pid, "picked")
    assert seen(pid) == [*range(6), "picked", *range(6, 9)]


def test_receive_in_a_callback_can_time_out(start):
    pid = start()
    assert call(pid, lambda self, _: receive(timeout=0.001, default="nothing")) == "nothing"


# Killed while it runs, waits, or is queued; and user code that will not have it.


def holds_on(self):
    while True:
        try:
            sleep(10)
        except:  # noqa: E722 - what a program may do
            if len(self.seen) > 3:
                return
            self.seen.append("caught")


@pytest.mark.parametrize("reason", ["kill", "oops"])
def test_a_bare_except_does_not_save_it(start, reason):
    pid = start()
    process = process_of(pid)
    monitor(pid)
    cast(pid, holds_on)
    wait_until(lambda: process.waiter is not None)
    send_exit(pid, reason)
    assert receive(Down).reason == ("killed" if reason == "kill" else reason)
    wait_until(lambda: process.greenlet is None)


def test_nor_does_a_stop_that_such_code_returns(start):
    ended = []

    def defies(self):
        self.on_terminate = ended.append
        try:
            sleep(10)
        except BaseException:
            return Stop("my own reason")

    pid = start()
    process = process_of(pid)
    monitor(pid)
    cast(pid, defies)
    wait_until(lambda: process.waiter is not None)
    send_exit(pid, "oops")
    assert receive(Down).reason == "oops"
    assert ended == []


@pytest.mark.parametrize("reason", ["kill", "oops"])
@pytest.mark.parametrize("wait", [sleep, gevent.sleep, lambda seconds: receive(timeout=seconds)])
def test_ended_while_it_waits(start, wait, reason):
    unwound = []

    def waits(self):
        try:
            wait(10)
        finally:
            unwound.append(self_pid())

    pid = start()
    process = process_of(pid)
    cast(pid, waits)
    wait_until(lambda: process.greenlet is not None and not process.mailbox)
    monitor(pid)
    send_exit(pid, reason)
    assert receive(Down).reason == ("killed" if reason == "kill" else reason)
    wait_until(lambda: unwound == [pid])


@pytest.mark.parametrize("reason", ["kill", "oops"])
def test_ended_while_it_is_queued(reason):
    handled = []
    pid = Scripted.start()
    monitor(pid)
    cast(pid, lambda self: handled.append("ran"))
    send_exit(pid, reason)
    assert receive(Down).reason == ("killed" if reason == "kill" else reason)
    assert handled == []


def test_ended_by_itself_while_it_runs(start):
    pid = start()
    unwound = []

    def ends(self):
        try:
            send_exit(self_pid(), "kill")
        finally:
            unwound.append("unwound")

    monitor(pid)
    cast(pid, ends)
    assert receive(Down).reason == "killed"
    wait_until(lambda: unwound == ["unwound"])


def test_its_callers_hear_of_it_in_every_case(start):
    pid = start()
    cast(pid, lambda self: send_exit(self_pid(), "kill"))
    with pytest.raises(ServerExit) as failed:
        call(pid, lambda self, _: "never")
    assert failed.value.reason == "killed"


def test_a_greenlet_that_user_code_kills_takes_only_its_server(start):
    pid, other = start(), Scripted.start()
    process = process_of(pid)
    cast(pid, lambda self: sleep(10))
    wait_until(lambda: process.greenlet is not None and process.waiter is not None)
    monitor(pid)
    gevent.kill(process.greenlet)
    assert receive(Down).reason.type == "greenlet.GreenletExit"
    assert call(other, lambda self, _: "served") == "served"


def test_an_idle_server_of_its_own_greenlet_whose_greenlet_is_killed_ends():
    pid = OwnGreenlet.start()
    ended = []
    call(pid, lambda self, _: setattr(self, "on_terminate", ended.append))
    process = process_of(pid)
    wait_until(lambda: process.waiter is not None)
    monitor(pid)
    gevent.kill(process.greenlet)
    assert receive(Down).reason.type == "greenlet.GreenletExit"
    assert len(ended) == 1


# Turns.


def spin(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_two_busy_servers_take_turns():
    order = []
    first, second = Scripted.start(), Scripted.start()
    for pid in (first, second):
        for _ in range(1000):
            cast(pid, lambda self, pid=pid: (spin(20e-6), order.append(pid))[0])
    wait_until(lambda: len(order) == 2000)
    while order[-1] == order[-2]:
        order.pop()  # when one of them is through, the other has no turns to take
    runs = [len(list(run)) for _, run in itertools.groupby(order)]
    assert max(runs) <= 100  # a slice is 15 of them
    assert len(runs) >= 10


def test_a_busy_server_leaves_room_for_everything_else(start):
    pid = start()
    for _ in range(2000):
        cast(pid, lambda self: spin(20e-6))
    process = process_of(pid)
    rounds = 0
    while process.mailbox:
        gevent.sleep(0)  # the hub's turn: sockets, timers, other greenlets
        rounds += 1
    assert rounds >= 10


def test_a_server_that_has_nothing_to_do_holds_no_greenlet():
    pid = Scripted.start()
    call(pid, lambda self, _: None)
    assert process_of(pid).greenlet is None
    assert process_of(pid).mailbox is None


def test_one_with_own_greenlet_keeps_it():
    pid = OwnGreenlet.start()
    greenlets = [call(pid, lambda self, _: gevent.getcurrent()) for _ in range(3)]
    greenlets.append(process_of(pid).greenlet)
    assert len(set(map(id, greenlets))) == 1


def test_its_callbacks_can_tell_who_they_are(start):
    pid = start()
    assert call(pid, lambda self, _: self_pid()) == pid
    assert call(pid, lambda self, _: process_info(pid).current_function).startswith("tests.behaviours")


# Context variables.

variable: ContextVar[str] = ContextVar("variable", default="unset")


def test_a_server_keeps_its_context_from_turn_to_turn(start):
    pid = start()
    cast(pid, lambda self: variable.set("mine") and None)
    assert call(pid, lambda self, _: variable.get()) == "mine"


def test_nobody_else_gets_it(start):
    pid, other = start(), start()
    cast(pid, lambda self: variable.set("mine") and None)
    assert call(other, lambda self, _: variable.get()) == "unset"
    assert call(pid, lambda self, _: variable.get()) == "mine"
    assert variable.get() == "unset"


def test_it_starts_with_a_copy_of_its_starters():
    token = variable.set("before")
    try:
        pid = Scripted.start()
        variable.set("after")
        assert call(pid, lambda self, _: variable.get()) == "before"
    finally:
        variable.reset(token)


def test_a_callback_that_waits_comes_back_to_its_own():
    pids = [Scripted.start() for _ in range(3)]

    def waits(self, index):
        variable.set(str(index))
        sleep(0.001)
        self.seen.append(variable.get())

    for index, pid in enumerate(pids):
        cast(pid, lambda self, index=index: waits(self, index))
    assert [seen(pid) for pid in pids] == [["0"], ["1"], ["2"]]


# The report of a crash.


def crash_logged(logs):
    (event,) = [event for event in logs if event["event"] == "process_crashed"]
    return event


def test_a_crash_is_logged_with_all_that_is_known(logs):
    pid = Scripted.start(name="counter")
    cast(pid, lambda self: self.seen.append("state"))
    send(pid, lambda self: 1 / 0)
    send(pid, "never handled")
    monitor(pid)
    receive(Down)
    event = crash_logged(logs)
    assert event["log_level"] == "error"
    assert event["node"] == "a@host"
    assert event["pid"] == str(pid)
    assert event["name"] == "counter"
    assert event["parent"] == str(self_pid())
    assert event["initial_call"] == "tests.behaviours.servers.Scripted"
    assert event["reason"] == "ZeroDivisionError: division by zero"
    assert "handle_info" in event["exception"]
    assert event["mailbox_length"] == 1
    assert "lambda" in event["last_message"]
    assert "'seen': ['state']" in event["state"]


class Refusing(GenServer):
    def handle_call(self, request, caller):
        raise UnknownRequest(request)

    def handle_cast(self, request):
        raise UnknownRequest(request)

    def format_status(self, status):
        return "a state that may be shown"


def test_its_last_message_says_what_was_asked_and_by_whom(logs):
    with pytest.raises(ServerExit):
        call(Refusing.start(), ("buy", 3))
    assert crash_logged(logs)["last_message"] == f"('call', {self_pid()}, ('buy', 3))"


def test_or_what_was_cast(logs):
    assert isinstance(end_of_cast(Refusing.start(), ("buy", 3)), Crash)
    assert crash_logged(logs)["last_message"] == "('cast', ('buy', 3))"


def end_of_cast(pid, request):
    cast(pid, request)
    return end_of(pid)


def test_format_status_says_how_the_state_is_shown(logs):
    end_of_cast(Refusing.start(), "x")
    assert crash_logged(logs)["state"] == "'a state that may be shown'"


def test_a_format_status_that_fails_costs_only_itself(logs):
    class Failing(Refusing):
        def format_status(self, status):
            raise KeyError("no")

    assert isinstance(end_of_cast(Failing.start(), "x"), Crash)
    assert "format_status raised KeyError('no')" in crash_logged(logs)["state"]


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", "x")])
def test_an_orderly_end_is_not_logged(logs, reason):
    stop(Scripted.start(), reason)
    assert logs == []


def test_an_end_with_another_reason_is(logs):
    stop(Scripted.start(), "oops")
    assert crash_logged(logs)["reason"] == "'oops'"


def test_an_end_by_a_signal_is_logged_by_whoever_crashed_first(logs):
    spawn_link_pid = Scripted.start()
    send_exit(spawn_link_pid, "oops")
    assert end_of(spawn_link_pid) == "noproc"
    assert logs == []


def test_a_chain_of_linked_servers_ends_as_one():
    first = Scripted.start()
    pids = [first]
    for _ in range(1000):
        previous = pids[-1]
        pids.append(Scripted.start(lambda self, previous=previous: Continue(lambda self: link(previous))))
    for pid in pids:
        call(pid, lambda self, _: None)
    monitor(pids[-1])
    send_exit(first, "oops")
    assert receive(Down).reason == "oops"


def test_a_linked_process_that_crashes_takes_it_along(start):
    pid = start()
    monitor(pid)
    call(pid, lambda self, _: spawn_link(lambda: 1 / 0) and None)
    assert died_of(receive(Down).reason, ZeroDivisionError)
