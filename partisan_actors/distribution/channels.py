"""Channels: named groups of streams between two nodes, as a program declares them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_CHANNEL", "Channel", "check_channels"]

DEFAULT_CHANNEL = "default"


@dataclass(frozen=True)
class Channel:
    """A named channel.

    Args:
        name: what `send(..., channel=name)` says.
        parallelism: connections per peer; "auto" is for WANs.
        compression: a zstd level, or None.
        monotonic: keep only the newest unsent message per partition key.
        priority: which channel's streams are written first.
        fallback: use the default channel where a peer lacks this one.
        high_watermark: bytes unsent and unacknowledged above which a sender waits.
        low_watermark: bytes below which it goes on.
    """

    name: str
    parallelism: int | str = 1
    compression: int | None = None
    monotonic: bool = False
    priority: int = 0
    fallback: bool = True
    high_watermark: int = 8 << 20
    low_watermark: int = 4 << 20

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not 0 < len(self.name) <= 64:
            raise ValueError(f"a channel's name is a str of 1 to 64 characters, not {self.name!r}")
        if self.parallelism != "auto" and (not isinstance(self.parallelism, int) or self.parallelism < 1):
            raise ValueError(
                f'channel {self.name!r}: parallelism is a number from 1 up, or "auto", not {self.parallelism!r}'
            )
        if not 0 < self.low_watermark < self.high_watermark:
            raise ValueError(
                f"channel {self.name!r}: low_watermark {self.low_watermark} must be above 0 "
                f"and below high_watermark {self.high_watermark}"
            )


def check_channels(channels: tuple[Channel, ...]) -> Channel:
    """The default channel among those declared.

    Raises:
        ValueError: this version carries everything on one connection, and was asked for more.
    """
    default = Channel(DEFAULT_CHANNEL)
    for channel in channels:
        if not isinstance(channel, Channel):
            raise TypeError(f"channels are Channel(...) values, not {channel!r}")
        if channel.name != DEFAULT_CHANNEL:
            raise ValueError(f"channel {channel.name!r}: this version has one channel, {DEFAULT_CHANNEL!r}")
        if channel.parallelism not in (1, "auto") or channel.compression is not None or channel.monotonic:
            raise ValueError(
                f"channel {channel.name!r}: this version has one connection per peer, without compression; "
                "leave parallelism, compression and monotonic as they are"
            )
        default = channel
    return default
