"""The driver of `dialling`: performs what the machine of one peer decides."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from partisan_actors.distribution.attempt import Attempt, AttemptOwner, Failed, Outcome, Rejected, Succeeded
from partisan_actors.distribution.dialling import (
    CancelDial,
    Dial,
    DialFailed,
    Dialling,
    DiallingParameters,
    DialRefused,
    Effect,
    Established,
    Event,
    Verdict,
)
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.machine import CancelTimer, SetDeadline, SetTimer, TimerFired
from partisan_actors.wire.handshake import Purpose, Refusal, RefusalCode

__all__ = ["Dialler", "DiallerEvents", "DiallerOwner"]

_OBJECTION = "objection"


class DiallerOwner(AttemptOwner, Protocol):
    """What a dialler needs."""

    def objection_to_dial(self, node: str, address: str) -> Refusal | None:
        """Why `node` is not to be dialled at `address` now; None when it is."""


class DiallerEvents(Protocol):
    """Whom a dialler tells."""

    def verdict(self, dialler: Dialler, reason: str) -> None:
        """There is no link to the peer."""

    def dialler_idle(self, dialler: Dialler) -> None:
        """It has nothing left to do."""


class Dialler:
    """Keeps one peer connected, or finds that it cannot."""

    __slots__ = ("_events", "_machine", "_objection", "_owner", "_tells", "_timers", "attempt", "node")

    def __init__(self, owner: DiallerOwner, tells: DiallerEvents, node: str, parameters: DiallingParameters) -> None:
        self.node = node
        self.attempt: Attempt | None = None
        self._owner = owner
        self._tells = tells
        self._machine = Dialling(parameters)
        self._timers = KeyedTimers(owner.clock, self._fired)
        self._objection: Refusal | None = None  # to the dial that the machine takes to be under way
        # What happens while effects are performed waits: a verdict ends a session, and its end is an event here.
        self._events: deque[Event] = deque()

    @property
    def wanted(self) -> bool:
        """Whether the peer is to be kept connected."""
        return self._machine.wanted

    @property
    def deciding(self) -> bool:
        """Whether the verdict is still to come: a link may be made meanwhile."""
        return self._machine.deciding

    def feed(self, event: Event) -> None:
        """Let the machine take an event."""
        self._events.append(event)
        if len(self._events) > 1:
            return
        while self._events:
            for effect in self._machine.step(self._events[0], self._owner.clock.random):
                self._perform(effect)
            self._events.popleft()
        if self._machine.idle:
            self._tells.dialler_idle(self)

    def established(self, addresses: tuple[str, ...], attempt: Attempt | None) -> None:
        """A connection to the peer is proven, and came from `attempt` if we dialled."""
        dialled = attempt is not None and attempt is self.attempt
        if dialled:
            self.attempt = None
        self.feed(Established(addresses, dialled))

    def close(self) -> None:
        """Stop without a word."""
        self._timers.close()
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Dial(address, timeout):
                self._objection = self._owner.objection_to_dial(self.node, address)
                if self._objection is not None:
                    # Later, as the outcome of any other attempt.
                    self._timers.set(_OBJECTION, 0.0)
                    return
                self.attempt = Attempt(self._owner, address, timeout, self.node, Purpose.LINK, self._outcome)
            case CancelDial():
                self._timers.cancel(_OBJECTION)
                attempt, self.attempt = self.attempt, None
                if attempt is not None:
                    attempt.cancel()
            case SetTimer(key, seconds):
                self._timers.set(key, seconds)
            case SetDeadline(key, seconds):
                self._timers.set_deadline(key, seconds)
            case CancelTimer(key):
                self._timers.cancel(key)
            case Verdict(reason):
                self._tells.verdict(self, reason)

    def _fired(self, event: TimerFired) -> None:
        if event.key == _OBJECTION and self._objection is not None:
            self.feed(DialRefused(self._objection.code, str(self._objection)))
        else:
            self.feed(event)

    def _outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                # Known by `established`, before the session was told of.
                pass
            case Failed(reason):
                self.attempt = None
                self.feed(DialFailed(reason))
            case Rejected(refusal, by_us) if by_us and refusal.code == RefusalCode.EXPIRED:
                self.attempt = None
                self.feed(DialFailed("timeout"))
            case Rejected(refusal):
                self.attempt = None
                self.feed(DialRefused(refusal.code, str(refusal)))
