"""The parameters of transitive routing, and what it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from partisan_actors.wire.relays import MOST_HOPS

__all__ = ["RoutingCounters", "RoutingParameters"]


@dataclass(frozen=True, slots=True)
class RoutingParameters:
    """Times are seconds, sizes bytes. Raises ValueError, naming the relation that does not hold."""

    hop_limit: int = 64
    """Links that a frame may cross. Partisan's relay_ttl is 5, and what is farther away is out of reach."""

    rings: tuple[int, ...] = (2, 4)
    """How far a look-up goes at first; the last one goes to everybody. HyParView with 10,000 nodes and 5 neighbours
    has 26 and 425 nodes within so many links."""

    repair_rings: int = 2
    """How many of them a relay may ask whose way on is gone; a flood is the source's to begin."""

    hop_cost: float = 0.001
    """What a link takes at least: the time in two nodes. So links of one network count as hops."""

    hop_time: float = 0.01
    """How long a message takes for a link, until answers were timed."""

    shortest_wait: float = 0.02
    longest_wait: float = 3.0
    """For answers to a look-up, before the next ring."""

    most_waiting: int = 1 << 20
    """Of frames that wait for a way to one destination."""

    most_waiting_in_all: int = 16 << 20

    wait: float = 10.0
    """How long a frame waits for a way."""

    first_pause: float = 0.5
    longest_pause: float = 20.0
    """Between two look-ups for one destination; doubled with each that follows within `calm`."""

    calm: float = 60.0

    most_look_ups: int = 16_384
    """Destinations that are looked up, or were lately."""

    most_floods: int = 16
    """Look-ups that ask everybody at once. Who calls all members of a large cluster gets through them in turn."""

    most_routes: int = 16_384
    fresh: float = 60.0
    """How long after it was last heard of a way is good enough to answer with."""

    stale: float = 300.0
    """And when a way that is known to be longer, but to be there, takes its place."""

    forget: float = 120.0
    """How long it is remembered which way was of no use."""

    announce_after: int = 3
    """So many look-ups for this node, from afar and within `announce_within`: it makes itself known to everybody."""

    announce_within: float = 60.0
    announce_interval: float = 20.0
    """Not more often than this."""

    afar: int = 4
    """From so many links on."""

    most_seen: int = 32_768
    seen_for: float = 30.0
    """Frames and messages that are known again when they come again: so many, for so long."""

    tell_interval: float = 0.5
    """A source is told no more often that there is no way to a destination."""

    def __post_init__(self) -> None:
        relations = {
            f"1 <= hop_limit <= {MOST_HOPS}": 1 <= self.hop_limit <= MOST_HOPS,
            "0 < rings, rising": list(self.rings) == sorted({*self.rings}) and min(self.rings, default=1) > 0,
            "1 <= repair_rings <= len(rings) + 1": 1 <= self.repair_rings <= len(self.rings) + 1,
            "0 < hop_cost": self.hop_cost > 0,
            "0 < hop_time": self.hop_time > 0,
            "0 < shortest_wait <= longest_wait": 0 < self.shortest_wait <= self.longest_wait,
            "0 < most_waiting <= most_waiting_in_all": 0 < self.most_waiting <= self.most_waiting_in_all,
            "0 < wait": self.wait > 0,
            "0 < first_pause <= longest_pause": 0 < self.first_pause <= self.longest_pause,
            "0 < calm": self.calm > 0,
            "1 <= most_look_ups": self.most_look_ups >= 1,
            "1 <= most_floods": self.most_floods >= 1,
            "1 <= most_routes": self.most_routes >= 1,
            "0 < fresh <= stale": 0 < self.fresh <= self.stale,
            "0 < forget": self.forget > 0,
            "1 <= announce_after": self.announce_after >= 1,
            "0 < announce_interval <= announce_within": 0 < self.announce_interval <= self.announce_within,
            "1 <= afar": self.afar >= 1,
            "2 <= most_seen": self.most_seen >= 2,
            "0 < seen_for": self.seen_for > 0,
            "0 < tell_interval": self.tell_interval > 0,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"routing parameters: {relation} does not hold")


@dataclass(slots=True)
class RoutingCounters:
    """Plain numbers, raised where things happen."""

    sent: int = 0
    """Frames of this node, each once."""
    relayed: int = 0
    """Frames of others to others."""
    arrived: int = 0
    duplicates: int = 0
    """Frames that came again, and were not taken."""
    loops: int = 0
    """Frames that came back."""
    look_ups: int = 0
    """Rings that were asked."""
    look_ups_failed: int = 0
    """Times that nobody answered."""
    answers: int = 0
    """To others' look-ups."""
    announcements: int = 0
    route_messages: int = 0
    """Messages of all kinds that this node has sent, own or passed on."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Messages and frames that were not right, by reason."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Frames, by reason: "hop limit", "no way", "queue full", "too late", "member down"."""
