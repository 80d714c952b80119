"""Looking into a running server, and changing it."""

from __future__ import annotations

import pytest

from partisan_actors.behaviours import GenServer, call, cast, send_request, stop, sys, wait_response
from partisan_actors.errors import CallError, CallTimeout, NoProcess
from partisan_actors.processes.messages import Crash, Down
from partisan_actors.processes.primitives import (
    monitor,
    receive,
    self_pid,
    send,
    send_exit,
    spawn,
    trap_exits,
)
from partisan_actors.processes.scheduler import IDLE
from tests.behaviours.servers import Scripted, end_of, process_of, seen, server_of
from tests.conditions import wait_until


class Slotted(GenServer):
    __slots__ = ("count", "unset")

    def init(self):
        self.count = 1
        self.extra = 2


class SlottedAsText(GenServer):
    __slots__ = "count"

    def init(self):
        self.count = 1


def test_get_state_gives_the_attributes(start):
    state = sys.get_state(start())
    assert state == {"seen": [], "on_terminate": None}


def test_those_in_slots_too():
    assert sys.get_state(Slotted.start()) == {"count": 1, "extra": 2}
    assert sys.get_state(SlottedAsText.start()) == {"count": 1}


def test_replace_state_by_a_dict(start):
    pid = start()
    assert sys.replace_state(pid, {"seen": [1], "new": 2}) == {"seen": [1], "new": 2}
    assert sys.get_state(pid) == {"seen": [1], "new": 2}


def test_or_by_a_function_that_runs_in_the_server(start):
    pid = start()
    assert sys.replace_state(pid, lambda state: {**state, "where": self_pid()})["where"] == pid


def test_replace_state_of_slots():
    pid = Slotted.start()
    assert sys.replace_state(pid, {"count": 5, "unset": 6}) == {"count": 5, "unset": 6}
    assert sys.replace_state(pid, {"unset": 6}) == {"unset": 6}


@pytest.mark.parametrize(("change", "error"), [(lambda state: 1 / 0, "ZeroDivisionError"), (3, "TypeError")])
def test_a_change_that_fails_is_the_callers_error_and_the_server_goes_on(start, change, error):
    pid = start()
    with pytest.raises(CallError, match=error) as failed:
        sys.replace_state(pid, change)
    assert isinstance(failed.value.reason, Crash)
    assert sys.get_state(pid) == {"seen": [], "on_terminate": None}


def test_get_status():
    pid = Scripted.start(name="server")
    status = sys.get_status(pid)
    assert status == {
        "pid": pid,
        "name": "server",
        "parent": self_pid(),
        "status": "running",
        "mailbox_length": 0,
        "behaviour": "tests.behaviours.servers.Scripted",
        "state": {"seen": [], "on_terminate": None},
    }
    sys.suspend(pid)
    cast(pid, lambda self: None)
    status = sys.get_status(pid)
    assert (status["status"], status["mailbox_length"]) == ("suspended", 1)


def test_format_status_says_how_the_state_is_shown():
    class Secretive(Scripted):
        def format_status(self, status):
            return f"{len(status['state'])} secrets, {status['reason']}"

    assert sys.get_status(Secretive.start())["state"] == "2 secrets, None"


def test_a_format_status_that_fails_is_said():
    class Failing(Scripted):
        def format_status(self, status):
            return 1 / 0

    assert "format_status raised ZeroDivisionError" in sys.get_status(Failing.start())["state"]


# Suspended.


def test_a_suspended_server_handles_nothing_until_resumed(start):
    pid = start()
    server = server_of(pid)
    sys.suspend(pid)
    cast(pid, lambda self: self.seen.append("cast"))
    send(pid, "message")
    request = send_request(pid, lambda self, _: list(self.seen))
    with pytest.raises(CallTimeout):
        call(pid, lambda self, _: None, 0.005)
    assert server.seen == []
    sys.resume(pid)
    assert wait_response(request, 5) == ["cast", "message"]
    assert seen(pid) == ["cast", "message"]


def test_it_still_answers_system_messages(start):
    pid = start()
    sys.suspend(pid)
    for number in range(3):
        send(pid, number)
        sys.replace_state(pid, lambda state, number=number: {**state, "number": number})
        assert sys.get_state(pid)["number"] == number
    sys.suspend(pid)
    sys.resume(pid)
    assert seen(pid) == [0, 1, 2]


def test_it_holds_no_greenlet_while_messages_wait():
    pid = Scripted.start()
    sys.suspend(pid)
    send(pid, "message")
    sys.get_state(pid)
    assert process_of(pid).greenlet is None
    assert process_of(pid).status == IDLE
    assert list(process_of(pid).mailbox) == ["message"]


def test_it_can_be_stopped(start):
    pid = start()
    ended = []
    call(pid, lambda self, _: setattr(self, "on_terminate", ended.append))
    sys.suspend(pid)
    cast(pid, lambda self: ended.append("handled"))
    stop(pid, "shutdown")
    assert ended == ["shutdown"]


@pytest.mark.parametrize("reason", ["kill", "oops"])
def test_and_ended_by_a_signal(start, reason):
    pid = start()
    sys.suspend(pid)
    send(pid, "message")
    monitor(pid)
    send_exit(pid, reason)
    assert receive(Down).reason == ("killed" if reason == "kill" else reason)


def test_it_ends_with_its_parent():
    me = self_pid()

    def parent():
        pid = Scripted.start_link(lambda self: trap_exits() and None)
        send(pid, "message")
        sys.suspend(pid)
        send(me, pid)

    spawn(parent)
    pid = receive()
    assert end_of(pid) in ("normal", "noproc")


def test_what_a_trapping_one_is_sent_by_others_waits(start):
    pid = start(lambda self: trap_exits() and None)
    sys.suspend(pid)
    spawn(send_exit, pid, "oops")
    wait_until(lambda: process_of(pid).mailbox)
    sys.resume(pid)
    assert [message.reason for message in seen(pid)] == ["oops"]


def test_a_server_busy_with_a_callback_answers_afterwards(start):
    pid = start()
    cast(pid, lambda self: receive("go".__eq__) and None)
    with pytest.raises(CallTimeout):
        sys.get_state(pid, 0.005)
    send(pid, "go")
    assert sys.get_state(pid)["seen"] == []


def test_of_nobody():
    for ask in (sys.get_state, sys.get_status, sys.suspend, sys.resume):
        with pytest.raises(NoProcess):
            ask("nobody")


def test_a_state_that_cannot_cross_is_the_askers_error(runtime, start):
    def refuse(message):
        if isinstance(message, tuple) and len(message) == 2 and isinstance(message[1], dict):
            raise TypeError("it cannot cross")

    pid = start()
    runtime.check_message = refuse
    with pytest.raises(CallError, match="it cannot cross"):
        sys.get_state(pid)
    runtime.check_message = None
    assert sys.get_state(pid) == {"seen": [], "on_terminate": None}
