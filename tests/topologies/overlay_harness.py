"""Overlays in a test: one machine that is told events one by one, and a few in a network whose order is drawn."""

from __future__ import annotations

from collections import deque
from random import Random

from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Disconnect,
    FindMembers,
    Joined,
    Leave,
    LinkDown,
    LinkUp,
    Measure,
    Measured,
    MembersFound,
    MemberUp,
    Message,
    Refuse,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)


class One:
    """One machine and all that it has done."""

    def __init__(self, topology, node="self@h", seed=1, quiet=False):
        self.quiet = quiet  # whether a CancelTimer is not shown, as a SetTimer never is
        self.machine = topology.overlay(node)
        self.random = Random(seed)
        self.now = 0.0
        self.wanted = set()

    def __call__(self, *events, after=0.0):
        """Hand in events; the effects of the last."""
        self.now += after
        effects = []
        for event in events:
            effects = list(self.machine.step(event, self.now, self.random))
            for effect in effects:
                if isinstance(effect, Connect):
                    self.wanted.add(effect.node)
                elif isinstance(effect, Disconnect):
                    self.wanted.discard(effect.node)
            assert self.machine.wanted() == sorted(self.wanted)
        timers = (SetTimer, CancelTimer) if self.quiet else SetTimer
        return [effect for effect in effects if not isinstance(effect, timers)]

    def hears(self, node, *payload):
        """The effects of a message, but for the word that it was refused: `refused` counts that."""
        return [effect for effect in self(Message(node, payload)) if not isinstance(effect, Refuse)]

    def befriend(self, *nodes):
        """Each gets a link and asks to be a neighbour, with nonces 1, 2 and so on; the nonces that were answered."""
        answers = []
        for number, node in enumerate(nodes, 1):
            self(MemberUp(node), LinkUp(node))
            answers.append(sent(self.hears(node, "neighbor", number, "low"), node)[0][2])
        return answers


def sent(effects, node=None):
    """The payloads sent to a node, or (node, payload) of all."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    if node is None:
        return [(effect.node, effect.payload) for effect in sends]
    return [effect.payload for effect in sends if effect.node == node]


class Interleaved:
    """A few overlays, and for each ordered pair of them what is under way, in order; who is next is drawn.

    A link ends for each side when that has heard of it, so what one sends may get to the other over their next link.
    """

    def __init__(self, topology, random, cost=None):
        self.topology = topology
        self.random = random
        self.cost = cost
        self.machines = {}
        self.wants = {}
        self.timers = {}
        self.up = set()  # links, as frozensets
        self.ways = {}  # (source, target): events, in order
        self.now = 0.0

    def start(self, name):
        self.machines[name] = self.topology.overlay(name)
        self.wants[name] = set()
        self.timers[name] = {}

    def join(self, name, contact):
        self._link(name, contact)
        self._put(contact, name, Joined(contact))

    def crash(self, name):
        del self.machines[name], self.wants[name], self.timers[name]
        for way in sorted(self.ways):
            if way[1] == name:
                del self.ways[way]
            elif way[0] == name:  # what it said may be lost; that a link began or ended is the others' own to know
                self.ways[way] = deque(event for event in self.ways[way] if not isinstance(event, Message))
        for other in sorted(other for pair in self.up if name in pair for other in pair if other != name):
            self._cut(name, other)

    def leave(self, name):
        self._give(name, Leave())
        for other in sorted(self.machines):
            if frozenset((name, other)) in self.up:
                self._cut(name, other)
        del self.machines[name], self.wants[name], self.timers[name]

    def deliver(self):
        """One event of some way; whether there was one."""
        ways = sorted(way for way, events in self.ways.items() if events)
        if not ways:
            return False
        source, name = self.random.choice(ways)
        event = self.ways[source, name].popleft()
        if name in self.machines:
            self._give(name, event)
            if isinstance(event, LinkDown) and event.node in self.wants[name]:
                self._dial(name, event.node)
        return True

    def drain(self):
        for _ in range(100_000):
            if not self.deliver():
                return
        raise AssertionError("the overlays never come to rest")

    def tick(self, name):
        """Fire all timers of a node."""
        self.now += 1.0
        for key in list(self.timers[name]):
            del self.timers[name][key]
            self._give(name, TimerFired(key))

    def round(self):
        self.now += 10.0
        for name in sorted(self.machines):
            self.tick(name)
        self.drain()

    def parts(self):
        """The overlay's parts, by active views, the largest first."""
        left, found = set(self.machines), []
        while left:
            part = [min(left)]
            left.discard(part[0])
            for name in part:
                for peer in self.machines[name].active:
                    if peer in left:
                        left.discard(peer)
                        part.append(peer)
            found.append(part)
        return sorted(found, key=len, reverse=True)

    def one_way(self):
        return [
            (name, peer)
            for name, machine in sorted(self.machines.items())
            for peer in machine.active
            if peer not in self.machines or name not in self.machines[peer].active
        ]

    def _give(self, name, event):
        for effect in self.machines[name].step(event, self.now, self.random):
            self._perform(name, effect)

    def _perform(self, name, effect):
        match effect:
            case Send(other, payload):
                if frozenset((name, other)) in self.up:
                    self._put(name, other, Message(name, payload))
            case Connect(other):
                self.wants[name].add(other)
                if frozenset((name, other)) not in self.up:
                    self._dial(name, other)
            case Disconnect(other):
                self.wants[name].discard(other)
                if frozenset((name, other)) in self.up:
                    self._cut(name, other)
            case SetTimer(key, _):
                self.timers[name][key] = None
            case CancelTimer(key):
                self.timers[name].pop(key, None)
            case FindMembers(most):
                others = [other for other in sorted(self.machines) if other != name]
                found = self.random.sample(others, min(most, len(others)))
                self._put(name, name, MembersFound(tuple(found)))
            case Measure(other):
                self._put(name, name, Measured(other, self.cost(name, other)))

    def _put(self, source, target, event):
        self.ways.setdefault((source, target), deque()).append(event)

    def _dial(self, name, other):
        if other in self.machines:
            self._link(name, other)
        else:
            self._put(other, name, Unreachable(other))

    def _link(self, name, other):
        pair = frozenset((name, other))
        if pair not in self.up:
            self.up.add(pair)
            self._put(other, name, LinkUp(other))
            self._put(name, other, LinkUp(name))

    def _cut(self, name, other):
        self.up.discard(frozenset((name, other)))
        self._put(other, name, LinkDown(other))
        self._put(name, other, LinkDown(name))
