"""A network of overlay machines in one process, in rounds: the model in which the papers measure (PeerSim's).

Everything that is under way arrives, first in first out, before the next timer fires; a round fires every timer of
every node once. So the driver's promises hold by construction: what one node sends another arrives in order, before
the link's end if it was sent before, and a link that a dead node had is noticed at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from random import Random
from typing import Any

from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Disconnect,
    Event,
    FindMembers,
    Joined,
    LinkDown,
    LinkUp,
    Measure,
    Measured,
    MembersFound,
    Message,
    Overlay,
    Send,
    SetTimer,
    TimerFired,
    Topology,
    Unreachable,
)

__all__ = ["Network"]


class Network:
    """Nodes that run one topology.

    Args:
        round_trip: seconds between two nodes, for Measure.
        find_members: whether FindMembers finds living nodes; if not, it finds nobody.
    """

    def __init__(
        self,
        topology: Topology,
        random: Random,
        *,
        round_trip: Callable[[str, str], float] | None = None,
        find_members: bool = True,
        interval: float = 10.0,
    ) -> None:
        self.nodes: dict[str, Any] = {}
        self.now = 0.0
        self.delivered = 0  # messages
        self.find_members = find_members
        self._topology = topology
        self._random = random
        self._round_trip = round_trip
        self._interval = interval
        self._up: set[tuple[str, str]] = set()  # links, the lesser name first
        self._wants: dict[str, set[str]] = {}
        self._timers: dict[str, dict[Hashable, None]] = {}
        self._queue: deque[tuple[str, Event]] = deque()
        self._living: list[str] = []

    def start(self, name: str) -> Overlay:
        """A node more."""
        machine = self.nodes[name] = self._topology.overlay(name)
        self._wants[name] = set()
        self._timers[name] = {}
        self._living.append(name)
        return machine

    def join(self, name: str, contact: str) -> None:
        """The node gets a link to the contact, and joins through it."""
        self._link(name, contact)
        self._queue.append((name, Joined(contact)))

    def tell(self, name: str, event: Event) -> None:
        """Hand in an event, in its turn."""
        self._queue.append((name, event))

    def kill(self, names: Iterable[str]) -> None:
        """These die at once; whoever had a link to one notices."""
        dead = set(names)
        for name in sorted(dead):
            del self.nodes[name], self._wants[name], self._timers[name]
        self._living = [name for name in self._living if name not in dead]
        for pair in sorted(pair for pair in self._up if pair[0] in dead or pair[1] in dead):
            self._cut(*pair)

    def linked(self, name: str, other: str) -> bool:
        """Whether there is a link between the two."""
        return ((name, other) if name < other else (other, name)) in self._up

    def round(self) -> None:
        """One interval: each node's timers, in an order by chance, and what comes of it."""
        self.now += self._interval
        names = list(self._living)
        self._random.shuffle(names)
        for name in names:
            for key in list(self._timers.get(name, ())):
                self._timers[name].pop(key, None)
                self._queue.append((name, TimerFired(key)))
            self.run()

    def run(self) -> None:
        """Until nothing is under way."""
        queue, nodes, random, now = self._queue, self.nodes, self._random, self.now
        while queue:
            name, event = queue.popleft()
            machine = nodes.get(name)
            if machine is None:
                continue
            if type(event) is Message:
                self.delivered += 1
            for effect in machine.step(event, now, random):
                self._perform(name, effect)
            if type(event) is LinkDown and event.node in self._wants[name]:
                self._dial(name, event.node)

    def _perform(self, name: str, effect: Any) -> None:
        kind = type(effect)
        if kind is Send:
            other, payload = effect
            if ((name, other) if name < other else (other, name)) in self._up:
                self._queue.append((other, Message(name, payload)))
        elif kind is Connect:
            self._wants[name].add(effect.node)
            if not self.linked(name, effect.node):
                self._dial(name, effect.node)
        elif kind is Disconnect:
            self._wants[name].discard(effect.node)
            if self.linked(name, effect.node):
                self._cut(name, effect.node)
        elif kind is SetTimer:
            self._timers[name][effect.key] = None
        elif kind is CancelTimer:
            self._timers[name].pop(effect.key, None)
        elif kind is FindMembers:
            self._queue.append((name, MembersFound(self._members(name, effect.most))))
        elif kind is Measure:
            alive = effect.node in self.nodes and self._round_trip is not None
            seconds = self._round_trip(name, effect.node) if alive and self._round_trip else float("inf")
            self._queue.append((name, Measured(effect.node, seconds)))

    def _members(self, name: str, most: int) -> tuple[str, ...]:
        if not self.find_members:
            return ()
        found = self._random.sample(self._living, min(most + 1, len(self._living)))
        return tuple(other for other in found if other != name)[:most]

    def _dial(self, name: str, other: str) -> None:
        if other in self.nodes and other != name:
            self._link(name, other)
        else:
            self._queue.append((name, Unreachable(other)))

    def _link(self, name: str, other: str) -> None:
        pair = (name, other) if name < other else (other, name)
        if pair not in self._up:
            self._up.add(pair)
            self._queue.append((name, LinkUp(other)))
            self._queue.append((other, LinkUp(name)))

    def _cut(self, name: str, other: str) -> None:
        self._up.discard((name, other) if name < other else (other, name))
        self._queue.append((name, LinkDown(other)))
        self._queue.append((other, LinkDown(name)))
