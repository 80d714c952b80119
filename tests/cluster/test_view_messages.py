"""What cluster views tell each other: reading it, comparing two tables with it, and what older peers are sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster import view_messages as messages
from partisan_actors.cluster.records import FANOUT, LEAVES, MalformedRecord, Records
from tests.cluster.view_terms import DOWN, LEFT, LIMITS, MALFORMED, MEMBERS, entry, hello, member, news, view, word


def test_an_entry_says_since_when_its_member_is_gone():
    gone = member(status=DOWN)
    assert messages.entry_of(gone, 61.9) == entry(gone, 61)
    assert messages.entry_of(gone, -3.0) == entry(gone, 0)
    assert messages.entry_of(member(), None) == entry(member(), -1)
    assert messages.entry_from_term(entry(gone, 61), LIMITS) == (gone, 61)
    assert len(entry(gone)) == messages.ENTRY_FIELDS


@given(MEMBERS, st.integers(-1, 100))
def test_an_entry_crosses(record, gone_for):
    assert messages.entry_from_term(entry(record, gone_for), LIMITS) == (record, gone_for)


@pytest.mark.parametrize(("term", "reason"), MALFORMED, ids=lambda value: repr(value)[:40])
def test_what_is_no_entry(term, reason):
    with pytest.raises(MalformedRecord, match=f"^{reason}$"):
        messages.entry_from_term((*term, -1) if type(term) is tuple else term, LIMITS)


@pytest.mark.parametrize("gone_for", [-2, 1.5, None, True, "1"])
def test_a_bad_age(gone_for):
    with pytest.raises(MalformedRecord, match=r"^down for$"):
        messages.entry_from_term(entry(member(), gone_for), LIMITS)


def test_entries_are_read_each_for_itself():
    b, c, d = member(), member("c@h"), member("d@h")
    faults = []
    terms = (entry(b), entry(c), (), entry(c), entry(d, -5), entry(d), [])
    read = list(messages.read_entries(terms, LIMITS, {"b@h": entry(b)}.get, faults))
    assert read == [((c, -1), entry(c)), ((d, -1), entry(d))]
    assert faults == ["shape", "duplicate", "down for", "shape"]


def test_what_was_told_before_is_a_double_all_the_same():
    b = member()
    faults = []
    assert list(messages.read_entries((entry(b), entry(b)), LIMITS, {"b@h": entry(b)}.get, faults)) == []
    assert faults == ["duplicate"]


def test_a_beacon_crosses_and_not_to_an_older_peer():
    assert messages.beacon_from_term(("b@h", 20, 3), LIMITS) == ("b@h", 20, 3)
    assert messages.as_before_suspicions(("beacon", "b@h", 20, 3)) is None


def test_a_suspicion_crosses():
    term = word(member(), "c@h", True)
    assert messages.suspicion_from_term(term, LIMITS) == ("b@h", 1, 20, 1, "c@h", True)


@pytest.mark.parametrize(
    "term",
    [
        None,
        (),
        [],
        ("b@h", 1, 20, 1, "c@h"),
        ("b@h", 1, 20, 1, "c@h", 1),
        ("b@h", 1, 20, 1, "", True),
        ("", 1, 20, 1, "c@h", True),
        ("b@h", True, 20, 1, "c@h", True),
        ("b@h", 1, -1, 1, "c@h", True),
        ("b@h", 1, 20, 1 << 62, "c@h", True),
        ("b@h", 1, 20, 1, 5, True),
        ("b\n", 1, 20, 1, "c@h", True),
    ],
    ids=repr,
)
def test_what_is_no_suspicion(term):
    with pytest.raises(MalformedRecord):
        messages.suspicion_from_term(term, LIMITS)


# Two tables


def table(records, own="own@h"):
    made = Records(member(own, bits=1), LIMITS)
    for record in records:
        made.merge(record)
    return made


def entry_of(record):
    return messages.entry_of(record, None)


MANY = [member(f"n{index}@h") for index in range(100)]


def test_equal_tables_have_nothing_to_say():
    records = table(MANY)
    assert messages.answer_hello(records, records.root, 5, 32, entry_of) == ("view", ())


@pytest.mark.parametrize("count", [32, 0, None, True, -5, "9"])
def test_small_tables_and_those_of_peers_that_do_not_count_are_answered_whole(count):
    records = table(MANY)
    kind, entries = messages.answer_hello(records, 1, count, 32, entry_of)
    assert kind == "view"
    assert [term[0] for term in entries] == ["own@h", *(record.node for record in MANY)]
    few = table(MANY[:31])
    assert messages.answer_hello(few, 1, 1000, 32, entry_of)[0] == "view"
    assert messages.answer_hello(table(MANY[:32]), 1, 1000, 32, entry_of)[0] == "branches"


@given(st.lists(st.sampled_from(MANY)), st.lists(st.sampled_from(MANY)))
def test_what_differs_is_found_in_three_steps_and_no_more_is_told(left, right):
    ours, theirs = table(left), table(right, own="own@h")
    leaves = messages.answer_branches(theirs, ours.branches())
    digests = messages.answer_leaves(ours, leaves[1])
    assert digests[0] == "digests"
    kind, wanted, told_us = messages.answer_digests(theirs, *digests[1:], entry_of)
    assert kind == "records"
    kind, told_them = messages.answer_records(ours, wanted, entry_of)
    assert kind == "view"
    here, there = set(ours.all()), set(theirs.all())
    assert {messages.entry_from_term(term, LIMITS).member for term in told_us} == there - here
    assert {messages.entry_from_term(term, LIMITS).member for term in told_them} == here - there


def test_of_large_tables_one_difference_costs_little():
    ours, theirs = table(MANY[1:]), table(MANY)
    leaves = messages.answer_branches(theirs, ours.branches())
    assert len(leaves[1]) == 1
    _, different, digests = messages.answer_leaves(ours, leaves[1])
    assert len(different) == 1
    assert len(digests) <= 4
    assert len(messages.answer_digests(theirs, different, digests, entry_of)[2]) == 1


def test_nobody_is_asked_for_what_has_changed_meanwhile():
    records = table(MANY[:3])
    digests = tuple(record.digest() for record in MANY[:3])
    records.merge(MANY[1]._replace(version=9))
    _, entries = messages.answer_records(records, (*digests, digests[0]), entry_of)
    assert [term[0] for term in entries] == [MANY[0].node, MANY[2].node]


@pytest.mark.parametrize(
    "digests", [(), (0,) * (FANOUT - 1), (0,) * (FANOUT + 1), (None,) * FANOUT, (True,) * FANOUT], ids=repr
)
def test_what_are_no_branches(digests):
    with pytest.raises(MalformedRecord, match="digests"):
        messages.answer_branches(table([]), digests)


@pytest.mark.parametrize(
    "digests",
    [
        ((0, (0,) * FANOUT),) * (FANOUT + 1),
        ((FANOUT, (0,) * FANOUT),),
        ((-1, (0,) * FANOUT),),
        ((0, (0,) * 3),),
        ((0,),),
        (None,),
        ([0, (0,) * FANOUT],),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_are_no_leaves(digests):
    with pytest.raises(MalformedRecord, match="digests"):
        messages.answer_leaves(table([]), digests)


@pytest.mark.parametrize(
    "leaves", [(LEAVES,), (-1,), (True,), ("1",), (1,) * (LEAVES + 1), ((),)], ids=lambda v: repr(v)[:20]
)
def test_what_are_no_numbers_of_leaves(leaves):
    with pytest.raises(MalformedRecord, match="leaves"):
        messages.answer_digests(table([]), leaves, (), entry_of)


@pytest.mark.parametrize("digests", [(None,), (True,), (-1,), (1 << 64,), (1.0,), ((),), ([],)], ids=repr)
def test_what_are_no_digests_of_records(digests):
    with pytest.raises(MalformedRecord, match="digests"):
        messages.answer_digests(table([]), (), digests, entry_of)
    with pytest.raises(MalformedRecord, match="digests"):
        messages.answer_records(table([]), digests, entry_of)


# Peers of before suspicions


@pytest.mark.parametrize(
    ("payload", "older"),
    [
        (hello(member(tag="t", topology=3), 7, 9), ("hello", (*member().to_term()[:7], -1), 7)),
        (view(), ("view", ())),
        (view(member()), ("view", ((*member().to_term()[:7], -1),))),
        (view(member(), member("c@h", status=DOWN)), ("view", ((*member().to_term()[:7], -1),))),
        (news(member("c@h", status=DOWN), words=(word(member(), "a@h"),)), None),
        (news(words=(word(member(), "a@h"),)), None),
        (news(member(status=LEFT)), ("news", ((*member(status=LEFT).to_term()[:7], -1),))),
        (("branches", (0,) * FANOUT), None),
        (("leaves", ()), None),
        (("digests", (), ()), None),
        (("records", (1,), (entry(member()),)), None),
        (("topology", 1, "a@h", "full_mesh", {}), None),
        (("unwanted",), None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_older_peers_are_sent(payload, older):
    assert messages.as_before_suspicions(payload) == older


def test_an_older_peer_is_not_sent_the_digests_that_it_does_not_know():
    """Its hello has no count, and so the answer is a whole table, which is sent as a view."""
    answer = messages.answer_hello(table(MANY), 1, None, 32, entry_of)
    assert messages.as_before_suspicions(answer)[0] == "view"
