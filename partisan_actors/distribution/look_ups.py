"""The look-ups of one node: for each destination where it stands, and the frames that wait for it. Pure.

Promised: bounded, in destinations and in bytes; between two look-ups for one destination are pauses that grow while
they come one after another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from random import Random
from typing import NamedTuple

from partisan_actors.distribution.machine import SetTimer
from partisan_actors.distribution.routing_parameters import RoutingParameters
from partisan_actors.wire.relays import DOUBTED, Buffer, Relay

__all__ = ["LookUp", "LookUps", "Renown", "Waiting"]

# Seconds without a word, and round trips. What is only late is not to be looked up: where all nodes are busy, look-ups
# for what they have not come to yet made it worse for good (100 nodes in one process, on half a core, after 1 s).
DOUBT_AFTER = 3.0
ROUND_TRIPS = 4


class Waiting(NamedTuple):
    """A frame that waits for a way: of this node, or one that came over the link to `came_from`, ready to go on."""

    body: Sequence[Buffer]
    size: int
    until: float
    relay: Relay | None = None
    came_from: str = ""


class LookUp:
    """That for one destination."""

    __slots__ = (
        "asked_at",
        "destination",
        "doubt",
        "doubt_pause",
        "found_at",
        "not_before",
        "number",
        "pause",
        "repair",
        "ring",
        "size",
        "took",
        "waiting",
    )

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.waiting: deque[Waiting] = deque()
        self.size = 0  # bytes of these
        self.ring = -1  # which one is being asked; -1: none
        self.number = 0  # of the last message
        self.asked_at = 0.0  # when that went
        self.not_before = 0.0  # when the next look-up may begin
        self.pause = 0.0  # that was kept last
        self.doubt = False  # what is known by the same number will not do
        self.doubt_pause = 0.0  # between two doubts
        self.found_at = -inf  # when something was last found, or begun to be doubted
        self.took = 0.0  # how long the last answer took
        self.repair = False  # nothing of this node waits for it, only what it relays

    @property
    def asking(self) -> bool:
        """Whether answers are waited for."""
        return self.ring >= 0


class LookUps:
    """Those of one node."""

    __slots__ = ("_by_destination", "_parameters", "floods", "get", "gone", "size", "suspects")

    def __init__(self, parameters: RoutingParameters) -> None:
        self._by_destination: dict[str, LookUp] = {}
        self._parameters = parameters
        self.size = 0  # bytes that wait
        self.floods: dict[str, None] = {}  # those that ask everybody
        self.suspects: set[str] = set()  # members that are not looked up until they have refuted that
        self.gone: dict[str, None] = {}  # those that are members no more, the latest of them
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

    def end_pauses(self, now: float, random: Random) -> list[SetTimer]:
        """Let all look-ups that are paused begin again, where something waits: the timers, by destination."""
        timers = []
        for look_up in self._by_destination.values():
            if not look_up.asking:
                look_up.pause, look_up.not_before = 0.0, now
                if look_up.waiting:
                    seconds = random.uniform(0.0, self._parameters.first_pause)
                    timers.append(SetTimer(look_up.destination, seconds))
        return timers

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

    def may_flood(self, look_up: LookUp) -> bool:
        """Whether it may ask everybody now, which counts until it is `over`."""
        if len(self.floods) >= self._parameters.most_floods:
            return False
        self.floods[look_up.destination] = None
        return True

    def demand(self, look_up: LookUp, known: int, bound: int) -> tuple[int, int]:
        """What to demand of a way, by number and cost, where so much is known."""
        if not look_up.doubt or look_up.repair:
            return known, bound
        return (DOUBTED if look_up.doubt_pause > self._parameters.first_pause else max(known, 1)), 0

    def over(self, look_up: LookUp, now: float, random: Random, *, found: bool) -> None:
        """It has come to its end, well or not: begin the pause, which does not grow where there was an answer."""
        parameters = self._parameters
        self.floods.pop(look_up.destination, None)
        look_up.ring = -1
        calm = now - look_up.not_before > parameters.calm
        again = look_up.pause and not calm and not found
        # Perhaps what others answered was not taken on its way.
        look_up.doubt = bool(again) and not look_up.repair
        if found:
            look_up.found_at = now
        look_up.pause = min(look_up.pause * 2, parameters.longest_pause) if again else parameters.first_pause
        look_up.not_before = now + look_up.pause * random.uniform(0.75, 1.25)

    def silent(self, destination: str, now: float, seconds: float, round_trip: float) -> bool:
        """Whether a way leads nowhere of which nothing was heard for so long; a round trip takes so long, as known."""
        look_up = self._by_destination.get(destination)
        took, found_at = (look_up.took, look_up.found_at) if look_up is not None else (0.0, -inf)
        return min(seconds, now - found_at) >= max(DOUBT_AFTER, ROUND_TRIPS * max(round_trip, took))

    def may_doubt(self, look_up: LookUp, now: float) -> bool:
        """Whether a way may be doubted now; if so the pause to the next time begins."""
        parameters = self._parameters
        since = now - look_up.found_at
        if now < look_up.not_before or since < look_up.doubt_pause:
            return False
        again = since < parameters.calm and look_up.doubt_pause
        longer = look_up.doubt_pause * 2 if again else parameters.first_pause
        look_up.doubt, look_up.doubt_pause = True, min(longer, parameters.longest_pause)
        look_up.found_at = now
        return True

    def forget(self, destination: str) -> LookUp | None:
        """It is a member no more; what was known of it."""
        self.floods.pop(destination, None)
        self.suspects.discard(destination)
        self.gone[destination] = None
        if len(self.gone) > self._parameters.most_look_ups:
            del self.gone[next(iter(self.gone))]
        return self._by_destination.pop(destination, None)

    def trust(self, destination: str) -> None:
        """It is a member, and nobody says that it cannot be reached."""
        self.suspects.discard(destination)
        self.gone.pop(destination, None)

    def _has_place(self) -> bool:
        known = self._by_destination
        if len(known) < self._parameters.most_look_ups:
            return True
        idle = next((name for name, look_up in known.items() if not look_up.waiting and not look_up.asking), None)
        if idle is None:
            return False
        del known[idle]
        return True


class Renown:
    """How often one node was looked up from afar, and whether it is time to make itself known to everybody."""

    __slots__ = ("_announced", "_asked", "_parameters")

    def __init__(self, parameters: RoutingParameters) -> None:
        self._parameters = parameters
        self._asked: deque[float] = deque(maxlen=parameters.announce_after)  # when it was, the last few times
        self._announced = -parameters.announce_interval

    def asked(self, now: float) -> bool:
        """It was, once more; whether it is time."""
        parameters = self._parameters
        self._asked.append(now)
        often = len(self._asked) == parameters.announce_after and now - self._asked[0] < parameters.announce_within
        if not often or now - self._announced < parameters.announce_interval:
            return False
        self._asked.clear()
        self._announced = now
        return True
