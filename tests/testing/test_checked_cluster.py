"""Whole nodes on HyParView: whatever Hypothesis does to them, once all is quiet every promise was kept.

The invariants are those of `CheckedCluster.settle`, the acts those of `trouble`. `--hypothesis-profile=thorough` looks
for longer, and so does `make simulate ARGS="--runs 1000 hyparview"`.
"""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from structlog.testing import capture_logs

from partisan_actors.testing import Simulation
from partisan_actors.testing.checked_cluster import CheckedCluster
from partisan_actors.testing.trouble import ACTS, LONGEST
from partisan_actors.topologies import HyParView

SMALL = {"active_size": 3, "passive_size": 8}
SEEDS = st.integers(0, 2**32)
QUICK = settings.get_profile("quick").max_examples


class WholeNodes(RuleBasedStateMachine):
    """Five to twelve nodes."""

    @initialize(seed=SEEDS, count=st.integers(5, 8))
    def form(self, seed, count):
        self.logs = capture_logs()
        self.logs.__enter__()
        self.simulation = Simulation(seed)
        self.simulation.__enter__()
        self.cluster = CheckedCluster(self.simulation, lambda: HyParView(**SMALL), most_links=3)
        self.cluster.grow(count)
        self.quiet = self.simulation.now

    def act(self, name, draw):
        if self.simulation.now - self.quiet > LONGEST:
            self.settle()
        ACTS[name](self.cluster, Random(draw))

    @rule(name=st.sampled_from(["join", "leave", "restart", "crash"]), draw=SEEDS)
    def come_and_go(self, name, draw):
        self.act(name, draw)

    @rule(name=st.sampled_from(["partition", "heal", "pause", "resume"]), draw=SEEDS)
    def part(self, name, draw):
        self.act(name, draw)

    @rule(name=st.sampled_from(["call", "broadcast", "tie", "take"]), draw=SEEDS)
    def talk(self, name, draw):
        self.act(name, draw)

    @precondition(lambda self: self.cluster.ties.living())
    @rule(draw=SEEDS)
    def kill(self, draw):
        self.act("kill", draw)

    @rule(draw=SEEDS)
    def wait(self, draw):
        self.act("wait", draw)

    @rule()
    def settle(self):
        self.cluster.settle()
        self.quiet = self.simulation.now

    def teardown(self):
        if hasattr(self, "cluster"):
            try:
                self.cluster.settle()
            finally:
                self.simulation.__exit__(None, None, None)
                self.logs.__exit__(None, None, None)


WholeNodes.TestCase.settings = settings(
    max_examples=12 if settings.default.max_examples == QUICK else settings.default.max_examples,
    stateful_step_count=30,
    deadline=None,
)
TestWholeNodes = WholeNodes.TestCase
