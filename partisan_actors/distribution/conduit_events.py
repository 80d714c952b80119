"""What an end of a conduit wants done: the effects of `conduit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from partisan_actors.distribution.conduit_wire import Buffer
from partisan_actors.distribution.machine import CancelTimer, SetTimer

__all__ = ["Deliver", "Doubt", "Effect", "Ended", "Opened", "Transmit", "Writable"]


class Transmit(NamedTuple):
    """Send a frame with these buffers, together its body, to the other end."""

    buffers: Sequence[Buffer]


class Doubt(NamedTuple):
    """For so many seconds nothing was heard of what was sent: the way may lead nowhere. What follows goes again."""

    seconds: float


class Deliver(NamedTuple):
    """Hand these bytes up: the next ones."""

    data: Buffer


class Opened(NamedTuple):
    """The other end is there."""


class Writable(NamedTuple):
    """`unsent` fell to 0 after having been above it."""


class Ended(NamedTuple):
    """It is over: "eof" (the other end closed it), "reset", "closed" (all that was written was taken), "timeout"."""

    reason: str


Effect = Transmit | Doubt | Deliver | Opened | Writable | Ended | SetTimer | CancelTimer
