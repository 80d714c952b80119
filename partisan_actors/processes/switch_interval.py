"""The interpreter's thread switch interval while nodes run.

gevent looks at sockets only after it has run callbacks for that long, and it is 5 ms by default:
with work always ready that is every small message's latency (design: "What the substrate does").
The one piece of state here that is global, because what it guards is: `sys.setswitchinterval`.
"""

from __future__ import annotations

import sys

__all__ = ["SwitchInterval", "switch_interval"]


class SwitchInterval:
    """Lowered by the first node of this OS process, restored by the last."""

    def __init__(self) -> None:
        self._before: float | None = None
        self._wanted: dict[int, float] = {}  # by the id of who wants it

    def lower(self, node: object, seconds: float) -> None:
        """`node` has started, and wants at most `seconds`."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(seconds, *self._wanted.values()) if self._wanted else seconds)
        if not self._wanted:
            self._before = before
        self._wanted[id(node)] = seconds

    def restore(self, node: object) -> None:
        """`node` has stopped."""
        if self._wanted.pop(id(node), None) is None:
            return
        if self._wanted:
            sys.setswitchinterval(min(self._wanted.values()))
        elif self._before is not None:
            sys.setswitchinterval(self._before)


switch_interval = SwitchInterval()
