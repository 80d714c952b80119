"""The protocol of one session: two node lives and the session's first connection, one at a time, until it ends.

What a stream's own connection carries is its `Carrier`'s business alone; heartbeats, the session's phases and its end
are here.

Promised: what either side offers arrives at the other exactly once and in order while the session lasts, whatever
connections come and go under it; `Ended` comes once and is the last effect; a peer that is silent for `silence`
seconds is found so in `silence + last_call` at the latest, unless it is we who were not running.

    CONNECTED  --disconnected-->  BROKEN       frames are kept, and more are taken, until a connection carries them
    BROKEN     --connected----->  CONNECTED    what the peer has not got is written again
    CONNECTED  --connected----->  CONNECTED    a newer connection replaces the one before
    CONNECTED  --CLOSE--------->  CLOSING      what the peer sent before, on other connections, has a second to come
    any        --end----------->  ENDED        what was not delivered is lost

Heartbeats: something is sent at least every `heartbeat_interval`, data or a HEARTBEAT, so that the peer hears us;
and a HEARTBEAT at least every `probe_interval` however much data goes, so that the round-trip time stays known. Its
reply closes nothing and proves nothing but that bytes arrive: any byte does (one that is late, from an attempt given
up long ago, is ignored). They are of links alone: a first connection by a route has none.

A link that is given up while the session goes on is UNLINKed: who gives it up writes that last, the other end writes
what it has and answers, and both close. What was not acknowledged then is written again over what comes next.

One that nobody needs ends by agreement: one end asks by IDLE and rests, that is, it sends nothing more; the other one
ends it, or says that it is needed. So no end is lost that something was sent before; what either side has to say
meanwhile waits above, for this session to go on or for the next one.

Races absorbed here are told where they are. Not known: addresses, dialling, sockets, what signals are. Pure.

Effects: `Deliver`, `Pass`, `Write`, `Room`, `Silent`, `Disconnect`, `Unlinked`, `EndOffered`, `Needed`, `Ended`,
`SetTimer`, `CancelTimer`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from math import floor
from random import Random
from struct import Struct

from partisan_actors.distribution.carrier import ACKNOWLEDGE, DELIVER, Carrier, Deliver, Room, Write
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.session_events import (
    Disconnect,
    Effect,
    Ended,
    EndOffered,
    Needed,
    OpenStream,
    Pass,
    Silent,
    Unlinked,
)
from partisan_actors.distribution.session_parameters import SessionParameters
from partisan_actors.distribution.stream import (
    BadAcknowledgement,
    Buffer,
    ReceivingStream,
    SendingStream,
)
from partisan_actors.distribution.streams import ONLY, StreamId, Streams
from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import (
    ACK,
    CLOSE,
    DATA,
    HEARTBEAT,
    HEARTBEAT_REPLY,
    IDLE,
    LAST_FRAMES,
    NEEDED,
    OPEN_STREAM,
    OPTIONAL,
    REFUSAL,
    RELAY,
    ROUTE,
    UNLINK,
    BrokenFrame,
    Frame,
    encode_extension,
    encode_frame,
    iterate_extensions,
)
from partisan_actors.wire.hello import Refusal

__all__ = [
    "DELIVER",
    "NO_WHOLE_FRAME",
    "Deliver",
    "Disconnect",
    "Effect",
    "EndOffered",
    "Ended",
    "Needed",
    "OpenStream",
    "Pass",
    "Phase",
    "Room",
    "SessionMachine",
    "SessionParameters",
    "Silent",
    "Unlinked",
    "Write",
]

NO_WHOLE_FRAME = "no whole frame came"

_HEARTBEAT = "heartbeat"
_CLOSING = "closing"
_UNLINK = "unlink"

# What a CLOSE says of streams whose last frames may still be on other connections: channel, stream, number of each.
_LAST_FRAME = Struct(">HHQ")
_MOST_LAST_FRAMES = 5000

_TOKEN_SIZE = 8
_MAX_REASON = 1024
# RFC 6298: the weight of a new round-trip time in the smoothed one.
_ROUND_TRIP_GAIN = 1 / 8

# So many times as long as our timers are late, a silent peer is given beyond what silent ones are given.
_EXCUSE = 4


# Seconds. The checks of all sessions of a machine come at its ticks, and so their heartbeats go, and arrive, together:
# an idle process is woken a few times in a second, and not for each. To be woken costs 25 us, half of a heartbeat. Who
# accepted the connection comes half a tick later: so one end asks, and what it is answered is the other's sign of life.
_TICK = 0.1

_NOTHING: Sequence[Effect] = ()
_PASS: Sequence[Effect] = (Pass(),)


class Phase(enum.Enum):
    """Where a session stands."""

    CONNECTED = "connected"
    BROKEN = "broken"
    CLOSING = "closing"
    ENDED = "ended"


class SessionMachine:
    """One session, seen from one of its ends."""

    __slots__ = (
        "_after_tick",
        "_breaks",
        "_check_due",
        "_frame_within",
        "_last_call",
        "_last_frames",
        "_late",
        "_looked",
        "_parameters",
        "_probe",
        "_probe_answered",
        "_probe_sent",
        "carrier",
        "closing",
        "number",
        "peer",
        "phase",
        "round_trip",
        "streams",
        "unlinking",
    )

    def __init__(self, peer: Life, number: int, parameters: SessionParameters, streams: Streams | None = None) -> None:
        """Begin without a connection; `streams` are those that the two nodes have, one by default."""
        self.peer = peer
        self.number = number  # the same at both ends, and higher than that of any session before
        self.phase = Phase.BROKEN
        self.streams = streams = streams if streams is not None else Streams({}, parameters.stream)
        urgent = streams.system if streams.system is not streams.default else None
        self.carrier = Carrier(streams, streams.default, parameters.acknowledge_after, urgent)
        self.round_trip: float | None = None  # seconds, smoothed
        self._parameters = parameters
        whole_frames = streams.default.id == ONLY
        self._frame_within = parameters.frame_within * (3 if whole_frames else 1)
        self._check_due = 0.0  # when the heartbeat timer should fire
        self._late = 0.0  # seconds that it was late, lately
        self._after_tick = 0.0  # seconds by which its checks come after the ticks
        self._looked = 0.0  # when it was last counted how long pieces of signals have been waited for
        self._last_call = False  # the peer was asked for a sign of life, and has `last_call` seconds to give it
        self._probe = 0  # the number of the last HEARTBEAT
        self._probe_sent = 0.0  # when it went
        self._probe_answered = True  # or its connection is gone
        self.unlinking = False  # we have given the connection up, and wait for the peer's answer
        self.closing = ""  # the reason of a peer that has left, while what it sent before may still come
        self._last_frames: dict[StreamId, int] = {}  # what that is: the number of the last frame, by stream
        self._breaks: list[float] = []  # when connections ended by a broken envelope, lately

    @property
    def sending(self) -> SendingStream:
        """The sending end of the default stream."""
        return self.streams.default.sending

    @property
    def receiving(self) -> ReceivingStream:
        """The receiving end of the default stream."""
        return self.streams.default.receiving

    def connected(
        self, received: int, now: float, random: Random, link: bool = True, accepted: bool = False
    ) -> Sequence[Effect]:
        """Begin on a new connection, whose other end has every frame of the default stream up to `received`.

        Args:
            link: its peer is looked after by heartbeats. Over a route nothing is sent to be heard, but for `ask`:
                whether that peer is there is for its neighbours to find out.
            accepted: it is the peer that made it.
        """
        if self.phase is Phase.CLOSING:
            # The peer was about to replace its connection when it left. Nothing comes over that one any more, and
            # a session that went on here would never hear that the peer's has ended.
            return _NOTHING
        try:
            effects: list[Effect] = [*self.carrier.connected(received, now)]
        except BadAcknowledgement:
            # Both sides said that they hold this session, and one of them holds another one's state.
            return self.end("out of step", now)
        self.phase = Phase.CONNECTED
        self._after_tick = _TICK / 2 if accepted else 0.0
        self._looked = now
        self._last_call = False
        self._probe_answered = True
        # So the first check sends one, and soon: it gives a round-trip time.
        self._probe_sent = now - self._parameters.probe_interval
        if not link:
            return [*effects, CancelTimer(_HEARTBEAT)]
        effects.append(self._check_in(self._parameters.heartbeat_interval * random.uniform(0.1, 0.2), now))
        return effects

    def ask(self, now: float) -> Sequence[Effect]:
        """Send something over a route: if it cannot be carried any more, that is found out."""
        return (self._send_heartbeat(now),) if self.phase is Phase.CONNECTED else _NOTHING

    def disconnected(self) -> Sequence[Effect]:
        """The present connection is gone."""
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        self.phase = Phase.BROKEN
        return self._stop_timers()

    def end(self, reason: str, now: float) -> Sequence[Effect]:
        """End the session, and tell the peer when a connection is there."""
        return self._end(reason, b"")

    def leave(self, reason: str, now: float) -> Sequence[Effect]:
        """As `end`; but the peer is to wait for what was written to other connections."""
        last_frames = [
            _LAST_FRAME.pack(*stream.id, stream.sending.sent)
            for stream in self.streams
            if stream.sending.sent > stream.sending.acknowledged
        ]
        return self._end(reason, encode_extension(LAST_FRAMES, b"".join(last_frames[:_MOST_LAST_FRAMES])))

    def _end(self, reason: str, extensions: bytes) -> Sequence[Effect]:
        if self.phase is Phase.ENDED:
            return _NOTHING
        effects: list[Effect] = []
        if self.phase is Phase.CONNECTED:
            told = reason.encode()[:_MAX_REASON]
            effects.append(Write(encode_frame(CLOSE, extensions=extensions, body_buffers=(told,))))
        return [*effects, *self._ended(reason)]

    def _closed(self, frame: Frame) -> Sequence[Effect]:
        """The peer has left."""
        reason = _readable(bytes(frame.body))
        for kind, data in iterate_extensions(frame.extensions):
            if kind == LAST_FRAMES and len(data) % _LAST_FRAME.size == 0:
                self._last_frames = {(channel, index): last for channel, index, last in _LAST_FRAME.iter_unpack(data)}
        if self._caught_up():
            return self._ended(reason)
        self.phase = Phase.CLOSING
        self.closing = reason
        return [*self._stop_timers(), SetTimer(_CLOSING, self._parameters.last_words)]

    def _caught_up(self) -> bool:
        for stream_id, last in self._last_frames.items():
            stream = self.streams.get(stream_id)
            if stream is not None and stream.receiving.received < last:
                return False
        return True

    def look_at_end(self) -> Sequence[Effect]:
        """Something came after the peer had left: see whether it was the last."""
        return self._ended(self.closing) if self.phase is Phase.CLOSING and self._caught_up() else _NOTHING

    def other_connection_lost(self, left: int) -> Sequence[Effect]:
        """A stream's own connection is gone, and so many are left."""
        return self._ended(self.closing) if self.phase is Phase.CLOSING and not left else _NOTHING

    def _ended(self, reason: str) -> list[Effect]:
        self.phase = Phase.ENDED
        return [*self._stop_timers(), Ended(reason)]

    def unlink(self) -> Sequence[Effect]:
        """Give the connection up, after what was written; the session goes on. `Unlinked` follows, within 1 s."""
        if self.phase is not Phase.CONNECTED or self.unlinking:
            return _NOTHING
        self.unlinking = True
        frame = Write(encode_frame(UNLINK, flags=OPTIONAL))
        return [*self.carrier.pay(), frame, SetTimer(_UNLINK, self._parameters.last_words)]

    def offer_end(self) -> Sequence[Effect]:
        """Ask the peer whether it needs the session; until it has answered, or the connection is gone, send nothing.

        `Needed` or `Ended` follows. What was received is acknowledged first: so what the peer has sent that we had not
        when we asked is unacknowledged when it is asked, and it does not agree.
        """
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        return [*self.carrier.pay(), Write(encode_frame(IDLE, flags=OPTIONAL))]

    def refuse_end(self) -> Sequence[Effect]:
        """Answer `EndOffered`: the session is needed."""
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        return (Write(encode_frame(IDLE, flags=OPTIONAL, body_buffers=(NEEDED,))),)

    def _stop_timers(self) -> list[Effect]:
        self.carrier.disconnected()
        effects: list[Effect] = [CancelTimer(_HEARTBEAT), CancelTimer(ACKNOWLEDGE), CancelTimer(_CLOSING)]
        if self.unlinking:
            self.unlinking = False
            effects.append(CancelTimer(_UNLINK))
        return effects

    def next_frame(self) -> Sequence[Buffer] | None:
        """The bytes of the next frame to write, what is owed to the peer with it; None when nothing waits."""
        return self.carrier.next_frame()

    def frame(self, frame: Frame, now: float) -> Sequence[Effect]:
        """Take a frame of the peer."""
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        try:
            kind = frame.header.kind
            if kind == DATA:
                return self.carrier.data(frame)
            if kind in (RELAY, ROUTE):
                return _PASS
            return self._control(frame, now)
        except (BrokenFrame, BadAcknowledgement) as broken:
            return self.broken_envelope(str(broken), now)

    def _control(self, frame: Frame, now: float) -> Sequence[Effect]:
        kind, body = frame.header.kind, bytes(frame.body)
        if kind == ACK:
            return self.carrier.acknowledged(frame)
        if kind == HEARTBEAT:
            return self._heartbeat(body)
        if kind == HEARTBEAT_REPLY:
            return self._heartbeat_reply(body, now)
        if kind == CLOSE:
            return self._closed(frame)
        if kind == UNLINK:
            answered = bool(body)
            return (Unlinked(answer=not answered, close=answered or not self.unlinking),)
        if kind == IDLE:
            return (Needed(),) if body else (EndOffered(),)
        if kind == OPEN_STREAM:
            return self._open_stream(frame.header.channel, frame.header.stream)
        if kind == REFUSAL:
            # The initiator's last check failed, after we were done: the last word on the handshake.
            return (Disconnect(f"refused: {Refusal.decode(body)}"),)
        raise BrokenFrame(f"a frame of kind {kind} after the handshake")

    def _open_stream(self, channel: int, index: int) -> Sequence[Effect]:
        if self.streams.get((channel, index)) is None:
            raise BrokenFrame(f"a connection was asked for channel {channel}, stream {index}")
        return (OpenStream((channel, index)),)

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
        return self.carrier.read_done() if self.phase is Phase.CONNECTED else _NOTHING

    def broken_envelope(self, reason: str, now: float) -> Sequence[Effect]:
        """The peer sent what no peer sends. The session may go on, but not for ever by breaking and resuming."""
        ended = self.envelope_was_broken(reason, now)
        return ended or (Disconnect(f"broken envelope: {reason}", broken=True),)

    def envelope_was_broken(self, reason: str, now: float) -> Sequence[Effect]:
        """Count it, on whatever connection it was."""
        parameters = self._parameters
        self._breaks = [when for when in self._breaks if now - when < parameters.broken_within]
        self._breaks.append(now)
        if len(self._breaks) >= parameters.broken_envelopes:
            return self.end(f"broken envelope: {reason}", now)
        return _NOTHING

    def overdue(self, now: float) -> bool:
        """Whether the peer should have been heard by now, so that its life is in doubt."""
        return now - self.carrier.last_heard > 1.5 * self._parameters.heartbeat_interval

    def step(self, event: TimerFired, now: float, random: Random) -> Sequence[Effect]:
        """Take a timer that is due."""
        if event.key == _CLOSING:
            return self._ended(self.closing) if self.phase is Phase.CLOSING else _NOTHING
        if self.phase is not Phase.CONNECTED:
            return _NOTHING
        if event.key == ACKNOWLEDGE:
            return self.carrier.pay()
        if event.key == _UNLINK:
            return (Unlinked(answer=False, close=True),)
        return self._check(now, random)

    def _check(self, now: float, random: Random) -> Sequence[Effect]:
        parameters, carrier = self._parameters, self.carrier
        late = now - self._check_due
        self._late = max(late, self._late / 2)
        if late >= parameters.stall:
            # We were stopped, or something kept the node from its timers: what the peer sent meanwhile has not been
            # read yet. Without this grace a node that was stopped would take all others for dead when it goes on.
            carrier.last_heard = carrier.last_frame = self._looked = now
        if carrier.last_heard - carrier.last_frame >= self._frame_within:
            return (Disconnect(NO_WHOLE_FRAME),)
        silent_for = now - carrier.last_heard
        # What keeps our timers keeps our reads too, and those of the peer if it shares the machine: a node that works
        # at its limit would take others for silent, and have more to do for it (Lifeguard, section 3).
        silence = parameters.silence + _EXCUSE * self._late
        if silent_for < silence:
            self._last_call = False
        elif self._last_call:
            return (Silent(),)
        else:
            self._last_call = True
            return [self._send_heartbeat(now), self._check_in(parameters.last_call, now)]
        if self._wait_for_pieces(now, silent_for) >= parameters.piece_within:
            return self.end("broken envelope: a signal has begun, and its peer does not go on with it", now)
        effects: list[Effect] = []
        interval = parameters.heartbeat_interval
        if now - carrier.last_sent >= interval * 0.75 or now - self._probe_sent >= parameters.probe_interval:
            effects.append(self._send_heartbeat(now))
        # What was sent last may be younger than this check: the next one is due an interval after *it*.
        until_next = max(carrier.last_sent + interval - now, interval * 0.25) * random.uniform(0.95, 1.0)
        until_silent = max(silence - silent_for, 0.001)  # where numbers are rounded, it may be no time that passes
        effects.append(self._check_in(min(self._to_tick(now, until_next), until_silent), now))
        return effects

    def _wait_for_pieces(self, now: float, silent_for: float) -> float:
        """How long the next piece of some signal has been waited for, in seconds that count."""
        seconds, self._looked = now - self._looked, now
        if not self.streams.assembling or silent_for > 2 * self._parameters.heartbeat_interval:
            return 0.0  # there is none, or it may have been stopped
        waiting = (stream for stream in self.streams if stream.assembly and self.carrier.is_idle_with(stream))
        return max((stream.assembly.wait(seconds) for stream in waiting), default=0.0)

    def _send_heartbeat(self, now: float) -> Effect:
        self._probe += 1
        self._probe_sent = self.carrier.last_sent = now
        self._probe_answered = False
        token = self._probe.to_bytes(_TOKEN_SIZE, "big")
        return Write(encode_frame(HEARTBEAT, body_buffers=(token,)), droppable=True)

    def _to_tick(self, now: float, seconds: float) -> float:
        """Seconds to the last tick that is no farther away; so many where that is too near."""
        ticked = floor((now + seconds - self._after_tick) / _TICK) * _TICK + self._after_tick - now
        return ticked if ticked > seconds / 2 else seconds

    def _check_in(self, seconds: float, now: float) -> Effect:
        self._check_due = now + seconds
        return SetTimer(_HEARTBEAT, seconds)


def _readable(reason: bytes) -> str:
    """The reason of a CLOSE, fit for a log; it is the peer's text."""
    text = reason[:_MAX_REASON].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text) or "closed"
