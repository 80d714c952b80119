"""The limits of a session. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from partisan_actors.distribution.stream import StreamParameters

__all__ = ["SessionParameters"]


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """The limits of one session; all times are seconds."""

    stream: StreamParameters = field(default_factory=StreamParameters)

    heartbeat_interval: float = 2.3
    """No longer than this without sending something; shortened by chance, by a tenth and a tick at most. An idle link
    costs a small frame each way in so long: 1,000 nodes of five links each in one machine write 2,200 in a second."""

    probe_interval: float = 30.0
    """No longer than this without measuring the round-trip time. On an idle link one end asks and the other answers;
    this lets the other ask as well, which with 5 s was a quarter of all heartbeats, and with 10 s a sixth."""

    silence: float = 4.7
    """A peer that no byte came from for so long is asked a last time ..."""

    last_call: float = 0.25
    """... and after this is silent. So bytes that wait in our own kernel are read before a verdict."""

    frame_within: float = 20.0
    """A connection that brings bytes, and in so long no whole frame, is given up: a byte of a length was changed.
    Pieces of 512 KiB need 26 KB/s. A peer of before pieces, whose frames may be 64 MiB, has three times as long."""

    piece_within: float = 300.0
    """Of a signal that has come in part the next piece comes in so many seconds, or the session ends: another
    connection would bring no more of it. Only those seconds count in which the peer is heard, the connection that
    brought the last piece is there (or the first one in its place), and no frame has come in part. So a link that is
    slow, whose time goes into frames that are under way, does not use them up, and neither does one that is down: a
    sender has at most 16 large signals take turns, with as many small frames between, 10 MiB at the most."""

    stall: float = 2.0
    """A check that comes so late says that we were stopped, not that the peer is silent."""

    idle: float = 600.0
    """A session that has no link, and wants none, ends after so long without a frame, if nothing hangs on it."""

    last_words: float = 1.0
    """After the peer has left, for what it sent before over other connections than its last word."""

    acknowledge_after: float = 0.02
    """How long an acknowledgement waits for a frame that can carry it."""

    broken_envelopes: int = 3
    broken_within: float = 10.0
    """So many connections ended by a broken envelope in so many seconds end the session: it would not get better."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_interval * 2 < self.silence:
            raise ValueError(
                f"silence ({self.silence}) must be more than twice heartbeat_interval ({self.heartbeat_interval})"
            )
        times = (self.last_call, self.stall, self.acknowledge_after, self.probe_interval, self.last_words)
        if min(*times, self.broken_within, self.frame_within, self.piece_within) <= 0:
            raise ValueError("all times must be above 0")
        if self.idle <= 0:
            raise ValueError(f"idle ({self.idle}) must be above 0")
        if self.broken_envelopes < 1:
            raise ValueError(f"broken_envelopes ({self.broken_envelopes}) must be above 0")
