"""Joining by an address, when it is not known who answers there.

Promised: `done` is called exactly once, within the time limit, with a session or with the reason why there is none.
What waiting may cure is tried again until then: a node that is busy, one that dials us at that moment, a connection
that broke. What it does not cure is told at once; a refused connection after one more try.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from partisan_actors.distribution.attempt import Attempt, AttemptOwner, Failed, Outcome, Rejected, Succeeded
from partisan_actors.distribution.dialling import REFUSED
from partisan_actors.distribution.keyed_timers import KeyedTimers
from partisan_actors.distribution.live_session import Session
from partisan_actors.distribution.machine import TimerFired
from partisan_actors.wire.handshake import Purpose, RefusalCode

__all__ = ["Contact", "ContactOwner", "JoinFailure"]

_log = structlog.get_logger("partisan_actors")

_RETRY = "retry"
_LIMIT = "limit"

RETRY_AFTER = 0.2
LONGEST_ATTEMPT = 5.0

_PASSING = frozenset({RefusalCode.BUSY, RefusalCode.SIMULTANEOUS, RefusalCode.EXPIRED})
_REASONS = {
    RefusalCode.COOKIE: "cookie",
    RefusalCode.VERSION: "version",
    RefusalCode.TOPOLOGY: "topology",
    RefusalCode.NAME: "name",
    RefusalCode.SELF: "name",
    RefusalCode.TLS: "tls",
    RefusalCode.FULL: "full",
}


_SEE_WHO_IS_THERE = "see that a member of the cluster listens at that address, and that this node can reach it"
_ADVICE: dict[int, str] = {
    RefusalCode.COOKIE: "give all nodes of a cluster the same cookie",
    RefusalCode.VERSION: "install versions of partisan_actors on the two that have a protocol in common",
    RefusalCode.TOPOLOGY: "start this node with the topology that the cluster runs with",
    RefusalCode.NAME: "give this node another name, or stop the one that has it",
    RefusalCode.SELF: "give the address of another node",
    RefusalCode.TLS: "use TLS on all nodes of a cluster or on none, each with a certificate for its own name",
}


class JoinFailure(NamedTuple):
    """Why an address could not be joined."""

    reason: str
    """"cookie", "unreachable", "version", "topology", "name", "tls" or "full"."""

    text: str
    """The address, why, and where somebody can do something about it what that is."""

    epoch: int = 0
    """With "name": the epoch that another life of our name is known with, if one is; a new life has to be above."""


class ContactOwner(AttemptOwner, Protocol):
    """What a contact needs."""

    def session(self, node: str) -> Session | None:
        """The live session with `node`."""

    def contact_over(self, contact: Contact) -> None:
        """It is over."""


class Contact:
    """Tries when made."""

    __slots__ = (
        "_address",
        "_attempt",
        "_cause",
        "_done",
        "_expected",
        "_over",
        "_owner",
        "_refused",
        "_timers",
        "_until",
    )

    def __init__(
        self, owner: ContactOwner, address: str, done: Callable[[Session | JoinFailure], None], timeout: float | None
    ) -> None:
        self._owner = owner
        self._address = address
        self._done = done
        self._until = owner.clock.now() + timeout if timeout is not None else math.inf
        self._timers = KeyedTimers(owner.clock, self._fired)
        self._attempt: Attempt | None = None
        self._expected: str | None = None  # who answers there, once that is known to matter
        self._refused = False
        self._over = False
        self._cause = "no answer"
        if timeout is not None:
            self._timers.set(_LIMIT, timeout)
        self._try()

    def fail(self, text: str) -> None:
        """Give up."""
        self._finish(JoinFailure("unreachable", f"{self._address}: {text}"))

    def _try(self) -> None:
        remaining = max(self._until - self._owner.clock.now(), 0.1)
        self._attempt = Attempt(
            self._owner, self._address, min(remaining, LONGEST_ATTEMPT), self._expected, Purpose.JOIN, self._outcome
        )

    def _fired(self, event: TimerFired) -> None:
        if event.key == _RETRY:
            self._try()
        else:
            self.fail(f"not within the time limit; the last attempt: {self._cause}; {_SEE_WHO_IS_THERE}")

    def _outcome(self, outcome: Outcome) -> None:
        self._attempt = None
        match outcome:
            case Succeeded(session) if session.ended is not None:
                # By who was told that it started.
                self.fail(f"the session ended at once: {session.ended}")
            case Succeeded(session):
                self._finish(session)
            case Failed(reason):
                self._failed(reason)
            case Rejected(refusal) if refusal.code in _PASSING:
                self._cause = str(refusal)
                self._rejected_for_now(outcome)
            case Rejected(refusal, by_us):
                by = "refused by this node" if by_us else "refused"
                reason = _REASONS.get(refusal.code, "unreachable")  # type: ignore[call-overload]
                epoch = refusal.detail if refusal.code == RefusalCode.NAME and not by_us else 0
                advice = f"; {_ADVICE[refusal.code]}" if refusal.code in _ADVICE else ""
                self._finish(JoinFailure(reason, f"{self._address}: {by}: {refusal}{advice}", epoch))

    def _failed(self, reason: str) -> None:
        self._cause = "connection refused" if reason == REFUSED else reason
        if reason == REFUSED and self._refused:
            self.fail(f"connection refused; {_SEE_WHO_IS_THERE}")
            return
        self._refused = reason == REFUSED
        self._timers.set(_RETRY, RETRY_AFTER)

    def _rejected_for_now(self, outcome: Rejected) -> None:
        if outcome.peer is not None and outcome.refusal.code == RefusalCode.SIMULTANEOUS:
            session = self._owner.session(outcome.peer.node)
            if session is not None and session.direct and session.answers and session.peer == outcome.peer.life:
                # The node is connected already, or its own dial was quicker.
                self._finish(session)
                return
            # The next hello can say which session is to go on.
            self._expected = outcome.peer.node
        self._timers.set(_RETRY, RETRY_AFTER)

    def _finish(self, result: Session | JoinFailure) -> None:
        if self._over:
            return
        self._over = True
        self._timers.close()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        self._owner.contact_over(self)
        try:
            self._done(result)
        except Exception as error:
            _log.error("contact_callback_failed", address=self._address, reason=repr(error), exc_info=error)
