"""Large signals that arrive in pieces, put together. Pure.

Promised: each piece is received straight into its place; a signal is given out once all of it is there. What a peer
may begin and not finish is bounded: so many signals, so many bytes in one stream and in all of its session, and none
that others overtake for ever. How long each has waited is known here; its session says how long is too long.

Not known here: what a signal is.
"""

from __future__ import annotations

from partisan_actors.distribution.spare_buffers import SpareBuffers
from partisan_actors.wire.frames import MAX_BODY, BrokenFrame, Fragment

__all__ = ["Assembly", "SessionBytes"]

_MOST_BYTES = 256 << 20
"""Of all that have begun, in one stream: twice what a sender keeps there at its usual limits."""
_MOST_BYTES_OF_SESSION = 2 << 30
"""In all streams of one session: sixteen in which a sender has begun all that it ever begins, of the largest signals;
more where the two nodes agreed on more. (With signals of a few MiB it has less than a tenth.)"""
_MOST = 256
_MOST_OVERTAKING = 100_000
"""Frames of its stream since the last piece of a signal. A sender takes turns, so that a few hundred are many."""


class _Begun:
    __slots__ = ("buffer", "filled", "seen", "waited")

    def __init__(self, buffer: memoryview, seen: int) -> None:
        self.buffer = buffer
        self.filled = 0
        self.seen = seen  # the number of the last frame that had a piece of it
        self.waited = 0.0  # seconds since, of those that count


class SessionBytes:
    """Of all signals that have begun, in all streams of one session."""

    __slots__ = ("bytes", "most")

    def __init__(self, streams: int = 0) -> None:
        """Begin with none, of a session that may have so many streams."""
        self.bytes = 0
        self.most = max(_MOST_BYTES_OF_SESSION, streams * _MOST_BYTES // 2)


class Assembly:
    """Those of one stream."""

    __slots__ = ("_begun", "_session", "_spares", "bytes")

    def __init__(self, spares: SpareBuffers, session: SessionBytes | None = None) -> None:
        """Begin with none; `session` is shared with the other streams, if there are any."""
        self.bytes = 0  # of all that have begun
        self._session = session if session is not None else SessionBytes()
        self._spares = spares
        self._begun: dict[int, _Begun] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def place(self, piece: Fragment, size: int, number: int) -> memoryview | None:
        """Where the bytes of a piece go, before it is known that they are wanted; None where they go nowhere.

        Args:
            size: bytes of the piece.
            number: that of its frame.
        """
        try:
            begun = self._find(piece, size, number)
        except BrokenFrame:
            return None  # told when the frame is taken
        if piece.offset < begun.filled:
            return None  # it is none that comes next, and would write over what has arrived before that is told
        return begun.buffer[piece.offset : piece.offset + size]

    def add(self, piece: Fragment, body: bytes | memoryview, number: int) -> memoryview | None:
        """Take a piece, the next one of its signal; the whole signal, when it is the last.

        Raises: BrokenFrame.
        """
        begun = self._find(piece, len(body), number)
        if piece.offset != begun.filled:
            raise BrokenFrame(f"a piece at {piece.offset} of a signal that is there up to {begun.filled}")
        if not isinstance(body, memoryview) or body.obj is not begun.buffer.obj:
            begun.buffer[piece.offset : piece.offset + len(body)] = body
        begun.filled += len(body)
        begun.seen = number
        begun.waited = 0.0
        if begun.filled < piece.total:
            return None
        del self._begun[piece.message]
        self.bytes -= piece.total
        self._session.bytes -= piece.total
        self._spares.give_back(begun.buffer)
        return begun.buffer.toreadonly()

    def wait(self, seconds: float) -> float:
        """So many seconds have passed that count; how long that signal has waited which waits longest for a piece."""
        for begun in self._begun.values():
            begun.waited += seconds
        return max((begun.waited for begun in self._begun.values()), default=0.0)

    def _find(self, piece: Fragment, size: int, number: int) -> _Begun:
        if not size or piece.offset + size > piece.total or piece.total > MAX_BODY:
            raise BrokenFrame(f"a piece of {size} bytes at {piece.offset} of {piece.total}")
        begun = self._begun.get(piece.message)
        if begun is None:
            return self._begin(piece, number)
        if len(begun.buffer) != piece.total:
            raise BrokenFrame(f"a piece of a signal of {piece.total} bytes, which had {len(begun.buffer)}")
        return begun

    def _begin(self, piece: Fragment, number: int) -> _Begun:
        if piece.offset:
            raise BrokenFrame("a piece of a signal that has not begun")
        if len(self._begun) >= _MOST or self.bytes + piece.total > _MOST_BYTES:
            raise BrokenFrame(f"{len(self._begun)} signals of {self.bytes} bytes have begun, and another one does")
        if self._session.bytes + piece.total > self._session.most:
            raise BrokenFrame(f"signals of {self._session.bytes} bytes have begun in all, and another one does")
        if any(number - begun.seen > _MOST_OVERTAKING for begun in self._begun.values()):
            raise BrokenFrame("a signal has begun, and its peer does not go on with it")
        begun = self._begun[piece.message] = _Begun(self._spares.take(piece.total), number)
        self.bytes += piece.total
        self._session.bytes += piece.total
        return begun
