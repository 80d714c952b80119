"""One attempt to reach a node at one address: dial, handshake, outcome.

Promised: exactly one outcome, unless it is cancelled, within `timeout` and `_SHORTEST_HANDSHAKE`, or up to three times
that where this node is late itself. Who made it decides what follows; the connection, once proven, is the session's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from partisan_actors.distribution.conduits import is_route
from partisan_actors.distribution.dialling import REFUSED
from partisan_actors.distribution.link import Link
from partisan_actors.distribution.streams import SYSTEM, StreamId
from partisan_actors.processes.clock import Clock
from partisan_actors.transport import Connection, Transport
from partisan_actors.wire.handshake import Hello, Purpose, Refusal

if TYPE_CHECKING:
    from partisan_actors.distribution.live_session import Session

__all__ = ["Attempt", "AttemptOwner", "Failed", "Outcome", "Rejected", "Succeeded"]

_SHORTEST_HANDSHAKE = 1.0
"""Seconds that there are for the handshake, however long it took to connect: where that took long both ends have much
to do, and one that is cut short is work in vain for both."""


class Succeeded(NamedTuple):
    """There is a proven connection, and it carries this session."""

    session: Session


class Failed(NamedTuple):
    """Nobody was reached: the transport's reason, or why the connection ended in its handshake."""

    reason: str


class Rejected(NamedTuple):
    """The handshake was refused, by the peer or by us. `peer`: what it said of itself, proven or not."""

    refusal: Refusal
    by_us: bool
    peer: Hello | None


Outcome = Succeeded | Failed | Rejected


class AttemptOwner(Protocol):
    """What an attempt needs."""

    clock: Clock
    transport: Transport

    def hello_to(self, node: str | None, purpose: Purpose, stream: StreamId = SYSTEM, round_trip: float = 0.0) -> Hello:
        """What to say to `node`, None when it is not known who answers, on a connection for `stream`.

        `round_trip`: seconds that it took to connect.
        """

    def dialled(self, connection: Connection, hello: Hello, prove_within: float, attempt: Attempt) -> Link:
        """A connection is there: make its link."""

    def attempt_began(self, attempt: Attempt) -> None:
        """Keep track of it."""

    def attempt_over(self, attempt: Attempt) -> None:
        """It is over, or cancelled."""


class Attempt:
    """Dials when made."""

    __slots__ = (
        "_began",
        "_dial",
        "_done",
        "_owner",
        "_until",
        "address",
        "expected",
        "link",
        "purpose",
        "round_trip",
        "stream",
    )

    def __init__(
        self,
        owner: AttemptOwner,
        address: str,
        timeout: float,
        expected: str | None,
        purpose: Purpose,
        done: Callable[[Outcome], None],
        stream: StreamId = SYSTEM,
    ) -> None:
        """Begin.

        Args:
            timeout: seconds, the handshake included.
            expected: the node that should be there; None for whoever it is.
            done: given the outcome, never from within this call.
            stream: what the connection is for; a session's first one by default.
        """
        self.address = address
        self.expected = expected
        self.stream = stream
        self.link: Link | None = None
        self.purpose = purpose
        self.round_trip = 0.0  # seconds that it took to connect
        self._owner = owner
        self._done: Callable[[Outcome], None] | None = done
        self._began = owner.clock.now()
        self._until = self._began + timeout
        owner.attempt_began(self)
        self._dial = owner.transport.dial(address, timeout, self._connected, self._failed)

    @property
    def routed(self) -> bool:
        """Whether it is by a route."""
        return is_route(self.address)

    def cancel(self) -> None:
        """Give up; no outcome follows."""
        if self._end() is None:
            return
        self._dial.cancel()
        if self.link is not None:
            # With our hello read there, it is known who gave up; a reset would look like a stranger's.
            self.link.close("cancelled", flush=True)

    def answered_by(self) -> Hello | None:
        """The hello of the other end, once it came."""
        return self.link.peer if self.link is not None else None

    def proven(self) -> Callable[[Session], None]:
        """The link is proven, and cancelling does not close it any more; what is returned gives the outcome."""
        done = self._end()
        return (lambda session: None) if done is None else (lambda session: done(Succeeded(session)))

    def link_failed(self, refusal: Refusal | None, by_us: bool, reason: str) -> None:
        """The link did not get so far."""
        peer = self.answered_by()
        done = self._end()
        if done is None:
            return
        if self.expected is not None and peer is not None and peer.node != self.expected:
            # Whom we look for is not there any more, just as if nobody was.
            done(Failed(REFUSED))
        elif refusal is not None:
            done(Rejected(refusal, by_us, peer))
        else:
            done(Failed(f"closed during the handshake: {reason}"))

    def _connected(self, connection: Connection) -> Link:
        now = self._owner.clock.now()
        self.round_trip = now - self._began
        remaining = max(self._until - now, _SHORTEST_HANDSHAKE)
        hello = self._owner.hello_to(self.expected, self.purpose, self.stream, self.round_trip)
        self.link = self._owner.dialled(connection, hello, remaining, self)
        return self.link

    def _failed(self, reason: str) -> None:
        done = self._end()
        if done is not None:
            done(Failed(reason))

    def _end(self) -> Callable[[Outcome], None] | None:
        done, self._done = self._done, None
        if done is not None:
            self._owner.attempt_over(self)
        return done
