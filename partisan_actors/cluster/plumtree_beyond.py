"""Which members a node asks that are none of its neighbours, when these cannot help it.

Those first whom it has known longest: whoever was a member before it came has what is for it. Each once, and then all
of them again. Pure.
"""

from __future__ import annotations

from collections.abc import Container

__all__ = ["Beyond"]

_MOST_GONE = 1000  # names that keep their place, of those that are down


class Beyond:
    """The members, in the order in which they became known."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._members: dict[str, bool] = {}  # whether they are up
        self._gone = 0  # how many are not
        self._asked: set[str] = set()

    def __contains__(self, node: str) -> bool:
        return self._members.get(node, False)

    def member_up(self, node: str) -> None:
        """`node` is a member, or is again."""
        if node != self._own:
            self._gone -= self._members.get(node) is False
            self._members[node] = True

    def member_down(self, node: str) -> None:
        """It is not any more. It keeps its place for the time when it is back."""
        if self._members.get(node):
            self._members[node] = False
            self._gone += 1
            self._asked.discard(node)
            if self._gone > _MOST_GONE:
                oldest = next(name for name, up in self._members.items() if not up)
                del self._members[oldest]
                self._gone -= 1

    def any_but(self, these: Container[str]) -> bool:
        """Whether there are members other than these."""
        return any(up and node not in these for node, up in self._members.items())

    def next(self, count: int, but: Container[str]) -> list[str]:
        """So many of them at most, whose turn it is, without some."""
        turn: list[str] = []
        for again in (False, True):
            for node, up in self._members.items():
                if len(turn) == count:
                    return turn
                if up and node not in but and node not in self._asked:
                    self._asked.add(node)
                    turn.append(node)
            if again or turn:
                return turn
            self._asked.clear()
        return turn
