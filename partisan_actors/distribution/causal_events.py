"""The events and effects of `causal`, and its bounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Abandon", "CausalParameters", "Deliver", "Effect", "Outcome", "Sent", "Tell"]


@dataclass(frozen=True, slots=True)
class CausalParameters:
    """How much may wait at one node for one label. Raises ValueError for what is not above 0."""

    max_buffered: int = 10_000
    """Messages."""

    max_bytes: int = 64 << 20
    """Their sizes, as `receive` is told them."""

    max_flushes: int = 10_000
    """Of one channel, that wait for their turn: far more than nodes can die before one death is settled."""

    def __post_init__(self) -> None:
        for name in ("max_buffered", "max_bytes", "max_flushes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"causal order: {name} is {getattr(self, name)}, and has to be above 0")


class Deliver(NamedTuple):
    """Effect: this message, which `receive` was given, is due."""

    sender: str
    message: Any


class Tell(NamedTuple):
    """Effect: `receive` of that member's machine is to get this, sooner or later."""

    member: str
    item: tuple[Any, ...]


class Abandon(NamedTuple):
    """Effect: what was sent to that member before this and is not taken yet will never be; Tells too."""

    member: str


Effect = Deliver | Tell | Abandon


class Outcome(NamedTuple):
    """What became of something received.

    taken: to be acknowledged. Otherwise there was no room for it, or it is for or from a life that is over: the
        sender keeps it until it is taken, given up, or abandoned.
    """

    taken: bool
    effects: list[Effect]


class Sent(NamedTuple):
    """A message that is in the order now.

    stamps: what has to go with it, for each member that it goes to.
    here: this node is a destination, too; it is due at once.
    unreachable: destinations that are not up. It is no message to them: they are to be reported undelivered.
    """

    stamps: list[tuple[str, tuple[Any, ...]]]
    here: bool
    unreachable: list[str]
