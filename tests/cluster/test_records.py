"""Records of members: what is read, what wins, and the digests over them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster.records import (
    FANOUT,
    LEAVES,
    MalformedRecord,
    RecordLimits,
    Records,
    Status,
    member_from_term,
)
from tests.cluster.view_terms import ALIVE, DOWN, LEFT, LIMITS, MALFORMED, MEMBERS, TERM, member


def table(records):
    made = Records(member("own@h", bits=1), LIMITS)
    for record in records:
        made.merge(record)
    return made


def alive(records):
    return sorted(record for record in records.all() if record.status is ALIVE)


# Terms


@given(MEMBERS)
def test_a_record_crosses_as_a_plain_tuple(record):
    term = record.to_term()
    assert [type(part) for part in term] == [str, int, int, tuple, bool, int, int, str, int]
    assert member_from_term(term, LIMITS) == record
    assert type(member_from_term(term, LIMITS).status) is Status


def test_a_record_of_before_tags_and_topologies_has_neither():
    assert member_from_term(TERM[:7], LIMITS) == member(tag="", topology=0)


@pytest.mark.parametrize(("term", "reason"), MALFORMED, ids=lambda value: repr(value)[:40])
def test_what_is_no_record(term, reason):
    with pytest.raises(MalformedRecord, match=f"^{reason}$"):
        member_from_term(term, LIMITS)


@pytest.mark.parametrize("name", ["max_members", "max_addresses", "max_text"])
def test_limits_that_make_no_sense(name):
    with pytest.raises(ValueError, match=name):
        RecordLimits(**{name: 0})


# What wins


@given(MEMBERS, MEMBERS)
def test_ranks_tell_any_two_records_of_a_node_apart(first, second):
    if first.node == second.node:
        assert (first.rank() == second.rank()) == (first == second)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (member(epoch=1, bits=99, version=9), member(epoch=2, bits=1, version=1)),
        (member(bits=1, version=9), member(bits=2, version=1)),
        (member(version=1), member(version=2)),
        (member(version=1), member(version=1, status=DOWN)),
        (member(version=1), member(version=1, status=LEFT)),
        (member(version=1, status=DOWN), member(version=1, status=LEFT)),
        (member(version=1, status=DOWN), member(version=2)),
        (member(version=1, status=LEFT), member(version=2)),
        (member(version=2, status=LEFT), member(epoch=2, version=1)),
        (member(version=0), member(version=1)),
    ],
    ids=["epoch", "bits", "version", "down", "left", "left over down", "refuted", "back", "new life", "its own word"],
)
def test_what_beats_what(lower, higher):
    records = Records(member("own@h", bits=1), LIMITS)
    if lower.status is not ALIVE:
        records.merge(lower._replace(version=0, status=ALIVE))
    assert records.merge(lower)
    assert not records.merge(lower)
    assert records.merge(higher)
    assert not records.merge(lower)
    assert records.get("b@h") == higher


@given(st.lists(MEMBERS.filter(lambda record: record.status is ALIVE)), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(records, random):
    shuffled = records * 2
    random.shuffle(shuffled)
    first, second = table(records), table(shuffled)
    assert sorted(first.all()) == sorted(second.all())
    assert first.root == second.root
    assert first.branches() == second.branches()


@given(st.lists(MEMBERS), st.randoms(use_true_random=False))
def test_nor_does_it_where_all_are_known(records, random):
    """One that is gone is no news to who never heard of it, so here all have been heard of."""
    known = [record._replace(epoch=0, status=ALIVE) for record in records]
    shuffled = list(records)
    random.shuffle(shuffled)
    assert sorted(table(known + records).all()) == sorted(table(known + shuffled).all())


def test_one_that_is_down_can_be_remembered_by_who_never_heard_of_it():
    records = table([])
    root = records.root
    assert [records.remember(member(status=status)) for status in (LEFT, ALIVE, DOWN, DOWN)] == [
        False,
        False,
        True,
        False,
    ]
    assert records.get("b@h") == member(status=DOWN)
    assert (records.root, records.joins) == (root, 0)
    assert records.merge(member(version=2))  # it comes back


@pytest.mark.parametrize("status", [LEFT, DOWN])
def test_one_that_is_gone_is_no_news_to_who_never_heard_of_it(status):
    records = table([])
    assert not records.merge(member(status=status))
    assert records.get("b@h") is None
    assert len(records) == 1


def test_the_table_is_bounded():
    records = Records(member("own@h"), RecordLimits(max_members=2))
    assert records.merge(member("b@h"))
    with pytest.raises(MalformedRecord, match="table full"):
        records.merge(member("c@h"))
    assert records.merge(member("b@h", version=2))
    records.forget("b@h")
    assert records.merge(member("c@h"))


def test_what_is_counted():
    records = table([member(), member(version=2), member(version=2, status=DOWN), member(version=3)])
    assert (records.joins, records.leaves) == (1, 0)
    for record in (member(version=3, status=LEFT), member(version=4), member(epoch=2), member("c@h")):
        records.merge(record)
    assert (records.joins, records.leaves) == (4, 1)


# The own record


def test_what_is_said_of_this_life_is_overruled():
    records = Records(member(version=3), LIMITS)
    assert not records.refute(member(version=3))
    assert not records.refute(member(version=2, status=LEFT))
    assert not records.refute(member(bits=21, version=9, status=DOWN))
    assert records.refute(member(version=3, status=DOWN))
    assert records.own == member(version=4)
    assert records.refute(member(version=9))
    assert records.own == member(version=10)


def test_no_version_gets_above_what_others_take():
    """A faulty peer's word of the highest version would otherwise make a node say what all refuse."""
    records = Records(member(), LIMITS)
    assert records.refute(member(version=(1 << 62) - 1))
    assert member_from_term(records.own.to_term(), LIMITS) == records.own


# Digests


@given(st.lists(MEMBERS), st.lists(MEMBERS))
def test_digests_are_equal_when_the_live_members_are(first, second):
    one, other = table(first), table(second)
    assert (one.root == other.root) == (alive(one) == alive(other))
    assert (one.branches() == other.branches()) == (alive(one) == alive(other))


def by_hand(records):
    """The digests as the module's head says them."""
    leaves = [0] * LEAVES
    for leaf in range(LEAVES):
        for digest, node in records.in_leaves([leaf]).items():
            record = records.get(node)
            assert digest == record.digest()
            leaves[leaf] ^= digest if record.status is Status.ALIVE else 0
    branches = [0] * FANOUT
    for leaf, digest in enumerate(leaves):
        branches[leaf // FANOUT] ^= digest
    root = 0
    for digest in branches:
        root ^= digest
    return root, tuple(branches), leaves


@given(st.integers(0, 2**32))
def test_the_tree_is_over_its_leaves(seed):
    random = Random(seed)
    records = table([])
    names = [f"n{index}@h" for index in range(60)]
    for _ in range(150):
        name = random.choice(names)
        if random.random() < 0.1 and records.get(name) is not None:
            records.forget(name)
        else:
            records.merge(member(name, version=random.randrange(5), status=random.choice(list(Status))))
    root, branches, leaves = by_hand(records)
    assert records.root == root
    assert records.branches() == branches
    assert [digest for branch in range(FANOUT) for digest in records.leaves_below(branch)] == leaves
    every = records.in_leaves(range(LEAVES))
    assert sorted(every.values()) == sorted(record.node for record in records.all())
    assert sorted(records.with_digests(every)) == sorted(records.all())


def test_a_record_is_asked_for_once_however_often_it_is_named():
    records = table([member(f"n{index}@h") for index in range(20)])
    every = list(records.in_leaves(range(LEAVES)))
    assert len(records.with_digests([*every, *every, 7])) == 21


def test_what_is_forgotten_is_out_of_the_digests():
    records = table([])
    root = records.root
    records.merge(member())
    records.merge(member("c@h"))
    records.forget("c@h")
    assert records.all() == [records.own, member()]
    records.forget_all()
    assert (records.root, len(records), records.all()) == (root, 1, [records.own])


def test_the_memory_of_the_dead_changes_no_digest():
    assert table([member(), member(status=DOWN)]).root == table([]).root
    assert table([member(), member(status=LEFT)]).root == table([]).root


def test_a_digest_is_the_same_in_every_interpreter():
    assert member().digest() == DIGEST


DIGEST = 3930904785630167613
