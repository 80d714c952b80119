"""Machines for the simulator's tests: an overlay that records what it is told, and one that floods."""

from __future__ import annotations

from partisan_actors.topologies.overlay import Connect, Joined, LinkDown, LinkUp, Message, Send, SetTimer, TimerFired


class Recorder:
    """Keeps every event with its moment, and does what the test hands it in."""

    name = "recorder"

    def __init__(self):
        self.log = []

    def step(self, event, now, random):
        if type(event) is list:
            return event  # effects, by `tell`
        self.log.append((round(now, 6), event))
        return ()

    def neighbours(self):
        return []

    def gossip(self, linked):
        return linked


class Flooder:
    """Wants links to some members by chance, and passes on everything that is new."""

    name = "flooder"

    def __init__(self, degree=3):
        self.degree = degree
        self.linked = {}
        self.seen = {}

    def step(self, event, now, random):
        match event:
            case Message(peer, number):
                if number in self.seen:
                    return ()
                return self._flood(number, peer, now)
            case TimerFired(("broadcast", number)):
                return self._flood(number, None, now)
            case LinkUp(peer):
                self.linked[peer] = None
            case LinkDown(peer):
                self.linked.pop(peer)
            case Joined(peer):
                return (Connect(peer), SetTimer(("broadcast", (peer, random.random())), 5.0 + random.random()))
        return ()

    def _flood(self, number, source, now):
        self.seen[number] = now
        return [Send(peer, number) for peer in self.linked if peer != source]
