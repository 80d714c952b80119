"""Virtual time: a heap of what is due, in an exact order, and clocks that show it.

Promised: what is due first runs first, and what is due at the same moment runs in the order in which it was asked for.
Time goes on only from one event to the next; nothing here looks at the machine's own clock, hashes or sets. Not known:
nodes, messages, greenlets.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

__all__ = ["LATE", "VirtualClock", "VirtualTime", "VirtualTimer"]
LATE = 1e-7
"""Seconds by which a timer of a machine or a node is late, as every real one is.

Without it one whose time is worked out by a difference may come one rounding too early, find that there is nothing to
do so far, and be set again, at the same moment for ever.
"""

_THRESHOLDS = (100_000, 50, 1000)


class VirtualTimer:
    """A call that is due once, and can be taken off."""

    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., Any] | None = function
        self.args = args

    def cancel(self) -> None:
        """Make sure that it does not run any more. Harmless when it has run."""
        # The entry stays in the heap until it is due: to take it out costs more than to pass over it.
        self.function = None
        self.args = ()


class VirtualTime:
    """Events, and the moment that they have got to.

    `now` is in seconds from the start of the simulation. An event is a function of three arguments: who has millions
    of them calls `push`, or, where a call is too dear, `heappush(events, (when, number(), function, a, b, c))`.
    """

    __slots__ = ("events", "now", "number")

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[Any, Any, Any], Any], Any, Any, Any]] = []
        self.number: Callable[[], int] = count(1).__next__

    def push(
        self, when: float, function: Callable[[Any, Any, Any], Any], a: Any = None, b: Any = None, c: Any = None
    ) -> None:
        """Call `function(a, b, c)` at `when`, or at once, after what is due already, if that is past."""
        now = self.now
        heappush(self.events, (when if when > now else now, self.number(), function, a, b, c))

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> VirtualTimer:
        """Call `function(*args)` in so many seconds; negative ones are none."""
        timer = VirtualTimer(function, args)
        self.push(self.now + seconds, _fire, timer)
        return timer

    def step(self) -> bool:
        """Run what is due next, however far away; False when there is nothing."""
        if not self.events:
            return False
        self.now, _, function, a, b, c = heappop(self.events)
        function(a, b, c)
        return True

    def run(self, seconds: float) -> int:
        """Let so many seconds pass; how many events that were. What is due at the very end is among them."""
        return self._run(self.now + seconds)

    def run_until(self, condition: Callable[[], Any], limit: float, *, every: float = 0.0) -> float:
        """Let time pass until `condition()` is true.

        Args:
            condition: asked at the start and after every event.
            limit: seconds that it may take.
            every: ask only so many seconds after the last time, where asking is dear.

        Returns: the seconds that it took. Raises TimeoutError when the limit is over.
        """
        start = self.now
        end = start + limit
        while not condition():
            if every > 0.0:
                over = self.now >= end
                self._run(min(self.now + every, end))
            else:
                over = not self.events or self.events[0][0] > end
                if not over:
                    self.step()
            if over:
                self.now = end
                raise TimeoutError(f"not within {limit} s of virtual time: {_name(condition)}")
        return self.now - start

    def _run(self, end: float) -> int:
        # hot path: every event of a simulation passes here.
        events, pop = self.events, heappop
        done = 0
        # Each event is a new tuple that the collector walks as long as it waits: a third of the time at 10,000 nodes.
        thresholds = gc.get_threshold()
        gc.set_threshold(*_THRESHOLDS)
        try:
            while events and events[0][0] <= end:
                self.now, _, function, a, b, c = pop(events)
                function(a, b, c)
                done += 1
        finally:
            gc.set_threshold(*thresholds)
        self.now = end
        return done


class VirtualClock:
    """What a node's clock shows of a `VirtualTime`; a `Clock` of `processes.clock`.

    Args:
        time: where the events are.
        random: the chance of whoever has this clock.
        rate: its seconds in one second of virtual time; 1.0001 is a clock that is fast by 100 ppm.
        skew: by how many seconds its wall clock is wrong at the start.
        epoch: what a right wall clock shows at the start, in seconds since 1970.
    """

    def __init__(
        self, time: VirtualTime, random: Random, *, rate: float = 1.0, skew: float = 0.0, epoch: float = 1.75e9
    ) -> None:
        if rate <= 0.0:
            raise ValueError(f"a clock's rate is above 0, and {rate!r} is not")
        self.time = time
        self.random = random
        self.rate = rate
        self.skew = skew
        self.epoch = epoch

    def now(self) -> float:
        """Seconds from the start of the simulation, as this clock counts them."""
        return self.time.now * self.rate

    def wall(self) -> float:
        """Seconds since 1970, as this clock has them."""
        return self.epoch + self.skew + self.time.now * self.rate

    def lateness(self) -> float:
        """None: as much is done as there is to do before time goes on."""
        return 0.0

    def call_soon(self, function: Callable[..., Any], *args: Any) -> VirtualTimer:
        """Run `function(*args)` after what is due already; time does not go on before."""
        return self.time.call_later(0.0, function, *args)

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> VirtualTimer:
        """Run `function(*args)` in so many seconds of this clock."""
        return self.time.call_later(seconds / self.rate + LATE, function, *args)


def _fire(timer: VirtualTimer, _b: None, _c: None) -> None:
    function, timer.function = timer.function, None
    if function is not None:
        function(*timer.args)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
