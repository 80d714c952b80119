"""The deadlines of waits, and the timers that a program sets.

A wait of a second or more costs no timer: its process is put into a wheel of buckets that
one sweeper looks at. A process stands in the wheel at most once, however many calls it makes
meanwhile: the sweeper compares with the deadline that the process has *then*. So 200,000 calls
a second with a time limit of 5 s keep one entry, not a million, and a process that ends takes
its entry with it. Such a wait may end up to `TICK` late. Shorter waits get a timer of their own
and are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from partisan_actors.processes.clock import Clock, Timer

if TYPE_CHECKING:
    from partisan_actors.processes.process import Process

__all__ = ["EXACT_BELOW", "TICK", "DeadlineWheel", "TimerRef"]

TICK = 0.05
"""Seconds between two looks at the wheel."""

EXACT_BELOW = 1.0
"""Seconds; a shorter wait gets a timer of its own."""


class DeadlineWheel:
    """Wakes processes whose `deadline` has passed."""

    __slots__ = ("_buckets", "_clock", "_sweeper", "_swept")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, dict[Process, None]] = {}  # by the tick at which they are looked at
        self._swept = 0  # the tick of the last look
        self._sweeper: Timer | None = None

    def arm(self, process: Process, deadline: float) -> None:
        """See to it that `process` is looked at when `deadline` (clock seconds) has passed."""
        try:
            tick = int(deadline / TICK) + 1
        except OverflowError:
            return  # infinity
        armed = process.armed_tick
        if armed is not None:
            if armed <= tick:
                return
            self.disarm(process)
        if self._sweeper is None:
            self._look_next(self._clock.now())
        tick = max(tick, self._swept + 1)
        process.armed_tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {process: None}
        else:
            bucket[process] = None

    def disarm(self, process: Process) -> None:
        """Take `process` out of the wheel."""
        tick, process.armed_tick = process.armed_tick, None
        bucket = self._buckets.get(tick) if tick is not None else None
        if bucket is not None:
            bucket.pop(process, None)
            if not bucket:
                del self._buckets[tick]  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop looking."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = None
        self._buckets.clear()

    def _look_next(self, now: float) -> None:
        self._swept = int(now / TICK)
        self._sweeper = self._clock.call_later((self._swept + 1) * TICK - now, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock.now()
        first, last = self._swept + 1, int(now / TICK)
        ticks: Iterable[int] = range(first, last + 1)
        if last - first > len(self._buckets):  # the clock has leapt
            ticks = sorted(tick for tick in self._buckets if tick <= last)
        self._swept = last
        for tick in ticks:
            for process in self._buckets.pop(tick, ()):
                process.armed_tick = None
                self._look_at(process, now)
        if self._buckets and self._sweeper is None:
            self._look_next(now)

    def _look_at(self, process: Process, now: float) -> None:
        deadline = process.deadline
        if deadline is None:
            return
        if deadline <= now:
            process.wake()
        else:
            self.arm(process, deadline)


class TimerRef:
    """A timer set by `send_after`; give it to `cancel_timer`."""

    __slots__ = ("_clock", "_due", "_timer")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._due = clock.now() + seconds
        self._timer: Timer | None = None

    def start(self, seconds: float, function: Any, *args: Any) -> None:
        """Begin; `function(*args)` runs in the hub unless cancelled first."""
        self._timer = self._clock.call_later(seconds, self._fire, function, args)

    def cancel(self) -> float | None:
        """Stop it; the seconds that were left, or None when it has fired or been cancelled."""
        timer, self._timer = self._timer, None
        if timer is None:
            return None
        timer.cancel()
        return max(self._due - self._clock.now(), 0.0)

    def _fire(self, function: Any, args: tuple[Any, ...]) -> None:
        self._timer = None
        function(*args)

    def __repr__(self) -> str:
        return f"<TimerRef due={self._due:.3f} {'set' if self._timer is not None else 'over'}>"
