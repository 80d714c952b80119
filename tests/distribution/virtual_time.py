"""A clock that goes as far as a test lets it, and no further."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["Jitter", "VirtualClock"]


class _Timer:
    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., Any] | None = function
        self.args = args

    def cancel(self) -> None:
        self.function = None


class VirtualClock:
    """A `Clock`. Callbacks that are due soon come before time goes on."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self._now = 1000.0
        self._soon: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    def effort(self) -> float:
        return self._now

    def lateness(self) -> float:
        return 0.0

    def entropy(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def call_soon(self, function: Callable[..., Any], *args: Any) -> None:
        self._soon.append((function, args))

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> _Timer:
        timer = _Timer(function, args)
        heapq.heappush(self._timers, (self._now + max(seconds, 0.0), next(self._order), timer))
        return timer

    @property
    def timers(self) -> list[str]:
        """The names of the functions whose timers run."""
        return [timer.function.__qualname__ for _, _, timer in self._timers if timer.function is not None]

    def settle(self, steps: int = 1_000_000) -> None:
        """Run what is due without letting time pass."""
        for _ in range(steps):
            if not self._soon:
                return
            function, args = self._soon.popleft()
            function(*args)
        raise AssertionError(f"still busy after {steps} callbacks")

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self.until(lambda: False, seconds, required=False)

    def until(self, condition: Callable[[], Any], seconds: float, *, required: bool = True) -> float:
        """Let time pass until `condition()` is true; how long that took. AssertionError when it is too long."""
        start, end = self._now, self._now + seconds
        while True:
            self.settle()
            if condition():
                return self._now - start
            while self._timers and self._timers[0][2].function is None:
                heapq.heappop(self._timers)
            if not self._timers or self._timers[0][0] > end:
                self._now = end
                if required:
                    raise AssertionError(f"not within {seconds} s: {condition.__qualname__}")
                return seconds
            self._now, _, timer = heapq.heappop(self._timers)
            function, timer.function = timer.function, None
            assert function is not None
            function(*timer.args)

    def stop_for(self, seconds: float) -> None:
        """Let time pass while nothing runs, as when the process is stopped."""
        self._now += seconds


class Jitter:
    """A clock for a transport whose every step takes its own time, up to `most` seconds."""

    def __init__(self, clock: VirtualClock, most: float) -> None:
        self.random = clock.random
        self.now = clock.now
        self.wall = clock.wall
        self.call_later = clock.call_later
        self.effort = clock.effort
        self.lateness = clock.lateness
        self.entropy = clock.entropy
        self._most = most

    def call_soon(self, function: Callable[..., Any], *args: Any) -> None:
        self.call_later(self.random.uniform(0.0, self._most), function, *args)
