"""What every overlay has to do, as tests: subclass `OverlayContract`, say which topology, and let pytest run it.

    class TestRing(OverlayContract):
        def topology(self):
            return Ring(successors=2)

A cluster of `size` nodes lives in virtual time, on `overlay_world`. Nodes join one by one and all at once, leave,
crash, come back, are cut off from each other and paused, and hear nonsense. Each step of each overlay is held to the
interface (`checked_overlay`); after `settle` seconds of quiet the cluster has to be what the traits below say.
Hypothesis, which the extra `partisan_actors[testing]` brings, makes up what no driver would do.

Promised: a failure says what does not hold, and repeats: everything is the same for the same `seed`.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from partisan_actors.testing.checked_overlay import CheckedOverlay
from partisan_actors.testing.overlay_events import lawful_run, lawless_events, mangled, seeds_and_steps
from partisan_actors.testing.overlay_world import OverlayWorld
from partisan_actors.topologies.overlay import Overlay, Topology
from partisan_actors.topologies.registry import find_topology
from partisan_actors.wire.codec import Codec

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["OverlayContract"]

Case = TypeVar("Case")


class OverlayContract:
    """The tests; a subclass says which overlay, and what it promises beyond the interface.

    Attributes:
        seed: of everything that is left to chance.
        size: how many nodes there are.
        full: whether all are neighbours of all.
        symmetric: whether a neighbour of one has that one as a neighbour, in the quiet cluster.
        heals: whether the rest is connected again after members have gone. A graph drawn by hand may not be.
        clients: names of nodes that are never linked to each other.
        registered: whether `find_topology` has to find it.
        settle: seconds that it may take to become quiet.
        idle_messages: messages a second that a node may send at most while nothing happens, on average.
    """

    seed: ClassVar[int] = 1
    size: ClassVar[int] = 16
    full: ClassVar[bool] = False
    symmetric: ClassVar[bool] = True
    heals: ClassVar[bool] = True
    clients: ClassVar[tuple[str, ...]] = ()
    registered: ClassVar[bool] = True
    settle: ClassVar[float] = 60.0
    idle_messages: ClassVar[float] = 10.0

    def topology(self) -> Topology:
        """The topology of all nodes; has to be given."""
        raise NotImplementedError("an OverlayContract's topology() gives the topology to put through it")

    def topology_of(self, node: str) -> Topology:
        """That of one node, where they are not the same."""
        return self.topology()

    # The cluster

    def names(self) -> list[str]:
        """Of the nodes; the first of them is there from the beginning and to the end."""
        return [f"n{number:02}@h" for number in range(self.size)]

    def world(self, *, trace: bool = False) -> OverlayWorld:
        """The cluster, before anybody has joined."""
        return OverlayWorld(self.seed, self.names(), self.topology_of, trace=trace)

    def joined(self, *, trace: bool = False) -> OverlayWorld:
        """The cluster, after all have joined one by one."""
        world = self.world(trace=trace)
        world.join_all(spacing=0.5)
        world.run(self.settle)
        return world

    def check(self, world: OverlayWorld, *, connected: bool = True) -> None:
        """Hold the quiet cluster to what is promised."""
        problems = list(
            world.problems(
                symmetric=self.symmetric, full=self.full, connected=connected, clients=frozenset(self.clients)
            )
        )
        assert not problems, f"seed {self.seed}:\n" + "\n".join(problems)

    def some(self, world: OverlayWorld, share: float) -> list[str]:
        """So many of the live nodes, by chance, never the first."""
        names = [node.name for node in world.nodes() if node.name != self.names()[0]]
        return sorted(world.random.sample(names, max(1, int(len(names) * share))))

    # What it is

    def test_it_has_the_shape_of_the_interface(self) -> None:
        name = self.names()[0]
        topology, same = self.topology_of(name), self.topology_of(name)
        assert topology == same and hash(topology) == hash(same), "equal topologies have to be interchangeable"
        overlay: Overlay = topology.overlay(name)
        assert overlay.name == topology.name and topology.name, "the topology and its overlay have one name"
        assert isinstance(topology.tag, str), f"the tag is a text, not {topology.tag!r}"
        assert list(overlay.neighbours()) == [], "a node that was told of nobody has no neighbours"
        assert list(overlay.gossip([])) == [], "without a link there is nobody to pass news on to"

    def test_two_nodes_share_no_state(self) -> None:
        first, *others = self.names()
        topology = self.topology_of(first)
        one, other = CheckedOverlay(first, topology.overlay(first)), topology.overlay(first)
        lawful_run(one, others, Random(self.seed), 200)
        assert list(other.neighbours()) == [], "one node's overlay has changed another's"

    def test_its_parameters_make_an_equal_one(self) -> None:
        topology, codec = self.topology(), Codec()
        parameters = codec.decode(codec.encode(dict(topology.parameters())))
        assert isinstance(parameters, Mapping)
        again: Topology = type(topology)(**parameters)
        assert again == topology, f"its parameters make {again!r}, and it is {topology!r}"
        if self.registered:
            assert find_topology(topology.name, parameters) == topology

    # What it does

    def test_nodes_that_join_one_by_one_are_connected(self) -> None:
        self.check(self.joined())

    def test_nodes_that_join_all_at_once_through_one_are_connected(self) -> None:
        world = self.world()
        world.join_all(spacing=0.0, contact=self.names()[0])
        world.run(self.settle)
        self.check(world)

    def test_who_leaves_is_nobodys_neighbour(self) -> None:
        world = self.joined()
        for name in self.some(world, 0.3):
            world.simulation.leave(world.simulation[name])
            world.run(0.5)
        world.run(self.settle)
        self.check(world, connected=self.heals)

    def test_who_crashes_is_nobodys_neighbour(self) -> None:
        world = self.joined()
        for name in self.some(world, 0.3):
            world.simulation.crash(world.simulation[name])
        world.run(self.settle)
        self.check(world, connected=self.heals)

    def test_who_comes_back_is_a_neighbour_again(self) -> None:
        world = self.joined()
        for name in self.some(world, 0.5):
            world.simulation.crash(world.simulation[name])
            world.run(world.random.choice((0.1, 3.0, 10.0)))  # before and after the others know that it is down
            world.join(name, self.names()[0])
        world.run(self.settle)
        self.check(world, connected=self.heals)

    def test_a_partition_heals(self) -> None:
        world = self.joined()
        world.simulation.partition(self.some(world, 0.5))
        world.run(30.0)
        world.simulation.heal()
        world.run(self.settle)
        self.check(world)

    def test_links_that_break_with_all_that_is_on_them_are_made_good(self) -> None:
        world = self.joined()
        for one_way in (False, True) * 4:
            world.simulation.partition(self.some(world, 0.3), one_way=one_way)
            world.run(world.random.uniform(4.0, 8.0))  # some end in time, some do not
            world.simulation.heal()
            world.run(world.random.uniform(0.0, 2.0))
        world.run(self.settle)
        self.check(world)

    def test_who_stops_for_a_while_goes_on(self) -> None:
        world = self.joined()
        for name in self.some(world, 0.3):
            world.simulation.pause(world.simulation[name], 12.0)
        world.run(12.0 + self.settle)
        self.check(world)

    def test_it_outlives_all_of_that_at_once(self) -> None:
        world = self.joined()
        simulation, first = world.simulation, self.names()[0]
        for _ in range(6):
            simulation.partition(self.some(world, 0.3))
            for name in self.some(world, 0.3):
                world.random.choice((simulation.leave, simulation.crash))(simulation[name])
            world.run(world.random.uniform(0.0, 8.0))
            simulation.heal()
            world.join_all(spacing=world.random.uniform(0.0, 1.0), contact=first)
        world.run(self.settle)
        self.check(world, connected=self.heals)

    def test_nonsense_changes_nothing(self) -> None:
        world = self.joined()
        payloads = world.payloads()
        for node in world.nodes():
            for peer in node.linked():
                for _ in range(5):
                    world.babble(node, peer, mangled(payloads, self.names(), world.random))
        world.run(self.settle)
        self.check(world)

    def test_a_quiet_cluster_says_little(self) -> None:
        world = self.joined()
        before, seconds = sum(world.simulation.sent), 100.0
        world.run(seconds)
        rate = (sum(world.simulation.sent) - before) / seconds / self.size
        assert rate <= self.idle_messages, f"each sends {rate:.2f} messages a second while nothing happens"

    def test_news_reach_all(self) -> None:
        problems = list(self.joined().gossip_problems())
        assert not problems, f"seed {self.seed}:\n" + "\n".join(problems)

    def test_the_same_seed_is_the_same_run(self) -> None:
        digest = self.digest()
        assert self.digest() == digest, "two runs in one interpreter are not the same"
        for hash_seed in ("1", "2"):
            found = _digest_elsewhere(type(self), hash_seed)
            assert found == digest, f"with PYTHONHASHSEED={hash_seed} the run is another one: a set's order, perhaps"

    def digest(self) -> str:
        """Of all that happens in a run with joins, crashes and a partition."""
        world = self.joined(trace=True)
        cut = world.simulation.partition(self.some(world, 0.5))
        for name in self.some(world, 0.2):
            world.simulation.crash(world.simulation[name])
        world.run(20.0)
        world.simulation.heal(cut)
        world.run(20.0)
        assert world.simulation.trace is not None
        return world.simulation.trace.digest

    # What no driver would do

    def test_nothing_makes_it_raise(self) -> None:
        name, names, payloads = self.names()[0], self.names()[:4], self.joined().payloads()

        def hold(case: tuple[list[Any], int]) -> None:
            overlay, random = self.topology_of(name).overlay(name), Random(case[1])
            for number, event in enumerate(case[0]):
                list(overlay.step(event, float(number), random))
                overlay.neighbours()

        _for_all(lambda: lawless_events(names, payloads), hold)

    def test_what_it_promises_holds_after_each_step(self) -> None:
        (first, *others), payloads = self.names()[:6], self.joined().payloads()

        def hold(case: tuple[int, int]) -> None:
            checked = CheckedOverlay(first, self.topology_of(first).overlay(first))
            lawful_run(checked, others, Random(case[0]), case[1], payloads)

        _for_all(seeds_and_steps, hold)


def _for_all(strategy: Callable[[], SearchStrategy[Case]], hold: Callable[[Case], None]) -> None:
    try:
        from hypothesis import given, settings
    except ImportError as error:
        raise ImportError("the overlay contract needs hypothesis: pip install 'partisan_actors[testing]'") from error
    settings(deadline=None, report_multiple_bugs=False)(given(strategy())(hold))()


def _digest_elsewhere(contract: type[OverlayContract], hash_seed: str) -> str:
    """What `digest` gives in another interpreter, with that PYTHONHASHSEED."""
    assert "<locals>" not in contract.__qualname__, f"{contract.__qualname__} has to stand at the top of a module"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", __name__, inspect.getfile(contract), contract.__qualname__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def _main(path: str, name: str) -> int:
    spec = importlib.util.spec_from_file_location("overlay_contract_subject", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    contract: Callable[[], OverlayContract] = found
    sys.stdout.write(contract().digest() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
