"""The order of events, timers, and clocks."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.processes.clock import Clock
from partisan_actors.testing.virtual_time import VirtualClock, VirtualTime


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), max_size=30))
def test_what_is_due_first_runs_first_and_equals_in_the_order_asked_for(moments):
    time, ran = VirtualTime(), []
    for number, moment in enumerate(moments):
        time.call_later(moment, ran.append, (moment, number))
    time.run(1.0)
    assert ran == sorted(ran)
    assert len(ran) == len(moments)


def test_time_passes_only_as_far_as_it_is_let():
    time, ran = VirtualTime(), []
    time.call_later(1.0, lambda: ran.append(time.now))
    time.run(0.5)
    assert (time.now, ran) == (0.5, [])
    time.run(0.5)
    assert (time.now, ran) == (1.0, [1.0])


def test_a_cancelled_timer_does_not_run_and_one_that_ran_may_be_cancelled():
    time, ran = VirtualTime(), []
    kept, gone = time.call_later(1.0, ran.append, "kept"), time.call_later(1.0, ran.append, "gone")
    gone.cancel()
    time.run(2.0)
    kept.cancel()
    assert ran == ["kept"]


def test_what_a_callback_asks_for_at_once_comes_after_what_is_due_already():
    time, ran = VirtualTime(), []
    time.call_later(1.0, lambda: (ran.append("first"), time.call_later(0.0, ran.append, "third")))
    time.call_later(1.0, ran.append, "second")
    time.run(1.0)
    assert ran == ["first", "second", "third"]


def test_run_until_stops_at_the_event_that_makes_it_true():
    time, ran = VirtualTime(), []
    for moment in (1.0, 2.0, 3.0):
        time.call_later(moment, ran.append, moment)
    assert time.run_until(lambda: 2.0 in ran, 10.0) == 2.0
    assert ran == [1.0, 2.0]


@pytest.mark.parametrize("every", [0.0, 0.7])
def test_run_until_gives_up_at_its_limit(every):
    time = VirtualTime()
    time.call_later(5.0, print)
    with pytest.raises(TimeoutError, match="not within 2"):
        time.run_until(lambda: time.now > 4.0, 2.0, every=every)
    assert time.now == 2.0


def test_a_clock_of_its_own_rate_and_skew():
    time, ran = VirtualTime(), []
    clock: Clock = VirtualClock(time, Random(1), rate=2.0, skew=-3.0, epoch=1000.0)
    clock.call_later(1.0, lambda: ran.append((time.now, clock.now(), clock.wall())))
    time.run(0.50001)
    assert ran == [pytest.approx((0.5, 1.0, 998.0), abs=1e-6)]


def test_a_clock_that_stands_still_is_refused():
    with pytest.raises(ValueError, match="rate"):
        VirtualClock(VirtualTime(), Random(1), rate=0.0)
