"""A node's side of its cluster: drives the machines of the peer service and the names over the sessions.

The parts and who tells whom: `Peers` tells of sessions, of links and what they bring; signals for processes
go to `RemoteProcesses`, the rest to the machine they belong to; the view's verdicts go to
processes as NodeUp and NodeDown, and to the names. An event is taken in whole, with all that
follows from it, before the next: effects that cause events put them into a queue.

A session's end is `"noconnection"` for what hangs on it before NodeDown is told, and NodeUp is
told when what processes send can reach the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from partisan_actors.cluster import peer_service as service
from partisan_actors.cluster import view_events as view
from partisan_actors.cluster.advice import advice_on
from partisan_actors.cluster.broadcasting import Broadcasting
from partisan_actors.cluster.driver import VIEW_FEATURE, PeerServiceDriver
from partisan_actors.cluster.global_names import GlobalNames
from partisan_actors.cluster.joining import JoinAttempt
from partisan_actors.cluster.names_post import NamesPost
from partisan_actors.cluster.naming import Naming
from partisan_actors.cluster.peer_service import PeerService
from partisan_actors.cluster.peer_service_parameters import PeerServiceParameters
from partisan_actors.cluster.records import Member, Status
from partisan_actors.cluster.remote import RemoteProcesses
from partisan_actors.cluster.router import ClusterRouter
from partisan_actors.cluster.settings import ClusterSettings
from partisan_actors.cluster.spawning import Spawning
from partisan_actors.cluster.topology_fact import fact_from_terms
from partisan_actors.distribution.bad_input import BadInputLog
from partisan_actors.distribution.channels import STREAMS_FEATURE
from partisan_actors.distribution.contact import JoinFailure
from partisan_actors.distribution.live_session import FORGOTTEN, Session
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.peers import LocalIdentity, PeerParameters, Peers
from partisan_actors.distribution.reaching import IDLE, NEWER_SESSION
from partisan_actors.distribution.routes import Routes
from partisan_actors.distribution.session_parameters import SessionParameters
from partisan_actors.errors import JoinError
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.messages import NodeDown, NodeUp
from partisan_actors.processes.requests import Caller, RemoteCaller, Request
from partisan_actors.processes.runtime import Runtime
from partisan_actors.topologies import Topology
from partisan_actors.topologies.registry import find_topology
from partisan_actors.transport import Transport, choose_advertised, is_wildcard, parse_address
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.frames import BrokenFrame
from partisan_actors.wire.handshake import Hello, Purpose
from partisan_actors.wire.hello import Standing, encode_membership
from partisan_actors.wire.relays import RELAYS_FEATURE
from partisan_actors.wire.signals import Signal, encode_signal

__all__ = ["Cluster"]

_log = structlog.get_logger("partisan_actors")

CALLER_EXTENSION = 64
"""The codec's extension code for the handle of a request."""


class Cluster:
    """The cluster as one node life sees it."""

    def __init__(self, runtime: Runtime, transport: Transport, settings: ClusterSettings) -> None:
        self._runtime = runtime
        self._settings = settings
        home = runtime.home
        self.listening: list[str] = []
        self._ups = self._downs = 0  # of other members, so far
        self._advertised: tuple[str, ...] = ()
        self.codec = Codec(home)
        self.codec.register_extension(Caller, CALLER_EXTENSION, self._caller_term, self._caller_of)
        self._bad_input = BadInputLog(home.node, runtime.clock)
        identity = LocalIdentity(
            home,
            settings.topology.name,
            settings.channels,
            addresses=lambda: self._advertised,
            features=STREAMS_FEATURE | signals.ACKNOWLEDGE_FEATURE | RELAYS_FEATURE | VIEW_FEATURE,
            extensions=lambda: (encode_membership(Standing(False, 0, 0)),),  # as long as what will be said
        )
        default = settings.channels[0].stream_parameters
        parameters = PeerParameters(session=SessionParameters(stream=default))
        self.routes = Routes(home, runtime.clock, settings.parameters.routing)
        self.peers = Peers(identity, settings.keys, runtime.clock, transport, self, parameters, self.routes.conduits)
        self.peers.relaying = self.routes.relaying
        self.remote = RemoteProcesses(
            runtime, self.codec, settings.channels, settings.hooks, settings.outbox[1], settings.labels
        )
        self.remote.opening.is_member, self.remote.opening.open = self._is_member, self.peers.open
        spawning = Spawning(runtime, self.remote, settings.spawnable)
        self._driver = PeerServiceDriver(runtime.clock, self.peers, self.codec, self._told, self._look_at_joins)
        self.peers.identity = replace(identity, extensions=self._driver.said_of_membership)
        self._for_everybody: tuple[str, ...] = ()  # the neighbours that what is for everybody goes to
        self._synchronised: set[str] = set()  # nodes whose view came over the session that they have now
        self._joins: list[JoinAttempt] = []
        self.joins_failed: dict[str, int] = {}  # by the reason of their JoinError
        self._names_post = NamesPost(runtime.clock, self.peers, self.remote.opening)
        self.naming = Naming(
            runtime,
            GlobalNames(home.node, home.bits),
            self._send_names,
            self._broadcast_names,
            self._names_post.meet,
            self._life_of,
        )
        chosen = settings.parameters.broadcast
        self.broadcasting = Broadcasting(runtime, self.codec, self.remote, lambda: self._for_everybody, chosen)
        runtime.causal_labels = tuple(settings.labels)
        runtime.channels = {channel.name: channel.monotonic for channel in settings.channels}
        runtime.router = ClusterRouter(self.remote, spawning, self.naming, self.members, self.broadcasting)
        runtime.scheduler.dirty = self.peers.dirty
        runtime.scheduler.flush = self.peers.flush

    # The life of the node's side.

    def start(self) -> None:
        """Open the log of the outboxes, if there is one, and listen; waits.

        Raises:
            DiskLogError: the log cannot be used.
            ValueError: addresses that cannot be used.
            OSError: addresses that cannot be bound.
        """
        path, _ = self._settings.outbox
        if path is not None:
            self.remote.acknowledging.open_log(path)
        try:
            self.listening = self.peers.listen(self._settings.listen)
            self._advertised = self._addresses_to_dial()
        except BaseException:
            self.peers.close()
            self.close_outboxes()
            raise
        # Bound once: a thousand nodes hear of a thousand each, and to bind costs ten times a line that is not written.
        self._log = _log.bind(node=self._runtime.home.node)
        self._driver.begin(self._make_service())

    def _make_service(self) -> PeerService:
        home, addresses = self._runtime.home, self._advertised
        own = Member(home.node, home.epoch, home.bits, addresses, bool(addresses), 1, Status.ALIVE)
        parameters = PeerServiceParameters(membership=self._settings.parameters.view)
        return PeerService(own, self._settings.topology, find_topology, parameters)

    def _addresses_to_dial(self) -> tuple[str, ...]:
        chosen = choose_advertised(self._settings.advertise, self.listening)
        if chosen is None:
            return ()
        if self._settings.advertise is not None:
            return (chosen,)
        # The others that are bound too: a unix socket serves this machine only, and costs others one dial.
        return (chosen, *(a for a in self.listening if a != chosen and not is_wildcard(a)))

    def stop(self, gone: Callable[[], None]) -> None:
        """Leave, and close everything; `gone` is called when the last connection is closed, in 1 s at most."""
        self._fail_joins("the node is stopping")
        self._driver.step(view.Leave())
        self.remote.opening.close()
        self.peers.close("leave", gone)
        for session in list(self.remote.sessions()):
            self.remote.session_ended(session)
        self.routes.close()
        self._close_timers()

    def close_outboxes(self) -> None:
        """Give up what is open, but for what the log has; waits for the log."""
        self.remote.causality.close()
        self.remote.acknowledging.close()

    def abandon(self) -> None:
        """In the child of a fork: let go of everything without a word. It is the parent's."""
        self._driver.service = None
        self.peers.abandon()
        self.remote.causality.let_go()
        self.remote.acknowledging.let_go()
        self._close_timers()

    def _close_timers(self) -> None:
        self._driver.close()
        self.naming.close()
        self._names_post.close()
        self.broadcasting.close()

    def leave(self) -> None:
        """Leave the cluster; the others are told."""
        self._fail_joins("the node is leaving")
        self._driver.step(view.Leave())
        self.broadcasting.left()
        self.peers.leave("leave")

    def join(self, address: str, timeout: float, done: Callable[[Any, BaseException | None], None]) -> JoinAttempt:
        """Join through the node at `address`; `done(None, error)` is called once. Raises ValueError for no address."""
        parse_address(address)
        self._driver.step(view.Join())

        def over(result: Any, error: BaseException | None) -> None:
            if isinstance(error, JoinError):
                self.joins_failed[error.reason] = self.joins_failed.get(error.reason, 0) + 1
            done(result, error)

        attempt = JoinAttempt(self._runtime.home.node, address, over, self._joins.remove)
        self._joins.append(attempt)

        def contacted(result: Session | JoinFailure) -> None:
            if isinstance(result, JoinFailure) and self._rise_above(result.epoch):
                attempt.give_up = self.peers.contact(address, contacted, timeout)
                return
            attempt.contacted(result)
            if not isinstance(result, JoinFailure):
                self._driver.step(service.JoinedThrough(result.node))
            self._look_at_joins()

        attempt.give_up = self.peers.contact(address, contacted, timeout)
        return attempt

    def _rise_above(self, epoch: int) -> bool:
        """Take a higher epoch than a former life of our name had; whether that may let us in.

        The clock of this machine went back since that life. Nothing that was handed out changes: a
        life is told apart by its bits. A refusal is not authenticated, so a number that no clock
        would give for thousands of years is not believed.
        """
        home = self._runtime.home
        if not home.epoch <= epoch < 1 << 48 or self.peers.sessions():
            return False
        home.epoch = epoch + 1
        self.remote.causality.renew()
        self.routes.relaying.rise(home.epoch)
        self._driver.begin(self._make_service())
        return True

    def _is_member(self, node: str, bits: int | None) -> bool:
        running = self._driver.service
        return running is not None and running.view.table.alive(node, bits) and node != self._runtime.home.node

    def _is_of_member(self, life: Life) -> bool:
        """Whether the view knows this life, and no later one; it may be down, which it will take back."""
        running = self._driver.service
        record = running.view.table.records.get(life.node) if running is not None else None
        return record is not None and record.bits == life.bits

    def _has_left(self, life: Life) -> bool:
        running = self._driver.service
        record = running.view.table.records.get(life.node) if running is not None else None
        return record is not None and record.bits == life.bits and record.status is Status.LEFT

    # What is asked of it.

    @property
    def topology(self) -> str:
        """The name of the topology that it runs with."""
        assert self._driver.service is not None
        return self._driver.service.topology[0]

    @property
    def address(self) -> str | None:
        """The first advertised address."""
        return self._advertised[0] if self._advertised else None

    def members(self) -> list[str]:
        """Members not known to be down, this node included."""
        assert self._driver.service is not None
        return self._driver.service.view.table.members()

    def view_changes(self) -> dict[str, int]:
        """How often other members came and went so far, and were found down and up again."""
        assert self._driver.service is not None
        records = self._driver.service.view.table.records
        return {"joins": records.joins, "leaves": records.leaves, "ups": self._ups, "downs": self._downs}

    def view_refusals(self) -> dict[str, dict[str, int]]:
        """What others' overlays, and their views, sent that was not taken in, by reason."""
        service = self._driver.service
        assert service is not None
        return {"refused": dict(service.refused), "records_refused": dict(service.view.refused)}

    def neighbours(self) -> list[str]:
        """Nodes with a live connection."""
        assert self._driver.service is not None
        sessions = {node: self.peers.session(node) for node in self._driver.service.links()}
        return [node for node, session in sessions.items() if session is not None and session.direct]

    def switch_topology(self, topology: Topology) -> None:
        """Let the whole cluster run with another topology. Raises TypeError, ValueError: others cannot make it."""
        # All of it before anything has changed here: what comes out at the other end has to make one there.
        parameters = self.codec.decode(self.codec.encode(dict(topology.parameters())))
        if fact_from_terms((1, self._runtime.home.node, topology.name, parameters)) is None:
            raise ValueError(f"the topology's name, and those of its parameters, are short texts, not {topology!r}'s")
        find_topology(topology.name, parameters)
        self._driver.step(service.Switch(topology))

    # `PeerEvents`.

    def check_peer(self, hello: Hello) -> str | None:
        """Admit everybody who proved the cookie."""
        # A newcomer makes this node a member again after it left. A former member that missed the leave
        # and dials again does not.
        if hello.purpose == Purpose.JOIN:
            self._driver.step(view.Join())
        return None

    def session_started(self, session: Session) -> None:
        """Ties may hang on it, and its node may be a member."""
        self.remote.session_started(session)
        self._names_post.flush(session.node)
        peer = session.peer
        self._driver.step(view.Met(peer.node, peer.epoch, peer.bits, session.hello.addresses))
        if not session.direct and self._has_left(peer):
            # While the session was opened. No link will break that would say so, and what hangs on it would wait.
            self._driver.end_session(peer.node, peer.bits, view.LEAVE)

    def linked(self, session: Session) -> None:
        """There is a link to its node."""
        peer = session.peer
        self._driver.step(view.LinkUp(peer.node, peer.epoch, peer.bits, session.hello.addresses))

    def unlinked(self, node: str, bits: int, reason: str) -> None:
        """There is none any more."""
        if reason == FORGOTTEN:
            self._driver.step(view.Closed(node, bits))
        else:
            self._driver.step(view.LinkDown(node, bits, reason))

    def keeps(self, session: Session) -> bool:
        """Whether a process, or an outbox, needs the session."""
        return self.remote.keeps(session)

    def resting(self, session: Session) -> None:
        """What processes send to its node waits."""
        self.remote.resting(session)

    def resumed(self, session: Session) -> None:
        """And goes on."""
        self.remote.resumed(session)
        self._names_post.flush(session.node)

    def received(self, session: Session, body: memoryview | bytes, outgoing: Outgoing) -> None:
        """Signals for processes go to them, the others to the machines."""
        try:
            self.remote.received(session, body, outgoing, self._received_other)
        except BrokenFrame as error:
            bearer = outgoing.bearer
            if bearer.link is not None:
                bearer.broken_envelope(bearer.link, str(error))

    def session_ended(self, session: Session, reason: str) -> None:
        """Everything over it is lost, and the node is down."""
        self.remote.session_ended(session)
        self._synchronised.discard(session.node)
        for attempt in list(self._joins):
            attempt.lost(session.node)
        node, bits = session.node, session.peer.bits
        self.naming.session_ended(node)
        self._driver.session_ended(session, reason)
        # Nothing was on one that rests; but its other end may have taken this node for down, and have begun another.
        lost_nothing = reason == IDLE or (session.rests and reason != NEWER_SESSION)
        if not lost_nothing and self._is_member(node, bits):
            # What was under way of the names is lost, and the node is not: begin anew with it.
            self._names_post.forget(node)
            self.naming.member_down(node, bits)
            self.naming.member_up(node, bits)

    def unreachable(self, node: str, reason: str) -> None:
        """A member could not be connected in time."""
        self.remote.unreachable(node)
        self._driver.step(view.Unreachable(node, reason))

    def _received_other(self, session: Session, signal: Signal) -> None:
        if self._driver.is_parting(session.node):
            return
        if signal.kind in (signals.BROADCAST, signals.BROADCAST_CONTROL):
            self.broadcasting.received(session.node, signal, self._is_of_member(session.peer))
            return
        payload = self.codec.decode(signal.payload)
        if signal.kind == signals.MEMBERSHIP:
            self._driver.step(view.ViewReceived(session.node, payload))
        elif signal.kind == signals.NAMES:
            self.naming.received(session.node, session.peer.bits, payload)
        elif signal.kind == signals.OVERLAY:
            self._driver.step(service.OverlayReceived(session.node, payload))

    # What the peer service tells.

    def _told(self, effect: Any) -> None:
        me = self._runtime.home.node
        match effect:
            case view.NodeUp(node, epoch, bits):
                self._member_up(Life(node, epoch, bits))
                self._log.info("node_up", peer=node)
            case view.NodeDown(node, bits, reason):
                self._member_down(node, bits, reason)
                self._log.info("node_down", peer=node, reason=reason)
            case view.Synchronised(node):
                self._synchronised.add(node)
            case service.Gossip(nodes):
                self._for_everybody = nodes
                self.broadcasting.look()
            case view.Heard(node, via):
                self.routes.relaying.learned(node, via)
            case view.Suspected(node):
                self.routes.relaying.suspected(node)
            case view.Trusted(node):
                self.routes.relaying.trusted(node)
            case view.NameConflict(record):
                reason = "another life has our name"
                _log.error("name_conflict", node=me, reason=reason, epoch=record.epoch)
            case view.Refused(node, reason, count):
                late = reason == view.NO_LINK
                self._refused("records_refused", node, reason, late, {"count": count})
            case service.OverlayRefused(node, reason, late):
                self._refused("overlay_message_refused", node, reason, late, {})
            case service.Switched(name, version):
                self.peers.identity = replace(self.peers.identity, topology=name, topology_version=version)
                _log.info("topology_switched", node=me, topology=name, version=version)

    def _refused(self, event: str, node: str, reason: str, late: bool, about: Mapping[str, object]) -> None:
        advice = advice_on(event, reason, late=late)
        self._bad_input.tell(event, node, reason, advice=advice, level="debug" if late else "warning", about=about)

    def _member_up(self, life: Life) -> None:
        self._ups += 1
        self._driver.life_came(life)
        self.routes.relaying.trusted(life.node)
        self.remote.acknowledging.life_changed(life)
        self.remote.causality.member_up(life)
        self._runtime.tell_node_watchers(NodeUp(life.node))
        self.naming.member_up(life.node, life.bits)
        self.broadcasting.member_up(life.node, life.bits)

    def _member_down(self, node: str, bits: int, reason: str) -> None:
        self._downs += 1
        ended = self._driver.end_session(node, bits, reason)
        if reason != view.NEWER_LIFE:
            # What waits for a session with it: as if that had been there, and ended now.
            self.remote.unreachable(node)
        self.routes.relaying.member_down(node)
        self._runtime.tell_node_watchers(NodeDown(node, reason))
        if ended:  # else what has come over it is true, and is not said again
            self._names_post.forget(node)
            self.naming.member_down(node, bits)
        self.remote.causality.member_down(node)
        self.broadcasting.member_down(node, bits)

    # Joins.

    def _fail_joins(self, text: str) -> None:
        for attempt in list(self._joins):
            attempt.fail("unreachable", text)

    def _look_at_joins(self) -> None:
        running = self._driver.service
        if self._joins and running is not None:
            undecided = [node for node in running.undecided() if self._can_meet(node)]
            attached = bool(running.links() or not running.wanted())
            for attempt in list(self._joins):
                attempt.look(self._synchronised, undecided, attached)

    def _can_meet(self, node: str) -> bool:
        """Whether one of the two can dial the other: there is no use in waiting for one that cannot be."""
        record = self._driver.service.view.table.records.get(node) if self._driver.service is not None else None
        return bool(self._advertised) or (record is not None and record.dialable)

    # Names.

    def _send_names(self, node: str, payload: Any) -> None:
        self._names_post.send((node,), encode_signal(signals.NAMES, payload=self.codec.encode(payload)))

    def _broadcast_names(self, payload: Any) -> None:
        others = [node for node in self.members() if node != self._runtime.home.node]
        self._names_post.send(others, encode_signal(signals.NAMES, payload=self.codec.encode(payload)))

    def _life_of(self, node: str, bits: int) -> Life:
        known = self.peers.known_life(node)
        return known if known is not None and known.bits == bits else Life(node, 0, bits)

    # The handles of requests, as messages carry them.

    def _caller_term(self, caller: Any) -> Any:
        if isinstance(caller, Request):
            return (caller.pid, caller.numbered())
        return (caller.pid, caller.number)

    def _caller_of(self, term: Any) -> Caller:
        match term:
            case (Pid() as pid, int(number)):
                if pid.home == self._runtime.home and number in self._runtime.requests:
                    return self._runtime.requests[number]
                return RemoteCaller(self.remote, pid, number)
        raise ValueError("a caller is a pid and a number")
