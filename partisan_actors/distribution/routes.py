"""The routes of one node: what it relays for others, and the conduits that its own sessions go by without a link.

Not known here: who is a member, which sessions there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from partisan_actors.distribution.conduits import Conduits
from partisan_actors.distribution.relaying import Relaying
from partisan_actors.distribution.routing_parameters import RoutingParameters
from partisan_actors.processes.clock import Clock
from partisan_actors.processes.identity import Life
from partisan_actors.wire.relays import Buffer

__all__ = ["Routes"]


class Routes:
    """Both, each given to the other."""

    def __init__(self, life: Life, clock: Clock, parameters: RoutingParameters | None = None) -> None:
        """Make them for one life of a node; nothing happens yet."""
        self.conduits = Conduits(life.node, clock, self._send, doubt=self._doubt)
        arrived, undeliverable = self.conduits.arrived, self.conduits.undeliverable
        self.relaying = Relaying(life.node, clock, arrived, undeliverable, epoch=life.epoch, parameters=parameters)

    def close(self) -> None:
        """End all conduits, and relay nothing any more."""
        self.conduits.close()
        self.relaying.close()

    def _send(self, node: str, buffers: Sequence[Buffer]) -> None:
        self.relaying.send(node, buffers)

    def _doubt(self, node: str, seconds: float) -> None:
        self.relaying.doubt(node, seconds)
