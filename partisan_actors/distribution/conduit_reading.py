"""The reading half of a conduit's end: what has arrived, what came too early, and what is owed for it. Pure.

Not known here: the writing half, time. Its `Conduit` knows when to pay.
"""

from __future__ import annotations

from collections.abc import Iterator

from partisan_actors.distribution.conduit_wire import MOST_RANGES, Buffer

__all__ = ["Reading"]

_SMALL_OWED = 16
"""Small segments that are acknowledged at once, as so many bytes are."""

_MOST_EARLY = 4096
"""Segments that are kept, however small they are."""


class Reading:
    """What one end has of what the other has sent."""

    __slots__ = (
        "_early",
        "_early_bytes",
        "_echo",
        "_last",
        "_owed",
        "_owed_bytes",
        "_room",
        "_segments",
        "due",
        "duplicates",
        "position",
        "timed",
    )

    def __init__(self, room: int, owed_bytes: int) -> None:
        """Begin.

        Args:
            room: bytes beyond the next one that are kept if they come early.
            owed_bytes: so many are acknowledged at once.
        """
        self.position = 0  # everything before it was read; the place of LAST counts
        self.due = False  # an acknowledgement should go now rather than wait for bytes that can carry it
        self.timed = False  # the timer that pays what is owed runs
        self.duplicates = 0
        self._room = room
        self._owed_bytes = owed_bytes
        self._early: dict[int, tuple[bytes, bool]] = {}  # by offset, and whether it is LAST
        self._early_bytes = 0
        self._last = False
        self._segments = 0  # that are owed for
        self._owed = 0  # and their bytes
        self._echo = 0  # the order of the first of them, or of the one that is answered at once

    @property
    def owing(self) -> bool:
        """Whether an acknowledgement would tell anything."""
        return self._segments > 0

    @property
    def done(self) -> bool:
        """Whether LAST was read."""
        return self._last

    def take(self, offset: int, data: memoryview, last: bool, order: int) -> Iterator[Buffer]:
        """Take a segment; the bytes to hand up by it, which are to be taken at once."""
        early = offset > self.position
        if not self._segments:
            self._echo = order
        self._segments += 1
        self._owed += len(data)
        if early:
            self._keep(offset, data, last)
        if early or self._last or offset + len(data) + last <= self.position:
            # Told at once: what is missing, or that this one was had before.
            self.duplicates += not early
            self.due, self._echo = True, order
            return
        if offset < self.position:
            data = data[self.position - offset :]  # no peer of ours cuts anew
        had_early = bool(self._early)
        yield from self._read(data, last)
        while self._early and not self._last:
            kept = self._early.pop(self.position, None)
            if kept is None:
                break
            self._early_bytes -= len(kept[0])
            yield from self._read(*kept)
        if had_early or self._owed >= self._owed_bytes or self._segments >= _SMALL_OWED:
            self.due = True

    def _read(self, data: Buffer, last: bool) -> Iterator[Buffer]:
        self.position += len(data) + last
        self._last = last
        if data:
            yield data

    def _keep(self, offset: int, data: memoryview, last: bool) -> None:
        # Beyond the room no peer of ours sends; it would come again.
        if offset + len(data) > self.position + self._room or self._early_bytes + len(data) > self._room:
            return
        if offset not in self._early and len(self._early) < _MOST_EARLY:
            self._early[offset] = (bytes(data), last)
            self._early_bytes += len(data)

    def acknowledge(self) -> tuple[int, int]:
        """What to acknowledge, and the order to echo; nothing is owed after this."""
        self._segments = self._owed = 0
        self.due = False
        return self.position, self._echo

    def acknowledged_with_data(self) -> tuple[int, int]:
        """As `acknowledge`, for bytes of ours that carry it: they tell no ranges, so a hole stays to be told."""
        if self._early:
            return self.position, 0
        return self.acknowledge() if self._segments else (self.position, 0)

    def ranges(self) -> list[tuple[int, int]]:
        """What is there beyond the first hole, joined, the lowest first."""
        spans: list[tuple[int, int]] = []
        for offset in sorted(self._early):
            data, last = self._early[offset]
            end = offset + len(data) + last
            if spans and offset <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            elif len(spans) == MOST_RANGES:
                break
            else:
                spans.append((offset, end))
        return spans
