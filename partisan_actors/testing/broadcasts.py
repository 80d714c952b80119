"""Broadcast in simulation: the layers of a node whose overlay says who its broadcast's neighbours are.

    def make(node):
        return broadcasting_layers(node, topology.overlay(node.name))

    simulation = ProtocolSimulation(seed, make, observer=tally)
    simulation["n0@sim"].tell("broadcast", Broadcast("handler", b"payload"))

As in a real node, the neighbours are what the overlay's `gossip` gives of those that there is a link to, looked at
after every step of it. A `Tally`, as the observer, counts what was delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from random import Random
from typing import Any

from partisan_actors.cluster.broadcast_events import (
    BroadcastReceived,
    Deliver,
    Gap,
    NeighbourDown,
    NeighbourUp,
    PlumtreeParameters,
    Root,
    SendBroadcast,
)
from partisan_actors.cluster.plumtree import Plumtree
from partisan_actors.testing.layers import Effects, Layer, MachineLayer, Verb, overlay_layer
from partisan_actors.testing.simulated_node import SimulatedNode
from partisan_actors.topologies.overlay import Overlay

__all__ = ["BROADCAST", "Tally", "broadcasting_layers"]

BROADCAST = "broadcast"
"""The name of the broadcast's layer; `node.layer(BROADCAST).machine` is the machine."""


class Tally:
    """What came of broadcasts. The observer of a simulation: it is called with the effects that nobody performs.

    Attributes: `delivered` (by root and number, how many nodes got it), `twice` (who got one more than once), `gaps`.
    """

    def __init__(self) -> None:
        self.delivered: dict[tuple[Root, int], int] = {}
        self.twice: list[tuple[str, Root, int]] = []
        self.gaps: list[tuple[str, Gap]] = []
        self._seen: dict[tuple[Root, int], set[str]] = {}

    def __call__(self, node: SimulatedNode, layer: str, effect: Any) -> None:
        """Count an effect."""
        if type(effect) is Deliver:
            key = (effect.root, effect.number)
            seen = self._seen.setdefault(key, set())
            life = f"{node.name} {node.life}"
            if life in seen:
                self.twice.append((node.name, *key))
            seen.add(life)
            self.delivered[key] = self.delivered.get(key, 0) + 1
        elif type(effect) is Gap:
            self.gaps.append((node.name, effect))


def broadcasting_layers(
    node: SimulatedNode,
    overlay: Overlay,
    parameters: PlumtreeParameters | None = None,
    *,
    sent: Callable[[str, tuple[Any, ...], int], None] | None = None,
) -> Sequence[Layer]:
    """The layers of a node: its overlay, and the broadcast over it.

    Args:
        sent: told of each message that is sent: by whom, the message, to how many.
    """
    machine = Plumtree(node.name, node.random.getrandbits(64), parameters)

    def send(slot: Any, effect: SendBroadcast) -> None:
        if sent is not None:
            sent(node.name, effect.message, len(effect.nodes))
        slot.node.simulation._send_many(slot, effect)

    broadcast = MachineLayer(
        BROADCAST,
        machine,
        {SendBroadcast: Verb.SEND_MANY if sent is None else send},
        message=BroadcastReceived,
    )
    return [_GossipingOverlay(node, overlay), broadcast]


class _GossipingOverlay:
    """The layer of an overlay that tells the broadcast of its node who its neighbours are."""

    __slots__ = ("_gossip", "_layer", "_node", "effects", "machine", "name")

    def __init__(self, node: SimulatedNode, overlay: Overlay) -> None:
        self._layer = overlay_layer(overlay)
        self._node = node
        self._gossip: list[str] = []
        self.machine = overlay
        self.name = self._layer.name
        self.effects: Mapping[type, Verb | Callable[[Any, Any], None]] = self._layer.effects

    def start(self, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._layer.start(now, random)

    def link_up(self, peer: str, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._looked(self._layer.link_up(peer, now, random))

    def link_down(self, peer: str, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._looked(self._layer.link_down(peer, now, random))

    def message(self, peer: str, payload: Any, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._looked(self._layer.message(peer, payload, now, random))

    def timer(self, key: Hashable, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._looked(self._layer.timer(key, now, random))

    def other(self, event: Any, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._looked(self._layer.other(event, now, random))

    def _looked(self, effects: Effects) -> Effects:
        # What the step wants is not done yet: a link that ends by it is no neighbour's any more at the LinkDown.
        before = self._gossip
        now = list(self.machine.gossip(sorted(self._node.ways)))
        if now != before:
            self._gossip = now
            down = [NeighbourDown(peer) for peer in before if peer not in now]
            up = [NeighbourUp(peer) for peer in now if peer not in before]
            self._node.tell(BROADCAST, *down, *up)
        return effects
