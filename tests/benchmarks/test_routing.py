"""The experiment on routing, small: it measures what it says, reaches what is promised, and can be repeated."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from benchmarks.overlays.routing import LATENCIES, OVERLAYS, best_ways, experiment


def rows(latency: str, overlay: str = "random") -> dict[str, dict[str, Any]]:
    """The rounds by name."""
    made = experiment(overlay, latency, nodes=150, destinations=12, sources=5, seed=1)
    return {name: counted.row() for name, counted in made.items()}


@pytest.mark.parametrize("latency", sorted(LATENCIES))
def test_a_quiet_overlay_loses_nothing_and_takes_short_ways(latency: str):
    found = rows(latency)
    for name in ("first", "quiet"):
        assert found[name]["sent"] == found[name]["arrived"] == 120
        assert found[name]["frames_per_hop"] == 1.0
    assert found["first"]["look_up_messages"] > 0
    assert found["quiet"]["look_up_messages"] == found["quiet"]["mean_wait_ms"] == 0
    stretch = "hops_stretch" if latency == "unit" else "latency_stretch"
    assert 1.0 <= found["quiet"][stretch] <= 1.3
    assert found["mended"]["arrived"] >= 0.9 * found["mended"]["sent"] > 0


def test_the_same_seed_gives_the_same_rows():
    assert rows("clustered") == rows("clustered")


def test_the_ways_of_hyparview_are_as_good():
    found = rows("unit", "hyparview")
    assert found["quiet"]["arrived"] == found["quiet"]["sent"]
    assert found["quiet"]["hops_stretch"] <= 1.3


def test_the_best_ways_are_the_shortest_and_the_fastest():
    seconds = {frozenset((0, 1)): 5.0, frozenset((0, 2)): 1.0, frozenset((1, 2)): 1.0, frozenset((2, 3)): 1.0}
    graph = [[1, 2], [0, 2], [0, 1, 3], [2]]
    ways = best_ways(graph, lambda one, other: seconds[frozenset((one, other))], 0)
    assert ways == [(0.0, 0), (2.0, 1), (1.0, 1), (2.0, 2)]


@pytest.mark.parametrize("overlay", sorted(OVERLAYS))
def test_every_link_of_an_overlay_is_one_of_both_ends(overlay: str):
    graph = OVERLAYS[overlay](200, Random(1))
    assert all(node in graph[peer] for node, view in enumerate(graph) for peer in view)
    assert sum(len(view) == 5 for view in graph) >= 190
