"""The timers of one protocol machine, as its driver keeps them: at most one for each key."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from partisan_actors.distribution.machine import TimerFired
from partisan_actors.processes.clock import Clock, Timer, call_at_deadline

__all__ = ["KeyedTimers"]


class KeyedTimers:
    """Hands `TimerFired(key)` to `fired` for each timer that was neither replaced nor cancelled."""

    __slots__ = ("_clock", "_fired", "_timers")

    def __init__(self, clock: Clock, fired: Callable[[TimerFired], None]) -> None:
        self._clock = clock
        self._fired = fired
        self._timers: dict[Hashable, Timer] = {}

    def set(self, key: Hashable, seconds: float) -> None:
        """Start the timer of `key`, in place of the one that runs."""
        self.cancel(key)
        self._timers[key] = self._clock.call_later(seconds, self._fire, key)

    def set_deadline(self, key: Hashable, seconds: float) -> None:
        """The same, for the end of the time that others have: see `call_at_deadline`."""
        self.cancel(key)
        self._timers[key] = call_at_deadline(self._clock, seconds, self._fire, key)

    def cancel(self, key: Hashable) -> None:
        """Stop the timer of `key`, if one runs."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Stop all."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, key: Hashable) -> None:
        # Not by cancel: it has fired.
        self._timers.pop(key, None)
        self._fired(TimerFired(key))
