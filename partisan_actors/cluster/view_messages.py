"""What cluster views tell each other, as plain tuples for the codec; and how two find where they differ.

    ("hello", entry, root, count)     at a link's start, from both sides, and then each round to one, unless there are
                                      news: the own record, the root of the digests, and over how many records
    ("view", entries)                 the end of the answer to each hello: nothing if the roots are equal
    ("branches", digests)             they differ, and the tables are large: the 16 digests below the root
    ("leaves", ((branch, digests), ...))   below each branch that differs, those 16
    ("digests", leaves, digests)      in the leaves that differ, that of each record
    ("records", wanted, entries)      the digests that the sender does not have, and its records that are not among
                                      them; those wanted go back as a "view"
    ("news", entries, suspicions)     what has changed
    ("beacon", node, bits, number)    who gets it hears what is for everybody: its number in that life of its sender

An entry is the term of a record, and after it since how many seconds its member is down or gone for the sender; -1: it
is not. That is what those begin with who never heard of it: without it the memory of the dead would be young again with
everybody who is told of them. A suspicion is (node, epoch, bits, version, suspector, refused).

A peer of before suspicions sends a hello without a count and news without suspicions, and is sent such; it knows of no
member that is down, of neither tags nor topologies, and of no beacons. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from partisan_actors.cluster.records import (
    FANOUT,
    LEAVES,
    MAX_U64,
    MAX_VERSION,
    MalformedRecord,
    Member,
    RecordLimits,
    Records,
    Status,
    is_number,
    is_text,
    member_from_term,
)

__all__ = [
    "ENTRY_FIELDS",
    "Beacon",
    "Entry",
    "EntryOf",
    "SuspicionOf",
    "answer_branches",
    "answer_digests",
    "answer_hello",
    "answer_leaves",
    "answer_records",
    "as_before_suspicions",
    "beacon_from_term",
    "differing_branches",
    "differing_leaves",
    "entry_from_term",
    "entry_of",
    "read_entries",
    "suspicion_from_term",
]

ENTRY_FIELDS = 10
_OLD_FIELDS = 7

EntryOf: TypeAlias = Callable[[Member], tuple[object, ...]]
"""Makes the entry of a record."""


class Entry(NamedTuple):
    """A record, and how long its member is gone; -1: it is not."""

    member: Member
    down_for: int


class SuspicionOf(NamedTuple):
    """That `suspector` cannot reach this version of this life; `refused`: by the word of its machine."""

    node: str
    epoch: int
    bits: int
    version: int
    suspector: str
    refused: bool


class Beacon(NamedTuple):
    """The beacon of that number of that life of a node; see `islands`."""

    node: str
    bits: int
    number: int


def entry_of(member: Member, gone_for: float | None) -> tuple[object, ...]:
    """The term of an entry."""
    return (*member.to_term(), -1 if gone_for is None else max(0, int(gone_for)))


def entry_from_term(term: object, limits: RecordLimits) -> Entry:
    """Read an entry. Raises MalformedRecord."""
    if type(term) is not tuple or not term:
        raise MalformedRecord("shape")
    down_for = term[-1]
    if type(down_for) is not int or down_for < -1:
        raise MalformedRecord("down for")
    return Entry(member_from_term(term[:-1], limits), down_for)


def read_entries(
    terms: tuple[Any, ...], limits: RecordLimits, as_told: Callable[[str], object], faults: list[str]
) -> Iterator[tuple[Entry, tuple[Any, ...]]]:
    """Read entries; those that were told before, so that nothing follows from them, are left out.

    Args:
        as_told: the term of a node's entry as it was told last.
        faults: is given what is wrong with those that are not right.
    """
    # hot path: three of four are known already, and need not be read.
    seen: set[str] = set()
    for term in terms:
        name = term[0] if type(term) is tuple and term else None
        if type(name) is str and name not in seen and term == as_told(name):
            seen.add(name)
            continue
        try:
            entry = entry_from_term(term, limits)
        except MalformedRecord as fault:
            faults.append(str(fault))
            continue
        if entry.member.node in seen:
            faults.append("duplicate")
            continue
        seen.add(entry.member.node)
        yield entry, term


def suspicion_from_term(term: object, limits: RecordLimits) -> SuspicionOf:
    """Read a suspicion. Raises MalformedRecord."""
    # hot path: where many die at once, each is suspected by several, and each of those words comes over each link.
    if type(term) is not tuple or len(term) != len(SuspicionOf._fields):
        raise MalformedRecord("suspicion")
    node, epoch, bits, version, suspector, refused = term
    if not (is_text(node, limits) and is_text(suspector, limits)):
        raise MalformedRecord("name")
    if not (is_number(epoch, MAX_U64) and is_number(bits, MAX_U64)):
        raise MalformedRecord("life")
    if not (is_number(version, MAX_VERSION) and type(refused) is bool):
        raise MalformedRecord("suspicion")
    return SuspicionOf(node, epoch, bits, version, suspector, refused)


def beacon_from_term(term: tuple[object, ...], limits: RecordLimits) -> Beacon:
    """Read a beacon. Raises MalformedRecord."""
    match term:
        case (str(node), int(bits), int(number)) if (
            is_text(node, limits) and is_number(bits, MAX_U64) and is_number(number, MAX_VERSION)
        ):
            return Beacon(node, bits, number)
    raise MalformedRecord("beacon")


def differing_branches(records: Records, theirs: tuple[object, ...]) -> list[int]:
    """The branches of which the other side's digest is another. Raises MalformedRecord."""
    if len(theirs) != FANOUT or any(type(digest) is not int for digest in theirs):
        raise MalformedRecord("digests")
    return [branch for branch, digest in enumerate(records.branches()) if digest != theirs[branch]]


def differing_leaves(records: Records, theirs: tuple[object, ...]) -> list[int]:
    """The leaves, of the branches named, of which the other side's digest is another. Raises MalformedRecord."""
    different: list[int] = []
    if len(theirs) > FANOUT:
        raise MalformedRecord("digests")
    for item in theirs:
        match item if isinstance(item, tuple) else None:
            case (int(branch), tuple(digests)) if 0 <= branch < FANOUT and len(digests) == FANOUT:
                mine = records.leaves_below(branch)
                different += [branch * FANOUT + i for i, digest in enumerate(mine) if digest != digests[i]]
            case _:
                raise MalformedRecord("digests")
    return different


def answer_hello(records: Records, root: int, count: object, small: int, entry: EntryOf) -> tuple[object, ...]:
    """What one is sent whose digests have this root, over `count` records."""
    if root == records.root:
        return ("view", ())
    if len(records) <= small or type(count) is not int or count <= small:
        return ("view", tuple(map(entry, records.all())))
    return ("branches", records.branches())


def answer_branches(records: Records, theirs: tuple[object, ...]) -> tuple[object, ...]:
    """The digests below those that differ. Raises MalformedRecord."""
    branches = differing_branches(records, theirs)
    return ("leaves", tuple((branch, records.leaves_below(branch)) for branch in branches))


def answer_leaves(records: Records, theirs: tuple[object, ...]) -> tuple[object, ...]:
    """The digests of all that is in those that differ. Raises MalformedRecord."""
    leaves = differing_leaves(records, theirs)
    return ("digests", tuple(leaves), tuple(records.in_leaves(leaves)))


def answer_digests(
    records: Records, leaves: tuple[object, ...], theirs: tuple[object, ...], entry: EntryOf
) -> tuple[object, ...]:
    """What is missing on either side. Raises MalformedRecord."""
    mine, sent = records.in_leaves(_leaves_from_term(leaves)), _digests_from_term(theirs)
    missing = (records.get(node) for digest, node in mine.items() if digest not in sent)
    entries = tuple(entry(record) for record in missing if record is not None)
    return ("records", tuple(digest for digest in sent if digest not in mine), entries)


def answer_records(records: Records, wanted: tuple[object, ...], entry: EntryOf) -> tuple[object, ...]:
    """Those that the other side wants. Raises MalformedRecord."""
    return ("view", tuple(map(entry, records.with_digests(_digests_from_term(wanted)))))


def _leaves_from_term(term: tuple[object, ...]) -> list[int]:
    leaves = {leaf for leaf in term if type(leaf) is int and 0 <= leaf < LEAVES}
    if len(leaves) != len(term):
        raise MalformedRecord("leaves")
    return sorted(leaves)


def _digests_from_term(term: tuple[object, ...]) -> dict[int, None]:
    if not all(is_number(digest, MAX_U64) for digest in term):
        raise MalformedRecord("digests")
    return dict.fromkeys(term)  # type: ignore[arg-type]


def as_before_suspicions(payload: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What a peer of before suspicions is sent in place of `payload`; None: nothing."""
    match payload:
        case ("hello", tuple(entry), root, _):
            return ("hello", _old_entry(entry), root)
        case (("view" | "news") as kind, tuple(entries), *_):
            kept = tuple(_old_entries(entries))
            return (kind, kept) if kept or kind == "view" else None
    return None


def _old_entries(entries: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    return (_old_entry(entry) for entry in entries if entry[_OLD_FIELDS - 1] != Status.DOWN)


def _old_entry(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*entry[:_OLD_FIELDS], entry[-1])
