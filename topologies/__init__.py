"""Overlays: which nodes of a cluster keep a link to each other. Pick one, or write one of `overlay.Overlay`'s shape."""

if __name__ != "partisan_actors.topologies":
    raise ImportError(
        f"import this package as partisan_actors.topologies, not as {__name__}: "
        "under two names its classes would exist twice"
    )

from partisan_actors.topologies.client_server import ClientServer, NotForEveryNode
from partisan_actors.topologies.full_mesh import FullMesh
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.overlay import Overlay, Topology
from partisan_actors.topologies.registry import TopologyError, UnknownTopology, find_topology, topology_names
from partisan_actors.topologies.scamp import Scamp
from partisan_actors.topologies.static import Static
from partisan_actors.topologies.xbot import XBot

__all__ = [
    "ClientServer",
    "FullMesh",
    "HyParView",
    "NotForEveryNode",
    "Overlay",
    "Scamp",
    "Static",
    "Topology",
    "TopologyError",
    "UnknownTopology",
    "XBot",
    "find_topology",
    "topology_names",
]
