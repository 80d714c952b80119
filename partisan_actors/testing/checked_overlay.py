"""An overlay under watch: every step of it is held to what `topologies.overlay` asks of it.

Promised, after each step: its effects are of the closed set and well formed; nobody is a neighbour who is no member, or
whose link it did not ask for, or that is the node itself; neighbours are sorted, and none is there twice. What it says
that does not hold is an AssertionError, which names the event and the promise.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from random import Random
from typing import Any, NamedTuple

from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Disconnect,
    Effect,
    Event,
    FindMembers,
    Leave,
    Measure,
    MemberDown,
    MemberUp,
    Message,
    Overlay,
    Refuse,
    Send,
    SetTimer,
)
from partisan_actors.wire.codec import Codec

__all__ = ["Babble", "CheckedOverlay"]


class Babble(NamedTuple):
    """Event, for a CheckedOverlay alone: send this to a member, as if the overlay had."""

    node: str
    payload: Any


class CheckedOverlay:
    """An overlay, and what it asked for so far.

    Args:
        node: whose it is.
        overlay: its overlay.
        codec: encodes what is sent, to see that it can be.

    Attributes: `overlay`, `wanted` (the links asked for), `members`, `payloads` (what it sent, by its shape), `timers`
    (the keys that it set).
    """

    def __init__(self, node: str, overlay: Overlay, codec: Codec | None = None) -> None:
        self.node = node
        self.overlay = overlay
        self.wanted: set[str] = set()
        self.members: set[str] = set()
        self.payloads: dict[str, Any] = {}
        self.timers: dict[Hashable, None] = {}
        self._codec = codec if codec is not None else Codec()
        self._left = False

    @property
    def name(self) -> str:
        """The topology's name."""
        return self.overlay.name

    def step(self, event: Event | Babble, now: float, random: Random) -> Sequence[Effect]:
        """Hand the event in, and look at what comes of it."""
        if isinstance(event, Babble):
            return (Send(event.node, event.payload),)
        match event:
            case MemberUp(node) if node != self.node:
                self.members.add(node)
                self._left = False
            case MemberDown(node):
                self.members.discard(node)
            case Leave():
                self._left = True
        effects = list(self.overlay.step(event, now, random))
        for effect in effects:
            problem = self._problem(effect, event)
            assert problem is None, f"{self.name} of {self.node}: {event!r} brings {effect!r}: {problem}"
        self._check_neighbours(event)
        return effects

    def neighbours(self) -> list[str]:
        """The overlay's."""
        return self.overlay.neighbours()

    def gossip(self, linked: Sequence[str]) -> Sequence[str]:
        """The overlay's."""
        return self.overlay.gossip(linked)

    def _problem(self, effect: object, event: object) -> str | None:
        match effect:
            case Connect(str(node)):
                self.wanted.add(node)
                return "a link to itself" if node == self.node else None
            case Disconnect(str(node)):
                self.wanted.discard(node)
                return None
            case Send(str(node), payload):
                self.payloads.setdefault(_shape(payload), payload)
                self._codec.encode(payload)  # raises NotSendable
                return "a message to itself" if node == self.node else None
            case SetTimer(key, seconds):
                hash(key)
                self.timers[key] = None
                return None if 0 <= seconds < math.inf else "not so many seconds"
            case CancelTimer(key):
                hash(key)
                return None
            case Refuse(str(node), str(reason), bool()):
                of_it = isinstance(event, Message) and event.node == node and reason != ""
                return None if of_it else "that is not what came"
            case Measure(str()):
                return None
            case FindMembers(int(most)):
                return None if most >= 1 else "nobody to find"
        return "no effect of an overlay"

    def _check_neighbours(self, event: object) -> None:
        found = self.overlay.neighbours()
        where = f"{self.name} of {self.node}, after {event!r}: neighbours() is {found!r}"
        assert found == sorted(set(found)), f"{where}, not sorted, or with somebody twice"
        assert self.node not in found, f"{where}, with itself"
        assert self._left or set(found) <= self.members, f"{where}; no members: {sorted(set(found) - self.members)}"
        assert set(found) <= self.wanted, f"{where}; without Connect: {sorted(set(found) - self.wanted)}"


def _shape(payload: Any) -> str:
    """What kind of message it is: its tag, as far as one can tell, and the types of what follows."""
    if not isinstance(payload, tuple | list):
        return type(payload).__name__
    return " ".join(str(part) if index == 0 else type(part).__name__ for index, part in enumerate(payload))
