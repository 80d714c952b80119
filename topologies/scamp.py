"""SCAMP: every node comes to keep links to about (c+1) ln n others, and nobody counts n. See `scamp_overlay`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from partisan_actors.topologies.scamp_overlay import NAME, ScampOverlay

__all__ = ["Scamp", "ScampOverlay"]


@dataclass(frozen=True)
class Scamp:
    """Connect every node to some (c+1) ln n others, chosen by chance.

    Args:
        version: 1 or 2, of the protocol.
        c: copies of a subscription beyond the contact's view. Views grow with it, and so do the crashes that are stood.
        max_hops: how far a copy is forwarded at most.
        walk: how many hops away from the one that is asked the contact is; version 2.
        heartbeat: seconds from one heartbeat to the next.
        isolation: seconds without a heartbeat from it after which a member is no longer in the in-view.
        lease: seconds from one subscription to its renewal, or up to a quarter less.

    Raises ValueError, naming the field.
    """

    version: int = 2
    c: int = 4
    max_hops: int = 512
    walk: int = 8
    heartbeat: float = 10.0
    isolation: float = 100.0
    lease: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("version", "c", "max_hops", "walk"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"scamp: {name} is a whole number, 0 or more, not {value!r}")
        for name in ("heartbeat", "isolation", "lease"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ValueError(f"scamp: {name} is seconds, above 0, not {value!r}")
        relations = {
            "version is 1 or 2": self.version in (1, 2),
            "1 <= max_hops": self.max_hops >= 1,
            "2 * heartbeat <= isolation": 2 * self.heartbeat <= self.isolation,
            "4 * heartbeat <= lease": 4 * self.heartbeat <= self.lease,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"scamp: {relation} does not hold")

    @property
    def name(self) -> str:
        """What the handshake says."""
        return NAME

    @property
    def tag(self) -> str:
        """None: all nodes are alike."""
        return ""

    def parameters(self) -> Mapping[str, Any]:
        """All of them."""
        return {
            "version": self.version,
            "c": self.c,
            "max_hops": self.max_hops,
            "walk": self.walk,
            "heartbeat": self.heartbeat,
            "isolation": self.isolation,
            "lease": self.lease,
        }

    def overlay(self, node: str) -> ScampOverlay:
        """The machine for the node of that name."""
        return ScampOverlay(node, self)
