"""A session as the parts above see it, and the driver of its machine.

Promised: everything that a session has to tell is told through its owner, in order. A session that ended takes
nothing more. Its first connection, which is a link or goes by a route, carries the default stream and the system's, and
those that have no connection of their own yet; see `stream_connections` for these, and `reaching` for how it comes to
its first connection.

Not known here: how connections are made, what a signal means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from partisan_actors.distribution.bearer import Bearer
from partisan_actors.distribution.carrier import Deliver, DeliverWhole, Room, Write
from partisan_actors.distribution.channels import AgreedChannel
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.session import (
    Disconnect,
    Ended,
    EndOffered,
    Needed,
    OpenStream,
    Pass,
    SessionMachine,
    SessionParameters,
    Silent,
    Unlinked,
)
from partisan_actors.distribution.spare_buffers import SpareBuffers
from partisan_actors.distribution.stream import Signal
from partisan_actors.distribution.stream_connections import StreamConnections, StreamConnectionsOwner
from partisan_actors.distribution.streams import Stream, StreamId, Streams
from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import OPEN_STREAM, OPTIONAL, UNLINK, UNLINKED, BrokenFrame, Frame, encode_frame
from partisan_actors.wire.handshake import Hello

if TYPE_CHECKING:
    from partisan_actors.distribution.link import Link

__all__ = ["FORGOTTEN", "Session", "SessionOwner"]

FORGOTTEN = "forgotten"
"""Why a session has no link any more that one of its two sides has given up."""


class SessionOwner(StreamConnectionsOwner, Protocol):
    """What a session asks of its owner, and tells it."""

    spares: SpareBuffers

    def session_received(self, session: Session, body: bytes | memoryview, outgoing: Outgoing) -> None:
        """The body of one DATA frame came, on the stream that `outgoing` is the other direction of."""

    def session_passes(self, session: Session, frame: Frame) -> None:
        """A frame came over its link that is relayed, or about the ways of what is. Raises BrokenFrame."""

    def session_lost(self, session: Session, reason: str, routed: bool) -> None:
        """Its first connection is gone, which was by a route, or a link."""

    def session_needs(self, session: Session) -> None:
        """It has something to carry, and no connection."""

    def session_unlinked(self, session: Session, reason: str) -> None:
        """Its link was given up on purpose; it goes on."""

    def session_end_offered(self, session: Session) -> None:
        """Its peer does not need it: end it, or `refuse_end`."""

    def session_needed(self, session: Session) -> None:
        """It rests, and its peer has something to say on it, or says that it needs it."""

    def session_broken_envelope(self, session: Session, reason: str) -> None:
        """Its peer sent what no peer sends; the connection is being closed."""

    def session_silent(self, session: Session) -> None:
        """Its connection was closed because the peer is silent."""

    def session_over(self, session: Session, reason: str) -> None:
        """It has ended."""


class Session:
    """What this node has with one life of another, from its start to its end."""

    __slots__ = (
        "_left_behind",
        "_owner",
        "_timers",
        "channels",
        "connections",
        "default",
        "ended",
        "first",
        "frame",
        "hello",
        "linked",
        "machine",
        "rests",
        "send",
        "superseded",
        "system",
    )

    def __init__(
        self,
        owner: SessionOwner,
        hello: Hello,
        number: int,
        parameters: SessionParameters,
        channels: Mapping[str, AgreedChannel],
        dials: bool,
    ) -> None:
        """Begin without a connection.

        Args:
            hello: what the peer said of itself.
            number: the session's, the same at both ends.
            channels: what the two nodes agreed on, by name.
            dials: it is this node that makes the streams' own connections.
        """
        self.hello = hello  # what the peer said of itself when it last proved itself
        self.ended: str | None = None  # the reason, once it has
        self.linked = False  # it has a link, or one that was there is being made anew; the parts above know
        self.superseded = False  # it rests until it has ended, though something may still come
        self.rests = False  # nothing is to be sent: whether the peer still has it is not known. `reaching` says so
        self.channels = channels
        self._left_behind = 0  # the last frame of the system's stream that a link took with it
        self._owner = owner
        streams = Streams(channels, parameters.stream, owner.spares)
        self.machine = SessionMachine(hello.life, number, parameters, streams)
        self.frame: Callable[[Frame, float], Sequence[Any]] = self.machine.frame  # those of the first connection
        self.first = Bearer(owner, self.machine.carrier, self)
        self.default = Outgoing(self, streams.default, self.first, owner.clock, used=True)
        self.system = self.default
        if streams.system is not streams.default:
            self.system = Outgoing(self, streams.system, self.first, owner.clock, used=True)
        self.send: Callable[[Signal], bool] = self.default.send  # of flow 0
        self.connections = StreamConnections(owner, self, dials, parameters)
        self._timers = KeyedTimers(owner.clock, self._timer_fired)

    def __repr__(self) -> str:
        phase = self.machine.phase.value
        return f"<Session {self.number} with {self.peer.node} {phase}>"

    # For the parts above

    @property
    def peer(self) -> Life:
        """The life at the other end."""
        return self.machine.peer

    @property
    def node(self) -> str:
        """Its name."""
        return self.machine.peer.node

    @property
    def number(self) -> int:
        """The session's number, the same at both ends and higher than that of any session before it."""
        return self.machine.number

    @property
    def link(self) -> Link | None:
        """Its first connection, while there is one."""
        return self.first.link

    @property
    def connected(self) -> bool:
        """Whether its first connection is there right now. While it is not, what is sent on it waits."""
        return self.first.link is not None

    @property
    def direct(self) -> bool:
        """Whether its first connection is a link, rather than a route or none."""
        link = self.first.link
        return link is not None and not link.routed

    @property
    def keeps_link(self) -> bool:
        """Whether it has a link that this node has not given up: what is said over a link may be said."""
        return self.linked and not self.machine.unlinking

    @property
    def carries(self) -> bool:
        """Whether anything is queued, or on its way and not acknowledged, that is worth a connection."""
        for stream in self.machine.streams:
            sending = stream.sending
            left_behind = stream is self.system.stream and not sending.unsent and sending.sent <= self._left_behind
            if sending.buffered and not left_behind:
                return True
        return False

    def leave_behind(self) -> None:
        """Its link was given up on purpose.

        That the system traffic which went over it last was not acknowledged any more is no reason for another
        connection: it was about the link, or has arrived.
        """
        if self.system is not self.default:
            self._left_behind = self.system.stream.sending.sent

    @property
    def unacknowledged_at_all(self) -> bool:
        """Whether anything is queued, or not acknowledged, worth a connection or not."""
        return any(stream.sending.buffered for stream in self.machine.streams)

    @property
    def last_active(self) -> float:
        """When bytes last went over its first connection, or came, on the clock of the node."""
        carrier = self.first.carrier
        return max(carrier.last_heard, carrier.last_sent)

    @property
    def address(self) -> str | None:
        """The other end of its first connection."""
        link = self.first.link
        return link.address if link is not None else None

    @property
    def unsent(self) -> int:
        """Bytes of signals of the default stream that no frame has taken yet."""
        return self.default.unsent

    @property
    def unacknowledged(self) -> int:
        """Bytes of signals of the default stream in frames that the peer has not acknowledged."""
        return self.default.unacknowledged

    @property
    def congested(self) -> bool:
        """Whether senders to the default stream should wait."""
        return self.default.congested

    @property
    def round_trip(self) -> float | None:
        """The smoothed round-trip time in seconds, when one was measured."""
        return self.machine.round_trip

    def outgoing(self, stream: StreamId) -> Outgoing:
        """The sending end of a stream that the two nodes have."""
        if stream == self.default.stream.id:
            return self.default
        return self.system if stream == self.system.stream.id else self.connections.outgoing(stream)

    def end(self, reason: str) -> None:
        """End the session and tell the peer, if it can be told. What is still queued is lost."""
        self.perform(self.machine.end(reason, self._owner.clock.now()))

    def leave(self, reason: str) -> None:
        """End the session after writing what is queued, which has a second to get out."""
        self.connections.leave()
        self.first.write_frames(everything=True)
        self.perform(self.machine.leave(reason, self._owner.clock.now()))

    def unlink(self) -> None:
        """Give up its link, after what is queued; the session goes on without."""
        if self.direct and not self.machine.closing:
            self.connections.leave()
            self.first.write_frames(everything=True)
            self.perform(self.machine.unlink())
        else:
            self._owner.session_unlinked(self, FORGOTTEN)

    def offer_end(self) -> None:
        """Ask the peer, over the connection that is there, whether it needs the session. For `reaching`."""
        self.perform(self.machine.offer_end())
        self.first.flush()

    def refuse_end(self) -> None:
        """Tell the peer that it is needed. For `reaching`."""
        self.perform(self.machine.refuse_end())
        self.first.flush()

    def drop(self, reason: str) -> None:
        """Give up the connection that it has; it goes on over the next. For `reaching`."""
        self._drop_link(Disconnect(reason))

    def ask(self) -> None:
        """See whether its route still carries anything; if not, the connection is lost soon."""
        self.perform(self.machine.ask(self._owner.clock.now()))
        self.first.flush()

    def flush(self) -> None:
        """Write what the first connection has to, as far as it takes it."""
        self.first.flush()

    # For the owner

    @property
    def answers(self) -> bool:
        """Whether the peer is connected and was heard in time."""
        return self.first.link is not None and not self.machine.overdue(self._owner.clock.now())

    def received_number(self, stream: StreamId) -> int:
        """The last frame that came of a stream, as a hello says it; 0 for the default one's place, (0, 0)."""
        streams = self.machine.streams
        return streams.received(streams.default.id if stream == streams.system.id else stream)

    def attach(self, link: Link, hello: Hello, received: int) -> None:
        """Go on over `link`, which replaces the first connection so far.

        Args:
            hello: what the peer said, which is proven.
            received: the last frame of this session's default stream that it has.
        """
        self.first.attach(link)
        self.hello = hello
        self.connections.moved(hello.addresses)
        if link.routed:
            self.connections.ride_first()
        else:
            self.connections.first_is_link()
        clock = self._owner.clock
        now, random = clock.now(), clock.random
        self.perform(self.machine.connected(received, now, random, link=not link.routed, accepted=not link.dialled))
        self.first.flush()

    # For its streams

    def in_use(self, outgoing: Outgoing) -> None:
        """A stream gets its first signal: see that it is carried."""
        self.connections.want(outgoing.stream.id)

    def overflowed(self) -> None:
        """A stream was offered more than it may keep: it has a hole now."""
        self.end("overflow")

    def tell_room(self, stream: Stream) -> None:
        """A stream is congested no more."""
        self.outgoing(stream.id).tell_room()

    def ask_for(self, stream: StreamId) -> None:
        """Ask the peer to dial for a stream."""
        channel, index = stream
        self.first.write(Write(encode_frame(OPEN_STREAM, flags=OPTIONAL, channel=channel, stream=index)))

    def carry_first(self, outgoing: Outgoing) -> None:
        """Let the first connection carry a stream, from what its peer is not known to have."""
        if outgoing.bearer is self.first:
            return
        outgoing.bearer = self.first
        self.first.carrier.carry(outgoing.stream)
        self.first.dirty()

    def stream_lost(self) -> bool:
        """A stream's own connection is gone; whether it is to be made anew."""
        self.perform(self.machine.other_connection_lost(len(self.connections)))
        return self.ended is None and not self.machine.closing

    def stream_broken(self, reason: str) -> None:
        """The peer sent what no peer sends, on a stream's own connection."""
        self._owner.session_broken_envelope(self, reason)
        self.perform(self.machine.envelope_was_broken(reason, self._owner.clock.now()))

    # Of a bearer

    def needs_link(self) -> None:
        """Something waits, and there is no connection."""
        if self.ended is None:
            self._owner.session_needs(self)

    def deliver(self, frame: Frame) -> None:
        """Hand the body of a frame up, whatever connection brought it."""
        # hot path: once per joined write of the peer.
        if self.rests:
            self._owner.session_needed(self)
        header, default = frame.header, self.default
        stream = (header.channel, header.stream)
        outgoing = default if stream == default.stream.id else self.outgoing(stream)
        self._owner.session_received(self, frame.body, outgoing)
        if self.machine.closing:
            self.perform(self.machine.look_at_end())

    def deliver_body(self, stream: StreamId, body: bytes | memoryview) -> None:
        """Hand up what came on a stream in more than one frame, or compressed."""
        if self.rests:
            self._owner.session_needed(self)
        self._owner.session_received(self, body, self.outgoing(stream))
        if self.machine.closing:
            self.perform(self.machine.look_at_end())

    def perform(self, effects: Sequence[Any], frame: Frame | None = None) -> None:
        """Perform effects of the machine."""
        for effect in effects:
            kind = type(effect)
            if kind is Deliver:
                assert frame is not None
                self.deliver(frame)
            elif kind is Pass:
                assert frame is not None
                self._pass(frame)
            elif kind is DeliverWhole:
                self.deliver_body(effect.stream.id, effect.body)
            elif kind is Write:
                self.first.write(effect)
            elif kind is SetTimer:
                self._timers.set(effect.key, effect.seconds)
            elif kind is CancelTimer:
                self._timers.cancel(effect.key)
            elif kind is Room:
                self.tell_room(effect.stream)
            elif kind is OpenStream:
                self.connections.want(effect.stream)
            elif kind is Disconnect:
                self._drop_link(effect)
            elif kind is Silent:
                self._silent()
            elif kind is Unlinked:
                self._unlinked(effect)
            elif kind is EndOffered:
                self._owner.session_end_offered(self)
            elif kind is Needed:
                self._owner.session_needed(self)
            else:
                assert type(effect) is Ended
                self._over(effect.reason)

    def link_broken(self, reason: str) -> None:
        """The bytes of the first connection made no frame."""
        self.perform(self.machine.broken_envelope(reason, self._owner.clock.now()))

    def link_lost(self, reason: str) -> None:
        """The first connection is gone."""
        link = self.first.detach()
        unlinking = self.machine.unlinking
        self.perform(self.machine.disconnected())
        if self.ended is not None or self.machine.closing:
            return
        if unlinking:
            self._owner.session_unlinked(self, FORGOTTEN)
        else:
            self._owner.session_lost(self, reason, link is not None and link.routed)

    # Private

    def _pass(self, frame: Frame) -> None:
        if not self.direct:
            return  # what relays goes over links alone; over a route it could go round for ever
        try:
            self._owner.session_passes(self, frame)
        except BrokenFrame as broken:
            self.link_broken(broken.reason)

    def _timer_fired(self, event: TimerFired) -> None:
        clock = self._owner.clock
        self.perform(self.machine.step(event, clock.now(), clock.random))

    def _drop_link(self, effect: Disconnect) -> None:
        link = self.first.link
        if link is None:
            return
        if effect.broken:
            self._owner.session_broken_envelope(self, effect.reason)
        link.close(effect.reason)
        self.link_lost(effect.reason)

    def _unlinked(self, effect: Unlinked) -> None:
        if not self.direct:
            return
        if effect.answer:
            self.connections.leave()
            self.first.write_frames(everything=True)
            self.perform(self.machine.carrier.pay())
            self.first.write(Write(encode_frame(UNLINK, flags=OPTIONAL, body_buffers=(UNLINKED,))))
        if not effect.close:
            return
        link = self.first.detach()
        self.perform(self.machine.disconnected())
        if link is not None:
            link.close(FORGOTTEN, flush=True)
        self._owner.session_unlinked(self, FORGOTTEN)

    def _silent(self) -> None:
        link = self.first.detach()
        if link is not None:
            link.close("silent")
        self.perform(self.machine.disconnected())
        self._owner.session_silent(self)

    def _over(self, reason: str) -> None:
        self.ended = reason
        self._timers.close()
        link = self.first.detach()
        if link is not None:
            link.close(reason, flush=True)
        self.connections.close(reason)
        self.default.end()
        self.system.end()
        self._owner.session_over(self, reason)
