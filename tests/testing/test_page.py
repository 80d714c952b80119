"""The examples of docs/simulation.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from structlog.testing import capture_logs

from partisan_actors.behaviours import GenServer
from partisan_actors.topologies import FullMesh
from partisan_actors.topologies.overlay import LinkDown, LinkUp, Message, Send

PAGE = Path(__file__).parent.parent.parent / "docs" / "simulation.md"
ACTORS, OVERLAY, LAYERS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


class Counter(GenServer):
    def init(self):
        self.count = 0

    def handle_call(self, request, caller):
        self.count += request[1]
        return self.count


class Deliver(NamedTuple):
    payload: Any


class Gossip:
    def __init__(self, node):
        self.node = node

    def step(self, event, now, random):
        match event:
            case LinkUp(peer):
                return [Send(peer, f"from {self.node}")]
            case Message(_, payload):
                return [Deliver(payload)]
        return ()


def test_actors():
    with capture_logs():
        exec(ACTORS, {"Counter": Counter})


def run_overlay(layers="", **names):
    """The example, of 20 nodes, with another `make` perhaps; its names."""
    source = OVERLAY.replace("10_000", "20").replace("\nsimulation =", f"\n{layers}\nsimulation =")
    space = {"MyTopology": FullMesh, "seed": 1, **names}
    exec(source, space)
    return space


def test_an_overlay():
    assert len(run_overlay()["degrees"]) == 20


def test_several_layers():
    delivered: list[Any] = []
    names = {"PeerUp": LinkUp, "PeerDown": LinkDown, "Received": Message, "delivered": delivered}
    space = run_overlay(LAYERS, Gossip=Gossip, Deliver=Deliver, Send=Send, **names)
    assert len(delivered) == sum(space["simulation"].sent) > 20
