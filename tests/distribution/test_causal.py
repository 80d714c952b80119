"""Exact examples of causal order: the textbook's, what the log drops, messages that are gone, and deaths."""

from __future__ import annotations

import pytest

from partisan_actors.distribution.causal import Abandon, CausalOrder, CausalParameters, Deliver, Tell
from partisan_actors.distribution.causal_label import CausalLabel
from partisan_actors.distribution.causal_stamps import BadStamp, decode, incarnation_of, same_life
from tests.distribution.causal_world import World

A, B, C, D = range(4)


def _entries(world, sender, receiver, index=-1):
    """The dependencies of a message on a link: clock and destinations, by sender."""
    stamp = decode(world.links[sender, receiver][index].item, len(world.names), sender, receiver)
    return {key[0]: times for key, times in stamp.entries.items()}


def _set(*places):
    return sum(1 << place for place in places)


def _a_chain_beside_what_it_stands_on():
    """A's message to B and C is under way to B, and so are C's and D's that came after it; the first and the last."""
    world = World(4)
    first = world.send(A, B, C)
    world.arrive(A, C)
    world.send(C, B)
    world.send(C, D)
    world.arrive(C, D)
    return world, first, world.send(D, B)


def test_the_triangle():
    world = World(3)
    first = world.send(A, B)
    second = world.send(A, C)
    world.arrive(A, C)
    third = world.send(C, B)
    assert world.arrive(C, B)
    assert world.nodes[B].machine.buffered == 1
    world.arrive(A, B)
    assert world.log == [(C, second), (B, first), (B, third)]
    world.quiet()


def test_a_chain_that_goes_round_by_others():
    world = World(4)
    world.send(A, D)
    for sender, receiver in ((A, B), (B, C), (C, D)):
        world.send(sender, receiver)
        world.arrive(sender, receiver)
    assert world.nodes[D].delivered == set()
    world.arrive(A, D)
    assert [message for place, message in world.log if place == D] == [0, 3]


def test_a_broadcast_is_delivered_before_an_answer_to_it():
    world = World(4)
    question = world.send(A, A, B, C, D)
    world.arrive(A, B)
    answer = world.send(B, A, B, C, D)
    world.arrive(B, C)
    world.arrive(B, D)
    world.arrive(A, D)
    world.arrive(A, C)
    assert [entry for entry in world.log if entry[0] in (C, D)] == [
        (D, question),
        (D, answer),
        (C, question),
        (C, answer),
    ]
    world.quiet()


def test_concurrent_messages_do_not_wait_for_each_other():
    world = World(3)
    world.send(A, C)
    later = world.send(B, C)
    world.arrive(B, C)
    assert world.log == [(C, later)]


def test_a_channel_is_in_order_whatever_its_carrier_does():
    world = World(2)
    sent = [world.send(A, B) for _ in range(3)]
    for index in (2, 1, 0):
        world.arrive(A, B, index)
    assert [message for _, message in world.log] == sent


def test_what_comes_twice_is_delivered_once():
    world = World(2)
    world.send(A, B)
    world.arrive(A, B, again=True)
    assert world.arrive(A, B)
    assert len(world.log) == 1


# The log


def test_what_was_delivered_is_not_said_again():
    """Constraint 1: B's answer says that B has the message, so A's next one need not."""
    world = World(3)
    world.send(A, B)
    world.arrive(A, B)
    world.send(B, A)
    world.arrive(B, A)
    world.send(A, C)
    assert _entries(world, A, C) == {A: {1: 0}, B: {1: 0}}


def test_a_later_message_to_the_same_member_stands_for_the_earlier_one():
    """Constraint 2, in the log: after the second message to B only that one is a dependency."""
    world = World(3)
    world.send(A, B)
    world.send(A, B)
    world.send(A, C)
    assert _entries(world, A, C) == {A: {2: _set(B)}}


def test_the_copies_of_a_multicast_do_not_tell_what_the_others_tell():
    """Constraint 2, in a stamp: C's copy does not say that B waits for the first; B's copy does."""
    world = World(3)
    world.send(A, B)
    world.send(A, B, C)
    assert _entries(world, A, B) == {A: {1: _set(B)}}
    assert _entries(world, A, C) == {A: {1: 0}}


def test_what_one_log_dropped_is_dropped_in_others():
    """The implicit tracking: C knows a newer entry of A without the older, so D's older one goes."""
    world = World(4)
    world.send(A, B, D)
    world.arrive(A, D)
    world.arrive(A, B)
    world.send(B, A)
    world.arrive(B, A)
    world.send(A, D)
    assert world.nodes[D].machine._log.entries[A, incarnation_of(1, 7)] == {1: _set(B)}
    world.arrive(A, D)
    assert world.nodes[D].machine._log.entries[A, incarnation_of(1, 7)] == {2: 0}


def test_an_empty_entry_is_told_once():
    world = World(3)
    world.send(A, B)
    world.arrive(A, B)
    world.send(B, C)
    world.send(B, C)
    assert _entries(world, B, C, 0) == {A: {1: 0}}
    assert _entries(world, B, C, 1) == {B: {1: _set(C)}}


def test_a_report_empties_the_logs():
    world = World(3)
    world.send(A, B, C)
    world.arrive_all()
    assert world.nodes[A].machine.dependencies == 1
    world.quiet()
    assert all(node.machine.report() == [] for node in world.nodes), "it was told"


# Room


def test_the_newest_is_refused_when_there_is_no_room():
    world = World(3, CausalParameters(max_buffered=1))
    world.send(A, B)
    world.send(A, C)
    world.arrive(A, C)
    world.send(C, B)
    world.send(C, B)
    assert world.arrive(C, B)
    assert not world.arrive(C, B), "its sender keeps it"
    assert world.nodes[B].machine.refused == 1
    assert world.arrive(A, B), "never refused: it is the one that the others wait for"
    assert world.arrive(C, B)
    assert [message for place, message in world.log if place == B] == [0, 2, 3]


def test_bytes_are_bounded_too():
    world = World(3, CausalParameters(max_bytes=15))
    world.send(A, B)
    world.send(A, C)
    world.arrive(A, C)
    world.send(C, B)
    world.send(C, B)
    assert world.arrive(C, B) and not world.arrive(C, B)
    assert world.nodes[B].machine.buffered_bytes == 10


def test_nothing_is_kept_of_lives_that_are_over():
    world = World(3)
    for _ in range(20):
        world.send(A, B)
        world.send(C, B)
        world.send(A, C)
        world.arrive_all()
        for place in (A, B):
            world.perform(place, world.nodes[place].machine.report())
        world.crash(C, 0)
        world.restart(C)
        world.observe_all()
        world.arrive_all()
    for place in (A, B):
        machine = world.nodes[place].machine
        for departures in machine._departures.values():
            assert len(departures.seen) <= 3
        log = machine._log
        assert len(machine._arrivals) == 2 and len(log.entries) == len(log._order) <= 3 and len(log._told) <= 3
    world.quiet()


def test_flushes_that_nobody_could_mean_are_not_kept():
    label = CausalLabel("label", ("a@h", "b@h", "c@h"))
    b = CausalOrder(label, "b@h", incarnation_of(1, 7), CausalParameters(max_flushes=50))
    a = incarnation_of(2, 7)
    b.up("a@h", a)
    b.up("c@h", incarnation_of(3, 7))
    b.receive("a@h", (2, a, b.incarnation, 0))
    taken = [b.receive("a@h", (3, a, b.incarnation, number, 2, number)).taken for number in range(2, 500)]
    assert taken.count(True) < 60 and b.refused == taken.count(False)
    assert all(len(channel.items) <= 50 for channel in b._arrivals.values())


def test_a_stamp_is_of_the_life_that_sent_it():
    label = CausalLabel("label", ("a@h", "b@h"))
    b = CausalOrder(label, "b@h", incarnation_of(1, 7))
    life = incarnation_of(2, 7)
    b.up("a@h", life)
    for number in range(3, 30):
        with pytest.raises(BadStamp, match="another life"):
            b.receive("a@h", (2, incarnation_of(number, 7), b.incarnation, 0), life=life)
    assert b.receive("a@h", (2, life + 1, b.incarnation, 0), life=life).taken, "it was taken for dead, and came back"
    assert len(b._arrivals) <= 2


@pytest.mark.parametrize("name", ["max_buffered", "max_bytes", "max_flushes"])
def test_parameters_are_checked(name):
    with pytest.raises(ValueError, match=name):
        CausalParameters(**{name: 0})


# Given up


def test_who_depends_on_a_message_that_was_given_up_is_released():
    world = World(3)
    world.send(A, B)
    world.send(A, C)
    world.arrive(A, C)
    last = world.send(C, B)
    world.arrive(C, B)
    world.give_up(A, B, 0)
    assert world.nodes[B].delivered == set()
    world.arrive(A, B)
    assert world.nodes[B].delivered == {last}
    world.quiet()


def test_what_a_gone_message_depended_on_still_counts():
    """A's message to B, which D's says nothing of, since C's says it, and that one is gone."""
    world, first, last = _a_chain_beside_what_it_stands_on()
    assert A not in _entries(world, D, B) or not _entries(world, D, B)[A][1] & _set(B), "left out, by constraint 2"
    world.arrive(D, B)
    world.give_up(C, B, 0)
    world.arrive(C, B)
    assert world.nodes[B].delivered == set()
    world.arrive(A, B)
    assert [message for place, message in world.log if place == B] == [first, last]


def test_a_message_given_up_that_arrived_after_all_is_delivered():
    world = World(2)
    world.send(A, B)
    world.give_up(A, B, 0, doubted=True)
    world.arrive_all()
    assert len(world.log) == 1


def test_giving_up_what_was_for_a_dead_life_is_nothing():
    world = World(2)
    world.send(A, B)
    stamp = world.links[A, B][0].item
    world.crash(B, 0)
    world.observe(A, B)
    assert world.nodes[A].machine.gave_up(world.names[B], stamp) == []


# Deaths


def test_nobody_waits_for_a_message_that_died_with_its_sender():
    world = World(3)
    world.send(A, B)
    world.send(A, C)
    world.arrive(A, C)
    last = world.send(C, B)
    world.arrive(C, B)
    world.crash(A, 0)
    world.observe(B, A)
    assert world.nodes[B].machine.unsettled == [world.names[A]]
    assert world.nodes[B].delivered == set(), "C may have more that came before"
    world.arrive_all()
    assert world.nodes[B].delivered == {last}
    world.quiet()


def test_what_a_lost_message_depended_on_is_waited_for():
    """As with one that was given up, but its stamp is lost too: the flush of A has to come, and it comes last."""
    world, first, last = _a_chain_beside_what_it_stands_on()
    world.arrive(D, B)
    world.crash(C, 0)
    for observer in (A, B, D):
        world.observe(observer, C)
    world.arrive(D, B)
    assert world.nodes[B].delivered == set()
    world.arrive_all()
    assert [message for place, message in world.log if place == B] == [first, last]
    world.quiet()


def test_a_death_during_the_agreement_is_part_of_it():
    world = World(4)
    world.send(A, B)
    world.send(A, C)
    world.arrive(A, C)
    last = world.send(C, B)
    world.arrive(C, B)
    world.crash(A, 0)
    world.observe(B, A)
    world.observe(C, A)
    world.arrive(C, B)
    world.crash(D, 0)
    assert world.nodes[B].machine.unsettled == [world.names[A]], "it waits for D"
    world.observe(B, D)
    world.arrive_all()
    assert world.nodes[B].delivered == {last}
    world.quiet()


def test_a_death_spreads_ahead_of_the_cluster_view():
    world = World(3)
    world.crash(A, 0)
    world.observe(B, A)
    world.arrive_all()
    assert all(world.nodes[place].machine._dead == {A: incarnation_of(1, 7)} for place in (B, C))
    assert all(not world.nodes[place].machine.unsettled for place in (B, C))


def test_a_restarted_node_waits_for_nothing_of_its_former_life():
    world = World(3)
    world.send(A, B, C)
    world.arrive(A, C)
    world.crash(B, 0)
    world.restart(B)
    after = world.send(C, A)
    world.quiet()
    last = world.send(C, B)
    world.arrive_all()
    assert (B, last) in world.log and (A, after) in world.log
    world.quiet()


def test_a_node_taken_for_dead_comes_back_as_another_incarnation():
    world = World(3)
    lost = world.send(A, B)
    world.suspect(B, A)
    world.quiet()
    before, now = incarnation_of(1, 7), world.nodes[A].machine.incarnation
    assert now == before + 1 and same_life(before, now)
    assert (B, lost) not in world.log and (lost, B) in world.excused, "it is reported undelivered"
    last = world.send(A, B)
    world.arrive_all()
    assert (B, last) in world.log


def test_what_was_under_way_to_a_dead_life_is_abandoned():
    world = World(2)
    machine = world.nodes[A].machine
    assert Abandon(world.names[B]) in machine.down(world.names[B], incarnation_of(2, 7))
    assert machine.send(world.names).unreachable == [world.names[B]]


def test_a_member_known_by_hearsay_is_told_of():
    world = World(3, connected=False)
    world.observe(A, C)
    world.observe(C, A)
    world.observe(A, B)
    world.observe(B, A)
    world.arrive_all()
    world.send(C, A)
    world.arrive_all()
    world.send(A, B)
    world.arrive_all()
    assert world.nodes[B].machine.hearsay() == [(world.names[C], incarnation_of(3, 7))]


# Wrong use


def test_d52_a_wrong_destination_is_an_error_at_the_call_and_hurts_nobody():
    world = World(3)
    machine = world.nodes[A].machine
    with pytest.raises(ValueError, match="has no member 'x@host'"):
        machine.send([world.names[B], "x@host"])
    world.send(A, B)
    world.quiet()
    assert len(world.log) == 1


def test_d24_dependencies_that_others_told_of_are_carried_on():
    """Partisan computes the merged dependencies and forgets them: two hops, and the order is lost."""
    world = World(4)
    first = world.send(A, D)
    world.send(A, B)
    world.arrive(A, B)
    world.send(B, C)
    world.arrive(B, C)
    last = world.send(C, D)
    assert _entries(world, C, D)[A][1] == _set(D)
    world.arrive(C, D)
    world.arrive(A, D)
    assert [message for place, message in world.log if place == D] == [first, last]


def test_d25_nothing_is_kept_of_what_was_delivered():
    world = World(3)
    for _ in range(200):
        world.send(A, B)
        world.send(B, C)
        world.send(C, A)
        world.arrive_all()
    world.quiet()
    for node in world.nodes:
        assert sum(len(times) for times in node.machine._log.entries.values()) <= 3
        assert all(len(channel.items) == 0 for channel in node.machine._arrivals.values())


def test_d26_a_delivery_looks_at_nothing_that_waits_for_something_else(monkeypatch):
    """Partisan copies its whole state at each delivery; here what waits costs nothing until its turn."""
    world = World(4)
    world.send(A, B)
    world.send(A, C)
    world.arrive(A, C)
    for _ in range(300):
        world.send(C, B)
        world.arrive(C, B)
    looks = []
    waits_for = CausalOrder._waits_for
    monkeypatch.setattr(CausalOrder, "_waits_for", lambda machine, item: looks.append(item) or waits_for(machine, item))
    world.send(D, B)
    world.arrive(D, B)
    assert len(looks) == 1
    assert world.nodes[B].machine.buffered == 300


def test_a_message_for_this_node_alone_has_no_stamp():
    world = World(3)
    sent = world.nodes[A].machine.send([world.names[A]])
    assert sent == ([], True, [])


def test_a_bad_stamp_costs_that_message_only():
    world = World(2)
    machine = world.nodes[B].machine
    for item in (None, (), (0, 1, 1), (99, 1, 1), (0, incarnation_of(1, 7), 1 << 62, 2, 1, 1, 2)):
        with pytest.raises(BadStamp):
            machine.receive(world.names[A], item, "message", 1)
    with pytest.raises(ValueError, match="no member"):
        machine.receive("x@host", ())
    world.send(A, B)
    world.quiet()
    assert len(world.log) == 1


def test_a_stamp_that_speaks_of_what_never_was_is_bad():
    world = World(2)
    world.send(A, B)
    kind, incarnation, to, *rest = world.links[A, B][0].item
    own = (B, to, 1, 5, 1)
    with pytest.raises(BadStamp, match="never was"):
        world.nodes[B].machine.receive(world.names[A], (kind, incarnation, to, *rest, *own))
    with pytest.raises(BadStamp, match="never was"):
        world.nodes[B].machine.receive(world.names[A], (5, incarnation, to, B, to + 1))


def test_a_member_alone():
    machine = CausalOrder(CausalLabel("alone", ("a@host",)), "a@host", incarnation_of(1, 1))
    assert machine.send(["a@host"]).here
    assert machine.up("b@host", 5) == machine.down("b@host", 5) == machine.report() == []


def test_effects_say_who_and_what():
    world = World(2)
    sent = world.nodes[A].machine.send([world.names[B]])
    [(name, stamp)] = sent.stamps
    outcome = world.nodes[B].machine.receive(world.names[A], stamp, "hello", 5)
    assert (name, outcome.taken, outcome.effects) == (world.names[B], True, [Deliver(world.names[A], "hello")])
    assert world.nodes[B].machine.report() == [
        Tell(world.names[A], (4, incarnation_of(2, 7), stamp[1], A, stamp[1], 1))
    ]
