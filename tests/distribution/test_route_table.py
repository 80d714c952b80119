"""The table of ways: what takes whose place, what is given up, and its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.route_table import Neighbour, RouteTable, Seen

A, B, C = (Neighbour(name, 1000) for name in "abc")


def table(most: int = 100) -> RouteTable:
    return RouteTable(most, stale=300.0, forget=60.0)


def test_a_cheaper_way_takes_the_place_of_a_dearer_one_and_keeps_it():
    ways = table()
    ways.learn("x", A, 3, 3000, 1, 0.0)
    ways.learn("x", B, 2, 2000, 1, 0.0)
    assert ways.way("x") is B
    ways.learn("x", A, 3, 3000, 9, 1.0)
    assert ways.way("x") is B, "what is newer is not better for that"


def test_what_is_older_does_not_take_the_place_of_what_is_newer():
    ways = table()
    ways.learn("x", A, 3, 3000, 5, 0.0)
    ways.learn("x", B, 2, 2000, 4, 0.0)
    assert ways.way("x") is A


def test_a_way_that_was_not_heard_of_for_long_gives_way_to_any_newer_one():
    ways = table()
    ways.learn("x", A, 2, 2000, 1, 0.0)
    ways.learn("x", B, 9, 9000, 2, 299.0)
    assert ways.way("x") is A
    ways.learn("x", B, 9, 9000, 3, 301.0)
    assert ways.way("x") is B


def test_the_cost_of_the_way_in_use_follows_what_comes_by_it():
    ways = table()
    ways.learn("x", A, 2, 2000, 1, 0.0)
    ways.learn("x", A, 7, 7000, 2, 0.0)
    ways.learn("x", B, 5, 5000, 2, 0.0)
    assert ways.way("x") is B


def test_a_broken_way_is_not_taken_again_on_the_word_of_those_behind():
    ways = table()
    a = Neighbour("a", 1000)
    ways.learn("x", a, 3, 3000, 5, 0.0)
    a.up = False
    assert ways.way("x") is None
    assert ways.known("x") == (5, 3000)
    ways.learn("x", B, 6, 6000, 5, 1.0)
    assert ways.way("x") is None, "it is 5 ms from there: its way may lead over here"
    ways.learn("x", B, 4, 4000, 5, 1.0)
    assert ways.way("x") is B, "no farther from there than from here"


def test_a_higher_number_is_a_way_however_long():
    ways = table()
    a = Neighbour("a", 1000)
    ways.learn("x", a, 3, 3000, 5, 0.0)
    a.up = False
    ways.learn("x", B, 60, 60000, 6, 1.0)
    assert ways.way("x") is B


def test_what_has_passed_counts_even_if_the_way_was_not_taken():
    ways = table()
    a = Neighbour("a", 1000)
    ways.learn("x", a, 3, 3000, 5, 0.0)
    ways.learn("x", B, 8, 8000, 7, 0.0)
    a.up = False
    assert ways.known("x") == (7, 8000)


def test_what_is_known_of_no_way_is_forgotten_in_the_end():
    ways = table()
    a = Neighbour("a", 1000)
    ways.learn("x", a, 3, 3000, 5, 0.0)
    a.up = False
    ways.learn("x", B, 3, 3000, 1, 59.0)
    assert ways.way("x") is None
    ways.learn("x", B, 3, 3000, 1, 61.0)
    assert ways.way("x") is B


def test_another_way_stands_ready_if_it_does_not_lead_back():
    ways = table()
    ways.learn("x", A, 3, 3000, 1, 0.0)
    ways.learn("x", B, 4, 4000, 1, 0.0)
    ways.learn("x", C, 5, 5000, 1, 0.0)
    ways.give_up("x", A)
    assert ways.way("x") is B
    ways.give_up("x", B)
    assert ways.way("x") is None


@pytest.mark.parametrize(
    "number, known, bound, way",
    [
        (5, 6, 9000, None),  # older
        (5, 5, 2000, None),  # as far from the destination as who says so, and perhaps the same node
        (5, 5, 1000, None),  # farther, and perhaps behind it
        (5, 5, 3000, B),
        (5, 4, 1000, B),
        (5, 0, 0, B),  # who says so knew nothing
    ],
)
def test_another_way_is_not_taken_if_who_found_none_may_be_on_it(number, known, bound, way):
    ways = table()
    ways.learn("x", A, 3, 3000, number, 0.0)
    ways.learn("x", B, 3, 3000, number, 0.0)
    ways.give_up("x", A, known, bound)
    assert ways.way("x") is way


def test_a_way_from_before_is_not_taken_if_who_found_none_had_heard_of_a_later_one():
    # What went by B first goes by A since then: B may have heard of that way from here.
    ways = table()
    ways.learn("x", B, 4, 4000, 1, 0.0)
    ways.learn("x", A, 3, 3000, 2, 0.0)
    ways.give_up("x", A, 2, 1000)
    assert ways.way("x") is None


def test_a_way_over_a_link_that_was_made_anew_is_gone():
    ways = table()
    a = Neighbour("a", 1000)
    ways.learn("x", a, 3, 3000, 1, 0.0)
    a.up = False
    ways.learn("y", Neighbour("a", 1000), 3, 3000, 1, 0.0)
    assert ways.way("x") is None


def test_to_give_up_by_another_neighbour_changes_only_what_stands_ready():
    ways = table()
    ways.learn("x", A, 3, 3000, 1, 0.0)
    ways.learn("x", B, 4, 4000, 1, 0.0)
    ways.give_up("x", B)
    assert ways.way("x") is A
    ways.give_up("x", A)
    assert ways.way("x") is None
    ways.give_up("nobody", A)


def test_an_answer_is_given_only_by_a_way_that_was_heard_of_since():
    ways = table()
    ways.learn("x", A, 3, 3000, 5, 10.0)
    assert ways.answer("x", 0, 0, 10.0) is not None
    assert ways.answer("x", 0, 0, 10.1) is None
    assert ways.answer("x", 5, 2999, 0.0) is None
    assert ways.answer("x", 5, 3000, 0.0) is not None
    assert ways.answer("x", 6, 9999, 0.0) is None
    assert ways.answer("y", 0, 0, 0.0) is None


def test_the_table_keeps_what_is_used():
    ways = table(most=3)
    for name in "uvw":
        ways.learn(name, A, 1, 1000, 1, 0.0)
    ways.learn("x", A, 1, 1000, 1, 0.0)  # the first look takes the marks of all of them, and the oldest goes
    assert ways.get("u") is None
    assert ways.way("v") is A
    ways.learn("y", A, 1, 1000, 1, 0.0)
    assert ways.get("v") is not None
    assert ways.get("w") is None
    assert len(ways) == 3


EVENTS = st.tuples(
    st.sampled_from("wxyz"), st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.sampled_from("lhgbu")
)


@given(st.lists(EVENTS, max_size=60), st.integers(1, 3))
def test_a_way_goes_by_a_link_that_is_there_and_no_more_are_kept_than_may_be(events, most):
    ways = table(most)
    links = [Neighbour(str(number), 1000) for number in range(4)]
    for now, (name, by, hops, number, what) in enumerate(events):
        if what == "l":
            ways.learn(name, links[by], hops, 1000 * hops, number, float(now))
        elif what == "h":
            ways.learn_by_hearsay(name, links[by], hops, float(now))
        elif what == "g":
            ways.give_up(name, links[by], number, 1000 * hops)
        else:
            links[by].up = False
        if what == "u":
            links[by] = Neighbour(str(by), 1000)
        assert len(ways) <= most
        for destination in "wxyz":
            way = ways.way(destination)
            assert way is None or (way.up and way in links)


def test_what_was_seen_is_remembered_for_so_long_at_least():
    seen = Seen(100, 30.0)
    seen.put("a", 1, 0.0)
    for second in range(1, 31):
        seen.put(second, 1, float(second))
        assert seen.get("a") == 1
    seen.put("b", 1, 65.0)
    seen.put("c", 1, 130.0)
    assert seen.get("a") is None
    assert seen.get("c") == 1


def test_what_was_seen_is_forgotten_though_nothing_new_is_seen():
    seen = Seen(100, 0.5)
    seen.put("a", 1, 10.0)
    seen.expire(10.4)
    assert seen.get("a") == 1
    seen.expire(11.1)
    assert seen.get("a") is None


def test_who_lies_behind_this_node_is_no_way_though_the_way_is_known_by_an_older_number():
    # "far" was heard of by number 6 at 3,000, and the neighbour passed that on: from another it comes back at 5,000.
    ways, mine, behind = RouteTable(9, 300.0, 120.0), Neighbour("mine", 1000), Neighbour("behind", 1000)
    aside = Neighbour("aside", 1000)
    ways.learn("far", mine, 3, 3000, 4, 0.0)
    ways.learn("far", aside, 3, 3000, 6, 0.0)
    ways.learn("far", mine, 6, 6000, 6, 0.0)
    ways.learn("far", behind, 5, 5000, 6, 0.0)
    assert ways.way("far") is mine


def test_what_was_seen_is_bounded():
    seen = Seen(100, 1e9)
    for number in range(1000):
        seen.put(number, number, 0.0)
    remembered = [number for number in range(1000) if seen.get(number) is not None]
    assert 50 <= len(remembered) <= 100
    assert remembered[-1] == 999
