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
    assert made.add("b", False)
    assert made.add("c", False)
    assert made.add("d", False)
    assert not made.add("e", False)
    assert sorted(made.suspectors) == ["a", "b", "c", "d"]


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
