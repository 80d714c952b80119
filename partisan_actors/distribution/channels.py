"""Channels: named groups of streams between two nodes, as a program declares them and as two nodes agree on them.

Two nodes have the channels that both declare, and always the default one. Each is a number on their session: 0 is
the system channel, for membership, overlays and names, which nobody declares; 1 the default one; the others follow
in the order of their names. A channel has as many streams as the one of the two says that says less. A peer of
before channels has one stream for everything, number 0 of channel 0.

The first stream of the system channel and that of the default one share the session's first connection, where the
system's is written first; each other stream has a connection of its own, made when it is first used.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from partisan_actors.distribution.compression import dictionary_id, problem_with_dictionary
from partisan_actors.distribution.stream import StreamParameters

__all__ = [
    "AUTO_STREAMS",
    "DEFAULT_CHANNEL",
    "STREAMS_FEATURE",
    "SYSTEM_CHANNEL",
    "AgreedChannel",
    "Channel",
    "agree_channels",
    "declare_channels",
    "declared",
    "declared_dictionaries",
    "dictionaries_of",
]

DEFAULT_CHANNEL = "default"
SYSTEM_CHANNEL = ""
"""What the system channel is called where a name is needed; no program can declare it."""

STREAMS_FEATURE = 1 << 0
"""The hello's bit of a node that has channels and several streams."""

DICTIONARIES = 2
"""A hello's extension: the ids, 8 bytes each, of the dictionaries that a node's channels have."""

AUTO_STREAMS = 16
"""The streams of a channel with `parallelism="auto"` where the round trip is long."""

# Seconds. Below it a connection's window of 4 MiB lets more through than a process can send: 800 MB/s.
_LONG_ROUND_TRIP = 0.005

_MONOTONIC = 1 << 0
_AUTO = 0
_MAX_STREAMS = 256
_MAX_CHANNELS = 64


@dataclass(frozen=True)
class Channel:
    """A named channel.

    Args:
        name: what `send(..., channel=name)` says.
        parallelism: connections per peer; "auto" is one, or 16 where the round trip is long.
        compression: a zstd level, -7 to 22, or None. What is small or does not shrink travels as it is.
        monotonic: keep only the newest unsent message per partition key, without one per destination; takes no calls.
        priority: which channel's streams are written first, the highest.
        fallback: use the default channel where a peer lacks this one; else what is sent on it fails there.
        high_watermark: bytes unsent and unacknowledged, of each stream, above which a sender waits.
        low_watermark: bytes below which it goes on.
        dictionary: for compression, used with peers that declare the same one: a zstd dictionary, or typical bytes.
    """

    name: str
    parallelism: int | str = 1
    compression: int | None = None
    monotonic: bool = False
    priority: int = 0
    fallback: bool = True
    high_watermark: int = 8 << 20
    low_watermark: int = 4 << 20
    dictionary: bytes | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= 64 or not self.name.isprintable():
            raise ValueError(f"a channel's name is a str of 1 to 64 printable characters, not {self.name!r}")
        self._check_parallelism()
        for name in ("low_watermark", "high_watermark"):
            if not _is_number(getattr(self, name)):
                raise TypeError(f"channel {self.name!r}: {name} is an int, not {getattr(self, name)!r}")
        if not 0 < self.low_watermark < self.high_watermark:
            raise ValueError(
                f"channel {self.name!r}: low_watermark {self.low_watermark} must be above 0 "
                f"and below high_watermark {self.high_watermark}"
            )
        for name in ("monotonic", "fallback"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"channel {self.name!r}: {name} is True or False, not {getattr(self, name)!r}")
        if not _is_number(self.priority):
            raise TypeError(f"channel {self.name!r}: priority is an int, not {self.priority!r}")
        self._check_compression()
        if self.monotonic and self.name == DEFAULT_CHANNEL:
            raise ValueError("the default channel cannot be monotonic: replies and exit signals travel on it")

    def _check_compression(self) -> None:
        level = self.compression
        if level is not None and (not _is_number(level) or not -7 <= level <= 22):
            raise ValueError(
                f"channel {self.name!r}: compression is a zstd level from -7 to 22, or None, not {level!r}"
            )
        if self.dictionary is not None and not (isinstance(self.dictionary, bytes) and self.dictionary):
            raise TypeError(f"channel {self.name!r}: dictionary is bytes, or None, not {self.dictionary!r}")
        problem = problem_with_dictionary(self.dictionary) if self.dictionary is not None else None
        if problem is not None:
            raise ValueError(f"channel {self.name!r}: dictionary cannot be used: {problem}")

    def _check_parallelism(self) -> None:
        if self.parallelism == "auto":
            return
        if not _is_number(self.parallelism) or not 0 < self.parallelism <= _MAX_STREAMS:
            raise ValueError(
                f'channel {self.name!r}: parallelism is a number from 1 to {_MAX_STREAMS}, or "auto", '
                f"not {self.parallelism!r}"
            )

    @property
    def streams(self) -> int:
        """How many streams it has at the most."""
        return AUTO_STREAMS if self.parallelism == "auto" else int(self.parallelism)

    @property
    def stream_parameters(self) -> StreamParameters:
        """The limits of each of its streams; those that a program does not set go along with those that it does."""
        usual = StreamParameters()
        joined = min(usual.joined, self.high_watermark)
        return StreamParameters(
            joined=joined,
            alone=min(usual.alone, 2 * joined),
            turn=min(usual.turn, self.high_watermark // 16 + 1),
            fragment=min(usual.fragment or joined, joined),
            low_watermark=self.low_watermark,
            high_watermark=self.high_watermark,
            hard_limit=max(usual.hard_limit, 2 * self.high_watermark),
            # Of the other direction, but both ends have the same channels: who may send little must hear soon that it
            # came.
            owed_bytes=min(usual.owed_bytes, self.high_watermark // 4 + 1),
        )


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class AgreedChannel:
    """A channel that two nodes have in common."""

    number: int
    streams: int  # what the peer may use
    used: int  # what both do use, so that a flow and its answers meet on the same one
    channel: Channel  # as this node declares it
    dictionary: bytes | None = None  # that of the channel, if both have the same

    @property
    def name(self) -> str:
        """Its name."""
        return self.channel.name


def declare_channels(channels: Iterable[Channel]) -> tuple[Channel, ...]:
    """The channels of a node: those given, the default one first, which is added where it is missing.

    Raises:
        TypeError: something else than a Channel.
        ValueError: two of one name, or too many.
    """
    by_name: dict[str, Channel] = {DEFAULT_CHANNEL: Channel(DEFAULT_CHANNEL)}
    if isinstance(channels, str | Channel) or not isinstance(channels, Iterable):
        raise TypeError(f"channels is a list of Channel(...) values, not {channels!r}")
    given: set[str] = set()
    for channel in channels:
        if not isinstance(channel, Channel):
            raise TypeError(f"channels are Channel(...) values, not {channel!r}")
        if channel.name in given:
            raise ValueError(f"channel {channel.name!r} is declared twice")
        given.add(channel.name)
        by_name[channel.name] = channel
    if len(by_name) > _MAX_CHANNELS:
        raise ValueError(f"{len(by_name)} channels are too many: {_MAX_CHANNELS} at most, the default one included")
    return tuple(by_name.values())


def declared(channels: Iterable[Channel]) -> tuple[tuple[str, int, int], ...]:
    """What a hello says of the channels: name, streams (0: as the round trip goes), flags."""
    return tuple(
        (
            channel.name,
            _AUTO if channel.parallelism == "auto" else channel.streams,
            _MONOTONIC if channel.monotonic else 0,
        )
        for channel in channels
    )


def declared_dictionaries(channels: Iterable[Channel]) -> tuple[int, bytes]:
    """The extension of a hello that says which dictionaries a node has: by their ids."""
    ids = (dictionary_id(channel.name, channel.dictionary) for channel in channels)
    return DICTIONARIES, b"".join(ids)


def dictionaries_of(extensions: Iterable[tuple[int, bytes]]) -> frozenset[bytes]:
    """The ids that a hello's extensions name."""
    return frozenset(
        data[at : at + 8] for kind, data in extensions if kind == DICTIONARIES for at in range(0, len(data), 8)
    )


def agree_channels(
    mine: Sequence[Channel],
    theirs: Sequence[tuple[str, int, int]],
    features: int,
    round_trip: float,
    dictionaries: Container[bytes] = (),
) -> dict[str, AgreedChannel]:
    """The channels that two nodes have, by name, the same at both ends; none where one of them knows no channels.

    Args:
        mine: this node's.
        theirs: what the peer's hello says.
        features: the bits that both have.
        round_trip: seconds, as the one that dialled first has measured and said it.
        dictionaries: the ids of those that the peer has.
    """
    if not features & STREAMS_FEATURE:
        return {}
    counts = {name: count for name, count, _ in theirs}
    counts.setdefault(DEFAULT_CHANNEL, 1)
    common = sorted(
        (channel for channel in mine if channel.name in counts),
        key=lambda channel: (channel.name != DEFAULT_CHANNEL, channel.name),
    )
    return {
        channel.name: _agreed(number, channel, counts[channel.name], round_trip, dictionaries)
        for number, channel in enumerate(common, 1)
    }


def _agreed(
    number: int, channel: Channel, theirs: int, round_trip: float, dictionaries: Container[bytes]
) -> AgreedChannel:
    streams = min(channel.streams, theirs or AUTO_STREAMS)
    automatic = channel.parallelism == "auto" or theirs == _AUTO
    used = 1 if automatic and round_trip < _LONG_ROUND_TRIP else streams
    shared = channel.dictionary if dictionary_id(channel.name, channel.dictionary) in dictionaries else None
    return AgreedChannel(number, streams, used, channel, shared)
