"""A request is answered once: by a reply, by its callee's end, or not at all when its caller has given up."""

from __future__ import annotations

import pytest

from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.primitives import receive, self_pid, send_exit, spawn, spawn_monitor
from partisan_actors.processes.requests import (
    ABANDONED,
    FAILED,
    PENDING,
    REPLIED,
    Cast,
    RemoteCaller,
    Request,
    RequestId,
    Response,
)
from tests.conditions import wait_until
from tests.processes.probing import down_reason, messages, process_of, settle, until_waiting

pytestmark = pytest.mark.usefixtures("me")


def ask(me, pid: Pid, payload: object, kind: type[Request] = Request) -> Request:
    """Make a request of `pid`; the answer is waited for elsewhere."""
    request = kind(me, pid, payload)
    request.target = process_of(pid)
    request.target.add_watch(request)
    request.target.deliver(request)
    return request


def answers(value: object) -> None:
    request = receive(Request)
    request.reply(value)
    receive()


def test_a_reply(me):
    pid = spawn(answers, "four")
    request = ask(me, pid, "two and two")
    while request.state == PENDING:
        me.wait()
    assert (request.state, request.value) == (REPLIED, "four")
    assert not process_of(pid).watches and request.pid == me.pid


def test_only_the_first_answer_counts(me):
    request = ask(me, spawn(receive), "x")
    request.reply(1)
    request.reply(2)
    request.down("too late")
    request.fail("too late")
    request.abandon()
    assert (request.state, request.value) == (REPLIED, 1)


@pytest.mark.parametrize(("signal", "reason"), [("broken", "broken"), ("kill", "killed")])
def test_the_end_of_the_callee_is_an_answer(me, signal, reason):
    pid = spawn(receive, str)
    request = ask(me, pid, "x")
    until_waiting(pid)
    send_exit(pid, signal)
    wait_until(lambda: request.state != PENDING)
    assert (request.state, request.value) == (FAILED, reason)


def test_after_the_caller_gave_up_nothing_happens(me):
    pid = spawn(receive, str)
    request = ask(me, pid, "x")
    request.abandon()
    assert not process_of(pid).watches
    request.reply("late")
    request.down("late")
    assert (request.state, request.value) == (ABANDONED, None)
    assert messages() == []


def test_a_failure_from_elsewhere_leaves_the_callee(me):
    pid = spawn(receive, str)
    request = ask(me, pid, "x")
    request.fail("noconnection")
    assert (request.state, request.value) == (FAILED, "noconnection")
    assert not process_of(pid).watches


def test_the_answer_to_a_request_id_is_a_message(me):
    pid = spawn(answers, "four")
    request = ask(me, pid, "two and two", RequestId)
    message = receive(Response, timeout=5)
    assert message.request is request and request.value == "four"
    request = ask(me, spawn(receive, str), "x", RequestId)
    request.down("gone")
    assert receive(Response, timeout=5).request.state == FAILED


def test_the_caller_that_ended_is_not_disturbed(me):
    requests = []
    server = spawn(receive, str)
    _, ref = spawn_monitor(lambda: requests.append(ask(process_of(self_pid()), server, "x")))
    assert down_reason(ref) == "normal"
    requests[0].reply("late")
    send_exit(server, "kill")
    settle()
    assert messages() == []


def test_a_reply_is_checked_where_it_is_made(me, runtime):
    def check(value):
        raise TypeError("not sendable")

    request = ask(me, spawn(receive, str), "x")
    runtime.check_message = check
    with pytest.raises(TypeError):
        request.reply(object())
    assert request.state == PENDING
    runtime.check_message = None
    request.reply("good")
    assert request.state == REPLIED


def test_a_number_is_given_once_and_forgotten(me, runtime):
    request = ask(me, spawn(receive, str), "x")
    number = request.numbered()
    assert request.numbered() == number and runtime.requests == {number: request}
    request.reply("x")
    request.abandon()
    assert runtime.requests == {} and request.state == REPLIED


def test_how_they_look(me):
    request = Request(me, "printer", "x")
    match request:
        case Request("x"):
            assert repr(request) == "<caller <a@h 1>>"
    match Cast(("print", 1)):
        case Cast(("print", pages)):
            assert pages == 1
    assert repr(Cast(5)) == "Cast(5)" and "printer" in repr(Response(RequestId(me, "printer", 1)))


class Answers:
    """Records what goes back to the caller's node."""

    def __init__(self):
        self.sent: list[tuple[object, ...]] = []
        self.error: Exception | None = None

    def reply(self, caller, value):
        if self.error is not None:
            raise self.error
        self.sent.append(("reply", value))

    def fail(self, caller, reason):
        self.sent.append(("fail", reason))

    def settled(self, caller):
        self.sent.append(("settled", caller.number))


def remote(pid: Pid) -> tuple[RemoteCaller, Answers]:
    answers = Answers()
    caller = RemoteCaller(answers, Pid(Life("b@h", 1, 3), 7), 42, "x")
    caller.target = process_of(pid)
    caller.target.add_watch(caller)
    return caller, answers


def test_a_caller_of_another_node_is_answered_once():
    pid = spawn(receive, str)
    caller, answers = remote(pid)
    caller.reply("four")
    caller.reply("five")
    caller.down("late")
    assert answers.sent == [("reply", "four"), ("settled", 42)]
    assert not process_of(pid).watches and repr(caller) == "<caller <b@h 7>>"


def test_a_caller_of_another_node_is_told_of_the_end():
    pid = spawn(receive, str)
    caller, answers = remote(pid)
    send_exit(pid, "gone")
    caller.reply("late")
    assert answers.sent == [("fail", "gone"), ("settled", 42)]


def test_an_answer_that_cannot_be_sent_leaves_the_question_open():
    pid = spawn(receive, str)
    caller, answers = remote(pid)
    answers.error = TypeError("not sendable")
    with pytest.raises(TypeError):
        caller.reply(object())
    send_exit(pid, "crashed for it")
    assert answers.sent == [("fail", "crashed for it"), ("settled", 42)]
