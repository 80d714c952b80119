"""The clock door of one node in simulation: its timers, its chance, and whether it runs at all.

Everything that happens in a node comes by its clock. So this is where a node is paused (what is due waits), slow (each
thing waits for its turn) and crashed (what the life before has asked for never comes).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from partisan_actors.processes.lateness import Lateness
from partisan_actors.processes.scheduler import SLICE
from partisan_actors.testing.virtual_time import LATE, VirtualClock, VirtualTime, VirtualTimer

__all__ = ["SimulatedClock"]

_LOOKS = 100
"""How often the scheduler looks at the effort until a slice is over: so many turns, whatever they cost."""


class SimulatedClock(VirtualClock):
    """A `Clock`.

    Args:
        time: where the events are.
        seed: a text; of all that is left to chance in this node.
        rate, skew: see `VirtualClock`.
    """

    def __init__(self, time: VirtualTime, seed: str, *, rate: float = 1.0, skew: float = 0.0) -> None:
        super().__init__(time, Random(f"{seed}/clock"), rate=rate, skew=skew)
        self.life = 1
        self.paused = False
        self.processing = 0.0  # seconds that each thing takes that happens in the node
        self._free = 0.0  # when it has come to all that is due so far
        self._lateness = Lateness()
        self._secrets = Random(f"{seed}/secrets")
        self._effort = 0.0
        self._backlog: list[tuple[VirtualTimer, float]] = []  # and when each was due

    def effort(self) -> float:
        """Counted, not timed: the same number of turns is in a slice in every run."""
        self._effort += SLICE / _LOOKS
        return self._effort

    def lateness(self) -> float:
        """By how many seconds what was due came late lately, at most 1, as the node is slow or was paused."""
        return self._lateness.seconds(self.time.now)

    def entropy(self, count: int) -> bytes:
        """Of the seed; nothing in a simulation is secret."""
        return self._secrets.randbytes(count)

    def call_soon(self, function: Callable[..., Any], *args: Any) -> VirtualTimer:
        """Run `function(*args)` after what is due already; time does not go on before, unless the node is paused."""
        return self.at(self.time.now, function, *args)

    def call_later(self, seconds: float, function: Callable[..., Any], *args: Any) -> VirtualTimer:
        """Run `function(*args)` in so many seconds of this clock."""
        return self.at(self.time.now + max(seconds, 0.0) / self.rate + LATE, function, *args)

    def at(self, when: float, function: Callable[..., Any], *args: Any) -> VirtualTimer:
        """Run `function(*args)` at that moment of virtual time."""
        timer = VirtualTimer(function, args)
        self.time.push(when, self._due, timer, self.life)
        return timer

    def pause(self) -> None:
        """Keep what is due until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Let all that is overdue run now, in its order, without a time that it takes."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for timer, due in backlog:
            self.time.push(self.time.now, self._turn, timer, self.life, due)

    def end_life(self) -> None:
        """What was asked for so far never runs."""
        self.life += 1
        self.paused = False
        self.processing = self._free = 0.0
        self._lateness = Lateness()
        self._backlog.clear()

    def _due(self, timer: VirtualTimer, life: int, _c: None) -> None:
        now = self.time.now
        if not self.processing and self._free <= now:
            self._turn(timer, life, now)
        elif life == self.life and timer.function is not None:
            self._free = max(self._free, now) + self.processing
            self.time.push(self._free, self._turn, timer, life, now)

    def _turn(self, timer: VirtualTimer, life: int, due: float) -> None:
        if life != self.life:
            return
        if self.paused:
            self._backlog.append((timer, due))
            return
        function, timer.function = timer.function, None
        if function is not None:
            self._lateness.came(due, self.time.now)
            function(*timer.args)
