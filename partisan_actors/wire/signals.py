"""Signals: what processes of two nodes tell each other, as the body of a DATA frame.

A body is a run of signals, each a fixed header, typed extensions and a payload:

    kind u8, flags u8, extensions u16 (bytes), payload u32 (bytes), to u64, sender u64, ref u64

`to` is the serial of a process on the receiving node's life, `sender` one on the sending
node's, `ref` a number given by the node that made the request, monitor or message. A session
is between two lives, so serials suffice. Extensions are type u8, length u16, bytes; unknown
types are passed over. The payload is a term (codec.py), empty where the kind has none.

A message with the extension ACKNOWLEDGED is one of an outbox that outlives sessions; the
answer is ACKNOWLEDGE, whose payload has a layout of its own instead of a term, and whose `ref` is
`since`, which was 0 in earlier versions and is not looked at by them:

    identity u64, up_to u64, uncertain u64, then for each outcome: number u64, code u8

A kind that the receiver does not know is skipped if `OPTIONAL` is set in its flags; else the
envelope is broken. Numbers here are fixed for ever; new kinds get new numbers.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from partisan_actors.wire.frames import BrokenFrame

__all__ = [
    "ACKNOWLEDGE",
    "ACKNOWLEDGE_FEATURE",
    "BROADCAST",
    "BROADCAST_CONTROL",
    "CALL",
    "CALL_FAILED",
    "CAST",
    "CAUSAL",
    "DEMONITOR",
    "DOWN",
    "EXIT",
    "FLOW",
    "FULL",
    "LARGE",
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
    "Acknowledged",
    "Acknowledgement",
    "Outcome",
    "Signal",
    "decode_acknowledgement",
    "encode_acknowledgement",
    "encode_plain",
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

ACKNOWLEDGE = 35
"""What became of messages with the extension ACKNOWLEDGED; always OPTIONAL."""

FULL = 36
"""The mailbox of `to`, or NAME, is at its limit: its senders are to wait; always OPTIONAL."""

ROOM = 37
"""It has room again, or is no more; always OPTIONAL."""

CAUSAL = 38
"""A message of a causal label, or what its machines tell each other; `to` or NAME, and ACKNOWLEDGED.

The payload: the length of a stamp u32, the stamp (msgpack: label, and what `causal_stamps` has), and the message.
"""

BROADCAST = 40
"""A broadcast with its payload, which `cluster.broadcasting` reads; always OPTIONAL."""

BROADCAST_CONTROL = 41
"""What the broadcasts of two nodes tell each other besides; always OPTIONAL."""

KNOWN = frozenset(
    {
        *range(SEND, SPAWN + 1),
        *(MEMBERSHIP, NAMES, OVERLAY, ACKNOWLEDGE, FULL, ROOM, CAUSAL),
        *(BROADCAST, BROADCAST_CONTROL),
    }
)

ACKNOWLEDGE_FEATURE = 1 << 1
"""Bit of a hello: the node knows ACKNOWLEDGED. One that does not would pass over it, and deliver every resend."""

OPTIONAL = 0x01
"""Flag: a receiver that does not know the kind passes over the signal."""

NAME = 1
"""Extension: the registered name of the receiver, UTF-8."""
ACKNOWLEDGED = 2
"""Extension: see `Acknowledged`; what follows its fields is a later version's."""
FLOW = 3
"""Extension: the flow of a request, u32, where that is not of its pair of processes: its answer is of the same."""

_HEADER = Struct(">BBHIQQQ")
_EXTENSION = Struct(">BH")
_FLOW = Struct(">BHI")
_ACKNOWLEDGED = Struct(">BHQQQIB")
_ACKNOWLEDGED_FIELDS = Struct(">QQQIB")
_ACKNOWLEDGEMENT = Struct(">QQQ")
_OUTCOME = Struct(">QB")
_REPEATED = 0x01
_MAX_MILLISECONDS = (1 << 32) - 1
LARGE = 16 * 1024
"""Bytes of a payload that stays its own buffer."""


class Acknowledged(NamedTuple):
    """What a message of an outbox says of itself.

    On the wire: identity u64, number u64, lowest u64, remaining u32 in milliseconds, flags u8 (1: repeated).
    """

    identity: int  # of the outbox
    number: int  # of the message, from 1 for each destination node
    lowest: int  # the lowest number of that outbox and destination that is still open
    remaining: float  # seconds until the outbox gives the message up
    repeated: bool  # it may have been sent before


class Signal(NamedTuple):
    """One signal as received."""

    kind: int
    to: int
    sender: int
    ref: int
    name: str | None
    payload: memoryview | bytes
    acknowledged: Acknowledged | None = None
    flow: int | None = None


def encode_signal(
    kind: int,
    to: int = 0,
    sender: int = 0,
    ref: int = 0,
    payload: bytes | tuple[bytes, bytes] = b"",
    name: str | None = None,
    flags: int = 0,
    acknowledged: Acknowledged | None = None,
    flow: int | None = None,
) -> bytes | tuple[bytes, bytes]:
    """The bytes of a signal; a large payload stays its own buffer, uncopied.

    Args:
        payload: in two buffers where the second is large (see `Codec.encode_buffers`).

    Raises:
        ValueError: the name is longer than 65,000 bytes.
    """
    extensions = b""
    if name is not None:
        encoded = name.encode("utf-8", "surrogatepass")
        if len(encoded) > 65_000:
            raise ValueError(f"a registered name of {len(encoded)} bytes is too long to send")
        extensions = _EXTENSION.pack(NAME, len(encoded)) + encoded
    if acknowledged is not None:
        extensions += _encode_acknowledged(acknowledged)
    if flow is not None:
        extensions += _FLOW.pack(FLOW, 4, flow)
    if isinstance(payload, tuple):
        head, large = payload
        length = len(head) + len(large)
        return _HEADER.pack(kind, flags, len(extensions), length, to, sender, ref) + extensions + head, large
    header = _HEADER.pack(kind, flags, len(extensions), len(payload), to, sender, ref)
    if len(payload) >= LARGE:
        return header + extensions, payload
    return header + extensions + payload


def encode_plain(kind: int, to: int, sender: int, payload: bytes) -> bytes:
    """The bytes of a signal as most are: to a process by its serial, unanswered, with a payload that is not large."""
    # hot path: 0.25 us in place of 0.45.
    return _HEADER.pack(kind, 0, 0, len(payload), to, sender, 0) + payload


def signals_of(body: memoryview | bytes) -> Iterator[Signal]:
    """The signals in a frame's body, in order.

    Raises:
        BrokenFrame: lengths that do not fit, or a kind that is unknown and not optional.
    """
    # hot path: up to 500,000 a second; the common signal has no extensions. `new` in place of Signal(...) pays for
    # the seventh field (0.1 us less).
    unpack, new = _HEADER.unpack_from, tuple.__new__
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
        name = acknowledged = flow = None
        if extensions:
            name, acknowledged, flow = _extensions_of(bytes(body[start : start + extensions]))
            start += extensions
        if kind not in KNOWN:
            if flags & OPTIONAL:
                continue
            raise BrokenFrame(f"unknown signal kind {kind}")
        yield new(Signal, (kind, to, sender, ref, name, body[start:at], acknowledged, flow))


def _encode_acknowledged(acknowledged: Acknowledged) -> bytes:
    identity, number, lowest, remaining, repeated = acknowledged
    milliseconds = min(max(round(remaining * 1000), 0), _MAX_MILLISECONDS)
    flags = _REPEATED if repeated else 0
    return _ACKNOWLEDGED.pack(ACKNOWLEDGED, _ACKNOWLEDGED_FIELDS.size, identity, number, lowest, milliseconds, flags)


def _decode_acknowledged(value: bytes) -> Acknowledged:
    if len(value) < _ACKNOWLEDGED_FIELDS.size:
        raise BrokenFrame(f"{len(value)} bytes about acknowledged delivery are too few")
    identity, number, lowest, milliseconds, flags = _ACKNOWLEDGED_FIELDS.unpack_from(value)
    if not 1 <= lowest <= number:
        raise BrokenFrame(f"message {number} of an outbox, whose lowest open one is {lowest}")
    return Acknowledged(identity, number, lowest, milliseconds / 1000, bool(flags & _REPEATED))


def _extensions_of(extensions: bytes) -> tuple[str | None, Acknowledged | None, int | None]:
    at = 0
    name = acknowledged = flow = None
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
        elif kind == ACKNOWLEDGED:
            acknowledged = _decode_acknowledged(value)
        elif kind == FLOW:
            if length != 4:
                raise BrokenFrame(f"a flow of {length} bytes")
            flow = int.from_bytes(value, "big")
    return name, acknowledged, flow


class Outcome(enum.IntEnum):
    """What became of one message of an outbox. Later versions may add some; a receiver takes them for refusals."""

    TAKEN = 0
    EXPIRED = 1  # sent before, perhaps, and the receiver has forgotten whether it had it
    NO_PROCESS = 2  # nobody was there to get it
    UNDECODABLE = 3
    DROPPED = 4  # by a hook of the receiving node


class Acknowledgement(NamedTuple):
    """What an ACKNOWLEDGE says."""

    identity: int  # of the outbox that is answered
    up_to: int  # everything up to this number is settled, and was taken if none of the others says otherwise
    uncertain: int  # of what earlier sessions brought, nobody knows any more what became of it, up to this number
    outcomes: Sequence[tuple[int, int]]  # numbers and what became of them
    since: int = 0  # of what is up to this number, earlier answers told: silence here says nothing about it


def encode_acknowledgement(acknowledgement: Acknowledgement) -> bytes | tuple[bytes, bytes]:
    """The bytes of an ACKNOWLEDGE."""
    identity, up_to, uncertain, outcomes, since = acknowledgement
    head = _ACKNOWLEDGEMENT.pack(identity, up_to, uncertain)
    payload = head + b"".join(_OUTCOME.pack(*outcome) for outcome in outcomes)
    return encode_signal(ACKNOWLEDGE, ref=since, payload=payload, flags=OPTIONAL)


def decode_acknowledgement(signal: Signal) -> Acknowledgement:
    """What an ACKNOWLEDGE says. Raises BrokenFrame."""
    payload = signal.payload
    if len(payload) < _ACKNOWLEDGEMENT.size or (len(payload) - _ACKNOWLEDGEMENT.size) % _OUTCOME.size:
        raise BrokenFrame(f"an acknowledgement of {len(payload)} bytes")
    identity, up_to, uncertain = _ACKNOWLEDGEMENT.unpack_from(payload)
    outcomes = tuple(_OUTCOME.iter_unpack(payload[_ACKNOWLEDGEMENT.size :]))
    return Acknowledgement(identity, up_to, uncertain, outcomes, signal.ref)
