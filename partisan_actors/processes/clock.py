"""The clock door: everything that waits or draws a random number goes through a `Clock`.

Replace it, and the transport, and a cluster runs in virtual time, the same for the same
seed (design: "Two doors to the outside"). Callbacks run in the hub and must not wait.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from gevent import get_hub

from partisan_actors.processes.lateness import LONGEST, STOPPED, Lateness, longer

__all__ = ["Clock", "GeventClock", "Timer", "call_at_deadline", "checked_seconds", "deadline_after"]


class Timer(Protocol):
    """A callback that is due once."""

    def cancel(self) -> None:
        """Make sure that it does not run any more. Harmless when it has run."""


class Clock(Protocol):
    """Time and chance, as the rest of the system sees them."""

    random: random.Random

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""

    def wall(self) -> float:
        """Seconds since 1970; may jump."""

    def effort(self) -> float:
        """Seconds of work so far, of which only differences mean anything.

        For who must not work on for too long. In virtual time work takes none, so there each look is counted as some.
        """

    def lateness(self) -> float:
        """By how many seconds timers were late lately, 1 at most: whether there is more to do than can be done."""

    def entropy(self, count: int) -> bytes:
        """So many bytes that nobody can foretell, unless this is a simulation."""

    def call_soon(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run `function(*args)` in the hub, after what is already due."""

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Run `function(*args)` in the hub `seconds` from now."""


class _GeventTimer:
    __slots__ = ("_watcher",)

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher

    def cancel(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()


class GeventClock:
    """The machine's own time, with the loop of the hub of the thread that made it."""

    def __init__(self, seed: int | None = None) -> None:
        self._loop = get_hub().loop
        self.random = random.Random(seed)
        self._lateness = Lateness()
        # Bound as attributes: `now` is on the path of every call, and a method around it costs 40 ns more.
        self.now = time.monotonic  # type: ignore[method-assign]
        self.wall = time.time  # type: ignore[method-assign]
        self.effort = time.monotonic  # type: ignore[method-assign]
        self.call_soon = self._loop.run_callback  # type: ignore[method-assign]

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def effort(self) -> float:
        return time.monotonic()

    def lateness(self) -> float:
        """As they were on this clock."""
        return self._lateness.seconds(self.now())

    def entropy(self, count: int) -> bytes:
        """Of the machine's source, with a seed too: a nonce that can be foretold is none."""
        return os.urandom(count)

    def call_soon(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._loop.run_callback(function, *args)

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Start a loop timer. `update=True`: the loop's cached time may be a whole turn old."""
        seconds = max(seconds, 0.0)
        watcher = self._loop.timer(seconds)
        timer = _GeventTimer(watcher)
        watcher.start(self._fire, self.now() + seconds, timer, function, args, update=True)
        return timer

    def _fire(self, due: float, timer: _GeventTimer, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._lateness.came(due, self.now())
        timer.cancel()
        function(*args)


def call_at_deadline(clock: Clock, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
    """As `call_later`, for the end of the time that others have for something.

    Where that comes late, they are given more, by how late it is, up to three times as long in all: see `lateness`. And
    once 2 s more, or as long again if that is less, where it is so late that this node was stopped meanwhile.
    """
    return _Deadline(clock, seconds, function, args)


class _Deadline:
    __slots__ = ("_args", "_clock", "_due", "_function", "_last", "_seconds", "_stopped", "_timer")

    def __init__(self, clock: Clock, seconds: float, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._clock, self._seconds, self._function, self._args = clock, seconds, function, args
        self._stopped = False  # this node was, and has given more time for that
        now = clock.now()
        self._due, self._last = now + seconds, now + LONGEST * seconds
        self._timer = clock.call_later(seconds, self._fire)

    def cancel(self) -> None:
        self._timer.cancel()

    def _fire(self) -> None:
        now = self._clock.now()
        late = now - self._due
        # This one may be in time, and what it is about not read yet, where others are late.
        more = longer(max(late, self._clock.lateness()), now, self._last)
        if late >= STOPPED and not self._stopped:
            self._stopped = True
            more = max(more, min(self._seconds, STOPPED))
        if more <= 0:
            self._function(*self._args)
            return
        self._due = now + more
        self._timer = self._clock.call_later(more, self._fire)


def checked_seconds(value: Any, what: str) -> float:
    """A number of seconds that somebody gave. Raises TypeError, ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is a number of seconds, not {value!r}")
    if value != value:
        raise ValueError(f"{what} is a number of seconds, which NaN is not")
    return value


def deadline_after(clock: Clock, timeout: float | None) -> float | None:
    """When a wait of `timeout` seconds that begins now is over; None for ever. Raises TypeError, ValueError."""
    return None if timeout is None else clock.now() + checked_seconds(timeout, "timeout")
