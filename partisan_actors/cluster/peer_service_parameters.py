"""The parameters of the peer service."""

from __future__ import annotations

from dataclasses import dataclass, field

from partisan_actors.cluster.view_parameters import MembershipParameters

__all__ = ["PeerServiceParameters"]


@dataclass(frozen=True, slots=True)
class PeerServiceParameters:
    """Times are seconds. Raises ValueError, naming the one that makes no sense."""

    membership: MembershipParameters = field(default_factory=MembershipParameters)

    connect_delay_min: float = 0.1
    connect_delay_max: float = 0.3
    """How long a newcomer is left to dial us: its handshakes with everybody take about that. Drawn anew for each."""

    newcomer_for: float = 1.0
    """How long a node dials at once, after it has found one to join by."""

    switch_within: float = 30.0
    """How long both topologies are kept at most."""

    unwanted_after: float = 10.0
    """How long a link stays that this side does not want, before the other is asked about it."""

    compared_within: float = 2.0
    """The same of one that was made to compare what the two know, which takes some round trips."""

    def __post_init__(self) -> None:
        for name in ("switch_within", "unwanted_after", "compared_within", "newcomer_for"):
            if getattr(self, name) <= 0:
                raise ValueError(f"peer service: {name} is {getattr(self, name)}, and has to be above 0")
        if not 0 <= self.connect_delay_min <= self.connect_delay_max:
            raise ValueError("peer service: 0 <= connect_delay_min <= connect_delay_max does not hold")
