"""Scenarios that anybody can run with any seed: `python -m partisan_actors.testing --seed N NAME`.

A scenario is a function of a seed and a trace (or None), which raises where a promise is broken. `SCENARIOS` has those
here by name, and `scenario` adds others; `run` runs one, and whatever it raises says with which command it comes again.

Those over whole nodes are `calls`, `monitors`, `global_names` and `members`, on the full mesh, and `hyparview` and
`hundred` on HyParView, which look at everything that a `CheckedCluster` does; `full_mesh` is a protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from partisan_actors import (
    CallError,
    Down,
    Global,
    Node,
    Remote,
    monitor,
    processes,
    receive,
    register,
    self_pid,
    send_exit,
    sleep,
    spawn,
    whereis,
)
from partisan_actors.behaviours import call
from partisan_actors.processes.identity import Pid
from partisan_actors.testing.checked_cluster import CheckedCluster
from partisan_actors.testing.checked_traffic import Echo
from partisan_actors.testing.faults import storm
from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.members import FullMembers
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.testing.simulation import Simulation
from partisan_actors.testing.trace import Trace
from partisan_actors.testing.trouble import trouble
from partisan_actors.topologies import FullMesh, HyParView

__all__ = ["LONG", "SCENARIOS", "Scenario", "command", "disaster", "run", "scenario"]

Scenario: TypeAlias = Callable[[int, Trace | None], None]

SCENARIOS: dict[str, Scenario] = {}

LONG = frozenset({"hundred"})
"""Those that take minutes: who asks for none by name gets them once, whatever the number of seeds."""

_CALL_TIMEOUT = 2.0
_SETTLED = 60.0


def scenario(function: Scenario) -> Scenario:
    """Add a scenario, under its function's name. Decorates it."""
    SCENARIOS[function.__name__] = function
    return function


def command(name: str, seed: int) -> str:
    """What a user types to run that scenario with that seed again."""
    return f"python -m partisan_actors.testing --seed {seed} {name}"


def run(name: str, seed: int, trace: Trace | None = None) -> None:
    """Run one. What it raises gets a note with the command that does so again. KeyError for an unknown name."""
    function = SCENARIOS[name]
    try:
        function(seed, trace)
    except BaseException as error:
        error.add_note(f"replay: {command(name, seed)}")
        raise


# Protocols alone


@scenario
def full_mesh(seed: int, trace: Trace | None) -> None:
    """After a storm everybody has a link to everybody, and nobody to a former life."""
    simulation = ProtocolSimulation(
        seed, lambda node: [overlay_layer(FullMesh().overlay(node.name))], members=FullMembers(), trace=trace
    )
    first, *_ = simulation.grow(15, spacing=0.05)

    def restart(node: Any) -> None:
        simulation.restart(simulation[node.name], first.name)

    storm(simulation, Random(f"{seed}/storm"), 60.0, restart, spare=[first.name])
    names = sorted(simulation.nodes)

    def whole() -> bool:
        return all(node.linked() == [name for name in names if name != node.name] for node in simulation.alive())

    simulation.run_until(whole, _SETTLED)
    assert len(simulation.alive()) == len(names)


# Whole nodes


def _cluster(simulation: Simulation, count: int) -> list[Node]:
    draw = Random(f"{simulation.seed}/clocks").uniform
    nodes = [
        simulation.node(f"n{index}@sim", rate=draw(0.999, 1.001), skew=draw(-100.0, 100.0)) for index in range(count)
    ]
    for node in nodes[1:]:
        simulation.join(node, nodes[0])
    return nodes


def _settle(simulation: Simulation, nodes: list[Node]) -> None:
    names = sorted(node.name for node in nodes)
    simulation.run_until(lambda: all(node.members() == names for node in nodes), _SETTLED, every=0.1)


@scenario
def members(seed: int, trace: Trace | None) -> None:
    """After a storm every node has every other as a member, and each NodeDown had a NodeUp."""
    with Simulation(seed, trace=trace) as simulation:
        nodes = _cluster(simulation, 6)
        storm(
            simulation,
            Random(f"{seed}/storm"),
            60.0,
            lambda node: simulation.restart(node, nodes[0]),
            spare=[nodes[0].name],
        )
        _settle(simulation, nodes)


@scenario
def calls(seed: int, trace: Trace | None) -> None:
    """Through a storm every call ends in its time, and what is answered is the answer to it."""
    with Simulation(seed, trace=trace) as simulation:
        nodes = _cluster(simulation, 5)
        for node in nodes:
            node.run(_serve)
        caller, *others = nodes
        log: list[tuple[str, float]] = []
        targets = [node.name for node in others]
        pids = [caller.spawn(_call_on, simulation, Random(f"{seed}/{index}"), targets, log) for index in range(4)]
        random = Random(f"{seed}/storm")
        storm(simulation, random, 40.0, lambda node: _serve_again(simulation, node, caller), spare=[caller.name])
        for pid in pids:
            caller.run(send_exit, pid, "kill")
        _settle(simulation, nodes)
        wrong = [outcome for outcome, _ in log if " to " in outcome]
        assert not wrong, f"answers of other calls: {wrong}"
        late = [entry for entry in log if entry[1] > _CALL_TIMEOUT + 0.1]
        assert not late, f"calls that ended late: {late}"
        assert any(outcome == "answered" for outcome, _ in log), "no call was answered"
        for node in others:
            assert caller.run(call, Remote("echo", node.name), "at last") == (node.name, "at last")


def _serve() -> None:
    Echo.start(name="echo")


def _serve_again(simulation: Simulation, node: Node, contact: Node) -> None:
    simulation.restart(node, contact)
    node.run(_serve)


def _call_on(simulation: Simulation, random: Random, targets: list[str], log: list[tuple[str, float]]) -> None:
    number = 0
    while True:
        number += 1
        target = random.choice(targets)
        start = simulation.now
        try:
            answer = call(Remote("echo", target), number, _CALL_TIMEOUT)
        except CallError as error:
            log.append((type(error).__name__, simulation.now - start))
        else:
            right = answer == (target, number)
            log.append(("answered" if right else f"{number} to {target}: {answer}", simulation.now - start))
        sleep(random.uniform(0.0, 0.2))


@scenario
def monitors(seed: int, trace: Trace | None) -> None:
    """Through a storm every monitor fires exactly once, and so at the latest when its process is killed."""
    with Simulation(seed, trace=trace) as simulation:
        nodes = _cluster(simulation, 5)
        watcher, *others = nodes
        watched = [node.spawn(_wait_for_ever) for node in others for _ in range(3)]
        downs: dict[Pid, list[Any]] = {pid: [] for pid in watched}
        watcher.spawn(_watch, watched, downs)
        simulation.run(1.0)
        storm(
            simulation,
            Random(f"{seed}/storm"),
            40.0,
            lambda node: simulation.restart(node, watcher),
            spare=[watcher.name],
        )
        _settle(simulation, nodes)
        for pid in watched:
            watcher.run(send_exit, pid, "kill")
        simulation.run(20.0)
        wrong = {str(pid): reasons for pid, reasons in downs.items() if len(reasons) != 1}
        assert not wrong, f"monitors that did not fire exactly once: {wrong}"


def _wait_for_ever() -> None:
    receive(Global)


def _watch(watched: list[Pid], downs: dict[Pid, list[Any]]) -> None:
    for pid in watched:
        monitor(pid)
    while True:
        down = receive(Down)
        downs[down.sender].append(down.reason)


@scenario
def global_names(seed: int, trace: Trace | None) -> None:
    """Whatever a storm did to names: after it all nodes agree who has each, and that one is alive."""
    names = [f"name-{index}" for index in range(4)]
    with Simulation(seed, trace=trace) as simulation:
        nodes = _cluster(simulation, 5)
        for node in nodes:
            node.spawn(_keep_names, names)
        storm(
            simulation,
            Random(f"{seed}/storm"),
            40.0,
            lambda node: simulation.restart(node, nodes[0]).spawn(_keep_names, names),
            spare=[nodes[0].name],
        )
        _settle(simulation, nodes)

        def agreed() -> bool:
            tables = [tuple(node.run(whereis, Global(name)) for name in names) for node in nodes]
            return None not in tables[0] and all(table == tables[0] for table in tables)

        simulation.run_until(agreed, _SETTLED, every=1.0)
        alive = {pid for node in nodes for pid in node.run(processes)}
        for name in names:
            assert nodes[0].run(whereis, Global(name)) in alive, f"{name} is held by the dead"


def _keep_names(names: list[str]) -> None:
    """See that somebody has each name, as long as this node lives."""
    while True:
        for name in names:
            if whereis(Global(name)) is None:
                spawn(_hold, name)
        sleep(0.5)


def _hold(name: str) -> None:
    try:
        register(Global(name), self_pid())
    except Exception:
        return
    receive(Global)


@scenario
def hyparview(seed: int, trace: Trace | None) -> None:
    """Through joins, leaves, crashes, cuts and pauses a cluster on HyParView keeps all that `CheckedCluster` looks at.

    With views so small that most messages go by routes.
    """
    random = Random(f"{seed}/trouble")
    with Simulation(seed, trace=trace) as simulation:
        cluster = CheckedCluster(simulation, lambda: HyParView(active_size=3, passive_size=8), most_links=3)
        cluster.grow(8)
        for _ in range(2):
            trouble(cluster, random, 40)
            cluster.settle()


@scenario
def hundred(seed: int, trace: Trace | None) -> None:
    """The same of a hundred nodes, of which 30 are killed at once and come back, and that are parted in two."""
    random = Random(f"{seed}/hundred")
    with Simulation(seed, trace=trace) as simulation:
        disaster(CheckedCluster(simulation, HyParView, most_links=5), 100, random)


def disaster(cluster: CheckedCluster, count: int, random: Random) -> None:
    """So many nodes that talk to each other; 30 % are killed at once, and come back; then a cut, and its end."""
    cluster.grow(count)
    _busy(cluster, random)
    cluster.settle()
    for life in random.sample(cluster.alive(), count * 3 // 10):
        cluster.crash(life)
    _busy(cluster, random)
    cluster.settle()
    for name in [name for name, life in cluster.lives.items() if not life.alive]:
        cluster.restart(name, random.choice(cluster.running()))
    _busy(cluster, random)
    cluster.partition(random.sample(cluster.alive(), random.randint(count // 5, count // 2)))
    _busy(cluster, random)
    cluster.simulation.run(30.0)
    _busy(cluster, random)
    cluster.settle()


def _busy(cluster: CheckedCluster, random: Random) -> None:
    """Two seconds in which a few call, watch, end and broadcast, between nodes by chance; few of which are neighbours.

    So few, as each pair that talks has a session, and in a cut every one of those looks for a way among all nodes.
    """
    lives = cluster.running()
    for _ in range(20):
        cluster.call(random.choice(lives), random.choice(lives))
        watcher, watched = random.sample(lives, 2)
        cluster.tie(watcher, watched, random.choice(["monitor", "link", "spawn"]))
    living = cluster.ties.living()
    for place in random.sample(living, len(living) // 4):
        cluster.ties.kill(place)
    for life in random.sample(lives, 5):
        cluster.broadcast(life)
    cluster.take(random.choice(lives), "name")
    cluster.simulation.run(2.0)
