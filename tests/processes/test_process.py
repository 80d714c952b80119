"""How processes end, and who is told: Erlang's rules for exit signals, links and monitors."""

from __future__ import annotations

import gevent
import pytest

from partisan_actors.errors import ActorError, ProcessExit
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.info import process_info, processes
from partisan_actors.processes.messages import Crash, Down, Exit
from partisan_actors.processes.primitives import (
    demonitor,
    link,
    monitor,
    pause,
    receive,
    self_pid,
    send,
    send_exit,
    spawn,
    spawn_link,
    spawn_monitor,
    trap_exits,
    unlink,
)
from tests.conditions import wait_until
from tests.processes.probing import ForeignWait, alive, down_reason, end_of, messages, process_of, settle, until_waiting

pytestmark = pytest.mark.usefixtures("me")


def for_ever():
    receive(lambda message: False)


def trapping(report: Pid):
    """Traps exits, and passes what it gets on."""
    trap_exits()
    send(report, "trapping")
    while True:
        send(report, ("got", receive()))


def trapper() -> Pid:
    pid = spawn(trapping, self_pid())
    assert receive(timeout=5) == "trapping"
    return pid


# Ends by oneself.


def test_a_function_that_returns_ends_normally():
    assert end_of(int) == "normal"


def test_process_exit_carries_its_reason():
    def leave():
        raise ProcessExit(("done", 7))

    assert end_of(leave) == ("done", 7)
    assert end_of(lambda: (_ for _ in ()).throw(ProcessExit)) == "normal"


def test_an_exception_is_a_crash(logs):
    def fail():
        raise KeyError("missing")

    reason = end_of(fail)
    assert type(reason) is Crash
    assert (reason.type, reason.message) == ("KeyError", "'missing'")
    assert "in fail" in reason.traceback
    assert [entry["event"] for entry in logs] == ["process_crashed"]


def test_process_exit_is_no_ordinary_error():
    assert not issubclass(ProcessExit, Exception) and not issubclass(ProcessExit, ActorError)

    def leave():
        try:
            raise ProcessExit("told to")
        except Exception:
            receive()

    assert end_of(leave) == "told to"


def test_a_normal_end_is_no_crash(logs):
    for reason in ("normal", "shutdown", ("shutdown", "moved")):

        def leave(reason=reason):
            raise ProcessExit(reason)

        assert end_of(leave) == reason
    assert logs == []


# Exit signals sent by `send_exit`.


def test_an_exit_signal_ends_a_process_with_its_reason():
    pid, ref = spawn_monitor(for_ever)
    until_waiting(pid)
    send_exit(pid, "why not")
    assert down_reason(ref) == "why not"
    assert not alive(pid)


def test_normal_from_another_is_ignored():
    pid, _ = spawn_monitor(for_ever)
    until_waiting(pid)
    send_exit(pid, "normal")
    settle()
    assert alive(pid) and messages() == []


def test_a_trapped_signal_is_a_message():
    pid = trapper()
    for reason in ("normal", "why not", ("a", 1)):
        send_exit(pid, reason)
        assert receive(timeout=5) == ("got", Exit(self_pid(), reason))
    assert alive(pid)


def test_kill_cannot_be_trapped_and_others_see_killed():
    pid = trapper()
    ref = monitor(pid)
    send_exit(pid, "kill")
    assert down_reason(ref) == "killed"


def test_a_reason_of_ones_own_called_kill_is_ordinary():
    def leave():
        receive()
        raise ProcessExit("kill")

    pid, ref = spawn_monitor(leave)
    trap_exits()
    link(pid)
    send(pid, "go")
    assert down_reason(ref) == "kill"
    assert receive(timeout=5) == Exit(pid, "kill")  # trapped: over a link it is a reason like any other

    def linked():
        spawn_link(leave_at_once)
        receive()

    def leave_at_once():
        raise ProcessExit("kill")

    assert end_of(linked) == "kill"  # and not "killed"


@pytest.mark.parametrize("reason", ["normal", "shutdown", "anything"])
def test_exit_to_oneself_ends_at_once(reason):
    after = []

    def leave():
        send_exit(self_pid(), reason)
        after.append("still here")

    assert end_of(leave) == reason
    assert after == []


def test_kill_to_oneself():
    def leave():
        send_exit(self_pid(), "kill")

    assert end_of(leave) == "killed"


def test_exit_to_oneself_is_a_message_when_trapped():
    trap_exits()
    for reason in ("normal", "anything"):
        send_exit(self_pid(), reason)
        assert receive(timeout=5) == Exit(self_pid(), reason)


def test_the_first_signal_decides():
    def slow():
        try:
            receive()
        finally:
            note.append("unwinding")

    note: list[str] = []
    pid, ref = spawn_monitor(slow)
    until_waiting(pid)
    send_exit(pid, "first")
    send_exit(pid, "second")
    assert down_reason(ref) == "first"
    assert note == ["unwinding"]


def test_a_kill_overrules_a_signal_that_has_no_effect_yet():
    pid, ref = spawn_monitor(for_ever)
    until_waiting(pid)
    send_exit(pid, "first")
    send_exit(pid, "kill")
    assert down_reason(ref) == "killed"


def test_a_signal_to_the_dead_is_nothing():
    pid, ref = spawn_monitor(int)
    assert down_reason(ref) == "normal"
    send_exit(pid, "kill")
    send(pid, "anybody?")
    assert messages() == []


def test_what_user_code_raises_while_it_unwinds_changes_nothing(logs):
    def stubborn():
        try:
            receive()
        except BaseException:
            raise ValueError("not now") from None

    pid, ref = spawn_monitor(stubborn)
    until_waiting(pid)
    send_exit(pid, "why not")
    assert down_reason(ref) == "why not"
    assert logs == []


# Links.


def test_a_link_passes_a_reason_on():
    def parent():
        child = spawn_link(for_ever)
        send(test, child)
        receive()

    test = self_pid()
    _, ref = spawn_monitor(parent)
    child = receive(timeout=5)
    until_waiting(child)
    send_exit(child, "broken")
    assert down_reason(ref) == "broken"


def test_a_normal_end_does_not_pass_over_a_link():
    pid, ref = spawn_monitor(receive)
    child_done = spawn_monitor(lambda: link(pid))[1]
    assert down_reason(child_done) == "normal"
    settle()
    assert alive(pid) and process_info(pid).links == []
    send(pid, "go")
    assert down_reason(ref) == "normal"


def test_a_trapped_link_is_a_message_normal_or_not():
    trap_exits()
    normal = spawn_link(int)
    assert receive(timeout=5) == Exit(normal, "normal")

    def fail():
        raise ValueError("no")

    failing = spawn_link(fail)
    match receive(timeout=5):
        case Exit(sender, Crash(kind, text)):
            assert (sender, kind, text) == (failing, "ValueError", "no")
        case other:
            pytest.fail(repr(other))


def test_a_killed_process_is_killed_to_those_it_was_linked_to():
    pid = spawn(for_ever)
    trap_exits()
    link(pid)
    until_waiting(pid)
    send_exit(pid, "kill")
    assert receive(timeout=5) == Exit(pid, "killed")


def test_a_link_is_in_both_directions_and_there_once():
    pid = spawn(for_ever)
    link(pid)
    link(pid)
    assert process_info(pid).links == [self_pid()] and process_info(self_pid()).links == [pid]
    unlink(pid)
    assert process_info(pid).links == [] and process_info(self_pid()).links == []


def test_an_unlinked_signal_does_not_arrive():
    pid, ref = spawn_monitor(for_ever)
    trap_exits()
    link(pid)
    unlink(pid)
    unlink(pid)
    send_exit(pid, "gone")
    assert down_reason(ref) == "gone"
    assert messages() == []


def test_a_link_to_the_dead_is_noproc():
    dead, ref = spawn_monitor(int)
    assert down_reason(ref) == "normal"
    assert end_of(lambda: link(dead)) == "noproc"
    trap_exits()
    link(dead)
    assert messages() == [Exit(dead, "noproc")]
    assert process_info(self_pid()).links == []


def test_a_link_to_an_earlier_life_of_the_node_is_noproc(me):
    earlier = Pid(Life("a@h", 0, 99), me.pid.serial)
    trap_exits()
    link(earlier)
    assert messages() == [Exit(earlier, "noproc")]


def test_a_link_to_oneself_is_nothing():
    def lonely():
        link(self_pid())
        assert process_info(self_pid()).links == []
        raise ProcessExit("on its own")

    assert end_of(lonely) == "on its own"


def test_the_link_is_gone_on_both_sides_before_its_signal_has_an_effect():
    # A ring of links: were the link still there when the signal takes effect, it would go round for ever,
    # and the process that traps would get it twice.
    trap_exits()
    seen = []

    def watcher(partner):
        trap_exits()
        link(partner)
        send(test, "linked")
        message = receive()
        seen.append((message, process_info(self_pid()).links))

    test = self_pid()
    partner = spawn(for_ever)
    until_waiting(partner)
    _, ref = spawn_monitor(watcher, partner)
    assert receive(timeout=5) == "linked"
    send_exit(partner, "gone")
    assert down_reason(ref) == "normal"
    assert seen == [(Exit(partner, "gone"), [])]


def test_a_hundred_thousand_linked_processes_end_without_recursion(runtime):
    # Queued, none has run: the end of each is the end of the next, on the stack of nobody.
    chain = [spawn(for_ever)]
    for _ in range(100_000):
        chain.append(spawn(for_ever))
        runtime.link(runtime.process(chain[-1]), chain[-2])
    ref = monitor(chain[-1])
    send_exit(chain[0], "falling")
    assert down_reason(ref) == "falling"
    assert processes() == [self_pid()]


def test_a_chain_of_waiting_processes_ends():
    def one_more(left):
        if left:
            spawn_link(one_more, left - 1)
        else:
            send(test, "complete")
        receive()

    test = self_pid()
    first, ref = spawn_monitor(one_more, 500)
    assert receive(timeout=5) == "complete"
    send_exit(first, "falling")
    assert down_reason(ref) == "falling"
    wait_until(lambda: processes() == [self_pid()])


# Monitors.


def test_a_monitor_fires_once():
    pid, ref = spawn_monitor(int)
    assert receive(timeout=5) == Down(ref, pid, "normal")
    settle()
    assert messages() == [] and demonitor(ref) is False


def test_each_monitor_fires():
    pid = spawn(for_ever)
    refs = [monitor(pid) for _ in range(3)]
    send_exit(pid, "gone")
    assert messages() == [Down(ref, pid, "gone") for ref in refs]


def test_a_monitor_on_the_dead_is_noproc():
    dead, ref = spawn_monitor(int)
    assert down_reason(ref) == "normal"
    ref = monitor(dead)
    assert messages() == [Down(ref, dead, "noproc")]


def test_a_monitor_does_not_end_the_watcher_and_goes_with_it():
    watched = spawn(for_ever)
    watcher_end = spawn_monitor(lambda: monitor(watched))[1]
    assert down_reason(watcher_end) == "normal"
    assert process_info(watched).monitored_by == []
    send_exit(watched, "gone")
    settle()
    assert messages() == []


def test_a_process_may_monitor_itself():
    def lonely():
        monitor(self_pid())
        assert process_info(self_pid()).monitored_by[-1:] == [self_pid()]

    assert end_of(lonely) == "normal"


def test_demonitor_takes_it_off():
    pid = spawn(for_ever)
    ref = monitor(pid)
    assert demonitor(ref) is True
    assert demonitor(ref) is False
    send_exit(pid, "gone")
    assert messages() == []


def test_demonitor_flush_removes_the_message_and_no_other():
    pid = spawn(for_ever)
    first, second = monitor(pid), monitor(pid)
    send(self_pid(), "before")
    send_exit(pid, "gone")
    send(self_pid(), "after")
    assert demonitor(first, flush=True) is False
    assert messages() == ["before", Down(second, pid, "gone"), "after"]
    assert demonitor(first, flush=True) is False


def test_without_flush_the_message_stays():
    pid, ref = spawn_monitor(int)
    wait_until(lambda: not alive(pid))
    assert demonitor(ref) is False
    assert messages() == [Down(ref, pid, "normal")]


def test_only_ones_own_monitor_can_be_taken_off(me):
    pid = spawn(for_ever)
    ref = monitor(pid)
    assert end_of(lambda: demonitor(ref)) == "normal"
    assert demonitor(type(ref)(Life("b@h", 1, 3), ref.serial)) is False  # another node's, of the same number
    assert process_info(pid).monitored_by == [self_pid()]


# What a process is doing when its end comes.


def test_before_its_first_step_it_never_started():
    ran = []
    pid, ref = spawn_monitor(ran.append, "ran")
    send_exit(pid, "too late")
    assert down_reason(ref) == "too late"
    settle()
    assert ran == []


def test_a_kill_before_its_first_step():
    ran = []
    pid, ref = spawn_monitor(ran.append, "ran")
    send_exit(pid, "kill")
    assert down_reason(ref) == "killed"
    settle()
    assert ran == []


@pytest.mark.parametrize(("signal", "reason"), [("stop it", "stop it"), ("kill", "killed")])
def test_in_a_wait_of_ours(signal, reason):
    seen = []

    def waits():
        try:
            receive()
        except ProcessExit as exit_:
            seen.append(exit_.reason)
            raise

    pid, ref = spawn_monitor(waits)
    until_waiting(pid)
    send_exit(pid, signal)
    assert down_reason(ref) == reason
    wait_until(lambda: seen)
    assert seen == [reason]


@pytest.mark.parametrize(("signal", "reason"), [("stop it", "stop it"), ("kill", "killed")])
def test_in_a_wait_of_gevents(signal, reason):
    waits = ForeignWait()
    pid, ref = spawn_monitor(waits)
    waits.until_entered()
    send_exit(pid, signal)
    assert waits.outcome is None  # nothing is thrown on the sender's stack
    assert down_reason(ref) == reason
    wait_until(lambda: waits.outcome is not None)
    assert type(waits.outcome) is ProcessExit and waits.outcome.reason == reason


@pytest.mark.parametrize(("signal", "reason"), [("stop it", "stop it"), ("kill", "killed")])
def test_in_a_gevent_sleep_and_a_gevent_socket(signal, reason):
    from gevent import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        entered = []

        def reads():
            entered.append("socket")
            theirs.recv(1)

        def sleeps():
            entered.append("sleep")
            gevent.sleep(10)

        started = [spawn_monitor(reads), spawn_monitor(sleeps)]
        wait_until(lambda: len(entered) == 2)
        for pid, _ in started:
            send_exit(pid, signal)
        assert [down_reason(ref) for _, ref in started] == [reason, reason]
        settle()
        ours.send(b"x")
        assert theirs.recv(1) == b"x"  # the socket is as it was


def test_while_it_runs_the_signal_is_raised_by_its_next_primitive():
    steps = []

    def runs():
        child = spawn_link(for_ever)
        send_exit(child, "falling")  # the child is queued, and so ends at once
        steps.append(("goes on as", self_pid() == pid))
        send(test, "goodbye")
        pause()
        steps.append("not reached")

    test = self_pid()
    pid, ref = spawn_monitor(runs)
    assert receive(timeout=5) == "goodbye"
    assert down_reason(ref) == "falling"
    assert steps == [("goes on as", True)]


def test_a_signal_to_a_running_process_is_raised_in_its_next_wait_whosever_that_is():
    wait = ForeignWait()

    def runs():
        send_exit(spawn_link(for_ever), "falling")
        wait()

    assert end_of(runs) == "falling"
    assert type(wait.outcome) is ProcessExit


def test_a_kill_while_it_runs_is_told_at_once():
    steps = []

    def runs():
        process_of(self_pid()).kill()
        steps.append(("goes on as", self_pid() == pid, alive(pid)))
        pause()
        steps.append("not reached")

    pid, ref = spawn_monitor(runs)
    assert down_reason(ref) == "killed"
    assert steps == [("goes on as", True, False)]


def test_a_signal_to_a_process_that_woke_up_but_has_not_run():
    def waits():
        receive()
        note.append("got it")
        receive()

    note: list[str] = []
    pid, ref = spawn_monitor(waits)
    until_waiting(pid)
    send(pid, "a message")  # its wake-up is in the queue
    send_exit(pid, "stop it")
    assert down_reason(ref) == "stop it"
    assert note == []


def test_names_mailbox_and_timer_wheel_forget_the_dead(runtime):
    def waits():
        receive(timeout=3600)

    pids = [spawn(waits) for _ in range(10)]
    until_waiting(*pids)
    assert sum(len(bucket) for bucket in runtime.deadlines._buckets.values()) == 10
    for pid in pids:
        process_of(pid)
        send_exit(pid, "kill")
    assert runtime.deadlines._buckets == {}
