"""What is written to a connection behind what its session has to write: relayed frames. Bounded in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["Behind", "Buffer"]

Buffer = bytes | bytearray | memoryview

# Of one turn: with so much on its way at most, what the session has to say next waits for no more than that.
_TURN = 64 << 10


class Behind:
    """Frames that wait for their turn.

    Args:
        most: bytes, beyond which no frame is taken.
    """

    __slots__ = ("_frames", "_most", "_urgent", "size")

    def __init__(self, most: int) -> None:
        self.size = 0  # bytes that wait
        self._frames: deque[tuple[Sequence[Buffer], int]] = deque()
        self._urgent: deque[tuple[Sequence[Buffer], int]] = deque()
        self._most = most

    @property
    def frames(self) -> int:
        """How many wait."""
        return len(self._frames) + len(self._urgent)

    def offer(self, buffers: Sequence[Buffer], *, urgent: bool = False) -> bool:
        """Take a frame, if there is room; whether it was taken. The urgent ones are written before the others."""
        # hot path: once per relayed frame; 0.5 us.
        size = sum(map(len, buffers))
        if self.size and self.size + size > self._most:
            return False
        self.size += size
        (self._urgent if urgent else self._frames).append((buffers, size))
        return True

    def next_turn(self) -> list[Buffer]:
        """The buffers of the next few frames, 64 KiB of them or a single larger one; empty when none waits."""
        buffers: list[Buffer] = []
        taken = 0
        for frames in (self._urgent, self._frames):
            while frames and (not taken or taken + frames[0][1] <= _TURN):
                frame, size = frames.popleft()
                buffers += frame
                taken += size
        self.size -= taken
        return buffers
