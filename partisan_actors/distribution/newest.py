"""Signals that wait in a stream of a monotonic channel: of each key only the newest. Pure.

Promised: of two signals with one key that wait at the same time the older one is dropped, and counted; the newer one
takes its place in the order. What a frame has taken is sent, and sent again, as that of any other stream.
"""

from __future__ import annotations

from collections.abc import Hashable

from partisan_actors.distribution.flows import Buffer, Piece, Signal, size_of

__all__ = ["NewestQueue"]


class NewestQueue:
    """In place of a `FlowQueue`; its flows are the keys."""

    __slots__ = ("_newest", "append", "plain", "size", "superseded")

    def __init__(self) -> None:
        self.size = 0  # bytes in all
        self.superseded = 0  # signals dropped for a newer one
        self.plain = -1  # nothing is appended without a look: see `FlowQueue`
        self.append = None
        self._newest: dict[Hashable, Signal] = {}

    def __bool__(self) -> bool:
        return bool(self._newest)

    def put(self, signal: Signal, size: int, flow: Hashable) -> None:
        """Take a signal of `size` bytes."""
        older = self._newest.get(flow)
        if older is not None:
            self.size -= size_of(older)
            self.superseded += 1
        self._newest[flow] = signal
        self.size += size

    def take_back(self, flow: Hashable) -> None:
        """Give up the signal that was put last."""
        self.size -= size_of(self._newest.pop(flow))

    def take(self, limit: int) -> Piece:
        """The signals of one frame, as many as fit in `limit` bytes and one at least."""
        size = 0
        parts: list[Buffer] = []
        for flow in list(self._newest):
            signal = self._newest[flow]
            length = size_of(signal)
            if parts and size + length > limit:
                break
            size += length
            parts.extend(signal if isinstance(signal, tuple) else (signal,))
            del self._newest[flow]
        self.size -= size
        return Piece(size, parts)
