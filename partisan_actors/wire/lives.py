"""Lives as bytes, and one object for each: pids of one life share it, here and in what is decoded.

Knows the node's own life, and remembers others in bounded tables: who sends made-up lives
makes the oldest be forgotten, which costs their pids the common object but not their equality.
"""

from __future__ import annotations

import struct
from typing import Any

from partisan_actors.processes.identity import Life, Pid, Ref
from partisan_actors.wire.terms import LIFE, PID, REF, DecodeError, extension

__all__ = ["Lives"]

_FIELDS = struct.Struct(">QQ")
_MAX_NODE_NAME = 1024
_MAX_LIVES = 1 << 14


class Lives:
    """The lives that one codec has met."""

    __slots__ = ("_by_payload", "_payloads", "home")

    def __init__(self, home: Life | None) -> None:
        self.home = home
        # Payload to the one object for it, oldest first.
        self._by_payload: dict[bytes, Life] = {}
        # id of a life to that life, which keeps the id its own, and its payload. Not by the life: its hash is slow.
        self._payloads: dict[int, tuple[Life, bytes]] = {}

    def intern(self, life: Life) -> Life:
        """The one object for this life. Raises ValueError for a life that cannot be sent."""
        return self.decode_life(self.payload(life))

    def payload(self, life: Life) -> bytes:
        """The life as bytes: epoch u64, bits u64, name of the node."""
        known = self._payloads.get(id(life))
        if known is not None:
            return known[1]
        name = life.node.encode()
        if not 0 < len(name) <= _MAX_NODE_NAME:
            raise ValueError(f"a node name has 1 to {_MAX_NODE_NAME} bytes, not {len(name)}")
        payload = _FIELDS.pack(life.epoch, life.bits) + name
        if len(self._payloads) >= _MAX_LIVES:
            self._payloads.clear()
        self._payloads[id(life)] = (life, payload)
        return payload

    def encode_pid(self, pid: Pid) -> Any:
        """The extension for a pid."""
        return extension(PID, pid.serial.to_bytes(8, "big") + self.payload(pid.home))

    def encode_ref(self, ref: Ref) -> Any:
        """The extension for a reference."""
        return extension(REF, ref.serial.to_bytes(8, "big") + self.payload(ref.home))

    def encode_life(self, life: Life) -> Any:
        """The extension for a life."""
        return extension(LIFE, self.payload(life))

    def decode_pid(self, payload: bytes) -> Pid:
        """The pid of an extension's payload."""
        return Pid(self.decode_life(payload[8:]), int.from_bytes(payload[:8], "big"))

    def decode_ref(self, payload: bytes) -> Ref:
        """The reference of an extension's payload."""
        return Ref(self.decode_life(payload[8:]), int.from_bytes(payload[:8], "big"))

    def decode_life(self, payload: bytes) -> Life:
        """The one object for the life with this payload. Raises DecodeError, or ValueError, when it is none."""
        known = self._by_payload.get(payload)
        if known is not None:
            return known
        if not _FIELDS.size < len(payload) <= _FIELDS.size + _MAX_NODE_NAME:
            raise DecodeError(f"a life of {len(payload)} bytes")
        epoch, bits = _FIELDS.unpack_from(payload)
        life = Life(payload[_FIELDS.size :].decode(), epoch, bits)
        if self.home is not None and life == self.home:
            life = self.home
        if len(self._by_payload) >= _MAX_LIVES:
            self._by_payload.pop(next(iter(self._by_payload)), None)
        self._by_payload[payload] = life
        return life
