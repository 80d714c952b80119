"""One connection, of its own or by a route: its handshake, then the frames that it carries for a session.

Promised: before the peer is proven it costs 4 KiB and `prove_within` seconds; it is told why it is refused if it
speaks the protocol, and is cut off at once if it does not. Whatever a peer sends, the effect is on this connection.
The owner hears of each link exactly one of `link_established` and `link_failed`, and in the end `link_closed`.

The owner decides who is admitted, what is said in the hello, and which session the link belongs to.
Not known here: dialling, other links, what is in a DATA frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from partisan_actors.distribution.bearer import Bearer
from partisan_actors.distribution.conduits import is_route
from partisan_actors.distribution.streams import SYSTEM, StreamId
from partisan_actors.processes.clock import Clock, Timer, call_at_deadline
from partisan_actors.transport import TLS_FAILED, TLS_REFUSED, Connection
from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import REFUSAL, TLS_RECORD, BrokenFrame, Frame, encode_frame
from partisan_actors.wire.handshake import Effect as HandshakeEffect
from partisan_actors.wire.handshake import (
    Established,
    Handshake,
    Hello,
    Keys,
    Refusal,
    RefusalCode,
    Refused,
    Send,
)

if TYPE_CHECKING:
    from partisan_actors.distribution.attempt import Attempt

__all__ = ["Link", "LinkOwner"]


class LinkOwner(Protocol):
    """What a link asks of its owner, and tells it."""

    clock: Clock
    keys: Keys

    def greet(self, link: Link, peer: Hello) -> Hello | Refusal:
        """Answer the hello of a peer that dialled us, of which nothing is proven."""

    def greeted(self, link: Link, peer: Hello) -> Refusal | None:
        """See the hello of a peer that we dialled, of which nothing is proven."""

    def admit(self, link: Link, peer: Hello) -> Refusal | None:
        """Decide on a peer that has proved itself."""

    def link_established(self, link: Link, peer: Hello) -> None:
        """Both sides agree; `link.carry` is to follow."""

    def link_failed(self, link: Link, refusal: Refusal | None, by_us: bool, reason: str) -> None:
        """The handshake came to nothing: by a refusal, or for `reason` (the transport's, or what was broken)."""

    def link_closed(self, link: Link) -> None:
        """The connection is gone."""


class Link:
    """One connection and its reader; the transport's `Receiver`."""

    __slots__ = (
        "_deadline",
        "_handshake",
        "_now",
        "_over",
        "_owner",
        "_reader",
        "attempt",
        "bearer",
        "buffer",
        "connection",
        "counted_host",
        "dialled",
        "established_turn",
        "hello_turn",
        "max_frame",
        "routed",
    )

    def __init__(
        self, owner: LinkOwner, connection: Connection, hello: Hello | None, prove_within: float, max_frame: int
    ) -> None:
        """Begin the handshake.

        Args:
            hello: what we say first; None where the peer dialled.
            prove_within: seconds until the peer has to be proven.
            max_frame: the largest frame, in bytes, after that.
        """
        self.connection = connection
        self.routed = is_route(connection.peer_address)
        self.dialled = hello is not None
        self.bearer: Bearer | None = None
        self.attempt: Attempt | None = None  # of ours that it came from
        self.counted_host: str | None = None  # where it is counted as a stranger's, while it is
        self.hello_turn = 0  # when the peer's hello came and the link was established, as the owner counts turns
        self.established_turn = 0
        self.max_frame = max_frame
        self._owner = owner
        self._now = owner.clock.now
        self._reader = FrameReader()
        # Straight to the reader's method: a call less for each read.
        self.buffer: Callable[[], memoryview] = self._reader.buffer
        self._over = False  # the owner was told that the handshake is over, well or not
        if hello is not None:
            self._handshake = Handshake.initiator(self._as_it_is_sent(hello), owner.keys, check=self._admit)
        else:
            self._handshake = Handshake.acceptor(self._greet, owner.keys, check=self._admit)
        self._deadline: Timer | None = call_at_deadline(owner.clock, prove_within, self._expired)
        self._perform(self._handshake.start())

    @property
    def peer(self) -> Hello | None:
        """What the peer says of itself; proven only once the link is established."""
        return self._handshake.peer

    def goes_to(self, node: str) -> bool:
        """Whether it is with `node`, as far as is known: by what the peer says, or whom we dialled."""
        if self.peer is not None:
            return self.peer.node == node
        return self.attempt is not None and self.attempt.expected == node

    @property
    def untouched(self) -> bool:
        """Whether the peer has said nothing at all so far."""
        return self.peer is None and not self._reader.unread

    @property
    def mine(self) -> Hello | None:
        """What we said."""
        return self._handshake.mine

    @property
    def stream(self) -> StreamId:
        """What it is for, as both sides have said: a stream, or a session's first connection."""
        mine = self._handshake.mine
        return (mine.channel, mine.stream) if mine is not None else SYSTEM

    @property
    def address(self) -> str:
        """Where the peer is."""
        return self.connection.peer_address

    # The transport's callbacks

    def received(self, count: int) -> None:
        """Take what the connection has read."""
        # hot path: once per read.
        bearer = self.bearer
        if bearer is not None:
            bearer.carrier.last_heard = self._now()
        try:
            frames = self._reader.received(count)
        except BrokenFrame as broken:
            self._broken(broken.reason)
            return
        if bearer is None:
            frames = self._shake(frames)
            bearer = self.bearer
        if bearer is not None and frames:
            bearer.take(self, frames)

    def writable(self) -> None:
        """Let what it carries write on."""
        if self.bearer is not None:
            self.bearer.writable(self)

    def closed(self, reason: str) -> None:
        """The connection is gone."""
        by_peer = reason.startswith(TLS_REFUSED)
        if by_peer or reason.startswith(TLS_FAILED):
            self._fail(Refusal(RefusalCode.TLS, text=reason), not by_peer, reason)
        self._fail(None, False, reason)
        bearer = self.bearer
        self._owner.link_closed(self)
        if bearer is not None:
            bearer.lost(self, reason)

    # The handshake

    def carry(self, bearer: Bearer) -> None:
        """Carry the frames of `bearer` from now on."""
        self.bearer = bearer
        self._reader.set_limit(self.max_frame)
        self._reader.place_fragments(bearer.carrier.place)

    def close(self, reason: str, *, flush: bool = False) -> None:
        """Close the connection; nothing that still arrives counts."""
        self.bearer = None
        self._fail(None, True, reason)
        self.connection.close(reason, flush=flush)

    def refuse(self, refusal: Refusal) -> None:
        """End the handshake, and tell a peer that speaks the protocol why."""
        self._perform(self._handshake.refuse(refusal))

    def _shake(self, frames: Sequence[Frame]) -> list[Frame]:
        """Take frames until the handshake is over; the rest of them are the session's."""
        security = self.connection.security
        if security is not None:
            # Known by now, and the proofs are still to come.
            self._handshake.bind(security.channel_binding)
        for position, frame in enumerate(frames):
            if self._over:
                return list(frames[position:])
            waited_for_hello = self._handshake.peer is None
            effects = self._handshake.step(frame.header.kind, frame.body)
            if self.dialled and waited_for_hello and self._handshake.peer is not None:
                effects = self._look_at_hello(effects)
            self._perform(effects)
        return []

    def _look_at_hello(self, effects: list[HandshakeEffect]) -> list[HandshakeEffect]:
        """Before a proof goes out: it would make the other side take a connection that we do not want."""
        assert self.peer is not None
        if any(isinstance(effect, Refused) for effect in effects):
            return effects
        objection = self._look_at_certificate(self.peer) or self._owner.greeted(self, self.peer)
        return effects if objection is None else self._handshake.refuse(objection)

    def _greet(self, peer: Hello) -> Hello | Refusal:
        answer = self._look_at_certificate(peer) or self._owner.greet(self, peer)
        return answer if isinstance(answer, Refusal) else self._as_it_is_sent(answer)

    def _as_it_is_sent(self, hello: Hello) -> Hello:
        # A node's unix sockets do without TLS, and so do routes, whose bytes go over links that have it: so this is of
        # the connection and not of the node. A route's bytes come from members only; see `conduits`.
        return replace(hello, tls=self.connection.security is not None)

    def _look_at_certificate(self, peer: Hello) -> Refusal | None:
        """Why it is not the peer's: who has one of the cluster's certificates must not speak for another node."""
        security = self.connection.security
        objection = security.objection(peer.node) if security is not None else None
        return None if objection is None else Refusal(RefusalCode.TLS, text=objection)

    def _admit(self, peer: Hello) -> Refusal | None:
        return self._owner.admit(self, peer)

    def _perform(self, effects: Sequence[HandshakeEffect]) -> None:
        told = False
        for effect in effects:
            match effect:
                case Send(kind, body):
                    told = True
                    self.connection.write(encode_frame(kind, body_buffers=(body,)))  # type: ignore[arg-type]
                case Established(peer):
                    self._settle()
                    self._owner.link_established(self, peer)
                case Refused(refusal, by_us):
                    self._fail(refusal, by_us, str(refusal))
                    self.connection.close(f"refused: {refusal}", flush=told)

    def _settle(self) -> None:
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _fail(self, refusal: Refusal | None, by_us: bool, reason: str) -> None:
        if self._over:
            return
        self._settle()
        self._owner.link_failed(self, refusal, by_us, reason)

    def _expired(self) -> None:
        self._deadline = None
        self.refuse(Refusal(RefusalCode.EXPIRED))

    def _broken(self, reason: str) -> None:
        if self.bearer is not None:
            self.bearer.broken_envelope(self, reason)
        elif reason == TLS_RECORD:
            # One of us, perhaps: its TLS cannot read this, but sees by it that there is none here, and says so.
            refusal = Refusal(RefusalCode.TLS, text=reason)
            self._perform([Send(REFUSAL, Refusal(RefusalCode.TLS).encode()), Refused(refusal, by_us=True)])
        else:
            # No frame of ours: it might not even be one of us.
            self._fail(Refusal(RefusalCode.MALFORMED, text=reason), True, reason)
            self.connection.close(f"broken envelope: {reason}")
