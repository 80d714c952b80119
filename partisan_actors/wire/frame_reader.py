"""The reader of one connection: cuts the bytes that arrive into frames.

Promised: a frame is the same however the bytes of it were cut on the way; frames that came whole before a broken
one are given out before the break is raised; a broken reader stays broken; frames given out are never written to
again; no memory is given to a frame before its header was found to be within the limit, and then at most 2 MiB or
four times what has arrived, so that a header alone, whatever it claims, costs little.

Not known here: sockets, sessions, and what routing and bodies mean.
"""

from __future__ import annotations

from collections.abc import Callable

from partisan_actors.wire.frames import (
    COMPRESSED,
    DATA,
    FRAGMENT,
    HANDSHAKE_LIMIT,
    HEADER,
    HEADER_SIZE,
    KINDS,
    OPTIONAL,
    TLS_KINDS,
    TLS_MAJOR,
    TLS_RECORD,
    BrokenFrame,
    Frame,
    Header,
    fragment_of,
)

__all__ = ["FrameReader"]

# The shared buffer grows to this, fourfold, whenever a read has filled it: most of the links of a large cluster carry
# small frames only, and 256 KiB for each of them were 2.6 GB for a thousand nodes with five links.
_FIRST_SIZE = 4 << 10
_READ_SIZE = 256 << 10
# Above this a body that is not there yet gets a buffer of its own: the copy out of the shared one would cost more
# than the read that the sharing saves.
_SHARED_BODY = 64 << 10
# What is read of a frame behind a fragment with more to come. The next piece has its place already, and what is read
# too far has to be copied there: of 64 KiB, 4 KiB so. The second call of recv costs 1 us.
_AHEAD = 4 << 10
# First piece of such a buffer. A body of 1 MiB and what surrounds it is received without being moved.
_FIRST_PIECE = 2 << 20
_GROWTH = 4


class _Placed:
    """A fragment that is received straight into its place, and how much of it is there."""

    __slots__ = ("extensions", "filled", "header", "place", "routing")

    def __init__(self, header: Header, routing: bytes, extensions: bytes, place: memoryview, filled: int) -> None:
        self.header = header
        self.routing = routing
        self.extensions = extensions
        self.place = place
        self.filled = filled


class _Large:
    """A frame whose body is received straight into a buffer of its own, and how much of it is there."""

    __slots__ = ("body", "extensions", "filled", "header", "routing")

    def __init__(self, header: Header, routing: bytes, extensions: bytes, present: memoryview) -> None:
        self.header = header
        self.routing = routing
        self.extensions = extensions
        self.body = bytearray(min(header.body_length, _FIRST_PIECE))
        self.filled = len(present)
        self.body[: self.filled] = present

    def grow(self) -> None:
        # Into a new buffer: resizing this one would fail while anybody still holds a view of it.
        body = bytearray(min(self.header.body_length, len(self.body) * _GROWTH))
        body[: self.filled] = self.body
        self.body = body


class FrameReader:
    """Cuts the bytes of one connection into frames.

    The owner of the connection asks `buffer()` for a place, puts bytes there and says with `received(count)` how
    many; the view is good for that one read.

    A frame over the limit, or of an unknown kind, that stands behind others of the same read is left unread until
    the next call of `received`. So what an acceptor sends right behind its proof is not judged by the limit that
    held before that proof was checked: after `set_limit`, `received(0)` gives what had to wait for it.
    """

    __slots__ = (
        "_broken",
        "_end",
        "_full",
        "_large",
        "_limit",
        "_more",
        "_most",
        "_place",
        "_shared",
        "_skip",
        "_start",
        "_view",
    )

    def __init__(self, limit: int = HANDSHAKE_LIMIT) -> None:
        self._broken: str | None = None
        self._large: _Large | _Placed | None = None
        self._place: Callable[[Header, bytes], memoryview | None] | None = None
        self._full = False  # the last read has filled the shared buffer, which may grow
        self._more = False  # the last fragment was not the last of its signal
        self._shared = bytearray()
        self._view = memoryview(self._shared)
        # What was received and not given out yet lies between these two.
        self._start = 0
        self._end = 0
        # So many bytes to come belong to a frame that is skipped.
        self._skip = 0
        self.set_limit(limit)

    def set_limit(self, limit: int) -> None:
        """Take frames of up to `limit` bytes, header included, from now on. Not between `buffer` and `received`.

        The shared buffer may grow to as much, and to 256 KiB at most: a stranger is not worth more than its limit.
        """
        if limit < HEADER_SIZE:
            raise ValueError(f"a limit of {limit} bytes leaves no room for a frame's header of {HEADER_SIZE}")
        self._limit = limit
        self._most = max(min(limit, _READ_SIZE), len(self._shared))
        if len(self._shared) < min(limit, _FIRST_SIZE) and self._broken is None:
            self._grow_to(min(limit, _FIRST_SIZE))

    def _grow_to(self, size: int) -> None:
        shared = bytearray(size)
        waiting = self._end - self._start
        shared[:waiting] = self._view[self._start : self._end]
        self._shared, self._view = shared, memoryview(shared)
        self._start, self._end = 0, waiting

    def place_fragments(self, place: Callable[[Header, bytes], memoryview | None]) -> None:
        """Receive the body of each fragment into what `place(header, extensions)` gives, if it gives anything.

        It is to be as long as the body. What it gives is written to before the frame is given out.
        """
        self._place = place

    @property
    def unread(self) -> int:
        """The bytes that were received and are no frame so far, but for those of a large one."""
        return self._end - self._start

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty. Raises BrokenFrame once the reader is broken."""
        if self._broken is not None:
            raise BrokenFrame(self._broken)
        large = self._large
        if large is not None:
            return (large.place if type(large) is _Placed else memoryview(large.body))[large.filled :]  # type: ignore[union-attr]
        if self._start and self._end * 2 > len(self._shared):
            # Overlapping views are moved correctly by CPython (memmove).
            waiting = self._end - self._start
            self._view[:waiting] = self._view[self._start : self._end]
            self._start, self._end = 0, waiting
        if self._full:
            self._full = False
            self._grow_to(min(len(self._shared) * _GROWTH, self._most))
        if self._more:
            return self._view[self._end : self._end + self._rest() + _AHEAD]
        return self._view[self._end :]

    def _rest(self) -> int:
        """How much of the frame that has begun is still to come, as far as its header says."""
        start, waiting = self._start, self._end - self._start
        if waiting < HEADER_SIZE:
            return 0
        header = Header._make(HEADER.unpack_from(self._view, start))
        return max(HEADER_SIZE + header.routing_length + header.extensions_length + header.body_length - waiting, 0)

    def received(self, count: int) -> list[Frame]:
        """The frames that became whole with `count` more bytes in the last buffer, in order.

        Raises: BrokenFrame, from then on for ever; ValueError for a count beyond that buffer.
        """
        if self._broken is not None:
            raise BrokenFrame(self._broken)
        if self._large is not None:
            if type(self._large) is _Placed:
                return self._received_placed(self._large, count)
            return self._received_large(self._large, count)  # type: ignore[arg-type]
        end = self._end + count
        if count < 0 or end > len(self._shared):
            raise ValueError(f"{count} bytes cannot have been put into a buffer of {len(self._shared) - self._end}")
        self._end = end
        self._full = end == len(self._shared) < self._most
        if self._skip:
            skipped = min(self._skip, end - self._start)
            self._skip -= skipped
            self._start += skipped
        return self._cut()

    def _received_large(self, large: _Large, count: int) -> list[Frame]:
        filled = large.filled + count
        if count < 0 or filled > len(large.body):
            raise ValueError(f"{count} bytes cannot have been put into a buffer of {len(large.body) - large.filled}")
        large.filled = filled
        if filled < len(large.body):
            return []
        if filled < large.header.body_length:
            large.grow()
            return []
        self._large = None
        return [Frame(large.header, large.routing, large.extensions, memoryview(large.body).toreadonly())]

    def _received_placed(self, placed: _Placed, count: int) -> list[Frame]:
        filled = placed.filled + count
        if count < 0 or filled > len(placed.place):
            raise ValueError(f"{count} bytes cannot have been put into {len(placed.place) - placed.filled}")
        placed.filled = filled
        if filled < len(placed.place):
            return []
        self._large = None
        return [Frame(placed.header, placed.routing, placed.extensions, placed.place)]

    def _fragment(self, header: Header, start: int, body: int, stop: int, end: int) -> Frame | None:
        """A fragment that begins at `start`, given out when it is whole; None while it is not, or has no place."""
        extensions = bytes(self._view[body - header.extensions_length : body])
        # One that is compressed has no place, and its length does not say whether it is the last of its signal.
        whole = not header.flags & COMPRESSED
        self._more = whole and _more_follows(header, extensions)
        place = None
        if self._place is not None and whole:
            place = self._place(header, extensions)
        if place is None:
            return None
        routing = bytes(self._view[start + HEADER_SIZE : start + HEADER_SIZE + header.routing_length])
        present = min(stop, end) - body
        place[:present] = self._view[body : body + present]
        if stop > end:
            self._large = _Placed(header, routing, extensions, place, present)
            return None
        return Frame(header, routing, extensions, place)

    def _cut(self) -> list[Frame]:
        # hot path: one body and local names; 1 to 1.5 µs for a small frame, half of it the two tuples and the copies.
        frames: list[Frame] = []
        view, limit, start, end = self._view, self._limit, self._start, self._end
        while end - start >= HEADER_SIZE:
            header = Header._make(HEADER.unpack_from(view, start))
            kind, flags, _, _, routing_length, extensions_length, body_length, _ = header
            extensions = start + HEADER_SIZE + routing_length
            body = extensions + extensions_length
            stop = body + body_length
            # A stranger has no business with kinds of later versions, and could send them without end.
            optional = flags & OPTIONAL and limit > HANDSHAKE_LIMIT
            if stop - start > limit or (kind not in KINDS and not optional):
                if not frames:
                    self._break(header, stop - start)
                break
            if kind not in KINDS:
                self._skip = max(stop - end, 0)
                start = min(stop, end)
                continue
            if flags & FRAGMENT and kind == DATA and body <= end:
                fragment = self._fragment(header, start, body, stop, end)
                if fragment is not None:
                    frames.append(fragment)
                    start = stop
                    continue
                if self._large is not None:
                    start = end
                    break
            if stop > end:
                if body_length > _SHARED_BODY and body <= end:
                    routing = bytes(view[start + HEADER_SIZE : extensions])
                    self._large = _Large(header, routing, bytes(view[extensions:body]), view[body:end])
                    start = end
                break
            frames.append(
                Frame(
                    header,
                    bytes(view[start + HEADER_SIZE : extensions]) if routing_length else b"",
                    bytes(view[extensions:body]) if extensions_length else b"",
                    bytes(view[body:stop]) if body_length else b"",
                )
            )
            start = stop
        if start == end:
            start = self._end = 0
        self._start = start
        return frames

    def _break(self, header: Header, size: int) -> None:
        if header.kind in TLS_KINDS and header.flags == TLS_MAJOR:
            self._broken = TLS_RECORD
        elif size > self._limit:
            self._broken = f"frame of kind {header.kind} claims {size} bytes, the limit is {self._limit}"
        else:
            self._broken = f"unknown frame kind {header.kind}"
        self._shared = bytearray()
        self._view = memoryview(self._shared)
        raise BrokenFrame(self._broken)


def _more_follows(header: Header, extensions: bytes) -> bool:
    try:
        fragment = fragment_of(extensions)
    except BrokenFrame:
        return False
    return fragment.offset + header.body_length < fragment.total
