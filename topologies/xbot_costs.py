"""What links cost, for X-BOT: a user's function says, or the driver measures, and the answers are kept for a while."""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import inf, isfinite
from typing import TypeAlias

__all__ = ["CostFunction", "Costs"]

CostFunction: TypeAlias = Callable[[str, str], float]
"""Of two nodes, this one first: what a link costs, 0 or more. Pure and quick; the same in both directions."""

_PATIENCE = 30.0  # seconds for a measurement to come


class Costs:
    """The costs of one node's links, of which it knows some.

    Args:
        keep: seconds for which what was measured holds.
    """

    __slots__ = ("_function", "_keep", "_known", "_node", "_since")

    def __init__(self, node: str, function: CostFunction | None, keep: float) -> None:
        self._node = node
        self._function = function
        self._keep = keep
        self._known: dict[str, tuple[float, float]] = {}  # cost, and when it was measured
        self._since: dict[str, float] = {}  # what is being measured, and since when

    def get(self, node: str, now: float) -> float | None:
        """What a link to this node costs, infinity if it cannot be had; None when it has to be measured."""
        if self._function is not None:
            try:
                cost = float(self._function(self._node, node))
            except Exception:  # a fault of the user's function keeps the link from being optimised, nothing else
                return inf
            return cost if isfinite(cost) and cost >= 0 else inf
        known = self._known.get(node)
        return known[0] if known is not None and now - known[1] <= self._keep else None

    def to_measure(self, node: str, now: float) -> bool:
        """Whether to measure it now; if so, that is taken as begun."""
        since = self._since.get(node)
        if self.get(node, now) is not None or (since is not None and now - since < _PATIENCE):
            return False
        self._since[node] = now
        return True

    def measured(self, node: str, seconds: float, now: float) -> bool:
        """Take an answer in; whether it is one to a question."""
        if self._since.pop(node, None) is None:
            return False
        number = isinstance(seconds, int | float) and seconds >= 0
        self._known[node] = (float(seconds) if number else inf, now)
        return True

    def forget(self, but: Collection[str], now: float) -> None:
        """Drop what is of no more use: what is old, or of none of these."""
        self._known = {
            node: known for node, known in self._known.items() if node in but and now - known[1] <= self._keep
        }
        self._since = {node: since for node, since in self._since.items() if now - since < _PATIENCE}
