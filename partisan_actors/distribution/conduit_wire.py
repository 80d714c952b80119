"""What the two ends of a conduit send each other: one segment in the body of each relayed frame. Pure.

The format, big-endian:

    kind u8 | conduit u64                                                          OPEN, OPENED, RESET
    kind u8 | conduit u64 | offset u64 | order u64 | ack u64 | echo u64 | bytes    DATA; LAST: no more comes after it
    kind u8 | conduit u64 | ack u64 | echo u64 | (start u64, end u64) ...          ACK

`offset` is where the bytes stand in all that this end has sent; LAST takes up one more place, after its bytes.
`order` is a number that each transmission gets, a repeated one too; `echo` is that of the transmission that is
answered (RFC 7323 has a clock in its place). `ack` is cumulative, the ranges are what stands beyond it (RFC 2018).
Kinds that are not known here are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, TypeAlias

__all__ = [
    "ACK",
    "DATA",
    "LAST",
    "MOST_RANGES",
    "OPEN",
    "OPENED",
    "RESET",
    "Buffer",
    "Segment",
    "decode_segment",
    "encode_ack",
    "encode_control",
    "encode_data",
]

OPEN = 1
OPENED = 2
DATA = 3
LAST = 4
ACK = 5
RESET = 6

MOST_RANGES = 32
"""Ranges that one ACK bears."""

_CONTROL = Struct(">BQ")
_DATA = Struct(">BQQQQQ")
_ACK = Struct(">BQQQ")
_RANGE = Struct(">QQ")

Buffer: TypeAlias = bytes | memoryview
_NO_BYTES = memoryview(b"")


class Segment(NamedTuple):
    """One of them, read."""

    kind: int
    conduit: int
    offset: int = 0
    order: int = 0
    ack: int = 0
    echo: int = 0
    data: memoryview = _NO_BYTES
    ranges: tuple[tuple[int, int], ...] = ()


def encode_control(kind: int, conduit: int) -> bytes:
    """OPEN, OPENED or RESET."""
    return _CONTROL.pack(kind, conduit)


def encode_data(kind: int, conduit: int, offset: int, order: int, ack: int, echo: int) -> bytes:
    """What stands before the bytes of DATA or LAST."""
    return _DATA.pack(kind, conduit, offset, order, ack, echo)


def encode_ack(conduit: int, ack: int, echo: int, ranges: Sequence[tuple[int, int]]) -> bytes:
    """An ACK; of the ranges the first `MOST_RANGES` are told."""
    return _ACK.pack(ACK, conduit, ack, echo) + b"".join(_RANGE.pack(*span) for span in ranges[:MOST_RANGES])


def decode_segment(body: Buffer) -> Segment | None:
    """Read a segment; None for what is none."""
    # hot path: once per frame that arrives.
    size = len(body)
    kind = body[0] if size else 0
    if kind in (DATA, LAST):
        if size < _DATA.size or (size == _DATA.size and kind == DATA):
            return None
        _, conduit, offset, order, ack, echo = _DATA.unpack_from(body)
        return Segment(kind, conduit, offset, order, ack, echo, memoryview(body)[_DATA.size :])
    if kind == ACK:
        if size < _ACK.size or (size - _ACK.size) % _RANGE.size or size > _ACK.size + MOST_RANGES * _RANGE.size:
            return None
        _, conduit, ack, echo = _ACK.unpack_from(body)
        ranges = tuple(_RANGE.iter_unpack(memoryview(body)[_ACK.size :]))
        return Segment(kind, conduit, ack=ack, echo=echo, ranges=ranges)
    if kind in (OPEN, OPENED, RESET) and size == _CONTROL.size:
        return Segment(kind, _CONTROL.unpack(body)[1])
    return None
