"""The deadlines of waits, and the timers that a program sets.

A wait of a second or more costs no timer: its process is put into a wheel of buckets that
one sweeper looks at. A process stands in the wheel at most once per bucket, however many
calls it makes meanwhile: the sweeper compares with the deadline that the process has *then*.
So 200,000 calls a second with a time limit of 5 s keep one entry, not a million. Such a wait
may end up to `TICK` late. Shorter waits get a timer of their own and are exact.
"""

from __future__ import annotations

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

    __slots__ = ("_buckets", "_clock", "_sweeper")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, list[Process]] = {}
        self._sweeper: Timer | None = None

    def arm(self, process: Process, deadline: float) -> None:
        """See to it that `process` is looked at when `deadline` (clock seconds) has passed."""
        tick = int(deadline / TICK) + 1
        armed = process.armed_tick
        if armed is not None and armed <= tick:
            return
        process.armed_tick = tick
        self._buckets.setdefault(tick, []).append(process)
        if self._sweeper is None:
            self._sweeper = self._clock.call_later(TICK, self._sweep)

    def close(self) -> None:
        """Stop looking."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = None
        self._buckets.clear()

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock.now()
        current = int(now / TICK)
        for tick in sorted(tick for tick in self._buckets if tick <= current):
            for process in self._buckets.pop(tick):
                # Entered again in an earlier bucket since, and looked at there.
                if process.armed_tick == tick:
                    process.armed_tick = None
                    self._look_at(process, now)
        if self._buckets and self._sweeper is None:
            self._sweeper = self._clock.call_later(TICK, self._sweep)

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
