"""What the machines of one causal label say to each other: flat tuples of ints and bytes, checked when they come in.

    (MESSAGE, incarnation, to, number, clock, lamport, destinations, *entries)   goes with a message: its stamp
    (GONE, the same)                                       the message that had this stamp will never come
    (OPEN, incarnation, to, clock, *deaths)                number 1 of a channel; nothing up to `clock` was for you
    (FLUSH, incarnation, to, number, member, incarnation)  that life is dead; what I sent you before has lower numbers
    (SEEN, incarnation, to, *(member, incarnation, clock)) what I have delivered
    (NOTICE, incarnation, to, *deaths)                     outside of a channel: who is dead to me, you perhaps

`incarnation` is the sender's, `to` the receiver's as the sender knows it. Entries are grouped by the sender they are
about: `member, incarnation, count`, then `count` pairs `clock, destinations`. A set of members is an int with a bit
for each, by their place in the sorted label; above 63 bits it is written as big-endian bytes.

Sizes, packed by msgpack: at most 40 bytes and the entries. Each live sender that is known of has at most one entry for
each member and one without destinations, so the worst case is n * (n + 1) entries of 5 bytes and a set, some 23 bytes
at 128 members: O(n²), 380 KB, as Kshemkalyani and Singhal show of any algorithm for this. What is typical is an entry
or two for each member that was active since the receiver last heard of us: `tests/distribution/test_causal_sizes.py`
measures it.

A tuple that breaks a rule raises BadStamp, which costs that message only. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from partisan_actors.errors import ActorError

__all__ = [
    "FLUSH",
    "GONE",
    "LARGEST_SMALL_SET",
    "MESSAGE",
    "NOTICE",
    "OPEN",
    "RENEWALS",
    "SEEN",
    "BadStamp",
    "Entries",
    "Key",
    "Stamp",
    "decode",
    "encode_set",
    "incarnation_of",
    "same_life",
]

MESSAGE, GONE, OPEN, FLUSH, SEEN, NOTICE = range(6)

Key = tuple[int, int]
"""A sender: member and incarnation."""

Entries = dict[Key, dict[int, int]]
"""Dependencies: by sender and its clock, the members that the message went to and may not have it yet."""

RENEWALS = 12
"""Bits of an incarnation that count how often one life of a node was taken for dead, and came back."""

LARGEST_SMALL_SET = (1 << 63) - 1
"""Sets up to this one go as ints."""

_LIMIT = 1 << 63


class BadStamp(ActorError):
    """A message came with a stamp that is none; `text` says what is wrong with it."""


class Stamp(NamedTuple):
    """Any of the tuples, decoded; what a kind does not have is 0 or empty."""

    kind: int
    incarnation: int
    to: int
    number: int = 0
    clock: int = 0
    lamport: int = 0
    destinations: int = 0
    entries: Entries = {}  # noqa: RUF012 - never changed
    triples: tuple[tuple[int, int, int], ...] = ()
    waits: Sequence[tuple[Key, int]] = ()
    """Senders, and their clocks, of what the receiver has to have delivered before; in the order of entries."""


def incarnation_of(epoch: int, bits: int) -> int:
    """The first incarnation of a node's life: later lives have greater ones, and room below for its renewals."""
    # 44 bits hold milliseconds for 557 years; eight of chance tell two lives apart that think themselves the first.
    return (min(epoch, (1 << 43) - 1) << 8 | bits & 0xFF) << RENEWALS | 1


def same_life(one: int, other: int) -> bool:
    """Whether both are incarnations of one life."""
    return one >> RENEWALS == other >> RENEWALS


def encode_set(members: int) -> int | bytes:
    """A set of members for the wire."""
    return members if members <= LARGEST_SMALL_SET else members.to_bytes((members.bit_length() + 7) >> 3, "big")


def decode(item: Any, size: int, sender: int, receiver: int) -> Stamp:
    """Check a tuple that came from member `sender` for `receiver`, of `size` members.

    Raises: BadStamp.
    """
    if type(item) is not tuple or len(item) < 3:
        raise BadStamp(f"not a stamp: {type(item).__name__}")
    kind, incarnation, to = item[0], _int(item[1]), _int(item[2])
    if incarnation == 0:
        raise BadStamp("an incarnation of 0")
    match kind:
        case 0 | 1:
            return _decode_message(item, size, sender, receiver)
        case 2 if len(item) > 3:
            return Stamp(kind, incarnation, to, 1, _int(item[3]), triples=_deaths(item[4:], size))
        case 3 if len(item) == 6:
            number = _int(item[3])
            if number < 2:
                raise BadStamp(f"a flush with number {number}")
            return Stamp(kind, incarnation, to, number, triples=_deaths(item[4:], size))
        case 4 if len(item) % 3 == 0:
            return Stamp(kind, incarnation, to, triples=_seen(item[3:], size))
        case 5:
            return Stamp(kind, incarnation, to, triples=_deaths(item[3:], size))
    raise BadStamp(f"no stamp of kind {kind!r} has {len(item)} fields")


def _decode_message(item: tuple[Any, ...], size: int, sender: int, receiver: int) -> Stamp:
    if len(item) < 7:
        raise BadStamp(f"a stamp of {len(item)} fields")
    kind, incarnation, to, number, clock, lamport = item[0], *map(_int, item[1:6])
    destinations = _set(item[6], size)
    if number < 2 or clock < 1 or lamport < 1:
        raise BadStamp(f"number {number}, clock {clock}, lamport {lamport}")
    if destinations >> sender & 1 or not destinations >> receiver & 1:
        raise BadStamp("a message for its own sender, or not for this node")
    entries, waits = _entries(item, size, receiver)
    own = entries.get((sender, incarnation))
    if own and max(own) >= clock:
        raise BadStamp("a message that depends on a later one of its sender")
    return Stamp(kind, incarnation, to, number, clock, lamport, destinations, entries, waits=waits)


def _entries(item: tuple[Any, ...], size: int, receiver: int) -> tuple[Entries, list[tuple[Key, int]]]:
    # hot path: once for each entry of each message; a look at each field's kind costs more than all else.
    if not set(map(type, item)) <= {int, bytes}:
        raise BadStamp("entries have numbers and sets")
    entries: Entries = {}
    waits: list[tuple[Key, int]] = []
    here, nobody = 1 << receiver, -1 << size
    last = -1
    fields = iter(item[7:])
    pairs = zip(fields, fields)  # noqa: B905 - whether there are enough of them is looked at
    try:
        for member in fields:
            incarnation, count = next(fields), next(fields)
            # One incarnation of a member at a time; of it an entry for each member and an empty one, and no more.
            if not last < member < size or not 0 < incarnation < _LIMIT or not 0 < count <= size + 1:
                raise BadStamp("entries out of order, or a count that is not true")
            key = last, _ = member, incarnation
            times = entries[key] = {}
            clock = wait = 0
            wrong = nobody | 1 << member
            for time, members in pairs:
                if type(members) is bytes:
                    members = _set(members, size)
                if time <= clock or members & wrong:
                    raise BadStamp("clocks out of order, or a set that cannot be")
                times[time] = members
                clock = time
                if members & here:
                    wait = time
                count -= 1
                if not count:
                    break
            if count or clock >= _LIMIT:
                raise BadStamp("entries are cut short, or a clock is too high")
            if wait:
                waits.append((key, wait))
    except (StopIteration, TypeError):
        # Bytes where a number is due are neither above nor below one.
        raise BadStamp("an entry is cut short, or has a set in place of a number") from None
    return entries, waits


def _deaths(fields: tuple[Any, ...], size: int) -> tuple[tuple[int, int, int], ...]:
    if len(fields) % 2 or len(fields) > 2 * size:
        raise BadStamp(f"deaths in {len(fields)} fields")
    return tuple((_member(fields[i], size), _int(fields[i + 1]), 0) for i in range(0, len(fields), 2))


def _seen(fields: tuple[Any, ...], size: int) -> tuple[tuple[int, int, int], ...]:
    return tuple((_member(fields[i], size), _int(fields[i + 1]), _int(fields[i + 2])) for i in range(0, len(fields), 3))


def _int(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise BadStamp(f"{value!r:.40} where an int from 0 up is due")
    return value


def _member(value: Any, size: int) -> int:
    if type(value) is not int or not 0 <= value < size:
        raise BadStamp(f"{value!r:.40} where one of {size} members is due")
    return value


def _set(value: Any, size: int) -> int:
    if type(value) is bytes and 8 <= len(value) <= 16:
        value = int.from_bytes(value, "big")
    if type(value) is not int or not 0 <= value < 1 << size:
        raise BadStamp(f"{value!r:.40} where a set of {size} members is due")
    return value
