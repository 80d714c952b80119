"""HyParView as a topology: the overlay for large clusters, of a few neighbours each. The protocol: `hyparview_machine`.

Promised: two `HyParView` of the same parameters are equal, and one may be given to many nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from partisan_actors.topologies.hyparview_machine import HyParViewOverlay
from partisan_actors.topologies.hyparview_parameters import HyParViewParameters

__all__ = ["HyParView", "HyParViewOverlay"]


@dataclass(frozen=True, kw_only=True)
class HyParView(HyParViewParameters):
    """Connect every node to a few, chosen by chance, and keep the whole connected. Parameters: HyParViewParameters."""

    @property
    def name(self) -> str:
        """What the handshake says."""
        return "hyparview"

    def overlay(self, node: str) -> HyParViewOverlay:
        """The machine for the node of that name."""
        return HyParViewOverlay(node, self)
