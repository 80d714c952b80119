"""The messages that a node keeps for those who lack them: by age since their broadcast, bytes and number.

Promised: one that was just got is kept for `hold` at least if there is room, and the newest always. The age crosses
with a message, so that no message goes round for longer than its retention because it was kept anew at each node. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from partisan_actors.cluster.broadcast_events import PlumtreeParameters, Root

__all__ = ["BroadcastLog", "Kept"]

_OVERHEAD = 200  # bytes that an entry takes beside its payload, about


class Kept(NamedTuple):
    """A message that is kept."""

    root: Root
    number: int
    handler: str
    payload: bytes
    born: float  # when it was broadcast, on this node's clock
    until: float  # when it goes
    hop: int  # links that it came over
    own: bool  # it travels on its root's own tree
    parent: str | None  # who sent it; None where that says nothing about a tree
    came: float  # when it came


class BroadcastLog:
    """What is kept, in the order in which it came."""

    __slots__ = ("_entries", "_parameters", "_roots", "bytes")

    def __init__(self, parameters: PlumtreeParameters) -> None:
        self._parameters = parameters
        self._entries: OrderedDict[tuple[Root, int], Kept] = OrderedDict()
        self._roots: dict[Root, dict[int, None]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(
        self,
        root: Root,
        number: int,
        handler: str,
        payload: bytes,
        *,
        born: float,
        now: float,
        hop: int,
        own: bool,
        parent: str | None,
    ) -> Kept:
        """Keep a message, which was not kept before."""
        until = max(born + self._parameters.retention, now + self._parameters.hold)
        kept = Kept(root, number, handler, payload, born, until, hop, own, parent, now)
        self._entries[root, number] = kept
        numbers = self._roots.get(root)
        if numbers is None:
            numbers = self._roots[root] = {}
        numbers[number] = None
        self.bytes += len(payload) + _OVERHEAD
        self.expire(now)
        return kept

    def get(self, root: Root, number: int) -> Kept | None:
        """The message, if it is kept."""
        return self._entries.get((root, number))

    def rerouted(self, kept: Kept, hop: int, parent: str) -> None:
        """It would have come over fewer links from another neighbour, who is its parent from now on."""
        self._entries[kept.root, kept.number] = kept._replace(hop=hop, parent=parent)

    def numbers(self, root: Root) -> list[int]:
        """The numbers of a root that are kept, sorted."""
        return sorted(self._roots.get(root, ()))

    def born_since(self, time: float) -> Iterator[Kept]:
        """What was broadcast at that time or later, the newest that came first."""
        for kept in reversed(self._entries.values()):
            if kept.came < time:
                return  # nothing comes before it is broadcast
            if kept.born >= time:
                yield kept

    def expire(self, now: float) -> None:
        """Let go of what is too old, or too much."""
        parameters = self._parameters
        entries = self._entries
        while entries:
            kept = next(iter(entries.values()))
            much = self.bytes > parameters.retention_bytes or len(entries) > parameters.retention_count
            if kept.until > now and not (much and len(entries) > 1):
                return
            del entries[kept.root, kept.number]
            self.bytes -= len(kept.payload) + _OVERHEAD
            numbers = self._roots[kept.root]
            del numbers[kept.number]
            if not numbers:
                del self._roots[kept.root]
