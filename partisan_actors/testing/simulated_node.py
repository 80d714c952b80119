"""One life of one node of a protocol simulation: its layers, what it has a link to, and whether it runs.

What happens to a node comes through `ProtocolSimulation.at_node`, or does what that does: a paused node keeps it for
later, a slow one takes a while for each thing, one that has ended never hears of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from partisan_actors.testing.layers import Layer, Verb
from partisan_actors.topologies.overlay import MemberDown, MemberUp

if TYPE_CHECKING:
    from partisan_actors.testing.links import Half, Way
    from partisan_actors.testing.protocols import ProtocolSimulation

__all__ = ["Handler", "Handlers", "SimulatedNode", "Slot"]

Handler = Callable[["Slot", Any], None]


class Handlers(dict[type, Handler]):
    """What is done for an effect, by its class; one that nobody named goes to the observer.

    Layers that say the same share one: what 10,000 nodes do not have in common does not fit into the machine's caches.
    """

    def __init__(
        self, effects: Mapping[type, Verb | Handler], verbs: Mapping[Verb, Handler], observed: Handler
    ) -> None:
        super().__init__({kind: verbs[does] if isinstance(does, Verb) else does for kind, does in effects.items()})
        self._observed = observed

    def __missing__(self, kind: type) -> Handler:
        self[kind] = self._observed
        return self._observed


class Slot:
    """A layer in its node."""

    __slots__ = ("handlers", "index", "layer", "name", "node", "timers")

    def __init__(self, node: SimulatedNode, index: int, layer: Layer, handlers: Mapping[type, Handler]) -> None:
        self.node = node
        self.index = index
        self.layer = layer
        self.name = layer.name
        self.timers: dict[Hashable, int] = {}  # for each key, the number of the event that is its timer
        self.handlers = handlers


class SimulatedNode:
    """A node; made by `ProtocolSimulation.add` and `restart`.

    Attributes to look at, not to set: `name`, `life` (1, 2, ...), `alive`, `paused`, `joined`, `slots`, `random`.
    """

    __slots__ = (
        "alive",
        "backlog",
        "busy_until",
        "contact",
        "ended",
        "halves",
        "joined",
        "life",
        "name",
        "offset",
        "paused",
        "pauses",
        "processing",
        "random",
        "rate",
        "simulation",
        "slots",
        "special",
        "tag",
        "told",
        "ways",
    )

    def __init__(self, simulation: ProtocolSimulation, name: str, life: int, tag: str) -> None:
        self.simulation = simulation
        self.name = name
        self.life = life
        self.tag = tag
        self.random = Random(f"{simulation.seed}/{name}/{life}")
        self.slots: list[Slot] = []
        self.ways: dict[str, Way] = {}  # to those that there is a link to
        self.halves: dict[str, Half] = {}  # what is known of links to others, wanted or there
        self.told: dict[str, None] = {}  # the members that its overlay was told of
        self.alive = True
        self.joined = False
        self.ended: float | None = None
        self.contact: str | None = None  # whom it joins through
        self.rate, self.offset = 1.0, 0.0  # of its clock
        self.paused = False
        self.pauses = 0
        self.processing = 0.0
        self.special = False  # paused or slow: nothing is handed in at once
        self.busy_until = 0.0
        self.backlog: list[tuple[Callable[[Any, Any, Any], None], Any, Any, Any]] = []

    def __repr__(self) -> str:
        return f"<SimulatedNode {self.name} life {self.life}{'' if self.alive else ', ended'}>"

    @property
    def now(self) -> float:
        """What its own clock shows, in seconds."""
        return self.simulation.time.now * self.rate + self.offset

    def linked(self) -> list[str]:
        """Those that there is a link to, sorted."""
        return sorted(self.ways)

    def slot(self, name: str) -> Slot:
        """The layer of that name, in its slot. KeyError without one."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise KeyError(f"{self.name} has no layer {name!r}")

    def layer(self, name: str) -> Any:
        """The layer of that name; `layer(name).machine` is the machine of a MachineLayer."""
        return self.slot(name).layer

    def tell(self, layer: str, *events: Any) -> None:
        """Hand these events to a layer's `other`, after what is due already."""
        slot = self.slot(layer)
        for event in events:
            self.simulation.soon(self, self.simulation.give, slot, event)

    def member_up(self, name: str, tag: str = "") -> None:
        """Tell the overlay that `name` is a member; a dial that has waited for that begins."""
        self.told[name] = None
        self.simulation.soon(self, self.simulation.give, self.slots[0], MemberUp(name, tag))
        half = self.halves.get(name)
        if half is not None and half.waits:
            half.waits = False
            self.simulation.links.dial(half)

    def member_down(self, name: str) -> None:
        """Tell the overlay that it is a member no more."""
        self.told.pop(name, None)
        self.simulation.soon(self, self.simulation.give, self.slots[0], MemberDown(name))

    def members(self) -> Sequence[str]:
        """Those that its overlay was told of, sorted."""
        return sorted(self.told)
