"""Connections that came to nothing: counted, and logged at a bounded rate."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from partisan_actors.distribution.counters import Counters
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.distribution.strangers import Line, RefusalLog, StrangerParameters
from partisan_actors.processes.clock import Clock

__all__ = ["Refusals"]

_log = structlog.get_logger("partisan_actors")


class Refusals:
    """The one place that tells of them."""

    __slots__ = ("_counters", "_log", "_node", "_timers")

    def __init__(self, node: str, clock: Clock, counters: Counters, parameters: StrangerParameters) -> None:
        self._node = node
        self._counters = counters
        self._log = RefusalLog(parameters)
        self._timers = KeyedTimers(clock, self._fired)

    def refused(self, address: str, reason: str, detail: str = "") -> None:
        """Tell of a connection.

        Args:
            reason: one of a small set; the counters and the rate of lines go by it.
            detail: for people.
        """
        self._counters.refusals[reason] += 1
        self._perform(self._log.refused(address, reason, detail))

    def close(self) -> None:
        """Write what was left out so far, and stop."""
        self._timers.close()
        self._perform(self._log.finish())

    def _fired(self, event: TimerFired) -> None:
        self._perform(self._log.step(event))

    def _perform(self, effects: Sequence[Line | SetTimer]) -> None:
        for effect in effects:
            if isinstance(effect, SetTimer):
                self._timers.set(effect.key, effect.seconds)
            else:
                self._write(effect)

    def _write(self, line: Line) -> None:
        # Both ends dialling at once is nobody's fault.
        level = _log.debug if line.reason.startswith("simultaneous") else _log.warning
        level(
            "connection_refused",
            node=self._node,
            address=line.address,
            reason=line.reason,
            detail=line.detail,
            times=line.times,
        )
