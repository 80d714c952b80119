"""`stop` of a server that has nothing to do and nothing to clean up ends it without a turn, and looks the same."""

from __future__ import annotations

import pytest

from partisan_actors.behaviours import GenServer, cast, stop
from partisan_actors.behaviours.gen_server import Timeout
from partisan_actors.errors import NoProcess
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import monitor, receive, self_pid, send_exit, spawn_monitor
from tests.behaviours.servers import let_pass, process_of
from tests.processes.probing import down_reason


class Plain(GenServer):
    """Handles what it gets, and cleans nothing up."""

    def init(self, then=None):
        self.got = []
        return then

    def handle_cast(self, request):
        request.append(self)

    def handle_info(self, message):
        self.got.append(message)


class Tidy(Plain):
    """Cleans up."""

    def terminate(self, reason):
        self.got.append(reason)


class Tidier(Tidy):
    """Inherits that."""


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", 1)])
def test_it_ends_here_and_now(runtime, reason):
    pid = Plain.start(name="plain")
    process = process_of(pid)
    turns = process.reductions
    ref = monitor(pid)
    stop(pid, reason)
    assert receive(timeout=0) == Down(ref, pid, reason)
    assert process.reductions == turns and not runtime.names and runtime.process(pid) is None
    with pytest.raises(NoProcess):
        stop(pid)


@pytest.mark.parametrize("kind", [Tidy, Tidier])
def test_not_where_something_is_cleaned_up(kind):
    got = []
    pid = kind.start()
    process_of(pid).server.got = got
    stop(pid, "shutdown")
    assert got == ["shutdown"]


def test_not_before_its_messages_are_handled():
    handled = []
    pid = Plain.start()
    cast(pid, handled)
    stop(pid)
    assert len(handled) == 1


def test_its_timeout_does_not_come(runtime):
    got = []
    pid = Plain.start(Timeout(0.002))
    process = process_of(pid)
    process.server.got = got
    stop(pid)
    let_pass(0.004)
    assert got == [] and process.mailbox is None


def test_an_end_that_is_not_orderly_is_reported(logs):
    pid = Plain.start()
    stop(pid, "oops")
    assert [entry["reason"] for entry in logs if entry["event"] == "process_crashed"] == ["'oops'"]


def test_whoever_is_linked_to_it_ends_in_the_stop():
    after = []

    def stops_its_own():
        stop(Plain.start_link(), "shutdown")
        after.append("still there")

    pid, ref = spawn_monitor(stops_its_own)
    assert receive(Down) == Down(ref, pid, "shutdown") and after == []


def test_one_that_is_exiting_stops_nobody():
    pid = Plain.start()

    def exits():
        try:
            send_exit(self_pid(), "over")
        finally:
            stop(pid)

    _, ref = spawn_monitor(exits)
    assert down_reason(ref) == "over"
    stop(pid)
