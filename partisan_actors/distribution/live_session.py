"""A session as the parts above see it, and the driver of its machine: the write path and the read path.

Promised: `send` never waits and never calls back; what is sent before the next flush leaves joined; everything that
a session has to tell is told through `PeerEvents`, in order. A session that ended takes nothing more.

The write path: `send` queues, and marks the session as dirty; `flush` cuts frames and writes them, as long as the
connection has less than `backlog` bytes that the kernel did not take. It is called when the scheduler goes idle, at
the hub's next round at the latest, when the connection is writable again, and from `send` as soon as a whole frame
has come together. So a number is given to what really goes out, and what waits stays joined.

Not known here: how connections are made, what a signal means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from partisan_actors.distribution.counters import Counters
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.session import (
    DELIVER,
    Deliver,
    Disconnect,
    Effect,
    Ended,
    Room,
    SessionMachine,
    SessionParameters,
    Silent,
    Write,
)
from partisan_actors.distribution.stream import Signal
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import Frame
from partisan_actors.wire.handshake import Hello

if TYPE_CHECKING:
    from partisan_actors.distribution.link import Link

__all__ = ["Session", "SessionOwner"]

_log = structlog.get_logger("partisan_actors")


class SessionOwner(Protocol):
    """What a session asks of its owner, and tells it."""

    clock: Clock
    counters: Counters
    backlog: int

    def session_dirty(self, session: Session) -> None:
        """It has something to write: `flush` is to be called soon."""

    def session_received(self, session: Session, body: bytes | memoryview) -> None:
        """The body of one DATA frame came."""

    def session_lost(self, session: Session, reason: str) -> None:
        """Its connection is gone."""

    def session_broken_envelope(self, session: Session, reason: str) -> None:
        """Its peer sent what no peer sends; the connection is being closed."""

    def session_silent(self, session: Session) -> None:
        """Its connection was closed because the peer is silent."""

    def session_over(self, session: Session, reason: str) -> None:
        """It has ended."""


class Session:
    """What this node has with one life of another, from its start to its end."""

    __slots__ = (
        "_duplicates",
        "_offer",
        "_owner",
        "_sending",
        "_timers",
        "_waiting",
        "_waits_for_flush",
        "ended",
        "hello",
        "link",
        "machine",
    )

    def __init__(self, owner: SessionOwner, hello: Hello, number: int, parameters: SessionParameters) -> None:
        self.hello = hello  # what the peer said of itself when it last proved itself
        self.link: Link | None = None  # the connection that carries it
        self.ended: str | None = None  # the reason, once it has
        self._owner = owner
        self.machine = SessionMachine(hello.life, number, parameters)
        self._sending = self.machine.sending
        self._offer = self._sending.offer
        self._duplicates = 0  # of those that the machine saw, how many were counted
        self._timers = KeyedTimers(owner.clock, self._timer_fired)
        self._waiting: list[Callable[[], None]] = []  # told when there is room
        # A flush will come without being asked for: the owner knows, or the connection has to come (back) first.
        self._waits_for_flush = True

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
    def connected(self) -> bool:
        """Whether a connection carries it right now. While none does, what is sent waits."""
        return self.link is not None

    @property
    def address(self) -> str | None:
        """The other end of its connection."""
        return self.link.address if self.link is not None else None

    @property
    def unsent(self) -> int:
        """Bytes of signals that no frame has taken yet."""
        return self._sending.unsent

    @property
    def unacknowledged(self) -> int:
        """Bytes of signals in frames that the peer has not acknowledged."""
        return self._sending.unacknowledged

    @property
    def congested(self) -> bool:
        """Whether senders should wait: from the high watermark on until the low one. Never once it ended."""
        return self._sending.congested and self.ended is None

    @property
    def round_trip(self) -> float | None:
        """The smoothed round-trip time in seconds, when one was measured."""
        return self.machine.round_trip

    def send(self, signal: Signal) -> bool:
        """Queue one signal, whatever is queued already; False when the session has ended, or ends by this.

        Args:
            signal: its bytes, or a tuple of buffers that are its bytes together. They must not change any more.

        Raises: NotSendable for one that is larger than a frame.
        """
        # hot path: once per message; 0.3 us.
        if self._offer(signal) and not self._look_up():
            return False
        if not self._waits_for_flush:
            self._waits_for_flush = True
            self._owner.session_dirty(self)
        return True

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, later, when the session is not congested any more, or has ended."""
        if self.congested:
            self._waiting.append(callback)
        else:
            self._owner.clock.call_soon(callback)

    def end(self, reason: str) -> None:
        """End the session and tell the peer, if it can be told. What is still queued is lost."""
        self._perform(self.machine.end(reason, self._owner.clock.now()))

    def leave(self, reason: str) -> None:
        """End the session after writing what is queued, which has a second to get out."""
        if self.link is not None:
            self._write_frames(self.link, everything=True)
        self.end(reason)

    def flush(self) -> None:
        """Write what is queued, as far as the connection takes it."""
        link = self.link
        if link is None:
            return
        self._waits_for_flush = False
        self._write_frames(link)

    # For the owner

    @property
    def answers(self) -> bool:
        """Whether the peer is connected and was heard in time."""
        return self.link is not None and not self.machine.overdue(self._owner.clock.now())

    @property
    def received_number(self) -> int:
        """The last frame that came, as a hello says it."""
        return self.machine.receiving.received

    def attach(self, link: Link, hello: Hello, received: int) -> None:
        """Go on over `link`, which replaces the connection so far.

        Args:
            hello: what the peer said, which is proven.
            received: the last frame of this session that it has.
        """
        before, self.link = self.link, link
        if before is not None:
            before.close("replaced by a newer connection")
        self.hello = hello
        link.carry(self)
        clock = self._owner.clock
        self._perform(self.machine.connected(received, clock.now(), clock.random))
        self.flush()

    # For its link

    def take(self, link: Link, frames: Sequence[Frame]) -> None:
        """Take the frames of one read."""
        # hot path: once per read; what is done per frame is per joined write of the peer.
        machine, counters = self.machine, self._owner.counters
        counters.frames_received += len(frames)
        for frame in frames:
            if self.link is not link:
                # One of them ended the session, or its delivery did.
                return
            counters.bytes_received += frame.header.body_length
            effects = machine.frame(frame, machine.last_heard)
            if effects is DELIVER:
                self._owner.session_received(self, frame.body)
            elif effects:
                self._perform(effects, frame)
        if machine.receiving.duplicates != self._duplicates:
            counters.frames_duplicate += machine.receiving.duplicates - self._duplicates
            self._duplicates = machine.receiving.duplicates
        if self.link is link and link.connection.unsent < self._owner.backlog:
            effects = machine.read_done()
            if effects:
                self._perform(effects)

    def writable(self, link: Link) -> None:
        """The connection has sent all that it had."""
        if self.link is not link:
            return
        self.flush()
        # What was owed to the peer meanwhile had to wait, but for what just went with the frames.
        self._perform(self.machine.read_done())

    def broken_envelope(self, link: Link, reason: str) -> None:
        """Its bytes made no frame."""
        if self.link is link:
            self._perform(self.machine.broken_envelope(reason, self._owner.clock.now()))

    def lost(self, link: Link, reason: str) -> None:
        """A connection is gone; it may be an older one."""
        if self.link is link:
            self._lose(reason)

    # Private

    def _look_up(self) -> bool:
        """`offer` wants to be looked at; whether it took the signal."""
        if self.ended is not None:
            return False
        if self._sending.overflowed:
            self.end("overflow")
            return False
        link = self.link
        if link is not None and link.connection.unsent < self._owner.backlog:
            self._write_frames(link)
        return True

    def _write_frames(self, link: Link, everything: bool = False) -> None:
        connection, backlog, machine = link.connection, self._owner.backlog, self.machine
        sending = machine.sending
        resent, unsent = sending.resent, sending.unsent
        frames = 0
        while everything or connection.unsent < backlog:
            if not sending.frame_waits:
                sending.hold(False)
                break
            connection.write(machine.next_frame())  # type: ignore[arg-type]
            frames += 1
        else:
            # `writable` will follow: until then there is no use in being asked.
            sending.hold(True)
            self._waits_for_flush = True
        if frames:
            machine.last_sent = self._owner.clock.now()
            counters = self._owner.counters
            counters.frames_sent += frames
            counters.bytes_sent += unsent - sending.unsent
            counters.frames_resent += sending.resent - resent

    def _timer_fired(self, event: TimerFired) -> None:
        clock = self._owner.clock
        self._perform(self.machine.step(event, clock.now(), clock.random))

    def _perform(self, effects: Sequence[Effect], frame: Frame | None = None) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is Deliver:
                assert frame is not None
                self._owner.session_received(self, frame.body)
            elif kind is Write:
                self._write(effect)  # type: ignore[arg-type]
            elif kind is SetTimer:
                self._timers.set(effect.key, effect.seconds)  # type: ignore[union-attr]
            elif kind is CancelTimer:
                self._timers.cancel(effect.key)  # type: ignore[union-attr]
            elif kind is Room:
                self._tell_room()
            elif kind is Disconnect:
                self._drop_link(effect)  # type: ignore[arg-type]
            elif kind is Silent:
                self._silent()
            else:
                assert type(effect) is Ended
                self._over(effect.reason)

    def _write(self, effect: Write) -> None:
        link = self.link
        if link is None or (effect.droppable and link.connection.unsent >= self._owner.backlog):
            return
        link.connection.write(effect.buffers)  # type: ignore[arg-type]
        self.machine.last_sent = self._owner.clock.now()
        self._owner.counters.frames_sent += 1

    def _tell_room(self) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            self._owner.clock.call_soon(callback)

    def _drop_link(self, effect: Disconnect) -> None:
        link = self.link
        if link is None:
            return
        if effect.broken:
            self._owner.session_broken_envelope(self, effect.reason)
        link.close(effect.reason)
        self._lose(effect.reason)

    def _lose(self, reason: str) -> None:
        self.link = None
        self._sending.hold(True)
        self._waits_for_flush = True
        self._perform(self.machine.disconnected())
        self._owner.session_lost(self, reason)

    def _silent(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close("silent")
        self._perform(self.machine.disconnected())
        self._owner.session_silent(self)

    def _over(self, reason: str) -> None:
        self.ended = reason
        self._offer = _take_nothing
        self._waits_for_flush = True
        self._timers.close()
        link, self.link = self.link, None
        if link is not None:
            link.close(reason, flush=True)
        self._tell_room()
        self._owner.session_over(self, reason)


def _take_nothing(signal: Signal) -> bool:
    """The `offer` of a session that ended."""
    return True
