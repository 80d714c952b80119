"""How each peer is reached: over a link, that is, a connection of its own, or else by a route over others.

Promised:

- a session that has got a link is `linked`, and `unlinked` once the dialling machine's verdict on the link falls or
  one side gives the link up; the two alternate. A session that ends while it is linked says no `unlinked`: its end is
  the link's end, and `Session.linked` still tells that there was one. No verdict ends a session;
- a session without a link goes on by a route as soon as it has something to carry or something hangs on it. Else it
  stays without a connection, rests, and costs nothing but its memory, until there is something. After `idle` seconds
  without anything, where no link is wanted, it ends, silently, if the peer agrees, and rests until the peer has said
  so; one without a connection ends `LATER` by itself, as a peer that takes it that there is one rests by then;
- where there is a link, and a route too, the link carries everything;
- a session that has something to carry, or something hangs on it, and that gets no connection, by whatever way, is told
  of as `unreachable` after `NO_WAY_AFTER` seconds, and ends after as many more: nothing waits for ever;
- `open` comes to a session, or to one `unreachable`, within seconds; that of a link which could not be made, and which
  somebody wants, is told after that.

Not known here: handshakes, what a signal means, who is a member.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import structlog

from partisan_actors.distribution.dialler import Dialler, DiallerOwner
from partisan_actors.distribution.dialling import Lost, SessionOver, Silenced, Unwanted, Wanted
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.link import Link
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.machine import TimerFired
from partisan_actors.distribution.ports import LocalIdentity, PeerEvents, PeerParameters
from partisan_actors.distribution.relaying import Relaying
from partisan_actors.distribution.route_dialler import RouteDialler
from partisan_actors.distribution.route_dialling import RouteNeeded, RouteNeedless
from partisan_actors.processes.lateness import STOPPED

__all__ = ["IDLE", "NEWER_SESSION", "NO_WAY_AFTER", "UNREACHABLE", "Reaching", "ReachingOwner"]

_log = structlog.get_logger("partisan_actors")

NEWER_SESSION = "newer session"
"""Why a session ended of which the same life has begun another."""

IDLE = "idle"
"""Why a session ended that nobody needed."""

UNREACHABLE = "no way"
"""Why a session ended that could not be carried by any way."""

LINK_BREAK = 0.5
"""Seconds that a link which broke is still one to relay over: one that is made anew at once changes no way."""

NO_WAY_AFTER = 15.0
"""Seconds without a connection after which a session that needs one is told of as unreachable; after as many more, in
which the cluster has not found the peer down, it ends. Well over what a link's verdict and a suspicion take."""

ASK_AFTER = 30.0
"""Seconds without a frame after which a session that goes by a route asks whether it still does, if something hangs on
it. A monitor on each of 1,000 members costs 33 small frames a second so."""

LATER = 60.0
"""Seconds, and more than what two ends differ by in when anything last moved: one finds first that a route broke."""

ANSWER_WITHIN = 15.0
"""Seconds that a peer has to say whether it needs a session; a route that carries nothing is found out before."""

NO_WAY = "there is no link, and this node knows no routes"


class ReachingOwner(DiallerOwner, Protocol):
    """What is needed of the node."""

    identity: LocalIdentity
    parameters: PeerParameters
    relaying: Relaying | None
    """Is told of links as they are right now, verdict or not: what is relayed must not wait for one that is gone."""
    routes: bool
    """Whether there are routes at all."""

    def session(self, node: str) -> Session | None:
        """The live session with `node`."""

    def tell(self, method: Callable[..., Any], *arguments: object) -> Any:
        """Tell the parts above."""

    def is_greeting(self, node: str) -> bool:
        """Whether a connection is being made with `node`, in whose handshake the session may have been spoken of."""


class Reaching:
    """The ways to all peers."""

    def __init__(self, owner: ReachingOwner, events: PeerEvents) -> None:
        self._owner = owner
        self._events = events
        self.diallers: dict[str, Dialler] = {}  # of links, by name: each that is wanted or has a session
        self.routes: dict[str, RouteDialler] = {}  # of routes, by name: those that are at work
        # Names that a session was asked for with, where there is none or it rests, and why the link that was wanted
        # could not be made, if so.
        self._opening: dict[str, str | None] = {}
        self._timers = KeyedTimers(owner.clock, self._idle_for_long)  # of sessions without a link, by name
        self._without = KeyedTimers(owner.clock, self._without_way)  # sessions that need a connection, by name
        self._without_until: dict[str, tuple[float, bool]] = {}  # when that is due, and whether they were told of
        self._asking = KeyedTimers(owner.clock, self._ask)  # of sessions that go by a route, by name
        self._relays: dict[str, Session] = {}  # with a link, by name: those that what relays was told of
        self._broken = KeyedTimers(owner.clock, self._link_stays_down)  # of them, those that have lost it, by name

    # What is wanted

    def connect(self, node: str, addresses: tuple[str, ...]) -> None:
        """Keep a link."""
        self._dialler(node).feed(Wanted(addresses))

    def forget(self, node: str) -> None:
        """Want no link any more, and give up the one that there is, after what is queued."""
        dialler = self.diallers.get(node)
        if dialler is not None:
            dialler.feed(Unwanted())
        session = self._owner.session(node)
        if session is not None and session.linked:
            session.unlink()

    def open(self, node: str) -> None:
        """See that there is a session, and a connection of it."""
        session = self._owner.session(node)
        if session is None or session.rests:
            if node in self._opening:
                return
            self._opening[node] = None
        if session is None or not (session.connected or session.machine.closing):
            self._need_route_or_link(node)

    def is_opening(self, node: str) -> bool:
        """Whether `open` has not come to anything yet."""
        return node in self._opening

    def down(self, node: str, reason: str) -> None:
        """The cluster says that a node without a session is down."""
        if node in self._opening:
            self._give_up(node, reason)

    def leave(self) -> None:
        """Want nobody any more."""
        for dialler in list(self.diallers.values()):
            dialler.feed(Unwanted())
        for node in list(self._opening):
            self._give_up(node, "leave")
        for route in list(self.routes.values()):
            route.feed(RouteNeedless())

    def close(self) -> None:
        """Stop without a word."""
        self._timers.close()
        self._broken.close()
        self._without.close()
        self._asking.close()
        for dialler in list(self.diallers.values()):
            dialler.close()
        for route in list(self.routes.values()):
            route.close()
        self.diallers.clear()
        self.routes.clear()

    # What becomes of sessions

    def connected(self, session: Session, link: Link, had_link: bool) -> None:
        """A session has got a first connection; before, it may have had a link for one, which is gone by that."""
        node = session.node
        self._has_way(node)
        route = self.routes.get(node)
        if route is not None:
            route.connected(link.attempt)
        if not link.routed:
            self._timers.cancel(node)
            self._dialler(node).established(session.hello.addresses, link.attempt)
            self._link_is_up(session)
            return
        self._link_is_down(node)
        self._asking.set(node, ASK_AFTER)
        # A route takes the place of a link that has not been heard for a while, which may be dialled anew.
        if had_link:
            self._dialler(node).feed(Lost())
        self._watch_idle(session)

    def started(self, session: Session) -> None:
        """It was told of, if it is new: now comes what follows from it."""
        waited = None
        if not session.superseded:  # else who waits for a session waits for the next one
            waited = self._opening.pop(session.node, None)
            self._resume(session)
        if session.direct and not session.linked:
            session.linked = True
            self._owner.tell(self._events.linked, session)
        if waited is not None:
            self._owner.tell(self._events.unreachable, session.node, waited)

    def lost(self, session: Session, routed: bool) -> None:
        """Its first connection broke: dial, or wait for the peer to."""
        if not routed:
            self._broken.set(session.node, LINK_BREAK)
            self._dialler(session.node).feed(Lost())
        self.look(session)

    def silent(self, session: Session) -> None:
        """Its peer does not answer any more, over a link."""
        self._dialler(session.node).feed(Silenced())

    def unlinked(self, session: Session, reason: str) -> None:
        """One of the two sides has given its link up on purpose."""
        dialler = self.diallers.get(session.node)
        if dialler is not None:
            dialler.feed(SessionOver())
        session.leave_behind()
        self._tell_unlinked(session, reason)

    def look(self, session: Session) -> None:
        """See whether a session without a connection needs one."""
        if session.ended is not None or session.connected or session.machine.closing:
            return
        if not self._owner.routes:
            return
        if self._needs_way(session):
            if session.node not in self._without_until:
                self._wait_for_way(session.node, told=False)
            self._need_route_or_link(session.node)
        else:
            session.first.doze()
            if not session.linked:
                self._rest(session)

    def end_offered(self, session: Session) -> None:
        """Its peer does not need it, and says nothing on it until we have answered."""
        needed = (
            self._wants_link(session)
            or session.unacknowledged_at_all
            or self._owner.tell(self._events.keeps, session)
            # The peer may go on with it there, by what we have said in the handshake.
            or self._owner.is_greeting(session.node)
        )
        session.refuse_end() if needed else session.end(IDLE)

    def supersede(self, session: Session) -> None:
        """Let nothing more go on it until it has ended: its peer has left by it, and is back by the next one."""
        session.superseded = True
        self._rest(session)

    def needed(self, session: Session) -> None:
        """It rests, and its peer needs it."""
        if session.rests and not session.superseded:
            self._watch_idle(session)
            waited = self._opening.pop(session.node, None)
            self._resume(session)
            if waited is not None:
                self._owner.tell(self._events.unreachable, session.node, waited)

    def over(self, session: Session) -> None:
        """It has ended, and that was not told yet."""
        self._timers.cancel(session.node)
        self._asking.cancel(session.node)
        self._has_way(session.node)
        self._link_is_down(session.node)
        route = self.routes.get(session.node)
        if route is not None:
            route.feed(RouteNeedless())

    def after_end(self, node: str) -> None:
        """It was told of, so that who forgets the peer now stops the next dial before it begins."""
        dialler = self.diallers.get(node)
        if dialler is not None:
            dialler.feed(SessionOver())
        if node in self._opening:
            # It rested, and somebody waits for it, or now for the next one; which may be there in a moment.
            self._owner.clock.call_soon(self._open_next, node)

    # Of diallers

    def verdict(self, dialler: Dialler, reason: str) -> None:
        """There is no link to a peer, and none could be made in time."""
        node = dialler.node
        session = self._owner.session(node)
        if session is not None and session.linked:
            self._tell_unlinked(session, reason)
            return
        if node in self._opening:
            self._opening[node] = reason
            if session is None or not session.connected:
                self._need_route(node, False)
            return
        _log.info("peer_unreachable", node=self._owner.identity.life.node, peer=node, reason=reason)
        self._owner.tell(self._events.unreachable, node, reason)
        if session is not None:
            self.look(session)

    def dialler_idle(self, dialler: Dialler) -> None:
        """Neither wanted nor connected."""
        if self.diallers.get(dialler.node) is dialler and self._owner.session(dialler.node) is None:
            del self.diallers[dialler.node]
            dialler.close()

    def route_idle(self, route: RouteDialler) -> None:
        """Needed no more."""
        if self.routes.get(route.node) is route:
            del self.routes[route.node]
            route.close()

    def route_given_up(self, route: RouteDialler, reason: str) -> None:
        """No session can be had."""
        if route.node in self._opening:
            self._give_up(route.node, reason)

    # Of links, for what relays

    def _link_is_up(self, session: Session) -> None:
        self._broken.cancel(session.node)
        if self._owner.relaying is not None and self._relays.get(session.node) is not session:
            self._relays[session.node] = session
            self._owner.relaying.linked(session)

    def _link_is_down(self, node: str) -> None:
        self._broken.cancel(node)
        if self._relays.pop(node, None) is not None and self._owner.relaying is not None:
            self._owner.relaying.unlinked(node)

    def _link_stays_down(self, event: TimerFired) -> None:
        self._link_is_down(str(event.key))

    # Private

    def _tell_unlinked(self, session: Session, reason: str) -> None:
        session.linked = False
        self._link_is_down(session.node)
        session.connections.ride_first()
        self._watch_idle(session)
        _log.info("unlinked", node=self._owner.identity.life.node, peer=session.node, reason=reason)
        self._owner.tell(self._events.unlinked, session.node, session.peer.bits, reason)
        self.look(session)

    def _give_up(self, node: str, reason: str) -> None:
        self._opening.pop(node, None)
        route = self.routes.get(node)
        if route is not None:
            route.feed(RouteNeedless())
        _log.info("peer_unreachable", node=self._owner.identity.life.node, peer=node, reason=reason)
        self._owner.tell(self._events.unreachable, node, reason)

    def _open_next(self, node: str) -> None:
        if node in self._opening and self._owner.session(node) is None:
            self._need_route_or_link(node)

    def _need_route_or_link(self, node: str) -> None:
        dialler = self.diallers.get(node)
        self._need_route(node, dialler is not None and dialler.deciding)

    def _need_route(self, node: str, link_is_coming: bool) -> None:
        opening = node in self._opening
        if not self._owner.routes:
            if opening and not link_is_coming:
                self._owner.clock.call_soon(self.down, node, self._opening[node] or NO_WAY)
            return
        route = self.routes.get(node)
        if route is None:
            route = self.routes[node] = RouteDialler(self._owner, self, node, self._owner.parameters.route)
        route.feed(RouteNeeded(opening, link_is_coming))

    def _dialler(self, node: str) -> Dialler:
        dialler = self.diallers.get(node)
        if dialler is None:
            dialler = self.diallers[node] = Dialler(self._owner, self, node, self._owner.parameters.dialling)
        return dialler

    # Of sessions without a way

    def _needs_way(self, session: Session) -> bool:
        return session.carries or session.node in self._opening or bool(self._owner.tell(self._events.keeps, session))

    def _wait_for_way(self, node: str, *, told: bool) -> None:
        self._without_until[node] = (self._owner.clock.now() + NO_WAY_AFTER, told)
        self._without.set(node, NO_WAY_AFTER)

    def _has_way(self, node: str) -> None:
        """Or it has ended, or needs none any more."""
        if self._without_until.pop(node, None) is not None:
            self._without.cancel(node)

    def _without_way(self, event: TimerFired) -> None:
        node = str(event.key)
        until, told = self._without_until.pop(node)
        session = self._owner.session(node)
        if session is None or session.connected or session.machine.closing or not self._needs_way(session):
            return
        if self._owner.clock.now() - until > STOPPED:
            self._wait_for_way(node, told=told)
        elif told:
            session.end(UNREACHABLE)
        else:
            self._wait_for_way(node, told=True)
            _log.info("peer_unreachable", node=self._owner.identity.life.node, peer=node, reason=UNREACHABLE)
            self._owner.tell(self._events.unreachable, node, UNREACHABLE)

    # Of sessions that nobody needs

    def _wants_link(self, session: Session) -> bool:
        dialler = self.diallers.get(session.node)
        return session.linked or (dialler is not None and dialler.wanted)

    def _rest(self, session: Session) -> None:
        if not session.rests:
            session.rests = True
            self._owner.tell(self._events.resting, session)

    def _resume(self, session: Session) -> None:
        if session.rests:
            session.rests = False
            self._owner.tell(self._events.resumed, session)

    def _ask(self, event: TimerFired) -> None:
        """See that a route which something hangs on, and over which nothing goes, is there."""
        node = str(event.key)
        session = self._owner.session(node)
        if session is None or not session.connected or session.direct or session.machine.closing:
            return
        left = session.last_active + ASK_AFTER - self._owner.clock.now()
        if left <= 0 and self._owner.tell(self._events.keeps, session):
            session.ask()
        self._asking.set(node, left if left > 0 else ASK_AFTER)

    def _watch_idle(self, session: Session) -> None:
        self._timers.set(session.node, self._owner.parameters.session.idle)

    def _idle_for_long(self, event: TimerFired) -> None:
        node = str(event.key)
        session = self._owner.session(node)
        if session is None or session.direct:
            return
        if session.rests and session.connected:
            session.drop("no answer")
            self._watch_idle(session)
            return
        idle = self._owner.parameters.session.idle
        left = session.last_active + (idle if session.connected else idle + LATER) - self._owner.clock.now()
        if self._wants_link(session) or session.carries or self._owner.tell(self._events.keeps, session):
            left = idle
        if left > 0:
            self._timers.set(node, left)
        elif session.connected and not session.machine.closing:
            self._timers.set(node, ANSWER_WITHIN)
            self._rest(session)
            session.offer_end()
        else:
            session.end(IDLE)
