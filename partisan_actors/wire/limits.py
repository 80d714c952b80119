"""How much one message may be, and what can be known of that before it is unpacked.

msgpack's unpacker bounds neither the elements of a whole message nor its depth, and believes
an array's header: each one claims a length, at the cost of three bytes, and memory is set
aside for it. The functions here read headers only, make nothing, and never look past the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgpack import Unpacker

from partisan_actors.wire.terms import DecodeError

__all__ = ["Limits", "check_claims", "check_count"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a codec sends and accepts at most, of one message. Raises ValueError for values out of range."""

    max_depth: int = 64
    """Containers within each other; 1 is a flat one. At most 200, which the Python stack and msgpack's bear."""
    max_elements: int = 1_000_000
    """Values in all, at every depth, keys too; each container counts one more, for its mark."""
    max_bytes: int = (64 << 20) - (256 << 10)
    """Bytes. The default leaves room for headers in a frame of 64 MiB."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_depth <= 200:
            raise ValueError(f"max_depth is 1 to 200, not {self.max_depth}")
        if not 1 <= self.max_elements < 1 << 32:
            raise ValueError(f"max_elements is 1 to 2**32 - 1, not {self.max_elements}")
        if not 1 <= self.max_bytes < 1 << 32:
            raise ValueError(f"max_bytes is 1 to 2**32 - 1, not {self.max_bytes}")


def _steps() -> tuple[int, ...]:
    """By first byte: how far it is to the next header, or 0 where a length follows. A container's header is a step."""
    steps = [1] * 256
    for size in range(32):
        steps[0xA0 + size] = 1 + size
    for first, step in {0xCA: 5, 0xCB: 9, 0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}.items():
        steps[first] = step
    for power in range(4):
        steps[0xCC + power] = steps[0xD0 + power] = 1 + (1 << power)
    for power in range(5):
        steps[0xD4 + power] = 2 + (1 << power)
    for first in _LENGTHS:
        steps[first] = 0
    return tuple(steps)


# By first byte: bytes of the length that follows, and bytes between it and what it counts.
_LENGTHS = {
    0xC4: (1, 0),  # bin
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),  # ext: its code stands between
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),  # str
    0xDA: (2, 0),
    0xDB: (4, 0),
}
_STEPS = _steps()


def check_count(buffer: bytes | memoryview, limit: int) -> None:
    """Raise DecodeError when there are more than `limit` msgpack items, containers and what is in them.

    Runs in Python, some 60 ns an item. A message has no more items than bytes, so only one that is longer than
    `limit` needs it, and such a one mostly carries few long values.
    """
    at, items, size = 0, 0, len(buffer)
    while at < size:
        items += 1
        if items > limit:
            raise DecodeError(f"more than {limit} elements")
        first = buffer[at]
        step = _STEPS[first]
        if not step:
            width, gap = _LENGTHS[first]
            start = at + 1
            step = 1 + width + gap + int.from_bytes(buffer[start : start + width], "big")
        at += step


def check_claims(buffer: bytes | memoryview) -> None:
    """Raise an error when a container claims more than is there, or the buffer ends too early.

    Runs in C, 3 ns an item, after one copy of the buffer.
    """
    unpacker = Unpacker(max_buffer_size=0)
    unpacker.feed(buffer)
    unpacker.skip()
