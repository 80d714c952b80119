"""The parameters of the cluster view."""

from __future__ import annotations

from dataclasses import dataclass, field

from partisan_actors.cluster.records import RecordLimits
from partisan_actors.cluster.suspicion import SuspicionParameters

__all__ = ["MembershipParameters"]


@dataclass(frozen=True, slots=True)
class MembershipParameters:
    """Times are seconds. Raises ValueError, naming the relation that does not hold."""

    digest_interval: float = 10.0
    """From one comparison with a neighbour to the next, give or take a quarter. In a table that is not `small` up to
    four times that, while news keep coming: to compare what is on its way was a third of what a large cluster did after
    many had died at once."""

    forget_after: float = 86_400.0
    """How long one that is down, or has left, is remembered."""

    news_delay: float = 0.02
    """News that come faster than this go on together."""

    news_longest: float = 0.3
    """The same of newcomers, while they keep coming."""

    rejoin_first: float = 1.0
    rejoin_longest: float = 5.0
    """How often one of those that are down is tried: soon after one went down, and then more and more rarely."""

    look_around: int = 4
    """How many others a node looks after at once when one that it could not reach is down: who is cut off finds
    that of all of them so; with one a round it would take hours."""

    indirect: int = 3
    """So many of those who hear of a suspicion look themselves whether its suspect answers, on average, and are the
    way over which it refutes (SWIM's k, section 3.1): the link that broke may have been its only one."""

    small: int = 32
    """Tables of so few records are sent whole rather than compared."""

    stall: float = 1.0
    """A timer so late says that this node was stopped."""

    excuse: float = 300.0
    """How long one that refuted a suspicion of this node is not suspected by it again, while it stays out of reach."""

    silent_after: float = 55.0
    """Without a beacon of the member that speaks for all, a node believes itself on an island of the overlay. More than
    four rounds, each of which may be a quarter longer: one is sent in every other round, and one may be lost."""

    suspicion: SuspicionParameters = field(default_factory=SuspicionParameters)

    limits: RecordLimits = field(default_factory=RecordLimits)

    def __post_init__(self) -> None:
        relations = {
            "0 <= news_delay <= news_longest < digest_interval": (
                0 <= self.news_delay <= self.news_longest < self.digest_interval
            ),
            "digest_interval < forget_after": self.digest_interval < self.forget_after,
            "0 < rejoin_first <= rejoin_longest": 0 < self.rejoin_first <= self.rejoin_longest,
            "0 < stall": self.stall > 0,
            "0 <= look_around": self.look_around >= 0,
            "0 <= indirect": self.indirect >= 0,
            "0 <= small": self.small >= 0,
            "0 <= excuse": self.excuse >= 0,
            "0 < silent_after": self.silent_after > 0,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"membership parameters: {relation} does not hold")
