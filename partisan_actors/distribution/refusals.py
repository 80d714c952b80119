"""Connections that came to nothing: counted, and logged at a bounded rate.

A warning is what somebody may have to look at: a stranger, or two nodes that do not fit together. That both ends dial
at once, or that a node gives up a dial which it needs no more, is everyday life, and is written for debugging only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from partisan_actors.distribution.counters import Counters
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.distribution.strangers import Line, RefusalLog, StrangerParameters
from partisan_actors.processes.clock import Clock
from partisan_actors.transport import OTHER_USER
from partisan_actors.wire.handshake import Refusal, RefusalCode

if TYPE_CHECKING:
    from partisan_actors.distribution.link import Link

__all__ = ["Refusals"]

_log = structlog.get_logger("partisan_actors")

_CODES = {int(code): code.name.lower() for code in RefusalCode}
_GIVEN_UP = "given up by the peer"
# Of a node that was connected to itself one of its two ends tells enough.
_EVERYDAY = ("simultaneous", _GIVEN_UP, "self, by the peer")


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

    def by_code(self, address: str, refusal: Refusal, *, by_us: bool = True) -> None:
        """Tell of one that was refused, by this side or by the other."""
        key = _CODES.get(refusal.code, "other")
        self.refused(address, key if by_us else f"{key}, by the peer", str(refusal))

    def closed_early(self, link: Link, reason: str) -> None:
        """Tell of one that the other end has dialled, and closed in its handshake, without a word why."""
        if reason.startswith(OTHER_USER):
            self.refused(link.address, "another user", reason)
        elif link.routed or (reason == "eof" and (link.peer is not None or link.untouched)):
            # A dial can be given up at any moment: the overlay wants that link no longer, or the node stops. By routes
            # there come only members, and ways that end.
            self.refused(link.address, _GIVEN_UP, link.peer.node if link.peer is not None else "before its hello")
        else:
            self.refused(link.address, "closed during the handshake", reason)

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
        level = _log.debug if line.reason.startswith(_EVERYDAY) else _log.warning
        level(
            "connection_refused",
            node=self._node,
            address=line.address,
            reason=line.reason,
            detail=line.detail,
            times=line.times,
        )
