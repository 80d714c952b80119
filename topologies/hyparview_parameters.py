"""The parameters of HyParView, under the paper's names, and what must hold between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HyParViewParameters", "positive"]


@dataclass(frozen=True, kw_only=True)
class HyParViewParameters:
    """What HyParView is told; the defaults are the paper's for 10,000 nodes. Raises ValueError, naming the field."""

    active_size: int = 5
    """The neighbours of a node, at most: log(n) + c, one more than the fanout."""

    passive_size: int = 30
    """The names that a node keeps for the day on which a neighbour fails: six times as many."""

    arwl: int = 6
    """Active random walk length: how many steps a newcomer's name and a shuffle go, at most."""

    prwl: int = 3
    """Passive random walk length: with so many steps left a newcomer's name goes into a passive view."""

    shuffle_active: int = 3
    """How many neighbours a shuffle names (the paper's ka)."""

    shuffle_passive: int = 4
    """How many names of the passive view a shuffle holds (kp)."""

    shuffle_interval: float = 10.0
    """Seconds from one shuffle to the next, give or take a quarter; up to four times as many while nothing changes."""

    answer_timeout: float = 5.0
    """Seconds that a candidate with a link has to answer; looked at once in each shuffle interval."""

    reserved: Mapping[str, int] | tuple[tuple[str, int], ...] = ()
    """Of the active view: so many slots are for members with this tag only. Kept as a sorted tuple of pairs."""

    tag: str = ""
    """This node's own tag, for the reserved slots of others. It lasts over a switch to a topology without one."""

    def __post_init__(self) -> None:
        reserved = self.reserved
        pairs = tuple(sorted(reserved.items() if isinstance(reserved, Mapping) else reserved))
        object.__setattr__(self, "reserved", pairs)
        for field in ("active_size", "passive_size", "arwl", "prwl", "shuffle_active", "shuffle_passive"):
            value = getattr(self, field)
            if type(value) is not int or value < (0 if field == "prwl" else 1):
                raise ValueError(f"{field} is not a whole number, or too small: {value!r}")
        for field in ("shuffle_interval", "answer_timeout"):
            positive(field, getattr(self, field))
        for tag, slots in pairs:
            if not isinstance(tag, str) or not tag or type(slots) is not int or slots < 1:
                raise ValueError(f"reserved is not of tags and numbers of slots: {tag!r}: {slots!r}")
        if not isinstance(self.tag, str):
            raise ValueError(f"tag is no text: {self.tag!r}")
        relations = {
            "prwl <= arwl": self.prwl <= self.arwl,
            "shuffle_active <= active_size": self.shuffle_active <= self.active_size,
            "shuffle_passive <= passive_size": self.shuffle_passive <= self.passive_size,
            # A node that belongs to no tag has to get in as well.
            "the slots of reserved < active_size": sum(slots for _, slots in pairs) < self.active_size,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"{relation} does not hold")

    @property
    def slots(self) -> tuple[tuple[str, int], ...]:
        """The reserved slots: tags, sorted, and how many for each."""
        return tuple(dict(self.reserved).items())

    def parameters(self) -> Mapping[str, Any]:
        """What makes an equal one but for the tag, which is of one node alone."""
        return {
            "active_size": self.active_size,
            "passive_size": self.passive_size,
            "arwl": self.arwl,
            "prwl": self.prwl,
            "shuffle_active": self.shuffle_active,
            "shuffle_passive": self.shuffle_passive,
            "shuffle_interval": self.shuffle_interval,
            "answer_timeout": self.answer_timeout,
            "reserved": dict(self.reserved),
        }


def positive(field: str, value: object) -> None:
    """Raise ValueError, naming the field, unless the value is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{field} is no number above 0: {value!r}")
