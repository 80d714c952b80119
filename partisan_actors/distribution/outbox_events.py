"""What an outbox is told and tells: its limits, its effects, and what it is given back after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.processes.identity import Life
from partisan_actors.wire.signals import Acknowledged

__all__ = ["Append", "Effect", "Failed", "Forget", "OutboxParameters", "Restored", "Room", "Send"]


@dataclass(frozen=True, slots=True)
class OutboxParameters:
    """The limits of the outboxes, for each destination; times are seconds. Raises ValueError for what cannot be."""

    time_limit: float = 60.0
    """How long a message is tried for."""

    max_messages: int = 10_000
    max_bytes: int = 16 << 20
    """Senders are to wait from either of these on, until half of both ..."""

    hard_factor: int = 4
    """... and from so many times these on, nothing more is taken."""

    destinations: int = 8192
    """Outboxes in all. Those of nodes with a session stay, the others until what is in them has had its time."""

    window_bytes: int = 2 << 20
    """What is on its way at most, unless one message alone is larger."""

    resend_after: float = 5.0
    resend_cap: float = 30.0
    """Without any acknowledgement in a session for so long, it is sent again: at first, and at most."""

    jitter: float = 0.25
    """These two are longer or shorter by chance, by up to this part."""

    def __post_init__(self) -> None:
        relations = {
            "0 < resend_after <= resend_cap": 0 < self.resend_after <= self.resend_cap,
            "0 < time_limit": self.time_limit > 0,
            "0 <= jitter < 1": 0 <= self.jitter < 1,
            "2 <= max_messages": self.max_messages >= 2,
            "1 <= hard_factor": self.hard_factor >= 1,
            "1 <= destinations": self.destinations >= 1,
            "1 <= window_bytes <= max_bytes": 1 <= self.window_bytes <= self.max_bytes,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"outbox parameters: {relation} does not hold")


class Send(NamedTuple):
    """Effect: send `message` over the present session, with this extension."""

    message: Any
    acknowledged: Acknowledged


class Append(NamedTuple):
    """Effect: log this message; then `logged`, or `withdraw`."""

    number: int
    message: Any
    life: Life | None


class Forget(NamedTuple):
    """Effect: the log needs these numbers no more. Lazily will do."""

    numbers: Sequence[int]


class Failed(NamedTuple):
    """Effect: tell `owner`, who gave the message, that it was given up.

    Reasons: "noconnection" and "timeout" (the time limit, without and with a session), "noproc" (the process, or the
    life that it was of, is no more), "expired" (the receiver cannot tell any more whether it had it), "undecodable",
    "refused", "unsupported" (an older version), "full", or what `close` was told.
    """

    owner: Any
    number: int
    reason: str


class Room(NamedTuple):
    """Effect: the outbox is no longer congested; let senders go on."""


Effect = Send | Append | Forget | Failed | Room | SetTimer | CancelTimer


class Restored(NamedTuple):
    """A message that a log has kept over a restart."""

    number: int
    message: Any
    size: int
    life: Life | None
    remaining: float  # seconds of its time limit that are left
