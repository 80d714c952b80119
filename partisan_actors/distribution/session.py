"""The protocol of one session: two node lives, one connection at a time, frames each way until it ends.

Promised: what either side offers arrives at the other exactly once and in order while the session lasts, whatever
connections come and go under it; `Ended` comes once and is the last effect; a peer that is silent for `silence`
seconds is found so in `silence + last_call` at the latest, unless it is we who were not running.

    CONNECTED  --disconnected-->  BROKEN       frames are kept, and more are taken, until a connection carries them
    BROKEN     --connected----->  CONNECTED    what the peer has not got is written again
    CONNECTED  --connected----->  CONNECTED    a newer connection replaces the one before
    either     --end, CLOSE---->  ENDED        what was not delivered is lost

Heartbeats: something is sent at least every `heartbeat_interval`, data or a HEARTBEAT, so that the peer hears us;
and a HEARTBEAT at least every `probe_interval` however much data goes, so that the round-trip time stays known. Its
reply closes nothing and proves nothing but that bytes arrive: any byte does (one that is late, from an attempt given
up long ago, is ignored).

Races absorbed here are told where they are. Not known: addresses, dialling, sockets, what signals are. Pure.

Effects: `Deliver`, `Write`, `Room`, `Silent`, `Disconnect`, `Ended`, `SetTimer`, `CancelTimer`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.stream import (
    Arrival,
    BadAcknowledgement,
    Buffer,
    ReceivingStream,
    SendingStream,
    StreamParameters,
)
from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import (
    ACK,
    CLOSE,
    DATA,
    HEARTBEAT,
    HEARTBEAT_REPLY,
    REFUSAL,
    BrokenFrame,
    Frame,
    acknowledged,
    encode_ack,
    encode_frame,
)
from partisan_actors.wire.hello import Refusal

__all__ = [
    "DELIVER",
    "Deliver",
    "Disconnect",
    "Effect",
    "Ended",
    "Phase",
    "Room",
    "SessionMachine",
    "SessionParameters",
    "Silent",
    "Write",
]

_ACKNOWLEDGE = "acknowledge"
_HEARTBEAT = "heartbeat"

# The one channel and stream that there is so far.
_CHANNEL = 0
_STREAM = 0

_TOKEN_SIZE = 8
_MAX_REASON = 1024
# RFC 6298: the weight of a new round-trip time in the smoothed one.
_ROUND_TRIP_GAIN = 1 / 8


@dataclass(frozen=True, slots=True)
class SessionParameters:
    """The limits of one session; all times are seconds."""

    stream: StreamParameters = field(default_factory=StreamParameters)

    heartbeat_interval: float = 1.0
    """No longer than this without sending something; shortened by chance, by up to a tenth."""

    probe_interval: float = 5.0
    """No longer than this without measuring the round-trip time."""

    silence: float = 4.0
    """A peer that no byte came from for so long is asked a last time ..."""

    last_call: float = 0.25
    """... and after this is silent. So bytes that wait in our own kernel are read before a verdict."""

    stall: float = 2.0
    """A check that comes so late says that we were stopped, not that the peer is silent."""

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
        if min(self.last_call, self.stall, self.acknowledge_after, self.probe_interval, self.broken_within) <= 0:
            raise ValueError("all times must be above 0")
        if self.broken_envelopes < 1:
            raise ValueError(f"broken_envelopes ({self.broken_envelopes}) must be above 0")


class Deliver(NamedTuple):
    """Hand the body of the frame that was just taken up."""


class Write(NamedTuple):
    """Write these buffers to the present connection.

    `droppable`: not when it is backlogged. The peer will hear enough of us when it reads, and one that does not must
    not make the backlog grow.
    """

    buffers: Sequence[Buffer]
    droppable: bool = False


class Room(NamedTuple):
    """The stream is no longer congested: let senders go on."""


class Silent(NamedTuple):
    """Nothing came from the peer for too long."""


class Disconnect(NamedTuple):
    """Close the present connection; the session goes on over the next.

    `broken`: the peer sent what no peer sends.
    """

    reason: str
    broken: bool = False


class Ended(NamedTuple):
    """The session is over. Close its connection, if there is one, once what was written is out."""

    reason: str


Effect = Deliver | Write | Room | Silent | Disconnect | Ended | SetTimer | CancelTimer

_NOTHING: Sequence[Effect] = ()

DELIVER: Sequence[Effect] = (Deliver(),)
"""What nearly every frame leads to, so that a driver can tell by identity."""


class Phase(enum.Enum):
    """Where a session stands."""

    CONNECTED = "connected"
    BROKEN = "broken"
    ENDED = "ended"


class SessionMachine:
    """One session, seen from one of its ends."""

    __slots__ = (
        "_acknowledgement_timed",
        "_breaks",
        "_check_due",
        "_last_call",
        "_parameters",
        "_probe",
        "_probe_answered",
        "_probe_sent",
        "last_heard",
        "last_sent",
        "number",
        "peer",
        "phase",
        "receiving",
        "round_trip",
        "sending",
    )

    def __init__(self, peer: Life, number: int, parameters: SessionParameters) -> None:
        self.peer = peer
        self.number = number  # the same at both ends, and higher than that of any session before
        self.phase = Phase.BROKEN
        self.sending = SendingStream(parameters.stream, _CHANNEL, _STREAM)
        self.receiving = ReceivingStream(parameters.stream)
        self.last_heard = 0.0  # when the last byte came; the driver sets it with every read
        self.last_sent = 0.0  # when something was last written; the driver sets it with every flush
        self.round_trip: float | None = None  # seconds, smoothed
        self._parameters = parameters
        self._acknowledgement_timed = False  # the timer that pays what is owed runs
        self._check_due = 0.0  # when the heartbeat timer should fire
        self._last_call = False  # the peer was asked for a sign of life, and has `last_call` seconds to give it
        self._probe = 0  # the number of the last HEARTBEAT
        self._probe_sent = 0.0  # when it went
        self._probe_answered = True  # or its connection is gone
        self._breaks: list[float] = []  # when connections ended by a broken envelope, lately

    def connected(self, received: int, now: float, random: Random) -> Sequence[Effect]:
        """Begin on a new connection, whose other end has every frame up to `received`."""
        try:
            room = self.sending.rewind(received)
        except BadAcknowledgement:
            # Both sides said that they hold this session, and one of them holds another one's state.
            return self.end("out of step", now)
        self.phase = Phase.CONNECTED
        self.last_heard = self.last_sent = now
        self._last_call = False
        self._probe_answered = True
        # So the first check sends one, and soon: it gives a round-trip time.
        self._probe_sent = now - self._parameters.probe_interval
        effects: list[Effect] = [Room()] if room else []
        effects.append(self._check_in(self._parameters.heartbeat_interval * random.uniform(0.1, 0.2), now))
        return effects

    def disconnected(self) -> Sequence[Effect]:
        """The present connection is gone."""
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        self.phase = Phase.BROKEN
        return self._stop_timers()

    def end(self, reason: str, now: float) -> Sequence[Effect]:
        """End the session, and tell the peer when a connection is there."""
        if self.phase is Phase.ENDED:
            return _NOTHING
        effects: list[Effect] = []
        if self.phase is Phase.CONNECTED:
            told = reason.encode()[:_MAX_REASON]
            effects.append(Write(encode_frame(CLOSE, body_buffers=(told,))))
        return [*effects, *self._ended(reason)]

    def _ended(self, reason: str) -> list[Effect]:
        self.phase = Phase.ENDED
        return [*self._stop_timers(), Ended(reason)]

    def _stop_timers(self) -> list[Effect]:
        self._acknowledgement_timed = False
        return [CancelTimer(_HEARTBEAT), CancelTimer(_ACKNOWLEDGE)]

    def next_frame(self) -> Sequence[Buffer] | None:
        """The bytes of the next frame to write, what is owed to the peer with it; None when nothing waits."""
        # hot path: once per joined write, so no effects but what is to be written.
        sending, receiving = self.sending, self.receiving
        if (receiving.owed_frames or receiving.due) and sending.frame_waits and not sending.rewinding:
            return sending.next_frame(encode_ack(receiving.acknowledgement()))
        return sending.next_frame()

    def frame(self, frame: Frame, now: float) -> Sequence[Effect]:
        """Take a frame of the peer."""
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        try:
            if frame.header.kind == DATA:
                return self._data(frame)
            return self._control(frame, now)
        except (BrokenFrame, BadAcknowledgement) as broken:
            return self.broken_envelope(str(broken), now)

    def _data(self, frame: Frame) -> Sequence[Effect]:
        # hot path: once per joined write of the peer.
        _, _, channel, stream, _, _, size, number = frame.header
        if channel != _CHANNEL or stream != _STREAM:
            raise BrokenFrame(f"data on channel {channel}, stream {stream}")
        room = False
        if frame.extensions:
            acknowledgement = acknowledged(frame.extensions)
            room = acknowledgement is not None and self.sending.acknowledge(acknowledgement)
        arrival = self.receiving.accept(number, size)
        if arrival is Arrival.GAP:
            raise BrokenFrame(f"frame {number} came after {self.receiving.received}")
        effects = DELIVER if arrival is Arrival.NEW else _NOTHING
        return (Room(), *effects) if room else effects

    def _control(self, frame: Frame, now: float) -> Sequence[Effect]:
        kind, body = frame.header.kind, bytes(frame.body)
        if kind == ACK:
            return self._acknowledged(frame.header.number)
        if kind == HEARTBEAT:
            return self._heartbeat(body)
        if kind == HEARTBEAT_REPLY:
            return self._heartbeat_reply(body, now)
        if kind == CLOSE:
            return self._ended(_readable(body))
        if kind == REFUSAL:
            # The initiator's last check failed, after we were done: the last word on the handshake.
            return (Disconnect(f"refused: {Refusal.decode(body)}"),)
        raise BrokenFrame(f"a frame of kind {kind} after the handshake")

    def _acknowledged(self, number: int) -> Sequence[Effect]:
        return (Room(),) if self.sending.acknowledge(number) else _NOTHING

    def _heartbeat(self, token: bytes) -> Sequence[Effect]:
        if len(token) != _TOKEN_SIZE:
            raise BrokenFrame(f"heartbeat of {len(token)} bytes")
        return (Write(encode_frame(HEARTBEAT_REPLY, body_buffers=(token,)), droppable=True),)

    def _heartbeat_reply(self, token: bytes, now: float) -> Sequence[Effect]:
        if len(token) != _TOKEN_SIZE:
            raise BrokenFrame(f"heartbeat reply of {len(token)} bytes")
        # One to an earlier heartbeat has missed its time, and says nothing against the connection (partisan, D41).
        if int.from_bytes(token, "big") != self._probe or self._probe_answered:
            return _NOTHING
        self._probe_answered = True
        sample = now - self._probe_sent
        before = self.round_trip
        self.round_trip = sample if before is None else before + (sample - before) * _ROUND_TRIP_GAIN
        return _NOTHING

    def read_done(self) -> Sequence[Effect]:
        """All frames of one read were taken: see whether the peer must be told now, or soon.

        Not to be called while the connection is backlogged, but once it is no more; the debt waits.
        """
        # hot path: once per read.
        receiving = self.receiving
        if receiving.due:
            return (self._acknowledgement(),) if self.phase is Phase.CONNECTED else _NOTHING
        # Not re-set by the next frame: the first one that is owed for is the one that waits longest.
        if self._acknowledgement_timed or not receiving.owed_frames or self.phase is not Phase.CONNECTED:
            return _NOTHING
        self._acknowledgement_timed = True
        return (SetTimer(_ACKNOWLEDGE, self._parameters.acknowledge_after),)

    def _acknowledgement(self) -> Effect:
        number = self.receiving.acknowledgement()
        return Write(encode_frame(ACK, channel=_CHANNEL, stream=_STREAM, number=number))

    def broken_envelope(self, reason: str, now: float) -> Sequence[Effect]:
        """The peer sent what no peer sends. The session may go on, but not for ever by breaking and resuming."""
        parameters = self._parameters
        self._breaks = [when for when in self._breaks if now - when < parameters.broken_within]
        self._breaks.append(now)
        if len(self._breaks) >= parameters.broken_envelopes:
            return self.end(f"broken envelope: {reason}", now)
        return (Disconnect(f"broken envelope: {reason}", broken=True),)

    def overdue(self, now: float) -> bool:
        """Whether the peer should have been heard by now, so that its life is in doubt."""
        return now - self.last_heard > 2 * self._parameters.heartbeat_interval

    def step(self, event: TimerFired, now: float, random: Random) -> Sequence[Effect]:
        """Take a timer that is due."""
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        if event.key == _ACKNOWLEDGE:
            self._acknowledgement_timed = False
            return (self._acknowledgement(),) if self.receiving.owed else _NOTHING
        return self._check(now, random)

    def _check(self, now: float, random: Random) -> Sequence[Effect]:
        parameters = self._parameters
        if now - self._check_due >= parameters.stall:
            # We were stopped, or something kept the node from its timers: what the peer sent meanwhile has not been
            # read yet. Without this grace a node that was stopped would take all others for dead when it goes on.
            self.last_heard = now
        silent_for = now - self.last_heard
        if silent_for < parameters.silence:
            self._last_call = False
        elif self._last_call:
            return (Silent(),)
        else:
            self._last_call = True
            return [self._send_heartbeat(now), self._check_in(parameters.last_call, now)]
        effects: list[Effect] = []
        interval = parameters.heartbeat_interval
        if now - self.last_sent >= interval * 0.75 or now - self._probe_sent >= parameters.probe_interval:
            effects.append(self._send_heartbeat(now))
        # What was sent last may be younger than this check: the next one is due an interval after *it*.
        until_next = max(self.last_sent + interval - now, interval * 0.25) * random.uniform(0.9, 1.0)
        effects.append(self._check_in(min(until_next, parameters.silence - silent_for), now))
        return effects

    def _send_heartbeat(self, now: float) -> Effect:
        self._probe += 1
        self._probe_sent = self.last_sent = now
        self._probe_answered = False
        token = self._probe.to_bytes(_TOKEN_SIZE, "big")
        return Write(encode_frame(HEARTBEAT, body_buffers=(token,)), droppable=True)

    def _check_in(self, seconds: float, now: float) -> Effect:
        self._check_due = now + seconds
        return SetTimer(_HEARTBEAT, seconds)


def _readable(reason: bytes) -> str:
    """The reason of a CLOSE, fit for a log; it is the peer's text."""
    text = reason[:_MAX_REASON].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text) or "closed"
