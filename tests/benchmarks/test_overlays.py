"""The published experiments on overlays: the graph's measures, and small runs."""

from __future__ import annotations

from collections import Counter
from random import Random

import networkx
import pytest

from benchmarks.overlays import hyparview, xbot
from benchmarks.overlays.graphs import (
    components,
    degrees,
    flood,
    graph_of,
    mean_clustering,
    one_way,
    paths,
    reliability,
)
from benchmarks.overlays.network import Network
from partisan_actors.topologies.hyparview import HyParView

RING = graph_of({"a": ["b", "d"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c", "a"]})
TRIANGLE_AND_ONE = graph_of({"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"], "d": ["gone"]})


def test_the_measures_of_a_graph():
    assert RING == [[1, 3], [0, 2], [1, 3], [2, 0]]
    assert degrees(TRIANGLE_AND_ONE) == {0: 1, 2: 3}
    assert mean_clustering(RING) == 0.0
    assert mean_clustering(TRIANGLE_AND_ONE) == 0.75
    assert flood(RING, 0) == [1, 2, 1]
    assert paths(RING, range(4)) == (4 / 3, 2.0, 2)
    assert [len(part) for part in components(TRIANGLE_AND_ONE)] == [3, 1]
    assert one_way(RING) == 0
    assert one_way([[1], []]) == 1
    assert reliability(RING, 10, Random(1)) == 1.0
    # From three of four nodes three are reached, from the last one.
    assert reliability(TRIANGLE_AND_ONE, 20_000, Random(1)) == pytest.approx((3 * 0.75 + 0.25) / 4, abs=0.01)


def test_networkx_measures_the_same():
    graph = hyparview.view_graph(hyparview.build(120, 3, Random(4)))
    same = networkx.Graph((node, peer) for node, view in enumerate(graph) for peer in view)
    assert mean_clustering(graph) == pytest.approx(networkx.average_clustering(same))
    assert len(components(graph)) == networkx.number_connected_components(same)
    assert degrees(graph) == dict(sorted(Counter(degree for _, degree in same.degree).items()))
    path, _, diameter = paths(graph, range(120))
    assert path == pytest.approx(networkx.average_shortest_path_length(same))
    assert diameter == networkx.diameter(same)


def test_a_small_overlay_is_as_the_paper_says():
    shape, failures = hyparview.experiment(400, 10, seed=1, shares=(50, 80))
    assert (shape.one_way, shape.parts) == (0, 1)
    assert shape.degrees[5] >= 99.0 and sum(shape.degrees.values()) == pytest.approx(100.0)
    assert shape.clustering < 0.02
    assert 3.9 < shape.path < 4.2
    assert [failure.one_pass for failure in failures] == [100.0, 100.0]
    assert [failure.rounds for failure in failures] == [0, 0]
    assert failures[1].unrepaired < 50.0


def test_the_cluster_view_brings_back_whom_one_pass_does_not():
    network = hyparview.build(400, 5, Random(2))
    after = hyparview.failure(network, 95, seed=2)
    assert after.rounds <= 5
    assert len(components(hyparview.view_graph(network))) == 1


def test_xbot_halves_the_cost():
    runs = xbot.experiment(200, 25, seed=1, clusters=10, shares=(50,))
    assert runs["xbot"].costs[25] < 0.5 * runs["hyparview"].costs[25]
    for run in runs.values():
        assert (run.one_way, run.parts) == (0, 1)
        assert run.failures[0].one_pass == 100.0


def test_a_run_is_the_same_for_the_same_seed():
    first, second = (hyparview.experiment(100, 3, seed=3, shares=(90,)) for _ in range(2))
    assert first == second


def test_a_network_dials_again_what_is_wanted_and_tells_who_is_gone():
    network = Network(HyParView(), Random(1))
    for name in ("a", "b"):
        network.start(name)
    network.join("b", "a")
    network.run()
    assert network.linked("a", "b")
    network.kill(["a"])
    network.run()
    assert network.nodes["b"].neighbours() == []
