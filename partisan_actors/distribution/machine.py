"""What all protocol machines of this package have in common: timers, re-set by key.

A machine has `step(event, now, random)`, which changes it in place and returns effects; the driver performs them in
order before it hands in the next event. The driver keeps at most one timer for each key: SetTimer replaces the one
that runs, TimerFired comes once for each that was not replaced or cancelled.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

__all__ = ["CancelTimer", "SetDeadline", "SetTimer", "TimerFired"]


class SetTimer(NamedTuple):
    """Effect: hand in `TimerFired(key)` in `seconds`, in place of the timer of that key, if one runs."""

    key: Hashable
    seconds: float


class SetDeadline(NamedTuple):
    """Effect: as SetTimer, for the end of the time that others have; it comes later where this node is late itself."""

    key: Hashable
    seconds: float


class CancelTimer(NamedTuple):
    """Effect: stop the timer of that key, if one runs."""

    key: Hashable


class TimerFired(NamedTuple):
    """Event: the timer of that key is due."""

    key: Hashable
