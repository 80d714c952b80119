"""Frames: what goes over one connection, cut out of the bytes that arrive and put together for those that leave.

The format, big-endian, stable for ever:

    kind u8 | flags u8 | channel u16 | stream u16 | routing_length u16 | extensions_length u16
    | body_length u32 | number u64 | routing | extensions | body

- DATA is numbered on its stream; its body is one joined write, a run of signals. All other kinds are unnumbered.
- ACK: `number` is the cumulative number received on that channel and stream. HEARTBEAT: 8 bytes that
  HEARTBEAT_REPLY echoes. CLOSE: the reason, utf-8, at most 1 KiB. OPEN_STREAM, optional: whoever can dial is to
  make a connection for that channel and stream. HELLO, PROOF and REFUSAL: see `wire.handshake`.
- The flag FRAGMENT, of DATA: the body is a piece of a signal that is too large for a joined write. Extension type 3
  says of which, a number that the sender gives, where the piece belongs, and how long the signal is: three u32.
- The flag COMPRESSED, of DATA: the body is a zstd frame that says what it expands to.
- The flag OPTIONAL is how a later version adds a kind: a receiver that does not know the kind skips the frame.
  An unknown kind without it is a broken envelope. Flags that a receiver does not know are ignored.
- Extensions are entries of (type u8, length u16, bytes). A receiver ignores the types that it does not know, and
  a relay passes them on untouched. Type 1, ACK_EXTENSION, is a u64: an ACK for the frame's channel and stream.
  Type 2, LAST_FRAMES, of a CLOSE: entries of (channel u16, stream u16, number u64), the last frame of each stream
  that may still be on its way over another connection.

Promised: a frame is the same however the bytes of it were cut on the way; frames that came whole before a broken
one are given out before the break is raised; a broken reader stays broken; frames given out are never written to
again; no memory is given to a frame before its header was found to be within the limit, and then at most 2 MiB or
four times what has arrived, so that a header alone, whatever it claims, costs little.

Not known here: sockets, sessions, and what routing and bodies mean.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

__all__ = [
    "ACK",
    "ACK_EXTENSION",
    "CLOSE",
    "COMPRESSED",
    "DATA",
    "FRAGMENT",
    "HANDSHAKE_LIMIT",
    "HEADER_SIZE",
    "HEARTBEAT",
    "HEARTBEAT_REPLY",
    "HELLO",
    "KINDS",
    "LAST_FRAMES",
    "MAX_BODY",
    "MAX_FRAME",
    "OPEN_STREAM",
    "OPTIONAL",
    "PROOF",
    "REFUSAL",
    "TLS_RECORD",
    "BrokenFrame",
    "Fragment",
    "Frame",
    "FrameReader",
    "Header",
    "acknowledged",
    "encode_ack",
    "encode_extension",
    "encode_fragment",
    "encode_frame",
    "fragment_of",
    "iterate_extensions",
]

DATA = 1
ACK = 2
HEARTBEAT = 3
HEARTBEAT_REPLY = 4
CLOSE = 5
OPEN_STREAM = 6
HELLO = 16
PROOF = 17
REFUSAL = 18
KINDS = frozenset({DATA, ACK, HEARTBEAT, HEARTBEAT_REPLY, CLOSE, OPEN_STREAM, HELLO, PROOF, REFUSAL})

OPTIONAL = 0x01
FRAGMENT = 0x02
COMPRESSED = 0x04

TLS_RECORD = "a TLS record where a frame was expected: the other side uses TLS, and this one does not"
"""The reason of a BrokenFrame that is no accident and no scanner, but a node that was set up otherwise."""
_TLS_KINDS = frozenset({21, 22})  # alert and handshake, as what should be a frame's kind; never kinds of ours
_TLS_MAJOR = 3  # and the version, as its flags

ACK_EXTENSION = 1
LAST_FRAMES = 2
FRAGMENT_EXTENSION = 3

_HEADER = struct.Struct(">BBHHHHIQ")
_EXTENSION = struct.Struct(">BH")
_ACK = struct.Struct(">BHQ")
_FRAGMENT = struct.Struct(">BHIII")
_PIECE = struct.Struct(">III")

HEADER_SIZE = _HEADER.size
# Both are of whole frames, header included: for a peer that has not proved itself, and for one that has.
HANDSHAKE_LIMIT = 4096
MAX_FRAME = 64 << 20
# A body that fits into MAX_FRAME whatever routing and extensions come to stand before it.
MAX_BODY = MAX_FRAME - HEADER_SIZE - 2 * 0xFFFF

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

# A part below this size is copied into its neighbours: one more buffer of a gathered write costs more than the copy.
_JOINED_PART = 16 << 10


class BrokenFrame(Exception):
    """Bytes that are no frame, or one over the limit. Nothing after them on that connection can be trusted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Header(NamedTuple):
    """The fixed part of a frame."""

    kind: int
    flags: int
    channel: int
    stream: int
    routing_length: int
    extensions_length: int
    body_length: int
    number: int


class Frame(NamedTuple):
    """A whole frame. A body above 64 KiB may be a read-only view of a buffer that belongs to it alone."""

    header: Header
    routing: bytes
    extensions: bytes
    body: bytes | memoryview


def encode_frame(
    kind: int,
    *,
    flags: int = 0,
    channel: int = 0,
    stream: int = 0,
    number: int = 0,
    routing: bytes = b"",
    extensions: bytes = b"",
    body_buffers: Sequence[bytes | bytearray | memoryview] = (),
) -> list[bytes | bytearray | memoryview]:
    """Put a frame together.

    Args:
        body_buffers: the body, in parts (a memoryview must be one of bytes). Parts of 16 KiB and more are not
            copied: they stay the caller's and must not change until they were written.

    Returns: the buffers to write, in order; a single one where no part is large.
    Raises: ValueError for a field that does not fit its place in the header.
    """
    lengths = list(map(len, body_buffers))
    try:
        header = _HEADER.pack(kind, flags, channel, stream, len(routing), len(extensions), sum(lengths), number)
    except struct.error as error:
        raise ValueError(f"the fields of a frame of kind {kind} do not fit its header: {error}") from None
    if max(lengths, default=0) < _JOINED_PART:
        return [b"".join((header, routing, extensions, *body_buffers))]
    buffers: list[bytes | bytearray | memoryview] = []
    small: list[bytes | bytearray | memoryview] = [header, routing, extensions]
    for part in body_buffers:
        if len(part) < _JOINED_PART:
            small.append(part)
            continue
        if small:
            buffers.append(b"".join(small))
            small = []
        buffers.append(part)
    if small:
        buffers.append(b"".join(small))
    return buffers


def encode_extension(kind: int, data: bytes) -> bytes:
    """One entry of an extension area: its type (0 to 255) and at most 65,535 bytes. Raises ValueError beyond that."""
    try:
        return _EXTENSION.pack(kind, len(data)) + data
    except struct.error as error:
        raise ValueError(f"extension {kind} of {len(data)} bytes cannot be written: {error}") from None


def encode_ack(number: int) -> bytes:
    """The extension that acknowledges everything up to `number` on the frame's channel and stream."""
    return _ACK.pack(ACK_EXTENSION, 8, number)


def iterate_extensions(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Every (type, bytes) of an extension area, unknown types too. Raises BrokenFrame where an entry is cut short."""
    position = 0
    while position < len(area):
        if len(area) - position < _EXTENSION.size:
            raise BrokenFrame("extension cut short in its header")
        kind, length = _EXTENSION.unpack_from(area, position)
        position += _EXTENSION.size
        if len(area) - position < length:
            raise BrokenFrame(f"extension {kind} claims {length} bytes of {len(area) - position}")
        yield kind, area[position : position + length]
        position += length


def acknowledged(extensions: bytes) -> int | None:
    """The cumulative number that a frame acknowledges beside its own business, if it does.

    Raises: BrokenFrame for an area that is cut short or an ACK_EXTENSION that is no u64.
    """
    # Most frames of a busy stream carry this one extension and no other.
    if len(extensions) == _ACK.size:
        kind, length, number = _ACK.unpack(extensions)
        if kind == ACK_EXTENSION and length == 8:
            return int(number)
    for kind, data in iterate_extensions(extensions):
        if kind == ACK_EXTENSION:
            if len(data) != 8:
                raise BrokenFrame(f"acknowledgement of {len(data)} bytes")
            return int.from_bytes(data, "big")
    return None


class Fragment(NamedTuple):
    """Which piece of which signal a frame has."""

    message: int
    offset: int
    total: int


def encode_fragment(message: int, offset: int, total: int) -> bytes:
    """The extension of a frame whose body is a piece of a signal."""
    return _FRAGMENT.pack(FRAGMENT_EXTENSION, _PIECE.size, message, offset, total)


def fragment_of(extensions: bytes) -> Fragment:
    """What the FRAGMENT_EXTENSION says. Raises BrokenFrame where there is none, or it is cut short."""
    for kind, data in iterate_extensions(extensions):
        if kind == FRAGMENT_EXTENSION and len(data) == _PIECE.size:
            return Fragment(*_PIECE.unpack(data))
    raise BrokenFrame("a fragment that does not say of what")


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

    __slots__ = ("_broken", "_end", "_large", "_limit", "_more", "_place", "_shared", "_skip", "_start", "_view")

    def __init__(self, limit: int = HANDSHAKE_LIMIT) -> None:
        self._broken: str | None = None
        self._large: _Large | _Placed | None = None
        self._place: Callable[[Header, bytes], memoryview | None] | None = None
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

        The shared buffer grows with it up to 256 KiB: a stranger is not worth more memory than its limit.
        """
        if limit < HEADER_SIZE:
            raise ValueError(f"a limit of {limit} bytes leaves no room for a frame's header of {HEADER_SIZE}")
        self._limit = limit
        size = min(limit, _READ_SIZE)
        if size <= len(self._shared) or self._broken is not None:
            return
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
        if self._more:
            return self._view[self._end : self._end + self._rest() + _AHEAD]
        return self._view[self._end :]

    def _rest(self) -> int:
        """How much of the frame that has begun is still to come, as far as its header says."""
        start, waiting = self._start, self._end - self._start
        if waiting < HEADER_SIZE:
            return 0
        header = Header._make(_HEADER.unpack_from(self._view, start))
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
            header = Header._make(_HEADER.unpack_from(view, start))
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
        if header.kind in _TLS_KINDS and header.flags == _TLS_MAJOR:
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
