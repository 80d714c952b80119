"""Pids, references, lives and names: equality, order, hashing, and how they print."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from partisan_actors.processes.identity import Global, Life, Pid, Ref, Remote, Via

HOME = Life("orders@10.0.0.7", 5, 77)


def test_a_life_is_its_name_and_its_bits():
    assert Life("a@h", 1, 2) == Life("a@h", 9, 2)  # the epoch orders lives, and does not tell them apart
    assert Life("a@h", 1, 2) != Life("a@h", 1, 3)
    assert Life("a@h", 1, 2) != Life("b@h", 1, 2)
    assert hash(Life("a@h", 1, 2)) == hash(Life("a@h", 9, 2))
    assert Life("a@h", 1, 2) != "a@h"
    assert repr(Life("a@h", 1, 2)) == "Life('a@h', epoch=1, bits=0x0000000000000002)"


def test_a_pid_prints_its_node_and_number():
    assert str(Pid(HOME, 17)) == repr(Pid(HOME, 17)) == "<orders@10.0.0.7 17>"
    assert str(Ref(HOME, 17)) == "#Ref<orders@10.0.0.7 17>"
    assert Pid(HOME, 17).node == "orders@10.0.0.7"


@pytest.mark.parametrize("kind", [Pid, Ref])
def test_equal_ones_are_the_same_key(kind):
    first, second = kind(HOME, 17), kind(Life("orders@10.0.0.7", 6, 77), 17)
    assert first == second and hash(first) == hash(second) and {first: 1}[second] == 1
    assert copy.deepcopy(first) == first


@pytest.mark.parametrize("kind", [Pid, Ref])
def test_different_ones_differ(kind):
    one = kind(HOME, 17)
    assert one != kind(HOME, 18)
    assert one != kind(Life("orders@10.0.0.7", 5, 78), 17)  # another life of the node
    assert one != kind(Life("stock@10.0.0.7", 5, 77), 17)
    assert one != 17


def test_a_pid_is_no_reference():
    assert Pid(HOME, 17) != Ref(HOME, 17)
    with pytest.raises(TypeError):
        _ = Pid(HOME, 17) < Ref(HOME, 18)


@pytest.mark.parametrize("kind", [Pid, Ref])
def test_the_order_is_total_and_the_same_everywhere(kind):
    ordered = [
        kind(Life("a@h", 9, 1), 5),
        kind(Life("a@h", 9, 2), 3),
        kind(Life("a@h", 1, 2), 4),
        kind(Life("b@h", 1, 1), 1),
    ]
    assert sorted(ordered[i] for i in (2, 0, 3, 1)) == ordered
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            assert one < other and one <= other and other > one and other >= one and not other < one
    assert ordered[0] <= kind(Life("a@h", 9, 1), 5) and ordered[0] >= kind(Life("a@h", 9, 1), 5)


@pytest.mark.parametrize("name", [Remote("x", "a@h"), Global("x"), Via("registry", "x")])
def test_names_are_frozen_values(name):
    assert name == copy.copy(name) and hash(name) == hash(copy.copy(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(name, dataclasses.fields(name)[0].name, "y")
    assert len({Remote("x", "a@h"), Global("x"), Via("x", "a@h")}) == 3
