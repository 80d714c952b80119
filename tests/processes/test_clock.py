"""The real clock: timers fire once, not early, and not when cancelled."""

from __future__ import annotations

import time

from partisan_actors.processes.clock import GeventClock
from tests.conditions import wait_until


def test_time_goes_forward():
    clock = GeventClock()
    assert clock.now() <= clock.now()
    assert abs(clock.wall() - time.time()) < 5.0


def test_chance_is_repeatable():
    assert GeventClock(7).random.random() == GeventClock(7).random.random()


def test_what_nobody_can_foretell_is_not_of_the_seed():
    assert GeventClock(7).entropy(16) != GeventClock(7).entropy(16)
    assert len(GeventClock(7).entropy(16)) == 16


def test_soon_is_in_the_hub_and_in_order():
    clock = GeventClock()
    seen: list[int] = []
    clock.call_soon(seen.append, 1)
    clock.call_soon(seen.append, 2)
    assert seen == []
    wait_until(lambda: seen == [1, 2])


def test_a_timer_fires_once_and_not_early():
    clock = GeventClock()
    fired: list[float] = []
    begun = clock.now()
    timer = clock.call_later(0.02, lambda: fired.append(clock.now()))
    wait_until(lambda: fired)
    assert fired[0] - begun > 0.018  # the loop rounds by a millisecond
    timer.cancel()  # harmless
    assert len(fired) == 1


def test_a_cancelled_timer_does_not_fire():
    clock = GeventClock()
    seen: list[str] = []
    timer = clock.call_later(0.001, seen.append, "cancelled")
    timer.cancel()
    timer.cancel()
    clock.call_later(0.005, seen.append, "later")
    wait_until(lambda: seen)
    assert seen == ["later"]


def test_a_time_that_has_passed_is_now():
    clock = GeventClock()
    seen: list[int] = []
    clock.call_later(-1.0, seen.append, 1)
    wait_until(lambda: seen)
