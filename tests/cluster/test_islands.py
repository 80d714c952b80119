"""Parts of an overlay that no link joins, though everybody knows everybody: who finds that, when, and what it costs."""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.cluster.membership import Membership
from partisan_actors.cluster.view_events import Contact, LinkUp, Refused, SendView, ViewReceived
from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.testing.peer_services import peer_service
from partisan_actors.topologies.full_mesh import FullMesh
from partisan_actors.topologies.hyparview import HyParView
from tests.cluster.view_terms import hello, member, news, view
from tests.cluster.view_world import ViewWorld

ROUND, BEACON = ("round", ""), ("beacon", "")
SEEDS = (1, 5, 19, 24)  # of those that part them; every fifth does
FREE_SEEDS = (0, 6, 9, 13)  # of those; every second does
A, B, C = (member(f"{letter}@h", bits=20 + place, addresses=(f"h:{place}",)) for place, letter in enumerate("abc"))


class Rounds:
    """A view with a link to one member, which knows another one, in round after round."""

    def __init__(self, own, linked, other, gossip=None):
        self.machine = Membership(own, gossip=gossip)
        self.random = Random(1)
        self.now = 0.0
        self.link(linked)
        self.linked = linked.node
        self.hear(news(other))

    def step(self, event):
        return self.machine.step(event, self.now, self.random)

    def link(self, record):
        self.step(LinkUp(record.node, record.epoch, record.bits, record.addresses))
        self.hear(hello(record), record.node)

    def hear(self, payload, source=None):
        return self.step(ViewReceived(source or self.linked, payload))

    def round(self):
        """What the next one wants."""
        effects = self.step(TimerFired(ROUND))
        (seconds,) = [effect.seconds for effect in effects if effect == SetTimer(ROUND, effect[1])]
        self.now += seconds
        return effects

    def contacts(self):
        return [effect for effect in self.round() if isinstance(effect, Contact)]


def beacon(number, of=A, bits=None):
    return ("beacon", of.node, of.bits if bits is None else bits, number)


def beacons(effects):
    """Those that are sent, and to whom."""
    sent = [(effect.nodes, effect.payload) for effect in effects if isinstance(effect, SendView)]
    return [(nodes, payload[1:]) for nodes, payload in sent if payload[0] == "beacon"]


# Whoever hears, or does not


def test_who_gets_no_beacon_of_the_speaker_any_more_joins_it():
    rounds = Rounds(C, B, A)
    found = [(rounds.now, rounds.contacts()) for _ in range(12)]
    when, contacts = next((when, contacts) for when, contacts in found if contacts)
    assert contacts == [Contact("a@h", A.addresses, True)]
    assert 55.0 < when < 80.0
    assert len([contacts for _, contacts in found if contacts]) <= 2


def test_who_gets_them_does_not_even_if_one_is_lost():
    rounds = Rounds(C, B, A)
    for number in range(1, 20):
        rounds.hear(beacon(number))
        assert [rounds.contacts() for _ in range(4)] == [[]] * 4


def test_what_comparisons_and_news_tell_of_the_speaker_is_no_beacon():
    """They get across where broadcasts do not: over a link that lasts for a moment."""
    rounds = Rounds(C, B, A)
    found = []
    for version in range(2, 10):
        record = A._replace(version=version)
        rounds.hear(view(record) if version % 2 else news(record))
        found += rounds.contacts()
    assert found == [Contact("a@h", A.addresses, True)]


@pytest.mark.parametrize(
    "payload", [beacon(1), beacon(9, of=B), beacon(9, bits=77)], ids=["old", "another's", "another life's"]
)
def test_what_does_not_count(payload):
    rounds = Rounds(C, B, A)
    rounds.hear(beacon(1))
    found = []
    for _ in range(8):
        assert rounds.hear(payload) == []
        found += rounds.contacts()
    assert found == [Contact("a@h", A.addresses, True)]


def test_a_new_life_counts_from_one():
    rounds = Rounds(C, B, A)
    rounds.hear(beacon(7))
    later = A._replace(epoch=2, bits=99)
    rounds.hear(news(later))
    assert [effect.key for effect in rounds.hear(beacon(1, of=later))] == [BEACON]


def test_who_has_a_link_to_it_needs_none():
    rounds = Rounds(C, A, B)
    assert [rounds.contacts() for _ in range(20)] == [[]] * 20


def test_nor_does_who_was_stopped_meanwhile():
    """What it should have heard may be waiting to be read."""
    rounds = Rounds(C, B, A)
    for _ in range(4):
        rounds.round()
    rounds.now += 100.0
    assert rounds.contacts() == []


@pytest.mark.parametrize(
    "term", [(), ("a@h", 20), (1, 20, 1), ("", 20, 1), ("a@h", -1, 1), ("a@h", 20, True), ("a@h", 20, 1 << 62)]
)
def test_what_is_no_beacon_is_refused(term):
    assert Rounds(C, B, A).hear(("beacon", *term)) == [Refused("b@h", "beacon", 1)]


# Whoever sends, and passes on


@pytest.mark.parametrize(("own", "others"), [(A, (B, C)), (B, (A, C))], ids=["the first", "another"])
def test_the_first_by_name_speaks_in_every_other_round(own, others):
    rounds = Rounds(own, *others)
    sent = [beacons(rounds.round()) for _ in range(6)]
    said = [[(("b@h",), ("a@h", A.bits, number))] for number in (1, 2, 3)]
    assert sent == ([[], said[0], [], said[1], [], said[2]] if own is A else [[]] * 6)
    assert rounds.machine.table.records.own.version == 1  # nothing for comparisons


def test_over_the_links_that_are_for_everybody_only():
    rounds = Rounds(A, B, C, gossip=lambda links: [])
    assert [beacons(rounds.round()) for _ in range(6)] == [[]] * 6


def test_it_says_nothing_while_it_has_a_link_to_everybody():
    rounds = Rounds(A, B, C)
    rounds.link(C)
    assert [beacons(rounds.round()) for _ in range(8)] == [[]] * 8


def test_one_that_cannot_be_dialled_does_not_speak():
    rounds = Rounds(B, C, A._replace(addresses=(), dialable=False))
    sent = [effects for effects in (rounds.round() for _ in range(8)) if beacons(effects)]
    assert len(sent) == 4  # this node does, in its place


def test_one_whose_number_somebody_made_up_goes_beyond_it():
    rounds = Rounds(A, B, C)
    rounds.hear(beacon(40))
    rounds.round()
    assert beacons(rounds.round()) == [(("b@h",), ("a@h", A.bits, 41))]


def test_a_beacon_is_passed_on_once_and_not_to_those_who_have_it():
    others = [member(f"{letter}@h", bits=30 + place) for place, letter in enumerate("def")]
    rounds = Rounds(C, B, A)
    for other in others:
        rounds.link(other)
    (timer,) = rounds.hear(beacon(1))
    assert timer.key == BEACON
    assert 0.0 <= timer.seconds <= 0.2
    assert rounds.hear(beacon(1), "e@h") == []
    assert beacons(rounds.step(TimerFired(BEACON))) == [(("d@h", "f@h"), ("a@h", A.bits, 1))]
    assert rounds.hear(beacon(1), "f@h") == []


def test_it_is_not_when_another_speaks_by_then():
    rounds = Rounds(C, B, A)
    rounds.link(member("d@h", bits=30))
    rounds.hear(beacon(1))
    rounds.hear(news(A._replace(epoch=2, bits=99)))
    rounds.round()
    assert beacons(rounds.step(TimerFired(BEACON))) == []


# Whole clusters


def neighbours(world, name):
    """Those of the overlay: there are links for a moment, too."""
    return peer_service(world[name]).neighbours()


def parts(world):
    """How many parts of it no link of the overlay joins."""
    left, count = set(world.names()), 0
    while left:
        ahead, count = [left.pop()], count + 1
        while ahead:
            new = left.intersection(neighbours(world, ahead.pop()))
            left -= new
            ahead += new
    return count


def islands(seed, topology, *sizes):
    """Two parts of so many, whom one brings together that is gone at once: everybody knows all."""
    world = ViewWorld(seed, topology)
    nodes = [world.simulation.add() for _ in range(sum(sizes) + 1)]
    for part in (nodes[: sizes[0]], nodes[sizes[0] : -1]):
        for node in part[1:]:
            world.simulation.join(node, part[0].name)
            world.run(0.2)
    world.run(30.0)
    for contact in (nodes[0], nodes[sizes[0]]):
        world.simulation.join(nodes[-1], contact.name)
        world.run(0.1)
    world.simulation.crash(nodes[-1])
    world.until_one(30.0)
    world.run(10.0)
    assert parts(world) == 2
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_islands_of_full_views_become_one(seed):
    """Nobody wants for anybody."""
    world = islands(seed, HyParView(active_size=3, passive_size=3, shuffle_passive=1), 4, 4)
    world.run(80.0)
    assert parts(world) == 1
    world.check_members()


@pytest.mark.parametrize("seed", FREE_SEEDS)
def test_so_does_one_whose_nodes_have_a_free_slot_each(seed):
    """They ask the others, who are full, over links that last for a moment, and views are compared over those."""
    world = islands(seed, HyParView(active_size=3, passive_size=8), 4, 3)
    world.run(80.0)
    assert parts(world) == 1
    world.check_members()


@pytest.mark.parametrize("seed", SEEDS)
def test_islands_of_which_each_has_its_own_speaker_become_one(seed):
    """Whoever joined one of them is unknown on the other, and the first by name."""
    world = islands(seed, HyParView(active_size=3, passive_size=3, shuffle_passive=1), 4, 4)
    first = world.simulation.add("m@sim")
    world.simulation.join(first, "n5@sim")
    world.until_one(200.0)
    world.run(80.0)
    assert parts(world) == 1


def test_a_connected_cluster_is_left_as_it_is():
    """Everybody gets beacons, over several links: none takes itself for an island, and joins the speaker."""
    world = ViewWorld(1, HyParView(active_size=3, passive_size=8)).formed(60)
    world.run(60.0)
    before = neighbours(world, "n0@sim")
    world.run(600.0)
    assert world.view("n0@sim")._islands._own > 20
    assert neighbours(world, "n0@sim") == before


def test_a_full_mesh_has_no_speaker():
    world = ViewWorld(1, FullMesh()).formed(8)
    world.run(120.0)
    assert {world.view(name)._islands._own for name in world.names()} == {0}
