"""Whole nodes on HyParView: whatever Hypothesis does to them, once all is quiet every promise was kept.

The invariants are those of `CheckedCluster.settle`, the acts those of `trouble`. The thorough profile (CONTRIBUTING.md)
looks for longer, and so does `make simulate ARGS="--runs 1000 hyparview"`.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from structlog.testing import capture_logs

from partisan_actors import Global, processes, send_exit, unregister, whereis
from partisan_actors.broadcast import unregister_handler
from partisan_actors.testing import Simulation
from partisan_actors.testing.checked_cluster import CheckedCluster
from partisan_actors.testing.checked_traffic import Listener
from partisan_actors.testing.scenarios import disaster
from partisan_actors.testing.trouble import ACTS, LONGEST
from partisan_actors.topologies import ClientServer, FullMesh, HyParView, Static

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

    @rule(name=st.sampled_from(["partition", "heal", "pause", "resume", "slow"]), draw=SEEDS)
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


IS_QUICK = settings.default.max_examples == QUICK
# The same examples in each quick run; the thorough profile, and `make simulate`, look for others.
WholeNodes.TestCase.settings = settings(
    max_examples=12 if IS_QUICK else settings.default.max_examples,
    derandomize=IS_QUICK,
    stateful_step_count=30,
    deadline=None,
)
TestWholeNodes = WholeNodes.TestCase


@pytest.fixture
def cluster():
    with capture_logs(), Simulation(3) as simulation:
        cluster = CheckedCluster(simulation, lambda: HyParView(**SMALL), most_links=3)
        cluster.grow(8)
        yield cluster


def server_or_client(number):
    return ClientServer("server" if number < 3 else "client")


@pytest.mark.parametrize(
    ("topology", "count", "most_links"),
    [
        (lambda number: HyParView(), 16, 5),
        (server_or_client, 16, None),
        (lambda number: FullMesh(), 12, None),
        (lambda number: Static(), 12, None),
    ],
    ids=["hyparview", "client-server", "full mesh", "static"],
)
def test_nodes_of_which_a_third_is_killed_and_that_are_parted(topology, count, most_links):
    with capture_logs(), Simulation(5) as simulation:
        numbers = iter(range(count))
        cluster = CheckedCluster(simulation, lambda: topology(next(numbers)), most_links=most_links)
        disaster(cluster, count, Random(5))
        assert cluster.calls.answered > 40
        assert cluster.ties.fired > 20
        assert cluster.broadcasts.delivered > 15 * count


# Whether it would say so


def test_a_call_that_is_not_answered_is_seen(cluster):
    caller, target, *_ = cluster.alive()
    cluster.simulation.run(1.0)
    target.node.run(lambda: send_exit(whereis("echo"), "kill"))
    cluster.call(caller, target)
    with pytest.raises(
        AssertionError, match="call 1 of n0@sim life 1 to n1@sim life 1: was not disturbed, and ended with"
    ):
        cluster.settle()


def test_a_call_whose_caller_is_paused_before_it_has_begun_may_end_late(cluster):
    caller, target, *_ = cluster.alive()
    caller.node.run(lambda: None)  # its scheduler is awake, and begins the call before it stops
    cluster.call(caller, target)
    cluster.pause(caller)
    cluster.simulation.run(20.0)
    cluster.settle()


def test_a_monitor_that_fires_for_one_that_lives_is_seen(cluster):
    watcher, target, *_ = cluster.alive()
    cluster.tie(watcher, target, "monitor")
    cluster.simulation.run(1.0)
    session = watcher.node._cluster.peers.session(target.name)
    session.end("overflow")
    with pytest.raises(AssertionError, match="and its process lives"):
        cluster.settle()


def test_a_monitor_that_does_not_fire_is_seen(cluster):
    watcher, target, *_ = cluster.alive()
    cluster.tie(watcher, target, "monitor")
    cluster.simulation.run(1.0)
    for pid in watcher.node.run(processes):
        watcher.node.run(send_exit, pid, "kill")  # whoever should be told is gone
    cluster.ties.kill(*cluster.ties.living())
    with pytest.raises(AssertionError, match="has not fired"):
        cluster.settle()


def spawned_in_the_next_life(cluster):
    watcher, *others = cluster.alive()
    target = next(life for life in others if life.name not in watcher.node.neighbours())
    cluster.tie(watcher, target, "spawn")  # which waits for a way there
    cluster.crash(target)
    later = cluster.restart(target.name, watcher)
    cluster.simulation.run(1.0)
    (tie,) = cluster.ties._ties
    assert tie.tied and tie.pid.home == later.home
    return later


def test_a_spawn_by_the_next_life_of_a_node_is_tied_to_that_one(cluster):
    later = spawned_in_the_next_life(cluster)
    cluster.settle()
    assert cluster.ties.fired == 0
    cluster.crash(later)
    cluster.settle()
    assert cluster.ties.fired == 1


def test_a_monitor_by_a_spawn_in_the_next_life_of_a_node_that_does_not_fire_is_seen(cluster):
    spawned_in_the_next_life(cluster)
    watcher, *_ = cluster.alive()
    for pid in watcher.node.run(processes):
        watcher.node.run(send_exit, pid, "kill")
    cluster.ties.kill(*cluster.ties.living())
    with pytest.raises(AssertionError, match="has not fired"):
        cluster.settle()


def test_a_link_that_is_broken_at_one_end_is_seen(cluster):
    watcher, target, *_ = cluster.alive()
    cluster.tie(watcher, target, "link")
    cluster.settle()
    for pid in watcher.node.run(processes):
        watcher.node.run(send_exit, pid, "kill")
    with pytest.raises(AssertionError, match="and its process lives"):
        cluster.settle()


def test_a_broadcast_that_is_missed_is_seen(cluster):
    root, other, *_ = cluster.alive()
    other.node.run(unregister_handler, Listener)
    cluster.broadcast(root)
    with pytest.raises(AssertionError, match="n1@sim life 1 lacks 1 of n0@sim life 1"):
        cluster.settle()


def test_a_broadcast_that_comes_twice_is_seen(cluster):
    root, other, *_ = cluster.alive()
    cluster.broadcast(root)
    cluster.simulation.run(1.0)
    Listener(other, []).handle(1)
    with pytest.raises(AssertionError, match="n1@sim life 1 got 1 2 times"):
        cluster.settle()


def test_a_name_that_is_not_known_everywhere_is_seen(cluster):
    owner, other, *_ = cluster.alive()
    cluster.take(owner, "name")
    cluster.simulation.run(1.0)
    other.node.run(unregister, Global("name"))
    with pytest.raises(AssertionError, match="name is of <n0@sim"):
        cluster.settle()


def test_members_that_are_not_equal_are_seen(cluster):
    _, other, *_ = cluster.alive()
    other.node.leave()  # of which the cluster under watch does not know
    with pytest.raises(AssertionError, match=r"n0@sim life 1 has as members also \[\], and lacks \['n1@sim'\]"):
        cluster._join_strangers = lambda: None
        cluster.settle()


def test_too_many_links_and_one_way_ones_are_seen(cluster):
    cluster._most_links = 2
    with pytest.raises(AssertionError, match="has neighbours"):
        cluster.settle()
