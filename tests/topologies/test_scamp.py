"""SCAMP: subscriptions, views, unsubscription, leases, isolation; and how large views become."""

from __future__ import annotations

import math
from random import Random
from statistics import mean

import pytest

from partisan_actors.testing.layers import overlay_layer
from partisan_actors.testing.protocols import ProtocolSimulation
from partisan_actors.topologies import Scamp
from partisan_actors.topologies.overlay import (
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
from partisan_actors.topologies.scamp_views import View, draw

HEARTBEAT = ("heartbeat",)
BEAT = TimerFired("heartbeat")


class Fixed(Random):
    """Its `random()` is always the same."""

    def __init__(self, value: float) -> None:
        super().__init__(1)
        self.value = value

    def random(self) -> float:
        return self.value


def play(machine, *events, now=0.0, random=None):
    """The effects of the last of these events."""
    effects = ()
    for event in events:
        effects = machine.step(event, now, random or Random(1))
    return list(effects)


def linked(*names):
    """These are members, and there is a link to each."""
    return [event for name in names for event in (MemberUp(name), LinkUp(name))]


def overlay(*, keeps=(), kept_by=(), **parameters):
    """The overlay of me@h with these views, all linked."""
    machine = Scamp(**parameters).overlay("me@h")
    play(machine, *linked(*keeps, *kept_by))
    for name in keeps:
        play(machine, Message(name, ("forward", name, 0)))  # a copy that has come as far as may be is kept
    for name in kept_by:
        play(machine, Message(name, HEARTBEAT))
    assert list(machine.partial_view.names) == sorted(keeps)
    assert list(machine.in_view.names) == sorted(kept_by)
    return machine


def sent(effects, tag):
    """To whom messages of that kind go, and what is behind the tag."""
    return [(e.node, *e.payload[1:]) for e in effects if isinstance(e, Send) and e.payload[0] == tag]


# Subscription


def test_a_newcomer_takes_its_contact_in_and_subscribes():
    machine = Scamp().overlay("me@h")
    effects = play(machine, *linked("a@h"), Joined("a@h"))
    assert [effect for effect in effects if not isinstance(effect, SetTimer)] == [
        Connect("a@h"),
        Send("a@h", HEARTBEAT),
        Send("a@h", ("subscribe", False)),
    ]
    assert machine.neighbours() == ["a@h"]


def test_the_first_node_keeps_the_first_subscription():
    machine = overlay(version=1)
    play(machine, *linked("a@h"), Message("a@h", ("subscribe", False)), random=Fixed(0.99))
    assert list(machine.partial_view.names) == ["a@h"]


def test_a_contact_forwards_to_all_of_its_view_and_c_more():
    machine = overlay(version=1, c=3, keeps=("a@h", "b@h", "c@h", "d@h"))
    effects = play(machine, *linked("x@h"), Message("x@h", ("subscribe", False)))
    copies = sent(effects, "forward")
    assert len(copies) == 4 + 3
    assert {node for node, *_ in copies} == {"a@h", "b@h", "c@h", "d@h"}
    assert {(subscriber, hops) for _, subscriber, hops in copies} == {("x@h", 40)}


def test_a_renewal_has_no_more_copies_than_the_view_is_large():
    machine = overlay(c=3, keeps=("a@h", "b@h", "c@h", "d@h", "e@h"))
    effects = play(machine, *linked("x@h"), Message("x@h", ("subscribe", True)))
    assert len(sent(effects, "forward")) == 5
    machine = overlay(c=3, keeps=("a@h", "b@h"))
    effects = play(machine, *linked("x@h"), Message("x@h", ("subscribe", True)))
    assert len(sent(effects, "forward")) == 4  # but c + 1 in any case


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_d33_a_copy_is_kept_with_a_chance_that_falls_with_the_view(size):
    names = [f"n{number}@h" for number in range(size)]
    chance = 1 / (1 + size)
    for value, kept in ((chance - 1e-9, True), (chance, False)):
        machine = overlay(keeps=names)
        effects = play(machine, MemberUp("x@h"), Message(names[0], ("forward", "x@h", 9)), random=Fixed(value))
        assert ("x@h" in machine.partial_view) == kept
        assert (Connect("x@h") in effects) == kept
        assert len(sent(effects, "forward")) == (not kept)


def test_a_copy_goes_on_by_one_hop_less_and_never_to_the_subscriber():
    machine = overlay(keeps=("a@h", "x@h"))
    for seed in range(10):
        effects = play(machine, Message("a@h", ("forward", "x@h", 5)), random=Random(seed))
        assert effects == [Send("a@h", ("forward", "x@h", 4))]


def test_a_copy_that_has_come_too_far_is_kept_or_lost():
    machine = overlay(keeps=("a@h",))
    play(machine, MemberUp("x@h"), Message("a@h", ("forward", "x@h", 0)), random=Fixed(0.99))
    assert "x@h" in machine.partial_view
    assert play(machine, Message("a@h", ("forward", "x@h", 0))) == []
    assert play(machine, Message("a@h", ("forward", "me@h", 0))) == []


def test_a_subscription_that_is_faster_than_the_news_waits_for_them():
    machine = overlay(keeps=("a@h",))
    assert play(machine, Message("a@h", ("forward", "x@h", 0))) == [Connect("x@h")]
    assert machine.neighbours() == ["a@h"]
    play(machine, MemberUp("x@h"))
    assert machine.neighbours() == ["a@h", "x@h"]


def test_one_whose_news_never_come_is_not_waited_for():
    machine = overlay(keeps=("a@h",))
    play(machine, Message("a@h", ("forward", "x@h", 0)))
    assert Disconnect("x@h") in play(machine, BEAT, now=101.0)
    play(machine, MemberUp("x@h"))
    assert machine.neighbours() == ["a@h"]


def test_who_is_kept_hears_of_it_with_the_link():
    machine = overlay(keeps=("a@h",))
    play(machine, MemberUp("x@h"), Message("a@h", ("forward", "x@h", 0)))
    assert play(machine, LinkUp("x@h")) == [Send("x@h", HEARTBEAT)]
    other = Scamp().overlay("x@h")
    assert Connect("me@h") in play(other, *linked("me@h"), Message("me@h", HEARTBEAT))
    assert (list(other.in_view.names), other.neighbours()) == (["me@h"], ["me@h"])


# Indirection


def test_the_contact_sends_the_subscription_on_a_walk():
    machine = overlay(walk=3, keeps=("a@h",), kept_by=("b@h",))
    effects = play(machine, *linked("x@h"), Message("x@h", ("subscribe", False)))
    assert [walk[1:] for walk in sent(effects, "walk")] == [("x@h", 2, 2)]
    assert sent(effects, "forward") == []


def test_version_1_has_no_walk():
    machine = overlay(version=1, keeps=("a@h",), kept_by=("b@h",))
    effects = play(machine, *linked("x@h"), Message("x@h", ("subscribe", False)))
    assert sent(effects, "walk") == [] and len(sent(effects, "forward")) == 5


def test_the_end_of_the_walk_is_the_contact():
    machine = overlay(keeps=("a@h",), kept_by=("b@h",))
    effects = play(machine, *linked("x@h"), Message("b@h", ("walk", "x@h", 0, 99)))
    assert sent(effects, "accept") == [("x@h",)]
    assert len(sent(effects, "forward")) == 1 + 4
    assert "x@h" in machine.in_view


def test_a_contact_without_a_link_to_the_subscriber_makes_one_first():
    machine = overlay(keeps=("a@h",))
    effects = play(machine, MemberUp("x@h"), Message("a@h", ("walk", "x@h", 0, 99)))
    assert Connect("x@h") in effects and sent(effects, "accept") == []
    assert sent(play(machine, LinkUp("x@h")), "accept") == [("x@h",)]


@pytest.mark.parametrize(("value", "turned_back"), [(0.49, False), (0.51, True)])
def test_a_walk_turns_back_from_a_node_of_more_neighbours_by_chance(value, turned_back):
    machine = overlay(keeps=("a@h", "b@h"), kept_by=("c@h", "d@h"))
    effects = play(machine, *linked("x@h"), Message("a@h", ("walk", "x@h", 5, 2)), random=Fixed(value))
    assert (sent(effects, "back") == [("a@h", "x@h", 5)]) == turned_back
    assert (len(sent(effects, "walk")) == 1) == (not turned_back)


def test_the_subscriber_takes_that_contact_instead_of_the_one_it_asked():
    machine = Scamp().overlay("me@h")
    play(machine, *linked("a@h", "b@h"), Joined("a@h"))
    effects = play(machine, Message("b@h", ("accept",)))
    assert effects == [Connect("b@h"), Send("b@h", HEARTBEAT), Send("a@h", ("dropped",)), Disconnect("a@h")]
    assert machine.neighbours() == ["b@h"]
    assert play(machine, Message("a@h", ("accept",))) == [Send("a@h", ("dropped",))]  # one is enough


# Unsubscription


def told_by_leave(**views):
    """What each of the in-view is told when this node leaves."""
    machine = overlay(**views)
    effects = play(machine, Leave())
    assert machine.neighbours() == []
    return {e.node: e.payload for e in effects if isinstance(e, Send)}, effects


def test_d31_one_that_leaves_version_1_is_taken_out_and_nobody_else_is():
    told, _ = told_by_leave(version=1, c=0, keeps=("a@h", "b@h"), kept_by=("k@h", "l@h", "m@h"))
    assert told == dict.fromkeys(("k@h", "l@h", "m@h"), ("remove",))
    keeper = overlay(version=1, keeps=("a@h", "b@h", "c@h"))
    assert play(keeper, Message("b@h", ("remove",))) == [Send("b@h", ("dropped",)), Disconnect("b@h")]
    assert keeper.neighbours() == ["a@h", "c@h"]


def test_d35_each_of_the_in_view_is_told_once_and_all_but_c_and_one_take_another():
    keepers = [f"k{number}@h" for number in range(10)]
    told, effects = told_by_leave(c=3, keeps=("a@h", "b@h"), kept_by=keepers)
    assert sorted(told) == keepers and len([e for e in effects if isinstance(e, Send)]) == 10
    assert sum(payload == ("remove",) for payload in told.values()) == 3 + 1
    heirs = [payload[1] for payload in told.values() if payload[0] == "replace"]
    assert sorted(heirs) == ["a@h"] * 3 + ["b@h"] * 3


@pytest.mark.parametrize("keeps", [(), ("a@h",), ("k0@h",)])
@pytest.mark.parametrize("keepers", [0, 1, 5, 6, 7])
def test_d34_views_of_any_size_are_left(keeps, keepers):
    names = [f"k{number}@h" for number in range(keepers)]
    told, _ = told_by_leave(keeps=keeps, kept_by=names)
    assert sorted(told) == names
    assert all(payload == ("remove",) or payload[1] != keeper for keeper, payload in told.items())


def test_who_is_to_take_another_does():
    machine = overlay(keeps=("a@h", "b@h"))
    effects = play(machine, MemberUp("x@h"), Message("a@h", ("replace", "x@h")))
    assert Connect("x@h") in effects and Disconnect("a@h") in effects
    assert machine.neighbours() == ["b@h", "x@h"]


@pytest.mark.parametrize("other", ["b@h", "me@h"])
def test_d35_one_that_is_in_the_view_already_costs_nobody_a_place(other):
    machine = overlay(keeps=("a@h", "b@h", "c@h"))
    play(machine, Message("a@h", ("replace", other)))
    assert machine.neighbours() == ["b@h", "c@h"]


def test_d35_the_one_that_is_taken_instead_hears_who_keeps_it():
    machine = overlay(keeps=("a@h",))
    effects = play(machine, *linked("x@h"), Message("a@h", ("replace", "x@h")))
    assert Send("x@h", HEARTBEAT) in effects


def test_only_who_is_in_the_view_can_be_replaced():
    machine = overlay(keeps=("a@h",), kept_by=("b@h",))
    play(machine, MemberUp("x@h"), Message("b@h", ("replace", "x@h")))
    assert machine.neighbours() == ["a@h", "b@h"]
    assert machine.refused == {"not in the view": 1}


def test_after_it_left_it_asks_nobody_to_join():
    machine = overlay(keeps=("a@h",))
    play(machine, Leave())
    assert play(machine, BEAT, now=1000.0) == []
    assert play(machine, Message("a@h", HEARTBEAT)) == [Refuse("a@h", "no member", late=True)]
    assert machine.neighbours() == []


# Heartbeats, isolation, leases


def test_heartbeats_go_to_the_partial_view():
    machine = overlay(keeps=("a@h", "b@h"), kept_by=("k@h",))
    effects = play(machine, BEAT, now=10.0)
    assert sent(effects, "heartbeat") == [("a@h",), ("b@h",)]
    assert effects[-1] == SetTimer("heartbeat", 10.0)


def test_d32_a_member_is_missed_after_so_many_seconds_and_not_sooner():
    machine = overlay(keeps=("a@h",), kept_by=("k@h",))
    play(machine, BEAT, now=100.0)
    assert machine.neighbours() == ["a@h", "k@h"]
    effects = play(machine, BEAT, now=100.1)
    assert machine.neighbours() == ["a@h"] and Disconnect("k@h") in effects


def test_d32_who_is_isolated_subscribes_again_through_one_of_its_view():
    machine = overlay(keeps=("a@h",), kept_by=("k@h",))
    assert sent(play(machine, BEAT, now=99.0), "subscribe") == []
    assert sent(play(machine, BEAT, now=101.0), "subscribe") == [("a@h", True)]


def test_who_has_nobody_left_asks_the_cluster_view():
    machine = overlay(c=2)
    play(machine, *linked("a@h"), MemberUp("b@h"))
    assert FindMembers(3) in play(machine, BEAT, now=1.0)
    assert Connect("b@h") in play(machine, MembersFound(("b@h", "never@h")))
    assert Send("b@h", ("subscribe", False)) in play(machine, LinkUp("b@h"))


def test_a_contact_that_is_not_reached_is_given_up_for_another():
    machine = overlay()
    play(machine, MemberUp("b@h"), BEAT, MembersFound(("b@h",)))
    assert Disconnect("b@h") in play(machine, Unreachable("b@h"))
    assert machine.neighbours() == []
    assert any(isinstance(effect, FindMembers) for effect in play(machine, BEAT, now=10.0))


def test_one_that_is_not_reached_stays_in_the_view_while_it_is_a_member():
    machine = overlay(keeps=("a@h", "b@h"))
    assert play(machine, LinkDown("a@h"), Unreachable("a@h")) == []
    assert machine.neighbours() == ["a@h", "b@h"]
    assert play(machine, MemberDown("a@h")) == [Disconnect("a@h")]
    assert machine.neighbours() == ["b@h"]


def test_a_lease_that_is_over_is_renewed_and_the_former_keepers_are_let_go():
    machine = overlay(c=1, keeps=("a@h",), kept_by=("k@h", "l@h"))
    effects = play(machine, TimerFired("lease"), now=3000.0)
    assert sent(effects, "subscribe") == [("a@h", True)]
    assert SetTimer("release", 20.0) in effects
    assert any(e.key == "lease" and 2700 <= e.seconds <= 3600 for e in effects if isinstance(e, SetTimer))
    play(machine, *linked("x@h", "y@h"), Message("x@h", HEARTBEAT), Message("y@h", HEARTBEAT), now=3001.0)
    assert sent(play(machine, TimerFired("release"), now=3020.0), "remove") == [("k@h",), ("l@h",)]


def test_no_more_keepers_are_let_go_than_there_are_new_ones_if_those_are_few():
    machine = overlay(c=4, keeps=("a@h",), kept_by=("k@h", "l@h"))
    play(machine, TimerFired("lease"))
    assert sent(play(machine, TimerFired("release")), "remove") == []
    play(machine, TimerFired("lease"), *linked("x@h"), Message("x@h", HEARTBEAT))
    assert len(sent(play(machine, TimerFired("release")), "remove")) == 1


# What others say


@pytest.mark.parametrize(
    "payload",
    [
        *(None, "heartbeat", ["heartbeat"], (), ("heartbeat", 1), ("forward", "x@h"), ("forward", 5, 5)),
        *(("forward", "x@h", -1), ("forward", "x@h", 513), ("forward", "", 3), ("forward", "x" * 256, 3)),
        *(("walk", "x@h", 600, 1), ("subscribe", 1), ("replace", None), ("accept", "x@h"), float("nan")),
    ],
)
def test_what_makes_no_sense_is_counted(payload):
    machine = overlay(keeps=("a@h",))
    assert play(machine, Message("a@h", payload)) == [Refuse("a@h", "payload")]
    assert (machine.neighbours(), machine.refused) == (["a@h"], {"payload": 1})


def test_a_stranger_is_not_heard():
    machine = overlay(keeps=("a@h",))
    play(machine, Message("x@h", HEARTBEAT))
    assert (machine.neighbours(), machine.refused) == (["a@h"], {"no member": 1})


def test_who_is_waited_for_is_bounded():
    machine = overlay(keeps=("a@h",))
    for number in range(10_010):
        play(machine, Message("a@h", ("forward", f"x{number}@h", 0)))
    assert play(machine, Message("a@h", ("forward", "last@h", 0))) == []
    play(machine, MemberUp("last@h"))
    assert machine.neighbours() == ["a@h"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        *(({"version": 3}, "version"), ({"c": -1}, "c"), ({"c": True}, "c"), ({"max_hops": 0}, "max_hops")),
        *(({"walk": 1.5}, "walk"), ({"heartbeat": 0}, "heartbeat"), ({"lease": float("nan")}, "lease")),
        *(({"isolation": 19.9}, "heartbeat <= isolation"), ({"lease": 39.0}, "heartbeat <= lease")),
    ],
)
def test_parameters_that_make_no_sense_are_named(given, field):
    with pytest.raises(ValueError, match=field):
        Scamp(**given)


# Views


def test_a_view_is_sorted_and_knows_who_is_old():
    view = View()
    assert view.put("b@h", 1.0) and view.put("a@h", 2.0) and not view.put("b@h", 3.0)
    assert (list(view.names), len(view), "b@h" in view) == (["a@h", "b@h"], 2, True)
    assert view.older_than(3.0) == ["a@h"]
    assert view.discard("a@h") and not view.discard("a@h")
    assert list(view.names) == ["b@h"]


def test_a_draw_is_among_those_that_fit():
    names = ["a@h", "b@h", "c@h", "d@h"]
    drawn = {draw(names, {"a@h", "c@h", "d@h"}, ("d@h",), Random(seed)) for seed in range(50)}
    assert drawn == {"a@h", "c@h"}
    assert draw(names, set(), (), Random(1)) is None and draw([], set(names), (), Random(1)) is None


# In a cluster


def grown(version, *, count=1000, contact=None, seed=1):
    """A simulation of so many nodes that joined one after another."""
    topology = Scamp(version=version, heartbeat=60.0, isolation=600.0)
    simulation = ProtocolSimulation(seed, lambda node: [overlay_layer(topology.overlay(node.name))])
    simulation.grow(count, spacing=0.1, contact=contact)
    simulation.run(30.0)
    return simulation, [node.layer("overlay").machine for node in simulation.alive()]


def reached(machines):
    """How many are in one piece with the first."""
    names = {machine._node: machine for machine in machines}
    seen, waiting = set(), [min(names)]
    while waiting:
        if (name := waiting.pop()) not in seen and name in names:
            seen.add(name)
            waiting += names[name].neighbours()
    return len(seen)


@pytest.mark.parametrize(("version", "contact"), [(1, None), (2, None), (2, "n0@sim")])
def test_views_of_a_thousand_nodes_are_about_c_and_one_times_the_logarithm(version, contact):
    _, machines = grown(version, contact=contact)
    assert reached(machines) == 1000
    found, formula = mean(len(machine.partial_view) for machine in machines), 5 * math.log(1000)
    # Small clusters have no place for c copies more, and what is missing there is missing later: by simulation 75 to
    # 95 % of the formula, as others found, too (34 of 46 at 10,000, in HyParView's paper).
    assert 0.7 * formula < found < 1.1 * formula
    assert mean(len(machine.in_view) for machine in machines) == pytest.approx(found)
    # Whom all join through is in no more views than others are.
    assert max(len(machine.in_view) for machine in machines) < 3 * found


def test_views_shrink_as_members_leave():
    simulation, machines = grown(2, count=300)
    before = mean(len(machine.partial_view) for machine in machines)
    for node in simulation.alive()[::2]:
        simulation.leave(node)
        simulation.run(0.2)
    simulation.run(30.0)
    machines = [node.layer("overlay").machine for node in simulation.alive()]
    assert len(machines) == reached(machines) == 150
    after = mean(len(machine.partial_view) for machine in machines)
    assert before - 5 * math.log(2) - 3 < after < before
