"""The look-ups of one node: for each destination where it stands, and the frames that wait for it. Pure.

Promised: bounded, in destinations and in bytes; between two look-ups for one destination are pauses that grow while
they come one after another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from partisan_actors.distribution.routing_parameters import RoutingParameters
from partisan_actors.wire.relays import Buffer, Relay

__all__ = ["LookUp", "LookUps", "Waiting"]


class Waiting(NamedTuple):
    """A frame that waits for a way: of this node, or one that came over the link to `came_from`, ready to go on."""

    body: Sequence[Buffer]
    size: int
    until: float
    relay: Relay | None = None
    came_from: str = ""


class LookUp:
    """That for one destination."""

    __slots__ = ("asked_at", "destination", "not_before", "number", "pause", "repair", "ring", "size", "waiting")

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.waiting: deque[Waiting] = deque()
        self.size = 0  # bytes of these
        self.ring = -1  # which one is being asked; -1: none
        self.number = 0  # of the last message
        self.asked_at = 0.0  # when that went
        self.not_before = 0.0  # when the next look-up may begin
        self.pause = 0.0  # that was kept last
        self.repair = False  # nothing of this node waits for it, only what it relays

    @property
    def asking(self) -> bool:
        """Whether answers are waited for."""
        return self.ring >= 0

    def over(self, now: float, random: Random, parameters: RoutingParameters) -> None:
        """It has come to its end, well or not: begin the pause."""
        self.ring = -1
        calm = now - self.not_before > parameters.calm
        self.pause = parameters.first_pause if calm or not self.pause else min(self.pause * 2, parameters.longest_pause)
        self.not_before = now + self.pause * random.uniform(0.75, 1.25)


class LookUps:
    """Those of one node."""

    __slots__ = ("_by_destination", "_parameters", "get", "size")

    def __init__(self, parameters: RoutingParameters) -> None:
        self._by_destination: dict[str, LookUp] = {}
        self._parameters = parameters
        self.size = 0  # bytes that wait
        self.get = self._by_destination.get

    def __contains__(self, destination: str) -> bool:
        return destination in self._by_destination

    def __len__(self) -> int:
        return len(self._by_destination)

    def of(self, destination: str) -> LookUp | None:
        """That for a destination; None where there is no place for one more."""
        look_up = self._by_destination.get(destination)
        if look_up is None and self._has_place():
            look_up = self._by_destination[destination] = LookUp(destination)
        return look_up

    def paused(self) -> list[LookUp]:
        """Those for which nobody is asked now."""
        return [look_up for look_up in self._by_destination.values() if not look_up.asking]

    def add(self, look_up: LookUp, waiting: Waiting) -> bool:
        """Let a frame wait; whether there was room."""
        parameters = self._parameters
        if look_up.waiting and (
            look_up.size + waiting.size > parameters.most_waiting
            or self.size + waiting.size > parameters.most_waiting_in_all
        ):
            return False
        look_up.waiting.append(waiting)
        look_up.size += waiting.size
        self.size += waiting.size
        return True

    def take(self, look_up: LookUp, until: float | None = None, relays: bool = False) -> list[Waiting]:
        """Take out what waits: all, or what waits no longer than `until`, and what is relayed."""
        taken: list[Waiting] = []
        kept: deque[Waiting] = deque()
        for waiting in look_up.waiting:
            out = until is None or waiting.until <= until or (relays and waiting.relay is not None)
            (taken if out else kept).append(waiting)
        size = sum(waiting.size for waiting in taken)
        look_up.waiting = kept
        look_up.size -= size
        self.size -= size
        return taken

    def forget(self, destination: str) -> LookUp | None:
        """Know nothing of it any more; what that was."""
        return self._by_destination.pop(destination, None)

    def _has_place(self) -> bool:
        known = self._by_destination
        if len(known) < self._parameters.most_look_ups:
            return True
        idle = next((name for name, look_up in known.items() if not look_up.waiting and not look_up.asking), None)
        if idle is None:
            return False
        del known[idle]
        return True
