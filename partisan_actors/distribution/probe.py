"""Looking whether a node answers at its addresses, and how quickly, without becoming connected to it.

Promised: `done` is called exactly once, later, with the hello of whoever answered by that name, or with None and the
reason why nobody did: REFUSED only when every address refuses, or somebody else answers there; BUSY when somebody
answers that there is no time. Nothing of the answer is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from partisan_actors.distribution.attempt import Attempt, AttemptOwner, Failed, Outcome, Rejected
from partisan_actors.distribution.dialling import BUSY, NO_TIME, REFUSED
from partisan_actors.wire.handshake import Hello, Purpose

__all__ = ["Probe", "ProbeDone", "ProbeOwner"]

ProbeDone = Callable[[Hello | None, str, float], None]
"""Given the hello, or None and why there is none; and the seconds that it took to connect."""

_DIAL_TIMEOUT = 3.0


class ProbeOwner(AttemptOwner, Protocol):
    """What a probe needs."""

    def probe_over(self, probe: Probe) -> None:
        """It is over, or cancelled."""


class Probe:
    """Tries one address after the other when made."""

    __slots__ = ("_addresses", "_attempt", "_done", "_node", "_owner", "_reason")

    def __init__(self, owner: ProbeOwner, node: str, addresses: Sequence[str], done: ProbeDone) -> None:
        self._owner = owner
        self._node = node
        self._addresses = list(addresses)
        self._done: ProbeDone | None = done
        self._reason = REFUSED
        self._attempt: Attempt | None = None
        self._next()

    def cancel(self) -> None:
        """Give up; nobody is told."""
        self._done = None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        self._owner.probe_over(self)

    def _next(self) -> None:
        address = self._addresses.pop(0)
        self._attempt = Attempt(self._owner, address, _DIAL_TIMEOUT, self._node, Purpose.PROBE, self._outcome)

    def _outcome(self, outcome: Outcome) -> None:
        attempt, self._attempt = self._attempt, None
        assert attempt is not None
        match outcome:
            case Rejected(_, _, Hello() as peer):
                self._finish(peer, "", attempt.round_trip)
                return
            case Rejected(refusal, by_us) if refusal.code in NO_TIME:
                self._reason = "timeout" if by_us else BUSY
            case Rejected(refusal):
                self._reason = f"refused: {refusal}"
            case Failed(reason) if reason != REFUSED and self._reason != BUSY:
                self._reason = reason
        if self._addresses and self._done is not None:
            self._next()
        else:
            self._finish(None, self._reason, 0.0)

    def _finish(self, peer: Hello | None, reason: str, seconds: float) -> None:
        done, self._done = self._done, None
        self._owner.probe_over(self)
        if done is not None:
            done(peer, reason, seconds)
