"""X-BOT as a topology: HyParView's overlay, biased towards cheap links. The protocol: `xbot_machine`.

Promised: as for `HyParView`; and without a cost function the parameters can be sent to other nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from partisan_actors.topologies.xbot_machine import XBotOverlay
from partisan_actors.topologies.xbot_parameters import XBotParameters

__all__ = ["XBot", "XBotOverlay"]


@dataclass(frozen=True, kw_only=True)
class XBot(XBotParameters):
    """Connect every node to a few, and exchange dear links for cheap ones. Parameters: XBotParameters."""

    @property
    def name(self) -> str:
        """What the handshake says."""
        return "xbot"

    def overlay(self, node: str) -> XBotOverlay:
        """The machine for the node of that name."""
        return XBotOverlay(node, self)
