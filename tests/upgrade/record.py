"""One frame of each kind, as bytes: `python -m tests.upgrade.record` prints those of the version that it finds.

What version 0.1.0 printed is in `frames-0.1.0.json`. It is never made anew: nodes of that version are out there.
"""

from __future__ import annotations

import json

from partisan_actors.processes.identity import Life, Pid, Ref
from partisan_actors.wire import frames, signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.handshake import Hello, Purpose, Refusal, RefusalCode

__all__ = ["SIGNALS", "hello", "recorded", "term"]

HOME = Life("here@127.0.0.1", 1_700_000_000_000, 0x1122334455667788)
THERE = Life("there@127.0.0.1", 1_700_000_000_001, 0x8877665544332211)

SIGNALS = {
    name: getattr(signals, name)
    for name in (
        "SEND", "CAST", "CALL", "SYSTEM_CALL", "REPLY", "CALL_FAILED", "LINK", "UNLINK", "LINK_EXIT", "EXIT", "MONITOR",
        "DEMONITOR", "DOWN", "SPAWN", "MEMBERSHIP", "NAMES", "OVERLAY",
    )
}  # fmt: skip


def term() -> object:
    """A message with a bit of everything."""
    pids = (Pid(HOME, 7), Pid(THERE, 8), Ref(HOME, 9))
    return ("request", [1, -2.5, None, True], {"key": (b"bytes", "text")}, frozenset({3}), 1 << 70, pids)


def hello() -> Hello:
    """What a node says first."""
    return Hello(
        node=HOME.node,
        epoch=HOME.epoch,
        bits=HOME.bits,
        nonce=bytes(range(32)),
        topology="full_mesh",
        session=5,
        last_session=6,
        peer_bits=THERE.bits,
        received=77,
        addresses=("127.0.0.1:4711", "unix:/run/here"),
        purpose=Purpose.JOIN,
    )


def recorded() -> dict[str, str]:
    """The bytes of each frame, in hexadecimal."""
    payload = Codec(HOME).encode(term())
    made = {"term": payload, "hello": b"".join(frames.encode_frame(frames.HELLO, body_buffers=(hello().encode(),)))}
    refusal = Refusal(RefusalCode.NAME, 12, "a node of that name is alive").encode()
    made["refusal"] = b"".join(frames.encode_frame(frames.REFUSAL, body_buffers=(refusal,)))
    for name, kind in SIGNALS.items():
        signal = signals.encode_signal(kind, 11, 12, 13, payload, "a name" if name in ("SEND", "CALL") else None)
        assert isinstance(signal, bytes)
        extensions = frames.encode_ack(3)
        made[f"data {name}"] = b"".join(
            frames.encode_frame(frames.DATA, number=4, extensions=extensions, body_buffers=(signal,))
        )
    made["ack"] = b"".join(frames.encode_frame(frames.ACK, number=9))
    made["heartbeat"] = b"".join(frames.encode_frame(frames.HEARTBEAT, body_buffers=(b"12345678",)))
    made["heartbeat reply"] = b"".join(frames.encode_frame(frames.HEARTBEAT_REPLY, body_buffers=(b"12345678",)))
    made["close"] = b"".join(frames.encode_frame(frames.CLOSE, body_buffers=(b"leave",)))
    return {name: data.hex() for name, data in made.items()}


if __name__ == "__main__":
    print(json.dumps(recorded(), indent=1))
