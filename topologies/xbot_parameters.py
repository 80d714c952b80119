"""The parameters of X-BOT: HyParView's, and what an exchange of links is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from partisan_actors.topologies.hyparview_parameters import HyParViewParameters, positive
from partisan_actors.topologies.xbot_costs import CostFunction

__all__ = ["XBotParameters"]


@dataclass(frozen=True, kw_only=True)
class XBotParameters(HyParViewParameters):
    """What X-BOT is told, besides HyParView's parameters. Raises ValueError, naming the field."""

    cost: CostFunction | None = None
    """Of two nodes' names: what a link between them costs. Without it that is the round trip, measured."""

    unbiased: int = 1
    """How many of a node's links are left as chance made them (the paper's mu): they keep clusters together."""

    scan: int = 2
    """How many names of the passive view are looked at in a round (passive scan length, psl)."""

    interval: float = 20.0
    """Seconds from one round to the next, give or take a quarter: two shuffles, so that there are new names."""

    exchange_timeout: float = 10.0
    """Seconds after which an exchange that has not come to its end is undone."""

    cost_age: float = 600.0
    """Seconds for which a measured round trip holds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cost is not None and not callable(self.cost):
            raise ValueError(f"cost is no function: {self.cost!r}")
        for field in ("unbiased", "scan"):
            value = getattr(self, field)
            if type(value) is not int or value < (0 if field == "unbiased" else 1):
                raise ValueError(f"{field} is not a whole number, or too small: {value!r}")
        for field in ("interval", "exchange_timeout", "cost_age"):
            positive(field, getattr(self, field))
        relations = {
            "unbiased < active_size": self.unbiased < self.active_size,
            "scan <= passive_size": self.scan <= self.passive_size,
            "interval <= cost_age": self.interval <= self.cost_age,
        }
        for relation, holds in relations.items():
            if not holds:
                raise ValueError(f"{relation} does not hold")

    def parameters(self) -> Mapping[str, Any]:
        """What makes an equal one, but for the tag.

        Raises:
            ValueError: there is a cost function, which cannot be sent: all nodes have to be started with it.
        """
        if self.cost is not None:
            raise ValueError(
                "XBot(cost=...) has a function, which cannot be sent: a running cluster cannot switch to it"
            )
        own = ("unbiased", "scan", "interval", "exchange_timeout", "cost_age")
        return {**super().parameters(), **{field: getattr(self, field) for field in own}}
