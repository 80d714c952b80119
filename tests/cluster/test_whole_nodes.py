"""What random faults over whole nodes have found, each by itself: in simulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from partisan_actors import (
    Down,
    Global,
    NoConnection,
    Node,
    NodeDown,
    Remote,
    monitor,
    receive,
    register,
    self_pid,
    send,
    whereis,
)
from partisan_actors.behaviours import call
from partisan_actors.testing import Simulation
from partisan_actors.topologies import HyParView, Static


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with capture_logs(), Simulation(1) as simulation:
        yield simulation


def line(simulation: Simulation) -> list[Node]:
    """Three nodes, of which the outer two have neither a link nor a session."""
    nodes = [simulation.node(f"{letter}@sim", topology=Static()) for letter in "abc"]
    simulation.join(nodes[1], nodes[0])
    simulation.join(nodes[2], nodes[1])
    simulation.run_until(lambda: all(len(node.members()) == 3 for node in nodes))
    return nodes


def test_what_waits_for_a_session_with_one_that_dies_fails_when_it_is_down(simulation):
    """And not when a way to it was looked for long enough."""
    a, _, c = line(simulation)
    pid = c.spawn(receive, Global)
    downs: list[tuple[float, Down]] = []
    events: list[tuple[float, NodeDown]] = []
    a.subscribe(lambda event: events.append((simulation.now, event)))
    a.spawn(lambda: (monitor(pid), downs.append((simulation.now, receive(Down)))))
    simulation.crash(c)
    with pytest.raises(NoConnection):
        a.run(call, Remote("echo", c.name), 1)
    simulation.run(0.1)
    ((told, down),), ((heard, event),) = downs, events
    assert (down.sender, down.reason, event.node) == (pid, "noconnection", c.name)
    assert told <= heard < 3.0


def test_one_that_leaves_is_not_to_be_reached_any_more(simulation):
    """Else the verdict on that would end what is begun once it has come back."""
    a, _, c = line(simulation)
    a.run(send, Remote("echo", c.name), "hello")
    c.leave()
    assert a._cluster.peers.is_opening(c.name)
    simulation.run_until(lambda: c.name not in a.members())
    assert not a._cluster.peers.is_opening(c.name)


def test_one_that_leaves_when_nobody_is_there_to_hear_it_is_found_to_have_left(simulation):
    """All its neighbours have just died. It answers whoever looks, and says so."""
    a, b, c = line(simulation)
    simulation.crash(b)
    c.leave()
    simulation.run_until(lambda: a.members() == ["a@sim"], limit=40.0)
    simulation.run(60.0)
    assert a.members() == ["a@sim"]
    assert c.members() == ["c@sim"]


def test_who_has_left_takes_a_newcomer_in(simulation):
    a, b, c = (simulation.node(f"{letter}@sim", topology=HyParView()) for letter in "abc")
    simulation.join(b, a)
    b.leave()
    simulation.run(1.0)
    simulation.join(c, b)
    simulation.run(60.0)  # by then an overlay that does not answer is given up
    assert b.members() == c.members() == ["b@sim", "c@sim"]
    assert (b.neighbours(), c.neighbours()) == (["c@sim"], ["b@sim"])


def test_a_next_life_is_told_the_names_though_the_last_words_of_the_one_before_are_waited_for(simulation):
    """That it left is heard from another, and its own word of that is held up on its way."""
    a, b, c = (simulation.node(f"{letter}@sim") for letter in "abc")
    simulation.join(b, a)
    simulation.join(c, b)
    simulation.run_until(lambda: all(len(node.members()) == 3 for node in (a, b, c)))
    pid = c.spawn(lambda: (register(Global("name"), self_pid()), receive(Remote)))
    simulation.run_until(lambda: a.run(whereis, Global("name")) == pid)
    simulation.partition([a], [c])
    a.leave()
    simulation.run_until(lambda: "a@sim" not in c.members())
    simulation.crash(a)
    a = simulation.restart(a, b)
    simulation.run_until(lambda: "a@sim" in c.members(), limit=0.5)
    simulation.heal()
    simulation.run_until(lambda: a.run(whereis, Global("name")) == pid)
