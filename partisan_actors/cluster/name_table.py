"""Who has which global name: what the owners' nodes have written, each about its own processes.

Every entry has one writer, the node of the process that has the name; everybody else holds a copy of what it wrote.
So two nodes may both have written a name, which is a conflict that `global_names` settles; until then the older entry
is the one that counts, here as everywhere. Pure.
"""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

__all__ = ["Entry", "Holder", "NameTable"]


class Holder(NamedTuple):
    """The process that has a name: a serial of one life of a node."""

    node: str
    bits: int
    serial: int


class Entry(NamedTuple):
    """A registration, as its owner's node wrote it. Those of one name sort by age, the same everywhere."""

    stamp: int
    node: str
    bits: int
    serial: int

    @property
    def holder(self) -> Holder:
        """Whose it is."""
        return Holder(self.node, self.bits, self.serial)


class NameTable:
    """All entries that a node knows of; its own ones, those of `node`, among them."""

    __slots__ = ("_by_name", "_by_node", "_by_serial", "_node")

    def __init__(self, node: str) -> None:
        self._node = node
        self._by_node: dict[str, dict[str, Entry]] = {}  # and name
        self._by_name: dict[str, list[Entry]] = {}  # the same, the oldest first; more than one is a conflict
        self._by_serial: dict[int, dict[str, None]] = {}  # the names of each process of this node

    def names(self) -> list[str]:
        """Those that somebody has, sorted."""
        return sorted(self._by_name)

    def oldest(self, name: str) -> Entry | None:
        """The one that counts."""
        entries = self._by_name.get(name)
        return entries[0] if entries else None

    def elsewhere(self, name: str, node: str) -> Entry | None:
        """The oldest that is not of `node`."""
        return next((entry for entry in self._by_name.get(name, ()) if entry.node != node), None)

    def of_node(self, node: str) -> dict[str, Entry]:
        """A copy of what `node` wrote."""
        return self._by_node.get(node, {}).copy()

    def of_serial(self, serial: int) -> list[str]:
        """The names of a process of this node."""
        return list(self._by_serial.get(serial, ()))

    def count(self, node: str) -> int:
        """How many names processes of `node` have."""
        return len(self._by_node.get(node, ()))

    def own(self, name: str) -> Entry | None:
        """What this node has written."""
        return self._by_node.get(self._node, {}).get(name)

    def has(self, name: str, node: str) -> bool:
        """Whether `node` has written it."""
        return name in self._by_node.get(node, ())

    def put(self, name: str, entry: Entry) -> None:
        """Add one, in place of what its node wrote before."""
        self.remove(name, entry.node)
        self._by_node.setdefault(entry.node, {})[name] = entry
        insort(self._by_name.setdefault(name, []), entry)
        if entry.node == self._node:
            self._by_serial.setdefault(entry.serial, {})[name] = None

    def remove(self, name: str, node: str) -> None:
        """Take one out, if there is one."""
        written = self._by_node.get(node, {})
        entry = written.pop(name, None)
        if entry is None:
            return
        if not written:
            del self._by_node[node]
        entries = self._by_name[name]
        entries.remove(entry)
        if not entries:
            del self._by_name[name]
        if node == self._node:
            names = self._by_serial[entry.serial]
            del names[name]
            if not names:
                del self._by_serial[entry.serial]
