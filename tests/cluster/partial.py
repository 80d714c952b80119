"""Nodes of which some are linked and the others reach each other over them: processes, sessions and routes, no view.

What a view of the cluster would say is what a test says: who is a member, and who wants a link to whom.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from partisan_actors import TLS, Pid
from partisan_actors.cluster.broadcasting import Broadcasting
from partisan_actors.cluster.cluster import CALLER_EXTENSION
from partisan_actors.cluster.global_names import GlobalNames
from partisan_actors.cluster.hooks import Hooks
from partisan_actors.cluster.naming import Naming
from partisan_actors.cluster.remote import RemoteProcesses
from partisan_actors.cluster.router import ClusterRouter
from partisan_actors.cluster.spawning import Spawning
from partisan_actors.distribution import LocalIdentity, PeerParameters, Peers, Session
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.channels import STREAMS_FEATURE, Channel, declare_channels
from partisan_actors.distribution.conduits import Conduits
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.relaying import Relaying
from partisan_actors.processes import messages
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.processes.plain import AttachedProcess
from partisan_actors.processes.requests import Caller, RemoteCaller, Request
from partisan_actors.processes.runtime import Runtime
from partisan_actors.transport import SocketTransport
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.handshake import Hello
from partisan_actors.wire.message_types import register_message_class
from partisan_actors.wire.relays import RELAYS_FEATURE, Buffer
from tests.conditions import wait_until
from tests.distribution.nodes import COOKIE, keys_of

__all__ = ["PartialNode", "Partials"]

_bits = itertools.count(1000)


class PartialNode:
    """Everything of a node but its cluster's view."""

    def __init__(
        self,
        name: str,
        *,
        labels: dict[str, CausalLabel] | None = None,
        channels: Sequence[Channel] = (),
        parameters: PeerParameters | None = None,
        ack_timeout: float = 10.0,
        tls: TLS | None = None,
    ) -> None:
        self.name = name
        self.life = Life(name, 1, next(_bits))
        self.log: list[tuple[str, str, str]] = []
        self.members: set[str] = set()
        self.runtime = runtime = Runtime(self.life, GeventClock(seed=1))
        self.codec = Codec(self.life)
        self.codec.register_extension(Caller, CALLER_EXTENSION, self._caller_term, self._caller_of)
        self.listening: list[str] = []
        declared = declare_channels(channels)
        features = STREAMS_FEATURE | signals.ACKNOWLEDGE_FEATURE | RELAYS_FEATURE
        identity = LocalIdentity(self.life, "partial", declared, addresses=lambda: self.listening, features=features)
        conduits = Conduits(name, runtime.clock, self._relay)
        transport = SocketTransport(runtime.clock, tls)
        self.peers = Peers(identity, keys_of(COOKIE), runtime.clock, transport, self, parameters, conduits)
        self.relaying = Relaying(name, runtime.clock, conduits.arrived, conduits.undeliverable, epoch=self.life.epoch)
        self.peers.relaying = self.relaying
        self.remote = RemoteProcesses(runtime, self.codec, declared, Hooks(), ack_timeout, labels or {})
        self.remote.opening.is_member = lambda node, bits: node in self.members
        self.remote.opening.open = self.peers.open
        spawning = Spawning(runtime, self.remote, ("tests.*",))
        naming = Naming(
            runtime,
            GlobalNames(name, self.life.bits),
            send=lambda *_: None,
            broadcast=lambda *_: None,
            meet=lambda *_: None,
            life_of=lambda *_: self.life,
        )
        runtime.causal_labels = tuple(labels or ())
        runtime.channels = {channel.name: channel.monotonic for channel in declared}
        broadcasting = Broadcasting(runtime, self.codec, self.remote, tuple)
        runtime.router = ClusterRouter(self.remote, spawning, naming, lambda: sorted(self.members), broadcasting)
        runtime.scheduler.dirty = self.peers.dirty
        runtime.scheduler.flush = self.peers.flush
        for kind in (messages.Crash, messages.Exit, messages.Down, messages.Undelivered):
            register_message_class(kind)
        self.listening = self.peers.listen(["127.0.0.1:0"])

    def _relay(self, destination: str, buffers: Sequence[Buffer]) -> None:
        self.relaying.send(destination, buffers)

    def _caller_term(self, caller: Any) -> Any:
        return (caller.pid, caller.numbered() if isinstance(caller, Request) else caller.number)

    def _caller_of(self, term: Any) -> Caller:
        pid, number = term
        if pid.home == self.life and number in self.runtime.requests:
            return self.runtime.requests[number]
        return RemoteCaller(self.remote, pid, number)

    @contextmanager
    def attached(self) -> Iterator[Pid]:
        """Make the current greenlet a process of this node."""
        process = AttachedProcess(self.runtime)
        process.attach()
        try:
            yield process.pid
        finally:
            process.detach(None)

    def told(self, kind: str, node: str) -> list[str]:
        """What was told of a node, of one kind."""
        return [detail for what, peer, detail in self.log if what == kind and peer == node]

    def kill(self) -> None:
        """End it as SIGKILL does: its sockets are closed, and nothing of it runs any more."""
        self.relaying.close()
        self.peers.abandon()

    def close(self) -> None:
        """Stop it."""
        self.remote.opening.close()
        self.peers.close()
        for session in self.remote.sessions():
            self.remote.session_ended(session)
        self.remote.causality.close()
        self.remote.acknowledging.close()
        self.relaying.close()
        self.runtime.deadlines.close()
        self.runtime.closed = "it has stopped"
        self.runtime.scheduler.close()

    # What `Peers` tells

    def session_started(self, session: Session) -> None:
        """Ties may hang on it."""
        self.log.append(("started", session.node, "by a link" if session.direct else "by a route"))
        self.remote.session_started(session)

    def linked(self, session: Session) -> None:
        """Note it."""
        self.log.append(("linked", session.node, ""))

    def unlinked(self, node: str, bits: int, reason: str) -> None:
        """Note it."""
        self.log.append(("unlinked", node, reason))

    def resting(self, session: Session) -> None:
        """What is sent to it waits."""
        self.remote.resting(session)

    def resumed(self, session: Session) -> None:
        """And goes on."""
        self.remote.resumed(session)

    def keeps(self, session: Session) -> bool:
        """As ties and outboxes say."""
        return self.remote.keeps(session)

    def received(self, session: Session, body: memoryview | bytes, outgoing: Outgoing) -> None:
        """Signals for processes."""
        self.remote.received(session, body, outgoing, lambda *_: None)

    def session_ended(self, session: Session, reason: str) -> None:
        """Note it, and cut the ties."""
        self.log.append(("ended", session.node, reason))
        self.remote.session_ended(session)

    def unreachable(self, node: str, reason: str) -> None:
        """Note it; what waits for it fails."""
        self.log.append(("unreachable", node, reason))
        self.remote.unreachable(node)

    def check_peer(self, hello: Hello) -> str | None:
        """Everybody is welcome."""
        return None


class Partials:
    """Some of them, by name."""

    def __init__(self) -> None:
        self.nodes: dict[str, PartialNode] = {}

    def __getitem__(self, name: str) -> PartialNode:
        return self.nodes[name]

    def make(self, names: Sequence[str], links: Sequence[tuple[str, str]], **options: Any) -> Partials:
        """Make nodes that are all members, and link those pairs."""
        for name in names:
            self.nodes[name] = PartialNode(name, **options)
        for name in names:
            self.nodes[name].members = set(names)
        for one, other in links:
            self.link(one, other)
        for one, other in itertools.permutations(names, 2):
            self[one].remote.causality.member_up(self[other].life)
        return self

    def link(self, one: str, other: str) -> None:
        """Let two want a link, and wait for it."""
        self[one].peers.connect(other, self[other].listening)
        self[other].peers.connect(one, self[one].listening)
        wait_until(lambda: self.are_linked(one, other), what=f"{one} and {other} are linked")

    def are_linked(self, one: str, other: str) -> bool:
        """Whether both have a link to the other."""
        sessions = self[one].peers.session(other), self[other].peers.session(one)
        return all(session is not None and session.direct for session in sessions)

    def part(self, one: str, other: str) -> None:
        """Cut the link of two, for ever: neither finds the other at its address any more."""
        for name, peer in ((one, other), (other, one)):
            session = self[name].peers.session(peer)
            assert session is not None
            self[name].peers._reaching.diallers[peer]._machine.addresses = ("127.0.0.1:1",)
            session.hello = replace(session.hello, addresses=())
        link = session.link
        assert link is not None
        link.connection.close("cut")

    def close(self) -> None:
        """Stop all."""
        for node in self.nodes.values():
            node.close()
