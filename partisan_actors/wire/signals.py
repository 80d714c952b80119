"""Signals: what processes of two nodes tell each other, as the body of a DATA frame.

A body is a run of signals, each a fixed header, typed extensions and a payload:

    kind u8, flags u8, extensions u16 (bytes), payload u32 (bytes), to u64, sender u64, ref u64

`to` is the serial of a process on the receiving node's life, `sender` one on the sending
node's, `ref` a number given by the node that made the request, monitor or message. A session
is between two lives, so serials suffice. Extensions are type u8, length u16, bytes; unknown
types are passed over. The payload is a term (codec.py), empty where the kind has none.

A kind that the receiver does not know is skipped if `OPTIONAL` is set in its flags; else the
envelope is broken. Numbers here are fixed for ever; new kinds get new numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from partisan_actors.wire.frames import BrokenFrame

__all__ = [
    "CALL",
    "CALL_FAILED",
    "CAST",
    "DEMONITOR",
    "DOWN",
    "EXIT",
    "FULL",
    "LINK",
    "LINK_EXIT",
    "MEMBERSHIP",
    "MONITOR",
    "NAME",
    "NAMES",
    "OPTIONAL",
    "OVERLAY",
    "REPLY",
    "ROOM",
    "SEND",
    "SPAWN",
    "SYSTEM_CALL",
    "UNLINK",
    "Signal",
    "encode_signal",
    "signals_of",
]

SEND = 1
"""A message; `to`, or the NAME extension."""
CAST = 2
"""A request without an answer; `to` or NAME."""
CALL = 3
"""A request; `to` or NAME, `sender` and `ref` to answer to."""
SYSTEM_CALL = 4
"""A request to the behaviour itself; as CALL."""
REPLY = 5
"""The answer to request `ref` of process `to`."""
CALL_FAILED = 6
"""Request `ref` of process `to` will not be answered; the payload says why."""
LINK = 7
"""Link `sender` and `to`; `ref` is the link's number."""
UNLINK = 8
"""Take links of `sender` and `to` down; the payload is a tuple of their numbers, those of the receiver below zero."""
LINK_EXIT = 9
"""The far end `sender` of a link to `to` has ended; the payload is its reason."""
EXIT = 10
"""An exit signal by `send_exit`."""
MONITOR = 11
"""Watch `to`, or NAME, and say DOWN with `ref`."""
DEMONITOR = 12
DOWN = 13
SPAWN = 14
"""Start something; the payload says what and how, answered as a CALL is."""
MEMBERSHIP = 32
"""Between the cluster views of two nodes."""
NAMES = 33
"""Between the global names of two nodes."""

OVERLAY = 34
"""Between the overlays of two nodes."""

FULL = 36
"""The mailbox of `to`, or NAME, is at its limit: its senders are to wait; always OPTIONAL."""

ROOM = 37
"""It has room again, or is no more; always OPTIONAL."""

KNOWN = frozenset({*range(SEND, SPAWN + 1), MEMBERSHIP, NAMES, OVERLAY, FULL, ROOM})

OPTIONAL = 0x01
"""Flag: a receiver that does not know the kind passes over the signal."""

NAME = 1
"""Extension: the registered name of the receiver, UTF-8."""

_HEADER = Struct(">BBHIQQQ")
_EXTENSION = Struct(">BH")
_LARGE = 16 * 1024


class Signal(NamedTuple):
    """One signal as received."""

    kind: int
    to: int
    sender: int
    ref: int
    name: str | None
    payload: memoryview | bytes


def encode_signal(
    kind: int, to: int = 0, sender: int = 0, ref: int = 0, payload: bytes = b"", name: str | None = None, flags: int = 0
) -> bytes | tuple[bytes, bytes]:
    """The bytes of a signal; a large payload stays its own buffer, uncopied.

    Raises:
        ValueError: the name is longer than 65,000 bytes.
    """
    extensions = b""
    if name is not None:
        encoded = name.encode("utf-8", "surrogatepass")
        if len(encoded) > 65_000:
            raise ValueError(f"a registered name of {len(encoded)} bytes is too long to send")
        extensions = _EXTENSION.pack(NAME, len(encoded)) + encoded
    header = _HEADER.pack(kind, flags, len(extensions), len(payload), to, sender, ref)
    if len(payload) >= _LARGE:
        return header + extensions, payload
    return header + extensions + payload


def signals_of(body: memoryview | bytes) -> Iterator[Signal]:
    """The signals in a frame's body, in order.

    Raises:
        BrokenFrame: lengths that do not fit, or a kind that is unknown and not optional.
    """
    # hot path: up to 500,000 a second; the common signal has no extensions.
    unpack = _HEADER.unpack_from
    size = _HEADER.size
    end = len(body)
    at = 0
    while at < end:
        if end - at < size:
            raise BrokenFrame(f"{end - at} bytes are too few for a signal's header")
        kind, flags, extensions, length, to, sender, ref = unpack(body, at)
        start = at + size
        at = start + extensions + length
        if at > end:
            raise BrokenFrame("a signal is longer than the frame that it is in")
        name = None
        if extensions:
            name = _name_in(bytes(body[start : start + extensions]))
            start += extensions
        if kind not in KNOWN:
            if flags & OPTIONAL:
                continue
            raise BrokenFrame(f"unknown signal kind {kind}")
        yield Signal(kind, to, sender, ref, name, body[start:at])


def _name_in(extensions: bytes) -> str | None:
    at = 0
    name = None
    while at < len(extensions):
        if len(extensions) - at < _EXTENSION.size:
            raise BrokenFrame("a signal's extensions are cut short")
        kind, length = _EXTENSION.unpack_from(extensions, at)
        at += _EXTENSION.size
        value = extensions[at : at + length]
        at += length
        if len(value) < length:
            raise BrokenFrame("a signal's extension is cut short")
        if kind == NAME:
            try:
                name = value.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise BrokenFrame("a signal's receiver has a name that is not UTF-8") from error
    return name
