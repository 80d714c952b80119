"""Churn: nodes of a protocol simulation end by chance, and come back in a new life."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partisan_actors.testing.protocols import ProtocolSimulation
    from partisan_actors.testing.simulated_node import SimulatedNode

__all__ = ["Churn"]


class Churn:
    """Goes on from when it is made until `stop`; see `ProtocolSimulation.churn`."""

    __slots__ = ("_downtime", "_leaves", "_rate", "_simulation")

    def __init__(self, simulation: ProtocolSimulation, rate: float, downtime: float, leaves: float) -> None:
        self._simulation = simulation
        self._rate = rate
        self._downtime = downtime
        self._leaves = leaves
        self._next()

    def stop(self) -> None:
        """End nobody any more. Who is down comes back all the same."""
        self._rate = 0.0

    def _next(self) -> None:
        if self._rate > 0.0:
            simulation = self._simulation
            simulation.time.push(simulation.time.now + simulation.random.expovariate(self._rate), self._end_one)

    def _end_one(self, _a: None, _b: None, _c: None) -> None:
        simulation = self._simulation
        if self._rate > 0.0 and len(simulation.joined) > 1:
            node = simulation.nodes[simulation.random.choice(simulation.joined.names)]
            if simulation.random.random() < self._leaves:
                simulation.leave(node)
            else:
                simulation.crash(node)
            simulation.time.push(simulation.time.now + self._downtime, self._back, node)
        self._next()

    def _back(self, node: SimulatedNode, _b: None, _c: None) -> None:
        simulation = self._simulation
        if simulation.nodes[node.name] is node and not node.alive:
            simulation.restart(node, simulation.someone(node.name))
