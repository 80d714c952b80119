"""Members that were not reached for want of time, ours or theirs: not suspected yet, and looked after again.

A node that works at its limit would take others for dead, and everybody had more to do for it (Lifeguard, section 3).
So what a late node did not hear in time says nothing, for `_LONGEST` seconds: one that is always late finds out as well
who is gone, and only later. One that answers that it has no time is there, for as long as it says so.

What proves something in no time is no matter of doubt: a machine that refuses, a live link over which nothing came, a
refusal for a reason, another life of the name. Not known here: how somebody is looked after. Pure.
"""

from __future__ import annotations

from partisan_actors.cluster.suspicion import LocalHealth
from partisan_actors.cluster.view_events import BUSY, NEWER_LIFE, REFUSED, SILENT

__all__ = ["DOUBTED", "Doubts"]

DOUBTED = "doubted"
"""What the key of the timer for one of them begins with."""

_LONGEST = 60.0

_PROOFS = frozenset({REFUSED, SILENT, NEWER_LIFE})


class Doubts:
    """Those of one node."""

    __slots__ = ("_health", "_since")

    def __init__(self, health: LocalHealth) -> None:
        self._health = health
        self._since: dict[str, float] = {}  # by name, when this node was first too late for it

    def may_be_there(self, reason: str) -> bool:
        """Whether one that was not reached for `reason` may be there all the same."""
        if reason == BUSY:
            return True
        return self._health.is_late and reason not in _PROOFS and not reason.startswith("refused: ")

    def excuses(self, node: str, reason: str, now: float) -> bool:
        """Whether this one is not to be suspected for that yet, but to be looked after again."""
        if not self.may_be_there(reason):
            return False
        if reason == BUSY:
            self._since.pop(node, None)
            return True
        return now - self._since.setdefault(node, now) < _LONGEST

    def settled(self, node: str) -> None:
        """It was reached, or is suspected, or a member no more."""
        self._since.pop(node, None)
