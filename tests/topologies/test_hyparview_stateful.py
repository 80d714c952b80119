"""HyParView and X-BOT under joins, crashes, leaves and partitions' ends in any order, with messages in any order."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from partisan_actors.topologies import Topology
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.xbot import XBot
from tests.topologies.overlay_harness import Interleaved

SHUFFLES: dict[str, Any] = {"shuffle_active": 2, "shuffle_passive": 2}
SMALL: dict[str, Any] = {"active_size": 3, "passive_size": 6, "arwl": 4, "prwl": 2, **SHUFFLES}


def cost(a, b):
    """Two clusters, by the parity of the last digit."""
    return 1.0 if int(a[1:]) % 2 == int(b[1:]) % 2 else 10.0 + abs(int(a[1:]) - int(b[1:]))


class Overlays(RuleBasedStateMachine):
    topology: Topology = HyParView(**SMALL)

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.network = Interleaved(self.topology, Random(seed), cost)
        self.count = 1
        self.network.start("n0")

    def pick(self, number):
        names = sorted(self.network.machines)
        return names[number % len(names)]

    @precondition(lambda self: self.network.machines)
    @rule(number=st.integers(0, 99))
    def join(self, number):
        contact, name = self.pick(number), f"n{self.count}"
        self.count += 1
        self.network.start(name)
        self.network.join(name, contact)

    @precondition(lambda self: len(self.network.machines) > 2)
    @rule(number=st.integers(0, 99))
    def crash(self, number):
        self.network.crash(self.pick(number))

    @precondition(lambda self: len(self.network.machines) > 2)
    @rule(number=st.integers(0, 99))
    def leave(self, number):
        self.network.leave(self.pick(number))

    @precondition(lambda self: len(self.network.machines) > 1)
    @rule(number=st.integers(0, 99), other=st.integers(0, 99))
    def join_again(self, number, other):
        name, contact = self.pick(number), self.pick(other)
        if name != contact:
            self.network.join(name, contact)

    @rule(number=st.integers(0, 99))
    def tick(self, number):
        self.network.tick(self.pick(number))

    @rule(events=st.integers(1, 40))
    def deliver(self, events):
        for _ in range(events):
            self.network.deliver()

    @rule()
    def come_to_rest(self):
        self.rest()

    def rest(self):
        """What must hold once nothing is under way, whatever was before."""
        network = self.network
        network.drain()
        for _ in range(4):
            network.round()
        assert network.one_way() == []
        for _ in range(6):  # an island whose views are full is the cluster view's to find
            parts = network.parts()
            if len(parts) == 1:
                break
            network.join(parts[1][0], parts[0][0])
            network.drain()
            network.round()
        assert len(network.parts()) == 1
        assert network.one_way() == []

    @invariant()
    def views_are_bounded(self):
        for name, machine in (getattr(self, "network", None) and self.network.machines.items()) or ():
            parameters = machine.parameters
            assert len(machine.active) <= parameters.active_size
            assert len(machine.passive) <= parameters.passive_size
            assert name not in machine.active and name not in machine.passive
            assert not set(machine.active) & set(machine.passive)
            assert machine.wanted() == sorted(self.network.wants[name])
            assert set(machine.active) <= set(machine.neighbours()) <= set(machine.wanted())

    def teardown(self):
        self.rest()


class ReservedOverlays(Overlays):
    topology = HyParView(**SMALL | {"active_size": 4}, reserved={"server": 1})


class BiasedOverlays(Overlays):
    topology = XBot(**SMALL, cost=cost)


class MeasuredOverlays(Overlays):
    topology = XBot(**SMALL)


SETTINGS = settings(max_examples=30, stateful_step_count=40, deadline=None)

TestHyParView = Overlays.TestCase
TestReserved = ReservedOverlays.TestCase
TestXBot = BiasedOverlays.TestCase
TestXBotMeasured = MeasuredOverlays.TestCase
for case in (TestHyParView, TestReserved, TestXBot, TestXBotMeasured):
    case.settings = SETTINGS
