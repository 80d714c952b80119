"""The driver of `route_dialling`: performs what the machine of one peer decides."""

from __future__ import annotations

from typing import Protocol

from partisan_actors.distribution.attempt import Attempt, Failed, Outcome, Rejected, Succeeded
from partisan_actors.distribution.conduits import route_to
from partisan_actors.distribution.dialler import DiallerOwner
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetDeadline, SetTimer, TimerFired
from partisan_actors.distribution.route_dialling import (
    CancelRoute,
    DialRoute,
    Effect,
    Event,
    RouteAnswered,
    RouteDialling,
    RouteFailed,
    RouteGivenUp,
    RouteNeedless,
    RouteParameters,
    RouteRefused,
)
from partisan_actors.wire.handshake import Purpose

__all__ = ["RouteDialler", "RouteDiallerEvents"]


class RouteDiallerEvents(Protocol):
    """Whom a dialler of routes tells."""

    def route_given_up(self, dialler: RouteDialler, reason: str) -> None:
        """No session can be had by a route."""

    def route_idle(self, dialler: RouteDialler) -> None:
        """It has nothing left to do."""


class RouteDialler:
    """Reaches one peer over others, or finds that it cannot."""

    __slots__ = ("_attempt", "_machine", "_owner", "_tells", "_timers", "node")

    def __init__(self, owner: DiallerOwner, tells: RouteDiallerEvents, node: str, parameters: RouteParameters) -> None:
        self.node = node
        self._owner = owner
        self._tells = tells
        self._attempt: Attempt | None = None
        self._machine = RouteDialling(parameters)
        self._timers = KeyedTimers(owner.clock, self._fired)

    def feed(self, event: Event) -> None:
        """Let the machine take an event."""
        for effect in self._machine.step(event, self._owner.clock.random):
            self._perform(effect)
        if self._machine.idle:
            self._tells.route_idle(self)

    def connected(self, attempt: Attempt | None) -> None:
        """A connection to the peer is proven, of whatever kind, and came from `attempt` if we dialled."""
        if attempt is not None and attempt is self._attempt:
            self._attempt = None
        self.feed(RouteNeedless())

    def close(self) -> None:
        """Stop without a word."""
        self._timers.close()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _fired(self, event: TimerFired) -> None:
        if self._attempt is not None and self._attempt.link is not None:
            self.feed(RouteAnswered())  # told when it may matter
        self.feed(event)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case DialRoute(timeout):
                self._dial(timeout)
            case CancelRoute():
                attempt, self._attempt = self._attempt, None
                if attempt is not None:
                    attempt.cancel()
            case SetTimer(key, seconds):
                self._timers.set(key, seconds)
            case SetDeadline(key, seconds):
                self._timers.set_deadline(key, seconds)
            case CancelTimer(key):
                self._timers.cancel(key)
            case RouteGivenUp(reason):
                self._tells.route_given_up(self, reason)

    def _dial(self, timeout: float) -> None:
        address = route_to(self.node)
        objection = self._owner.objection_to_dial(self.node, address)
        if objection is None:
            self._attempt = Attempt(self._owner, address, timeout, self.node, Purpose.LINK, self._outcome)
        else:
            # Later, as the outcome of any other attempt.
            self._owner.clock.call_soon(self.feed, RouteRefused(objection.code, str(objection)))

    def _outcome(self, outcome: Outcome) -> None:
        self._attempt = None
        match outcome:
            case Succeeded():
                pass  # known by `connected`, before the session was told of
            case Failed(reason):
                self.feed(RouteFailed(reason))
            case Rejected(refusal):
                self.feed(RouteRefused(refusal.code, str(refusal)))
