"""The ready queue and its workers: order, what kills a worker, and what is kept of them."""

from __future__ import annotations

import gc
import weakref
from contextvars import copy_context

import gevent
import pytest
from greenlet import GreenletExit, getcurrent

from partisan_actors.processes import scheduler as scheduler_module
from partisan_actors.processes.info import processes
from partisan_actors.processes.messages import Crash
from partisan_actors.processes.plain import FunctionProcess
from partisan_actors.processes.primitives import monitor, pause, receive, self_pid, send, sleep, spawn, spawn_monitor
from partisan_actors.processes.scheduler import IDLE_WORKERS, QUEUED, Waiter
from tests.conditions import wait_until
from tests.processes.probing import (
    ForeignWait,
    TurnProcess,
    alive,
    down_reason,
    end_of,
    process_of,
    settle,
    until_waiting,
)

pytestmark = pytest.mark.usefixtures("me")


@pytest.fixture
def scheduler(runtime):
    return runtime.scheduler


class Broken(FunctionProcess):
    """A bug in the runtime's own code: its turn raises."""

    __slots__ = ()

    def run_turn(self) -> None:
        raise self.args[0]


def broken(runtime, error: BaseException) -> Broken:
    process = Broken(runtime, None, copy_context(), int, (error,), {})
    process.make_ready()
    return process


# Turns.


def test_a_turn_process_is_idle_between_its_turns(runtime):
    seen: list[int] = []
    process = TurnProcess(runtime, seen.append)
    for number in range(3):
        process.deliver(number)
    assert seen == [] and process.greenlet is None
    wait_until(lambda: seen == [0, 1, 2])
    assert process.greenlet is None and process.reductions == 1


def test_one_worker_serves_many(runtime, scheduler):
    greenlets = set()
    made = [TurnProcess(runtime, lambda message: greenlets.add(getcurrent())) for _ in range(100)]
    for process in made:
        process.deliver("go")
    wait_until(lambda: all(process.reductions for process in made))
    settle()
    assert len(greenlets) == 1 and scheduler._idle == list(greenlets)


def test_a_process_that_waits_keeps_its_worker(runtime):
    def waits(message):
        before = getcurrent()
        sleep(0.001)
        assert getcurrent() is before and before.partisan_process is process
        seen.append(message)

    seen: list[int] = []
    process = TurnProcess(runtime, waits)
    process.deliver(1)
    wait_until(lambda: seen)


def test_an_item_that_ended_in_the_queue_is_passed_over(runtime, scheduler):
    seen: list[int] = []
    made = [TurnProcess(runtime, seen.append) for _ in range(3)]
    for number, process in enumerate(made):
        process.deliver(number)
    made[1].kill()
    wait_until(lambda: len(seen) == 2)
    assert seen == [0, 2]


# Workers that die.


def test_dead_workers_are_passed_over(scheduler):
    refs = [spawn_monitor(sleep, 0.001)[1] for _ in range(5)]
    assert [down_reason(ref) for ref in refs] == ["normal"] * 5
    settle()
    idle = list(scheduler._idle)
    assert len(idle) == 5
    for worker in idle[1:]:
        gevent.kill(worker)
    settle()
    assert [worker.dead for worker in idle] == [False, True, True, True, True]
    refs = [spawn_monitor(sleep, 0.001)[1] for _ in range(5)]
    assert [down_reason(ref) for ref in refs] == ["normal"] * 5


@pytest.mark.parametrize("wait", [receive, lambda: gevent.sleep(10)])
def test_a_process_whose_worker_is_killed_has_crashed(wait, logs):
    greenlets = []

    def waits():
        greenlets.append(getcurrent())
        wait()

    _, ref = spawn_monitor(waits)
    wait_until(lambda: greenlets)
    settle()
    queued = spawn_monitor(int)[1]
    gevent.kill(greenlets[0])
    reason = down_reason(ref)
    assert type(reason) is Crash and reason.type == "greenlet.GreenletExit"
    assert down_reason(queued) == "normal"
    assert [entry["event"] for entry in logs] == ["process_crashed"]


def test_a_worker_that_was_switched_to_while_idle_serves_one_process_at_a_time(scheduler):
    # It stands among the idle ones twice then. The second time it is found there it is busy.
    assert end_of(int) == "normal"
    settle()
    (worker,) = scheduler._idle
    gevent.get_hub().loop.run_callback(worker.switch)
    settle()
    assert scheduler._idle == [worker, worker]
    waits = ForeignWait()
    first, first_ref = spawn_monitor(waits)
    waits.until_entered()
    assert end_of(int) == "normal"
    assert alive(first) and waits.outcome is None
    waits.finish()
    assert down_reason(first_ref) == "normal"


@pytest.mark.parametrize("error", [RuntimeError("bug"), GreenletExit(), SystemExit(3)])
def test_a_bug_of_the_runtime_ends_the_process_and_the_worker(runtime, scheduler, logs, error, capsys):
    assert end_of(int) == "normal"
    settle()
    (worker,) = scheduler._idle
    process = broken(runtime, error)
    ref = monitor(process.pid)
    queued = [spawn_monitor(int)[1] for _ in range(3)]
    reason = down_reason(ref)
    assert type(reason) is Crash and reason.type.endswith(type(error).__name__)
    assert [down_reason(one) for one in queued] == ["normal"] * 3
    assert worker.dead
    assert [entry["event"] for entry in logs] == ["process_crashed"]
    assert capsys.readouterr().err == ""


def test_a_bug_in_a_turn_that_a_process_passed_control_to(runtime):
    # Not from the hub: straight from the wait of the process before it in the queue.
    def waits():
        bad = broken(runtime, RuntimeError("bug"))
        ref = monitor(bad.pid)
        reason = down_reason(ref)
        send(test, reason.message)

    test = self_pid()
    spawn(waits)
    assert receive(timeout=5) == "bug"


def test_a_report_that_cannot_be_written_does_not_stop_the_queue(scheduler, logs, runtime):
    def fails():
        raise OSError("broken pipe")

    scheduler.flush = fails
    scheduler.dirty.append("something to write")
    assert end_of(int) == "normal"
    assert end_of(pause) == "normal"
    scheduler.dirty.clear()
    assert {(entry["event"], entry["reason"]) for entry in logs} == {("flush_failed", "OSError: broken pipe")}


def test_what_was_written_leaves_before_anybody_waits(scheduler):
    flushed = []

    def flush():
        flushed.append(list(scheduler.dirty))
        scheduler.dirty.clear()

    scheduler.flush = flush
    for wait in (lambda: sleep(0.001), lambda: receive(timeout=0.001, default=None)):
        scheduler.dirty.append("written")
        wait()
        assert flushed.pop(0) == ["written"]

    def writes():
        scheduler.dirty.append("in a turn")

    assert end_of(writes) == "normal"
    settle()
    assert flushed == [["in a turn"]]


# What is kept.


def test_no_more_workers_are_kept_than_are_worth_it(scheduler):
    count = IDLE_WORKERS + 300
    pids = [spawn(receive) for _ in range(count)]
    until_waiting(*pids)
    for pid in pids:
        send(pid, "go")
    wait_until(lambda: processes() == [self_pid()])
    settle()
    assert 0 < len(scheduler._idle) <= IDLE_WORKERS
    assert end_of(int) == "normal"


def test_too_many_workers_pass_control_on(scheduler, monkeypatch):
    # One too many ends with the next wake-up in its hands, which must not get lost.
    monkeypatch.setattr(scheduler_module, "IDLE_WORKERS", 2)
    pids = [spawn_monitor(receive) for _ in range(50)]
    until_waiting(*(pid for pid, _ in pids))
    for pid, _ in pids:
        send(pid, "go")
    assert {down_reason(ref) for _, ref in pids} == {"normal"}
    settle()
    assert len(scheduler._idle) <= 2


def test_a_hundred_thousand_processes_come_and_go(runtime, scheduler):
    gc.collect()
    before = len(gc.get_objects())
    count = 100_000
    ran = []
    for _ in range(count):
        spawn(lambda: ran.append(1))
    assert len(processes()) == count + 1
    wait_until(lambda: len(ran) == count, 30.0)
    settle()
    assert processes() == [self_pid()] and not scheduler.ready
    gc.collect()
    assert len(gc.get_objects()) - before < 1000


def test_ended_processes_are_not_kept(runtime):
    class Payload:
        pass

    def waits(payload):
        receive(timeout=3600)

    payloads = [Payload() for _ in range(10)]
    gone = [weakref.ref(payload) for payload in payloads]
    pids = [spawn(waits, payload) for payload in payloads]
    until_waiting(*pids)
    for number, pid in enumerate(pids):
        if number % 2:
            process_of(pid).kill()
        else:
            send(pid, "go")
    payloads.clear()
    wait_until(lambda: not any(ref() for ref in gone), what="the arguments are freed")


def test_an_idle_worker_holds_nothing_of_the_last_turn(runtime, scheduler):
    class Message:
        pass

    message = Message()
    gone = weakref.ref(message)
    process = TurnProcess(runtime, lambda message: None)
    process.deliver(message)
    del message
    wait_until(lambda: gone() is None)
    (worker,) = scheduler._idle
    assert worker.partisan_process is None and worker.assigned is None and worker.gr_context is None


# Waits.


def test_a_wait_is_woken_once(scheduler):
    waiter = Waiter()
    scheduler.wake(waiter)
    scheduler.wake(waiter)
    assert list(scheduler.ready) == [waiter]
    waiter.greenlet = None
    settle()
    assert not scheduler.ready


def test_a_wait_that_is_over_is_passed_over_wherever_it_is_found(scheduler, runtime):
    def passes_on():
        for _ in range(3):
            stale = Waiter()
            stale.greenlet = None
            scheduler.wake(stale)
        pause()

    assert end_of(passes_on) == "normal"
    process = TurnProcess(runtime, lambda message: passes_on() if message else None)
    process.deliver(1)
    process.deliver(0)
    wait_until(lambda: process.status != QUEUED and not process.mailbox)


# The end of it.


def test_a_closed_scheduler_keeps_no_worker_and_lets_what_unwinds_end(scheduler):
    waits = ForeignWait()
    _, busy = spawn_monitor(waits)
    waits.until_entered()
    assert end_of(int) == "normal"
    settle()
    idle = list(scheduler._idle)
    assert idle
    scheduler.close()
    settle()
    assert scheduler._idle == [] and all(worker.dead for worker in idle)
    waits.finish()
    assert down_reason(busy) == "normal"
    assert end_of(int) == "normal"
    settle()
    assert scheduler._idle == []


def test_a_stopped_scheduler_runs_nothing(runtime, scheduler):
    ran = []
    spawn(ran.append, 1)
    scheduler.stop()
    spawn(ran.append, 2)
    settle()
    assert ran == []
