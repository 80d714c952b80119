"""Peer services in a protocol simulation: whole cluster views, each over its overlay.

The peer service is the first layer of its node; it says who is a member, and asks for links. What the driver of a real
node tells it, it is told here: the life at the other end of a link, and why a link has ended or was not made. A link
that one of its ends closes is Closed, or lost by LEAVE if that end has left; one whose other end has crashed is refused
when it is dialled again; behind a cut, or at a node that is paused, all is silence.

    simulation = peer_service_simulation(seed, FullMesh())
    simulation.grow(60, spacing=0.1)
    simulation.run(10.0)
    peer_service(simulation["n0@sim"]).view.table.members()

What is for processes (NodeUp, NodeDown, Refused, Switched, ...) goes to the simulation's observer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from random import Random
from typing import Any

from partisan_actors.cluster import peer_service as service
from partisan_actors.cluster import view_events as view
from partisan_actors.cluster.peer_service import PeerService, PeerServiceParameters
from partisan_actors.cluster.records import Member, Status
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.testing.layers import Effects, Layer, Verb
from partisan_actors.testing.links import Link
from partisan_actors.testing.members import GivenMembers
from partisan_actors.testing.network import Network
from partisan_actors.testing.protocols import Observer, ProtocolSimulation
from partisan_actors.testing.simulated_node import SimulatedNode, Slot
from partisan_actors.testing.trace import Trace
from partisan_actors.topologies import overlay, registry
from partisan_actors.topologies.overlay import Topology

__all__ = ["LAYER", "PeerServiceLayer", "ViewMembers", "peer_service", "peer_service_simulation"]

LAYER = "peer service"
"""The name of the layer."""

PROBE_TIMEOUT = 5.0
"""Seconds until a probe is given up that nobody answers."""

_SILENT, _TIMEOUT = "silent", "timeout"


class PeerServiceLayer:
    """The peer service of one life of a node, as a layer."""

    name = LAYER

    def __init__(self, node: SimulatedNode, service_: PeerService) -> None:
        self.service = service_
        self._node = node
        self._links: dict[str, Link] = {}  # those that it knows
        self._silent: dict[str, Link] = {}  # those that the other end has lost by silence
        self.effects: Mapping[type, Verb | Callable[[Any, Any], None]] = {
            SetTimer: Verb.SET_TIMER,
            CancelTimer: Verb.CANCEL_TIMER,
            view.SendView: Verb.SEND_MANY,
            service.SendOverlay: Verb.SEND,
            service.Connect: Verb.CONNECT,
            service.Disconnect: self._disconnect,
            service.Measure: Verb.MEASURE,
            view.Probe: self._probe,
            view.Heard: Verb.IGNORE,
            view.Synchronised: Verb.IGNORE,
        }

    def start(self, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return ()

    def link_up(self, peer: str, now: float, random: Random) -> Effects:
        """See `Layer`."""
        link = self._node.halves[peer].up
        if link is None or self._links.get(peer) is link:
            return ()
        self._links[peer] = link
        own = peer_service(self._other_end(peer, link)).view.table.records.own
        return self._step(view.LinkUp(own.node, own.epoch, own.bits, own.addresses), now, random)

    def link_down(self, peer: str, now: float, random: Random) -> Effects:
        """See `Layer`."""
        link = self._links.pop(peer, None)
        silent = self._silent.pop(peer, None)
        if link is None:
            return ()
        other = self._other_end(peer, link)
        at_other_end = peer_service(other)
        bits = at_other_end.view.table.records.own.bits
        if at_other_end.view.left:
            return self._step(view.LinkDown(peer, bits, view.LEAVE), now, random)
        if self._no_way_to(peer, other) or silent is link:
            layer = other.layer(LAYER)
            if peer_service(self._node) is self.service:
                layer.lost_by_silence(self._node.name, link)
            return self._step(view.LinkDown(peer, bits, _SILENT), now, random)
        if not other.alive:
            return self._step(view.LinkDown(peer, bits, view.REFUSED), now, random)
        return self._step(view.Closed(peer, bits), now, random)

    def lost_by_silence(self, peer: str, link: Link) -> None:
        """The end at `peer` has given the link up, as this end does when it hears of that."""
        if self._links.get(peer) is link:
            self._silent[peer] = link

    def message(self, peer: str, payload: Any, now: float, random: Random) -> Effects:
        """See `Layer`."""
        # A message of an overlay begins with a version, one of a view with a word.
        if type(payload[0]) is int:
            return self.service.step(service.OverlayReceived(peer, payload), now, random)
        return self.service.step(view.ViewReceived(peer, payload), now, random)

    def timer(self, key: Hashable, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self.service.step(TimerFired(key), now, random)

    def other(self, event: Any, now: float, random: Random) -> Effects:
        """See `Layer`."""
        match event:
            case overlay.Unreachable(peer):
                nodes = self._node.simulation.nodes
                silent = self._no_way_to(peer, nodes.get(peer))
                return self._step(view.Unreachable(peer, _TIMEOUT if silent else view.REFUSED), now, random)
            case overlay.Joined(peer):
                return self._step(service.JoinedThrough(peer), now, random)
            case overlay.Measured(peer, seconds):
                return self._step(service.Measured(peer, seconds), now, random)
            case overlay.Leave():
                return self._step(view.Leave(), now, random)
        return self._step(event, now, random)

    def _step(self, event: Any, now: float, random: Random) -> Effects:
        return self.service.step(event, now, random)

    def _other_end(self, peer: str, link: Link) -> SimulatedNode:
        a, b = link.ends
        return a.node if b.node is self._node else b.node

    def _no_way_to(self, peer: str, other: SimulatedNode | None) -> bool:
        """Whether what is sent to it is neither answered nor refused."""
        return (other is not None and other.paused) or self._node.simulation.network.apart(self._node.name, peer)

    def _disconnect(self, slot: Slot, effect: service.Disconnect) -> None:
        slot.node.simulation.links.unwant(slot.node, effect.node)

    def _probe(self, slot: Slot, effect: view.Probe) -> None:
        node, peer = slot.node, effect.node
        simulation = node.simulation
        target = simulation.nodes.get(peer)
        seconds, event = simulation.network.round_trip(node.name, peer), view.Probed(peer, None, view.REFUSED)
        if self._no_way_to(peer, target):
            seconds, event = PROBE_TIMEOUT, view.Probed(peer, None, _TIMEOUT)
        elif target is not None and target.alive:
            other = peer_service(target).view
            records = other.table.records
            event = view.Probed(peer, records.own.bits, left=other.left, digest=records.root)
        when = simulation.time.now + seconds
        simulation.time.push(when, simulation.at_node, node, simulation.give, (slot, event, None))


class ViewMembers(GivenMembers):
    """The cluster views say who is a member, and only for members of theirs is a link asked for."""

    def mentioned(self, node: SimulatedNode, name: str) -> bool:
        """See `MembersSource`."""
        return True

    def met(self, node: SimulatedNode, name: str) -> bool:
        """See `MembersSource`."""
        node.told[name] = None  # nothing has to be told before the link
        return False


def peer_service(node: SimulatedNode) -> PeerService:
    """The peer service of that life of a node."""
    layer: PeerServiceLayer = node.layer(LAYER)
    return layer.service


def peer_service_simulation(
    seed: int,
    topology: Topology | Callable[[SimulatedNode], Topology],
    *,
    parameters: PeerServiceParameters | None = None,
    network: Network | None = None,
    observer: Observer | None = None,
    trace: Trace | None = None,
    strict: bool = False,
    find_topology: Callable[[str, Mapping[str, Any]], Topology] = registry.find_topology,
) -> ProtocolSimulation:
    """A simulation of peer services.

    Args:
        seed, network, observer, trace, strict: as of `ProtocolSimulation`.
        topology: of every node, or a function that gives one for each.
        parameters: of every node.
        find_topology: makes what the cluster is switched to; those that are installed by default.
    """

    def make(node: SimulatedNode) -> list[Layer]:
        own_topology = topology(node) if callable(topology) else topology
        own = Member(node.name, node.life, node.random.getrandbits(64), (node.name,), True, 1, Status.ALIVE)
        return [PeerServiceLayer(node, PeerService(own, own_topology, find_topology, parameters))]

    return ProtocolSimulation(
        seed, make, network=network, members=ViewMembers(), observer=observer, trace=trace, strict=strict
    )
