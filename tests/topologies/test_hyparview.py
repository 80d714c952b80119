"""HyParView, message by message: one node, told exactly what happens."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.topologies import Overlay, Topology
from partisan_actors.topologies.hyparview import HyParView
from partisan_actors.topologies.overlay import (
    CancelTimer,
    Connect,
    Disconnect,
    FindMembers,
    Joined,
    Leave,
    LinkDown,
    LinkUp,
    MemberDown,
    MembersFound,
    MemberUp,
    Message,
    Refuse,
    Send,
    SetTimer,
    TimerFired,
    Unreachable,
)
from partisan_actors.topologies.xbot import XBot
from partisan_actors.wire.codec import Codec
from tests.topologies.overlay_harness import One, sent

A, B, C, D, E, F, SELF = "a@h", "b@h", "c@h", "d@h", "e@h", "f@h", "self@h"
TICK = TimerFired("shuffle")


def full(**parameters):
    """A node with two neighbours and room for no more, and the nonces that it gave them."""
    one = One(HyParView(**{"active_size": 2, "shuffle_active": 1, **parameters}))
    return one, one.befriend(A, B)


def sent_to(node, *payload):
    return Send(node, payload)


# The topology


def test_it_has_the_shape_of_the_interface() -> None:
    topology: Topology = HyParView()  # what mypy checks here is the test
    machine: Overlay = topology.overlay(SELF)
    assert machine.name == topology.name == "hyparview"
    assert machine.neighbours() == []


def test_equal_parameters_are_equal_topologies():
    assert HyParView(reserved={"x": 1, "b": 2}) == HyParView(reserved={"b": 2, "x": 1})
    assert hash(HyParView()) == hash(HyParView())
    assert HyParView() != HyParView(active_size=6)
    assert HyParView(tag="server").tag == "server"


def test_the_parameters_make_an_equal_one_and_leave_out_the_tag():
    topology = HyParView(active_size=7, reserved={"server": 2}, tag="server")
    parameters = topology.parameters()
    assert "tag" not in parameters
    assert HyParView(**parameters, tag="server") == topology
    assert Codec().decode(Codec().encode(dict(parameters))) == parameters


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"active_size": 0}, "active_size"),
        ({"active_size": True}, "active_size"),
        ({"passive_size": 2.0}, "passive_size"),
        ({"arwl": 0}, "arwl"),
        ({"prwl": -1}, "prwl"),
        ({"prwl": 7}, "prwl <= arwl"),
        ({"shuffle_active": 6}, "shuffle_active <= active_size"),
        ({"shuffle_passive": 31}, "shuffle_passive <= passive_size"),
        ({"shuffle_interval": 0}, "shuffle_interval"),
        ({"answer_timeout": float("inf")}, "answer_timeout"),
        ({"reserved": {"a": 0}}, "reserved"),
        ({"reserved": {"": 1}}, "reserved"),
        ({"reserved": {"a": 3, "b": 2}}, "reserved < active_size"),
        ({"tag": 1}, "tag"),
    ],
)
def test_wrong_parameters_are_named(parameters, field):
    with pytest.raises(ValueError, match=field):
        HyParView(**parameters)


# Joining


def test_a_newcomer_asks_its_contact():
    one = One(HyParView())
    connect, join = one(MemberUp(A), LinkUp(A), Joined(A))
    assert connect == Connect(A)
    kind, nonce, neighbours = join.payload
    assert (join.node, kind, neighbours) == (A, "join", ())
    assert one.hears(A, "accepted", nonce, 7) == []
    assert one.machine.active == [A]


def test_the_contact_takes_a_newcomer_in_and_sends_its_name_for_a_walk():
    one = One(HyParView())
    one.befriend(A, B)
    effects = one.hears(C, "join", 9, ())
    assert effects[0] == Connect(C)
    assert sent(effects, C)[0][:2] == ("accepted", 9)
    walk = ("forward_join", C, 6, False)
    assert sent(effects[2:]) == [(A, walk), (B, walk)]


def test_a_full_contact_makes_room_and_names_the_newcomer_to_who_goes():
    one, nonces = full()
    effects = one.hears(C, "join", 9, ())
    (gone,) = {A, B} - set(one.machine.active)
    number = {A: 1, B: 2}[gone]
    assert effects[:2] == [sent_to(gone, "disconnect", number, (C,), True), Disconnect(gone)]
    assert gone in one.machine.passive
    assert len(one.machine.active) == 2 and C in one.machine.active
    assert nonces  # it had answered both


def test_who_is_dropped_for_a_newcomer_asks_it_first():
    one, (a, _) = full()
    effects = one.hears(A, "disconnect", a, (C,), True)
    assert effects == [Disconnect(A), Connect(C)]
    assert one.machine.passive == [A, C]


def test_a_walk_goes_on_to_another_neighbour_and_leaves_the_name_on_its_way():
    one, _ = full()
    assert one.hears(A, "forward_join", C, 6, False) == [sent_to(B, "forward_join", C, 5, False)]
    assert one.machine.passive == []
    assert one.hears(A, "forward_join", C, 3, False) == [sent_to(B, "forward_join", C, 2, False)]
    assert one.machine.passive == [C]


def test_a_walk_that_ends_asks_the_newcomer_and_drops_nobody_in_vain():
    one, _ = full()
    assert one.hears(A, "forward_join", C, 0, False) == [Connect(C)]
    (ask,) = sent(one(LinkUp(C)), C)
    assert (ask[0], ask[2]) == ("neighbor", "low")
    assert one.machine.active == [A, B]
    effects = one.hears(C, "accepted", ask[1], 5)
    assert C in one.machine.active and len(one.machine.active) == 2
    assert [payload[0] for _, payload in sent(effects)] == ["disconnect"]


def test_a_walk_ends_where_there_is_nobody_else():
    one = One(HyParView())
    one.befriend(A)
    assert one.hears(A, "forward_join", C, 6, False) == [Connect(C)]


def test_a_node_with_neighbours_that_joins_again_brings_them_along():
    one, _ = full()
    (payload,) = sent(one(MemberUp(C), LinkUp(C), Joined(C)), C)
    assert payload[0] == "join" and payload[2] == (A, B)
    effects = one.hears(C, "accepted", payload[1], 5)  # it makes room for the other part
    assert C in one.machine.active and len(one.machine.active) == 2
    assert sent(effects)[0][1][0] == "disconnect"


def test_the_names_of_another_part_walk_instead_of_the_newcomers_alone():
    one = One(HyParView())
    one.befriend(A, B)
    effects = one.hears(C, "join", 9, (D,))
    assert sent(effects)[1:] == [(A, ("forward_join", C, 6, True)), (B, ("forward_join", D, 6, True))]
    walk = One(HyParView())
    walk.befriend(A)
    walk.hears(A, "forward_join", D, 0, True)
    assert sent(walk(LinkUp(D)), D)[0][2] == "merge"


def test_a_join_to_the_own_name_is_none():
    one = One(HyParView())
    assert one(Joined(SELF)) == []
    assert one.machine.wanted() == []


def test_only_members_are_neighbours():
    one = One(HyParView())
    one.befriend(A)
    one(MembersFound((B, C)), MemberUp(B))
    assert one.machine.wanted() == [A, B, C]
    assert one.machine.neighbours() == [A, B]


def test_a_name_that_becomes_no_members_is_given_up_first():
    one = One(HyParView())
    one(MembersFound((B, C)), MemberUp(B))
    one(TICK, after=15.0)
    assert one.machine.wanted() == [B]
    one(TICK, after=20.0)
    assert one.machine.wanted() == []


def test_names_of_no_members_take_no_slot_from_who_has_no_neighbour():
    one = One(HyParView(active_size=2, shuffle_active=1))
    (nonce,) = one.befriend(A)
    for name in (B, C, D):
        one.hears(A, "forward_join", name, 0, False)
    # A storm of joins: it is dropped for another newcomer while it knows nobody's record. It asks again who dropped it.
    assert one.hears(A, "disconnect", nonce, (E,), True) == [Disconnect(A), Connect(E), Connect(A)]
    one.befriend(A)
    assert one.machine.active == [A]


def test_with_names_of_no_members_only_it_asks_the_cluster_view_at_once():
    one = One(HyParView(active_size=2, shuffle_active=1))
    (nonce,) = one.befriend(A)
    one.hears(A, "forward_join", B, 0, False)
    assert one.hears(A, "disconnect", nonce, (C,), False) == [Disconnect(A), Connect(C), FindMembers(30)]


# Asking and answering


def asked(one, node):
    """Let a candidate get its link; the nonce and the priority that it is asked with."""
    ((_, nonce, priority),) = sent(one(LinkUp(node)), node)
    return nonce, priority


def test_a_low_request_is_accepted_with_room_and_rejected_without():
    one = One(HyParView(active_size=1, shuffle_active=1))
    assert sent(one.hears(A, "neighbor", 1, "low"), A)[0][:2] == ("accepted", 1)
    assert one.hears(B, "neighbor", 2, "low") == [sent_to(B, "rejected", 2, ())]


@pytest.mark.parametrize("priority", ["high", "merge", "split"])
def test_a_request_that_makes_room(priority):
    one, _ = full()
    effects = one.hears(C, "neighbor", 3, priority)
    assert effects[0].payload[0] == "disconnect" and effects[0].payload[2] == (C,)
    assert C in one.machine.active


def test_those_who_ask_in_vain_are_told_of_each_other():
    one, _ = full()
    assert sent(one.hears(C, "neighbor", 3, "low")) == [(C, ("rejected", 3, ()))]
    assert sent(one.hears(C, "neighbor", 4, "low")) == [(C, ("rejected", 4, ()))]
    assert sent(one.hears(D, "neighbor", 5, "low")) == [(D, ("rejected", 5, (C,)))]


def test_priority_is_high_only_while_there_is_no_neighbour():
    one = One(HyParView())
    assert one(MembersFound((A, B))) != []
    assert asked(one, A)[1] == "high"
    assert asked(one, B)[1] == "low"  # one at a time may push somebody out
    other = One(HyParView())
    other.befriend(C)
    other(MembersFound((A,)))
    assert asked(other, A)[1] == "low"


def test_d30_a_rejection_brings_the_next_candidate_at_once():
    one, (a, _) = full()
    one(MembersFound((C, D)))
    (connect,) = [effect for effect in one(LinkDown(A)) if isinstance(effect, Connect)]
    first = connect.node
    second = D if first == C else C
    nonce, priority = asked(one, first)
    assert priority == "low"
    assert one.hears(first, "rejected", nonce, ()) == [Disconnect(first), Connect(second)]
    assert first in one.machine.passive  # it lives
    assert a


def test_a_rejection_may_name_another_seeker():
    one, _ = full()
    one(MembersFound((C,)), LinkDown(A))
    nonce, _ = asked(one, C)
    assert one.hears(C, "rejected", nonce, (F,)) == [Disconnect(C), Connect(F)]


def test_an_unreachable_candidate_is_forgotten_and_the_next_is_tried_at_once():
    one, _ = full()
    one(MembersFound((C, D)))
    first = one(LinkDown(A))[-1].node
    second = D if first == C else C
    assert one(Unreachable(first)) == [Disconnect(first), Connect(second)]
    assert first not in one.machine.passive


def test_several_are_tried_side_by_side_as_many_as_there_are_free_slots():
    one, _ = full()
    one(*map(MemberUp, (C, D, E, F)), MembersFound((C, D, E, F)))
    effects = one(LinkDown(A)) + one(LinkDown(B))
    assert [type(effect) for effect in effects] == [Disconnect, Connect, Disconnect, Connect]
    assert len(one.machine.wanted()) == 2


def test_broken_links_are_purged_before_anybody_is_answered():
    one, _ = full()
    assert sent(one.hears(C, "neighbor", 3, "low"))[0][1][0] == "rejected"
    one(LinkDown(A))
    assert sent(one.hears(C, "neighbor", 4, "low"))[0][1][0] == "accepted"


def test_an_answer_that_comes_when_the_view_is_full_is_declined():
    one = One(HyParView(active_size=1, shuffle_active=1))
    one(MembersFound((A,)))
    nonce, _ = asked(one, A)
    one(LinkUp(B))
    one.hears(B, "neighbor", 5, "low")
    assert one.hears(A, "accepted", nonce, 8) == [sent_to(A, "disconnect", 8, (), True), Disconnect(A)]
    assert one.machine.active == [B]


def test_two_that_ask_each_other_at_once_agree():
    first, second = One(HyParView(), A, seed=1), One(HyParView(), B, seed=2)
    first(MembersFound((B,)))
    second(MembersFound((A,)))
    (ask_b,), (ask_a,) = sent(first(LinkUp(B)), B), sent(second(LinkUp(A)), A)
    (answer_b,) = sent(first.hears(B, *ask_a), B)
    (answer_a,) = sent(second.hears(A, *ask_b), A)
    assert first.hears(B, *answer_a) == [] and second.hears(A, *answer_b) == []
    assert (first.machine.active, second.machine.active) == ([B], [A])
    # and each knows the other's nonce: a disconnect is understood
    (parting,) = sent(first(Leave()), B)
    second.hears(A, *parting)
    assert second.machine.active == []


def test_a_candidate_that_never_answers_is_given_up():
    one = One(HyParView())
    one(MembersFound((A,)))
    asked(one, A)
    assert Disconnect(A) not in one(TICK, after=4.0)
    assert Disconnect(A) in one(TICK, after=4.0)


def test_a_link_that_ends_while_the_candidate_is_asked_is_made_once_more():
    one = One(HyParView())
    one(MembersFound((A,)))
    asked(one, A)
    assert one(LinkDown(A)) == [Connect(A)]
    asked(one, A)
    assert Disconnect(A) in one(LinkDown(A))


# What has to do with an earlier link


def test_d29_a_disconnect_of_an_earlier_link_is_ignored():
    one = One(HyParView())
    (old,) = one.befriend(A)
    one(LinkDown(A), LinkUp(A))
    (answer,) = sent(one.hears(A, "neighbor", 4, "low"), A)
    assert one.hears(A, "disconnect", old, (), True) == []
    assert one.machine.active == [A]
    assert one.machine.refused == {"stale": 1}
    one.hears(A, "disconnect", answer[2], (), True)
    assert one.machine.active == []


def test_d29_an_answer_to_an_earlier_question_is_declined():
    one = One(HyParView())
    one(MembersFound((A,)))
    old, _ = asked(one, A)
    one(LinkDown(A))
    new, _ = asked(one, A)
    assert old != new
    assert one.hears(A, "accepted", old, 5) == [sent_to(A, "disconnect", 5, (), True)]
    assert one.machine.active == []
    one.hears(A, "accepted", new, 6)
    assert one.machine.active == [A]


def test_d51_a_one_way_entry_is_found_by_the_next_shuffle():
    first = One(HyParView(), A)
    first(LinkUp(B))
    (answer,) = sent(first.hears(B, "neighbor", 1, "low"), B)
    second = One(HyParView(), B)  # it has lost its half
    second(LinkUp(A))
    (shuffle,) = sent(first(TICK), B)
    (repair,) = sent(second.hears(A, *shuffle), A)
    assert repair == ("disconnect", answer[2], (), True)
    first.hears(B, *repair)
    assert first.machine.active == []


def test_d22_only_the_end_of_the_link_ends_a_neighbour():
    one, _ = full()
    one(LinkUp(A), LinkUp(A), MemberUp(A), Unreachable(A))
    assert one.machine.active == [A, B]
    one(LinkDown(A))
    assert one.machine.active == [B]


# Shuffles


def test_a_shuffle_names_the_node_neighbours_and_passive_names():
    one = One(HyParView())
    one.befriend(A, B, C, D, E)
    one(MembersFound(tuple(f"p{n}@h" for n in range(10))))
    ((target, (kind, _, number, ttl, path, names)),) = sent(one(TICK))
    assert (kind, number, ttl, path) == ("shuffle", 1, 5, (SELF,))
    assert target in (A, B, C, D, E)
    assert names[0] == SELF and len(names) == 8 and len(set(names)) == 8
    assert set(names[1:4]) < {A, B, C, D, E}
    assert all(name.startswith("p") for name in names[4:])


def test_d27_the_sample_is_truly_random():
    one = One(HyParView())
    one.befriend(A, B, C, D, E)
    passive = tuple(f"p{n}@h" for n in range(30))
    one(MembersFound(passive))
    counts, targets = Counter(), Counter()
    for _ in range(2000):
        ((target, payload),) = sent(one(TICK))
        counts.update(payload[5][1:])
        targets[target] += 1
    # 2000 * 4/30 = 267 and 2000 * 3/5 = 1200 and 2000/5 = 400 are expected; five standard deviations
    assert all(190 < counts[name] < 345 for name in passive)
    assert all(1090 < counts[name] < 1310 and 310 < targets[name] < 490 for name in (A, B, C, D, E))


def test_a_shuffle_walks_on_with_its_path():
    one, (_, _) = full()
    names = ("o@h", "x@h")
    (walk,) = sent(one.hears(A, "shuffle", 1, 4, 3, ("o@h", A), names), B)
    assert walk[2:] == (4, 2, ("o@h", A, SELF), names)
    assert one.machine.passive == []


def test_d28_the_end_of_the_walk_answers_the_originator_back_along_the_path():
    one, _ = full()
    one(MembersFound((D, E, F)))
    (reply,) = sent(one.hears(A, "shuffle", 1, 4, 0, ("o@h", "q@h", A), ("o@h", "x@h")), A)
    assert reply[:3] == ("shuffle_reply", 4, ("o@h", "q@h"))
    assert set(reply[3]) < {D, E, F} and len(reply[3]) == 2
    assert {"o@h", "x@h"} <= set(one.machine.passive)


def test_d28_a_dead_end_answers_too():
    one = One(HyParView())
    one.befriend(A)
    assert sent(one.hears(A, "shuffle", 1, 4, 3, ("o@h", A), ("o@h",)), A) == [("shuffle_reply", 4, ("o@h",), ())]


def test_d28_a_reply_is_handed_on_towards_the_originator():
    one, _ = full()
    assert one.hears(B, "shuffle_reply", 4, ("o@h", A), (F,)) == [sent_to(A, "shuffle_reply", 4, ("o@h",), (F,))]
    assert one.machine.passive == []
    one.hears(B, "shuffle_reply", 4, ("o@h", D), (F,))
    assert one.machine.refused == {"no way back": 1}


def test_what_was_sent_goes_first_when_the_answer_needs_room():
    one, _ = full(passive_size=6)
    one(MembersFound(tuple(f"p{n}@h" for n in range(6))))
    ((_, payload),) = sent(one(TICK))
    taken = set(payload[5]) & set(one.machine.passive)
    assert len(taken) == 4
    one.hears(A, "shuffle_reply", payload[2], (), ("x@h", "y@h", "z@h"))
    assert len(one.machine.passive) == 6
    assert {"x@h", "y@h", "z@h"} < set(one.machine.passive)
    assert {f"p{n}@h" for n in range(6)} - taken < set(one.machine.passive)


def test_the_end_of_a_walk_gives_up_what_it_answered_first():
    one, _ = full(passive_size=6)
    one(MembersFound(tuple(f"p{n}@h" for n in range(6))))
    (reply,) = sent(one.hears(A, "shuffle", 1, 4, 0, (A,), ("x@h", "y@h", "z@h")), A)
    kept = {f"p{n}@h" for n in range(6)} - set(reply[3])
    assert set(one.machine.passive) == kept | {"x@h", "y@h", "z@h"}


# Isolation, members, leaving


def test_a_node_without_anybody_asks_the_cluster_view_once_an_interval():
    one = One(HyParView())
    one.befriend(A)
    assert one(LinkDown(A)) == [Disconnect(A), FindMembers(30)]
    assert one(MembersFound(())) == []
    assert FindMembers(30) in one(TICK)
    assert one(MembersFound((B, SELF))) == [Connect(B)]
    assert one(Unreachable(B)) == [Disconnect(B)]  # the cluster view was asked in this interval
    assert FindMembers(30) in one(TICK)
    one(MembersFound((C,)))
    assert asked(one, C)[1] == "high"


def test_a_small_cluster_looks_for_who_is_missing():
    one = One(HyParView())
    one.befriend(A)
    assert FindMembers(5) in one(TICK)


def test_a_full_view_asks_for_nobody():
    one, _ = full()
    assert [type(effect).__name__ for effect in one(TICK)] == ["Send"]


def test_one_that_has_room_for_two_for_long_asks_to_be_put_into_a_link():
    one = One(HyParView(active_size=3))
    one.befriend(A)
    one(MembersFound((B,)))
    nonce, priority = asked(one, B)
    assert priority == "low"
    one.hears(B, "rejected", nonce, ())
    one(TICK)
    nonce, priority = asked(one, B)
    assert priority == "low"
    one.hears(B, "rejected", nonce, ())
    one(TICK)
    assert asked(one, B)[1] == "split"


def test_after_many_losses_all_names_are_offered_a_link_once():
    one, _ = full(passive_size=6)
    one(*map(MemberUp, (C, D, E)), MembersFound((C, D, E)))
    one(LinkDown(A))
    one(LinkDown(B))
    offered = []
    for _ in range(20):
        waiting = [name for name in one.machine.wanted() if name not in one.machine.active]
        if not waiting:
            break
        nonce, priority = asked(one, waiting[0])
        offered.append(priority)
        if priority == "offer":
            one.hears(waiting[0], "rejected", nonce, ())
        else:
            one.hears(waiting[0], "accepted", nonce, 7)
    assert offered == ["high", "low", "offer"]


def test_an_offer_is_for_who_has_room_for_two():
    one = One(HyParView(active_size=3))
    one.befriend(A, B)
    assert sent(one.hears(C, "neighbor", 3, "offer"), C) == [("rejected", 3, ())]
    one(LinkDown(B))
    assert sent(one.hears(C, "neighbor", 4, "offer"), C)[0][:2] == ("accepted", 4)


def test_a_member_that_is_down_is_in_no_view():
    one, _ = full()
    one(MembersFound((C,)))
    one(MemberDown(C), MemberDown(A))
    assert (one.machine.active, one.machine.passive) == ([B], [])


def test_who_leaves_names_its_neighbours_to_each_other():
    one = One(HyParView())
    one.befriend(A, B, C)
    effects = one(Leave())
    partings = dict(sent(effects))
    assert {node: payload[3] for node, payload in partings.items()} == {A: False, B: False, C: False}
    nexts = {node: payload[2][0] for node, payload in partings.items()}
    ring = [A, nexts[A], nexts[nexts[A]]]
    assert sorted(ring) == [A, B, C] and nexts[ring[2]] == A
    assert CancelTimer("shuffle") in effects
    assert one.machine.wanted() == one.machine.passive == []
    assert one(LinkUp(D), Message(D, ("neighbor", 1, "high")), TICK, MembersFound((E,))) == []


def test_who_has_left_is_back_when_somebody_joins_through_it():
    """It does not join anybody itself, so no Joined says so; but it has members again, and answers them."""
    one = One(HyParView())
    one.befriend(A)
    one(Leave(), MemberDown(A))
    assert "shuffle" in [effect.key for effect in one.machine.step(MemberUp(B), 0.0, one.random)]
    one(LinkUp(B))
    (answer,) = sent(one.hears(B, "join", 7, ()), B)
    assert answer[:2] == ("accepted", 7)
    assert one.machine.active == [B]


def test_a_neighbour_that_leaves_is_no_candidate_and_its_other_neighbour_is():
    one, (a, _) = full()
    assert one.hears(A, "disconnect", a, (C,), False) == [Disconnect(A), Connect(C)]
    assert one.machine.passive == [C]


def test_gossip_goes_to_the_active_view():
    one, _ = full()
    one(LinkUp(C))
    assert one.machine.gossip([A, B, C]) == [A, B]


# Reserved slots


def test_a_reserved_slot_waits_for_its_tag():
    one = One(HyParView(active_size=2, shuffle_active=1, reserved={"server": 1}))
    one(MemberUp(C, "server"))
    one.befriend(A)
    assert sent(one.hears(B, "neighbor", 2, "low"))[0][1][0] == "rejected"
    assert sent(one.hears(C, "neighbor", 3, "low"))[0][1][0] == "accepted"


def test_only_members_of_the_tag_are_asked_for_a_reserved_slot():
    one = One(HyParView(active_size=2, shuffle_active=1, reserved={"server": 1}))
    one.befriend(A)
    assert one(MembersFound((B, C))) == []
    one(MemberUp(D, "server"))
    assert one(MembersFound((D,))) == [Connect(D)]


def test_d48_a_reserved_slot_is_free_again_when_its_holder_goes():
    one = One(HyParView(active_size=2, shuffle_active=1, reserved={"server": 1}))
    for server, end in ((C, LinkDown(C)), (D, MemberDown(D)), (E, None)):
        one(MemberUp(server, "server"), LinkUp(server))
        (answer,) = sent(one.hears(server, "neighbor", 3, "low"), server)
        assert answer[0] == "accepted"
        one.hears(server, "disconnect", answer[2], (), True) if end is None else one(end)
    one(MemberUp(F, "server"))
    assert sent(one.hears(F, "neighbor", 3, "low"))[0][1][0] == "accepted"


def test_nobody_is_pushed_out_of_a_reserved_slot():
    one = One(HyParView(active_size=2, shuffle_active=1, reserved={"server": 1}))
    one(MemberUp(A, "server"), LinkUp(A))
    one.hears(A, "neighbor", 1, "low")
    one.befriend(B)
    for number, node in enumerate((C, D, E, F), 10):
        one.hears(node, "neighbor", number, "high")
        assert one.machine.active == [A, node]


# Bad input


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "shape"),
        ((), "shape"),
        ([1], "shape"),
        ({"neighbor": 1}, "shape"),
        (("unknown", 1), "shape"),
        ((1, 2), "shape"),
        (("neighbor", 1), "shape"),
        (("neighbor", -1, "low"), "shape"),
        (("neighbor", True, "low"), "shape"),
        (("neighbor", 1 << 48, "low"), "shape"),
        (("neighbor", 1, "highest"), "shape"),
        (("neighbor", 1, ["low"]), "shape"),
        (("join", 1, [B]), "shape"),
        (("join", 1, (B, B)), "duplicate"),
        (("join", 1, (B, 1)), "shape"),
        (("join", 1, ("",)), "shape"),
        (("join", 1, ("x" * 256,)), "shape"),
        (("join", 1, tuple(f"n{n}" for n in range(37))), "oversized"),
        (("accepted", 1), "shape"),
        (("accepted", 1, 2), "stale"),
        (("rejected", "x", ()), "shape"),
        (("rejected", 1, ()), "stale"),
        (("disconnect", 1, (), 1), "shape"),
        (("disconnect", 1, (), True), "stale"),
        (("forward_join", B, 7, False), "shape"),
        (("forward_join", B, -1, False), "shape"),
        (("forward_join", 1, 3, False), "shape"),
        (("forward_join", B, 3, False), "stranger"),
        (("shuffle", 1, 2, 3), "shape"),
        (("shuffle", 1, 2, 3, (B,), (B,)), "path"),
        (("shuffle", 1, 2, 6, (A,), (B,)), "path"),
        (("shuffle", 1, 2, -1, (A,), (B,)), "path"),
        (("shuffle", 1, 2, 3, (B, B, A), (B,)), "duplicate"),
        (("shuffle", 1, 2, 3, (A,), (B, None)), "shape"),
        (("shuffle", 1, 2, 3, (A,), (B,)), "stale"),
        (("shuffle_reply", 1, (), (B,)), "stranger"),
        (("shuffle_reply", 1, ()), "shape"),
        (("shuffle_reply", 1, tuple(f"n{n}" for n in range(7)), ()), "oversized"),
    ],
)
def test_what_is_not_right_is_counted_and_changes_nothing(payload, reason):
    one = One(HyParView())
    one(LinkUp(A))
    effects = one(Message(A, payload))
    assert one.machine.refused == {reason: 1}
    assert [e for e in effects if isinstance(e, Refuse)] == [Refuse(A, reason, reason in ("stale", "stranger"))]
    assert (one.machine.wanted(), one.machine.passive) == ([], [])
    assert all(payload[0] == "disconnect" for _, payload in sent(effects))


def test_a_reply_that_is_larger_than_any_shuffle_is_refused():
    one, _ = full()
    one.hears(A, "shuffle_reply", 0, (), tuple(f"n{n}@h" for n in range(9)))
    assert one.machine.refused == {"oversized": 1}
    assert one.machine.passive == []


def test_names_of_walks_cannot_make_it_dial_without_end():
    one = One(HyParView())
    one.befriend(A)
    for number in range(1000):
        one.hears(A, "forward_join", f"n{number}@h", 0, True)
    assert len(one.machine.wanted()) <= 1 + 30


def test_events_that_it_does_not_know_change_nothing():
    one, _ = full()
    assert one(object(), TimerFired("other")) == []


WORDS = st.sampled_from([A, B, C, SELF, "", "low", "high"])
PLAIN = st.none() | st.booleans() | st.integers(-2, 8) | st.floats() | WORDS
KINDS = st.sampled_from(
    "join forward_join neighbor accepted rejected disconnect shuffle shuffle_reply xbot_optimize xbot_replace "
    "xbot_switch xbot_switched xbot_replaced xbot_commit xbot_optimized xbot_swapped xbot_cancel".split()
)
FIELDS = st.lists(PLAIN | st.lists(PLAIN, max_size=4).map(tuple) | st.lists(PLAIN, max_size=2), max_size=6)


@pytest.mark.parametrize("topology", [kind(active_size=2, shuffle_active=1) for kind in (HyParView, XBot)])
@given(messages=st.lists(st.tuples(st.sampled_from([A, B, C]), KINDS, FIELDS), max_size=20))
def test_nothing_that_others_send_raises(topology, messages):
    one = One(topology)
    one.befriend(A, B)
    for node, kind, fields in messages:
        one.hears(node, kind, *fields)
        assert len(one.machine.active) <= 2
        assert SELF not in one.machine.wanted()
        assert SELF not in one.machine.passive


# The pause between shuffles


def pauses(one, *events):
    """For each event so many intervals until the next shuffle, as far as it says; 0 where it says nothing new."""
    found = []
    for event in events:
        timers = [effect for effect in one.machine.step(event, one.now, one.random) if isinstance(effect, SetTimer)]
        found.append(0 if not timers else min(n for n in (1, 2, 4, 99) if timers[-1].seconds <= 10.0 * 1.25 * n))
        assert not timers or timers[-1].seconds >= 0.75 * 10.0 * found[-1]
    return found


def calm():
    one, nonces = full()
    assert pauses(one, TICK, TICK, TICK, TICK, TICK) == [1, 2, 4, 4, 4]
    return one, nonces


def test_the_pause_grows_while_nothing_changes():
    """An idle cluster pays for each frame. That a shuffle brings other names is no change: it always does."""
    one, _ = calm()
    one(Message(A, ("shuffle_reply", 1, (), ())))
    assert pauses(one, TICK) == [4]


@pytest.mark.parametrize(
    "event",
    [MemberUp(C), MemberDown(C), MemberDown(A), LinkDown(A), Joined(A), Joined(C)],
    ids=lambda event: f"{type(event).__name__}-{event.node[0]}",
)
def test_at_any_change_the_pause_is_one_interval_again(event):
    one, _ = calm()
    assert pauses(one, event) == [1]
    assert pauses(one, event)[0] in (0, 1), "what follows at once does not put it off"


def test_a_change_of_the_active_view_ends_the_calm():
    one, _ = calm()
    assert pauses(one, MemberUp(C), LinkUp(C), Message(C, ("neighbor", 7, "high"))) == [1, 0, 0]
    assert pauses(one, TICK, TICK, TICK) == [1, 2, 4]
    (left,) = {A, B} & set(one.machine.active)
    assert pauses(one, Message(left, ("disconnect", one.machine._active[left].mine, (), True))) == [1]


def test_a_node_that_lacks_a_neighbour_keeps_the_interval():
    one = One(HyParView(active_size=3, shuffle_active=1))
    one.befriend(A, B)
    one(MemberUp(C))
    assert pauses(one, TICK, TICK, TICK, TICK) == [1, 1, 1, 1]
    alone = One(HyParView(active_size=3, shuffle_active=1))
    alone.befriend(A, B)
    assert pauses(alone, TICK, TICK, TICK) == [1, 2, 4], "there is nobody else"


def test_a_passive_view_that_grows_keeps_the_interval():
    one, _ = full()
    paused = []
    for number, name in enumerate((C, D, E)):
        one.hears(A, "shuffle", 1, number, 0, (A,), (A, name))
        paused += pauses(one, TICK)
    assert paused == [1, 1, 1]
    assert pauses(one, TICK, TICK) == [2, 4]
