"""A node's side of its cluster: drives the machines of membership, overlay and names over the sessions.

The parts and who tells whom: `Peers` tells of sessions and what they bring; signals for processes
go to `RemoteProcesses`, the rest to the machine they belong to; the view's verdicts go to
processes as NodeUp and NodeDown, and to the names. An event is taken in whole, with all that
follows from it, before the next: effects that cause events put them into a queue.

A session's end is `"noconnection"` for what hangs on it before NodeDown is told, and NodeUp is
told when what processes send can reach the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from partisan_actors.cluster import global_names
from partisan_actors.cluster import view_events as view
from partisan_actors.cluster.broadcasting import Broadcasting
from partisan_actors.cluster.global_names import GlobalNames
from partisan_actors.cluster.hooks import Hooks
from partisan_actors.cluster.joining import JoinAttempt
from partisan_actors.cluster.membership import Membership
from partisan_actors.cluster.naming import Naming
from partisan_actors.cluster.records import Status
from partisan_actors.cluster.remote import RemoteProcesses
from partisan_actors.cluster.router import ClusterRouter
from partisan_actors.cluster.spawning import Spawning
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.channels import STREAMS_FEATURE, Channel
from partisan_actors.distribution.contact import JoinFailure
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.peers import LocalIdentity, PeerParameters, Peers
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.messages import NodeDown, NodeUp
from partisan_actors.processes.requests import Caller, RemoteCaller, Request
from partisan_actors.processes.runtime import Runtime
from partisan_actors.topologies import Topology, overlay
from partisan_actors.transport import Transport, choose_advertised, is_wildcard, parse_address
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.frames import BrokenFrame
from partisan_actors.wire.handshake import Hello, Keys, Purpose
from partisan_actors.wire.signals import Signal, encode_signal

__all__ = ["Cluster", "ClusterSettings"]

_log = structlog.get_logger("partisan_actors")

CALLER_EXTENSION = 64
"""The codec's extension code for the handle of a request."""

LAST_WORDS = 1.0
"""Seconds that a node which left has for what it sent before; that it left may be heard sooner, from others."""


@dataclass(frozen=True)
class ClusterSettings:
    """What a `Node` was made with, as far as its cluster is concerned."""

    listen: tuple[str, ...]
    advertise: str | None
    keys: Keys
    topology: Topology
    channels: tuple[Channel, ...]
    spawnable: tuple[str, ...]
    hooks: Hooks
    outbox: tuple[str | None, float]  # its file, and the seconds that a message is tried for
    labels: dict[str, CausalLabel]


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
        identity = LocalIdentity(
            home,
            settings.topology.name,
            settings.channels,
            addresses=lambda: self._advertised,
            features=STREAMS_FEATURE | signals.ACKNOWLEDGE_FEATURE,
        )
        default = settings.channels[0].stream_parameters
        parameters = PeerParameters(session=SessionParameters(stream=default))
        self.peers = Peers(identity, settings.keys, runtime.clock, transport, self, parameters)
        self.remote = RemoteProcesses(
            runtime, self.codec, settings.channels, settings.hooks, settings.outbox[1], settings.labels
        )
        spawning = Spawning(runtime, self.remote, settings.spawnable)
        self._overlay = settings.topology.overlay(home.node)
        self._overlay_timers = KeyedTimers(runtime.clock, self._overlay_timer)
        self._view: Membership | None = None
        self._view_timers = KeyedTimers(runtime.clock, self._step_view)
        self._addresses: dict[str, tuple[str, ...]] = {}  # where members can be dialled
        self._synchronised: set[str] = set()  # nodes whose view came over the session that they have now
        self._parting: dict[str, Session] = {}  # with nodes that left, and may have said more before
        self._parting_timers = KeyedTimers(runtime.clock, self._end_parting)
        self._joins: list[JoinAttempt] = []
        self._events: deque[Any] = deque()  # for the view; see `_step_view`
        self._stepping = False
        self.naming = Naming(
            runtime, GlobalNames(home.node, home.bits), self._send_names, self._broadcast_names, self._life_of
        )
        self.broadcasting = Broadcasting(runtime, self.codec, self.remote, self._gossip)
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
        home = self._runtime.home
        self._view = Membership(home.node, home.epoch, home.bits, self._advertised)

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
        self._step_view(view.Leave())
        self.peers.close("leave", gone)
        for session in list(self.remote.sessions()):
            self.remote.session_ended(session)
        self._close_timers()

    def close_outboxes(self) -> None:
        """Give up what is open, but for what the log has; waits for the log."""
        self.remote.causality.close()
        self.remote.acknowledging.close()

    def abandon(self) -> None:
        """In the child of a fork: let go of everything without a word. It is the parent's."""
        self._view = None
        self.peers.abandon()
        self.remote.causality.let_go()
        self.remote.acknowledging.let_go()
        self._close_timers()

    def _close_timers(self) -> None:
        self._view_timers.close()
        self._overlay_timers.close()
        self._parting_timers.close()
        self.naming.close()
        self.broadcasting.close()

    def leave(self) -> None:
        """Leave the cluster; the others are told."""
        self._fail_joins("the node is leaving")
        self._step_view(view.Leave())
        self.broadcasting.left()
        self.peers.leave("leave")

    def join(self, address: str, timeout: float, done: Callable[[Any, BaseException | None], None]) -> JoinAttempt:
        """Join through the node at `address`; `done(None, error)` is called once. Raises ValueError for no address."""
        parse_address(address)
        self._step_view(view.Join())
        attempt = JoinAttempt(self._runtime.home.node, address, done, self._joins.remove)
        self._joins.append(attempt)

        def contacted(result: Session | JoinFailure) -> None:
            if isinstance(result, JoinFailure) and self._rise_above(result.epoch):
                attempt.give_up = self.peers.contact(address, contacted, timeout)
                return
            attempt.contacted(result)
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
        self._view_timers.close()
        self._view = Membership(home.node, home.epoch, home.bits, self._advertised)
        return True

    # What is asked of it.

    @property
    def address(self) -> str | None:
        """The first advertised address."""
        return self._advertised[0] if self._advertised else None

    def members(self) -> list[str]:
        """Members not known to be down, this node included."""
        assert self._view is not None
        return self._view.members()

    def view_changes(self) -> dict[str, int]:
        """How often other members came and went so far, and could be reached and could not any more."""
        assert self._view is not None
        joins, leaves = self._view.changes
        return {"joins": joins, "leaves": leaves, "ups": self._ups, "downs": self._downs}

    def neighbours(self) -> list[str]:
        """Nodes with a live connection."""
        return sorted(s.node for s in self.peers.sessions() if s.connected and s.node not in self._parting)

    # `PeerEvents`.

    def check_peer(self, hello: Hello) -> str | None:
        """Admit everybody who proved the cookie."""
        # A newcomer makes this node a member again after it left. A former member that missed the leave
        # and dials again does not.
        if hello.purpose == Purpose.JOIN:
            self._step_view(view.Join())
        return None

    def session_started(self, session: Session) -> None:
        """Ties may hang on it, and its node may be a member."""
        self.remote.session_started(session)
        peer = session.peer
        self._step_view(view.SessionStarted(peer.node, peer.epoch, peer.bits, session.hello.addresses))
        self._step_overlay(overlay.LinkUp(peer.node))

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
        if self._parting.pop(session.node, None) is not None:
            self._parting_timers.cancel(session.node)
        self._step_view(view.PeerLost(session.node, session.peer.bits, reason))
        self._step_overlay(overlay.LinkDown(session.node))

    def unreachable(self, node: str, reason: str) -> None:
        """A member could not be connected in time."""
        self._step_view(view.Unreachable(node))

    def _received_other(self, session: Session, signal: Signal) -> None:
        if session.node in self._parting:
            return
        if signal.kind in (signals.BROADCAST, signals.BROADCAST_CONTROL):
            self.broadcasting.received(session.node, signal)
            return
        payload = self.codec.decode(signal.payload)
        if signal.kind == signals.MEMBERSHIP:
            self._step_view(view.ViewReceived(session.node, payload))
        elif signal.kind == signals.NAMES:
            self.naming.received(session.node, session.peer.bits, payload)
        elif signal.kind == signals.OVERLAY:
            self._step_overlay(overlay.Message(session.node, payload))

    # The view.

    def _step_view(self, event: Any) -> None:
        if self._view is None:
            return
        self._events.append(event)
        if self._stepping:
            return
        self._stepping = True
        clock = self._runtime.clock
        try:
            while self._events:
                for effect in self._view.step(self._events.popleft(), clock.now(), clock.random):
                    self._perform(effect)
        finally:
            self._stepping = False
        self._look_at_joins()

    def _perform(self, effect: Any) -> None:
        match effect:
            case view.SendView(nodes, payload):
                self._send_all(nodes, signals.MEMBERSHIP, payload)
            case view.NodeUp(node, epoch, bits):
                life = Life(node, epoch, bits)
                self.remote.acknowledging.life_changed(life)
                self.remote.causality.member_up(life)
                self._ups += 1
                self._runtime.tell_node_watchers(NodeUp(node))
                self.naming.step(global_names.MemberUp(node, bits))
                self.broadcasting.member_up(node, bits)
                _log.info("node_up", node=self._runtime.home.node, peer=node)
            case view.NodeDown(node, bits, reason):
                self._runtime.tell_node_watchers(NodeDown(node, reason))
                self.naming.member_down(node, bits)
                self.remote.causality.member_down(node)
                self.broadcasting.member_down(node, bits)
                self._downs += 1
                _log.info("node_down", node=self._runtime.home.node, peer=node, reason=reason)
            case view.Connect(node, addresses):
                self._addresses[node] = addresses
                self._step_overlay(overlay.MemberUp(node))
            case view.Forget(node):
                self._addresses.pop(node, None)
                self._step_overlay(overlay.MemberDown(node))
                self._disconnect(node)  # the overlay may never have heard of it
            case view.Synchronised(node):
                self._synchronised.add(node)
            case view.NameConflict(record):
                reason = "another life has our name"
                _log.error("name_conflict", node=self._runtime.home.node, reason=reason, epoch=record.epoch)
            case view.Refused(node, reason, count):
                _log.warning("records_refused", node=self._runtime.home.node, peer=node, reason=reason, count=count)
            case SetTimer(key, seconds):
                self._view_timers.set(key, seconds)
            case CancelTimer(key):
                self._view_timers.cancel(key)

    # The overlay.

    def _step_overlay(self, event: overlay.Event) -> None:
        clock = self._runtime.clock
        for effect in self._overlay.step(event, clock.now(), clock.random):
            match effect:
                case overlay.Connect(node):
                    self._end_parting(TimerFired(node))
                    self.peers.connect(node, self._addresses.get(node, ()))
                case overlay.Disconnect(node):
                    self._disconnect(node)
                case overlay.Send(node, payload):
                    self._send_all((node,), signals.OVERLAY, payload)
                case overlay.SetTimer(key, seconds):
                    self._overlay_timers.set(key, seconds)
                case overlay.CancelTimer(key):
                    self._overlay_timers.cancel(key)
        self.broadcasting.look()

    def _gossip(self) -> list[str]:
        linked = sorted(session.node for session in self.peers.sessions() if session.node not in self._parting)
        return list(self._overlay.gossip(linked))

    def _disconnect(self, node: str) -> None:
        self.peers.forget(node)
        session = self.peers.session(node)
        view = self._view
        if session is None or view is None or node in self._parting:
            return
        if view.left:
            # Said of oneself: the peer takes it for this node's end as a member.
            session.leave("leave")
            return
        record = view.record(node)
        if record is not None and record.status is Status.LEFT and session.connected:
            # Heard from others, perhaps: what it told processes before, and that it leaves, is still on its way.
            self._parting[node] = session
            self._parting_timers.set(node, LAST_WORDS)
            return
        session.leave("forgotten")

    def _end_parting(self, event: TimerFired) -> None:
        session = self._parting.get(str(event.key))
        if session is not None:
            session.leave("forgotten")

    def _overlay_timer(self, event: Any) -> None:
        self._step_overlay(overlay.TimerFired(event.key))

    # Joins.

    def _fail_joins(self, text: str) -> None:
        for attempt in list(self._joins):
            attempt.fail("unreachable", text)

    def _look_at_joins(self) -> None:
        if self._joins and self._view is not None:
            undecided = [node for node in self._view.undecided() if self._can_meet(node)]
            for attempt in list(self._joins):
                attempt.look(self._synchronised, undecided)

    def _can_meet(self, node: str) -> bool:
        """Whether one of the two can dial the other: there is no use in waiting for one that cannot be."""
        record = self._view.record(node) if self._view is not None else None
        return bool(self._advertised) or (record is not None and record.dialable)

    # Names.

    def _send_names(self, node: str, payload: Any) -> None:
        self._send_all((node,), signals.NAMES, payload)

    def _broadcast_names(self, payload: Any) -> None:
        self._send_all([session.node for session in self.peers.sessions()], signals.NAMES, payload)

    def _life_of(self, node: str, bits: int) -> Life:
        known = self.peers.known_life(node)
        return known if known is not None and known.bits == bits else Life(node, 0, bits)

    def _send_all(self, nodes: Any, kind: int, payload: Any) -> None:
        signal = encode_signal(kind, payload=self.codec.encode(payload))
        for node in nodes:
            session = self.peers.session(node)
            if session is not None:
                session.system.send(signal)

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
