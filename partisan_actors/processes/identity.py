"""Who is who: lives, pids, references and the names a message can be addressed to.

Values only. They know nothing of nodes, tables or the network, so that every other part
may import them. Equality and order are those of what they name, the same on every node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Global", "Life", "Pid", "Ref", "Remote", "Via"]


class Life:
    """One life of a node: from one start of it to its end.

    `bits` are 64 random bits drawn at start and tell the lives of one name apart for good.
    `epoch` orders them (milliseconds of wall-clock time at start, above every one known for
    the name); it takes no part in equality.
    """

    __slots__ = ("bits", "epoch", "node")

    def __init__(self, node: str, epoch: int, bits: int) -> None:
        self.node = node
        self.epoch = epoch
        self.bits = bits

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(other) is Life and self.bits == other.bits and self.node == other.node

    def __hash__(self) -> int:
        return hash((self.node, self.bits))

    def __repr__(self) -> str:
        return f"Life({self.node!r}, epoch={self.epoch}, bits={self.bits:#018x})"


class _Numbered:
    """A number given by one node life; what a `Pid` and a `Ref` have in common."""

    __slots__ = ("home", "serial")

    def __init__(self, home: Life, serial: int) -> None:
        self.home = home
        self.serial = serial

    @property
    def node(self) -> str:
        """The name of the node that it belongs to."""
        return self.home.node

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return self.serial == other.serial and self.home == other.home

    def __hash__(self) -> int:
        return hash((self.serial, self.home.bits))

    def _key(self) -> tuple[str, int, int]:
        return (self.home.node, self.home.bits, self.serial)

    def __lt__(self, other: Any) -> bool:
        return self._key() < other._key() if type(other) is type(self) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return self._key() <= other._key() if type(other) is type(self) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return self._key() > other._key() if type(other) is type(self) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self._key() >= other._key() if type(other) is type(self) else NotImplemented


class Pid(_Numbered):
    """Names one life of one process on one life of one node (Erlang: a pid)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{self.home.node} {self.serial}>"


class Ref(_Numbered):
    """A reference that is unique in the cluster (Erlang: `make_ref/0`)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"#Ref<{self.home.node} {self.serial}>"


@dataclass(frozen=True, slots=True)
class Remote:
    """The process registered as `name` on the node called `node`."""

    name: str
    node: str


@dataclass(frozen=True, slots=True)
class Global:
    """The process registered as `name` for the whole cluster."""

    name: str


@dataclass(frozen=True, slots=True)
class Via:
    """The process that `registry.whereis(key)` gives (Erlang: `{via, Module, Name}`)."""

    registry: Any
    key: Any
