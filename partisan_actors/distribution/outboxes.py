"""The outboxes of a node: one for each other node that anything is open for, and the last numbers of the others.

Promised: no number is given twice to a node, whether or not its outbox was let go of in between. That takes no table
of all names ever sent to: of those that are forgotten only the highest number is kept, and whoever is new begins above
it. Receivers do not mind the gap, as each message says which numbers are closed. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from partisan_actors.distribution.outbox import Outbox
from partisan_actors.distribution.outbox_events import Effect, OutboxParameters

__all__ = ["KEPT_NUMBERS", "Outboxes"]

KEPT_NUMBERS = 4096
"""Nodes without an outbox whose last number is remembered."""


class Outboxes:
    """The outboxes of one identity: one for each node that anything is open for, and the numbers of the others."""

    __slots__ = ("_counted", "_floor", "_numbers", "_outboxes", "durable", "identity", "parameters")

    def __init__(self, identity: int, parameters: OutboxParameters, durable: bool = False) -> None:
        self.identity = identity
        self.parameters = parameters
        self.durable = durable
        self._outboxes: dict[str, Outbox] = {}
        # The last ones given, of nodes without an outbox, the longest without one first.
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._counted = dict.fromkeys(("taken", "resent", "resent_bytes"), 0)  # by outboxes that were let go of
        self._floor = 0  # no number above this was given to any other node

    def get(self, node: str) -> Outbox | None:
        """The outbox for that node, if there is one."""
        return self._outboxes.get(node)

    def of(self, node: str) -> Outbox:
        """The outbox for that node; made when there is none, and the driver then tells it of a present session."""
        outbox = self._outboxes.get(node)
        if outbox is None:
            number = self._numbers.pop(node, self._floor)
            outbox = Outbox(node, self.identity, self.parameters, number, self.durable)
            self._outboxes[node] = outbox
        return outbox

    def continue_from(self, node: str, number: int) -> None:
        """Numbers up to this one were given to that node before a restart."""
        self._remember(node, number)

    def continue_above(self, number: int) -> None:
        """Numbers up to this one were given, before a restart, to nodes that are not known any more."""
        self._floor = max(self._floor, number)

    def drop_if_quiet(self, node: str) -> Sequence[Effect]:
        """Let go of an outbox that has nothing open and no session."""
        outbox = self._outboxes.get(node)
        if outbox is None or not outbox.quiet:
            return ()
        del self._outboxes[node]
        for what in self._counted:
            self._counted[what] += getattr(outbox, what)
        self._remember(node, outbox.number)
        return outbox.close("")

    @property
    def remembered(self) -> int:
        """How many nodes without an outbox are known by their last number."""
        return len(self._numbers)

    def counted(self) -> dict[str, int]:
        """What all of them have counted so far, those that were let go of included."""
        return {
            what: before + sum(getattr(outbox, what) for outbox in self._outboxes.values())
            for what, before in self._counted.items()
        }

    def _remember(self, node: str, number: int) -> None:
        self._numbers[node] = number
        self._numbers.move_to_end(node)
        if len(self._numbers) > KEPT_NUMBERS:
            self.continue_above(self._numbers.popitem(last=False)[1])

    def __iter__(self) -> Iterator[Outbox]:
        return iter(list(self._outboxes.values()))

    def __len__(self) -> int:
        return len(self._outboxes)
