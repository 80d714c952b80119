"""Broadcasts of whole nodes while others join: who was a member gets them, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from partisan_actors import Node
from partisan_actors.broadcast import BroadcastHandler, broadcast, register_handler
from partisan_actors.testing import Network, Simulation
from partisan_actors.testing.network import ConstantLatency, Cut
from partisan_actors.topologies import HyParView, Scamp, Static


class Heard(BroadcastHandler):
    """What one node got, and what it was told that it will not get."""

    def __init__(self) -> None:
        self.got: Counter[int] = Counter()
        self.gaps: list[tuple[int, int]] = []

    def handle(self, message):
        self.got[message] += 1

    def on_gap(self, root, first, last):
        self.gaps.append((first, last))


def started(simulation: Simulation, index: int, topology) -> tuple[Node, Heard]:
    node, heard = simulation.node(f"n{index}@sim", topology=topology), Heard()
    node.run(register_handler, heard)
    return node, heard


@pytest.mark.parametrize("seed", [3, 4, 8, 10])
def test_d27_a_broadcast_right_after_the_joins_reaches_all(seed):
    with capture_logs(), Simulation(seed) as simulation:
        nodes = [started(simulation, index, HyParView(active_size=3)) for index in range(20)]
        first, heard = nodes[0]
        for node, _ in nodes[1:]:
            simulation.join(node, first)
        first.run(broadcast, 1, heard)
        simulation.run(60.0)
        assert [heard.got for _, heard in nodes] == [Counter([1])] * 20


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 1 << 30),
    st.sampled_from([HyParView(active_size=3), Scamp()]),
    st.lists(
        st.tuples(
            st.integers(0, 1 << 16),
            st.booleans(),
            st.sampled_from([0.0, 0.0, 0.001, 0.003, 0.01, 0.1, 0.5, 3.0]),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_d27_whoever_the_sender_knows_or_has_joined_gets_it_once(seed, topology, joins):
    """Each joins any that is there; a while later, some that are there broadcast."""
    with capture_logs(), Simulation(seed) as simulation:
        nodes = [started(simulation, 0, topology)]
        for_whom: list[set[str]] = []
        for chosen, first_sends, seconds, broadcasts in joins:
            contact = nodes[chosen % len(nodes)][0]
            newcomer = started(simulation, len(nodes), topology)
            if first_sends:
                newcomer[0].run(broadcast, -len(nodes), newcomer[1])  # it is alone, and this is for nobody else
            simulation.join(newcomer[0], contact)
            nodes.append(newcomer)
            simulation.run(seconds)
            for _ in range(broadcasts):
                sender, heard = nodes[(chosen + len(for_whom)) % len(nodes)]
                for_whom.append({node.name for node, _ in nodes} | set(sender.members()))
                sender.run(broadcast, len(for_whom) - 1, heard)
        simulation.run(40.0)
        for number, members in enumerate(for_whom):
            assert members - {node.name for node, heard in nodes if heard.got[number]} == set()
        assert all(times == 1 for _, heard in nodes for times in heard.got.values())
        assert not any(heard.gaps for _, heard in nodes)


def _cut_off(simulation: Simulation) -> tuple[Node, Node, Heard, Heard, Cut]:
    """A member of a static overlay, and one that joined it and was cut off before it was told what was before."""
    a, heard = started(simulation, 0, Static())
    b, _ = started(simulation, 1, Static())
    simulation.join(b, a)
    a.run(broadcast, "old", heard)
    simulation.run(20.0)
    x, heard_too = started(simulation, 2, Static())
    machine = x._clustered().broadcasting.machine
    x.spawn(x.join, a.address)
    while not (machine.sizes()["neighbours"] and x.name in a.members()):
        simulation.run(0.001)
    assert not machine.synchronised
    return a, x, heard, heard_too, simulation.partition([x], [a, b])


def test_a_newcomer_gets_from_beyond_its_neighbours_what_they_came_too_late_for():
    with capture_logs(), Simulation(1, network=Network(ConstantLatency(0.01))) as simulation:
        a, x, heard, lacks, _ = _cut_off(simulation)
        simulation.run_until(lambda: x.name not in a.neighbours())
        a.run(broadcast, "while it had no link", heard)
        simulation.run(1.1)
        y, came_later = started(simulation, 3, Static())
        simulation.join(y, a)
        simulation.join(y, x)
        simulation.run(20.0)
        assert sorted(x.neighbours()) == [y.name] and len(x.members()) == 4
        assert lacks.got == Counter(["while it had no link"]) and came_later.got == Counter()
        simulation.run(150.0)
        assert not lacks.gaps and not came_later.gaps


def test_a_newcomer_that_was_apart_for_longer_than_messages_are_kept_is_told_of_a_gap():
    with capture_logs(), Simulation(1, network=Network(ConstantLatency(0.01))) as simulation:
        a, _, heard, lacks, cut = _cut_off(simulation)
        for message in range(3):
            a.run(broadcast, message, heard)
        simulation.run(200.0)
        a.run(broadcast, "late", heard)
        simulation.heal(cut)
        simulation.run(20.0)
        assert lacks.got == Counter(["late"]) and not lacks.gaps
        simulation.run(150.0)
        assert lacks.gaps == [(2, 4)] and not heard.gaps
