"""The experiments: what runs, with which parameters at full size and in small, and with how many seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.overlays import hyparview, plumtree, real, routing, views, xbot
from benchmarks.overlays.rows import Row

__all__ = ["EXPERIMENTS", "Experiment"]


class Experiment(NamedTuple):
    """One of them. The sizes are those of the papers and of what is promised."""

    title: str
    run: Callable[..., list[Row]]  # of `seed` and the parameters
    full: dict[str, Any]
    smoke: dict[str, Any]
    seeds: int  # at full size
    minutes: float  # of a core, for a seed of full size: the longest are begun first
    alone: bool = False  # uses all cores: nothing runs beside it


def _over_tcp(topology: str, nodes: int, processes: int, minutes: float) -> Experiment:
    full = {"topology": topology, "nodes": nodes, "processes": processes, "rest": 60.0, "idle": 30.0}
    smoke = {"topology": topology, "nodes": 8, "processes": 4, "rest": 1.0, "idle": 0.5}
    return Experiment(f"Real TCP: {topology.replace('_', ' ')}", real.rows, full, smoke, 1, minutes, alone=True)


EXPERIMENTS = {
    "hyparview": Experiment(
        "HyParView", hyparview.rows, {"nodes": 10_000, "cycles": 50}, {"nodes": 150, "cycles": 5}, 10, 1.8
    ),
    "xbot": Experiment(
        "X-BOT beside HyParView",
        xbot.rows,
        {"nodes": 2_000, "cycles": 50, "clusters": 20},
        {"nodes": 120, "cycles": 12, "clusters": 6},
        10,
        1.0,
    ),
    "map": Experiment(
        "The links of both on the map",
        xbot.map_rows,
        {"nodes": 400, "cycles": 50, "clusters": 12},
        {"nodes": 120, "cycles": 12, "clusters": 6},
        1,
        0.1,
    ),
    "plumtree": Experiment(
        "Plumtree over HyParView",
        plumtree.rows,
        {"nodes": 10_000, "broadcasts": 100, "cycles": 50, "failed": 50},
        {"nodes": 120, "broadcasts": 12, "cycles": 3, "failed": 50},
        3,
        4.5,
    ),
    "routing": Experiment(
        "Routing over HyParView",
        routing.rows,
        {"nodes": 10_000, "destinations": 200, "sources": 10, "overlay": "hyparview"},
        {"nodes": 120, "destinations": 10, "sources": 4, "overlay": "hyparview"},
        1,
        15.0,
    ),
    "storm": Experiment("A storm of joins", views.storm_rows, {"nodes": 1_000}, {"nodes": 60}, 3, 1),
    "views": Experiment("The cluster view over HyParView", views.view_rows, {"nodes": 2_000}, {"nodes": 60}, 1, 7.0),
    "tcp-hyparview": _over_tcp("hyparview", 1_000, 4, 20.0),
    "tcp-full-mesh": _over_tcp("full_mesh", 200, 4, 10.0),
    "tcp-client-server": _over_tcp("client_server", 1_000, 4, 20.0),
}
