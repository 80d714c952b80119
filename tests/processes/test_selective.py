"""Selective receive: the oldest message that matches, and the rest as it was."""

from __future__ import annotations

import time

import gevent
import pytest

from partisan_actors.errors import ActorError, ReceiveTimeout
from partisan_actors.processes.info import process_info
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.primitives import receive, self_pid, send, send_exit, sleep, spawn, spawn_monitor
from tests.processes.probing import down_reason, end_of, messages, process_of, settle, until_waiting

pytestmark = pytest.mark.usefixtures("me")


def fill(*items):
    for item in items:
        send(self_pid(), item)


def waiting() -> int:
    return process_info(self_pid()).mailbox_length


def test_without_a_match_the_oldest_comes_first():
    fill(1, 2, 3)
    assert [receive() for _ in range(3)] == [1, 2, 3]


def test_none_and_false_are_messages_too():
    fill(None, False, 0)
    assert [receive(timeout=0) for _ in range(3)] == [None, False, 0]


def test_the_oldest_match_is_taken_and_the_rest_keeps_its_order():
    fill(1, "a", 2, "b", 3)
    assert receive(str) == "a"
    assert receive(lambda message: message == 3) == 3
    assert receive((float, str)) == "b"
    assert messages() == [1, 2]


def test_a_class_matches_its_subclasses():
    fill(1.0, True)
    assert receive(int) is True


def test_a_message_that_comes_later_is_waited_for():
    def sends(to):
        for item in ("no", "no", 7, "no"):
            send(to, item)
            sleep(0.001)

    spawn(sends, self_pid())
    assert receive(int, timeout=5) == 7
    assert receive(str) == "no"


@pytest.mark.parametrize("wrong", [5, "str", (), (int, 5), [int]])
def test_what_is_no_pattern_is_told(wrong):
    fill("there")
    with pytest.raises(TypeError, match="a predicate, a class, or a tuple of classes"):
        receive(wrong)
    assert messages() == ["there"]


# Timeouts.


def test_a_timeout_raises_and_says_what_was_wanted():
    fill("x")
    with pytest.raises(ReceiveTimeout, match=r"<a@h 1> got no int or Down within 0.01 s; 1 other") as raised:
        receive((int, Down), timeout=0.01)
    assert isinstance(raised.value, TimeoutError) and isinstance(raised.value, ActorError)


@pytest.mark.parametrize("default", [None, "nothing", False])
def test_a_default_is_given_instead(default):
    assert receive(timeout=0.001, default=default) is default


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0])
def test_no_time_only_looks(timeout):
    fill("x")
    assert receive(int, timeout=timeout, default=None) is None
    assert receive(timeout=timeout) == "x"
    with pytest.raises(ReceiveTimeout):
        receive(timeout=timeout)


def test_a_message_in_time_beats_the_timeout():
    pid = self_pid()
    gevent.get_hub().loop.run_callback(process_of(pid).deliver, "in time")
    assert receive(timeout=5) == "in time"


def test_no_end_is_for_ever():
    pid, ref = spawn_monitor(receive, timeout=float("inf"))
    until_waiting(pid)
    send(pid, "at last")
    assert down_reason(ref) == "normal"


def test_a_timeout_that_is_no_number_leaves_the_process_as_it_was(me):
    with pytest.raises(TypeError):
        receive(timeout="soon")
    with pytest.raises(ValueError, match="NaN"):
        receive(timeout=float("nan"))
    assert me.waiter is None and me.deadline is None
    fill("x")
    assert receive(timeout=1) == "x"


# Predicates of every kind.


def test_a_predicate_that_raises_leaves_the_mailbox_as_it_was():
    fill(1, "a", 2)
    with pytest.raises(ZeroDivisionError):
        receive(lambda message: message == "a" and 1 / 0)
    assert messages() == [1, "a", 2]


def test_a_predicate_that_raises_on_a_later_message():
    def sends(to):
        send(to, "bad")

    spawn(sends, self_pid())
    with pytest.raises(ZeroDivisionError):
        receive(lambda message: 1 / 0)
    assert messages() == ["bad"]


def test_what_a_predicate_sends_to_its_own_process_is_looked_at():
    def answers_itself(message):
        if message == "question":
            send(self_pid(), "answer")
        return message == "answer"

    fill("question")
    assert receive(answers_itself, timeout=5) == "answer"
    assert messages() == ["question"]


def test_a_predicate_may_itself_receive():
    def takes_the_next(message):
        if message == "header" and not bodies:
            bodies.append(receive(lambda inner: inner != "header"))
        return message == "last"

    bodies: list[str] = []
    fill("header", "body", "last", "more")
    assert receive(takes_the_next, timeout=5) == "last"
    assert messages() == ["header", "more"] and bodies == ["body"]


def test_a_predicate_that_takes_the_very_message():
    def takes_it(message):
        receive(lambda inner: inner == message, timeout=0, default=None)
        return message == 2

    fill(1, 2, 3)
    assert receive(takes_it, timeout=0, default="none left") == "none left"
    assert messages() == []


def test_a_predicate_that_sends_for_ever_keeps_nobody_from_running():
    def sends_more(message):
        send(self_pid(), "more")

    pid, ref = spawn_monitor(lambda: (send(self_pid(), "first"), receive(sends_more)))
    settle()  # would not come back
    send_exit(pid, "enough")
    assert down_reason(ref) == "enough"
    with pytest.raises(ReceiveTimeout):
        fill("first")
        receive(sends_more, timeout=0.01)


def test_a_predicate_that_waits_and_one_that_is_killed_meanwhile():
    def waits(message):
        try:
            sleep(10)
        except BaseException:
            return True  # takes it, or would

    pid, ref = spawn_monitor(receive, waits)
    send(pid, "message")
    until_waiting(pid)
    send_exit(pid, "kill")
    assert down_reason(ref) == "killed"
    settle()


# What a role hides.


class Role:
    """As a behaviour's loop: its own protocol is not for `receive`."""

    def hides(self, message):
        return type(message) is tuple


def test_what_a_role_hides_is_not_seen_and_keeps_its_place():
    def becomes_something():
        me = process_of(self_pid())
        me.role = Role()
        fill((1,), "a", (2,), "b")
        assert receive() == "a"
        assert receive(timeout=0) == "b"
        assert receive(tuple, timeout=0, default=None) is None
        assert list(me.mailbox) == [(1,), (2,)]

    assert end_of(becomes_something) == "normal"


# Many messages.


def test_messages_are_looked_at_once_however_many_wake_ups():
    looked = []

    def selective():
        return receive(lambda message: (looked.append(message), message == "end")[1])

    pid, ref = spawn_monitor(selective)
    until_waiting(pid)
    for number in range(200):
        send(pid, number)
        settle(1)
    send(pid, "end")
    assert down_reason(ref) == "normal"
    assert looked == [*range(200), "end"]


def test_a_long_mailbox_is_searched_in_one_sweep():
    count = 100_000
    me = process_of(self_pid())
    for number in range(count):
        me.deliver(number)
    begun = time.perf_counter()
    assert receive(lambda message: message == count - 1) == count - 1
    assert time.perf_counter() - begun < 2.0  # 20 ms; quadratic it would be minutes
    assert receive() == 0 and waiting() == count - 2


def test_much_that_came_at_once_is_searched_in_one_sweep():
    count = 100_000

    def waits():
        receive(lambda message: message == "end")
        assert process_info(self_pid()).mailbox_length == count + 1

    pid, ref = spawn_monitor(waits)
    until_waiting(pid)
    send(pid, "one")
    settle()
    target = process_of(pid)
    begun = time.perf_counter()
    for number in range(count):
        target.deliver(number)
    send(pid, "end")
    assert down_reason(ref) == "normal"
    assert time.perf_counter() - begun < 3.0


def test_messages_of_the_runtime_match_like_any_other():
    pid, ref = spawn_monitor(int)
    match receive(timeout=5):
        case Down(found, sender, "normal"):
            assert (found, sender) == (ref, pid)
        case other:
            pytest.fail(repr(other))
    fill(Exit(pid, "x"))
    assert receive(Exit).reason == "x"
