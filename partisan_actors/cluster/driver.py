"""The driver of the peer service: what it decides about links is done here, over the sessions; the rest is passed on.

An event is taken in whole, with all that follows from it, before the next: effects that cause events put them into a
queue. A node that said that it leaves may have said more before, which is still on its way: its session is left to end
by itself for `LAST_WORDS`, or until its next life is there, and nothing more of it counts meanwhile. Where it is back
before that, what is said to it waits for the next session.

Not known here: processes, names, broadcasts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from partisan_actors.cluster import peer_service as service
from partisan_actors.cluster import view_events as view
from partisan_actors.cluster.peer_service import PeerService
from partisan_actors.cluster.view_messages import as_before_suspicions
from partisan_actors.distribution.conduits import route_to
from partisan_actors.distribution.dialling import REFUSED as DIAL_REFUSED
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.live_session import FORGOTTEN, Session
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.peers import Peers
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.identity import Life
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.handshake import Hello
from partisan_actors.wire.hello import Standing, encode_membership
from partisan_actors.wire.signals import encode_signal

__all__ = ["LAST_WORDS", "VIEW_FEATURE", "PeerServiceDriver"]

VIEW_FEATURE = 1 << 3
"""The bit of a hello that says: this node's cluster view knows suspicions, and who is down."""

LAST_WORDS = 1.0
"""Seconds that a node which left has for what it sent before; that it left may be heard sooner, from others."""


class PeerServiceDriver:
    """Drives the peer service of one node life.

    Args:
        told: given the effects that are not about links, in their turn.
        rested: called when an event was taken in, with all that follows from it.
    """

    def __init__(
        self, clock: Clock, peers: Peers, codec: Codec, told: Callable[[Any], None], rested: Callable[[], None]
    ) -> None:
        self.service: PeerService | None = None  # none before the start and after the end
        self._clock = clock
        self._peers = peers
        self._codec = codec
        self._told = told
        self._rested = rested
        self._timers = KeyedTimers(clock, self.step)
        self._parting: dict[str, Session] = {}  # with nodes that left, and may have said more before
        self._parting_timers = KeyedTimers(clock, self._end_parting)
        self._events: deque[Any] = deque()
        self._stepping = False

    def begin(self, machine: PeerService) -> None:
        """Drive this one from now on, rather than the one before."""
        self._timers.close()
        self.service = machine

    def close(self) -> None:
        """Stop all timers."""
        self._timers.close()
        self._parting_timers.close()

    def is_parting(self, node: str) -> bool:
        """Whether it has left, and only its last words are waited for."""
        return node in self._parting

    def step(self, event: Any) -> None:
        """Let the machine take an event."""
        if self.service is None:
            return
        self._events.append(event)
        if self._stepping:
            return
        self._stepping = True
        self.service.view.health.late = self._clock.lateness()
        try:
            while self._events:
                for effect in self.service.step(self._events.popleft(), self._clock.now(), self._clock.random):
                    self._perform(effect)
        finally:
            self._stepping = False
        self._rested()

    def end_session(self, node: str, bits: int, reason: str) -> bool:
        """A member is down: what hangs on its session ends. One that left may have said more before.

        Returns: False where the session goes on, as it is of after that: the node is back.
        """
        session = self._peers.session(node)
        if session is None:
            if reason != view.NEWER_LIFE:
                self._peers.down(node, reason)  # one that is being opened comes to nothing
            return True
        if session.peer.bits != bits:
            return True  # another life is gone
        if reason == view.LEAVE and self._is_of_its_return(session):
            return False
        if session.rests:
            self._peers.down(node, reason)
        elif node in self._parting:
            pass  # its last words are waited for already
        elif reason == view.LEAVE and session.connected:
            self._parting[node] = session
            self._parting_timers.set(node, LAST_WORDS)
        else:
            self._peers.down(node, reason)
        return True

    def life_came(self, life: Life) -> None:
        """A member is up: what is said to it from now on is not to go on the session that it left by, or died with."""
        session = self._parting.get(life.node)
        if session is None:
            return
        if session.peer.bits != life.bits:
            session.end(view.NEWER_LIFE)
        else:
            self._peers.supersede(session)

    def _is_of_its_return(self, session: Session) -> bool:
        """Whether its node had come back when the session began, or last had a connection: it left one before that."""
        record = self.service.view.table.records.get(session.node) if self.service is not None else None
        said = session.hello.membership
        if record is None or said is None or record.bits != session.peer.bits:
            return False
        return said.version > record.version

    def said_of_membership(self) -> tuple[tuple[int, bytes], ...]:
        """The extensions of a hello that this node sends now."""
        if self.service is None:
            return ()
        records = self.service.view.table.records
        return (encode_membership(Standing(self.service.view.left, records.own.version, records.root)),)

    def session_ended(self, session: Session, reason: str) -> None:
        """A session is over."""
        node, bits = session.node, session.peer.bits
        if self._parting.pop(node, None) is not None:
            self._parting_timers.cancel(node)
            self._peers.forget(node)
        if reason in (view.LEAVE, view.NEWER_LIFE) and not session.superseded:
            self.step(view.LinkDown(node, bits, reason))  # or it is this life that it wants no more of
        elif session.linked:
            self.step(view.Closed(node, bits))

    # What the machine wants

    def _perform(self, effect: Any) -> None:
        match effect:
            case view.SendView(nodes, payload):
                self._send_view(nodes, payload)
            case service.SendOverlay(node, payload):
                self._send_overlay(node, payload)
            case SetTimer(key, seconds):
                self._timers.set(key, seconds)
            case CancelTimer(key):
                self._timers.cancel(key)
            case service.Connect(node, addresses):
                self._end_parting(TimerFired(node))
                self._peers.connect(node, addresses)
            case service.Disconnect(node):
                self._disconnect(node)
            case view.Probe(node, addresses):
                self._peers.probe(node, addresses or (route_to(node),), partial(self._probed, node))
            case service.Measure(node, addresses):
                self._measure(node, addresses)
            case _:
                self._told(effect)

    def _send_view(self, nodes: tuple[str, ...], payload: tuple[Any, ...]) -> None:
        encoded: Any = None
        for node in nodes:
            session = self._over_link(node)
            if session is None:
                continue
            if session.hello.features & VIEW_FEATURE:
                if encoded is None:
                    encoded = encode_signal(signals.MEMBERSHIP, payload=self._codec.encode(payload))
                session.system.send(encoded)
            elif (older := as_before_suspicions(payload)) is not None:
                session.system.send(encode_signal(signals.MEMBERSHIP, payload=self._codec.encode(older)))

    def _send_overlay(self, node: str, payload: object) -> None:
        session = self._over_link(node)
        if session is not None:
            session.system.send(encode_signal(signals.OVERLAY, payload=self._codec.encode(payload)))

    def _over_link(self, node: str) -> Session | None:
        """The session with a node that there is a link to. What a link says dies with it, and is not worth a route."""
        session = self._peers.session(node)
        return session if session is not None and session.keeps_link else None

    def _probed(self, node: str, hello: Hello | None, reason: str, seconds: float) -> None:
        reason = view.REFUSED if reason == DIAL_REFUSED else reason
        said = hello.membership if hello is not None else None
        left, digest = (said.left, said.digest) if said is not None else (False, None)
        self.step(view.Probed(node, hello.bits if hello is not None else None, reason, left, digest))

    def _measure(self, node: str, addresses: tuple[str, ...]) -> None:
        session = self._peers.session(node)
        known = session.round_trip if session is not None and session.linked else None

        def measured(hello: Hello | None, reason: str, seconds: float) -> None:
            self.step(service.Measured(node, math.inf if hello is None else seconds))

        if known is not None:
            self.step(service.Measured(node, known))
        elif addresses:
            self._peers.probe(node, addresses, measured)
        else:
            self.step(service.Measured(node, math.inf))

    def _disconnect(self, node: str) -> None:
        if node in self._parting:
            return  # forgotten when that is over
        session = self._peers.session(node)
        if session is not None and self.service is not None:
            if self.service.view.left:
                # Said of oneself: the peer takes it for this node's end as a member.
                session.leave("leave")
            elif not self.service.view.table.alive(node):
                session.leave(FORGOTTEN)
        self._peers.forget(node)

    def _end_parting(self, event: TimerFired) -> None:
        session = self._parting.get(str(event.key))
        if session is not None:
            session.leave(FORGOTTEN)
