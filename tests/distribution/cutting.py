"""Bytes cut into frames, as a connection does it that breaks after them."""

from __future__ import annotations

from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import MAX_FRAME, Frame

__all__ = ["frame_of", "frames_of"]


def frames_of(data: bytes) -> list[Frame]:
    """The whole frames at the beginning of `data`."""
    reader = FrameReader(MAX_FRAME)
    frames: list[Frame] = []
    while data:
        buffer = reader.buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        frames += reader.received(count)
    return frames


def frame_of(data: bytes) -> Frame:
    """The one frame that `data` is."""
    (frame,) = frames_of(data)
    return frame
