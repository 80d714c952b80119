"""By how much timers were late lately: as a number, and of the clock that nodes have."""

from __future__ import annotations

import time

import pytest
from gevent.event import Event

from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.lateness import LATE, Lateness


def test_it_is_that_of_the_latest_and_half_as_much_each_second():
    lateness = Lateness()
    assert lateness.seconds(100.0) == 0.0
    lateness.came(100.0, 100.4)
    assert lateness.seconds(100.4) == pytest.approx(0.4)
    assert lateness.seconds(101.4) == pytest.approx(0.2)
    lateness.came(102.1, 102.4)
    assert lateness.seconds(102.4) == pytest.approx(0.3)
    lateness.came(103.3, 103.4)
    assert lateness.seconds(103.4) == pytest.approx(0.15)


def test_a_timer_in_time_says_nothing():
    lateness = Lateness()
    lateness.came(100.0, 100.0 + LATE / 2)
    assert lateness.seconds(100.1) == 0.0


def test_one_that_was_stopped_for_long_is_late_for_a_moment():
    lateness = Lateness()
    lateness.came(100.0, 700.0)
    assert lateness.seconds(700.0) == 1.0
    assert lateness.seconds(704.0) < 0.1


def test_a_clock_whose_hub_was_held_up_is_late():
    clock = GeventClock()
    assert clock.lateness() == 0.0
    called = Event()
    clock.call_later(0.01, called.set)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass  # as a callback that takes too long
    assert called.wait(5.0)
    assert 0.1 < clock.lateness() < 0.5


def test_a_delay_that_is_over_before_it_begins_makes_no_clock_late():
    clock, called = GeventClock(), Event()
    clock.call_later(-5.0, called.set)
    assert called.wait(5.0)
    assert clock.lateness() < 0.1


def test_one_with_time_for_all_is_not():
    clock = GeventClock()
    called = Event()
    clock.call_later(0.01, called.set)
    assert called.wait(5.0)
    assert clock.lateness() < 0.1
