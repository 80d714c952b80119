"""When to dial a route to one peer, that is, a conduit over other members: while no link of its own carries a session.

Promised:

- a route is dialled as soon as there is something to carry and no link is being made; where one is, `head_start`
  later, so that the link wins if it can be made at all;
- while something is to be carried a dial that failed is repeated, with back-off up to `longest_pause`;
- where there is no session yet, `RouteGivenUp` comes once, after `patience`, or at once for a refusal that waiting
  does not change, or with the end of an attempt that the peer has answered by then: it is there, and slow; where there
  is one, the cluster view says when it is over, and nothing is given up here;
- nothing is dialled or timed once any connection is there, or nothing is to be carried.

Not known here: conduits, links, sessions. Pure.

Events: `RouteNeeded`, `RouteNeedless`, `RouteAnswered`, `RouteFailed`, `RouteRefused`, `TimerFired`.
Effects: `DialRoute`, `CancelRoute`, `RouteGivenUp`, `SetTimer`, `SetDeadline`, `CancelTimer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from partisan_actors.distribution.machine import CancelTimer, SetDeadline, SetTimer, TimerFired
from partisan_actors.wire.hello import RefusalCode

__all__ = [
    "CancelRoute",
    "DialRoute",
    "Effect",
    "Event",
    "RouteAnswered",
    "RouteDialling",
    "RouteFailed",
    "RouteGivenUp",
    "RouteNeeded",
    "RouteNeedless",
    "RouteParameters",
    "RouteRefused",
]

_REDIAL = "redial"
_PATIENCE = "patience"

# What may be another time.
_PASSING = frozenset({RefusalCode.SIMULTANEOUS, RefusalCode.BUSY, RefusalCode.EXPIRED, RefusalCode.FULL})


@dataclass(frozen=True, slots=True)
class RouteParameters:
    """All times are seconds."""

    head_start: float = 1.0
    """How long a link that is being made is waited for before a route is dialled too."""

    dial_timeout: float = 5.0
    """For one attempt: finding the way, and the handshake over it."""

    patience: float = 7.0
    """From the first need to the verdict, where there is no session. Erlang's `net_setuptime` is that long."""

    give_way: float = 1.0
    """How long the other's connection is waited for when it is the one that is kept."""

    first_pause: float = 0.25
    longest_pause: float = 10.0
    """Pauses after a failure: doubled each time, shortened by chance by up to a quarter."""

    def __post_init__(self) -> None:
        if not 0 < self.head_start < self.patience:
            raise ValueError(f"head_start ({self.head_start}) must be above 0 and below patience ({self.patience})")
        if not 0 < self.dial_timeout <= self.patience:
            raise ValueError(f"dial_timeout ({self.dial_timeout}) must be above 0 and at most patience")
        if not 0 < self.first_pause <= self.longest_pause:
            raise ValueError(f"first_pause ({self.first_pause}) must be above 0 and at most longest_pause")
        if self.give_way <= 0:
            raise ValueError(f"give_way ({self.give_way}) must be above 0")


class RouteNeeded(NamedTuple):
    """Event: there is something to carry, and no connection."""

    opening: bool  # and no session either: a verdict is to come
    link_is_coming: bool  # a link is being made


class RouteNeedless(NamedTuple):
    """Event: a connection is there, of whatever kind, or nothing is to be carried any more."""


class RouteAnswered(NamedTuple):
    """Event: the peer has answered the attempt; the handshake is under way."""


class RouteFailed(NamedTuple):
    """Event: the attempt came to nothing."""

    reason: str


class RouteRefused(NamedTuple):
    """Event: one of the two ends refused the handshake."""

    code: int
    text: str


Event = RouteNeeded | RouteNeedless | RouteAnswered | RouteFailed | RouteRefused | TimerFired


class DialRoute(NamedTuple):
    """Effect: try; `RouteNeedless`, `RouteFailed` or `RouteRefused` is to follow, unless it is cancelled."""

    timeout: float


class CancelRoute(NamedTuple):
    """Effect: give the attempt up."""


class RouteGivenUp(NamedTuple):
    """Effect: the peer cannot be reached."""

    reason: str


Effect = DialRoute | CancelRoute | RouteGivenUp | SetTimer | SetDeadline | CancelTimer


class RouteDialling:
    """What is done to reach one peer over others."""

    __slots__ = (
        "_answered",
        "_attempt",
        "_cause",
        "_failures",
        "_needed",
        "_opening",
        "_overdue",
        "_parameters",
        "_timed",
        "_waits",
    )

    def __init__(self, parameters: RouteParameters) -> None:
        self._parameters = parameters
        self._needed = False
        self._opening = False  # the verdict is still to come
        self._overdue = False  # it comes with the end of the attempt
        self._attempt = False  # one is under way
        self._answered = False  # by the peer
        self._timed = False  # the next one is timed
        self._waits = False  # for a link, rather than after a failure
        self._failures = 0  # in a row
        self._cause = "timeout"  # why the last attempt failed

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do: it can be forgotten."""
        return not self._needed and not self._attempt

    def step(self, event: Event, random: Random) -> Sequence[Effect]:
        """Take an event."""
        match event:
            case RouteNeeded(opening, link_is_coming):
                return self._need(opening, link_is_coming)
            case RouteNeedless():
                return self._stop()
            case RouteAnswered():
                self._answered = self._attempt
                return ()
            case RouteFailed(reason):
                self._cause = reason
                return self._again(random)
            case RouteRefused(code, text):
                return self._refused(code, text, random)
            case TimerFired(key):
                return self._fired(key)

    def _need(self, opening: bool, link_is_coming: bool) -> Sequence[Effect]:
        effects: list[Effect] = []
        self._needed = True
        if opening and not self._opening:
            self._opening = True
            effects.append(SetDeadline(_PATIENCE, self._parameters.patience))
        if self._attempt:
            return effects
        if link_is_coming:
            if not self._timed:
                self._timed = self._waits = True
                effects.append(SetTimer(_REDIAL, self._parameters.head_start))
        elif not self._timed or self._waits:
            # Not in the pause after a failure: what is new to carry makes no way.
            effects += self._dial()
        return effects

    def _dial(self) -> list[Effect]:
        effects: list[Effect] = [CancelTimer(_REDIAL)] if self._timed else []
        self._timed = self._waits = self._answered = False
        self._attempt = True
        return [*effects, DialRoute(self._parameters.dial_timeout)]

    def _stop(self) -> list[Effect]:
        effects: list[Effect] = [CancelTimer(_REDIAL), CancelTimer(_PATIENCE)]
        if self._attempt:
            effects.append(CancelRoute())
        self._attempt = self._needed = self._opening = self._overdue = self._timed = self._waits = False
        self._failures = 0
        self._cause = "timeout"
        return effects

    def _refused(self, code: int, text: str, random: Random) -> Sequence[Effect]:
        self._cause = f"refused: {text}"
        if code == RefusalCode.SIMULTANEOUS and self._needed:
            self._attempt = False
            self._timed = True
            return (SetTimer(_REDIAL, self._parameters.give_way),)
        if self._opening and code not in _PASSING:
            self._attempt = False
            return self._give_up()
        return self._again(random)

    def _again(self, random: Random) -> Sequence[Effect]:
        self._attempt = False
        if not self._needed:
            return ()
        if self._overdue:
            return self._give_up()
        parameters = self._parameters
        # The exponent is bounded, as 2 ** 2000 is no float.
        pause = min(parameters.first_pause * 2 ** min(self._failures, 30), parameters.longest_pause)
        self._failures += 1
        self._timed = True
        return (SetTimer(_REDIAL, pause * random.uniform(0.75, 1.0)),)

    def _fired(self, key: object) -> Sequence[Effect]:
        if key == _PATIENCE:
            if self._opening and self._attempt and self._answered:
                self._overdue = True
                return ()
            return self._give_up() if self._opening else ()
        self._timed = False
        if self._overdue and not self._attempt:
            return self._give_up()
        return self._dial() if self._needed and not self._attempt else ()

    def _give_up(self) -> list[Effect]:
        cause = self._cause
        return [*self._stop(), RouteGivenUp(cause)]
