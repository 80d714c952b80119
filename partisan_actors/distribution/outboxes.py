"""The outboxes of a node: one for each other node that anything is open for, and the last numbers of the others.

Promised: no number is given twice to a node, whether or not its outbox was let go of in between. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from partisan_actors.distribution.outbox import Outbox
from partisan_actors.distribution.outbox_events import Effect, OutboxParameters

__all__ = ["Outboxes"]


class Outboxes:
    """The outboxes of one identity: one for each node that anything is open for, and the numbers of the others."""

    __slots__ = ("_numbers", "_outboxes", "durable", "identity", "parameters")

    def __init__(self, identity: int, parameters: OutboxParameters, durable: bool = False) -> None:
        self.identity = identity
        self.parameters = parameters
        self.durable = durable
        self._outboxes: dict[str, Outbox] = {}
        self._numbers: dict[str, int] = {}  # the last ones given, of nodes without an outbox

    def get(self, node: str) -> Outbox | None:
        """The outbox for that node, if there is one."""
        return self._outboxes.get(node)

    def of(self, node: str) -> Outbox:
        """The outbox for that node; made when there is none, and the driver then tells it of a present session."""
        outbox = self._outboxes.get(node)
        if outbox is None:
            number = self._numbers.pop(node, 0)
            outbox = Outbox(node, self.identity, self.parameters, number, self.durable)
            self._outboxes[node] = outbox
        return outbox

    def continue_from(self, node: str, number: int) -> None:
        """Numbers up to this one were given to that node before a restart."""
        self._numbers[node] = number

    def drop_if_quiet(self, node: str) -> Sequence[Effect]:
        """Let go of an outbox that has nothing open and no session."""
        outbox = self._outboxes.get(node)
        if outbox is None or not outbox.quiet:
            return ()
        del self._outboxes[node]
        self._numbers[node] = outbox.number
        return outbox.close("")

    def __iter__(self) -> Iterator[Outbox]:
        return iter(list(self._outboxes.values()))

    def __len__(self) -> int:
        return len(self._outboxes)
