"""What is sent to nodes that no link leads to, and passes here on its way to others: the driver of the routing machine.

Promised: nothing here waits, whatever is sent; a link has at most `most_waiting` bytes of relayed frames waiting, and
what comes on top of that is dropped and counted, so that one slow link holds up no other; relayed frames are written
behind what the link's own session has to write, so that they delay the session's system traffic by the bytes of one
turn at the most; what arrives comes at most once, in no order; it is lost when a link on its way is full, or breaks.

The callbacks run in the hub, one at a time; what they raise is logged. What they send is sent after they return.

Not known here: lives, members, what is in a body. Which way a frame goes is decided by `routing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from partisan_actors.distribution.bad_input import BadInputLog, Level
from partisan_actors.distribution.behind import Behind
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.distribution.routing import Routing, RoutingParameters
from partisan_actors.distribution.routing_events import (
    Arrived,
    Doubted,
    Effect,
    Event,
    Forward,
    Ignored,
    Learned,
    LinkDown,
    LinkUp,
    Measured,
    MemberDown,
    RelayReceived,
    RouteReceived,
    Send,
    SendRoute,
    Suspected,
    Trusted,
    Undeliverable,
)
from partisan_actors.processes.clock import Clock
from partisan_actors.wire.frames import RELAY, Frame
from partisan_actors.wire.relays import (
    RELAYS_FEATURE,
    Buffer,
    RouteMessage,
    decode_relay,
    decode_route,
    encode_relay,
    encode_route,
    first_number,
)

if TYPE_CHECKING:
    from partisan_actors.distribution.live_session import Session

__all__ = ["Relaying"]

_log = structlog.get_logger("partisan_actors")

MOST_WAITING = 1 << 20

# By reason: what to do about it, and the level of the line.
_ADVICE: dict[str, tuple[str, Level]] = {
    "itself": ("run one version of partisan_actors on both nodes: it sent here what is for itself", "warning"),
    "hop limit": ("see why ways are so long, or go round: a line of so many nodes needs more links", "warning"),
    "kind": ("nothing is to be done: a later version asks for what this one does not know", "debug"),
    "no link": ("nothing is to be done: it came too late, as it does where links come and go", "debug"),
}

# By how much a round trip has to have changed before the machine is told.
_CHANGE = 0.2


class _Neighbour:
    """A link that takes what is relayed."""

    __slots__ = ("behind", "round_trip", "session")

    def __init__(self, session: Session, behind: Behind) -> None:
        self.session = session
        self.behind = behind
        self.round_trip = 0.0  # as the machine was last told it


class Relaying:
    """The ways from this node to others, and through it.

    Args:
        node: this node's name.
        epoch: of this life; its numbers begin above all that an earlier life of that name gave.
        arrived: called with the source's name and the body of each frame to this node.
        undeliverable: called with the destination's name and the buffers that were sent, for what no way was found.
        most_waiting: bytes of relayed frames that wait for one link.
    """

    def __init__(
        self,
        node: str,
        clock: Clock,
        arrived: Callable[[str, bytes | memoryview], None],
        undeliverable: Callable[[str, Sequence[Buffer]], None],
        *,
        epoch: int = 0,
        parameters: RoutingParameters | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.machine = Routing(node, parameters, first_number(epoch))
        self.dropped_frames = self.dropped_bytes = 0  # that a full link did not take
        self.relayed_bytes = 0  # of bodies that were given to a link
        self._node = node
        self._clock = clock
        self._arrived = arrived
        self._undeliverable = undeliverable
        self._most_waiting = most_waiting
        self._neighbours: dict[str, _Neighbour] = {}
        self._timers = KeyedTimers(clock, self._feed)
        self._events: deque[Event] = deque()
        self._busy = False
        self._closed = False
        self._encoded_message: RouteMessage | None = None
        self._encoded: list[Buffer] = []  # that message
        self._bad_input = BadInputLog(node, clock)

    # For the parts above

    def send(self, destination: str, body_buffers: Sequence[Buffer]) -> None:
        """Send a body to another node: straight, over others, or, for want of a way, after a look-up.

        It arrives at most once, or comes back by `undeliverable`, or is lost. The buffers must not change any more.
        """
        self._feed(Send(destination, body_buffers))

    def linked(self, session: Session) -> None:
        """There is a link: a session over a connection of its own. One that does not take relays is passed over."""
        if not session.hello.features & RELAYS_FEATURE or session.ended is not None or self._closed:
            return
        self.unlinked(session.node)
        behind = session.first.behind = Behind(self._most_waiting)
        self._neighbours[session.node] = _Neighbour(session, behind)
        self._feed(LinkUp(session.node))

    def unlinked(self, node: str) -> None:
        """The link to that node has ended, if there was one. What waits for it is dropped."""
        neighbour = self._neighbours.pop(node, None)
        if neighbour is None:
            return
        if neighbour.session.first.behind is neighbour.behind:
            neighbour.session.first.behind = None
        self.dropped_frames += neighbour.behind.frames
        self.dropped_bytes += neighbour.behind.size
        self._feed(LinkDown(node))

    def member_down(self, node: str) -> None:
        """It is a member no more: what waits for a way to it is undeliverable."""
        self._feed(MemberDown(node))

    def suspected(self, node: str) -> None:
        """Some member cannot reach it: it is not looked up until it is down, or trusted again."""
        self._feed(Suspected(node))

    def trusted(self, node: str) -> None:
        """It has refuted that, or is a member, perhaps again."""
        if self._busy or self.machine.distrusts(node):  # what makes it distrusted may wait for its turn
            self._feed(Trusted(node))

    def learned(self, node: str, via: str, hops: int = 1) -> None:
        """What `node` said of itself came in first over the link to `via`, after so many links, as far as is known."""
        self._feed(Learned(node, via, hops))

    def doubt(self, node: str, seconds: float) -> None:
        """What is sent to that node, or what it answers, was not heard of for so long that it may be lost on its way.

        If so a new way is looked up, and what is sent waits for it.
        """
        self._feed(Doubted(node, seconds))

    def rise(self, epoch: int) -> None:
        """This life has taken a higher epoch."""
        self.machine.count_from(first_number(epoch))

    def is_linked(self, node: str) -> bool:
        """Whether there is a link to that node that takes what is relayed."""
        return node in self._neighbours

    @property
    def waiting(self) -> int:
        """Bytes of relayed frames that wait for their links."""
        return sum(neighbour.behind.size for neighbour in self._neighbours.values())

    def close(self) -> None:
        """Tell nothing and time nothing any more."""
        self._closed = True
        self._events.clear()
        self._timers.close()

    # For the links

    def frame_received(self, session: Session, frame: Frame) -> None:
        """A RELAY or ROUTE frame came over a session's first connection. Raises BrokenFrame."""
        node = session.node
        if frame.header.kind == RELAY:
            self._feed(RelayReceived(node, decode_relay(frame)))
            return
        message = decode_route(frame)
        neighbour = self._neighbours.get(node)
        if neighbour is not None:
            self._look_at_round_trip(neighbour)
        self._feed(RouteReceived(node, message))

    # Private

    def _look_at_round_trip(self, neighbour: _Neighbour) -> None:
        seconds = neighbour.session.round_trip
        if seconds is not None and abs(seconds - neighbour.round_trip) > _CHANGE * neighbour.round_trip:
            neighbour.round_trip = seconds
            self._feed(Measured(neighbour.session.node, seconds))

    def _feed(self, event: Event) -> None:
        # hot path: once per frame that passes.
        if self._busy:
            # A callback sends: in its turn, as the effects before it are still being performed.
            self._events.append(event)
            return
        if self._closed:
            return
        self._busy = True
        clock, events = self._clock, self._events
        self.machine.late = clock.lateness()
        try:
            self._perform(self.machine.step(event, clock.now(), clock.random))
            while events:
                self._perform(self.machine.step(events.popleft(), clock.now(), clock.random))
        finally:
            self._busy = False

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is Forward:
                self._forward(effect)  # type: ignore[arg-type]
            elif kind is Arrived:
                self._tell(self._arrived, effect.source, effect.body[0])  # type: ignore[union-attr]
            elif kind is SendRoute:
                self._write_route(effect)  # type: ignore[arg-type]
            elif kind is SetTimer:
                self._timers.set(effect.key, effect.seconds)  # type: ignore[union-attr]
            elif kind is CancelTimer:
                self._timers.cancel(effect.key)  # type: ignore[union-attr]
            elif kind is Ignored:
                self._ignored(effect.node, effect.reason)  # type: ignore[union-attr]
            else:
                assert type(effect) is Undeliverable
                self._tell(self._undeliverable, effect.destination, effect.body)

    def _forward(self, effect: Forward) -> None:
        neighbour = self._neighbours.get(effect.node)
        relay = effect.relay
        size = sum(map(len, relay.body))
        if neighbour is None or not neighbour.behind.offer(encode_relay(relay)):
            self.dropped_frames += 1
            self.dropped_bytes += size
            return
        self.relayed_bytes += size
        neighbour.session.first.dirty()

    def _write_route(self, effect: SendRoute) -> None:
        neighbour, message = self._neighbours.get(effect.node), effect.message
        if message is not self._encoded_message:
            # What goes to all neighbours is encoded once: a sixth of what a look-up of everybody costs a node.
            self._encoded_message, self._encoded = message, encode_route(message)
        if neighbour is None or not neighbour.behind.offer(self._encoded, urgent=True):
            self.dropped_frames += 1
            return
        neighbour.session.first.dirty()

    def _ignored(self, node: str, reason: str) -> None:
        advice, level = _ADVICE[reason]
        self._bad_input.tell("relay_refused", node, reason, advice=advice, level=level)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        if self._closed:
            return
        try:
            callback(*arguments)
        except Exception as error:
            name = getattr(callback, "__name__", "callback")
            _log.error("relaying_callback_failed", node=self._node, callback=name, exc_info=error)
