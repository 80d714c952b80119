"""Bytes between this node's life and others: who is connected, and the sessions with them. The driver's centre.

Promised to the parts above (`PeerEvents`), whatever happens to connections:

- `session_started` once for each session, before anything that it received; `session_ended` once for each that
  started, after everything that it received and before `session_started` of the next one with that name; both in
  the hub;
- at most one live session for each name; a second live node of a name is refused;
- a peer that `connect` named has a link whenever it can have one; `unreachable` tells, once for each time that it
  could not be made, that the time for it is over, and `unlinked` tells it of one that was there;
- a session outlives its links and goes by routes meanwhile, where there are any; who has one and how it is reached is
  `reaching`'s. It ends by `leave`, by `down`, by a newer life, by an overflow, or idle;
- what strangers do costs no more than `StrangerParameters` say, and nobody else anything;
- there are never more sessions than `PeerParameters.sessions`: those that are stay, and who comes later is refused;
- after `close` nothing is told, dialled or timed any more.

Not known here: processes, terms, membership, what a signal means. The decisions are those of the pure modules
`admission`, `dialling`, `route_dialling`, `session`, `strangers`; the pieces that perform them are `Link`, `Session`,
`Reaching`, `Contact`. Everything runs in the hub of the node's thread and never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog

from partisan_actors.distribution.admission import Acquaintances, agree, full
from partisan_actors.distribution.attempt import Attempt
from partisan_actors.distribution.bad_input import BadInputLog
from partisan_actors.distribution.bearer import Bearer
from partisan_actors.distribution.conduits import Conduits, WithRoutes
from partisan_actors.distribution.contact import Contact, JoinFailure
from partisan_actors.distribution.counters import Counters
from partisan_actors.distribution.greeting import Greeter
from partisan_actors.distribution.link import Link
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.ports import LocalIdentity, PeerEvents, PeerParameters
from partisan_actors.distribution.probe import Probe, ProbeDone
from partisan_actors.distribution.reaching import NEWER_SESSION, Reaching
from partisan_actors.distribution.refusals import Refusals
from partisan_actors.distribution.relaying import Relaying
from partisan_actors.distribution.spare_buffers import SpareBuffers
from partisan_actors.distribution.strangers import Strangers, host_of
from partisan_actors.distribution.streams import SYSTEM, StreamId
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.identity import Life
from partisan_actors.transport import Connection, Listener, Transport
from partisan_actors.wire.frames import Frame
from partisan_actors.wire.handshake import Hello, Keys, Purpose, Refusal, RefusalCode

__all__ = ["LocalIdentity", "PeerEvents", "PeerParameters", "Peers"]

_log = structlog.get_logger("partisan_actors")

_REASONS_COUNTED = 64
_BROKEN = "run one version of partisan_actors on both nodes; the connection is made anew, unless it goes on so"


class Peers:
    """The other nodes, as bytes see them."""

    def __init__(
        self,
        identity: LocalIdentity,
        keys: Keys,
        clock: Clock,
        transport: Transport,
        events: PeerEvents,
        parameters: PeerParameters | None = None,
        conduits: Conduits | None = None,
    ) -> None:
        """Make it; nothing happens yet. Raises ValueError for an identity that is too long for a handshake.

        Args:
            conduits: what carries sessions with peers that there is no link to; None for links only.
        """
        self.identity = identity  # may be replaced, but for the life
        self.keys = keys  # may be replaced: handshakes that begin later use the new ones
        self.clock = clock
        self.transport = transport if conduits is None else WithRoutes(transport, conduits)
        self.routes = conduits is not None
        self.parameters = parameters if parameters is not None else PeerParameters()
        self.backlog = self.parameters.backlog
        self.counters = Counters()
        self.spares = SpareBuffers()
        self.dirty: list[Bearer] = []  # those that `flush` has to look at; the same list for ever
        # Takes the frames that are relayed, and is told of links; without it those are dropped. Set before any link is.
        self.relaying: Relaying | None = None
        self.acquaintances = Acquaintances(self.parameters.acquaintances)
        self._events = events
        self._bad_input = BadInputLog(identity.life.node, clock)
        self._closed = self._flush_is_due = False
        self._gone: Callable[[], None] | None = None  # what waits for the last link to close
        self._sessions: dict[str, Session] = {}  # those that live, by name
        self._contacts: dict[Contact, None] = {}
        self._attempts: dict[Attempt, None] = {}  # all dials and handshakes of ours that are under way
        self._probes: dict[Probe, None] = {}
        self._links: dict[Link, None] = {}  # every connection that is open
        self._listeners: list[Listener] = []
        self._strangers = Strangers(self.parameters.strangers)
        self._refusals = Refusals(identity.life.node, clock, self.counters, self.parameters.strangers)
        greeter = self._greeter = Greeter(self)
        self.greet, self.greeted, self.admit = greeter.greet, greeter.greeted, greeter.admit
        self._reaching = Reaching(self, events)
        self.session_end_offered, self.session_needed = self._reaching.end_offered, self._reaching.needed
        self.supersede = self._reaching.supersede
        self._conduits = conduits
        if conduits is not None:
            conduits.accepted = self._accepted

    # For the parts above

    def listen(self, addresses: Sequence[str]) -> list[str]:
        """Accept peers at `addresses`; the addresses really bound.

        Raises: ValueError for one that cannot be read, OSError for one that cannot be bound; then none is.
        """
        made: list[Listener] = []
        try:
            for address in addresses:
                made.append(self.transport.listen(address, self._accepted))
        except BaseException:
            for listener in made:
                listener.close()
            raise
        self._listeners += made
        return [listener.address for listener in made]

    def contact(
        self, address: str, done: Callable[[Session | JoinFailure], None], timeout: float | None
    ) -> Callable[[str], None]:
        """Connect to whoever answers at `address`, within `timeout` seconds (None: however long it takes).

        Args:
            done: called later, exactly once.

        Returns: a function that gives up, with a text that becomes part of the failure.
        """
        contact = Contact(self, address, done, timeout)
        self._contacts[contact] = None
        if self._closed:
            self.clock.call_soon(contact.fail, "this node is closed")
        return contact.fail

    def connect(self, node: str, addresses: Sequence[str]) -> None:
        """Keep a link to `node`, which can be dialled at `addresses`, others when it moved; without any it dials us."""
        if node != self.identity.life.node and not self._closed:
            self._reaching.connect(node, tuple(addresses))

    def probe(self, node: str, addresses: Sequence[str], done: ProbeDone) -> None:
        """See whether `node` answers at one of `addresses` (one at least), and how quickly, without a session."""
        if not self._closed:
            self._probes[Probe(self, node, addresses, done)] = None

    def forget(self, node: str) -> None:
        """Want no link to `node`, and give up the one that there is, after what is queued; the session goes on."""
        self._reaching.forget(node)

    def open(self, node: str) -> None:
        """See that there is a session with `node`: over a link if there is one or one is coming, else by a route.

        Later, `session_started` or `unreachable` tells; or `resumed`, where there is a session that rests. None of them
        where there is one that does not: it gets a connection if it has none, now or later.
        """
        if node != self.identity.life.node and not self._closed:
            self._reaching.open(node)

    def is_opening(self, node: str) -> bool:
        """Whether `open` is still to come to something; of no use once there is a session."""
        return self._reaching.is_opening(node)

    def down(self, node: str, reason: str) -> None:
        """The cluster has found `node` down: its session ends, and `open` comes to nothing; a link stays wanted."""
        session = self._sessions.get(node)
        if session is not None:
            session.end(reason)
        self._reaching.down(node, reason)

    def session(self, node: str) -> Session | None:
        """The live session with `node`, connected or not."""
        return self._sessions.get(node)

    def sessions(self) -> list[Session]:
        """All live sessions, the oldest first."""
        return list(self._sessions.values())

    def known_life(self, node: str) -> Life | None:
        """The latest life of `node` that has proved itself here."""
        known = self.acquaintances.get(node)
        return known.life if known is not None else None

    @property
    def open_connections(self) -> int:
        """Connections that are not closed yet, those of strangers and those that only say good-bye included."""
        return len(self._links)

    @property
    def unproven(self) -> int:
        """Connections of others that are in their handshake."""
        return self._strangers.pending

    @property
    def turned_away(self) -> int:
        """Connections of others that there was no descriptor for."""
        return sum(listener.turned_away for listener in self._listeners)

    def flush(self) -> None:
        """Write what is queued, the most urgent first. Cheap when there is nothing."""
        # hot path: each time that the scheduler goes idle.
        dirty = self.dirty
        if len(dirty) > 1:
            dirty.sort(key=_priority)
        while dirty:
            dirty.pop().flush()

    def leave(self, reason: str = "leave") -> None:
        """End every session, after what is queued in it, and want no peer any more. Still accepts."""
        for contact in list(self._contacts):
            contact.fail(f"this node is about to {reason}")
        self._reaching.leave()
        # Those that go by others first, while there are links to these.
        for session in sorted(self._sessions.values(), key=lambda session: session.direct):
            session.leave(reason)

    def close(self, reason: str = "stop", gone: Callable[[], None] | None = None) -> None:
        """Leave, and accept nobody any more.

        Args:
            reason: what the peers are told.
            gone: called once the last connection is closed; they have up to 1 s to get the last words out.
        """
        self._gone = gone
        if not self._closed:
            self._stop_listening()
            self.leave(reason)
            self._closed = True
            self._let_go(reason)
        if not self._links and gone is not None:
            self.clock.call_soon(gone)

    def abandon(self) -> None:
        """Let go of everything without a word: in the child of a fork, whose parent has it all, and goes on."""
        for link in list(self._links):
            # This OS process's copy of the descriptor; from here on nothing can be written.
            link.close("fork")
        self._closed = True
        self._stop_listening()
        self.leave("fork")
        self._let_go("fork")

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _let_go(self, reason: str) -> None:
        self._reaching.close()
        for probe in list(self._probes):
            probe.cancel()
        for link in list(self._links):
            if link.counted_host is not None:
                link.close(reason)
        self._refusals.close()

    # For attempts, diallers and contacts

    def hello_to(self, node: str | None, purpose: Purpose, stream: StreamId = SYSTEM, round_trip: float = 0.0) -> Hello:
        """What to say to `node`, or to whoever answers, on a connection for `stream`, made in `round_trip` seconds."""
        return self._greeter.hello_to(node, purpose, stream, round_trip)

    def dialled(self, connection: Connection, hello: Hello, prove_within: float, attempt: Attempt) -> Link:
        """One of ours has reached somebody."""
        self.counters.dialled += 1
        link = Link(self, connection, hello, prove_within, self.parameters.max_frame)
        link.attempt = attempt
        self._links[link] = None
        return link

    def attempt_began(self, attempt: Attempt) -> None:
        """Keep track of it."""
        self._attempts[attempt] = None

    def attempt_over(self, attempt: Attempt) -> None:
        """It needs no more attention."""
        del self._attempts[attempt]

    def probe_over(self, probe: Probe) -> None:
        """It needs no more attention."""
        self._probes.pop(probe, None)

    def contact_over(self, contact: Contact) -> None:
        """It needs no more attention."""
        del self._contacts[contact]

    def objection_to_dial(self, node: str, address: str) -> Refusal | None:
        """Why `node` is not dialled at `address`: there is no place left for a session with it."""
        if node in self._sessions or self._greeter.has_room_for(node):
            return None
        refusal = full(self.identity.life.node)
        self._refusals.by_code(address, refusal)
        return refusal

    def tell(self, method: Callable[..., Any], *arguments: object) -> Any:
        """Tell the parts above; what they answer, None when they fail."""
        if self._closed:
            return None
        try:
            return method(*arguments)
        except Exception as error:
            name = getattr(method, "__name__", "callback")
            _log.error("peer_event_failed", node=self.identity.life.node, event_name=name, exc_info=error)
            return None

    def is_greeting(self, node: str) -> bool:
        """Whether a connection is in its handshake with `node`, or with who says to be it."""
        return any(not link.established_turn and link.goes_to(node) for link in self._links)

    # For the greeter

    @property
    def closed(self) -> bool:
        """Whether nobody is to be let in any more."""
        return self._closed

    def attempts(self) -> Collection[Attempt]:
        """All dials and handshakes of ours that are under way."""
        return self._attempts

    @property
    def places(self) -> int:
        """How many sessions more there may be."""
        return self.parameters.sessions - len(self._sessions)

    def objection(self, peer: Hello) -> str | None:
        """Why the parts above refuse a peer."""
        answer: str | None = self.tell(self._events.check_peer, peer)
        return answer

    # For links

    def link_established(self, link: Link, peer: Hello) -> None:
        """A peer is proven and admitted: its session goes on, or begins."""
        self._no_stranger(link)
        link.established_turn = self._greeter.turn()
        assert link.mine is not None
        # First of all: the end of an older session stops its dialler, which must not give up what it has just got.
        done = link.attempt.proven() if link.attempt is not None else None
        self.counters.connections += 1
        if link.stream == SYSTEM:
            session = self._first_established(link, link.mine, peer)
        else:
            session = self._sessions[peer.node]  # it was there when the peer was admitted, just now
            session.connections.attach(link, link.stream, peer.received)
        if done is not None and session is not None:
            done(session)

    def _first_established(self, link: Link, mine: Hello, peer: Hello) -> Session | None:
        number, resumed = agree(mine, peer)
        session = self._sessions.get(peer.node)
        if session is not None and not resumed:
            session.end("newer life" if session.peer != peer.life else NEWER_SESSION)
        if self._closed:
            link.close("the node is closing")
            return None
        if not resumed or session is None:
            channels, dials = self._greeter.agreed(link, mine, peer)
            session = Session(self, peer, number, self.parameters.session, channels, dials)
            self._sessions[peer.node] = session
        self.acquaintances.remember(peer.life, number)
        had_link = session.direct
        # What it said it has received is of the session that it holds.
        session.attach(link, peer, peer.received if peer.session == number else 0)
        if session.ended is None:
            self._reaching.connected(session, link, had_link)
            if not resumed:
                self.counters.sessions_started += 1
                _log.info("session_started", **self._context(session), address=session.address)
                self.tell(self._events.session_started, session)
            if session.ended is None:
                self._reaching.started(session)
        return session

    def link_failed(self, link: Link, refusal: Refusal | None, by_us: bool, reason: str) -> None:
        """A handshake came to nothing."""
        attempt = link.attempt
        probing = attempt is not None and attempt.purpose is Purpose.PROBE
        if probing or (refusal is not None and refusal.code == RefusalCode.PROBED):
            self.counters.probes += 1
        elif refusal is not None:
            self._refusals.by_code(link.address, refusal, by_us=by_us)
        elif not link.dialled and not self._closed and not self._greeter.is_of_a_session(link):
            self._refusals.closed_early(link, reason)
        if attempt is not None:
            attempt.link_failed(refusal, by_us, reason)

    def link_closed(self, link: Link) -> None:
        """A connection is gone."""
        self.counters.closed += 1
        self._no_stranger(link)
        self._links.pop(link, None)
        if self._closed and self._conduits is not None and not any(not other.routed for other in self._links):
            self._conduits.close()  # nobody is left who could carry an answer
        if self._gone is not None and not self._links:
            self._gone()

    # For sessions

    def bearer_dirty(self, bearer: Bearer) -> None:
        """It has something to write."""
        self.dirty.append(bearer)
        # The scheduler flushes when it goes idle. But who sends need not be a process of its.
        if not self._flush_is_due:
            self._flush_is_due = True
            self.clock.call_soon(self._flush_now)

    def session_received(self, session: Session, body: bytes | memoryview, outgoing: Outgoing) -> None:
        """A frame came."""
        try:
            self._events.received(session, body, outgoing)
        except Exception as error:
            _log.error("received_frame_failed", **self._context(session), reason=repr(error), exc_info=error)

    def session_passes(self, session: Session, frame: Frame) -> None:
        """A frame came that is relayed, or about the ways of what is. Raises BrokenFrame."""
        if self.relaying is not None:
            self.relaying.frame_received(session, frame)

    def session_lost(self, session: Session, reason: str, routed: bool) -> None:
        """Its connection broke: dial, or wait for the peer to."""
        self.counters.connections_lost += 1
        _log.info("connection_lost", **self._context(session), reason=reason)
        self._reaching.lost(session, routed)

    def session_needs(self, session: Session) -> None:
        """It has something to carry, and no connection."""
        self._reaching.look(session)

    def session_unlinked(self, session: Session, reason: str) -> None:
        """Its link was given up."""
        self._reaching.unlinked(session, reason)

    def session_broken_envelope(self, session: Session, reason: str) -> None:
        """Its peer sent nonsense."""
        self.counters.broken_envelopes += 1
        at = {"address": session.address}
        self._bad_input.tell("broken_envelope", session.node, reason, advice=_BROKEN, about=at)

    def session_silent(self, session: Session) -> None:
        """Its peer does not answer any more."""
        self._reaching.silent(session)

    def session_over(self, session: Session, reason: str) -> None:
        """It has ended."""
        node = session.node
        if self._sessions.get(node) is session:
            del self._sessions[node]
            self._reaching.over(session)
        self.counters.superseded += session.machine.streams.superseded
        ended = self.counters.sessions_ended
        ended[reason if reason in ended or len(ended) < _REASONS_COUNTED else "other"] += 1
        _log.info("session_ended", **self._context(session), reason=reason)
        self.tell(self._events.session_ended, session, reason)
        self._reaching.after_end(node)

    # Private

    def _accepted(self, connection: Connection) -> Link | None:
        address = connection.peer_address
        host = host_of(address)
        limits = self.parameters.strangers
        objection = "closing" if self._closed else self._strangers.admit(host)
        if objection is not None:
            self._refusals.refused(address, objection)
            return None
        self.counters.accepted += 1
        link = Link(self, connection, None, limits.prove_within, self.parameters.max_frame)
        link.counted_host = host
        self._links[link] = None
        return link

    def _no_stranger(self, link: Link) -> None:
        host, link.counted_host = link.counted_host, None
        if host is not None:
            self._strangers.leave(host)

    def _flush_now(self) -> None:
        self._flush_is_due = False
        self.flush()

    def _context(self, session: Session) -> dict[str, str]:
        return {"node": self.identity.life.node, "peer": session.node}


def _priority(bearer: Bearer) -> float:
    return bearer.carrier.priority
