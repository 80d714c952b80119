"""How fast an end of a conduit sends: its window, round trips, and the time after which it repeats. Pure.

RFC 5681 for the window, RFC 6298 for the time; not known here: segments, which of them are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PASSED_BY", "ConduitParameters", "Pace"]

# RFC 6298, section 2: the weights of a new round trip in the smoothed one and in its variation.
_GAIN = 1 / 8
_VARIATION_GAIN = 1 / 4
# Seconds that a timer of the other end, and ours, may be late.
_LATE = 0.01
# RFC 5681, section 3.2; RFC 9002, section 6.1.1.
PASSED_BY = 3
"""So many later segments that arrived say that one is lost."""


@dataclass(frozen=True, slots=True)
class ConduitParameters:
    """Sizes are bytes, times seconds."""

    segment: int = 32 << 10
    """In one frame: what a relay holds of it at a time, so that others pass between."""

    first_window: int = 128 << 10
    """On its way before anything was acknowledged."""

    largest_window: int = 4 << 20
    """On its way at most; and what a reader keeps of what came too early."""

    most_segments: int = 1024
    """On their way at most, however small they are."""

    acknowledge_after: float = 0.02
    """How long an acknowledgement waits for bytes of our own that can carry it."""

    owed: int = 64 << 10
    """What is acknowledged at once."""

    first_repeat: float = 0.5
    """The time to repeat before a round trip was measured. RFC 6298 has 1 s, for a world with slow links."""

    shortest_repeat: float = 0.2
    longest_repeat: float = 2.0

    give_up: float = 10.0
    """Without an acknowledgement of anything, while something is on its way."""

    stall: float = 2.0
    """A timer that comes so late says that we were stopped, not that nothing gets through."""

    def __post_init__(self) -> None:
        if not 0 < self.segment <= self.first_window <= self.largest_window:
            raise ValueError(
                f"segment ({self.segment}), first_window ({self.first_window}) and largest_window "
                f"({self.largest_window}) must be above 0 and in that order"
            )
        if self.most_segments < 2 * PASSED_BY:
            raise ValueError(f"most_segments ({self.most_segments}) must be at least {2 * PASSED_BY}")
        if not 0 < self.acknowledge_after < self.shortest_repeat:
            raise ValueError(f"acknowledge_after ({self.acknowledge_after}) must be above 0 and below shortest_repeat")
        if not self.shortest_repeat <= self.first_repeat <= self.longest_repeat < self.give_up:
            raise ValueError("shortest_repeat, first_repeat, longest_repeat and give_up must be in that order")
        if self.owed < 1 or self.stall <= 0:
            raise ValueError(f"owed ({self.owed}) and stall ({self.stall}) must be above 0")


class Pace:
    """That of one end."""

    __slots__ = ("_parameters", "_threshold", "_variation", "repeats", "round_trip", "window")

    def __init__(self, parameters: ConduitParameters) -> None:
        self.window = parameters.first_window  # bytes that may be on their way
        self.round_trip: float | None = None  # seconds, smoothed
        self.repeats = 0  # times in a row that the time to repeat has passed
        self._parameters = parameters
        self._threshold = parameters.largest_window  # from here on the window grows by a segment a round trip
        self._variation = 0.0

    def measure(self, sample: float) -> None:
        """A round trip took so many seconds."""
        before = self.round_trip
        if before is None:
            self.round_trip, self._variation = sample, sample / 2
            return
        self._variation += (abs(before - sample) - self._variation) * _VARIATION_GAIN
        self.round_trip = before + (sample - before) * _GAIN

    def time_to_repeat(self) -> float:
        """Seconds from a transmission to the next, if nothing is heard of it."""
        parameters = self._parameters
        if self.round_trip is None:
            seconds = parameters.first_repeat
        else:
            seconds = max(self.round_trip + 4 * self._variation, parameters.shortest_repeat)
        return min(seconds * 2.0 ** min(self.repeats, 10), parameters.longest_repeat)

    def time_to_probe(self) -> float:
        """Seconds after which the last segment is sent again, to hear what is missing; never above `time_to_repeat`."""
        if self.round_trip is None:
            return self.time_to_repeat()
        # RFC 8985, section 7.2: two round trips, and what an acknowledgement may wait for.
        return min(2 * self.round_trip + self._parameters.acknowledge_after + _LATE, self.time_to_repeat())

    def grow(self, taken: int) -> None:
        """So many bytes arrived, and the window was used."""
        parameters = self._parameters
        grown = taken if self.window < self._threshold else parameters.segment * taken // self.window
        self.window = min(self.window + grown, parameters.largest_window)

    def lost(self) -> None:
        """Something was lost on a way that others got through."""
        self._threshold = max(self.window // 2, 2 * self._parameters.segment)
        self.window = min(self._threshold, self.window)

    def all_lost(self, flying: int) -> None:
        """The time to repeat has passed, with so many bytes on their way: begin small again (RFC 5681, equation 4)."""
        segment = self._parameters.segment
        if self.repeats == 1:
            self._threshold = max(flying // 2, 2 * segment)
        self.window = min(2 * segment, self._parameters.largest_window)
