"""Members that cannot be reached by any way, over whole nodes in virtual time: nobody waits for them for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from partisan_actors import Down, Node, NodeDown, Remote, monitor, receive
from partisan_actors.behaviours import call
from partisan_actors.testing import Simulation
from partisan_actors.topologies import ClientServer, Static, Topology
from tests.integration.workers import Echo


def grown(
    simulation: Simulation,
    names: list[str],
    contact: Callable[[int], int],
    topology: Callable[[str], Topology],
    **of: Any,
) -> list[Node]:
    """Nodes of these names, each joined through the one of that index; `of`: options by the first letter of a name."""
    nodes: list[Node] = []
    for index, name in enumerate(names):
        nodes.append(simulation.node(f"{name}@sim", topology=topology(name), **of.get(name[0], {})))
        if index:
            simulation.join(nodes[index], nodes[contact(index)])
    simulation.run_until(lambda: all(len(node.members()) == len(names) for node in nodes))
    return nodes


def watched(nodes: list[Node]) -> list[tuple[str, Any]]:
    """What happens to members from now on, as these nodes see it."""
    events: list[tuple[str, Any]] = []

    def note(node: Node) -> None:
        node.subscribe(lambda event: events.append((node.name, event)))

    for node in nodes:
        note(node)
    return events


# Who cannot be dialled


def clients_and_servers(simulation: Simulation) -> list[Node]:
    names = ["s0", "s1", "s2", "c0", "c1", "c2", "c3", "c4"]
    nodes = grown(
        simulation,
        names,
        lambda index: 0,
        lambda name: ClientServer("server") if name[0] == "s" else ClientServer("client", connections=1),
        c={"listen": None},
    )
    simulation.run(20.0)
    return nodes


@pytest.mark.parametrize("seed", [1, 2])
def test_one_that_dies_with_all_that_it_had_links_to_is_no_member_any_more(seed: int):
    with Simulation(seed=seed) as simulation:
        nodes = clients_and_servers(simulation)
        victim = nodes[3]
        server = next(node for node in nodes if node.name in victim.neighbours())
        simulation.crash(victim)
        simulation.crash(server)
        left = [node for node in nodes if node not in (victim, server)]
        simulation.run(60.0)
        assert [node.members() for node in left] == [sorted(node.name for node in left)] * len(left)


def test_who_cannot_be_dialled_and_lives_is_found_down_by_nobody():
    with Simulation(seed=3) as simulation:
        nodes = clients_and_servers(simulation)
        events = watched(nodes)
        simulation.run(600.0)
        assert events == []


# Sessions


def chain(simulation: Simulation) -> list[Node]:
    """Of five nodes; the last one has servers."""
    nodes = grown(simulation, ["n0", "n1", "n2", "n3", "n4"], lambda index: index - 1, lambda name: Static())
    nodes[4].run(Echo.start, name="echo")
    nodes[4].run(Echo.start, name="slow")
    return nodes


def test_who_waits_for_a_member_that_no_way_leads_to_but_that_can_be_dialled():
    """The chain breaks in its middle: no link, no route, and whoever looks whether the last node is there finds it."""
    with Simulation(seed=1) as simulation:
        nodes = chain(simulation)
        left = [node for node in nodes if node is not nodes[2]]
        told: list[Any] = []

        def watch() -> None:
            monitor(Remote("echo", "n4@sim"))
            told.append(receive(Down))

        def ask() -> None:
            told.append(call(Remote("slow", "n4@sim"), ("sleep", 120.0), None))

        nodes[0].spawn(watch)
        nodes[0].spawn(ask)
        simulation.run(2.0)
        events = watched(left)
        simulation.crash(nodes[2])
        simulation.run(150.0)
        # The two parts of the overlay have joined each other, and nothing was lost for that.
        assert len(told) == 1 and not isinstance(told[0], Down)
        assert {event for _, event in events} == {NodeDown("n2@sim", "connection refused")}
        simulation.crash(nodes[4])
        simulation.run(20.0)
        assert isinstance(told[1], Down)


@pytest.mark.parametrize("seed", range(1, 7))
def test_who_waits_for_a_member_that_no_way_leads_to_and_cannot_be_dialled_is_told_or_reaches_it_again(seed: int):
    """As above, but a firewall is between the two; others could dial it, so that nobody finds it down.

    Others join the two parts, and then nothing is lost, if they come to it before the session has been given up.
    """
    with Simulation(seed=seed) as simulation:
        nodes = chain(simulation)
        told: list[Any] = []
        answers: list[Any] = []

        def watch() -> None:
            monitor(Remote("echo", "n4@sim"))
            told.append(receive(Down))

        def ask() -> None:
            answers.append(call(Remote("echo", "n4@sim"), "there", 20.0))

        nodes[0].spawn(watch)
        simulation.run(2.0)
        simulation.partition([nodes[0]], [nodes[4]])
        simulation.crash(nodes[2])
        simulation.run(110.0)
        if not told:
            nodes[0].spawn(ask)
            simulation.run(25.0)
            assert len(answers) == 1
        assert all(isinstance(what, Down) for what in told)


@pytest.mark.parametrize("milliseconds", range(0, 24, 2))
def test_who_begins_to_watch_a_member_that_is_leaving_is_told(milliseconds: int):
    """Word that it leaves may come before the session with it, over a route, has begun."""
    with Simulation(seed=1) as simulation:
        nodes = grown(simulation, ["n0", "n1", "n2"], lambda index: index - 1, lambda name: Static())
        nodes[2].run(Echo.start, name="echo")
        told: list[Any] = []

        def watch() -> None:
            monitor(Remote("echo", "n2@sim"))
            told.append(receive(Down))

        nodes[0].spawn(watch)
        simulation.run(milliseconds / 1000)
        nodes[2].stop(1.0)
        simulation.run(15.0)
        assert [type(what) for what in told] == [Down]


# Links


@pytest.mark.parametrize("seed", [1, 6])
def test_the_only_link_of_a_member_is_cut_and_all_others_could_dial_it(seed: int):
    """The centre of a star and one of its points: nobody is down, and the point finds another place."""
    with Simulation(seed=seed) as simulation:
        names = [f"n{number}" for number in range(8)]
        nodes = grown(simulation, names, lambda index: 0, lambda name: Static())
        nodes[1].run(Echo.start, name="echo")
        simulation.run(20.0)
        events = watched(nodes)
        simulation.partition([nodes[0]], [nodes[1]])
        simulation.run(60.0)
        assert events == []
        assert nodes[0].run(call, Remote("echo", "n1@sim"), ("echo", "hi"), 20.0) == "hi"
