"""The rules of borrowed greenlets (design: the section of that name), each with what goes wrong without it."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import gevent.local
import pytest
from gevent import socket
from greenlet import getcurrent

from partisan_actors.errors import ActorError, NotAProcess, ProcessExit
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.processes.messages import Crash, Down
from partisan_actors.processes.plain import AttachedProcess
from partisan_actors.processes.primitives import (
    current_node,
    monitor,
    pause,
    receive,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    spawn_monitor,
    trap_exits,
)
from partisan_actors.processes.process import MAX_REFUSALS
from partisan_actors.processes.requests import PENDING, REPLIED, Request
from partisan_actors.processes.runtime import Runtime, current_process
from partisan_actors.processes.scheduler import EXITED
from tests.conditions import wait_until
from tests.processes.probing import (
    ForeignWait,
    TurnProcess,
    alive,
    down_reason,
    end_of,
    messages,
    process_of,
    settle,
    until_waiting,
)

pytestmark = pytest.mark.usefixtures("me")


# While the run queue is not empty a hub callback is pending; it takes another worker if the last has not come back.


@pytest.mark.parametrize("kind", ["first", "in the middle", "several"])
def test_the_queue_goes_on_when_a_turn_does_not_come_back(kind):
    waits = [ForeignWait() for _ in range({"first": 1, "in the middle": 1, "several": 5}[kind])]
    ran: list[int] = []
    if kind != "first":
        spawn(ran.append, 0)
    for wait in waits:
        spawn(wait)
        spawn(ran.append, 1)
    wait_until(lambda: len(ran) == len(waits) + (kind != "first"))
    assert all(wait.entered and wait.outcome is None for wait in waits)
    for wait in waits:
        wait.finish()


def test_the_queue_goes_on_when_one_that_was_passed_control_does_not_come_back(runtime):
    # Passed on straight from a wait, without the hub: which therefore does not know of it.
    wait = ForeignWait()
    ran = []

    def passes_on():
        spawn(wait)
        spawn(ran.append, 1)
        pause()

    assert end_of(passes_on) == "normal"
    wait_until(lambda: ran)
    assert wait.entered
    wait.finish()


def test_a_callback_is_pending_whatever_ends_a_slice(runtime):
    scheduler = runtime.scheduler

    def spends_the_slice(number):
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        ran.append(number)

    ran: list[int] = []
    for number in range(5):
        spawn(spends_the_slice, number)
    assert scheduler.pending
    wait_until(lambda: ran)
    assert scheduler.pending or not scheduler.ready
    wait_until(lambda: len(ran) == 5)
    settle()
    assert not scheduler.pending


# A turn is bounded by time as well as by messages.


def busy_for(seconds: float) -> Callable[[], bool]:
    """A condition that holds for so long; what the test checks must come well before."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def plain_players(goes_on: Callable[[], bool]) -> None:
    """Two processes that do nothing but answer each other, at full speed."""

    def player():
        other = receive()
        while goes_on():
            send(other, "ball")
            receive(timeout=0.05, default=None)

    first, second = spawn(player), spawn(player)
    send(first, second)
    send(second, first)


def players_in_turns(goes_on: Callable[[], bool]) -> None:
    """The same by processes that have a turn for each ball."""

    def plays(number):
        if goes_on():
            players[1 - number].deliver(1 - number)

    runtime = current_process().runtime
    players = [TurnProcess(runtime, plays) for _ in range(2)]
    for number, player in enumerate(players):
        player.deliver(number)


@pytest.mark.parametrize("players", [plain_players, players_in_turns])
def test_sockets_are_served_beside_processes_at_full_speed(players):
    # gevent runs a hundred callbacks before it looks at sockets again. With a slice in each, this took 60 ms a time.
    goes_on = busy_for(2.5)
    with echoing() as asks:
        client = gevent.spawn(lambda: [asks() for _ in range(100)] and goes_on())
        players(lambda: goes_on() and not client.ready())
        assert client.get(timeout=10) is True, "they were served only when the processes had finished"


def test_sockets_are_served_beside_one_that_computes_and_pauses():
    def computes():
        while not client.ready():
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass
            pauses.append(1)
            pause()

    pauses: list[int] = []
    with echoing() as asks:
        client = gevent.spawn(lambda: [asks() for _ in range(20)])
        _, ref = spawn_monitor(computes)
        assert down_reason(ref, 20.0) == "normal"
    assert len(pauses) < 200  # a few for each round trip


@contextmanager
def echoing() -> Iterator[Callable[[], None]]:
    """A function that makes one round trip over a socket."""
    ours, theirs = socket.socketpair()

    def echoes():
        while data := theirs.recv(100):
            theirs.sendall(data)

    def asks():
        ours.sendall(b"ping")
        assert ours.recv(100) == b"ping"

    server = gevent.spawn(echoes)
    try:
        yield asks
    finally:
        ours.close()
        server.join()
        theirs.close()


def test_a_long_mailbox_keeps_nobody_from_running():
    def reads():
        while receive() != "end":
            pass

    served: list[bool] = []
    pid, ref = spawn_monitor(reads)
    until_waiting(pid)
    target = process_of(pid)
    for _ in range(50_000):
        target.deliver("more")
    target.deliver("end")
    gevent.get_hub().loop.timer(0.002).start(lambda: served.append(target.status != EXITED))
    assert down_reason(ref, 20.0) == "normal"
    assert served == [True], "nobody ran before the mailbox was empty"


def test_a_loop_that_only_looks_keeps_nobody_from_running():
    def polls():
        while receive(timeout=0, default=None) is None:
            pass

    pid, ref = spawn_monitor(polls)
    settle()  # would not come back
    send(pid, "enough")
    assert down_reason(ref) == "normal"


def test_a_turn_with_many_messages_is_cut(runtime):
    served: list[int] = []
    process = TurnProcess(runtime, lambda message: None)
    for _ in range(50_000):
        process.deliver("more")
    gevent.spawn(lambda: served.append(len(process.mailbox or ())))
    wait_until(lambda: not process.mailbox, 20.0)
    assert served[0] > 0 and process.reductions > 1


def test_control_is_passed_on_without_the_hub_only_for_a_slice(runtime):
    # A hundred processes in a ring; each wakes the next. The hub must come to its timers all the same.
    def member():
        following = receive()
        while receive(timeout=5.0) != "end" and goes_on() and not fired:
            send(following, "token")
        send(following, "end")

    goes_on = busy_for(3.0)
    fired: list[float] = []
    pids = [spawn(member) for _ in range(100)]
    for pid, following in zip(pids, [*pids[1:], pids[0]], strict=True):
        send(pid, following)
    begun = runtime.clock.now()
    runtime.clock.call_later(0.005, lambda: fired.append(runtime.clock.now() - begun))
    send(pids[0], "token")
    wait_until(lambda: not any(alive(pid) for pid in pids), 10.0)
    assert fired and fired[0] < 1.0


# Every wait is a one-shot waiter, checked at wake-up and dropped in `finally`; waits loop until done.


def test_a_wake_up_that_comes_too_late_finds_nobody(runtime):
    # The wait has ended, by an exception, and its greenlet has gone on to a gevent sleep.
    sleeps = ForeignWait()

    def waits():
        try:
            receive()
        except LookupError:
            sleeps()

    pid, ref = spawn_monitor(waits)
    until_waiting(pid)
    process = process_of(pid)
    waiter = process.waiter
    hub_callback(process.greenlet.throw, LookupError())
    sleeps.until_entered()
    runtime.scheduler.wake(waiter)
    send(pid, "too late")
    settle()
    assert sleeps.outcome is None and alive(pid)
    sleeps.finish()
    assert down_reason(ref) == "normal"
    assert sleeps.outcome is True


def test_a_wake_up_in_the_queue_when_the_wait_ends_finds_nobody(runtime):
    sleeps = ForeignWait()

    def waits():
        try:
            receive(str)
        except LookupError:
            sleeps()

    pid, ref = spawn_monitor(waits)
    until_waiting(pid)
    process = process_of(pid)

    def both():
        process.deliver("in time")  # queued ...
        process.greenlet.throw(LookupError())  # ... and overtaken

    hub_callback(both)
    sleeps.until_entered()
    settle()
    assert sleeps.outcome is None
    sleeps.finish()
    assert down_reason(ref) == "normal"


def ask(process, request: Request, timeout: float) -> bool:
    """The shape of every wait for a reply: loop until done; whether it came in time."""
    deadline = process.runtime.clock.now() + timeout
    while request.state == PENDING and process.runtime.clock.now() < deadline:
        process.wait(deadline)
    if request.state == PENDING:
        request.abandon()
    return request.state == REPLIED


@pytest.mark.parametrize("next_wait", ["gevent", "receive", "sleep", "another process"])
def test_a_late_reply_wakes_nobody(runtime, next_wait):
    requests: list[Request] = []
    foreign = ForeignWait()

    def asks():
        request = Request(current_process(), "nobody", "x")
        requests.append(request)
        assert not ask(current_process(), request, 0.002)
        if next_wait == "gevent":
            foreign()
        elif next_wait == "receive":
            assert receive(int) == 7
        elif next_wait == "sleep":
            begun = runtime.clock.now()
            sleep(0.02)
            assert runtime.clock.now() - begun >= 0.02

    pid, ref = spawn_monitor(asks)
    if next_wait == "another process":
        assert down_reason(ref) == "normal"
        pid, ref = spawn_monitor(foreign)  # on the greenlet that waited for the reply
    if next_wait in ("gevent", "another process"):
        foreign.until_entered()
    else:
        wait_until(lambda: requests and requests[0].state != PENDING)
    requests[0].reply("late")
    settle()
    if next_wait in ("gevent", "another process"):
        assert foreign.outcome is None
        foreign.finish()
    elif next_wait == "receive":
        assert alive(pid)
        send(pid, 7)
    assert down_reason(ref) == "normal"


@pytest.mark.parametrize(
    "wait",
    [
        lambda: receive(int),
        lambda: receive(int, timeout=5.0),
        lambda: receive(lambda message: type(message) is int, timeout=0.5),
    ],
)
def test_a_wake_up_for_nothing_does_not_end_a_receive(wait):
    got = []
    pid, ref = spawn_monitor(lambda: got.append(wait()))
    until_waiting(pid)
    process = process_of(pid)
    for _ in range(3):
        process.wake()
        settle()
        hub_callback(process.greenlet.switch)  # and from code that knows only the greenlet
        settle()
    send(pid, "not this")
    settle()
    assert alive(pid) and got == []
    send(pid, 7)
    assert down_reason(ref) == "normal" and got == [7]


def hub_callback(function: Callable[..., object], *args: object) -> None:
    gevent.get_hub().loop.run_callback(function, *args)


def test_a_wake_up_for_nothing_ends_no_sleep_and_no_blocking_call(runtime):
    from partisan_actors.processes.primitives import run_blocking

    lock = threading.Lock()
    lock.acquire()
    done = []
    blocks, blocks_ref = spawn_monitor(lambda: done.append(run_blocking(lock.acquire)))
    until_waiting(blocks)
    for _ in range(3):
        process_of(blocks).wake()
        settle()
    assert done == []
    lock.release()
    assert down_reason(blocks_ref) == "normal" and done == [True]


# Ending another: idle or queued, it just ends; before its first step, it never started; waiting, a throw is
# scheduled for that very wait; running, it is pending. Never throw from the sender.


@pytest.mark.parametrize("signal_", ["stop it", "kill"])
def test_an_idle_or_queued_process_just_ends(runtime, signal_):
    handled: list[str] = []
    idle, queued = TurnProcess(runtime, handled.append), TurnProcess(runtime, handled.append)
    idle.deliver("first")
    wait_until(lambda: handled == ["first"])
    refs = [monitor(idle.pid), monitor(queued.pid)]
    queued.deliver("never")
    reason = "killed" if signal_ == "kill" else signal_
    for process, ref in zip((idle, queued), refs, strict=True):
        send_exit(process.pid, signal_)
        assert messages() == [Down(ref, process.pid, reason)]  # at once: there is nothing to unwind
    settle()
    assert handled == ["first"]


@pytest.mark.parametrize("signal_", ["stop it", "kill"])
def test_nothing_is_thrown_on_the_senders_stack(signal_):
    unwound = []

    def waits_in(wait):
        try:
            wait()
        finally:
            unwound.append(1)

    foreign = ForeignWait()
    pids = [spawn_monitor(waits_in, foreign)[0], spawn_monitor(waits_in, receive)[0]]
    foreign.until_entered()
    until_waiting(pids[1])
    for pid in pids:
        send_exit(pid, signal_)
        assert unwound == []
    wait_until(lambda: len(unwound) == 2)


@pytest.mark.parametrize("signal_", ["stop it", "kill"])
def test_the_throw_is_for_that_very_wait(runtime, signal_):
    # The wait is over before the throw comes, and its greenlet in a wait of another process by then.
    first, second = ForeignWait(), ForeignWait()
    greenlets = []

    def waits(wait):
        greenlets.append(getcurrent())
        wait()

    def overtakes():
        runtime.spawn(waits, (second,), {})  # the hub comes to it ...
        runtime.process(pid).signal_exit(test, signal_)  # ... before it comes to the throw
        greenlets[0].switch()

    test = self_pid()
    pid, ref = spawn_monitor(waits, first)
    first.until_entered()
    hub_callback(overtakes)
    down_reason(ref)
    second.until_entered()
    settle()
    assert greenlets[0] is greenlets[1], "the test has missed its point"
    assert second.outcome is None
    second.finish()
    wait_until(lambda: second.outcome is True)


def test_a_signal_to_a_running_process_waits_for_its_next_primitive():
    steps = []

    def runs():
        current_process().signal_exit(test, "pending")
        steps.append(self_pid())  # tells who it is, and goes on
        steps.append(current_node())
        try:
            receive(timeout=0, default=None)
        finally:
            steps.append("raised")

    test = self_pid()
    pid, ref = spawn_monitor(runs)
    assert down_reason(ref) == "pending"
    assert steps == [pid, "a@h", "raised"]


# ProcessExit is a BaseException outside ActorError; once a process is exiting every primitive raises it again.


def test_what_ends_a_process_is_no_error_to_be_handled():
    assert issubclass(ProcessExit, BaseException)
    assert not issubclass(ProcessExit, Exception | ActorError)


@pytest.mark.parametrize("signal_", ["stop it", "kill"])
@pytest.mark.parametrize("wait", [receive, pause, lambda: sleep(0.01), lambda: receive(timeout=0, default=None)])
def test_a_bare_except_cannot_save_it(wait, signal_, logs):
    def stubborn():
        entered.append(1)
        while True:
            try:
                wait()
            except:  # noqa: E722
                caught.append(1)

    entered: list[int] = []
    caught: list[int] = []
    pid, ref = spawn_monitor(stubborn)
    wait_until(lambda: entered)
    settle()
    send_exit(pid, signal_)
    assert down_reason(ref) == ("killed" if signal_ == "kill" else "stop it")
    wait_until(lambda: logs)
    # It goes round for a while, and is then left where it is; everybody else goes on.
    assert [entry["event"] for entry in logs] == ["process_abandoned"]
    assert len(caught) == MAX_REFUSALS
    assert end_of(int) == "normal"
    assert len(caught) == MAX_REFUSALS


def test_an_abandoned_stack_stays_so_when_it_is_disturbed(runtime, logs):
    def stubborn():
        while True:
            try:
                receive()
            except:  # noqa: E722
                caught.append(getcurrent())

    caught: list[object] = []
    pid, ref = spawn_monitor(stubborn)
    until_waiting(pid)
    send_exit(pid, "stop it")
    assert down_reason(ref) == "stop it"
    wait_until(lambda: logs)
    (greenlet,) = set(caught)
    for _ in range(3):
        hub_callback(greenlet.switch)
        settle()
    assert len(caught) == MAX_REFUSALS and end_of(int) == "normal"


@pytest.mark.parametrize("signal_", ["stop it", "kill"])
@pytest.mark.parametrize("wait", [receive, lambda: gevent.sleep(10)])
def test_finally_knows_who_it_is_and_may_send(wait, signal_):
    def polite():
        entered.append(1)
        try:
            wait()
        finally:
            send(test, ("goodbye", self_pid(), current_node()))

    entered: list[int] = []
    test = self_pid()
    pid = spawn(polite)
    wait_until(lambda: entered)
    settle()
    send_exit(pid, signal_)
    assert receive(timeout=5) == ("goodbye", pid, "a@h")


def test_down_comes_after_unwinding():
    foreign = ForeignWait()

    def unwinds():
        try:
            receive()
        finally:
            foreign()

    pid, ref = spawn_monitor(unwinds)
    until_waiting(pid)
    send_exit(pid, "stop it")
    foreign.until_entered()
    settle()
    assert alive(pid) and messages() == []
    foreign.finish()
    assert down_reason(ref) == "stop it"


def test_for_a_kill_down_comes_at_once_and_a_stack_that_will_not_end_is_abandoned():
    foreign = ForeignWait()

    def unwinds():
        try:
            receive()
        finally:
            try:
                foreign()
            finally:
                ended.append(1)

    ended: list[int] = []
    pid, ref = spawn_monitor(unwinds)
    until_waiting(pid)
    send_exit(pid, "kill")
    assert messages() == [Down(ref, pid, "killed")]
    assert not alive(pid)
    foreign.until_entered()
    assert end_of(int) == "normal" and ended == []
    foreign.finish()
    wait_until(lambda: ended)


def test_a_kill_ends_one_that_is_unwinding_for_ever():
    foreign = ForeignWait()

    def unwinds():
        try:
            receive()
        finally:
            foreign()

    pid, ref = spawn_monitor(unwinds)
    until_waiting(pid)
    send_exit(pid, "stop it")
    foreign.until_entered()
    send_exit(pid, "kill")
    assert down_reason(ref) == "killed"
    wait_until(lambda: type(foreign.outcome) is ProcessExit)


# A process's turn runs in a copy of its own context. `gevent.local` belongs to the worker.


REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


def test_a_process_has_a_context_of_its_own(runtime):
    def changes(name):
        before = REQUEST_ID.get()
        REQUEST_ID.set(name)
        sleep(0.001)
        send(test, (name, before, REQUEST_ID.get()))

    test = self_pid()
    token = REQUEST_ID.set("parent")
    try:
        for name in "ab":
            spawn(changes, name)
        assert {receive(timeout=5), receive(timeout=5)} == {("a", "parent", "a"), ("b", "parent", "b")}
        assert REQUEST_ID.get() == "parent"
    finally:
        REQUEST_ID.reset(token)
    spawn(changes, "c")  # on the greenlet of one of those
    assert receive(timeout=5) == ("c", "none", "c")


def test_a_context_lasts_from_turn_to_turn(runtime):
    def handle(message):
        seen.append((getcurrent(), REQUEST_ID.get()))
        REQUEST_ID.set(message)
        if message == "wait":
            sleep(0.001)
            assert REQUEST_ID.get() == "wait"

    seen: list[tuple[object, str]] = []
    processes = [TurnProcess(runtime, handle) for _ in range(2)]
    for message in ("wait", "last"):
        for process in processes:
            process.deliver(message)
        wait_until(lambda: all(not process.mailbox and process.greenlet is None for process in processes))
    assert [value for _, value in seen] == ["none", "none", "wait", "wait"]


def test_a_gevent_local_belongs_to_the_greenlet():
    local = gevent.local.local()

    def writes():
        local.value = "of the greenlet"

    def reads():
        send(test, (getcurrent(), getattr(local, "value", None)))

    test = self_pid()
    assert end_of(writes) == "normal"
    settle()
    spawn(reads)
    assert receive(timeout=5)[1] == "of the greenlet"


# SystemExit in a process is its crash, KeyboardInterrupt goes to the main greenlet, a stray gevent.Timeout is a
# crash in a process and logged outside of one.


def test_system_exit_is_a_crash():
    def leaves():
        raise SystemExit(3)

    reason = end_of(leaves)
    assert type(reason) is Crash and (reason.type, reason.message) == ("SystemExit", "3")
    settle()


def interrupted():
    raise KeyboardInterrupt("Ctrl-C")


@pytest.mark.parametrize("kind", ["plain", "turns"])
def test_an_interrupt_goes_to_the_main_greenlet(runtime, kind):
    if kind == "plain":
        _, ref = spawn_monitor(interrupted)
    else:

        class Bug(TurnProcess):
            def run_turn(self):
                interrupted()

        process = Bug(runtime, print)
        ref = monitor(process.pid)
        process.deliver("go")
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        receive(lambda message: False, timeout=5)
    reason = down_reason(ref)
    assert type(reason) is Crash and reason.type == "KeyboardInterrupt"
    assert end_of(int) == "normal"


def test_a_real_interrupt_while_a_process_runs():
    def computes():
        os.kill(os.getpid(), signal.SIGINT)
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            pass

    _, ref = spawn_monitor(computes)
    with pytest.raises(KeyboardInterrupt):
        receive(lambda message: False, timeout=10)
    assert down_reason(ref).type == "KeyboardInterrupt"


def test_an_interrupt_while_a_process_unwinds_is_not_lost():
    def unwinds():
        try:
            receive()
        finally:
            interrupted()

    pid, ref = spawn_monitor(unwinds)
    until_waiting(pid)
    send_exit(pid, "stop it")
    with pytest.raises(KeyboardInterrupt):
        receive(lambda message: False, timeout=5)
    assert down_reason(ref) == "stop it"


def test_a_stray_timeout_in_a_process_is_its_crash():
    def forgets():
        gevent.Timeout(0.001).start()
        receive()

    reason = end_of(forgets)
    assert type(reason) is Crash and reason.type == "gevent.timeout.Timeout"


def test_a_stray_timeout_outside_of_a_process_is_logged(runtime, logs, capsys):
    def forgets():
        gevent.Timeout(0.005).start()

    assert end_of(forgets) == "normal"
    settle()
    (worker,) = runtime.scheduler._idle
    wait_until(lambda: logs)
    assert worker.dead
    (entry,) = logs
    assert (entry["event"], entry["reason"]) == ("worker_retired", "gevent.timeout.Timeout: 0.005 seconds")
    assert capsys.readouterr().err == ""
    assert end_of(int) == "normal"


def test_a_timeout_around_a_wait_of_ours_works():
    def waits():
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.002):
            receive()
        assert receive(timeout=5) == "still here"

    pid, ref = spawn_monitor(waits)
    until_waiting(pid)
    gevent.sleep(0.004)
    send(pid, "still here")
    assert down_reason(ref) == "normal"


# `receive` in a behaviour's callback sees no message of its protocol; the rest keeps its order.


def test_receive_in_a_turn_sees_what_is_not_hidden(runtime):
    class Behaviour(TurnProcess):
        def hides(self, message):
            return type(message) is tuple

    def handle(message):
        seen.append(message)
        if message == ("call", 1):
            seen.append(receive(timeout=5))

    seen: list[object] = []
    process = Behaviour(runtime, handle)
    for message in (("call", 1), ("call", 2), "reply", ("cast", 3), "other"):
        process.deliver(message)
    wait_until(lambda: len(seen) == 5)
    assert seen == [("call", 1), "reply", ("call", 2), ("cast", 3), "other"]


# Attached greenlets get signals only at runtime waits; uncaught, they leave the `with`.


def attached(runtime, steps: list[object], wait: Callable[[], object], trap: bool = False) -> None:
    process = AttachedProcess(runtime)
    process.attach()
    error: BaseException | None = None
    steps.append(self_pid())
    try:
        wait()
        steps.append("waited")
        send(self_pid(), "a send is no wait")
        receive()
        steps.append("not reached")
    except ProcessExit as exit_:
        error = exit_
        steps.append(exit_.reason)
    finally:
        process.detach(error)


@pytest.mark.parametrize(("signal_", "reason"), [("stop it", "stop it"), ("kill", "killed")])
def test_nothing_is_thrown_into_an_attached_greenlet(runtime, signal_, reason):
    foreign = ForeignWait()
    steps: list[object] = []
    greenlet = gevent.spawn(attached, runtime, steps, foreign)
    foreign.until_entered()
    (pid,) = steps
    ref = monitor(pid)
    send_exit(pid, signal_)
    settle()
    assert foreign.outcome is None and steps == [pid]
    foreign.finish()
    greenlet.join()
    assert steps == [pid, "waited", reason]
    assert down_reason(ref) == reason


@pytest.mark.parametrize(("signal_", "reason"), [("stop it", "stop it"), ("kill", "killed")])
def test_a_runtime_wait_of_an_attached_greenlet_ends(runtime, signal_, reason):
    steps: list[object] = []
    greenlet = gevent.spawn(attached, runtime, steps, receive)
    wait_until(lambda: steps)
    until_waiting(steps[0])
    ref = monitor(steps[0])
    send_exit(steps[0], signal_)
    assert down_reason(ref) == reason
    greenlet.join()
    assert steps[1:] == [reason]


def test_an_attached_greenlet_is_never_abandoned(runtime):
    def stubborn():
        process = AttachedProcess(runtime)
        process.attach()
        steps.append(self_pid())
        for _ in range(MAX_REFUSALS * 2):
            try:
                receive()
            except ProcessExit:
                steps.append("told")
        process.detach(None)
        return "goes on as somebody else's greenlet"

    steps: list[object] = []
    greenlet = gevent.spawn(stubborn)
    wait_until(lambda: steps)
    send_exit(steps[0], "stop it")
    assert greenlet.get(timeout=5) == "goes on as somebody else's greenlet"
    assert steps.count("told") == MAX_REFUSALS * 2


def test_an_attached_greenlet_may_trap():
    trap_exits()
    send_exit(self_pid(), "stop it")
    assert receive(timeout=0).reason == "stop it"


# A node belongs to the thread and the process that started it: elsewhere NotAProcess with a hint.


CALLS = [self_pid, current_node, pause, receive, lambda: spawn(int), lambda: send("nobody", 1), trap_exits]


@pytest.mark.parametrize("call", CALLS)
def test_a_greenlet_of_gevents_is_no_process(call):
    with pytest.raises(NotAProcess, match=r"gevent\.spawn is none - use partisan_actors\.spawn"):
        gevent.spawn(call).get()

    def from_a_process():
        greenlet = gevent.spawn(call)
        greenlet.join()
        send(test, type(greenlet.exception))

    test = self_pid()
    spawn(from_a_process)
    assert receive(timeout=5) is NotAProcess


@pytest.mark.parametrize("call", CALLS)
def test_a_native_thread_is_no_process(call):
    raised: list[str] = []

    def runs():
        try:
            call()
        except NotAProcess as error:
            raised.append(str(error))

    thread = threading.Thread(target=runs)
    thread.start()
    thread.join()
    assert len(raised) == 1 and "node.run" in raised[0] and "node.send_from_thread" in raised[0]


def test_the_hub_is_no_process():
    seen = []

    def in_the_hub():
        try:
            self_pid()
        except NotAProcess:
            seen.append("none")

    hub_callback(in_the_hub)
    wait_until(lambda: seen)


def in_a_fork(function: Callable[[], str]) -> str:
    """What `function` gives in the child of a fork."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: of a process with threads
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, function().encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    text = b""
    while part := os.read(reading, 65536):
        text += part
    os.close(reading)
    os.waitpid(child, 0)
    return text.decode()


def test_after_a_fork_every_call_raises_in_the_child(me):
    def in_the_child():
        told = set()
        for call in [*CALLS, lambda: AttachedProcess(me.runtime), lambda: me.runtime.spawn(int, (), {})]:
            try:
                told.add(repr(call()))
            except NotAProcess as error:
                told.add(str(error))
        return "\n".join(told)

    (told,) = in_a_fork(in_the_child).splitlines()
    assert "a fork of the one that runs a@h" in told and "Node of another name" in told
    assert self_pid() == me.pid  # and the parent goes on


def test_after_a_fork_no_process_runs_in_the_child(runtime):
    ran = []
    spawn(ran.append, 1)
    process = TurnProcess(runtime, ran.append)
    process.deliver(2)

    def in_the_child():
        gevent.reinit()
        gevent.sleep(0.001)
        process.deliver(3)
        gevent.sleep(0.001)
        return repr(ran)

    assert in_a_fork(in_the_child) == "[]"
    wait_until(lambda: ran == [1, 2])


def test_a_fork_by_a_process(runtime):
    def forks():
        send(test, in_a_fork(lambda: f"{self_pid()}"))

    test = self_pid()
    spawn(forks)
    assert "fork of the one that runs a@h" in receive(timeout=5)


def test_a_new_node_may_run_in_a_fork():
    def in_the_child():
        gevent.reinit()
        runtime = Runtime(Life("b@h", 1, 3), GeventClock())
        process = AttachedProcess(runtime)
        process.attach()
        spawn(lambda parent: send(parent, "hello"), self_pid())
        return f"{self_pid()} {receive(timeout=5)}"

    assert in_a_fork(in_the_child) == "<b@h 1> hello"
