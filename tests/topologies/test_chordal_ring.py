"""Whom news go to, where all are linked: few, both ways, and everybody in the end."""

from __future__ import annotations

import math

import pytest

from partisan_actors.topologies import FullMesh
from partisan_actors.topologies.chordal_ring import FEW, chordal_ring


def ring(size: int) -> dict[str, list[str]]:
    """By node, whom it passes on to."""
    names = sorted(f"n{number}@h" for number in range(size))
    return {name: list(chordal_ring(name, [other for other in names if other != name])) for name in names}


def test_few_are_all_passed_on_to():
    assert all(len(chosen) == FEW for chosen in ring(FEW + 1).values())


def test_the_chords_of_one_node():
    names = [f"n{number:02}@h" for number in range(20)]
    others = names[:3] + names[4:]
    # Of place 3: 1, 4 and 16 further, and before it.
    places = [4, 7, 19, 2, 19, 7]
    assert list(chordal_ring(names[3], others)) == [names[place] for place in sorted(set(places))]


@pytest.mark.parametrize("size", [2, 9, 10, 11, 17, 64, 65, 200, 257, 1000])
def test_it_is_symmetrical(size):
    chosen = ring(size)
    assert all(node in chosen[other] for node in chosen for other in chosen[node])
    assert all(node not in others and others == sorted(set(others)) for node, others in chosen.items())


@pytest.mark.parametrize("size", [2, 10, 65, 200, 1000, 4097])
def test_all_are_reached_soon_and_none_has_many(size):
    chosen = ring(size)
    factors = math.ceil(math.log(size, 4)) + 1
    assert max(map(len, chosen.values())) <= max(FEW, 2 * factors)
    reached = edge = {min(chosen)}
    steps = 0
    while len(reached) < size:
        edge = {other for node in edge for other in chosen[node]} - reached
        assert edge
        reached = reached | edge
        steps += 1
    assert steps <= 3 * factors


def test_a_full_mesh_passes_news_on_round_it():
    names = [f"n{number:02}@h" for number in range(100)]
    machine = FullMesh().overlay("n50@h")
    linked = [name for name in names if name != "n50@h"]
    assert machine.gossip(linked) == chordal_ring("n50@h", linked)
    assert len(machine.gossip(linked)) == 8
    assert machine.gossip(linked[:8]) == linked[:8]
