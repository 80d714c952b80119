"""Parts of an overlay that no link joins, though everybody knows everybody: who finds that, when, and what it costs."""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.cluster.membership import Membership
from partisan_actors.cluster.view_events import Contact, LinkUp, ViewReceived
from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.topologies.full_mesh import FullMesh
from partisan_actors.topologies.hyparview import HyParView
from tests.cluster.view_terms import hello, member, news
from tests.cluster.view_world import ViewWorld

ROUND = ("round", "")
SEEDS = (1, 3, 5, 19)  # of those that part them; every third does
A, B, C = (member(f"{letter}@h", bits=20 + place, addresses=(f"h:{place}",)) for place, letter in enumerate("abc"))


class Rounds:
    """A view with a link to one member, which knows another one, in round after round."""

    def __init__(self, own, linked, other, interval=10.0):
        self.machine = Membership(own)
        self.random = Random(1)
        self.now, self.interval = 0.0, interval
        self.step(LinkUp(linked.node, linked.epoch, linked.bits, linked.addresses))
        self.linked = linked.node
        self.step(ViewReceived(linked.node, hello(linked)))
        self.hear(other)

    def step(self, event):
        return self.machine.step(event, self.now, self.random)

    def hear(self, record):
        self.step(ViewReceived(self.linked, news(record)))

    def round(self):
        """The contacts that the next one wants."""
        effects = self.step(TimerFired(ROUND))
        (seconds,) = [effect.seconds for effect in effects if effect == SetTimer(ROUND, effect[1])]
        self.now += seconds
        return [effect for effect in effects if isinstance(effect, Contact)]


def test_who_hears_nothing_of_the_speaker_any_more_joins_it():
    rounds = Rounds(C, B, A)
    found = [(rounds.now, rounds.round()) for _ in range(12)]
    when, contacts = next((when, contacts) for when, contacts in found if contacts)
    assert contacts == [Contact("a@h", A.addresses, True)]
    assert 45.0 < when < 70.0
    assert len([contacts for _, contacts in found if contacts]) <= 2


def test_who_hears_of_it_does_not():
    rounds = Rounds(C, B, A)
    for version in range(2, 20):
        rounds.hear(A._replace(version=version))
        assert rounds.round() == rounds.round() == []


def test_nor_does_who_has_a_link_to_it():
    rounds = Rounds(C, A, B)
    assert [rounds.round() for _ in range(20)] == [[]] * 20


def test_nor_who_was_stopped_meanwhile():
    """What it should have heard may be waiting to be read."""
    rounds = Rounds(C, B, A)
    for _ in range(4):
        rounds.round()
    rounds.now += 100.0
    assert rounds.round() == []


@pytest.mark.parametrize(("own", "others"), [(A, (B, C)), (B, (A, C))], ids=["the first", "another"])
def test_the_first_by_name_speaks_in_every_other_round(own, others):
    rounds = Rounds(own, *others)
    versions = []
    for _ in range(8):
        rounds.round()
        versions.append(rounds.machine.table.records.own.version)
    assert versions == ([1, 2, 2, 3, 3, 4, 4, 5] if own is A else [1] * 8)


def test_it_says_nothing_while_it_has_a_link_to_everybody():
    rounds = Rounds(A, B, C)
    rounds.step(LinkUp(C.node, C.epoch, C.bits, C.addresses))
    for _ in range(8):
        rounds.round()
    assert rounds.machine.table.records.own.version == 1


def test_one_that_cannot_be_dialled_does_not_speak():
    rounds = Rounds(B, C, A._replace(addresses=(), dialable=False))
    assert [rounds.round() for _ in range(8)] == [[]] * 8
    assert rounds.machine.table.records.own.version == 5  # this node does, in its place


def parts(world):
    """How many parts of it no link joins."""
    left, count = set(world.names()), 0
    while left:
        ahead, count = [left.pop()], count + 1
        while ahead:
            new = left.intersection(world[ahead.pop()].linked())
            left -= new
            ahead += new
    return count


@pytest.mark.parametrize("seed", SEEDS)
def test_islands_of_full_views_become_one(seed):
    """Eight in two parts, whom one brings together that is gone at once: everybody knows all, and wants for nobody."""
    world = ViewWorld(seed, HyParView(active_size=3, passive_size=3, shuffle_passive=1))
    nodes = [world.simulation.add() for _ in range(9)]
    for part in (nodes[:4], nodes[4:8]):
        for node in part[1:]:
            world.simulation.join(node, part[0].name)
            world.run(0.2)
    world.run(30.0)
    for contact in (nodes[0], nodes[4]):
        world.simulation.join(nodes[8], contact.name)
        world.run(0.1)
    world.simulation.crash(nodes[8])
    world.until_one(30.0)
    world.run(10.0)
    assert parts(world) == 2
    world.run(70.0)
    assert parts(world) == 1
    world.check_members()


def test_a_full_mesh_has_no_speaker():
    world = ViewWorld(1, FullMesh()).formed(8)
    world.run(120.0)
    assert {world.view(name).table.records.own.version for name in world.names()} == {1}
