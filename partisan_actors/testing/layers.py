"""Layers: what makes any pure machine a part of a simulated node.

Machines have event and effect classes of their own. A `Layer` stands between one of them and the simulation: it is told
of links, messages and timers by plain calls, and says of each class of its machine's effects what is to be done.
`MachineLayer` is enough for most; `overlay_layer` makes one for an overlay.

What a layer says of an effect class is a `Verb`, whose arguments are the effect's fields in their order,

    SEND            (peer, payload)     to the same layer of `peer`, over the link; dropped without one
    SEND_MANY       (peers, payload)    the same to each
    SET_TIMER       (key, seconds)      one timer a key
    CANCEL_TIMER    (key,)
    CONNECT         (peer,)             want a link
    DISCONNECT      (peer,)             end it and want it no more
    MEASURE         (peer,)             answered by `other(Measured(peer, seconds))`
    FIND_MEMBERS    (most,)             answered by `other(MembersFound(peers))`
    IGNORE

or a function of `(slot, effect)` that the layer brings: what an effect means for another layer of the same node, say,
for which it calls `slot.node.tell(layer, event)`. An effect of a class that is not named goes to the simulation's
observer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import Enum
from random import Random
from typing import Any, Protocol, TypeAlias

from partisan_actors.distribution import machine
from partisan_actors.topologies import overlay as overlays

__all__ = ["Effects", "Layer", "Machine", "MachineLayer", "Verb", "overlay_layer"]

Effects: TypeAlias = Iterable[Any]


class Verb(Enum):
    """What the simulation does for an effect; see the module."""

    SEND = "send"
    SEND_MANY = "send many"
    SET_TIMER = "set timer"
    CANCEL_TIMER = "cancel timer"
    CONNECT = "connect"
    DISCONNECT = "disconnect"
    MEASURE = "measure"
    FIND_MEMBERS = "find members"
    IGNORE = "ignore"


class Layer(Protocol):
    """One machine of one life of one node. Every call returns effects, which are performed in order."""

    name: str
    """Messages go to the layer of the same name at the other node."""

    effects: Mapping[type, Verb | Callable[[Any, Any], None]]
    """What is done for each class of effects."""

    def start(self, now: float, random: Random) -> Effects:
        """The node has just been made."""

    def link_up(self, peer: str, now: float, random: Random) -> Effects:
        """There is a link."""

    def link_down(self, peer: str, now: float, random: Random) -> Effects:
        """It has ended."""

    def message(self, peer: str, payload: Any, now: float, random: Random) -> Effects:
        """The same layer of `peer` sent `payload`."""

    def timer(self, key: Hashable, now: float, random: Random) -> Effects:
        """The timer of that key is due."""

    def other(self, event: Any, now: float, random: Random) -> Effects:
        """Anything else: an event of `topologies.overlay`, for the first layer, or what was told this layer."""


class Machine(Protocol):
    """A pure machine."""

    def step(self, event: Any, now: float, random: Random) -> Effects:
        """Take one event in; what is to be done."""


class MachineLayer:
    """A layer of a machine whose `step` takes events.

    Args:
        name: of the layer.
        machine: it has `step(event, now, random)`.
        effects: see the module; SetTimer and CancelTimer of `distribution.machine` need not be named.
        link_up, link_down: make the event of `(peer)`; None: it is told nothing of links.
        message: makes the event of `(peer, payload)`.
        timer: makes the event of `(key)`.
        start: events to begin with.
    """

    __slots__ = ("_down", "_message", "_start", "_timer", "_up", "effects", "machine", "name")

    def __init__(
        self,
        name: str,
        machine: Any,
        effects: Mapping[type, Verb | Callable[[Any, Any], None]],
        *,
        message: Callable[[str, Any], Any],
        link_up: Callable[[str], Any] | None = None,
        link_down: Callable[[str], Any] | None = None,
        timer: Callable[[Hashable], Any] | None = None,
        start: Iterable[Any] = (),
    ) -> None:
        self.name = name
        self.machine = machine
        self.effects: Mapping[type, Verb | Callable[[Any, Any], None]] = {**_TIMERS, **effects}
        self._message = message
        self._up = link_up
        self._down = link_down
        self._timer: Callable[[Hashable], Any] = timer if timer is not None else _TIMER_FIRED
        self._start = tuple(start)

    def start(self, now: float, random: Random) -> Effects:
        """See `Layer`."""
        effects: list[Any] = []
        for event in self._start:
            effects.extend(self.machine.step(event, now, random))
        return effects

    def link_up(self, peer: str, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return () if self._up is None else self._step(self._up(peer), now, random)

    def link_down(self, peer: str, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return () if self._down is None else self._step(self._down(peer), now, random)

    def message(self, peer: str, payload: Any, now: float, random: Random) -> Effects:
        """See `Layer`."""
        effects: Effects = self.machine.step(self._message(peer, payload), now, random)
        return effects

    def timer(self, key: Hashable, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._step(self._timer(key), now, random)

    def other(self, event: Any, now: float, random: Random) -> Effects:
        """See `Layer`."""
        return self._step(event, now, random)

    def _step(self, event: Any, now: float, random: Random) -> Effects:
        effects: Effects = self.machine.step(event, now, random)
        return effects


def overlay_layer(overlay: overlays.Overlay, name: str = "overlay") -> MachineLayer:
    """The layer of an overlay. It goes first: only the first layer hears of members, of joins and of measurements."""
    return MachineLayer(
        name,
        overlay,
        _OVERLAY,
        link_up=overlays.LinkUp,
        link_down=overlays.LinkDown,
        message=overlays.Message,
        timer=overlays.TimerFired,
    )


_TIMER_FIRED = machine.TimerFired
_TIMERS: dict[type, Verb] = {machine.SetTimer: Verb.SET_TIMER, machine.CancelTimer: Verb.CANCEL_TIMER}
_OVERLAY: dict[type, Verb | Callable[[Any, Any], None]] = {
    overlays.Send: Verb.SEND,
    overlays.SetTimer: Verb.SET_TIMER,
    overlays.CancelTimer: Verb.CANCEL_TIMER,
    overlays.Connect: Verb.CONNECT,
    overlays.Disconnect: Verb.DISCONNECT,
    overlays.Measure: Verb.MEASURE,
    overlays.FindMembers: Verb.FIND_MEMBERS,
    overlays.Refuse: Verb.IGNORE,
}
