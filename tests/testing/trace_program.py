"""Runs a simulation with everything in it, and prints its trace's length and hash: `python -m ... SEED`."""

from __future__ import annotations

import sys

from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.network import ExponentialLatency, Network
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.testing.trace import Trace
from tests.testing.machines import Flooder


def traced(seed, **options):
    """The trace of 30 nodes that meet all that can happen."""
    trace = Trace(keep=None)
    network = Network(ExponentialLatency(), loss=0.01, duplication=0.01, reordering=0.01)
    simulation = ProtocolSimulation(
        seed, lambda node: [overlay_layer(Flooder())], network=network, trace=trace, strict=True, **options
    )
    simulation.grow(30, spacing=0.05)
    simulation.churn(0.5, downtime=3.0, leaves=0.3)
    simulation.run(5.0)
    names = list(simulation.nodes)
    cut = simulation.partition(names[:10], names[10:20])
    simulation.pause(simulation[names[3]], 7.0)
    simulation.run(8.0)
    simulation.heal(cut)
    simulation.run(10.0)
    return trace


if __name__ == "__main__":
    trace = traced(int(sys.argv[1]))
    print(trace.count, trace.digest)
