"""X-BOT: what it exchanges and what it never gives up; parameters, the steps one by one, and whole clusters."""

from __future__ import annotations

from math import inf

import pytest

from benchmarks.overlays.graphs import components, graph_of, one_way
from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies import Overlay, Topology
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Leave,
    LinkDown,
    LinkUp,
    Measure,
    Measured,
    MembersFound,
    Send,
    TimerFired,
    Unreachable,
)
from partisan_actors.topologies.xbot import XBot
from partisan_actors.topologies.xbot_costs import Costs
from partisan_actors.wire.codec import Codec
from tests.topologies.overlay_harness import One, sent

A, B, C, D, SELF = "a@h", "b@h", "c@h", "d@h", "self@h"
INITIATOR, OLD = "i@h", "o@h"
ROUND, TIMEOUT = TimerFired("xbot"), TimerFired("xbot_exchange")
NONCE = 77


def says(node, *payload):
    return Send(node, payload)


def biased(costs, *, neighbours=(A, B), **parameters):
    """A node with these neighbours and no room; `costs` are its links'. The one that was asked first stays."""
    settings = {"active_size": len(neighbours), "shuffle_active": 1, "scan": 1, **parameters}
    one = One(XBot(cost=lambda own, other: costs.get(other, 50.0), **settings), quiet=True)
    one.befriend(*neighbours)  # nonces 1, 2, ...: the first ranks lowest, and is left unbiased
    return one


def view(one, *neighbours):
    assert one.machine.active == sorted(neighbours)


# The topology


def test_it_has_the_shape_of_the_interface() -> None:
    topology: Topology = XBot()  # what mypy checks here is the test
    machine: Overlay = topology.overlay(SELF)
    assert machine.name == topology.name == "xbot"
    assert XBot() == XBot(unbiased=1, scan=2)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"cost": 3}, "cost"),
        ({"unbiased": -1}, "unbiased"),
        ({"unbiased": 5}, "unbiased < active_size"),
        ({"scan": 0}, "scan"),
        ({"scan": 31}, "scan <= passive_size"),
        ({"interval": 0}, "interval"),
        ({"exchange_timeout": -1}, "exchange_timeout"),
        ({"cost_age": 1.0}, "interval <= cost_age"),
        ({"active_size": 0}, "active_size"),
    ],
)
def test_wrong_parameters_are_named(parameters, field):
    with pytest.raises(ValueError, match=field):
        XBot(**parameters)


def test_the_parameters_make_an_equal_one():
    topology = XBot(scan=3, active_size=4, reserved={"server": 1}, tag="server")
    parameters = topology.parameters()
    assert XBot(**parameters, tag="server") == topology
    assert Codec().decode(Codec().encode(dict(parameters))) == parameters


def test_a_cost_function_is_not_sent():
    with pytest.raises(ValueError, match="cannot be sent"):
        XBot(cost=lambda a, b: 1.0).parameters()


# The initiator


def begun(one, candidate=C):
    """Let a round begin an exchange with the candidate; the nonce and the gain."""
    one(MembersFound((candidate,)))
    assert Connect(candidate) in one(ROUND)
    ((kind, nonce, old, gain),) = sent(one(LinkUp(candidate)), candidate)
    assert kind == "xbot_optimize"
    return nonce, old, gain


def test_d1_a_round_with_a_full_view_asks_a_cheaper_candidate():
    one = biased({A: 9.0, B: 5.0, C: 2.0})
    nonce, old, gain = begun(one)
    assert (old, gain) == (B, 3.0)  # A costs more, and is the one that stays
    view(one, A, B)
    assert nonce >= 0


def test_a_dearer_candidate_is_not_asked():
    one = biased({A: 9.0, B: 5.0, C: 6.0})
    one(MembersFound((C,)))
    one(ROUND)
    assert one.machine.wanted() == [A, B]


def test_a_node_with_room_exchanges_nothing():
    one = One(XBot(cost=lambda a, b: {B: 9.0}.get(b, 1.0), active_size=3, shuffle_active=1))
    one.befriend(A, B)
    one(ROUND)
    assert one.machine.wanted() == [A, B]


def test_d1b_the_old_link_goes_when_the_new_one_is_there_and_not_before():
    one = biased({A: 1.0, B: 5.0, C: 2.0})
    nonce, _, _ = begun(one)
    view(one, A, B)
    effects = one.hears(C, "xbot_optimized", nonce)
    view(one, A, C)
    assert effects == [says(B, "disconnect", 2, (), True), Disconnect(B), Connect(C)]
    assert B in one.machine.passive


def test_the_old_node_may_be_the_first_to_say_so():
    one = biased({A: 1.0, B: 5.0, C: 2.0})
    one(MembersFound((D,)))
    nonce, _, _ = begun_with(one, C)
    mine = one.machine._active[B].mine
    assert one.hears(B, "disconnect", mine, (), True) == [Disconnect(B)]  # nobody else is asked for the slot
    one.hears(C, "xbot_optimized", nonce)
    view(one, A, C)


def begun_with(one, candidate):
    one.machine._passive.clear()
    return begun(one, candidate)


@pytest.mark.parametrize("end", [TIMEOUT, LinkDown(C), "cancel", Leave()])
def test_an_exchange_that_fails_leaves_all_as_it_was(end):
    one = biased({A: 1.0, B: 5.0, C: 2.0})
    nonce, _, _ = begun(one)
    effects = one.hears(C, "xbot_cancel", nonce) if end == "cancel" else one(end)
    assert Disconnect(C) in effects
    if not isinstance(end, Leave):
        view(one, A, B)
        assert one.machine.wanted() == [A, B]
        # What comes too late is declined, and the candidate drops us.
        assert one.hears(C, "xbot_optimized", nonce) == [says(C, "disconnect", nonce, (), True)]
        view(one, A, B)


def test_a_candidate_that_cannot_be_reached_is_forgotten():
    one = biased({A: 1.0, B: 5.0, C: 2.0})
    one(MembersFound((C,)))
    one(ROUND)
    assert Disconnect(C) in one(Unreachable(C))
    assert C not in one.machine.passive
    view(one, A, B)


def test_it_is_in_one_exchange_at_a_time():
    one = biased({A: 1.0, B: 5.0, C: 2.0})
    begun(one)
    assert one.hears(INITIATOR, "xbot_optimize", NONCE, OLD, 9.0) == [says(INITIATOR, "xbot_cancel", NONCE)]
    assert one.hears(B, "xbot_replace", NONCE, INITIATOR, OLD, 9.0) == [says(B, "xbot_cancel", NONCE)]
    assert one.hears(D, "xbot_switch", NONCE, B) == [says(D, "xbot_cancel", NONCE)]


# The candidate


def test_the_candidate_asks_a_neighbour_of_its_own_and_decides():
    one = biased({A: 1.0, D: 6.0}, neighbours=(A, D))
    one(LinkUp(INITIATOR))
    question = says(D, "xbot_replace", NONCE, INITIATOR, OLD, 9.0)
    assert one.hears(INITIATOR, "xbot_optimize", NONCE, OLD, 3.0) == [question]
    view(one, A, D)
    effects = one.hears(D, "xbot_replaced", NONCE)
    news = says(D, "xbot_commit", NONCE), says(INITIATOR, "xbot_optimized", NONCE)
    assert effects == [news[0], Disconnect(D), Connect(INITIATOR), news[1]]
    view(one, A, INITIATOR)


def test_a_candidate_with_room_takes_part_in_no_exchange():
    one = One(XBot(cost=lambda a, b: 1.0))
    one.befriend(A, D)
    assert one.hears(INITIATOR, "xbot_optimize", NONCE, OLD, 3.0) == [says(INITIATOR, "xbot_cancel", NONCE)]


@pytest.mark.parametrize("end", [LinkDown(INITIATOR), LinkDown(D), TIMEOUT])
def test_a_candidate_whose_partners_go_commits_nothing(end):
    one = biased({A: 1.0, D: 6.0}, neighbours=(A, D))
    one(LinkUp(INITIATOR))
    one.hears(INITIATOR, "xbot_optimize", NONCE, OLD, 3.0)
    one(end)
    assert says(D, "xbot_cancel", NONCE) in one.hears(D, "xbot_replaced", NONCE)
    view(one, A, *([] if end == LinkDown(D) else [D]))


# The disconnected node


def replacing(cost_of_old=1.0):
    one = biased({A: 1.0, C: 6.0, OLD: cost_of_old}, neighbours=(A, C))
    return one, one.hears(C, "xbot_replace", NONCE, INITIATOR, OLD, 9.0)


def test_the_disconnected_node_gets_its_link_first():
    one, effects = replacing()
    assert effects == [Connect(OLD)]
    assert one(LinkUp(OLD)) == [says(OLD, "xbot_switch", NONCE, INITIATOR)]
    assert one.hears(OLD, "xbot_switched", NONCE) == [says(C, "xbot_replaced", NONCE)]
    view(one, A, C)
    effects = one.hears(C, "xbot_commit", NONCE)
    assert effects == [says(OLD, "xbot_swapped", NONCE), Disconnect(C), Connect(OLD)]
    view(one, A, OLD)


def test_the_sum_of_the_four_must_fall():
    assert replacing(8.9)[1] == [Connect(OLD)]
    assert replacing(9.0)[1] == [says(C, "xbot_cancel", NONCE)]


def test_an_unbiased_link_is_not_exchanged():
    one = biased({A: 6.0, C: 1.0, OLD: 1.0}, neighbours=(A, C))
    assert one.hears(A, "xbot_replace", NONCE, INITIATOR, OLD, 9.0) == [says(A, "xbot_cancel", NONCE)]


@pytest.mark.parametrize("end", [Unreachable(OLD), TIMEOUT, LinkDown(C)])
def test_a_disconnected_node_without_its_new_link_keeps_the_old_one(end):
    one, _ = replacing()
    effects = one(end)
    assert Disconnect(OLD) in effects
    if end != LinkDown(C):
        assert says(C, "xbot_cancel", NONCE) in effects
        view(one, A, C)


def test_a_decision_that_comes_too_late_is_a_lost_neighbour():
    one, _ = replacing()
    one(TIMEOUT)
    one.hears(C, "xbot_commit", NONCE)
    view(one, A)


# The old node


def switching():
    one = biased({A: 1.0, INITIATOR: 6.0}, neighbours=(A, INITIATOR))
    one(LinkUp(D))
    return one, one.hears(D, "xbot_switch", NONCE, INITIATOR)


def test_the_old_node_keeps_the_initiator_until_it_is_decided():
    one, effects = switching()
    assert effects == [Connect(D), says(D, "xbot_switched", NONCE)]
    view(one, A, INITIATOR)
    effects = one.hears(D, "xbot_swapped", NONCE)
    assert effects == [says(INITIATOR, "disconnect", 2, (), True), Disconnect(INITIATOR), Connect(D)]
    view(one, A, D)


def test_the_initiator_may_be_the_first_to_say_so():
    one, _ = switching()
    one(MembersFound((B,)))
    mine = one.machine._active[INITIATOR].mine
    # and nobody is asked: the slot is the disconnected node's
    assert one.hears(INITIATOR, "disconnect", mine, (), True) == [Disconnect(INITIATOR)]
    one.hears(D, "xbot_swapped", NONCE)
    view(one, A, D)


@pytest.mark.parametrize("end", [TIMEOUT, LinkDown(D)])
def test_an_old_node_that_hears_no_decision_keeps_its_link(end):
    one, _ = switching()
    assert Disconnect(D) in one(end)
    view(one, A, INITIATOR)
    assert one.hears(D, "xbot_swapped", NONCE) == [says(D, "disconnect", NONCE, (), True)]


def test_it_is_old_only_to_a_neighbour_it_may_lose():
    one = biased({A: 1.0, INITIATOR: 6.0}, neighbours=(A, INITIATOR))
    assert one.hears(D, "xbot_switch", NONCE, A) == [says(D, "xbot_cancel", NONCE)]
    assert one.hears(D, "xbot_switch", NONCE, OLD) == [says(D, "xbot_cancel", NONCE)]


# Costs


def test_round_trips_are_measured_once_and_kept():
    one = One(XBot(active_size=2, shuffle_active=1, scan=1))
    one.befriend(A, B)
    one(MembersFound((C,)))
    assert one(ROUND) == [Measure(A), Measure(B), Measure(C)]
    assert one(Measured(A, 0.9)) == one(Measured(B, 0.5)) == []
    assert one(Measured(C, 0.1)) == [Connect(C)]
    one(TIMEOUT)
    assert Measure(A) not in one(ROUND, after=500.0)
    assert Measure(A) in one(ROUND, after=200.0)


def test_who_does_not_answer_is_no_candidate():
    one = One(XBot(active_size=2, shuffle_active=1, scan=1))
    one.befriend(A, B)
    one(MembersFound((C,)))
    one(ROUND)
    one(Measured(A, 0.9), Measured(B, 0.5))
    assert one(Measured(C, inf)) == []


@pytest.mark.parametrize("wrong", [float("nan"), -1.0, inf, None, "x", ZeroDivisionError])
def test_a_cost_function_that_fails_costs_infinitely(wrong):
    def cost(a, b):
        if wrong is ZeroDivisionError:
            raise ZeroDivisionError
        return wrong

    assert Costs("a", cost, 1.0).get("b", 0.0) == inf


def test_an_answer_that_was_not_asked_for_is_ignored():
    costs = Costs("a", None, 10.0)
    assert not costs.measured("b", 1.0, 0.0)
    assert costs.to_measure("b", 0.0) and not costs.to_measure("b", 1.0)
    assert costs.measured("b", 1.0, 2.0)
    assert costs.get("b", 12.0) == 1.0
    assert costs.get("b", 12.1) is None


@pytest.mark.parametrize(
    "payload",
    [
        ("xbot_optimize", NONCE, OLD),
        ("xbot_optimize", NONCE, OLD, inf),
        ("xbot_optimize", NONCE, OLD, -1.0),
        ("xbot_optimize", NONCE, OLD, True),
        ("xbot_optimize", NONCE, OLD, "1"),
        ("xbot_optimize", -1, OLD, 1.0),
        ("xbot_replace", NONCE, INITIATOR, INITIATOR, 1.0),
        ("xbot_replace", NONCE, INITIATOR, 3, 1.0),
        ("xbot_switch", NONCE, ""),
        ("xbot_unknown", NONCE),
        ("xbot_commit", "x"),
        ("xbot_",),
    ],
)
def test_what_is_not_right_is_counted_and_changes_nothing(payload):
    one = biased({})
    assert one.hears(A, *payload) == []
    assert one.machine.refused in ({"shape": 1}, {"duplicate": 1})
    view(one, A, B)


def test_a_step_of_no_exchange_is_stale():
    one = biased({})
    assert one.hears(C, "xbot_switched", NONCE) == [says(C, "xbot_cancel", NONCE)]
    assert one.hears(C, "xbot_cancel", NONCE) == []
    assert one.machine.refused == {"stale": 1}


# Whole clusters


def machine(node):
    return node.slots[0].layer.machine


def far(a, b):
    """Four clusters on a line, by number."""
    first, second = int(a[1:].partition("@")[0]), int(b[1:].partition("@")[0])
    return 1.0 + 10.0 * abs(first % 4 - second % 4)


def cluster(topology, seed, count=64):
    sim = ProtocolSimulation(seed, lambda node: [overlay_layer(topology.overlay(node.name))], strict=True)
    sim.grow(count, contact="n0@sim")
    sim.run(20.0)
    return sim


def total(sim):
    return sum(far(node.name, peer) for node in sim.alive() for peer in machine(node).active) / 2


def settled(sim):
    views = {node.name: machine(node).active for node in sim.alive()}
    graph = graph_of(views)
    assert one_way(graph) == 0
    assert len(components(graph)) == 1
    assert all(len(view) <= machine(sim[name]).parameters.active_size for name, view in views.items())
    for node in sim.alive():
        assert sorted(peer for peer, half in node.halves.items() if half.wanted) == machine(node).wanted()
    return graph


def test_links_get_cheap_and_the_overlay_stays_whole():
    sim = cluster(XBot(cost=far), 1)
    dear, links = total(sim), sum(map(len, settled(sim)))
    for _ in range(10):
        sim.run(60.0)
        graph = graph_of({node.name: machine(node).active for node in sim.alive()})
        assert len(components(graph)) == 1
    assert sum(map(len, settled(sim))) >= links - 4
    assert total(sim) < 0.6 * dear


def test_it_is_an_overlay_like_hyparview_under_churn():
    sim = cluster(XBot(cost=far, interval=5.0), 2)
    sim.churn(1.0, leaves=0.5)
    sim.run(120.0)
    sim.churn(0.0)
    sim.run(60.0)
    settled(sim)


def test_measured_round_trips_do_as_well():
    sim = cluster(XBot(interval=5.0), 3, 32)
    sim.run(60.0)
    settled(sim)
