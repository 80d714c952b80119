"""What is relayed: frames to a node that no connection leads to, and the messages by which the way there is found.

A RELAY frame has its number in the header, and the flag OPTIONAL. Its routing part, big-endian, stable for ever:

    hops u8 | ttl u8 | cost u32 | destination_length u8 | source_length u8 | destination | source

`hops` are the links that it has crossed, the one it arrives by included, and `ttl` those that it may still cross after
that. `cost` is that of all links before the one it arrives by, in microseconds: the receiver knows what that one costs.
`number` is one that its source gives: above all that it gave before. Extensions and body are not looked at by a relay
and pass untouched; so do the flags that it does not know.

A ROUTE frame's body is one message:

    kind u8 | ttl u8 | hops u8 | origin_length u8 | destination_length u8 | cost u32 | bound u32 | number u64
    | known u64 | origin | destination

- LOOK_UP: `origin` asks for a way to `destination`; `hops`, `ttl`, `cost` as above, `number` is the origin's. What it
  knows of the destination is of no use any more: `known`, the number, and `bound`, the cost. With a `bound`
  of 0 and a `known` above that the way was found to lead nowhere: who passes the message on doubts its own ways to both
  ends, so that the newest take their place. With `known` = DOUBTED the destination alone answers.
- ANSWER, to the origin: the sender's way to `destination` has so many `hops`, with the link to the receiver, and that
  `cost`, without; it was learned by the destination's number `known`. `number` is that of the look-up.
- NO_ROUTE, to the origin: a frame from it to `destination` found no way on; `known` is as in a look-up.
- ANNOUNCE: the way back to `origin`, for everybody; the destination is the same.

Names are utf-8, 1 to 255 bytes. A receiver ignores kinds of messages that it does not know: the layout is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error
from typing import NamedTuple, TypeAlias

from partisan_actors.wire.frames import OPTIONAL, RELAY, ROUTE, BrokenFrame, Frame, encode_frame

__all__ = [
    "ANNOUNCE",
    "ANSWER",
    "DOUBTED",
    "LOOK_UP",
    "MOST_COST",
    "MOST_HOPS",
    "NO_ROUTE",
    "RELAYS_FEATURE",
    "Buffer",
    "Relay",
    "RouteMessage",
    "decode_relay",
    "decode_route",
    "encode_relay",
    "encode_route",
    "first_number",
    "names_of",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

RELAYS_FEATURE = 1 << 2
"""Bit of a hello: the node takes RELAY and ROUTE frames, and passes them on."""

LOOK_UP = 1
ANSWER = 2
NO_ROUTE = 3
ANNOUNCE = 4

DOUBTED = (1 << 64) - 1
"""What is `known` of a destination where no word but its own will do."""

MOST_HOPS = 255
"""That fit in their field."""

MOST_COST = (1 << 32) - 1
"""That fits, too: an hour."""

_ROUTING = Struct(">BBIBB")
_LENGTHS_AT = 6  # where the part of the routing begins that no relay changes
_MESSAGE = Struct(">BBBBBIIQQ")


class Relay(NamedTuple):
    """A RELAY frame."""

    destination: str
    source: str
    number: int
    hops: int
    ttl: int
    cost: int
    names: bytes
    """The end of the routing part, as `names_of` makes it."""
    body: Sequence[Buffer]
    """In parts."""
    extensions: bytes = b""
    flags: int = OPTIONAL


class RouteMessage(NamedTuple):
    """A message between those that find ways; see the module."""

    kind: int
    origin: str
    destination: str
    number: int
    hops: int
    ttl: int
    cost: int
    known: int = 0
    bound: int = 0


def first_number(epoch: int) -> int:
    """Where the numbers of a life begin: its epoch is in milliseconds, and it gives fewer than 65,536 in each."""
    return epoch << 16


def names_of(destination: str, source: str) -> bytes:
    """The end of a routing part: both names. Raises ValueError for one that is empty or too long."""
    to, by = destination.encode(), source.encode()
    if not 0 < len(to) < 256 or not 0 < len(by) < 256:
        raise ValueError(f"names are of 1 to 255 bytes of utf-8: {destination!r:.300}, {source!r:.300}")
    return bytes((len(to), len(by))) + to + by


def encode_relay(relay: Relay) -> list[Buffer]:
    """The buffers to write. Parts of the body of 16 KiB and more are not copied, and must not change."""
    # hot path: once per frame that passes; 1 us with `encode_frame`, and the copy of a small body.
    head = relay.hops << 40 | relay.ttl << 32 | relay.cost
    routing = head.to_bytes(_LENGTHS_AT, "big") + relay.names
    return encode_frame(
        RELAY,
        flags=relay.flags,
        number=relay.number,
        routing=routing,
        extensions=relay.extensions,
        body_buffers=relay.body,
    )


def decode_relay(frame: Frame) -> Relay:
    """Read a RELAY frame. Raises BrokenFrame."""
    # hot path: once per frame that passes; 1 us.
    header, routing, extensions, body = frame
    if len(routing) <= _ROUTING.size:
        raise BrokenFrame(f"a relay with a routing part of {len(routing)} bytes")
    hops, ttl, cost, to, by = _ROUTING.unpack_from(routing)
    middle = _ROUTING.size + to
    if len(routing) != middle + by or not (hops and to and by):
        raise BrokenFrame("a relay whose routing part is not what it says")
    try:
        destination, source = str(routing[_ROUTING.size : middle], "utf-8"), str(routing[middle:], "utf-8")
    except UnicodeDecodeError:
        raise BrokenFrame("a relay with a name that is no utf-8") from None
    return Relay(
        destination,
        source,
        header.number,
        hops,
        ttl,
        cost,
        routing[_LENGTHS_AT:],
        (body,),
        extensions,
        header.flags | OPTIONAL,
    )


def encode_route(message: RouteMessage) -> list[Buffer]:
    """The buffers to write. Raises ValueError for a field that does not fit its place."""
    names = names_of(message.origin, message.destination)
    try:
        fixed = _MESSAGE.pack(
            message.kind,
            message.ttl,
            message.hops,
            names[0],
            names[1],
            message.cost,
            message.bound,
            message.number,
            message.known,
        )
    except error as problem:
        raise ValueError(f"the fields of {message} do not fit: {problem}") from None
    return encode_frame(ROUTE, flags=OPTIONAL, body_buffers=(fixed, names[2:]))


def decode_route(frame: Frame) -> RouteMessage:
    """Read a ROUTE frame. Raises BrokenFrame."""
    body = frame.body
    if len(body) <= _MESSAGE.size:
        raise BrokenFrame(f"a route message of {len(body)} bytes")
    kind, ttl, hops, of, to, cost, bound, number, known = _MESSAGE.unpack_from(body)
    middle = _MESSAGE.size + of
    if len(body) != middle + to or not (hops and of and to):
        raise BrokenFrame("a route message that is not what it says")
    try:
        origin, destination = str(body[_MESSAGE.size : middle], "utf-8"), str(body[middle:], "utf-8")
    except UnicodeDecodeError:
        raise BrokenFrame("a route message with a name that is no utf-8") from None
    return RouteMessage(kind, origin, destination, number, hops, ttl, cost, known, bound)
