"""The contract of links, under overlays that do anything at any time and a network that does too."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from partisan_actors.testing.faults import storm
from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.network import ExponentialLatency, Network
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    LinkDown,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)

COUNT = 6
NAMES = [f"n{number}@sim" for number in range(COUNT)]


class Whimsical:
    """Wants and unwants links by chance, sends numbers, and checks what it is told."""

    name = "whimsical"

    def __init__(self, node):
        self.node = node
        self.up = set()
        self.members = set()
        self.owed = {}  # Connects without an answer
        self.next = {}  # to each peer: the next number of this link
        self.expected = {}  # from each peer: the least number that may come
        self.wanted = set()
        self.calm = False

    def step(self, event, now, random):
        match event:
            case MemberUp(peer):
                self.members.add(peer)
            case MemberDown(peer):
                self.members.discard(peer)
            case LinkUp() | LinkDown() | Unreachable():
                self._link(event)
            case Message(peer, (incarnation, number)):
                assert peer in self.up, f"{self.node}: a message of {peer} without a link"
                last = self.expected.get(peer, (0, -1))
                assert (incarnation, number) > last, f"{self.node}: {peer} out of order"
                assert incarnation > last[0] or number == last[1] + 1, f"{self.node}: {peer} lost one"
                self.expected[peer] = (incarnation, number)
            case TimerFired():
                return [*self._whim(random), SetTimer("whim", random.uniform(0.0, 1.0))]
        return ()

    def _link(self, event):
        peer = event.node
        if type(event) is LinkUp:
            assert peer not in self.up, f"{self.node}: {peer} is up twice"
            assert peer in self.members, f"{self.node}: {peer} is up before it is a member"
            self.up.add(peer)
            self.owed.pop(peer, None)
            # Every link starts at a number of its own, above all before.
            self.next[peer] = (self.next.get(peer, (0, 0))[0] + 1, 0)
        elif type(event) is LinkDown:
            assert peer in self.up, f"{self.node}: {peer} is down twice"
            self.up.discard(peer)
        else:
            assert self.owed.pop(peer, None), f"{self.node}: {peer} is unreachable without a Connect"

    def _whim(self, random):
        if self.calm:
            return []
        peer = random.choice([name for name in NAMES if name != self.node])
        match random.randrange(6):
            case 0 | 1:
                self.wanted.add(peer)
                if peer not in self.up:
                    self.owed[peer] = True
                return [Connect(peer)]
            case 2:
                self.wanted.discard(peer)
                self.owed.pop(peer, None)
                return [*self._numbers(peer, 1), Disconnect(peer)]
            case _:
                return self._numbers(peer, random.randrange(4))

    def _numbers(self, peer, count):
        if peer not in self.up:
            return []
        incarnation, number = self.next[peer]
        self.next[peer] = (incarnation, number + count)
        return [Send(peer, (incarnation, number + index)) for index in range(count)]

    def neighbours(self):
        return sorted(self.wanted)

    def gossip(self, linked):
        return linked


def machine(node):
    return node.layer("overlay").machine


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_links_keep_what_they_promise(seed):
    def make(node):
        return [overlay_layer(Whimsical(node.name))]

    simulation = ProtocolSimulation(seed, make, network=Network(ExponentialLatency(0.001, 0.05)))

    def start(node):
        simulation.time.push(
            simulation.time.now, lambda a, b, c: simulation._set_timer(node.slots[0], SetTimer("whim", 0.1))
        )

    for node in simulation.grow(COUNT - 1):
        start(node)
    start(simulation.add(processing=0.01))
    storm(simulation, Random(seed), 40.0, lambda node: start(simulation.restart(node, NAMES[0])), spare=[NAMES[0]])
    # Nobody changes its mind any more: what is wanted by either end comes, and what is not goes.
    for node in simulation.alive():
        machine(node).calm = True
    simulation.run(40.0)
    wanted = {frozenset((node.name, peer)) for node in simulation.alive() for peer in machine(node).wanted}
    for node in simulation.alive():
        assert sorted(machine(node).up) == node.linked()
        assert {frozenset((node.name, peer)) for peer in node.linked()} == {
            pair for pair in wanted if node.name in pair
        }
