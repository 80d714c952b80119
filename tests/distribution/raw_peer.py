"""A peer whose every byte is the test's: it can do the handshake, and then whatever a peer should not."""

from __future__ import annotations

import os
from collections.abc import Callable

from partisan_actors.processes.identity import Life
from partisan_actors.transport import Connection, Transport
from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import MAX_FRAME, REFUSAL, Frame, encode_frame
from partisan_actors.wire.handshake import Established, Handshake, Hello, Keys, Refusal, Refused, Send

__all__ = ["RawPeer"]


class RawPeer:
    """The dialling end of one connection; a `Receiver`."""

    def __init__(self, life: Life, keys: Keys, *, topology: str = "full_mesh", **hello: object) -> None:
        self.hello = Hello(
            node=life.node,
            epoch=life.epoch,
            bits=life.bits,
            nonce=os.urandom(32),
            topology=topology,
            **hello,  # type: ignore[arg-type]
        )
        self.connection: Connection | None = None
        self.established: Hello | None = None
        self.refusal: Refusal | None = None
        self.closed_because: str | None = None
        self.failed_because: str | None = None
        self.frames: list[Frame] = []
        self.on_frame: Callable[[Frame], None] = self.frames.append
        self._handshake = Handshake.initiator(self.hello, keys)
        self._reader = FrameReader()

    def dial(self, transport: Transport, address: str) -> None:
        """Connect and do the handshake."""
        transport.dial(address, 5.0, self._connected, self._failed)

    def send(self, kind: int, body: bytes = b"", **fields: object) -> None:
        """Send a frame."""
        self.write(b"".join(encode_frame(kind, body_buffers=(body,), **fields)))  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self.connection is not None
        self.connection.write([data])

    def buffer(self) -> memoryview:
        return self._reader.buffer()

    def received(self, count: int) -> None:
        for frame in self._reader.received(count):
            if self.established is None or frame.header.kind == REFUSAL:
                self._perform(self._handshake.step(frame.header.kind, frame.body))
            else:
                self.on_frame(frame)

    def writable(self) -> None:
        pass

    def closed(self, reason: str) -> None:
        self.closed_because = reason

    def _connected(self, connection: Connection) -> RawPeer:
        self.connection = connection
        self._perform(self._handshake.start())
        return self

    def _failed(self, reason: str) -> None:
        self.failed_because = reason

    def _perform(self, effects: list[Send | Established | Refused]) -> None:
        assert self.connection is not None
        for effect in effects:
            match effect:
                case Send(kind, body):
                    self.send(kind, body)
                case Established(peer):
                    self.established = peer
                    self._reader.set_limit(MAX_FRAME)
                case Refused(refusal):
                    self.refusal = refusal
