"""Buffers of large signals that were delivered, kept for those that come next. Pure.

Why: a new bytearray is cleared first. Of 1 MiB that takes 60 to 130 us, a tenth of what a receiver of such signals
does, and the memory is cold.

Promised: a buffer is used again only when nobody can see it any more, whoever still looked at it when it was given
back. What it held before stays in it: who takes one gives out no byte that was not written since.
"""

from __future__ import annotations

__all__ = ["SpareBuffers"]

_MOST_BYTES = 8 << 20
"""Of one node, and for as long as it lives."""
_LARGEST = 4 << 20
_SMALLEST = 32 << 10
"""A smaller one is cleared faster than it is found."""
_MOST = 32
_TRIED = 4
"""Of those that somebody sees still. Then a new one costs less than to look further."""


class SpareBuffers:
    """Those of one node."""

    __slots__ = ("_spare", "bytes")

    def __init__(self) -> None:
        self.bytes = 0  # of all that are kept
        self._spare: list[bytearray] = []  # the one that was given back last at the end

    def __len__(self) -> int:
        return len(self._spare)

    def take(self, size: int) -> memoryview:
        """A place of `size` bytes, whatever is in it."""
        spare, tried = self._spare, 0
        for at in range(len(spare) - 1, -1, -1):
            buffer = spare[at]
            if not size <= len(buffer) <= 2 * size:
                continue
            if _is_unseen(buffer):
                del spare[at]
                self.bytes -= len(buffer)
                return memoryview(buffer)[:size]
            tried += 1
            if tried == _TRIED:
                break
        return memoryview(bytearray(size))

    def give_back(self, place: memoryview) -> None:
        """Take back what `take` gave. Views of it may be in use for as long as they like."""
        buffer = place.obj
        if not isinstance(buffer, bytearray) or not _SMALLEST <= len(buffer) <= _LARGEST:
            return
        self._spare.append(buffer)
        self.bytes += len(buffer)
        while self.bytes > _MOST_BYTES or len(self._spare) > _MOST:
            self.bytes -= len(self._spare.pop(0))


def _is_unseen(buffer: bytearray) -> bool:
    """Whether no view of it is left: only then will it change its length. (By one byte and back moves nothing.)"""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True
