"""A little cluster of checked overlays in virtual time, and what has to hold of it once it is quiet.

Promised: the same for the same seed. Everybody is told of all who have joined, as a cluster view does that has no holes
(`members.FullMembers`), and nobody of a partition: those behind it stay members.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from random import Random
from typing import Any

from partisan_actors.testing.checked_overlay import Babble, CheckedOverlay
from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.members import FullMembers
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.testing.simulated_node import SimulatedNode
from partisan_actors.testing.trace import Trace
from partisan_actors.topologies.overlay import Topology

__all__ = ["OverlayWorld"]


class OverlayWorld:
    """So many nodes, of which none has joined; the first to join is the cluster.

    Args:
        seed: of everything that is left to chance.
        names: of the nodes.
        topology_of: gives the topology of each.
        trace: whether to keep one.

    Attributes: `simulation`, `random` (for the test's own choices), `names`.
    """

    def __init__(
        self, seed: int, names: Collection[str], topology_of: Callable[[str], Topology], *, trace: bool = False
    ) -> None:
        self.simulation = ProtocolSimulation(
            seed,
            lambda node: [overlay_layer(CheckedOverlay(node.name, topology_of(node.name).overlay(node.name)))],
            members=FullMembers(),
            trace=Trace() if trace else None,
            strict=True,
        )
        self.random = Random(f"{seed}/test")
        self.names = list(names)
        self._topology_of = topology_of

    # Who there is

    def nodes(self) -> list[SimulatedNode]:
        """The live ones, sorted by name."""
        return sorted(self.simulation.alive(), key=lambda node: node.name)

    def overlay(self, node: SimulatedNode) -> CheckedOverlay:
        """Its overlay."""
        checked: CheckedOverlay = node.layer("overlay").machine
        return checked

    def neighbours(self) -> dict[str, list[str]]:
        """Of each live node."""
        return {node.name: self.overlay(node).neighbours() for node in self.nodes()}

    def payloads(self) -> list[Any]:
        """A message of each kind that was sent so far, in a fixed order."""
        found: dict[str, Any] = {}
        for node in self.simulation.nodes.values():
            for shape, payload in self.overlay(node).payloads.items():
                found.setdefault(shape, payload)
        return [found[shape] for shape in sorted(found)]

    # What happens to it

    def join(self, name: str, contact: str | None = None) -> None:
        """Start a node of that name, in a new life if there was one, and let it join; the first has no contact."""
        simulation = self.simulation
        if name in simulation.nodes:
            node = simulation.restart(simulation.nodes[name])
        else:
            node = simulation.add(name, tag=self._topology_of(name).tag)
        if contact is None:
            simulation.has_joined(node, name)
        else:
            simulation.join(node, contact)

    def join_all(self, *, spacing: float, contact: str | None = None) -> None:
        """Let all join that have not, so many seconds apart, through that contact, or one by chance."""
        joined: list[str] = [node.name for node in self.nodes()]
        for name in self.names:
            if name not in joined:
                through = contact if joined and contact is not None else None
                if joined and through is None:
                    through = self.random.choice(joined)
                self.join(name, through)
                joined.append(name)
                self.simulation.run(spacing)

    def babble(self, node: SimulatedNode, peer: str, payload: Any) -> None:
        """Let the node send this to another, if it has a link to it."""
        node.tell("overlay", Babble(peer, payload))

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.simulation.run(seconds)

    # What has to hold

    def problems(self, *, symmetric: bool, full: bool, connected: bool, clients: Collection[str]) -> Iterator[str]:
        """What does not hold of the quiet cluster, by the traits of `overlay_contract.OverlayContract`."""
        neighbours = self.neighbours()
        for node in self.nodes():
            name, mine = node.name, neighbours[node.name]
            checked = self.overlay(node)
            if gone := [other for other in mine if other not in neighbours]:
                yield f"{name} has neighbours that are gone: {gone}"
            if unlinked := [other for other in mine if other not in node.ways]:
                yield f"{name} has no link to its neighbours {unlinked}"
            if pending := sorted((checked.wanted & checked.members) - set(mine)):
                yield f"{name} wants links to {pending}, which are no neighbours"
            others = [other for other in mine if name not in neighbours.get(other, [])]
            if symmetric and others:
                yield f"{name} has neighbours that do not have it: {others}"
            if full and (missing := sorted(set(neighbours) - {name} - set(mine))):
                yield f"{name} is to have all as neighbours, and has not {missing}"
            if name in clients and (wrong := sorted({*mine, *node.ways} & set(clients))):
                yield f"{name} is a client, and is linked to the clients {wrong}"
        if connected and (apart := sorted(set(neighbours) - self._reached(neighbours))):
            yield f"{apart} are not connected with the others"

    def _reached(self, neighbours: dict[str, list[str]]) -> set[str]:
        """Those in one piece with the first, over links in whichever direction they are wanted."""
        ways: dict[str, set[str]] = {name: set(mine) for name, mine in neighbours.items()}
        for name, mine in neighbours.items():
            for other in mine:
                ways.setdefault(other, set()).add(name)
        reached: set[str] = set()
        waiting = sorted(neighbours)[:1]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += sorted(ways[name])
        return reached

    def gossip_problems(self) -> Iterator[str]:
        """What does not hold of whom news go to, in a cluster that is quiet."""
        passed_on: dict[str, list[str]] = {}
        for node in self.nodes():
            linked = node.linked()
            chosen = passed_on[node.name] = list(self.overlay(node).gossip(linked))
            if strangers := sorted(set(chosen) - set(linked)):
                yield f"{node.name} passes news on to {strangers}, to whom it has no link"
            if len(set(chosen)) < len(chosen):
                yield f"{node.name} passes news on twice to one: {chosen}"
        for name, chosen in passed_on.items():
            if others := [other for other in chosen if name not in passed_on.get(other, [])]:
                yield f"{name} passes news on to {others}, who do not pass theirs on to it"
        if passed_on and (apart := sorted(set(passed_on) - self._reached(passed_on))):
            yield f"news do not reach {apart}"
