"""Frames' bodies, compressed and expanded (zstd). No I/O.

Promised: what is small or does not shrink travels as it is, and where nothing shrinks little time is lost on trying;
whatever a peer sends expands to `LARGEST` bytes at most, or is a broken envelope.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import zstandard

from partisan_actors.distribution.flows import Buffer
from partisan_actors.wire.frames import BrokenFrame

__all__ = ["LARGEST", "Compressor", "Expander", "dictionary_id", "problem_with_dictionary"]

LARGEST = 1 << 20
"""Bytes of the largest body that is compressed, and of what any may expand to."""

# Below this the header of a zstd frame and the call (4 us) are more than what is saved.
_SMALLEST = 256
# What does not get smaller than this is not worth the receiver's time.
_WORTH = 0.9
# After so many bodies in a row that did not shrink, only each n-th is tried, n doubling up to the last.
_LONGEST_PAUSE = 64


def dictionary_id(channel: str, dictionary: bytes | None) -> bytes:
    """Eight bytes that say which dictionary a channel has; empty for none."""
    # With the channel in it: that the peer has it for another one is of no use.
    return sha256(channel.encode() + b"\0" + dictionary).digest()[:8] if dictionary is not None else b""


def problem_with_dictionary(dictionary: bytes) -> str | None:
    """Why nothing can be compressed with it, such as one that is damaged; None where it can."""
    try:
        Compressor(3, dictionary).compress((bytes(2 * _SMALLEST),), 2 * _SMALLEST)
    except zstandard.ZstdError as error:
        return str(error)
    return None


class Compressor:
    """For the bodies of one stream."""

    __slots__ = ("_compress", "_failures", "_pause")

    def __init__(self, level: int, dictionary: bytes | None = None) -> None:
        """Make it.

        Args:
            level: zstd's, as `Channel` checks it.
            dictionary: what the peer has too: one that `zstandard.train_dictionary` made, or any typical bytes.
        """
        known = zstandard.ZstdCompressionDict(dictionary) if dictionary is not None else None
        self._compress = zstandard.ZstdCompressor(level=level, dict_data=known, write_content_size=True).compress
        self._failures = 0  # bodies in a row that did not shrink
        self._pause = 0  # bodies still to be let through untried

    def compress(self, parts: Sequence[Buffer], size: int) -> bytes | None:
        """The compressed body; None where it had better travel as it is."""
        if not _SMALLEST <= size <= LARGEST:
            return None
        if self._pause:
            self._pause -= 1
            return None
        body = self._compress(b"".join(parts))
        if len(body) <= size * _WORTH:
            self._failures = 0
            return body
        self._failures = min(self._failures + 1, _LONGEST_PAUSE)  # bounded, as 2 to the power of it is made each time
        self._pause = min(2**self._failures, _LONGEST_PAUSE) - 1
        return None


class Expander:
    """For the bodies of one stream."""

    __slots__ = ("_decompress",)

    def __init__(self, dictionary: bytes | None = None) -> None:
        """Make it; `dictionary` as the sender has it."""
        known = zstandard.ZstdCompressionDict(dictionary) if dictionary is not None else None
        self._decompress = zstandard.ZstdDecompressor(dict_data=known).decompress

    def expand(self, body: bytes | memoryview) -> bytes:
        """What was compressed. Raises BrokenFrame for what is no zstd, or too much."""
        try:
            size = zstandard.frame_content_size(body)
            if not 0 <= size <= LARGEST:
                # Unknown, too, which no sender of ours says.
                raise BrokenFrame(f"a compressed body that says it expands to {size} bytes; the limit is {LARGEST}")
            expanded: bytes = self._decompress(body, max_output_size=LARGEST)
        except zstandard.ZstdError as error:
            raise BrokenFrame(f"a body that cannot be expanded: {error}") from None
        return expanded
