"""The connections of a session's streams, but for the first, which the session itself is about.

Promised: a stream moves between its own connection and the session's first one without a loss or a double; a
connection on which what we sent is not acknowledged in time, with nothing heard, is given up and made anew. What
becomes of them is told to nobody: to the parts above a stream is a stream.

Not known here: heartbeats and phases of the session, what a signal means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from partisan_actors.distribution.attempt import Attempt, AttemptOwner, Outcome, Succeeded
from partisan_actors.distribution.bearer import Bearer, BearerOwner
from partisan_actors.distribution.carrier import ACKNOWLEDGE, Carrier, Deliver, DeliverWhole, Room, Write
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.session import NO_WHOLE_FRAME, SessionParameters
from partisan_actors.distribution.stream import BadAcknowledgement
from partisan_actors.distribution.stream_dialling import (
    AskPeer,
    DialStream,
    Event,
    FirstMoved,
    PeerMoved,
    StreamConnected,
    StreamDialFailed,
    StreamDialling,
    StreamDiallingParameters,
    StreamLost,
    StreamWanted,
    UseFirst,
)
from partisan_actors.distribution.streams import Stream, StreamId
from partisan_actors.wire.frames import BrokenFrame, Frame
from partisan_actors.wire.handshake import Purpose

if TYPE_CHECKING:
    from partisan_actors.distribution.link import Link
    from partisan_actors.distribution.live_session import Session

__all__ = ["StreamConnection", "StreamConnections", "StreamConnectionsOwner"]

_STALLED = "stalled"


class StreamConnectionsOwner(BearerOwner, AttemptOwner, Protocol):
    """What they need of the node."""


class StreamConnection:
    """One of them, or the lack of it."""

    __slots__ = ("_bearer", "_channel", "_check_due", "_connections", "_moved", "_timers", "_unsent", "outgoing")

    def __init__(self, connections: StreamConnections, stream: Stream, carrier: Carrier, channel: str) -> None:
        owner = connections.owner
        self._channel = channel  # its name
        self._connections = connections
        self._bearer = Bearer(owner, carrier, self)
        self.outgoing = Outgoing(connections.session, stream, self._bearer, owner.clock, used=False)
        self._timers = KeyedTimers(owner.clock, self._fired)
        self._check_due = 0.0  # when the next look for a stall should be
        self._unsent = 0  # bytes that the connection had not sent at the last look
        self._moved = 0.0  # when it was last seen to have sent some of them

    def __repr__(self) -> str:
        return f"<StreamConnection {self.outgoing.stream!r} of {self._connections.session!r}>"

    @property
    def link(self) -> Link | None:
        """The connection, while there is one."""
        return self._bearer.link

    def attach(self, link: Link, received: int) -> None:
        """Go on over `link`, whose other end has the stream up to number `received`."""
        bearer = self._bearer
        counters = self._connections.owner.counters
        counters.channels_up[self._channel] += 1
        if bearer.link is not None:
            counters.channels_down[self._channel] += 1
        bearer.attach(link)
        self._connections.session.first.carrier.drop(self.outgoing.stream)
        self.outgoing.bearer = bearer
        try:
            self.perform(bearer.carrier.connected(received, self._now()))
        except BadAcknowledgement:
            self._connections.session.end("out of step")
            return
        self._check_in(self._connections.silence)
        bearer.flush()

    def leave(self) -> None:
        """Write what is queued; what has no connection of its own yet goes over the first."""
        if self._bearer.link is None and self.outgoing.stream.sending.frame_waits:
            self._connections.session.carry_first(self.outgoing)
        else:
            self._bearer.write_frames(everything=True)

    def let_go(self, reason: str) -> None:
        """Close it, once what was written is out; the stream is carried otherwise from now on."""
        link = self._let_go()
        if link is not None:
            link.close(reason, flush=True)
            self._bearer.carrier.disconnected()
        self._timers.close()

    def close(self, reason: str) -> None:
        """Close it, once what was written is out; the stream takes nothing any more."""
        self._timers.close()
        link = self._let_go()
        if link is not None:
            link.close(reason, flush=True)
        self.outgoing.end()

    # Of a bearer

    def frame(self, frame: Frame, now: float) -> Sequence[Any]:
        """Take a frame."""
        try:
            return self._bearer.carrier.frame(frame, now)
        except (BrokenFrame, BadAcknowledgement) as broken:
            self.link_broken(str(broken))
            return ()

    def deliver(self, frame: Frame) -> None:
        """Hand the body of a frame up."""
        self._connections.session.deliver(frame)

    def perform(self, effects: Sequence[Any], frame: Frame | None = None) -> None:
        """Perform effects."""
        for effect in effects:
            match effect:
                case Deliver():
                    assert frame is not None
                    self.deliver(frame)
                case DeliverWhole(stream, body):
                    self._connections.session.deliver_body(stream.id, body)
                case Write():
                    self._bearer.write(effect)
                case SetTimer(key, seconds):
                    self._timers.set(key, seconds)
                case Room(stream):
                    self._connections.session.tell_room(stream)

    def needs_link(self) -> None:
        """One is being made, or the session's first connection stands in for it."""

    def link_broken(self, reason: str) -> None:
        """The peer sent what no peer sends."""
        link = self._bearer.link
        self._connections.session.stream_broken(reason)
        # The session may have ended by that, and closed it.
        if link is not None and self._bearer.link is link:
            link.close(f"broken envelope: {reason}")
            self.link_lost(f"broken envelope: {reason}")

    def link_lost(self, reason: str) -> None:
        """It is gone."""
        self._let_go()
        self._bearer.carrier.disconnected()
        self._timers.close()
        self._connections.lost(self)

    def _let_go(self) -> Link | None:
        link = self._bearer.detach()
        if link is not None:
            self._connections.owner.counters.channels_down[self._channel] += 1
        return link

    # Timers

    def _fired(self, event: TimerFired) -> None:
        if event.key == ACKNOWLEDGE:
            self.perform(self._bearer.carrier.pay())
        elif self._bearer.link is not None:
            self._look_for_a_stall()

    def _look_for_a_stall(self) -> None:
        """No heartbeats here: what is sent is acknowledged within milliseconds, so silence after it says enough."""
        carrier, silence, now = self._bearer.carrier, self._connections.silence, self._now()
        if now - self._check_due >= silence / 2:
            # It is we who were stopped: what came meanwhile has not been read yet.
            carrier.last_heard = carrier.last_frame = now
        if carrier.last_heard - carrier.last_frame >= self._connections.frame_within:
            self._give_up(NO_WHOLE_FRAME)
            return
        assert self._bearer.link is not None
        unsent, before = self._bearer.link.connection.unsent, self._unsent
        self._unsent = unsent
        if unsent < before:
            self._moved = now  # a slow link: a piece takes long to be whole, and only then is it acknowledged
        quiet = now - max(carrier.last_heard, carrier.last_sent, self._moved)
        if self.outgoing.unacknowledged and quiet >= silence:
            self._give_up(_STALLED)
            return
        self._check_in(max(silence - quiet, silence / 4))

    def _give_up(self, reason: str) -> None:
        link = self._bearer.link
        assert link is not None
        link.close(reason)
        self.link_lost(reason)

    def _check_in(self, seconds: float) -> None:
        self._check_due = self._now() + seconds
        self._timers.set(_STALLED, seconds)

    def _now(self) -> float:
        return self._connections.owner.clock.now()


class StreamConnections:
    """Those of one session."""

    __slots__ = (
        "_acknowledge_after",
        "_attempts",
        "_connections",
        "_machine",
        "_timers",
        "frame_within",
        "owner",
        "session",
        "silence",
    )

    def __init__(
        self, owner: StreamConnectionsOwner, session: Session, dials: bool, parameters: SessionParameters
    ) -> None:
        """Begin with none.

        Args:
            dials: this node makes them, rather than its peer.
        """
        self.owner = owner
        self.session = session
        self.silence = parameters.silence  # seconds after which one that does not acknowledge is given up
        self.frame_within = parameters.frame_within  # and one that brings bytes, but no whole frame
        self._acknowledge_after = parameters.acknowledge_after
        self._machine = StreamDialling(dials, session.hello.addresses, StreamDiallingParameters())
        self._timers = KeyedTimers(owner.clock, self._feed)
        self._connections: dict[StreamId, StreamConnection] = {}
        self._attempts: dict[StreamId, Attempt] = {}

    def __len__(self) -> int:
        return sum(connection.link is not None for connection in self._connections.values())

    def outgoing(self, stream: StreamId) -> Outgoing:
        """The sending end of a stream that has a connection of its own, or will have."""
        return self._connection(stream).outgoing

    def want(self, stream: StreamId) -> None:
        """A stream is used, or the peer asks for its connection."""
        self._feed(StreamWanted(stream))

    def attach(self, link: Link, stream: StreamId, received: int) -> None:
        """A connection for a stream is proven."""
        self._attempts.pop(stream, None)
        self.owner.counters.stream_connections += 1
        self._connection(stream).attach(link, received)
        if self.session.ended is None:
            self._feed(StreamConnected(stream))

    def lost(self, connection: StreamConnection) -> None:
        """One is gone: make it anew."""
        if self.session.stream_lost():
            self.owner.counters.stream_connections_lost += 1
            self._feed(StreamLost(connection.outgoing.stream.id))

    def moved(self, addresses: tuple[str, ...]) -> None:
        """The peer said where it can be dialled."""
        self._feed(PeerMoved(addresses))

    def first_is_link(self) -> None:
        """The first connection is a link: streams have connections of their own again."""
        self._feed(FirstMoved(link=True))

    def ride_first(self) -> None:
        """The session goes on without a link: let go of all, and let the first connection carry their streams."""
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            attempt.cancel()
        for connection in self._connections.values():
            connection.let_go("the session goes on without a link")
        self._feed(FirstMoved(link=False))

    def leave(self) -> None:
        """Write what is queued on all."""
        for connection in self._connections.values():
            connection.leave()

    def close(self, reason: str) -> None:
        """The session has ended."""
        self._timers.close()
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts.values():
            attempt.cancel()
        for connection in self._connections.values():
            connection.close(reason)

    def _connection(self, stream_id: StreamId) -> StreamConnection:
        connection = self._connections.get(stream_id)
        if connection is None:
            streams = self.session.machine.streams
            stream = streams.get(stream_id)
            assert stream is not None, f"{self.session} has no stream {stream_id}"
            carrier = Carrier(streams, stream, self._acknowledge_after)
            connection = self._connections[stream_id] = StreamConnection(
                self, stream, carrier, streams.channel_name(stream_id)
            )
            if self.session.ended is not None:
                connection.close(self.session.ended)
        return connection

    def _feed(self, event: Event) -> None:
        clock = self.owner.clock
        for effect in self._machine.step(event, clock.now(), clock.random):
            match effect:
                case DialStream(stream, address, timeout):
                    self._dial(stream, address, timeout)
                case AskPeer(stream):
                    self.session.ask_for(stream)
                case UseFirst(stream):
                    self.session.carry_first(self.session.outgoing(stream))
                case SetTimer(key, seconds):
                    self._timers.set(key, seconds)
                case CancelTimer(key):
                    self._timers.cancel(key)

    def _dial(self, stream: StreamId, address: str, timeout: float) -> None:
        def outcome(result: Outcome) -> None:
            # One that succeeded was attached before.
            if self._attempts.pop(stream, None) is not None and not isinstance(result, Succeeded):
                self._feed(StreamDialFailed(stream))

        node = self.session.node
        self._attempts[stream] = Attempt(self.owner, address, timeout, node, Purpose.LINK, outcome, stream)
