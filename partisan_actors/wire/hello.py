"""What the two sides of a handshake say: the hello, the refusal, and their layouts.

Fixed layouts, big-endian, strings with a length u16 in front; no msgpack, as these are the only bytes of a stranger
that are ever looked into. They are stable for ever: versions are negotiated by what stands in them. Later versions
add to a hello by extensions (type u8, length u16, bytes) after its last field, and to a refusal after its text.

Promised: decoding raises nothing but BrokenFrame, makes no more memory than the body is long, and gives texts that
are safe to print. Not known here: what the fields are used for (`wire.handshake`, the distribution layer).
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import NamedTuple

from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import (
    HANDSHAKE_LIMIT,
    HEADER_SIZE,
    BrokenFrame,
    encode_extension,
    iterate_extensions,
)

__all__ = [
    "MAX_HANDSHAKE_BODY",
    "PROTOCOL",
    "Hello",
    "Purpose",
    "Refusal",
    "RefusalCode",
    "Standing",
    "encode_membership",
    "encode_round_trip",
    "encode_topology_version",
]

PROTOCOL = 1

# A handshake frame is at most HANDSHAKE_LIMIT with its header.
MAX_HANDSHAKE_BODY = HANDSHAKE_LIMIT - HEADER_SIZE

# A hello's extension: the microseconds that it took to connect, u32.
ROUND_TRIP = 1
# Another: the version of the topology that the node runs with, u64; without it 0.
TOPOLOGY_VERSION = 3
# Another: a `Standing`, as u8, u64, u64.
MEMBERSHIP = 4
_MEMBERSHIP = struct.Struct(">BQQ")

_NONCE_SIZE = 32
_MAX_REFUSAL_TEXT = 512
# Session numbers go up by one, so half of a u64 is for ever, and one more than the highest allowed still fits.
_MAX_SESSION = (1 << 63) - 1

# protocol_min, protocol_max, features, epoch, bits, nonce, tls, purpose,
# session, last_session, peer_bits, channel, stream, received
_HELLO = struct.Struct(">HHQQQ32sBBQQQHHQ")
_LENGTH = struct.Struct(">H")
_CHANNEL = struct.Struct(">HH")
_REFUSAL = struct.Struct(">BQH")


class Purpose(enum.IntEnum):
    """What the initiator of a connection is after."""

    JOIN = 1  # a newcomer's first contact
    LINK = 2  # a connection between members
    PROBE = 3  # a look whether somebody is there, which ends with the answer


class RefusalCode(enum.IntEnum):
    """Why a handshake was refused. Later versions may add codes."""

    COOKIE = 1
    VERSION = 2
    TOPOLOGY = 3
    NAME = 4
    BUSY = 5
    SIMULTANEOUS = 6
    TLS = 7
    MALFORMED = 8
    SELF = 9
    EXPIRED = 10
    FULL = 11
    PROBED = 12


_SENTENCES: dict[int, str] = {
    RefusalCode.COOKIE: "the cookie does not match",
    RefusalCode.VERSION: "there is no common protocol version",
    RefusalCode.TOPOLOGY: "the topologies differ",
    RefusalCode.NAME: "a node of that name is alive",
    RefusalCode.BUSY: "too many connections are in their handshake",
    RefusalCode.SIMULTANEOUS: "another connection between the two nodes is kept",
    RefusalCode.TLS: "one side uses TLS and the other does not, or a certificate is not that of the node that shows it",
    RefusalCode.MALFORMED: "the handshake was malformed",
    RefusalCode.SELF: "a node cannot connect to itself",
    RefusalCode.EXPIRED: "the handshake took too long",
    RefusalCode.FULL: "the node has as many sessions as it may",
    RefusalCode.PROBED: "it was only to be seen whether the node answers",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node will not talk: a code, a number that goes with it (for NAME the epoch known), a text for people.

    Layout: code u8, detail u64, length u16, text utf-8; what follows is a later version's and ignored.
    """

    code: int
    detail: int = 0
    text: str = ""

    def __str__(self) -> str:
        """The text, or where a stranger was told none, what the code stands for."""
        if self.text:
            return self.text
        return _SENTENCES.get(self.code, f"refusal code {self.code}")

    def encode(self) -> bytes:
        """The body of a REFUSAL frame, its text cut to 512 bytes."""
        text = self.text.encode("utf-8", "replace")[:_MAX_REFUSAL_TEXT]
        # The cut may go through a character; what is left of it must not make the frame malformed.
        text = text.decode("utf-8", "ignore").encode()
        return _REFUSAL.pack(self.code, self.detail, len(text)) + text

    @classmethod
    def decode(cls, body: bytes) -> Refusal:
        """Read the body of a REFUSAL frame. Raises BrokenFrame."""
        cursor = _Cursor(body)
        code, detail, length = _REFUSAL.unpack(cursor.take(_REFUSAL.size, "refusal"))
        if length > _MAX_REFUSAL_TEXT:
            raise BrokenFrame(f"refusal text of {length} bytes")
        text = cursor.take(length, "refusal text").decode("utf-8", "replace")
        # It goes to a log and to a terminal, and whoever sent it may be anybody.
        return cls(code, detail, "".join(character if character.isprintable() else "?" for character in text))


class Standing(NamedTuple):
    """Where a node stands in its cluster."""

    left: bool
    version: int  # of its own record
    digest: int  # of the members that it knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a node says of itself on a connection, checked when made (ValueError).

    Layout: `_HELLO`, then node and topology (length u16, utf-8), the number of channels u16 and each one's name,
    parallelism u16 and flags u16, the number of addresses u16 and each one, then extensions to the end.
    """

    node: str
    epoch: int
    bits: int
    nonce: bytes  # 32 bytes of the operating system's randomness, fresh for each connection
    protocol_min: int = PROTOCOL
    protocol_max: int = PROTOCOL
    features: int = 0  # bits; what both have is on, unknown ones never are
    topology: str = ""
    tls: bool = False  # whether this connection is under TLS
    session: int = 0  # the live session held with this peer's life, 0 for none
    last_session: int = 0  # the highest number ever used with this peer, any life of it
    peer_bits: int = 0  # the peer's life that `session` belongs to, 0 for unknown
    channel: int = 0
    stream: int = 0
    received: int = 0  # cumulative number received on that stream of that session
    channels: tuple[tuple[str, int, int], ...] = ()  # name, parallelism, flags
    addresses: tuple[str, ...] = ()  # where it can be dialled
    purpose: Purpose = Purpose.LINK
    extensions: tuple[tuple[int, bytes], ...] = ()  # of later versions

    def __post_init__(self) -> None:
        if not 0 < self.protocol_min <= self.protocol_max:
            raise ValueError(f"protocol range {self.protocol_min} to {self.protocol_max}")
        if len(self.nonce) != _NONCE_SIZE:
            raise ValueError(f"nonce of {len(self.nonce)} bytes, not {_NONCE_SIZE}")
        if not self.node:
            raise ValueError("empty node name")
        for text in (self.node, self.topology, *(name for name, _, _ in self.channels), *self.addresses):
            # They end up in logs and terminals before their sender has proved anything.
            if not text.isprintable():
                raise ValueError(f"unprintable characters in {text!r}")
        if max(self.session, self.last_session) > _MAX_SESSION:
            raise ValueError(f"session number {max(self.session, self.last_session)} is beyond {_MAX_SESSION}")

    @property
    def round_trip(self) -> float:
        """Seconds that it took who dialled to connect; 0 where it does not say."""
        data = self._extension(ROUND_TRIP, 4)
        return int.from_bytes(data, "big") / 1_000_000 if data is not None else 0.0

    @property
    def topology_version(self) -> int:
        """Above 0 in a cluster that has changed its topology while it ran."""
        data = self._extension(TOPOLOGY_VERSION, 8)
        return int.from_bytes(data, "big") if data is not None else 0

    @property
    def membership(self) -> Standing | None:
        """Where it stands in its cluster; None where it does not say."""
        data = self._extension(MEMBERSHIP, _MEMBERSHIP.size)
        if data is None:
            return None
        left, version, digest = _MEMBERSHIP.unpack(data)
        return Standing(bool(left & 1), version, digest)

    def _extension(self, kind: int, size: int) -> bytes | None:
        """What the first extension of that kind says that is of the right size."""
        return next((data for found, data in self.extensions if found == kind and len(data) == size), None)

    @property
    def life(self) -> Life:
        """The node life that it speaks for."""
        return Life(self.node, self.epoch, self.bits)

    def encode(self) -> bytes:
        """The body of a HELLO frame. Raises ValueError where a value or the whole does not fit."""
        try:
            body = self._encode()
        except struct.error as error:
            raise ValueError(f"a value of the hello of {self.node} does not fit its place: {error}") from None
        if len(body) > MAX_HANDSHAKE_BODY:
            raise ValueError(
                f"the hello of {self.node} takes {len(body)} bytes with its {len(self.channels)} channels and "
                f"{len(self.addresses)} addresses; a handshake frame has room for {MAX_HANDSHAKE_BODY}: "
                f"use fewer or shorter ones"
            )
        return body

    def _encode(self) -> bytes:
        parts = [
            _HELLO.pack(
                self.protocol_min, self.protocol_max, self.features, self.epoch, self.bits, self.nonce,
                self.tls, self.purpose, self.session, self.last_session, self.peer_bits,
                self.channel, self.stream, self.received,
            ),
            _encode_text(self.node),
            _encode_text(self.topology),
            _LENGTH.pack(len(self.channels)),
        ]  # fmt: skip
        for name, parallelism, flags in self.channels:
            parts += (_encode_text(name), _CHANNEL.pack(parallelism, flags))
        parts.append(_LENGTH.pack(len(self.addresses)))
        parts += map(_encode_text, self.addresses)
        parts += (encode_extension(kind, data) for kind, data in self.extensions)
        return b"".join(parts)

    @classmethod
    def decode(cls, body: bytes) -> Hello:
        """Read the body of a HELLO frame. Raises BrokenFrame."""
        cursor = _Cursor(body)
        (
            protocol_min, protocol_max, features, epoch, bits, nonce, tls, purpose,
            session, last_session, peer_bits, channel, stream, received,
        ) = _HELLO.unpack(cursor.take(_HELLO.size, "hello"))  # fmt: skip
        node, topology = cursor.text("node name"), cursor.text("topology")
        channels = tuple(cursor.channel() for _ in range(cursor.count("channels")))
        addresses = tuple(cursor.text("address") for _ in range(cursor.count("addresses")))
        extensions = tuple(iterate_extensions(cursor.rest()))
        try:
            return cls(
                node=node, epoch=epoch, bits=bits, nonce=nonce, protocol_min=protocol_min, protocol_max=protocol_max,
                features=features, topology=topology, tls=bool(tls & 1), session=session, last_session=last_session,
                peer_bits=peer_bits, channel=channel, stream=stream, received=received, channels=channels,
                addresses=addresses, purpose=Purpose(purpose), extensions=extensions,
            )  # fmt: skip
        except ValueError as error:
            raise BrokenFrame(f"hello: {error}") from None


def encode_topology_version(version: int) -> tuple[int, bytes]:
    """The extension of a hello that says which version of the cluster's topology a node runs with."""
    return TOPOLOGY_VERSION, version.to_bytes(8, "big")


def encode_membership(standing: Standing) -> tuple[int, bytes]:
    """The extension of a hello that says where a node stands in its cluster."""
    return MEMBERSHIP, _MEMBERSHIP.pack(*standing)


def encode_round_trip(seconds: float) -> tuple[int, bytes]:
    """The extension of a hello that says how long it took to connect."""
    return ROUND_TRIP, min(max(int(seconds * 1_000_000), 0), 0xFFFFFFFF).to_bytes(4, "big")


def _encode_text(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


class _Cursor:
    """Reads a handshake body from front to back."""

    __slots__ = ("_body", "_position")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def take(self, count: int, what: str) -> bytes:
        end = self._position + count
        if end > len(self._body):
            raise BrokenFrame(f"{what} cut short")
        taken = self._body[self._position : end]
        self._position = end
        return taken

    def count(self, what: str) -> int:
        return int.from_bytes(self.take(_LENGTH.size, what), "big")

    def text(self, what: str) -> str:
        try:
            return self.take(self.count(what), what).decode()
        except UnicodeDecodeError:
            raise BrokenFrame(f"{what} is no utf-8") from None

    def channel(self) -> tuple[str, int, int]:
        name = self.text("channel name")
        parallelism, flags = _CHANNEL.unpack(self.take(_CHANNEL.size, "channel"))
        return name, parallelism, flags

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._position, "extensions")
