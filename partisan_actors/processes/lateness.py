"""What a node may conclude from its own timers' coming late: how much longer others are given, and how long at most.

Where they come late, it has more to do than it can, and what others sent in time may be unread. A node that works at
its limit would take others for dead, and have more to do for it (Lifeguard, section 3). Pure.
"""

from __future__ import annotations

__all__ = ["LATE", "LONGEST", "STOPPED", "Lateness", "longer"]

LATE = 0.05
"""Seconds by which a timer says that there is more to do than can be done at once."""

LONGEST = 3
"""So many times as long as it was to be a deadline may become, at most."""

STOPPED = 2.0
"""A timer so late says that this node was stopped, and that nobody had the time that it speaks of."""

_EXCUSE = 6  # a handshake takes so many turns of the two loops, each as long as a timer may be late


def longer(late: float, now: float, last: float) -> float:
    """Seconds that a deadline is put off whose timer came so late; 0: it is over. Never beyond `last`."""
    return max(min(_EXCUSE * late, last - now), 0.0) if late > LATE else 0.0


class Lateness:
    """By how much the timers of a node were late lately: by the latest of them, half as much after each second."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def came(self, due: float, now: float) -> None:
        """A timer fired that was due then. One that is over a second late may say that the node was stopped."""
        # hot path: once for each timer.
        late = now - due
        if late > LATE:
            self._seconds, self._at = max(min(late, 1.0), self.seconds(now)), now

    def seconds(self, now: float) -> float:
        """At most 1; 0 where they come in time."""
        return self._seconds * 0.5 ** (now - self._at) if self._seconds else 0.0
