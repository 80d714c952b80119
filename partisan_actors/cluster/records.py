"""Records: what the members of a cluster say of themselves, and how what they said is merged.

A record is written by the member that it is about, and by nobody else, but for one word: that its member is down, of
this life and this version of it, which others say when they have suspected it for long enough (SWIM, section 4.2). Its
version is raised by the member alone, and so takes that word back. One total order decides between two records of a
name, so that the same records come to the same view in whatever order, and however often, they arrive. Pure.

Two tables are compared by a tree of digests, each 64 bits over the records of live members: the root, 16 branches
below it and 16 leaves below each, a member's by its name; and in a leaf one of each record. So two that differ in one
record find it in three steps, and tell each other no more than that one.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

__all__ = [
    "FANOUT",
    "LEAVES",
    "MAX_U64",
    "MAX_VERSION",
    "MalformedRecord",
    "Member",
    "RecordLimits",
    "Records",
    "Status",
    "is_number",
    "is_text",
    "member_from_term",
]

FANOUT = 16
"""Digests below the root, and below each of those."""

LEAVES = FANOUT * FANOUT

MAX_U64 = (1 << 64) - 1
"""The highest epoch, and bits, of a life."""

MAX_VERSION = (1 << 62) - 1
"""The highest version of a record, and of a topology."""


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """What is taken from others. Raises ValueError, naming the one that makes no sense."""

    max_members: int = 10_000
    """Records held, the own one included; no more are taken in."""

    max_addresses: int = 16
    """Of one member."""

    max_text: int = 255
    """Bytes of a name or an address, as UTF-8."""

    def __post_init__(self) -> None:
        for name in ("max_members", "max_addresses", "max_text"):
            if getattr(self, name) < 1:
                raise ValueError(f"record limits: {name} is {getattr(self, name)}, and has to be at least 1")


class Status(enum.IntEnum):
    """What a member says of itself, or others of it. Within a version LEFT wins over DOWN, and DOWN over ALIVE."""

    ALIVE = 1
    LEFT = 2
    DOWN = 3


_PRECEDENCE = (0, 0, 2, 1)  # by status
_STATUSES = (Status.ALIVE, Status.ALIVE, Status.LEFT, Status.DOWN)  # by number


class MalformedRecord(ValueError):
    """What came is no record, or one too many. Its text is one of a few, so that it can be counted by."""


class Member(NamedTuple):
    """The record of one member."""

    node: str
    epoch: int
    bits: int
    addresses: tuple[str, ...]
    dialable: bool
    version: int  # 0: by its handshake; from 1 on by itself
    status: Status
    tag: str = ""  # of its topology
    topology: int = 0  # the version of the cluster's topology that it runs with

    @property
    def life(self) -> tuple[int, int]:
        """Tells its lives apart, and orders them."""
        return (self.epoch, self.bits)

    @property
    def can_be_dialled(self) -> bool:
        """Whether it says so, and where."""
        return self.dialable and bool(self.addresses)

    def rank(self) -> tuple[object, ...]:
        """The record of the higher rank wins. Total, so that even the contradictions of a faulty peer merge alike."""
        _node, epoch, bits, addresses, dialable, version, status, tag, topology = self
        return (epoch, bits, version, _PRECEDENCE[status], dialable, addresses, tag, topology)

    def to_term(self) -> tuple[str, int, int, tuple[str, ...], bool, int, int, str, int]:
        """A plain tuple for the codec."""
        node, epoch, bits, addresses, dialable, version, status, tag, topology = self
        return (node, epoch, bits, addresses, dialable, version, int(status), tag, topology)

    def digest(self) -> int:
        """64 bits of it."""
        return int.from_bytes(hashlib.blake2b(repr(self.to_term()).encode(), digest_size=8).digest(), "big")


def member_from_term(term: object, limits: RecordLimits) -> Member:
    """Read the term of a record; one of before tags and topologies has two fields less. Raises MalformedRecord."""
    # hot path: once for each record that is news, so in a cluster of n once for each of n at each of n.
    if type(term) is not tuple or len(term) not in (7, 9):
        raise MalformedRecord("shape")
    node, epoch, bits, addresses, dialable, version, status = term[:7]
    tag, topology = term[7:] if len(term) == 9 else ("", 0)
    fault = (
        (not is_text(node, limits) and "name")
        or (not (is_number(epoch, MAX_U64) and is_number(bits, MAX_U64)) and "life")
        or ((type(addresses) is not tuple or type(dialable) is not bool) and "shape")
        or (len(addresses) > limits.max_addresses and "too many addresses")
        or (not all(is_text(address, limits) for address in addresses) and "address")
        or (not is_number(version, MAX_VERSION) and "version")
        or (not (is_number(status, Status.DOWN) and status >= Status.ALIVE) and "status")
        or (tag != "" and not is_text(tag, limits) and "tag")
        or (not is_number(topology, MAX_VERSION) and "topology")
    )
    if fault:
        raise MalformedRecord(fault)
    return Member(node, epoch, bits, addresses, dialable, version, _STATUSES[status], tag, topology)


def is_number(value: object, highest: int) -> bool:
    """Whether it is a whole number from 0 to `highest`."""
    return type(value) is int and 0 <= value <= highest


def is_text(value: object, limits: RecordLimits) -> bool:
    """Whether it can be a name, an address or a tag."""
    # Printable, as it goes to logs and terminals; that keeps lone surrogates from `encode`, too.
    return (
        isinstance(value, str)
        and 0 < len(value) <= limits.max_text
        and value.isprintable()
        and (value.isascii() or len(value.encode()) <= limits.max_text)
    )


class Records:
    """Everybody's latest record, as far as this node has heard."""

    __slots__ = ("_branches", "_digests", "_leaves", "_limits", "_others", "joins", "leaves", "own", "root")

    def __init__(self, own: Member, limits: RecordLimits) -> None:
        self.own = own
        self.joins = self.leaves = 0  # lives of others that became members, and that left
        self.root = 0  # over all records of live members, by exclusive or: equal tables, equal digests
        self._branches = [0] * FANOUT
        self._leaves = [0] * LEAVES
        self._limits = limits
        self._others: dict[str, Member] = {}
        self._digests: list[dict[str, int]] = [{} for _ in range(LEAVES)]  # of each record, by leaf
        self._note(own, None)

    def __len__(self) -> int:
        return len(self._others) + 1

    def get(self, node: str) -> Member | None:
        """The record of `node`; the own one for the own name."""
        return self.own if node == self.own.node else self._others.get(node)

    def all(self) -> list[Member]:
        """The own one, and then the others in the order in which they were first heard of."""
        return [self.own, *self._others.values()]

    def branches(self) -> tuple[int, ...]:
        """The digests below the root."""
        return tuple(self._branches)

    def leaves_below(self, branch: int) -> tuple[int, ...]:
        """The digests below a branch."""
        return tuple(self._leaves[branch * FANOUT : (branch + 1) * FANOUT])

    def in_leaves(self, leaves: Iterable[int]) -> dict[int, str]:
        """Whose records these leaves are over, by their digests, those of members that are gone included."""
        return {digest: node for leaf in leaves for node, digest in self._digests[leaf].items()}

    def with_digests(self, digests: Collection[int]) -> list[Member]:
        """The records that have these digests."""
        if not digests:
            return []  # without a look at all of them: mostly one of two lacks nothing
        every = self.in_leaves(range(LEAVES))
        nodes = (every[digest] for digest in dict.fromkeys(digests) if digest in every)
        return [record for node in nodes if (record := self.get(node)) is not None]

    def merge(self, member: Member) -> bool:
        """Take in a record of another node; whether it was news. Raises MalformedRecord when the table is full."""
        # hot path: for each record that is told, three of four of which are known already.
        node = member.node
        before = self._others.get(node)
        if before is None:
            if member.status is not Status.ALIVE:
                # There is nothing that it would end. Taken in, it would be handed to and fro for ever: each node
                # forgets it at its own time, and would be told of it again by those who have not yet.
                return False
            if len(self._others) + 1 >= self._limits.max_members:
                raise MalformedRecord("table full")
        elif member == before or member.rank() <= before.rank():
            return False
        if member.status is Status.LEFT:
            self.leaves += before is not None and before.status is not Status.LEFT
        elif member.status is Status.ALIVE:
            self.joins += before is None or before.status is Status.LEFT or before.life != member.life
        self._others[node] = member
        self._note(member, before)
        return True

    def remember(self, member: Member) -> bool:
        """Take in the record of one that is down and was never heard of here; whether that was news, and has a place.

        For who keeps count of its age: it is to be forgotten when the others forget it.
        """
        if member.status is not Status.DOWN or member.node in self._others or member.node == self.own.node:
            return False
        if len(self._others) + 1 >= self._limits.max_members:
            return False
        self._others[member.node] = member
        self._note(member, None)
        return True

    def refute(self, member: Member) -> bool:
        """Overrule a record of this life of this node that somebody else has made up; whether that was needed."""
        if member.life != self.own.life or member.rank() <= self.own.rank():
            return False
        self.write(self.own._replace(version=member.version + 1))
        return True

    def write(self, own: Member) -> None:
        """Write the own record anew. No version is above those that others take."""
        before, self.own = self.own, own._replace(version=min(own.version, MAX_VERSION))
        self._note(self.own, before)

    def forget(self, node: str) -> None:
        """Drop what is known of another node."""
        member = self._others.pop(node)
        digest = self._digests[_leaf_of(node)].pop(node)
        if member.status is Status.ALIVE:
            self._change(node, digest)

    def forget_all(self) -> None:
        """Keep the own record only."""
        for node in list(self._others):
            self.forget(node)

    def _note(self, member: Member, before: Member | None) -> None:
        """Note its digest. Those that are gone are in no leaf's: who never heard of one need not hear of that."""
        digests = self._digests[_leaf_of(member.node)]
        change = 0
        if before is not None and before.status is Status.ALIVE:
            change = digests[member.node]
        digests[member.node] = digest = member.digest()
        if member.status is Status.ALIVE:
            change ^= digest
        self._change(member.node, change)

    def _change(self, node: str, change: int) -> None:
        leaf = _leaf_of(node)
        self._leaves[leaf] ^= change
        self._branches[leaf // FANOUT] ^= change
        self.root ^= change


def _leaf_of(node: str) -> int:
    return crc32(node.encode()) % LEAVES
