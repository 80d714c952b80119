"""Records: what the members of a cluster say of themselves, and how what they said is merged.

A record is written by the member that it is about, and by nobody else; its version is raised by that member alone.
One total order decides between two records of a name, so that the same records come to the same view in whatever
order, and however often, they arrive. Whether a member is reachable is nobody's record: that is a judgement, and
`membership` makes it. Pure.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["MalformedRecord", "Member", "RecordLimits", "Records", "Status", "member_from_term"]

_MAX_U64 = (1 << 64) - 1
_MAX_VERSION = (1 << 62) - 1


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
    """What a member says of itself. The higher one wins within a version."""

    ALIVE = 1
    LEFT = 2


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

    @property
    def life(self) -> tuple[int, int]:
        """Tells its lives apart, and orders them."""
        return (self.epoch, self.bits)

    def rank(self) -> tuple[int, int, int, int, bool, tuple[str, ...]]:
        """The record of the higher rank wins. Total, so that even the contradictions of a faulty peer merge alike."""
        return (self.epoch, self.bits, self.version, int(self.status), self.dialable, self.addresses)

    def to_term(self) -> tuple[str, int, int, tuple[str, ...], bool, int, int]:
        """A plain tuple for the codec."""
        return (self.node, self.epoch, self.bits, self.addresses, self.dialable, self.version, int(self.status))

    def fingerprint(self) -> int:
        """64 bits of it; 0 when it has left, since who never heard of it need not hear of that."""
        if self.status is Status.LEFT:
            return 0
        return int.from_bytes(hashlib.blake2b(repr(self.to_term()).encode(), digest_size=8).digest(), "big")


def member_from_term(term: object, limits: RecordLimits) -> Member:
    """Read the term of a record. Raises MalformedRecord."""
    if not isinstance(term, tuple):
        raise MalformedRecord("shape")
    match term:
        case (str(node), int(epoch), int(bits), tuple(addresses), bool(dialable), int(version), int(status)):
            _require(_is_text(node, limits), "name")
            _require(_is_number(epoch, _MAX_U64) and _is_number(bits, _MAX_U64), "life")
            _require(len(addresses) <= limits.max_addresses, "too many addresses")
            _require(all(_is_text(address, limits) for address in addresses), "address")
            _require(_is_number(version, _MAX_VERSION), "version")
            _require(_is_number(status, Status.LEFT) and status >= Status.ALIVE, "status")
            return Member(node, epoch, bits, addresses, dialable, version, Status(status))
    raise MalformedRecord("shape")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise MalformedRecord(what)


def _is_text(value: object, limits: RecordLimits) -> bool:
    # Printable, as it goes to logs and terminals; that keeps lone surrogates from `encode`, too.
    return (
        isinstance(value, str)
        and 0 < len(value) <= limits.max_text
        and value.isprintable()
        and len(value.encode()) <= limits.max_text
    )


def _is_number(value: int, highest: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= highest


class Records:
    """Everybody's latest record, as far as this node has heard."""

    __slots__ = ("_fingerprints", "_limits", "_others", "digest", "joins", "leaves", "own")

    def __init__(self, own: Member, limits: RecordLimits) -> None:
        self.own = own
        self.digest = own.fingerprint()  # of all records of live members, by exclusive or: equal tables, equal digests
        self.joins = self.leaves = 0  # lives of others that became members, and that left
        self._limits = limits
        self._others: dict[str, Member] = {}
        self._fingerprints: dict[str, int] = {}

    def get(self, node: str) -> Member | None:
        """The record of `node`; the own one for the own name."""
        return self.own if node == self.own.node else self._others.get(node)

    def all(self) -> list[Member]:
        """The own one, and then the others in the order in which they were first heard of."""
        return [self.own, *self._others.values()]

    def merge(self, member: Member) -> bool:
        """Take in a record of another node; whether it was news. Raises MalformedRecord when the table is full."""
        node = member.node
        before = self._others.get(node)
        if before is None:
            if member.status is Status.LEFT:
                # There is nothing that it would end. Taken in, it would be handed to and fro for ever: each node
                # forgets it at its own time, and would be told of it again by those who have not yet.
                return False
            _require(len(self._others) + 1 < self._limits.max_members, "table full")
        elif member.rank() <= before.rank():
            return False
        if member.status is Status.LEFT:
            self.leaves += before is not None and before.status is Status.ALIVE
        else:
            self.joins += before is None or before.status is Status.LEFT or before.life != member.life
        fingerprint = member.fingerprint()
        self.digest ^= self._fingerprints.get(node, 0) ^ fingerprint
        self._others[node] = member
        self._fingerprints[node] = fingerprint
        return True

    def refute(self, member: Member) -> bool:
        """Overrule a record of this life of this node that somebody else has made up; whether that was needed."""
        if member.life != self.own.life or member.rank() <= self.own.rank():
            return False
        self.write(self.own.status, member.version + 1)
        return True

    def write(self, status: Status, version: int) -> None:
        """Write the own record anew."""
        self.digest ^= self.own.fingerprint()
        self.own = self.own._replace(status=status, version=version)
        self.digest ^= self.own.fingerprint()

    def forget(self, node: str) -> None:
        """Drop what is known of another node."""
        del self._others[node]
        self.digest ^= self._fingerprints.pop(node)

    def forget_all(self) -> None:
        """Keep the own record only."""
        self._others.clear()
        self._fingerprints.clear()
        self.digest = self.own.fingerprint()
