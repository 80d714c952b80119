"""Frames: what goes over one connection. How they are put together; `frame_reader` cuts them out of bytes.

The format, big-endian, stable for ever:

    kind u8 | flags u8 | channel u16 | stream u16 | routing_length u16 | extensions_length u16
    | body_length u32 | number u64 | routing | extensions | body

- DATA is numbered on its stream; its body is one joined write, a run of signals. All other kinds are unnumbered.
- ACK: `number` is the cumulative number received on that channel and stream. HEARTBEAT: 8 bytes that
  HEARTBEAT_REPLY echoes. CLOSE: the reason, utf-8, at most 1 KiB. OPEN_STREAM, optional: whoever can dial is to
  make a connection for that channel and stream. HELLO, PROOF and REFUSAL: see `wire.handshake`.
- UNLINK, optional, without a body: the session is to go on without this connection; with the body UNLINKED: the answer,
  and the last frame on it.
- IDLE, optional, without a body: nobody needs the session at this end, which sends nothing on it until it is answered;
  CLOSE is the one answer, and IDLE with the body NEEDED the other.
- RELAY and ROUTE, optional: what goes to nodes that no connection leads to, and how the way there is found; see
  `wire.relays`. `number` is the source's of that RELAY.
- The flag FRAGMENT, of DATA: the body is a piece of a signal that is too large for a joined write. Extension type 3
  says of which, a number that the sender gives, where the piece belongs, and how long the signal is: three u32.
- The flag COMPRESSED, of DATA: the body is a zstd frame that says what it expands to.
- The flag OPTIONAL is how a later version adds a kind: a receiver that does not know the kind skips the frame.
  An unknown kind without it is a broken envelope. Flags that a receiver does not know are ignored.
- Extensions are entries of (type u8, length u16, bytes). A receiver ignores the types that it does not know, and
  a relay passes them on untouched. Type 1, ACK_EXTENSION, is a u64: an ACK for the frame's channel and stream.
  Type 2, LAST_FRAMES, of a CLOSE: entries of (channel u16, stream u16, number u64), the last frame of each stream
  that may still be on its way over another connection.

Not known here: sockets, sessions, and what routing and bodies mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = [
    "ACK",
    "ACK_EXTENSION",
    "CLOSE",
    "COMPRESSED",
    "DATA",
    "FRAGMENT",
    "HANDSHAKE_LIMIT",
    "HEADER",
    "HEADER_SIZE",
    "HEARTBEAT",
    "HEARTBEAT_REPLY",
    "HELLO",
    "IDLE",
    "KINDS",
    "LAST_FRAMES",
    "MAX_BODY",
    "MAX_FRAME",
    "NEEDED",
    "OPEN_STREAM",
    "OPTIONAL",
    "PROOF",
    "REFUSAL",
    "RELAY",
    "ROUTE",
    "TLS_KINDS",
    "TLS_MAJOR",
    "TLS_RECORD",
    "UNLINK",
    "UNLINKED",
    "BrokenFrame",
    "Fragment",
    "Frame",
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
RELAY = 7
ROUTE = 8
UNLINK = 9
IDLE = 10
HELLO = 16
PROOF = 17
REFUSAL = 18
KINDS = frozenset({*range(DATA, IDLE + 1), HELLO, PROOF, REFUSAL})

UNLINKED = b"\x01"
NEEDED = b"\x01"

OPTIONAL = 0x01
FRAGMENT = 0x02
COMPRESSED = 0x04

TLS_RECORD = "a TLS record where a frame was expected: the other side uses TLS, and this one does not"
"""The reason of a BrokenFrame that is no accident and no scanner, but a node that was set up otherwise."""
TLS_KINDS = frozenset({21, 22})  # alert and handshake, as what should be a frame's kind; never kinds of ours
TLS_MAJOR = 3  # and the version, as its flags

ACK_EXTENSION = 1
LAST_FRAMES = 2
FRAGMENT_EXTENSION = 3

HEADER = struct.Struct(">BBHHHHIQ")
_EXTENSION = struct.Struct(">BH")
_ACK = struct.Struct(">BHQ")
_FRAGMENT = struct.Struct(">BHIII")
_PIECE = struct.Struct(">III")

HEADER_SIZE = HEADER.size
# Both are of whole frames, header included: for a peer that has not proved itself, and for one that has.
HANDSHAKE_LIMIT = 4096
MAX_FRAME = 64 << 20
# A body that fits into MAX_FRAME whatever routing and extensions come to stand before it.
MAX_BODY = MAX_FRAME - HEADER_SIZE - 2 * 0xFFFF

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
        header = HEADER.pack(kind, flags, channel, stream, len(routing), len(extensions), sum(lengths), number)
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
    # hot path: what nearly every fragment has, behind an acknowledgement or not; 0.5 us in place of 3.
    size = len(extensions)
    if size == _FRAGMENT.size or (size == _ACK.size + _FRAGMENT.size and extensions[0] == ACK_EXTENSION):
        kind, length, message, offset, total = _FRAGMENT.unpack_from(extensions, size - _FRAGMENT.size)
        if kind == FRAGMENT_EXTENSION and length == _PIECE.size:
            return Fragment(message, offset, total)
    for kind, data in iterate_extensions(extensions):
        if kind == FRAGMENT_EXTENSION and len(data) == _PIECE.size:
            return Fragment(*_PIECE.unpack(data))
    raise BrokenFrame("a fragment that does not say of what")
