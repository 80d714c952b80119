"""When waits end: short ones exactly, long ones within a tick, none too early."""

from __future__ import annotations

from typing import cast

import pytest

from partisan_actors.errors import ReceiveTimeout
from partisan_actors.processes.primitives import receive, self_pid, send_after, sleep
from partisan_actors.processes.process import Process
from partisan_actors.processes.timers import EXACT_BELOW, TICK, DeadlineWheel, TimerRef
from tests.processes.probing import ManualClock


class Sleeper:
    """As much of a process as the wheel looks at."""

    def __init__(self, clock):
        self.clock = clock
        self.deadline = None
        self.armed_tick = None
        self.woken: list[float] = []

    def wake(self):
        self.woken.append(self.clock.now())


def asleep(wheel: DeadlineWheel, clock: ManualClock, seconds: float) -> Sleeper:
    sleeper = Sleeper(clock)
    sleeper.deadline = clock.now() + seconds
    wheel.arm(cast(Process, sleeper), sleeper.deadline)
    return sleeper


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start=1000.013)


@pytest.fixture
def wheel(clock) -> DeadlineWheel:
    return DeadlineWheel(clock)


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.0137, 0.049])
def test_a_long_wait_ends_within_a_tick_and_not_before(phase):
    clock = ManualClock(start=500.0 + phase)
    wheel = DeadlineWheel(clock)
    sleepers = []
    for step in range(60):
        sleepers.append(asleep(wheel, clock, 1.0 + step * 0.0173))
        clock.advance(0.0031)
    clock.advance(5.0)
    for sleeper in sleepers:
        (woken,) = sleeper.woken
        assert -1e-9 <= woken - sleeper.deadline <= TICK + 1e-6


def test_a_process_stands_in_the_wheel_once_however_often_it_waits(wheel, clock):
    sleeper = Sleeper(clock)
    for _ in range(1000):
        clock.advance(0.0001)
        sleeper.deadline = clock.now() + 5.0
        wheel.arm(sleeper, sleeper.deadline)
    assert sum(len(bucket) for bucket in wheel._buckets.values()) == 1
    clock.advance(5.0 + TICK)
    # Its entry was of the first wait; what counts is the deadline that it has when it is looked at.
    assert len(sleeper.woken) == 1 and 0 <= sleeper.woken[0] - sleeper.deadline <= TICK + 1e-6


def test_a_wait_that_is_over_is_not_woken(wheel, clock):
    sleeper = asleep(wheel, clock, 2.0)
    sleeper.deadline = None
    clock.advance(10.0)
    assert sleeper.woken == [] and sleeper.armed_tick is None


def test_a_shorter_wait_after_a_longer_one_is_in_time(wheel, clock):
    sleeper = asleep(wheel, clock, 3600.0)
    sleeper.deadline = clock.now() + 1.0
    wheel.arm(sleeper, sleeper.deadline)
    assert sum(len(bucket) for bucket in wheel._buckets.values()) == 1
    clock.advance(1.0 + TICK)
    assert len(sleeper.woken) == 1


def test_a_process_that_ends_leaves_the_wheel(wheel, clock):
    sleepers = [asleep(wheel, clock, 3600.0) for _ in range(3)]
    for sleeper in sleepers:
        wheel.disarm(sleeper)
        wheel.disarm(sleeper)
    assert wheel._buckets == {}
    clock.advance(2 * TICK)
    assert clock.pending == 0  # and the sweeper rests


def test_an_empty_wheel_rests_and_starts_again(wheel, clock):
    first = asleep(wheel, clock, 1.0)
    clock.advance(2.0)
    assert first.woken and clock.pending == 0
    clock.advance(1000.0)
    second = asleep(wheel, clock, 1.0)
    clock.advance(1.0 + TICK)
    assert len(second.woken) == 1


def test_a_clock_that_leaps_wakes_all_whose_time_has_passed(wheel, clock):
    sleepers = [asleep(wheel, clock, seconds) for seconds in (1.0, 100.0, 86_000.0, 90_000.0)]
    clock.leap(86_400.0)
    clock.advance(TICK)
    assert [len(sleeper.woken) for sleeper in sleepers] == [1, 1, 1, 0]
    clock.advance(4000.0)
    assert len(sleepers[3].woken) == 1


def test_a_deadline_in_the_past_is_looked_at_next(wheel, clock):
    asleep(wheel, clock, 5.0)  # the sweeper runs
    clock.advance(1.0)
    sleeper = asleep(wheel, clock, -0.5)
    clock.advance(2 * TICK)
    assert len(sleeper.woken) == 1


def test_a_deadline_that_never_comes(wheel, clock):
    sleeper = asleep(wheel, clock, float("inf"))
    assert sleeper.armed_tick is None and clock.pending == 0


def test_a_closed_wheel_does_nothing(wheel, clock):
    sleeper = asleep(wheel, clock, 1.0)
    wheel.close()
    wheel.close()
    clock.advance(10.0)
    assert sleeper.woken == [] and clock.pending == 0


# With the real clock.


@pytest.mark.usefixtures("me")
@pytest.mark.parametrize("seconds", [0.003, 0.02, 0.1])
def test_short_waits_are_exact(runtime, seconds):
    for wait in (lambda: sleep(seconds), lambda: receive(timeout=seconds, default=None)):
        begun = runtime.clock.now()
        wait()
        assert seconds <= runtime.clock.now() - begun < seconds + 0.05
    assert runtime.deadlines._buckets == {}


@pytest.mark.usefixtures("me")
def test_a_wait_of_a_second_ends(runtime):
    begun = runtime.clock.now()
    with pytest.raises(ReceiveTimeout):
        receive(timeout=EXACT_BELOW + 0.001)
    assert EXACT_BELOW <= runtime.clock.now() - begun < EXACT_BELOW + TICK + 0.2
    assert runtime.deadlines._buckets == {}


@pytest.mark.usefixtures("me")
def test_a_timer_of_a_program_is_exact(runtime):
    begun = runtime.clock.now()
    send_after(0.02, self_pid(), "m")
    assert receive(timeout=5) == "m"
    assert 0.018 < runtime.clock.now() - begun < 0.07


def test_a_timer_says_what_is_left(clock):
    fired: list[int] = []
    timer = TimerRef(clock, 2.0)
    timer.start(2.0, fired.append, 1)
    assert "set" in repr(timer)
    clock.advance(0.5)
    assert timer.cancel() == pytest.approx(1.5)
    assert timer.cancel() is None and "over" in repr(timer)
    clock.advance(5.0)
    assert fired == []
    timer = TimerRef(clock, 1.0)
    timer.start(1.0, fired.append, 1)
    clock.advance(1.0)
    assert fired == [1] and timer.cancel() is None
