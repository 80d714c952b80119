"""What carries frames for a session: the driver of one carrier, over one connection after another.

Promised: what is queued leaves joined, at the next flush; a connection with `backlog` bytes that the kernel did not
take is given no more frames; frames of an older connection count for nothing; what is to be
written `behind` gets its turn when the session has nothing to write, and else when the connection has sent all it had.

The write path: who sends marks the bearer as dirty; `flush` cuts frames and writes them. It is called when the
scheduler goes idle, at the hub's next round at the latest, when the connection is writable again, and by who sends as
soon as a whole frame has come together. So a number is given to what really goes out, and what waits stays joined.

Not known here: how connections are made, what a signal means, when a session ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from partisan_actors.distribution.behind import Behind
from partisan_actors.distribution.carrier import DELIVER, Carrier, Write
from partisan_actors.distribution.counters import Counters
from partisan_actors.processes.clock import Clock
from partisan_actors.wire.frames import Frame

if TYPE_CHECKING:
    from partisan_actors.distribution.link import Link

__all__ = ["Bearer", "BearerOwner", "Bears"]


class BearerOwner(Protocol):
    """What a bearer needs of the node."""

    clock: Clock
    counters: Counters
    backlog: int

    def bearer_dirty(self, bearer: Bearer) -> None:
        """It has something to write: `flush` is to be called soon."""


class Bears(Protocol):
    """Whom a bearer works for: a session, or one of its streams' own connections."""

    def frame(self, frame: Frame, now: float) -> Sequence[Any]:
        """Take a frame; the effects, which come back by `perform`, or `DELIVER`."""

    def deliver(self, frame: Frame) -> None:
        """Hand the body of a frame up."""

    def perform(self, effects: Sequence[Any], frame: Frame | None = None) -> None:
        """Perform effects, in order."""

    def needs_link(self) -> None:
        """There is something to write, and no connection to write it to."""

    def link_broken(self, reason: str) -> None:
        """The peer's bytes made no frame."""

    def link_lost(self, reason: str) -> None:
        """The connection is gone."""


class Bearer:
    """Reads and writes for a carrier."""

    __slots__ = ("_works_for", "behind", "carrier", "link", "owner", "waits_for_flush")

    def __init__(self, owner: BearerOwner, carrier: Carrier, works_for: Bears) -> None:
        self.owner = owner
        self.carrier = carrier
        self.link: Link | None = None
        self.behind: Behind | None = None  # frames that are of no stream of the session: relayed ones
        # A flush will come without being asked for: the owner knows, or the connection has to come (back) first.
        self.waits_for_flush = True
        self._works_for = works_for

    def __repr__(self) -> str:
        return f"<Bearer for {self._works_for!r}>"

    def attach(self, link: Link) -> None:
        """Go on over `link`, which replaces the connection so far."""
        before, self.link = self.link, link
        if before is not None:
            before.close("replaced by a newer connection")
        link.carry(self)

    def detach(self) -> Link | None:
        """Let go of the connection, and give it."""
        link, self.link = self.link, None
        self.carrier.hold(True)
        self.waits_for_flush = True
        return link

    @property
    def backlogged(self) -> bool:
        """Whether there is no connection, or one that is to be given no more frames now."""
        return self.link is None or self.link.connection.unsent >= self.owner.backlog

    # Writing

    def flush(self) -> None:
        """Write what is queued, as far as the connection takes it."""
        if self.link is None:
            self._works_for.needs_link()
            return
        self.waits_for_flush = False
        self.write_frames()

    def doze(self) -> None:
        """Without a connection, and none is coming: who sends next is to say that there is something to write."""
        if self.link is None:
            self.waits_for_flush = False

    def write_frames(self, everything: bool = False) -> None:
        """Write frames until the connection has enough; or all that wait, however much that is."""
        link = self.link
        if link is None:
            return
        connection, backlog, carrier = link.connection, self.owner.backlog, self.carrier
        frames = 0
        while everything or connection.unsent < backlog:
            buffers = carrier.next_frame()
            if buffers is None:
                if not self._write_behind(link):
                    carrier.hold(False)
                    break
            else:
                connection.write(buffers)  # type: ignore[arg-type]
            frames += 1
        else:
            # `writable` will follow: until then there is no use in being asked.
            carrier.hold(True)
            self.waits_for_flush = True
        if frames:
            carrier.last_sent = self.owner.clock.now()
            counters = self.owner.counters
            counters.frames_sent += frames
            counters.bytes_sent += carrier.bytes_sent
            counters.frames_resent += carrier.resent
            carrier.bytes_sent = carrier.resent = 0

    def _write_behind(self, link: Link) -> bool:
        """Write a turn of what is behind; whether there may be more to write.

        Only to a connection that has sent all: so what the session has to say next waits for one turn at the most.
        """
        if self.behind is None or not self.behind.size or link.connection.unsent:
            return False
        link.connection.write(self.behind.next_turn())  # type: ignore[arg-type]
        return True

    def write(self, effect: Write) -> None:
        """Write one frame that stands for itself."""
        link = self.link
        if link is None or (effect.droppable and self.backlogged):
            return
        link.connection.write(effect.buffers)  # type: ignore[arg-type]
        self.carrier.last_sent = self.owner.clock.now()
        self.owner.counters.frames_sent += 1

    def dirty(self) -> None:
        """There is something new to write."""
        if not self.waits_for_flush:
            self.waits_for_flush = True
            self.owner.bearer_dirty(self)

    # For the link

    def take(self, link: Link, frames: Sequence[Frame]) -> None:
        """Take the frames of one read."""
        # hot path: once per read; what is done per frame is per joined write of the peer.
        carrier, works_for, counters = self.carrier, self._works_for, self.owner.counters
        counters.frames_received += len(frames)
        carrier.last_frame = carrier.last_heard
        for frame in frames:
            if self.link is not link:
                # One of them ended the session, or its delivery did.
                return
            counters.bytes_received += frame.header.body_length
            effects = works_for.frame(frame, carrier.last_heard)
            if effects is DELIVER:
                works_for.deliver(frame)
            elif effects:
                works_for.perform(effects, frame)
        if carrier.duplicates:
            counters.frames_duplicate += carrier.duplicates
            carrier.duplicates = 0
        if self.link is link and link.connection.unsent < self.owner.backlog:
            effects = carrier.read_done()
            if effects:
                works_for.perform(effects)

    def writable(self, link: Link) -> None:
        """The connection has sent all that it had."""
        if self.link is not link:
            return
        if self.behind is not None and self.carrier.priority != math.inf:
            # First, for once: a session that always has something to write would keep it waiting for ever.
            self._write_behind(link)
        self.flush()
        # What was owed to the peer meanwhile had to wait, but for what just went with the frames.
        self._works_for.perform(self.carrier.read_done())

    def broken_envelope(self, link: Link, reason: str) -> None:
        """Its bytes made no frame."""
        if self.link is link:
            self._works_for.link_broken(reason)

    def lost(self, link: Link, reason: str) -> None:
        """A connection is gone; it may be an older one."""
        if self.link is link:
            self._works_for.link_lost(reason)
