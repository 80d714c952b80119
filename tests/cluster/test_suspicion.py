"""How long a suspected member has: the times of Lifeguard, by hand."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster.suspicion import LocalHealth, Suspicion, SuspicionParameters

PARAMETERS = SuspicionParameters(shortest=1.0, longest=5.0, refused=0.3, confirmations=3, worst_health=8)


def suspicion(*suspectors, refused=False):
    made = Suspicion(1, 100.0, PARAMETERS)
    for suspector in suspectors:
        made.add(suspector, refused)
    return made


@pytest.mark.parametrize(
    ("suspectors", "others", "health", "seconds"),
    [
        ("a", 10, 0, 5.0),
        ("ab", 10, 0, 5.0 - 4.0 * log(2) / log(4)),
        ("abc", 10, 0, 5.0 - 4.0 * log(3) / log(4)),
        ("abcd", 10, 0, 1.0),
        ("abcdefg", 10, 0, 1.0),
        ("a", 1, 0, 5.0),
        ("ab", 1, 0, 1.0),
        ("abc", 2, 0, 1.0),
        ("a", 0, 0, 0.0),
        ("a", 10, 1, 10.0),
        ("abcd", 10, 8, 9.0),
    ],
)
def test_how_long_it_has(suspectors, others, health, seconds):
    assert suspicion(*suspectors).when_down(others, health) == pytest.approx(100.0 + seconds)


def test_a_machine_that_refuses_is_proof_almost():
    assert suspicion("a", refused=True).when_down(10, 0) == pytest.approx(100.3)
    assert suspicion("a", "b", refused=True).when_down(10, 2) == pytest.approx(100.9)


@given(st.integers(1, 20), st.integers(0, 8), st.booleans())
def test_confirmations_never_make_it_longer(others, health, refused):
    made = suspicion()
    before = float("inf")
    for suspector in "abcdef":
        made.add(suspector, refused)
        due = made.when_down(others, health)
        assert due <= before
        assert 100.0 + PARAMETERS.refused <= due <= 100.0 + PARAMETERS.longest * (1 + health)
        before = due


def test_only_what_changes_something_is_told_to_others():
    made = suspicion()
    assert made.add("a", False)
    assert not made.add("a", False)
    assert made.add("a", True)
    assert not made.add("a", True)


def test_confirmations_are_told_up_to_as_many_as_count():
    made = suspicion("a")
    assert [made.add(suspector, False) for suspector in "bcde"] == [True, True, True, False]
    assert sorted(made.suspectors) == ["a", "b", "c", "d"]


def test_of_one_that_is_refused_no_confirmation_is_told():
    made = suspicion("a", refused=True)
    assert [made.add(suspector, refused) for suspector, refused in (("b", False), ("c", True))] == [False, False]
    assert sorted(made.suspectors) == ["a", "b", "c"]


def test_it_can_be_put_off():
    made = suspicion("a", "b", "c", "d")
    made.not_before = 107.0
    assert made.when_down(10, 0) == 107.0
    assert made.when_down(10, 8) == 109.0


def test_health_is_between_well_and_the_worst():
    health = LocalHealth(PARAMETERS)
    health.better()
    assert health.score == 0
    for _ in range(20):
        health.worse()
    assert health.score == 8
    health.better()
    assert health.score == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"refused": 0.0},
        {"refused": 2.0},
        {"shortest": 6.0},
        {"longest": 0.5},
        {"confirmations": 0},
        {"worst_health": -1},
    ],
    ids=repr,
)
def test_parameters_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SuspicionParameters(**wrong)


def test_a_node_whose_timers_are_late_is_not_well():
    health = LocalHealth(PARAMETERS)
    assert (health.score, health.is_late) == (0, False)
    health.late = 0.35
    assert (health.score, health.is_late) == (3, True)
    health.late = 0.05
    assert (health.score, health.is_late) == (0, False)


def test_late_or_slow_it_is_never_worse_than_the_worst():
    health = LocalHealth(PARAMETERS)
    for _ in range(20):
        health.worse()
    health.late = 1.0
    assert health.score == PARAMETERS.worst_health
