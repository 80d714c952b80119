"""The pieces of the broadcast: marks, the log, the hashes over roots, the table of what is missing."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster.broadcast_births import MOST_BIRTHS, Births
from partisan_actors.cluster.broadcast_events import PlumtreeParameters, Root
from partisan_actors.cluster.broadcast_log import BroadcastLog
from partisan_actors.cluster.broadcast_marks import Marks, common, count, without
from partisan_actors.cluster.broadcast_roots import BRANCHES, LEAVES, Roots
from partisan_actors.cluster.plumtree_beyond import Beyond
from partisan_actors.cluster.plumtree_missing import Missing
from partisan_actors.cluster.plumtree_trees import Trees

NUMBERS = st.lists(st.integers(1, 40), max_size=60)


def ranges_of(numbers):
    """A set of numbers as ranges."""
    ranges = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def numbers_of(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


def marks_of(numbers, now=0.0):
    marks = Marks()
    for number in numbers:
        marks.add(number, now)
    return marks


@given(NUMBERS, NUMBERS)
def test_ranges_are_sets_of_numbers(ones, others):
    one, other = ranges_of(set(ones)), ranges_of(set(others))
    assert numbers_of(without(one, other)) == set(ones) - set(others)
    assert numbers_of(common(one, other)) == set(ones) & set(others)
    assert count(one) == len(set(ones))


@given(NUMBERS)
def test_a_number_is_new_once(numbers):
    marks, seen = Marks(), set()
    for number in numbers:
        assert marks.add(number, 0.0) == (number not in seen)
        seen.add(number)
        assert all(marks.seen(other) == (other in seen) for other in range(1, 45))
    assert marks.high == max(seen, default=0)
    assert numbers_of(marks.missing) == set(range(1, marks.high + 1)) - seen
    assert list(marks.missing) == ranges_of(numbers_of(marks.missing))


@given(NUMBERS, NUMBERS, st.integers(0, 50))
def test_what_another_has_seen_and_this_one_has_not(mine, theirs, known):
    one, other = marks_of(mine), marks_of(theirs)
    other.learn(known, 0.0)
    assert numbers_of(one.lacking(other.high, other.missing)) == set(theirs) - set(mine)
    one.take_over(other.high, other.missing, 1.0)
    assert {n for n in range(1, 60) if one.seen(n)} == set(mine) | set(theirs)
    assert one.high == max(other.high, *mine, *theirs, 0)


def test_equal_knowledge_looks_equal_however_it_was_come_by():
    one = marks_of([2])
    one.learn(5, 1.0)
    one.add(7, 2.0)
    other = marks_of([7, 2])
    assert (one.high, one.missing) == (other.high, other.missing) == (7, ((1, 1), (3, 6)))


def test_what_is_missing_for_long_is_given_up_and_seen_from_then_on():
    marks = Marks()
    marks.add(3, 10.0)
    marks.add(9, 20.0)
    assert marks.give_up(10.0) == [(1, 2)] and marks.missing == ((4, 8),)
    assert not marks.add(2, 30.0) and marks.add(5, 30.0)
    assert marks.give_up_lowest() == (4, 4)
    assert marks.give_up(20.0) == [(6, 8)] and marks.missing == () and marks.high == 9


def test_a_hole_of_a_million_is_one_range():
    marks = marks_of([1, 1_000_000])
    assert marks.missing == ((2, 999_999),) and marks.holes == 1


def log_with(parameters, *entries):
    log = BroadcastLog(parameters)
    for number, born, now in entries:
        log.add(Root("r", 1), number, "h", b"p", born=born, now=now, hop=1, own=False, parent=None)
    return log


def test_the_log_knows_what_was_broadcast_since_a_time():
    log = log_with(PlumtreeParameters(), (1, 0.0, 0.0), (3, 2.0, 2.0))
    log.add(Root("q", 1), 1, "h", b"p", born=0.5, now=3.0, hop=1, own=False, parent=None)
    log.add(Root("r", 1), 2, "h", b"p", born=1.0, now=3.0, hop=1, own=False, parent=None)
    since = [[(kept.root.node, kept.number) for kept in log.born_since(time)] for time in (3.5, 2.5, 1.0, 0.0)]
    assert since == [[], [], [("r", 2), ("r", 3)], [("r", 2), ("q", 1), ("r", 3), ("r", 1)]]
    assert log.numbers(Root("r", 1)) == [1, 2, 3] and log.numbers(Root("x", 1)) == []


def test_age_crosses_nodes_so_that_nothing_goes_round_for_ever():
    parameters = PlumtreeParameters(retention=100.0, hold=5.0)
    log = log_with(parameters, (1, -97.0, 0.0))  # broadcast 97 s ago, and has just come
    log.expire(4.9)
    assert len(log) == 1
    log.expire(5.0)
    assert len(log) == 0 and log.bytes == 0


def known(parameters=None, **numbers):
    roots = Roots(parameters or PlumtreeParameters())
    for node, seen in numbers.items():
        roots.member_up(node, 1)
        state = roots.make(Root(node, 1), 0.0)
        for number in range(1, seen + 1):
            state.marks.add(number, 0.0)
        roots.changed(state.root)
    return roots


def test_equal_knowledge_has_equal_hashes_whatever_the_order():
    numbers = {f"n{index}": index % 5 for index in range(300)}
    shuffled = list(numbers.items())
    Random(1).shuffle(shuffled)
    one, other = known(**numbers), known(**dict(shuffled))
    assert one.digest(0.0) == other.digest(0.0) != 0
    assert one.branches(0.0) == other.branches(0.0)
    state = other.get(Root("n7", 1))
    state.marks.add(3, 0.0)
    other.changed(state.root)
    assert one.digest(0.0) != other.digest(0.0)
    differing = [branch for branch in range(BRANCHES) if one.branches(0.0)[branch] != other.branches(0.0)[branch]]
    (branch,) = differing
    leaves = [leaf for leaf in range(64) if one.leaves(branch)[leaf] != other.leaves(branch)[leaf]]
    assert leaves == [state.leaf - branch * 64]
    assert state in other.under([state.leaf]) and len(list(other.under(range(LEAVES)))) == 240


def test_a_root_that_has_not_broadcast_is_in_no_hash():
    assert known(a=0).digest(0.0) == known().digest(0.0) == 0


def test_who_is_long_down_is_in_no_hash_but_remembered_until_it_comes_back():
    parameters = PlumtreeParameters(retention=100.0)
    roots = known(parameters, a=3, b=1)
    roots.member_down("a", 1, 0.0)
    roots.sweep(199.0)
    assert roots.digest(199.0) == known(a=3, b=1).digest(0.0)
    roots.sweep(201.0)
    assert roots.digest(201.0) == known(b=1).digest(0.0)
    assert roots.get(Root("a", 1)).marks.high == 3
    roots.member_up("a", 1)
    assert roots.digest(202.0) == known(a=3, b=1).digest(0.0)


def test_the_root_that_has_been_down_longest_makes_room():
    roots = known(PlumtreeParameters(max_roots=3), a=1, b=1, c=1)
    assert roots.make(Root("d", 1), 0.0) is None
    roots.member_down("b", 1, 1.0)
    roots.member_down("a", 1, 2.0)
    assert roots.make(Root("d", 1), 3.0) is not None
    assert roots.get(Root("b", 1)) is None and roots.get(Root("a", 1)) is not None


def test_an_announcer_is_asked_once_and_in_turn():
    missing = Missing(PlumtreeParameters())
    for node in ("b", "a", "b"):
        assert missing.announced(Root("r", 1), 1, False, node, 3, 0.0)
    assert missing.next_due() == 0.5
    assert missing.ask(0.4, lambda node: True) == []
    assert missing.ask(0.5, lambda node: True) == [(Root("r", 1), 1, False, "b")]
    missing.announced(Root("r", 1), 1, False, "b", 3, 0.6)
    assert missing.ask(0.7, lambda node: True) == [(Root("r", 1), 1, False, "a")]
    assert missing.ask(0.9, lambda node: True) == [] and len(missing) == 0 and missing.next_due() is None


def test_timers_of_what_has_come_take_no_room():
    missing = Missing(PlumtreeParameters(max_missing=10))
    for number in range(1, 1000):
        missing.announced(Root("r", 1), number, False, "a", 1, 0.0)
        missing.arrived(Root("r", 1), number, "b", 0.01)
    assert len(missing) == 0 and len(missing._due) <= 2 * 10 + 65


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["up", "down", "lazy", "eager"])), max_size=40))
def test_lazy_neighbours_are_neighbours_and_no_tree_is_left_without_an_eager_one_by_a_loss(steps):
    trees = Trees(4)
    for node, what in steps:
        if what == "up":
            trees.add(node)
        elif what == "down" and trees.is_neighbour(node):
            eager = trees.eager(None) != [] and trees.eager(None) != [node]
            repaired = trees.remove(node)
            assert (None in repaired) == (bool(trees.neighbours) and not eager and trees.eager(None) != [])
            assert not trees.neighbours or trees.eager(None)
        elif trees.is_neighbour(node):
            trees.used(None).add(node) if what == "lazy" else trees.used(None).discard(node)
            if not trees.eager(None):
                trees.used(None).discard(node)
        assert trees.lazy(None) <= set(trees.neighbours)
        assert trees.neighbours == sorted(set(trees.neighbours))


def test_by_when_numbers_were_broadcast_is_known_for_long_in_a_few_whiles():
    births = Births()
    for number in range(1, 1001):
        births.note(number, float(number), grain=10.0)
    assert len(births.told(1000.0)) <= MOST_BIRTHS
    for time in range(1, 1100):
        before = births.before(float(time))
        assert before < time
        assert before >= min(time - 1, 1000) - max(20, (1000 - time) // 2)
    assert births.before(1000.5) == 1000


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0.0, 20.0), st.floats(0.0, 9.0)), max_size=60), st.randoms())
def test_since_a_time_more_than_was_may_be_taken_for_it_but_never_less_nor_something_for_nothing(steps, random):
    truth: dict[int, float] = {}
    births, heir, now, number = Births(), Births(), 0.0, 0
    for numbers, pause, late in steps:
        for _ in range(numbers):
            number += 1
            truth[number] = now
            if random.random() < 0.8:  # or it has not come
                births.note(number, now + late * random.random(), grain=15.0)
        now += pause
    births.note(number, now, grain=15.0)
    heir.take_over(births.told(now), now)
    # The heir was told ages: of a birth 1e-224 s after another one, a second ago, these are the same.
    for known, error, exact in ((births, 0.0, 0.0), (heir, 0.002, 1e-9)):
        for time in [random.uniform(0.0, now + 1.0) for _ in range(20)]:
            before = known.before(time)
            assert all(truth[one] < time + exact for one in range(1, before + 1))
            if all(born < time - 9.0 - error for born in truth.values()) and now < time:
                assert before == number


def test_members_beyond_the_neighbours_are_asked_in_the_order_in_which_they_became_known():
    beyond = Beyond("me")
    for name in ("c", "a", "me", "b", "d"):
        beyond.member_up(name)
    assert beyond.next(2, ["a"]) == ["c", "b"]
    beyond.member_down("c")
    assert "c" not in beyond and "d" in beyond and "me" not in beyond
    beyond.member_up("c")
    assert beyond.next(2, ["a"]) == ["c", "d"]
    assert beyond.next(3, []) == ["a"]
    assert beyond.next(3, []) == ["c", "a", "b"]
    assert Beyond("me").next(3, []) == []


def test_those_that_are_gone_keep_their_places_but_not_too_many_of_them():
    beyond = Beyond("me")
    for index in range(3000):
        beyond.member_up(f"n{index}")
        beyond.member_down(f"n{index}")
    beyond.member_up("n2999")
    assert beyond.next(9, []) == ["n2999"]
    assert len(beyond._members) <= 1001
