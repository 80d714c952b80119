"""Deadlines that others are to meet, kept by a node that may be late itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from partisan_actors.processes.clock import GeventClock, Timer, call_at_deadline
from partisan_actors.processes.lateness import LONGEST


class _Set:
    def __init__(self, due: float, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.due, self.function, self.args = due, function, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class LateClock(GeventClock):
    """Its timers come late by what the test says."""

    def __init__(self) -> None:
        self.time = 100.0
        self.others_late = 0.0  # as other timers are
        self.timers: list[_Set] = []

    def now(self) -> float:
        return self.time

    def lateness(self) -> float:
        return self.others_late

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        self.timers.append(_Set(self.time + seconds, function, args))
        return self.timers[-1]

    def run(self, late: float) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            self.time = timer.due + late
            if not timer.cancelled:
                timer.function(*timer.args)


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


def test_who_is_in_time_calls_once_when_it_is_due(clock: LateClock):
    called: list[str] = []
    call_at_deadline(clock, 5.0, called.append, "now")
    clock.run(late=0.01)
    assert (called, clock.timers) == (["now"], [])


def test_who_is_late_gives_more_time_by_how_late_it_is(clock: LateClock):
    called: list[str] = []
    call_at_deadline(clock, 5.0, called.append, "now")
    clock.run(late=0.5)
    assert called == []
    assert clock.timers[0].due == pytest.approx(100.0 + 5.0 + 0.5 + 3.0)
    clock.run(late=0.0)
    assert (called, clock.timers) == (["now"], [])


def test_one_that_is_in_time_by_chance_gives_more_too(clock: LateClock):
    called: list[str] = []
    call_at_deadline(clock, 5.0, called.append, "now")
    clock.others_late = 0.5
    clock.run(late=0.0)
    assert called == []
    assert clock.timers[0].due == pytest.approx(100.0 + 5.0 + 3.0)


@pytest.mark.parametrize("late", [1.0, 2.1])
def test_who_is_always_late_comes_to_an_end_all_the_same(clock: LateClock, late: float):
    called: list[str] = []
    call_at_deadline(clock, 5.0, called.append, "now")
    while clock.timers:
        clock.run(late=late)
    assert called == ["now"]
    assert clock.time <= 100.0 + LONGEST * 5.0 + 2 * late


@pytest.mark.parametrize(("seconds", "more"), [(5.0, 2.0), (0.5, 0.5)])
def test_who_was_stopped_gives_time_once_more_however_long_that_was(clock: LateClock, seconds: float, more: float):
    """Nobody had the time that had gone."""
    called: list[str] = []
    call_at_deadline(clock, seconds, called.append, "now")
    clock.run(late=60.0)
    assert called == []
    assert clock.timers[0].due == pytest.approx(100.0 + seconds + 60.0 + more)
    clock.run(late=0.0)
    assert (called, clock.timers) == (["now"], [])


def test_a_deadline_that_was_put_off_can_be_cancelled(clock: LateClock):
    called: list[str] = []
    deadline = call_at_deadline(clock, 5.0, called.append, "now")
    clock.run(late=0.5)
    deadline.cancel()
    clock.run(late=0.0)
    assert called == []
