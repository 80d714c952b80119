"""What the broadcast is told, and what it wants done: the events and effects of `plumtree`, and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired

__all__ = [
    "BEYOND_KINDS",
    "MOST_ANNOUNCED",
    "Broadcast",
    "BroadcastReceived",
    "Deliver",
    "Effect",
    "Event",
    "ExchangeBegun",
    "Fetched",
    "Gap",
    "Left",
    "MemberDown",
    "MemberUp",
    "NeighbourDown",
    "NeighbourUp",
    "NotSent",
    "PlumtreeParameters",
    "Refused",
    "Root",
    "SendBeyond",
    "SendBroadcast",
    "Unavailable",
]


BEYOND_KINDS = frozenset(
    {"synchronise", "asked", "marks", "digest", "branches", "leaves", "summary", "pull", "answer", "served"}
)
"""Messages of which some are between members that are no neighbours, by their first element. Those of the trees are
between neighbours only."""


class Root(NamedTuple):
    """Who broadcasts: one life of one node. It numbers what it broadcasts 1, 2, 3..."""

    node: str
    bits: int


MOST_ANNOUNCED = 4096
"""Messages that one IHAVE tells of."""


@dataclass(frozen=True, slots=True)
class PlumtreeParameters:
    """Times are seconds, sizes bytes. Raises ValueError, naming the relation that does not hold."""

    threshold: int = 7
    """The paper's: a link that is so many hops shorter than the tree's takes its place."""

    timeout_1: float = 0.5
    """The paper's, until it is measured: from the first IHAVE of a message that is missing to the first GRAFT."""

    timeout_2: float = 0.2
    """The paper's, until it is measured: from one GRAFT for a message to the next, about a round trip."""

    timeout_min: float = 0.1
    """What is measured counts as so much at least."""

    timeout_max: float = 5.0
    """And as so much at most."""

    ihave_delay_min: float = 0.01
    """How long IHAVEs are collected while there are few, give or take half of it."""

    ihave_delay_max: float = 0.1
    """And while there are many."""

    ihave_batch: int = 1000
    """IHAVEs in one frame, at most."""

    max_missing: int = 10_000
    """Messages that were announced and have not come; what is announced beyond is left to the exchanges."""

    max_trees: int = 64
    """Roots with a tree of their own; the one that was used least lately gives its place up."""

    own_tree_after: int = 3
    """A root has a tree of its own from so many broadcasts within `own_tree_window` on. 0: always."""

    own_tree_window: float = 60.0

    retention: float = 120.0
    """How long after it was broadcast a message is kept for those who lack it."""

    retention_bytes: int = 64 << 20
    """And so many bytes of them; the oldest go first."""

    retention_count: int = 100_000
    """And so many messages."""

    hold: float = 5.0
    """How long a message is kept, at least, by who has just got it: the neighbours may want it."""

    max_payload: int = 16 << 20
    """Of one message."""

    exchange_interval: float = 10.0
    """From one comparison with a neighbour to the next, give or take a quarter."""

    meeting_delay: float = 0.2
    """From a new link to the comparison over it: what is on its way arrives meanwhile."""

    synchronise_timeout: float = 2.0
    """How long a new node looks for a neighbour that can say what was broadcast before it came."""

    synchronise_rounds: int = 10
    """How often it looks for one that knows, or came no later than itself, before it believes another."""

    beyond_after: int = 3
    """How often it looks so before it asks members that are no neighbours, too."""

    beyond: int = 2
    """Members beyond its neighbours that a node asks at once, which these cannot tell what it wants to know."""

    newcomer_overlap: float = 1.0
    """What was broadcast so short a time before a node came is for it, too: who sent it may have known it already."""

    pull_count: int = 512
    """Messages that are asked for at once, and served at once."""

    pull_bytes: int = 1 << 20
    """Bytes that are served at once; one message more at most."""

    pull_timeout: float = 30.0
    """When what was asked for in an exchange may be asked for elsewhere."""

    max_holes: int = 256
    """Ranges of numbers of one root that are missing; the lowest are given up for more."""

    max_roots: int = 20_000
    """Roots that are remembered."""

    forget_after: float = 86_400.0
    """How long one is that is down."""

    def __post_init__(self) -> None:
        relations = {
            f"ihave_batch <= {MOST_ANNOUNCED}": self.ihave_batch <= MOST_ANNOUNCED,
            "1 <= threshold": self.threshold >= 1,
            "0 < timeout_min <= timeout_1 <= timeout_max": 0 < self.timeout_min <= self.timeout_1 <= self.timeout_max,
            "timeout_min <= timeout_2 <= timeout_max": self.timeout_min <= self.timeout_2 <= self.timeout_max,
            "0 < ihave_delay_min <= ihave_delay_max": 0 < self.ihave_delay_min <= self.ihave_delay_max,
            "0 <= own_tree_after": self.own_tree_after >= 0,
            "0 < own_tree_window": self.own_tree_window > 0,
            "0 < hold <= retention": 0 < self.hold <= self.retention,
            "max_payload <= retention_bytes": 0 < self.max_payload <= self.retention_bytes,
            "0 < meeting_delay < exchange_interval": 0 < self.meeting_delay < self.exchange_interval,
            "exchange_interval < retention": self.exchange_interval < self.retention,
            "0 < synchronise_timeout": self.synchronise_timeout > 0,
            "0 <= newcomer_overlap": self.newcomer_overlap >= 0,
            "0 < pull_timeout": self.pull_timeout > 0,
            "4 * retention <= forget_after": 4 * self.retention <= self.forget_after,
        }
        counts = ("ihave_batch", "max_missing", "max_trees", "retention_count", "pull_count", "pull_bytes", "beyond")
        others = ("beyond_after", "synchronise_rounds", "max_holes", "max_roots")
        relations |= {f"1 <= {name}": getattr(self, name) >= 1 for name in (*counts, *others)}
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"plumtree parameters: {relation} does not hold")


class NeighbourUp(NamedTuple):
    """Event: news go to this member from now on, and come from it."""

    node: str


class NeighbourDown(NamedTuple):
    """Event: they do not any more."""

    node: str


class MemberUp(NamedTuple):
    """Event: this life is a member."""

    node: str
    bits: int


class MemberDown(NamedTuple):
    """Event: it is not any more; it may come back."""

    node: str
    bits: int


class Left(NamedTuple):
    """Event: this node has left the cluster. What is broadcast until it joins again is not for it."""


class Broadcast(NamedTuple):
    """Event: send this to every node. `payload` is opaque; `handler` says who takes it there."""

    handler: str
    payload: bytes


class BroadcastReceived(NamedTuple):
    """Event: the broadcast of another node sent `message`."""

    node: str
    message: Any


class NotSent(NamedTuple):
    """Event: a message of a SendBroadcast has not gone to this neighbour, for want of room: it is to be announced."""

    node: str
    root: Root
    number: int


class Fetched(NamedTuple):
    """Event: what Unavailable asked for; `node` gets it."""

    node: str
    root: Root
    number: int
    handler: str
    payload: bytes


class SendBroadcast(NamedTuple):
    """Effect: hand `message` to the broadcasts of these nodes.

    A bulky one is a tuple whose last element is a payload; of "gossip" and "answer" the one before it is the handler.
    Bulky messages to one node arrive in order, and so do the others.
    """

    nodes: tuple[str, ...]
    message: tuple[Any, ...]
    bulky: bool


class SendBeyond(NamedTuple):
    """Effect: hand `message` to the broadcast of a member that is no neighbour, by whatever way there is.

    What that one answers, and what is said to it then, are SendBroadcasts, of `BEYOND_KINDS`. All of it may get lost.
    """

    node: str
    message: tuple[Any, ...]


class Deliver(NamedTuple):
    """Effect: the application gets this message, once for each root and number, in no order."""

    root: Root
    number: int
    handler: str
    payload: bytes


class Gap(NamedTuple):
    """Effect: these numbers of a root will not come: nobody has them any more."""

    root: Root
    first: int
    last: int


class Unavailable(NamedTuple):
    """Effect: `node` wants these, and they are kept no more. Who has them all the same may hand in `Fetched`."""

    node: str
    root: Root
    first: int
    last: int


class ExchangeBegun(NamedTuple):
    """Effect: what this node and `node` have is being compared."""

    node: str


class Refused(NamedTuple):
    """Effect: something that `node` sent was not taken in, for `reason`, one of a few."""

    node: str
    reason: str


Event: TypeAlias = (
    NeighbourUp
    | NeighbourDown
    | MemberUp
    | MemberDown
    | Left
    | Broadcast
    | BroadcastReceived
    | NotSent
    | Fetched
    | TimerFired
)
Effect: TypeAlias = (
    SendBroadcast | SendBeyond | Deliver | Gap | Unavailable | ExchangeBegun | Refused | SetTimer | CancelTimer
)
