"""The client side: every call ends, with the reply or with an error that says what happened."""

from __future__ import annotations

import time
from contextlib import suppress

import gevent
import pytest

from partisan_actors.behaviours import (
    abcast,
    call,
    cast,
    check_response,
    multi_call,
    receive_response,
    reply,
    send_request,
    stop,
    wait_response,
)
from partisan_actors.behaviours.gen_server import NO_RESPONSE, NoReply, Stop
from partisan_actors.errors import (
    ActorError,
    CallError,
    CallTimeout,
    NoConnection,
    NoProcess,
    NotAProcess,
    ProcessExit,
    ServerExit,
    WouldBlock,
)
from partisan_actors.processes.identity import Global, Life, Pid, Remote, Via
from partisan_actors.processes.messages import Crash, Down
from partisan_actors.processes.primitives import (
    monitor,
    pause,
    receive,
    register,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    whereis,
)
from tests.behaviours.servers import Scripted, died_of, end_of, process_of, seen, server_of, start_entered
from tests.conditions import wait_until


def never(self, caller):
    return NoReply()


def keep(self, caller):
    self.seen.append(caller)
    return NoReply()


def mailbox_is_empty():
    return receive(timeout=0, default=None) is None


# Where to.


def test_every_kind_of_address(start):
    class Registry:
        @staticmethod
        def whereis(key):
            return {"k": pid}.get(key)

    pid = start()
    register("local", pid)
    register(Global("everywhere"), pid)
    for dest in (pid, "local", Remote("local", "a@host"), Global("everywhere"), Via(Registry, "k")):
        assert call(dest, lambda self, _: self_pid()) == pid
        cast(dest, lambda self: self.seen.append("cast"))
    assert seen(pid) == ["cast"] * 5


@pytest.mark.parametrize("dest", [None, 17, b"name", ("name", "node"), object()])
def test_what_is_no_address(dest):
    for ask in (call, send_request, cast):
        with pytest.raises(TypeError, match="a message cannot be addressed to"):
            ask(dest, "request")


def test_a_call_from_outside_a_process():
    def outside():
        with pytest.raises(NotAProcess):
            call("anybody", "request")
        return "refused"

    assert gevent.spawn(outside).get() == "refused"


# Errors.


def test_nobody_there():
    gone = Scripted.start()
    stop(gone)
    for dest in ("nobody", gone, Remote("nobody", "a@host"), Global("nobody"), Pid(Life("a@host", 0, 99), 1)):
        with pytest.raises(NoProcess, match="no such process") as failed:
            call(dest, ("buy", 3))
        assert failed.value.reason == "noproc"
        assert repr(dest) in str(failed.value)
        assert "('buy', 3)" in str(failed.value)
        assert str(self_pid()) in str(failed.value)


@pytest.mark.parametrize("dest", [Remote("name", "b@host"), Pid(Life("b@host", 1, 7), 3)])
def test_a_node_that_is_not_there(dest):
    with pytest.raises(NoConnection, match="no connection to its node") as failed:
        call(dest, "request")
    assert failed.value.reason == "noconnection"
    assert isinstance(failed.value, ConnectionError)


def test_a_server_that_crashes_shows_its_traceback(start):
    with pytest.raises(ServerExit, match="ZeroDivisionError: division by zero") as failed:
        call(start(), lambda self, _: 1 / 0)
    assert isinstance(failed.value.reason, Crash)
    assert "test_calls.py" in str(failed.value)
    assert "Traceback" in str(failed.value)


def test_a_server_that_ends_before_it_gets_to_the_call():
    pid = Scripted.start()
    cast(pid, lambda self: Stop("closing"))
    with pytest.raises(ServerExit, match="ended with 'closing'") as failed:
        call(pid, lambda self, _: "never")
    assert failed.value.reason == "closing"


def test_calling_oneself_is_an_error_at_once(start):
    def calls_itself(self, caller):
        with pytest.raises(CallError) as failed:
            call(self_pid(), "request", None)
        return failed.value.reason

    assert call(start(), calls_itself) == "calling_self"
    with pytest.raises(CallError, match="would wait for ever"):
        call(self_pid(), "request", None)
    assert mailbox_is_empty()


def test_no_reply_in_time(start):
    pid = start()
    with pytest.raises(CallTimeout, match=r"no reply within 0.005 s") as failed:
        call(pid, never, 0.005)
    assert failed.value.reason == "timeout"
    assert isinstance(failed.value, TimeoutError)
    assert not process_of(pid).watches


def test_a_timeout_of_zero():
    with pytest.raises(CallTimeout):
        call(Scripted.start(), never, 0)


def test_a_long_timeout_ends_too(runtime):
    began = runtime.clock.now()
    with pytest.raises(CallTimeout):
        call(Scripted.start(), never, 1.01)  # a second and more: these are looked at in the wheel
    assert 1.0 < runtime.clock.now() - began < 3.0


def test_a_late_reply_reaches_nobody(me, start):
    pid = start()
    with pytest.raises(CallTimeout):
        call(pid, keep, 0.005)
    (caller,) = call(pid, lambda self, _: self.seen)
    reply(caller, "late")
    call(pid, lambda self, _: reply(caller, "later") and None)
    assert mailbox_is_empty()
    assert call(pid, lambda self, _: "the next one's own") == "the next one's own"
    assert not me.mailbox


def test_a_late_reply_does_not_wake_what_comes_next():
    pid = Scripted.start()
    with pytest.raises(CallTimeout):
        call(pid, keep, 0.005)
    (caller,) = call(pid, lambda self, _: self.seen)
    spawn(lambda: reply(caller, "late"))
    assert receive(timeout=0.005, default="in peace") == "in peace"


def test_a_caller_that_is_killed_leaves_nothing_with_the_server():
    pid = Scripted.start()
    caller = spawn(lambda: call(pid, never, None))
    wait_until(lambda: process_of(pid).watches)
    send_exit(caller, "kill")
    wait_until(lambda: not process_of(pid).watches)
    assert call(pid, lambda self, _: "alive") == "alive"


def test_a_caller_whose_wait_is_broken_off_leaves_nothing_either():
    pid = Scripted.start()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.005):
        call(pid, never, None)
    assert not process_of(pid).watches
    assert call(pid, lambda self, _: "next") == "next"


def test_one_who_traps_gets_no_signal_from_a_call():
    pid = Scripted.start()
    with pytest.raises(ServerExit):
        call(pid, lambda self, _: Stop("oops"))
    assert mailbox_is_empty()


@pytest.mark.parametrize("asking", [call, send_request, lambda dest, request: stop(dest)])
def test_one_who_is_exiting_asks_nothing_more(asking):
    raised = []
    server = Scripted.start()

    def defies():
        with suppress(BaseException):
            sleep(10)
        with suppress(ProcessExit):
            asking(server, lambda self, _: None)
        raised.append("again")

    pid = spawn(defies)
    pause()
    send_exit(pid, "oops")
    wait_until(lambda: raised == ["again"])


# The cost of a call.


def best_of(rounds, action):
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(50):
            action()
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_call_costs_the_same_with_a_full_mailbox(me):
    pid = Scripted.start()

    def ask():
        return call(pid, lambda self, _: None)

    best_of(5, ask)
    empty = best_of(20, ask)
    for number in range(100_000):
        me.deliver(number)
    full = best_of(20, ask)
    assert full < 3 * empty  # one look at each message would be a thousand times as much
    assert len(me.mailbox) == 100_000


def test_and_looks_at_none_of_its_messages(me):
    class Shy:
        @property  # type: ignore[misc]
        def __class__(self):
            raise AssertionError("somebody looked")

        def __eq__(self, other):
            raise AssertionError("somebody looked")

        __hash__ = None

    me.deliver(Shy())
    pid = Scripted.start()
    assert call(pid, lambda self, _: "reply") == "reply"
    stop(pid)
    with pytest.raises(NoProcess):
        call(pid, "request")
    assert len(me.mailbox) == 1


# Reply.


def test_anybody_may_reply_and_the_first_answer_counts(start):
    pid = start()
    me = self_pid()
    spawn(lambda: send(me, ("got", call(pid, keep))))
    (caller,) = wait_until(lambda: call(pid, lambda self, _: list(self.seen)))
    spawn(reply, caller, "from another process")
    assert receive(tuple) == ("got", "from another process")
    reply(caller, "again")
    assert mailbox_is_empty()


def test_a_server_may_reply_itself_and_go_on(start):
    pid = start()
    me = self_pid()

    def early(self, caller):
        reply(caller, "early")
        receive("go".__eq__)
        send(me, "done")
        return NoReply()

    assert call(pid, early) == "early"
    send(pid, "go")
    assert receive() == "done"


def test_the_caller_tells_who_asks(start):
    assert call(start(), lambda self, caller: caller.pid) == self_pid()


@pytest.mark.parametrize("caller", [None, "caller", 3])
def test_reply_takes_a_caller(caller):
    with pytest.raises(TypeError, match="reply takes the caller"):
        reply(caller, "value")


# Cast.


def test_a_cast_to_nobody_is_nothing():
    gone = Scripted.start()
    stop(gone)
    for dest in ("nobody", gone, Remote("nobody", "a@host"), Remote("x", "b@host"), Global("nobody")):
        assert cast(dest, "request") is None


def test_a_cast_to_a_full_mailbox_waits_for_room():
    pid = start_entered(max_mailbox=3)
    handled = []
    call(pid, lambda self, _: None)
    for number in range(20):
        cast(pid, lambda self, number=number: handled.append(number))
        assert len(process_of(pid).mailbox or ()) <= 3
    wait_until(lambda: handled == list(range(20)))


def test_or_refuses_if_it_may_not_wait():
    pid = start_entered(max_mailbox=1)
    cast(pid, lambda self: receive("go".__eq__) and None)
    wait_until(lambda: not process_of(pid).mailbox)
    cast(pid, lambda self: None, nosuspend=True)
    with pytest.raises(WouldBlock, match="holds 1 messages"):
        cast(pid, lambda self: None, nosuspend=True)
    monitor(pid)
    send_exit(pid, "kill")
    receive(Down)


def test_one_who_waits_for_room_in_a_server_that_ends_goes_on():
    pid = start_entered(max_mailbox=1)
    cast(pid, lambda self: receive("go".__eq__) and None)
    wait_until(lambda: not process_of(pid).mailbox)
    cast(pid, lambda self: None)
    process_of(pid).runtime.clock.call_later(0.002, process_of(pid).kill)
    cast(pid, lambda self: None)
    assert end_of(pid) == "noproc"


# Requests.


def test_a_request_whose_answer_comes_as_a_message(start):
    request = send_request(start(), lambda self, _: "value")
    message = receive()
    assert check_response(message, request) == "value"


def test_a_message_that_is_no_answer():
    first = send_request(Scripted.start(), lambda self, _: "first")
    second = send_request(Scripted.start(), lambda self, _: "second")
    messages = [receive(), receive()]
    assert check_response("a message", first) is NO_RESPONSE
    assert check_response(messages[1], first) is NO_RESPONSE
    assert check_response(messages[0], first) == "first"
    assert check_response(messages[1], second) == "second"


def test_waiting_for_it_in_any_order_and_leaving_the_rest():
    send(self_pid(), "a message")
    requests = [send_request(Scripted.start(), lambda self, _, n=n: n) for n in range(3)]
    assert [wait_response(request) for request in reversed(requests)] == [2, 1, 0]
    assert receive() == "a message"
    assert mailbox_is_empty()


def test_a_wait_that_times_out_can_be_repeated(start):
    pid = start()
    request = send_request(pid, keep)
    with pytest.raises(CallTimeout, match="no reply within"):
        wait_response(request, 0.005)
    (caller,) = call(pid, lambda self, _: self.seen)
    reply(caller, "at last")
    assert wait_response(request, 5) == "at last"


def test_after_a_receive_that_times_out_it_is_abandoned(start):
    pid = start()
    request = send_request(pid, keep)
    with pytest.raises(CallTimeout):
        receive_response(request, 0.005)
    (caller,) = call(pid, lambda self, _: self.seen)
    reply(caller, "late")
    assert mailbox_is_empty()
    assert not process_of(pid).watches


@pytest.mark.parametrize("get", [wait_response, receive_response])
def test_its_errors_are_those_of_call(get):
    cases = [
        ("nobody", NoProcess),
        (Remote("name", "b@host"), NoConnection),
        (Scripted.start(), ServerExit),
    ]
    for dest, error in cases:
        request = send_request(dest, lambda self, _: 1 / 0)
        with pytest.raises(error):
            get(request, 5)
    request = send_request(Scripted.start(), lambda self, _: Stop("oops"))
    message = receive()
    with pytest.raises(ServerExit, match="oops"):
        check_response(message, request)


def test_it_belongs_to_who_made_it():
    me = self_pid()
    spawn(lambda: send(me, send_request(Scripted.start(), never)))
    request = receive()
    with pytest.raises(TypeError, match="that send_request gave to this process"):
        wait_response(request)
    with pytest.raises(TypeError):
        receive_response("x")


def test_a_server_gets_its_answers_in_handle_info(start):
    pid, other = start(), Scripted.start()
    requests = []
    cast(pid, lambda self: requests.append(send_request(other, lambda self, _: "value")))
    wait_until(lambda: requests and server_of(pid).seen)
    assert call(pid, lambda self, _: check_response(self.seen[0], requests[0])) == "value"


# Many at once. One node here; others are bad.


def test_multi_call():
    pid = Scripted.start(name="server")
    replies, bad = multi_call(["a@host", "b@host"], "server", lambda self, _: self_pid())
    assert replies == [("a@host", pid)]
    assert bad == ["b@host"]
    assert multi_call(None, "server", lambda self, _: 1) == ([("a@host", 1)], [])
    assert multi_call(["a@host"], "nobody", "request") == ([], ["a@host"])
    assert multi_call([], "server", "request") == ([], [])


def test_multi_call_counts_the_slow_among_the_bad_and_their_replies_reach_nobody():
    pid = Scripted.start(name="server")
    assert multi_call(["a@host"], "server", keep, 0.005) == ([], ["a@host"])
    (caller,) = call(pid, lambda self, _: self.seen)
    reply(caller, "late")
    assert mailbox_is_empty()


def test_multi_call_by_a_process_of_that_name_itself():
    register("server", self_pid())
    assert multi_call(["b@host", "a@host"], "server", "request") == ([], ["a@host", "b@host"])
    assert mailbox_is_empty()


def test_abcast():
    pid = Scripted.start(name="server")
    abcast(["a@host", "b@host"], "server", lambda self: self.seen.append("one"))
    abcast(None, "server", lambda self: self.seen.append("two"))
    abcast(None, "nobody", "request")
    assert seen(pid) == ["one", "two"]


# Stop.


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", 1), "oops"])
def test_stop_waits_for_the_end_with_that_reason(start, reason):
    pid = start()
    ended = []
    call(pid, lambda self, _: setattr(self, "on_terminate", lambda r: (sleep(0.002), ended.append(r))[0]))
    monitor(pid)
    stop(pid, reason)
    assert ended == [reason]
    assert receive(Down, timeout=0).reason == reason


def test_stop_after_what_was_sent_before(start):
    handled = []
    pid = start()
    cast(pid, lambda self: handled.append(1))
    stop(pid)
    assert handled == [1]


def test_stop_by_name():
    Scripted.start(name="server")
    stop("server")
    assert whereis("server") is None


def test_stop_nobody():
    for dest in ("nobody", Pid(Life("a@host", 0, 9), 1)):
        with pytest.raises(NoProcess):
            stop(dest)
    with pytest.raises(NoConnection):
        stop(Remote("name", "b@host"))
    with pytest.raises(CallError, match="would wait for ever"):
        stop(self_pid())


def test_stop_one_that_does_not_get_to_it_in_time(start):
    pid = start()
    cast(pid, lambda self: receive("go".__eq__) and None)
    with pytest.raises(CallTimeout):
        stop(pid, timeout=0.005)
    monitor(pid)
    send(pid, "go")
    assert receive(Down).reason == "normal"  # the wish stands, as in OTP


def test_stop_one_that_ends_otherwise(start):
    pid = start()
    call(pid, lambda self, _: setattr(self, "on_terminate", lambda reason: 1 / 0))
    with pytest.raises(ServerExit, match="ZeroDivisionError") as failed:
        stop(pid)
    assert died_of(failed.value.reason, ZeroDivisionError)


def test_errors_of_the_tree():
    assert issubclass(CallError, ActorError)
    for error in (CallTimeout, NoProcess, NoConnection, ServerExit):
        assert issubclass(error, CallError)
