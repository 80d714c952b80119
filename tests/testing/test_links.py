"""What the simulation promises overlays of links, by exact moments: one way is 0.01 s."""

from __future__ import annotations

from math import inf

import pytest

from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.network import ConstantLatency, Network
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    FindMembers,
    Joined,
    Leave,
    LinkDown,
    LinkUp,
    Measure,
    Measured,
    MemberDown,
    MembersFound,
    MemberUp,
    Message,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)
from tests.testing.machines import Recorder

A, B, C = "a@sim", "b@sim", "c@sim"


class Log(list):
    """What a node was told, with the moments. Two tuples of one content are equal, and a LinkDown is no LinkUp."""

    __hash__ = None

    def __eq__(self, other):
        return list(map(repr, self)) == list(map(repr, other))

    @property
    def events(self):
        return Log(event for _, event in self)


class World:
    """A simulation of recorders."""

    def __init__(self, *names):
        network = Network(ConstantLatency(0.01))
        self.simulation = ProtocolSimulation(1, lambda node: [overlay_layer(Recorder())], network=network)
        for name in names or (A, B):
            self.simulation.add(name)

    def tell(self, name, *effects):
        self.simulation[name].tell("overlay", list(effects))

    def members(self, name):
        """What the members' source told it, so far."""
        log = self.simulation[name].layer("overlay").machine.log
        return Log((now, event) for now, event in log if isinstance(event, MemberUp | MemberDown))

    def run(self, seconds):
        self.simulation.run(seconds)

    def log(self, name):
        """What its overlay was told since the last time it was asked, without what the members' source says."""
        machine = self.simulation[name].layer("overlay").machine
        log, machine.log = machine.log, []
        return Log((now, event) for now, event in log if not isinstance(event, MemberUp | MemberDown))

    def linked(self):
        self.tell(A, Connect(B))
        self.run(1.0)
        self.log(A), self.log(B)


@pytest.fixture
def world():
    return World()


def test_a_link_is_there_after_a_round_trip_at_both_ends(world):
    world.tell(A, Connect(B))
    world.run(1.0)
    assert world.log(A) == [(0.02, LinkUp(B))]
    assert world.log(B) == [(0.02, LinkUp(A))]


def test_members_are_told_of_before_their_link(world):
    world.tell(A, Connect(B))
    world.run(1.0)
    for name, peer in ((A, B), (B, A)):
        assert Log(world.simulation[name].layer("overlay").machine.log).events == [MemberUp(peer), LinkUp(peer)]


def test_two_dials_at_once_make_one_link(world):
    world.tell(A, Connect(B))
    world.tell(B, Connect(A))
    world.run(1.0)
    assert world.log(A) == [(0.02, LinkUp(B))]
    assert world.log(B) == [(0.02, LinkUp(A))]


def test_messages_arrive_in_order_and_without_a_link_not_at_all(world):
    world.tell(A, Send(B, "lost"))
    world.linked()
    world.tell(A, Send(B, 1), Send(B, 2))
    world.run(1.0)
    assert world.log(B) == [(1.01, Message(A, 1)), (1.01, Message(A, 2))]
    assert world.simulation.dropped == {"no link": 1}


def test_what_is_sent_before_a_disconnect_arrives_before_the_end(world):
    world.linked()
    world.tell(A, Send(B, "last"), Disconnect(B), Send(B, "too late"))
    world.run(1.0)
    assert world.log(B) == [(1.01, Message(A, "last")), (1.01, LinkDown(A))]
    assert world.log(A) == [(1.0, LinkDown(B))]


def test_a_link_that_the_other_end_wants_is_dialled_again(world):
    world.linked()
    world.tell(B, Connect(A), Send(A, 1))
    world.tell(A, Disconnect(B))
    world.run(1.0)
    assert world.log(B).events == [LinkDown(A), LinkUp(A)]
    assert world.log(A).events == [LinkDown(B), LinkUp(B)]


def test_connect_after_disconnect_makes_a_new_link(world):
    world.linked()
    world.tell(A, Disconnect(B), Connect(B))
    world.run(1.0)
    assert world.log(A) == [(1.0, LinkDown(B)), (1.02, LinkUp(B))]
    assert world.log(B) == [(1.01, LinkDown(A)), (1.02, LinkUp(A))]


def test_nobody_there_is_refused_after_a_round_trip_and_dialled_again(world):
    world.simulation.crash(world.simulation[B])
    world.tell(A, Connect(B))
    world.run(1.0)
    assert world.log(A) == [(0.02, Unreachable(B))]  # once for a Connect
    world.simulation.restart(world.simulation[B])
    world.run(4.0)
    assert world.log(A).events == [LinkUp(B)]


def test_a_name_that_nobody_has_is_refused(world):
    world.tell(A, Connect("nobody@sim"))
    world.run(0.5)
    assert world.log(A) == [(0.02, Unreachable("nobody@sim"))]


def test_a_dial_into_a_partition_ends_after_five_seconds(world):
    world.simulation.partition([A])
    world.tell(A, Connect(B))
    world.run(6.0)
    assert world.log(A) == [(5.0, Unreachable(B))]
    world.simulation.heal()
    world.run(10.0)
    assert world.log(A).events == [LinkUp(B)]


def test_a_crash_is_seen_after_half_a_second_and_what_was_sent_before_arrives(world):
    world.linked()
    world.tell(B, Send(A, "last"))
    world.run(0.005)
    world.simulation.crash(world.simulation[B])
    world.tell(A, Send(B, "nobody hears this"))
    world.run(1.0)
    assert world.log(A)[:2] == [(1.01, Message(B, "last")), (1.505, LinkDown(B))]


def test_a_new_life_does_not_wait_for_the_end_of_the_old_link(world):
    world.linked()
    world.simulation.restart(world.simulation[B])
    world.tell(B, Connect(A))
    world.run(2.0)
    assert world.log(A) == [(1.02, LinkDown(B)), (1.02, LinkUp(B))]
    assert world.log(B) == [(1.02, LinkUp(A))]
    assert world.simulation[B].life == 2


@pytest.mark.parametrize("one_way", [False, True])
def test_silence_ends_a_link_at_both_ends_after_five_seconds(world, one_way):
    world.linked()
    world.simulation.partition([A], [B], one_way=one_way)
    world.tell(A, Send(B, "lost"))
    world.run(5.0)
    assert world.log(A) == [(6.0, LinkDown(B))]
    assert world.log(B) == [(6.0, LinkDown(A))]
    world.simulation.heal()
    world.run(9.0)
    assert world.log(B).events == [LinkUp(A)]


def test_a_short_partition_is_only_late(world):
    world.linked()
    cut = world.simulation.partition([A])
    world.tell(A, Send(B, 1), Send(B, 2))
    world.run(4.0)
    assert world.log(B) == []
    world.simulation.heal(cut)
    world.run(9.0)
    assert world.log(B) == [(5.01, Message(A, 1)), (5.01, Message(A, 2))]
    assert world.log(A) == []


def test_a_disconnect_and_a_crash_within_a_partition_are_heard_of_after_it():
    world = World(A, B, C)
    world.linked()
    world.tell(C, Connect(B))
    world.run(1.0)
    world.log(B)
    world.simulation.partition([B])
    world.tell(A, Send(B, "last"), Disconnect(B))
    world.run(1.0)
    world.simulation.crash(world.simulation[C])
    world.run(1.0)
    world.simulation.heal()
    world.run(1.0)
    assert world.log(B) == [(4.01, Message(A, "last")), (4.01, LinkDown(A)), (4.5, LinkDown(C))]


def test_a_bridge_reaches_both_sides():
    world = World(A, B, C)
    world.simulation.partition([A], [B])
    world.tell(C, Connect(A), Connect(B))
    world.tell(A, Connect(B))
    world.run(6.0)
    assert world.log(C).events == [LinkUp(A), LinkUp(B)]
    assert world.log(A) == [(0.02, LinkUp(C)), (5.0, Unreachable(B))]


def test_a_short_pause_is_only_late(world):
    world.linked()
    world.tell(B, SetTimer("tick", 1.0))
    world.simulation.pause(world.simulation[B], 3.0)
    world.tell(A, Send(B, 1))
    world.run(4.1)
    # What was told it while it stood still comes first, so the timer runs from its end.
    assert world.log(B) == [(4.0, Message(A, 1)), (5.0, TimerFired("tick"))]


def test_a_long_pause_ends_its_links_for_the_others_and_later_for_itself(world):
    world.linked()
    world.simulation.pause(world.simulation[B], 20.0)
    world.tell(A, Send(B, 1))
    world.run(15.0)
    assert world.log(A) == [(6.0, LinkDown(B))]
    world.run(30.0)
    assert world.log(B)[:2] == [(21.0, Message(A, 1)), (21.0, LinkDown(A))]
    assert world.log(A)[0][1] == LinkUp(B)


def test_a_slow_node_takes_its_time_for_each_thing_and_keeps_the_order():
    world = World(A)
    world.simulation.add(B, processing=0.1)
    world.linked()
    world.tell(A, Send(B, 1), Send(B, 2), Disconnect(B))
    world.run(1.0)
    assert world.log(B) == [(1.11, Message(A, 1)), (1.21, Message(A, 2)), (1.31, LinkDown(A))]


def test_a_join_brings_a_link_that_ends_when_nobody_wants_it(world):
    world.simulation.join(world.simulation[A], B)
    world.run(20.0)
    assert world.log(A) == [(0.02, LinkUp(B)), (0.02, Joined(B)), (10.02, LinkDown(B))]
    assert world.log(B).events == [LinkUp(A), LinkDown(A)]
    assert world.simulation.joined.names == [B, A]


def test_a_join_through_one_that_is_down_goes_on_until_it_is_up(world):
    world.simulation.crash(world.simulation[B])
    world.simulation.join(world.simulation[A], B)
    world.run(5.0)
    world.simulation.restart(world.simulation[B])
    world.run(4.0)
    assert world.log(A).events == [LinkUp(B), Joined(B)]


def test_who_leaves_may_say_so_and_its_links_end_in_order(world):
    world.linked()
    world.simulation.leave(world.simulation[A])
    world.run(1.0)
    assert not world.simulation[A].alive
    assert world.members(B) == [(1.1, MemberDown(A))]
    assert world.log(A) == [(1.0, Leave())]
    assert world.log(B) == [(1.01, LinkDown(A))]


def test_those_who_were_told_of_a_member_hear_that_it_is_down(world):
    world.linked()
    world.simulation.crash(world.simulation[B])
    world.run(7.0)
    assert world.members(A) == [(7.0, MemberDown(B))]


def test_round_trips_and_members():
    world = World(A, B, C)
    for name in (B, C):
        world.simulation.join(world.simulation[name], A)
    world.run(1.0)
    world.log(A)
    world.simulation.crash(world.simulation[C])
    world.tell(A, Measure(B), Measure(C), FindMembers(5))
    world.run(1.0)
    assert world.log(A).events == [
        MembersFound((B,)),
        Measured(B, 0.02),
        Measured(C, inf),
        LinkDown(C),
    ]


def test_a_skewed_clock_is_what_its_machine_sees(world):
    world.simulation.skew(world.simulation[B], rate=2.0, offset=100.0)
    world.tell(B, SetTimer("tick", 1.0))
    world.run(0.6)
    assert world.log(B) == [(101.0, TimerFired("tick"))]
    assert world.simulation.time.now == 0.6


def test_a_join_s_link_stays_when_it_is_wanted_meanwhile(world):
    world.simulation.join(world.simulation[A], B)
    world.run(1.0)
    world.tell(B, Connect(A))
    world.run(30.0)
    assert world.log(A) == [(0.02, LinkUp(B)), (0.02, Joined(B))]
    assert world.log(B).events == [LinkUp(A)]
