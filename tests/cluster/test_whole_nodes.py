"""What random faults over whole nodes have found, each by itself: in simulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
from partisan_actors.behaviours import GenServer, call
from partisan_actors.cluster.driver import LAST_WORDS
from partisan_actors.cluster.records import Member, Status
from partisan_actors.cluster.view_events import ViewReceived, Written
from partisan_actors.cluster.view_messages import entry_of
from partisan_actors.parameters import MembershipParameters
from partisan_actors.testing import Simulation
from partisan_actors.topologies import HyParView, Static


class Echo(GenServer):
    def handle_call(self, request, caller):
        return request


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with capture_logs(), Simulation(1) as simulation:
        yield simulation


def line(simulation: Simulation, **options: Any) -> list[Node]:
    """Three nodes, of which the outer two have neither a link nor a session."""
    nodes = [simulation.node(f"{letter}@sim", topology=Static(), **options) for letter in "abc"]
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


def hears(node: Node, record: Member) -> None:
    """Word of another member, from a neighbour that is quicker than its own."""
    driver = node._cluster._driver
    driver.step(ViewReceived("b@sim", ("news", (entry_of(record, -1 if record.status is Status.ALIVE else 0),), ())))


def record_of(node: Node, peer: Node) -> Member:
    record = node._cluster._driver.service.view.table.records.get(peer.name)
    assert record is not None
    return record


def talking(simulation: Simulation) -> tuple[Node, Node, Member]:
    """The outer two of a line, with a session, and the record of the second one."""
    a, b, c = line(simulation)
    c.run(Echo.start, name="echo")
    assert a.run(call, Remote("echo", c.name), 1) == 1
    return a, c, record_of(b, c)


def is_back_at_once(node: Node, record: Member) -> None:
    """It hears that a member has left, and that it is back."""
    hears(node, record._replace(status=Status.LEFT))
    hears(node, record._replace(version=record.version + 1))


def test_what_is_said_to_one_that_is_back_waits_for_the_next_session(simulation):
    """The one that it left by has only its last words to carry; nobody at its other end has it any more."""
    a, c, record = talking(simulation)
    is_back_at_once(a, record)
    assert c.name in a.members()
    begun = simulation.now
    assert a.run(call, Remote("echo", c.name), 2) == 2
    assert LAST_WORDS - 0.1 < simulation.now - begun < LAST_WORDS + 1.0
    simulation.run(20.0)
    assert a.run(call, Remote("echo", c.name), 3) == 3


def test_nobody_suspects_one_that_is_back_for_its_last_words(simulation):
    a, c, record = talking(simulation)
    is_back_at_once(a, record)
    c._cluster.peers.session(a.name).leave("leave")
    session = a._cluster.peers.session(c.name)
    simulation.run_until(lambda: session.ended)
    assert session.ended == "leave"
    assert a._cluster._driver.service.view.table.get(c.name).suspicion is None


def test_a_session_that_was_begun_after_its_return_is_none_that_it_left_by(simulation):
    """That it left is heard after that, of one that said in its hello that it is back."""
    a, b, c = line(simulation, view=MembershipParameters(news_delay=0.3))
    c.run(Echo.start, name="echo")
    record = record_of(b, c)
    c._cluster._driver.step(Written("", 0))  # as a return does, it gives its record a higher version
    assert a.run(call, Remote("echo", c.name), 1) == 1
    pid = c.spawn(lambda: (register(Global("name"), self_pid()), receive(Remote)))
    simulation.run_until(lambda: a.run(whereis, Global("name")) == pid, limit=0.2)
    assert record_of(a, c).version == record.version
    hears(a, record._replace(status=Status.LEFT))
    simulation.run_until(lambda: c.name in a.members(), limit=1.0)
    session = a._cluster.peers.session(c.name)
    assert a.run(call, Remote("echo", c.name), 2) == 2
    simulation.run(5.0)
    assert a._cluster.peers.session(c.name) is session
    assert a.run(whereis, Global("name")) == pid  # it was said on that session, and is not said again


def test_a_session_with_a_life_that_is_gone_is_not_of_the_return_of_the_next_one(simulation):
    """All that is heard is that the next one left."""
    a, b, c = line(simulation)
    c.run(Echo.start, name="echo")
    c._cluster._driver.step(Written("", 0))
    assert a.run(call, Remote("echo", c.name), 1) == 1
    session = a._cluster.peers.session(c.name)
    record = record_of(b, c)
    hears(a, record._replace(epoch=record.epoch + 1, bits=7, version=1, status=Status.LEFT))
    simulation.run(LAST_WORDS + 0.1)
    assert session.ended is not None


def test_what_is_to_reach_one_that_leaves_comes_to_nothing_though_a_session_rests(simulation):
    a, c, record = talking(simulation)
    a._cluster.peers.supersede(a._cluster.peers.session(c.name))
    a.run(send, Remote("echo", c.name), "hello")
    assert a._cluster.peers.is_opening(c.name)
    hears(a, record._replace(status=Status.LEFT))
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
