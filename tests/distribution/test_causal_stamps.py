"""Stamps on the wire: what goes in comes out, and nothing else comes in."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.causal_log import DependencyLog
from partisan_actors.distribution.causal_stamps import (
    BadStamp,
    decode,
    encode_set,
    incarnation_of,
    same_life,
)

_LEAVES = st.integers(-2, 1 << 64) | st.binary(max_size=17) | st.booleans() | st.none() | st.integers(0, 8)


def _message(*entries, number=2, clock=1, lamport=1, destinations=0b10):
    return (0, 1, 1, number, clock, lamport, destinations, *entries)


def encode_entries(entries):
    """Dependencies as a stamp has them."""
    flat = []
    for key, times in sorted(entries.items()):
        flat += (*key, len(times))
        for clock, members in sorted(times.items()):
            flat += (clock, encode_set(members))
    return flat


@given(st.integers(2, 128).flatmap(lambda size: st.tuples(st.just(size), st.data())))
def test_entries_survive_the_way(drawn):
    size, data = drawn
    sets = st.integers(0, (1 << size) - 1)
    senders = data.draw(st.sets(st.integers(0, size - 1), max_size=5))
    entries = {
        (sender, 7): {
            clock: members & ~(1 << sender)
            for clock, members in data.draw(
                st.dictionaries(st.integers(1, 1 << 40), sets, min_size=1, max_size=3)
            ).items()
        }
        for sender in senders
    }
    packed = msgpack.packb(_message(*encode_entries(entries), clock=1 << 41))
    stamp = decode(msgpack.unpackb(packed, use_list=False), size, 0, 1)
    assert stamp.entries == entries
    assert dict(stamp.waits) == {
        key: max(clock for clock, members in times.items() if members & 0b10)
        for key, times in entries.items()
        if any(members & 0b10 for members in times.values())
    }


@given(
    st.integers(2, 8).flatmap(lambda size: st.tuples(st.just(size), st.data())),
    st.integers(1, 12),
)
def test_a_log_says_to_one_what_it_says_to_that_one_of_several(drawn, messages):
    """The short way for one receiver is the long one."""
    size, data = drawn
    short, long = DependencyLog(), DependencyLog()
    for clock in range(1, messages + 1):
        if data.draw(st.booleans()):
            bit = 1 << data.draw(st.integers(1, size - 1))
            entries = short._for_one(bit), *long._for_several(bit, [bit])
            for log in (short, long):
                log.sending((0, 1), clock, bit, [bit])
            assert entries[0] == entries[1]
        else:
            sender = data.draw(st.integers(1, size - 1))
            members = data.draw(st.integers(0, (1 << size) - 1)) & ~(1 << sender)
            for log in (short, long):
                log.merge((sender, 1), clock, members, {}, 1)
        assert short.entries == long.entries and short._told == long._told


@given(st.lists(_LEAVES, max_size=14).map(tuple))
def test_anything_else_is_a_bad_stamp(item):
    try:
        stamp = decode(item, 4, 0, 1)
    except BadStamp:
        return
    assert stamp.kind in range(6) and stamp.incarnation > 0
    assert all(0 <= member < 4 for member, _ in stamp.entries)


@pytest.mark.parametrize(
    "item",
    [
        [0, 1, 1, 2, 1, 1, 2],
        _message(number=1),
        _message(clock=0),
        _message(lamport=0),
        _message(destinations=0b11),
        _message(destinations=0b100),
        _message(destinations=0b10010),
        _message(destinations=True),
        _message(destinations=b"\x02"),
        _message(2),
        _message(2, 1, 0),
        _message(2, 0, 1, 1, 1),
        _message(2, 1, 2, 1, 1),
        _message(4, 1, 1, 1, 1),
        _message(2, 1, 2, 2, 1, 1, 1),
        _message(2, 1, 1, 1, 0b100),
        _message(3, 1, 1, 1, 1, 2, 1, 1, 1, 1),
        _message(2, 1, 1, 1, 1, 2, 2, 1, 1, 1),
        _message(0, 1, 1, 1, 2),
        (1, 1),
        (2, 1, 1),
        (2, 1, 1, 0, 1),
        (3, 1, 1, 1, 1, 1),
        (3, 1, 1, 2, 4, 1),
        (4, 1, 1, 1),
        (5, 0, 1),
        (5, 1, 1, *(1, 1) * 5),
        (6, 1, 1),
        (True, 1, 1, 2, 1, 1, 2, 1),
    ],
)
def test_a_broken_rule_is_a_bad_stamp(item):
    with pytest.raises(BadStamp):
        decode(item, 4, 0, 1)


def test_sets_of_many_members_are_bytes():
    assert encode_set((1 << 63) - 1) == (1 << 63) - 1
    assert encode_set(1 << 127) == b"\x80" + bytes(15)


def test_later_lives_have_greater_incarnations():
    lives = [incarnation_of(1_700_000_000_000, bits) for bits in (3, 9)] + [incarnation_of(1_700_000_000_001, 0)]
    assert lives == sorted(set(lives)) and lives[-1] < 1 << 63
    assert not same_life(lives[0], lives[1])
    assert same_life(lives[0], lives[0] + 4_000)
    assert incarnation_of((1 << 64) - 1, 255) < 1 << 63
