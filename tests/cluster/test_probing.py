"""Whom a node looks after without a link, and when it does not."""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.cluster.probing import Probing
from partisan_actors.cluster.suspicion import LocalHealth, SuspicionParameters

OTHERS = [f"n{number}@h" for number in range(1000)]


class Looking:
    """A node that looks after others, and a cluster whose members answer or do not."""

    def __init__(self) -> None:
        self.health = LocalHealth(SuspicionParameters())
        self.probing = Probing(self.health, 1.0, 5.0)
        self.random = Random(1)

    def around(self) -> list[str]:
        return self.probing.around(OTHERS, 4, self.random)

    def looked(self, node: str, *, answers: bool) -> list[str]:
        return self.probing.looked(node, answers, lambda: OTHERS, self.random)


@pytest.fixture
def looking() -> Looking:
    return Looking()


def test_one_time_comes_after_another(looking: Looking):
    first = looking.around()
    assert len(first) == 4
    assert looking.around() == []
    for node in first:
        assert looking.looked(node, answers=True) == []
    assert len(looking.around()) == 4


def test_as_long_as_nobody_answers_they_are_twice_as_many_each_time(looking: Looking):
    asked, counts = looking.around(), []
    while len(counts) < 8:
        counts.append(len(asked))
        *most, last = asked
        assert not any(looking.looked(node, answers=False) for node in most)
        asked = looking.looked(last, answers=False)
    assert counts == [4, 8, 16, 32, 64, 128, 256, 256]


def test_one_that_answers_is_enough(looking: Looking):
    first, *others = looking.around()
    assert looking.looked(first, answers=True) == []
    assert not any(looking.looked(node, answers=False) for node in others)


def test_others_than_those_that_were_asked_say_nothing(looking: Looking):
    looking.around()
    assert looking.looked("x@h", answers=False) == []


def test_who_looks_after_nobody_does_not_begin(looking: Looking):
    assert looking.probing.around(OTHERS, 0, looking.random) == []
    assert looking.probing.around([], 4, looking.random) == []
    assert len(looking.around()) == 4


def test_a_node_that_is_late_leaves_most_of_its_rounds_out(looking: Looking):
    assert looking.probing.in_this_round(10) == 1
    looking.health.late = 0.5
    assert sum(looking.probing.in_this_round(10) for _ in range(40)) == 10


def test_and_tries_those_that_are_down_more_rarely(looking: Looking):
    well = looking.probing.went_down("x@h", Random(1)).seconds
    looking.health.late = 0.5
    assert looking.probing.went_down("y@h", Random(1)).seconds == pytest.approx(6 * well)
