"""The simulator: clusters in one OS process, in virtual time, the same for the same seed; see docs/simulation.md."""

from partisan_actors.testing.network import Network
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.testing.simulation import Simulation
from partisan_actors.testing.trace import Trace

__all__ = ["Network", "ProtocolSimulation", "Simulation", "Trace"]
