"""What a `Node` was made with, as far as its cluster is concerned.

Not known here: what comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from partisan_actors.cluster.hooks import Hooks
from partisan_actors.cluster.protocol_parameters import ProtocolParameters
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.channels import Channel
from partisan_actors.topologies import Topology
from partisan_actors.wire.handshake import Keys

__all__ = ["ClusterSettings"]


@dataclass(frozen=True)
class ClusterSettings:
    """Checked already."""

    listen: tuple[str, ...]
    advertise: str | None
    keys: Keys
    topology: Topology
    channels: tuple[Channel, ...]
    spawnable: tuple[str, ...]
    hooks: Hooks
    outbox: tuple[str | None, float]  # its file, and the seconds that a message is tried for
    labels: dict[str, CausalLabel]
    parameters: ProtocolParameters
