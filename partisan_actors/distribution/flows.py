"""Signals that wait in one stream: first in, first out, but that a large one delays only its own flow. Pure.

A signal above the fragment size travels in pieces, and other flows pass between them. Its own flow waits behind it:
what is offered in that flow later is held until the last piece is taken. And its first piece waits until everything
that was offered before it is taken, whatever flow that is of: so nothing need be known of the flow of a small signal,
and as long as no large one waits, all of this is a plain queue.

Large signals of different flows take turns, one piece each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from partisan_actors.wire.frames import encode_fragment

__all__ = ["Buffer", "FlowQueue", "Piece", "Signal", "size_of"]

Buffer = bytes | bytearray | memoryview
Signal = bytes | tuple[Buffer, ...]


# A signal that is known to be no larger needs no look at any limit.
_WHOLE = 65 << 10

# Bytes of large signals that have begun and are not out, but for one alone. The receiver keeps memory for the whole
# of each, and takes twice as much for a broken envelope; high watermarks would let more of them in.
_MOST_BEGUN = 128 << 20


class Piece(NamedTuple):
    """What one frame takes."""

    size: int
    buffers: list[Buffer]
    extensions: bytes = b""  # that say where it belongs, if it is a piece of a large signal


def size_of(signal: Signal) -> int:
    """Its bytes."""
    return len(signal) if type(signal) is bytes else sum(map(len, signal))  # type: ignore[arg-type]


# In place of Piece(...): 0.2 us less, once per joined write.
_new_piece = tuple.__new__


class _Large:
    """A signal that is cut."""

    __slots__ = ("after", "cut", "flow", "message", "parts", "size")

    def __init__(self, signal: Signal, flow: Hashable, message: int, after: int) -> None:
        parts = signal if isinstance(signal, tuple) else (signal,)
        self.parts: deque[memoryview] = deque(memoryview(part) for part in parts)
        self.size = size_of(signal)
        self.cut = 0  # bytes taken
        self.flow = flow
        self.message = message
        self.after = after  # how many signals have to be taken before its first piece is

    def piece(self, size: int) -> Piece:
        """The next so many bytes, or what is left."""
        extensions = encode_fragment(self.message, self.cut, self.size)
        left = size = min(size, self.size - self.cut)
        self.cut += size
        buffers: list[Buffer] = []
        while left:
            part = self.parts[0]
            buffers.append(part[:left])
            if len(part) > left:
                self.parts[0] = part[left:]
                break
            left -= len(part)
            self.parts.popleft()
        return Piece(size, buffers, extensions)


class FlowQueue:
    """What was offered and not taken yet."""

    __slots__ = (
        "_alone",
        "_begun",
        "_delayed",
        "_fragment",
        "_held",
        "_large",
        "_message",
        "_most",
        "_small",
        "_small_ones",
        "_taken",
        "_tuples",
        "_turn",
        "append",
        "plain",
        "size",
        "superseded",
    )

    def __init__(self, fragment: int | None, most: int, largest: int, alone: int) -> None:
        """Begin empty.

        Args:
            fragment: the size above which a signal is cut, and that of a piece while small ones wait; None for a peer
                that takes no pieces.
            most: large signals that take turns. The peer has memory for all of them, as a whole.
            largest: bytes of the largest signal that will be put.
            alone: the size of a piece while nothing small waits.
        """
        self.size = 0  # bytes in all
        self.superseded = 0  # of no use here: see `NewestQueue`
        self._fragment = fragment
        self._most = most
        self._alone = alone
        self._small: deque[Signal] = deque()
        # While no large one waits, `append` takes signals of up to `plain` bytes; who calls it adds to `size`.
        self.append = self._small.append
        self.plain = self._small_ones = min(_WHOLE, largest, fragment if fragment is not None else largest)
        self._tuples = 0  # how many of these are tuples
        self._taken = 0  # how many of these were taken since the queue was made
        self._large: deque[_Large] = deque()  # the next one first
        self._held: dict[Hashable, deque[Signal]] = {}  # by the flow of a large one: what has to wait for it
        self._message = 0  # the last number given to a large one
        self._begun = 0  # bytes of the large ones that have begun
        self._delayed: _Large | None = None  # too large to begin now: no other begins before it
        self._turn = False  # the next frame is a piece, if one can go

    def __bool__(self) -> bool:
        return bool(self._small or self._large)

    def put(self, signal: Signal, size: int, flow: Hashable) -> None:
        """Take a signal of `size` bytes."""
        self.size += size
        held = self._held.get(flow)
        if held is not None:
            held.append(signal)
        elif self._fragment is None or size <= self._fragment:
            self._append(signal)
        else:
            self._cut(signal, flow)

    def take_back(self, flow: Hashable) -> None:
        """Give up the signal that was put last, which is of that flow."""
        held = self._held.get(flow)
        if held:
            size = size_of(held.pop())
        elif held is not None and not self._large[-1].cut:
            # It began the flow: nothing can have been held behind another one.
            size = self._large.pop().size
            del self._held[flow]
            self._look_for_large()
        else:
            signal = self._small.pop()
            self._tuples -= isinstance(signal, tuple)
            size = size_of(signal)
        self.size -= size

    def take(self, limit: int) -> Piece:
        """The signals of one frame, as many as fit in `limit` bytes and one at least, or a piece of a large one."""
        small = self._small
        if self._large:
            return self._take_in_turn(limit)
        if self.size <= limit and not self._tuples:
            # hot path: what nearly always is; no step for each signal.
            everything: list[Buffer] = list(small)  # type: ignore[arg-type]
            size, self.size = self.size, 0
            self._taken += len(everything)
            small.clear()
            return _new_piece(Piece, (size, everything, b""))
        return self._take_small(limit)

    def _append(self, signal: Signal) -> None:
        self._small.append(signal)
        if type(signal) is not bytes:
            self._tuples += 1

    def _cut(self, signal: Signal, flow: Hashable) -> None:
        self._message = (self._message + 1) & 0xFFFFFFFF
        self._large.append(_Large(signal, flow, self._message, self._taken + len(self._small)))
        self._held[flow] = deque()
        self.plain = -1

    def _take_in_turn(self, limit: int) -> Piece:
        piece = self._turn or not self._small
        large = self._next_large() if piece else None
        self._turn = not self._turn
        if large is None:
            # No more than a piece at once, so that both get half of the way.
            return self._take_small(min(limit, self._fragment or limit))
        assert self._fragment is not None
        if not large.cut:
            self._begun += large.size
        # Nothing small waits: what comes meanwhile waits for twice what a connection is given at once anyway, a third
        # of a millisecond. (Pieces of 64 KiB take twice the time of pieces of 256, and these a fifth more than of 512.)
        taken = large.piece(self._fragment if self._small else max(limit, self._fragment, self._alone))
        self.size -= taken.size
        if large.cut == large.size:
            self._begun -= large.size
            self._large.remove(large)
            self._release(large.flow)
            self._look_for_large()
        return taken

    def _next_large(self) -> _Large | None:
        """One of those that may go, each in turn."""
        large = self._large
        for _ in range(min(len(large), self._most)):
            # The first of those that take turns becomes the last of them; those beyond wait until one is done.
            first = large.popleft()
            large.insert(min(self._most - 1, len(large)), first)
            if first.cut or (first.after <= self._taken and self._may_begin(first)):
                return first
        return None

    def _may_begin(self, large: _Large) -> bool:
        if self._delayed is not None and self._delayed is not large:
            return False
        fits = not self._begun or self._begun + large.size <= _MOST_BEGUN
        self._delayed = None if fits else large
        return fits

    def _look_for_large(self) -> None:
        if not self._large:
            self.plain = self._small_ones

    def _release(self, flow: Hashable) -> None:
        held = self._held.pop(flow)
        while held:
            signal = held.popleft()
            if self._fragment is not None and size_of(signal) > self._fragment:
                self._cut(signal, flow)
                self._held[flow] = held
                return
            self._append(signal)

    def _take_small(self, limit: int) -> Piece:
        if not self._tuples:
            return self._take_plain(limit)
        small = self._small
        size = 0
        parts: list[Buffer] = []
        while small:
            signal = small[0]
            length = size_of(signal)
            if parts and size + length > limit:
                break
            size += length
            if isinstance(signal, tuple):
                self._tuples -= 1
                parts.extend(signal)
            else:
                parts.append(signal)
            small.popleft()
            self._taken += 1
        self.size -= size
        return Piece(size, parts)

    def _take_plain(self, limit: int) -> Piece:
        # hot path: once per joined write of a backlog, with little to do for each of its signals.
        parts: list[Buffer] = []
        append, take, left = parts.append, self._small.popleft, limit
        for signal in self._small:
            left -= len(signal)
            if left < 0 and parts:
                left += len(signal)
                break
            append(signal)  # type: ignore[arg-type]
        for _ in parts:
            take()
        self._taken += len(parts)
        size = limit - left
        self.size -= size
        return Piece(size, parts)
