"""What the distribution layer is given, and whom it tells: values and protocols only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from partisan_actors.distribution.channels import DEFAULT_CHANNEL, STREAMS_FEATURE, Channel
from partisan_actors.distribution.dialling import DiallingParameters
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.route_dialling import RouteParameters
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.distribution.strangers import StrangerParameters
from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import MAX_FRAME
from partisan_actors.wire.handshake import PROTOCOL, Hello

__all__ = ["LocalIdentity", "PeerEvents", "PeerParameters"]


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """What a node says of itself."""

    life: Life
    topology: str = ""
    channels: tuple[Channel, ...] = (Channel(DEFAULT_CHANNEL),)
    addresses: Callable[[], Sequence[str]] = tuple  # where it can be dialled, once that is known
    protocol: tuple[int, int] = (PROTOCOL, PROTOCOL)  # lowest and highest version
    features: int = STREAMS_FEATURE
    topology_version: int = 0
    extensions: Callable[[], tuple[tuple[int, bytes], ...]] = tuple  # of hellos, those of the parts above


@dataclass(frozen=True, slots=True)
class PeerParameters:
    """The limits of this layer; sizes are bytes."""

    session: SessionParameters = field(default_factory=SessionParameters)
    dialling: DiallingParameters = field(default_factory=DiallingParameters)
    route: RouteParameters = field(default_factory=RouteParameters)
    strangers: StrangerParameters = field(default_factory=StrangerParameters)

    max_frame: int = MAX_FRAME
    """Of a proven peer, header included."""

    backlog: int = 256 << 10
    """A connection with so many bytes that the kernel did not take is given no more frames."""

    sessions: int = 4096
    """Live sessions with other nodes. Who comes beyond them is refused as FULL, and nobody beyond them is dialled."""

    acquaintances: int = 4096
    """Names of which the last life and session number are remembered."""

    def __post_init__(self) -> None:
        if not 0 < self.sessions <= self.acquaintances:
            raise ValueError(f"sessions ({self.sessions}) must be above 0 and at most acquaintances")


class PeerEvents(Protocol):
    """What the parts above are told, in the hub. What they raise is logged and changes nothing."""

    def session_started(self, session: Session) -> None:
        """A session with a life exists, and its first connection: a link or a route."""

    def linked(self, session: Session) -> None:
        """It has got a link, a connection of its own: from the start, or in place of a route."""

    def unlinked(self, node: str, bits: int, reason: str) -> None:
        """The link is gone, for longer than it takes to make it anew; the session with that life goes on.

        `reason`: the verdict ("connection refused", "silent", "unreachable: ...", "refused: ..."), or "forgotten" when
        one of the two sides gave it up on purpose. Not told of a session that ends with its link: see `Session.linked`.
        """

    def keeps(self, session: Session) -> bool:
        """Whether anything hangs on a session (a link, a monitor, a call, an outbox), so that it is not to end idle."""

    def resting(self, session: Session) -> None:
        """Nobody needs it, at this end, and it may end at any time: nothing is to be sent on it until `resumed`.

        Who has something to send calls `Peers.open`, and waits: for `resumed`, or for `session_started` of the next
        one, or for `unreachable`.
        """

    def resumed(self, session: Session) -> None:
        """The peer still has it: it takes what is sent, as before it rested."""

    def received(self, session: Session, body: memoryview | bytes, outgoing: Outgoing) -> None:
        """The body of one DATA frame, a run of signals: exactly once, in order.

        `outgoing` is the other direction of the stream that it came on.
        """

    def session_ended(self, session: Session, reason: str) -> None:
        """It is over: "leave", "newer life", "idle", "no way", what `down` was told, "overflow", ..."""

    def unreachable(self, node: str, reason: str) -> None:
        """A link that `connect` asked for could not be made in time; or, without a session, `open` came to nothing.

        Or a session that needs a connection has had none for long, by whatever way; if that lasts, it ends.
        """

    def check_peer(self, hello: Hello) -> str | None:
        """Why a peer that proved itself is refused all the same: "name", "topology", ...; None when it is not."""
