"""What peers that have not proved themselves may cost: connections, and lines in the log. Pure.

Promised: never more than `pending` connections in their handshake, nor more than `pending_from_one` from one
address; and never more than `lines` log lines in `seconds` seconds for one address and reason, whatever happens.
What is left out is counted, and the count is logged when the time is over.

An address here is a host without the port, and for unix sockets the user: what a stranger cannot change at will.

Effects of the log: `Line`, `SetTimer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from partisan_actors.distribution.machine import SetTimer, TimerFired

__all__ = ["Line", "RefusalLog", "StrangerParameters", "Strangers", "host_of"]

_SUMMARY = "summary"
_OTHERS = "other addresses"


@dataclass(frozen=True, slots=True)
class StrangerParameters:
    """Limits for connections that are not proven."""

    pending: int = 256
    """Connections in their handshake, of those that dialled us."""

    pending_from_one: int = 16
    """Of them, from one address."""

    prove_within: float = 4.0
    """Seconds until a connection has to be proven."""

    lines: int = 5
    seconds: float = 10.0
    """Log lines for one address and reason, in so many seconds."""

    remembered: int = 1024
    """Pairs of address and reason that are told apart in that time; those beyond are counted together."""

    def __post_init__(self) -> None:
        if not 0 < self.pending_from_one <= self.pending:
            raise ValueError(f"pending_from_one ({self.pending_from_one}) must be above 0 and at most pending")
        if min(self.prove_within, self.seconds) <= 0 or min(self.lines, self.remembered) < 1:
            raise ValueError("prove_within, seconds, lines and remembered must be above 0")


def host_of(address: str) -> str:
    """The part of a peer's address that tells strangers apart; of a route, whom it says to come from."""
    if address.startswith("route:"):
        return address
    if address.startswith("unix:"):
        return address.partition(",")[0]
    return address.rpartition(":")[0] or address


class Strangers:
    """Counts the connections that are in their handshake."""

    __slots__ = ("_from", "_parameters", "pending")

    def __init__(self, parameters: StrangerParameters) -> None:
        self.pending = 0
        self._parameters = parameters
        self._from: dict[str, int] = {}

    def admit(self, host: str) -> str | None:
        """Count one more from `host`, or say why it is one too many. `leave` has to follow each that was counted."""
        if self.pending >= self._parameters.pending:
            return "too many unproven connections"
        here = self._from.get(host, 0)
        if here >= self._parameters.pending_from_one:
            return "too many unproven connections from this address"
        self._from[host] = here + 1
        self.pending += 1
        return None

    def leave(self, host: str) -> None:
        """One that was counted is proven, or gone."""
        self.pending -= 1
        if self._from[host] == 1:
            del self._from[host]
        else:
            self._from[host] -= 1


class Line(NamedTuple):
    """Write a line to the log; with `times`, for so many refusals that had none."""

    host: str
    reason: str
    address: str  # with the port, where it is the line of one connection
    detail: str = ""
    times: int = 1


class RefusalLog:
    """Decides which refusals are worth a line."""

    __slots__ = ("_counts", "_parameters")

    def __init__(self, parameters: StrangerParameters) -> None:
        self._parameters = parameters
        # How often, by address and reason, since the timer was set. It runs exactly when there is one.
        self._counts: dict[tuple[str, str], int] = {}

    def refused(self, address: str, reason: str, detail: str = "") -> Sequence[Line | SetTimer]:
        """Take a refusal, or another failure, of a connection with `address`.

        Args:
            reason: one of a small set, not a stranger's text: lines are counted by it.
            detail: goes with the line.
        """
        host = host_of(address)
        effects: list[Line | SetTimer] = [] if self._counts else [SetTimer(_SUMMARY, self._parameters.seconds)]
        key = (host, reason)
        if key not in self._counts and len(self._counts) >= self._parameters.remembered:
            key = (_OTHERS, reason)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count <= self._parameters.lines:
            effects.append(Line(host, reason, address, detail))
        return effects

    def step(self, event: TimerFired) -> Sequence[Line]:
        """The time is over: what had no line gets one together."""
        assert event.key == _SUMMARY
        return self.finish()

    def finish(self) -> Sequence[Line]:
        """What had no line so far."""
        counts, self._counts = self._counts, {}
        lines = self._parameters.lines
        return [
            Line(host, reason, host, "more of the same", count - lines)
            for (host, reason), count in counts.items()
            if count > lines
        ]
