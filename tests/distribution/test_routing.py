"""Transitive routing, machine by machine and frame by frame, with time as a number."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from partisan_actors.distribution.machine import SetTimer, TimerFired
from partisan_actors.distribution.routing import Routing, RoutingParameters
from partisan_actors.distribution.routing_events import (
    Arrived,
    Doubted,
    Forward,
    Ignored,
    Learned,
    LinkDown,
    LinkUp,
    Measured,
    MemberDown,
    RelayReceived,
    RouteReceived,
    Send,
    SendRoute,
    Suspected,
    Trusted,
    Undeliverable,
)
from partisan_actors.wire.relays import ANNOUNCE, ANSWER, DOUBTED, LOOK_UP, NO_ROUTE, Relay, RouteMessage, names_of
from tests.distribution.routing_world import RoutingWorld

PARAMETERS = RoutingParameters()


class One:
    """A machine named "me", with links to some nodes."""

    def __init__(self, *neighbours: str, parameters: RoutingParameters = PARAMETERS) -> None:
        self.machine = Routing("me", parameters)
        self.now = 100.0
        self.random = Random(1)
        self.counters = self.machine.counters
        for node in neighbours:
            assert self.step(LinkUp(node)) == []

    def step(self, event):
        return list(self.machine.step(event, self.now, self.random))

    def relay(
        self, by: str, destination: str, source: str, number: int = 1, hops: int = 1, ttl: int = 9, cost: int = 0
    ):
        names = names_of(destination, source)
        return self.step(RelayReceived(by, Relay(destination, source, number, hops, ttl, cost, names, (b"body",))))

    def route(self, by: str, kind: int, origin: str, destination: str, number: int = 1, **fields: int):
        fields = {"hops": 1, "ttl": 9, "cost": 0} | fields
        return self.step(RouteReceived(by, RouteMessage(kind, origin, destination, number, **fields)))

    def asks(self, destination: str = "x"):
        """Send to a destination without a way; the look-ups that go out."""
        return [effect for effect in self.step(Send(destination, (b"body",))) if type(effect) is SendRoute]


def forwards(effects) -> list[tuple[str, str]]:
    return [(effect.node, effect.relay.destination) for effect in effects if type(effect) is Forward]


def told(effects) -> list[tuple[str, int]]:
    return [(effect.node, effect.message.kind) for effect in effects if type(effect) is SendRoute]


# Sending


def test_a_neighbour_is_sent_to_straight():
    one = One("a", "b")
    (forward,) = one.step(Send("b", (b"he", b"llo")))
    assert forward == Forward("b", forward.relay)
    assert forward.relay.body == (b"he", b"llo")
    assert (forward.relay.hops, forward.relay.ttl) == (1, PARAMETERS.hop_limit - 1)


def test_what_goes_to_the_node_itself_arrives():
    assert One().step(Send("me", (b"body",))) == [Arrived("me", (b"body",), 0)]


def test_numbers_rise():
    one = One("a")
    numbers = [one.step(Send("a", (b"",)))[0].relay.number for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_numbers_begin_where_they_are_told_to():
    machine = Routing("me", first_number=7 << 40)
    machine.step(LinkUp("a"), 0.0, Random(1))
    (forward,) = machine.step(Send("a", (b"",)), 0.0, Random(1))
    assert forward.relay.number > 7 << 40


def test_a_known_way_is_taken_without_a_look_up():
    one = One("a", "b")
    one.relay("b", "me", "far", hops=3)
    assert forwards(one.step(Send("far", (b"",)))) == [("b", "far")]


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_destination_that_no_frame_can_name_is_the_callers_mistake(name: str):
    with pytest.raises(ValueError, match="utf-8"):
        One("a").step(Send(name, (b"",)))
    with pytest.raises(ValueError, match="utf-8"):
        Routing(name)


# Relaying


def test_d4_a_relay_is_received_and_handled():
    one = One("a", "b")
    (passed,) = one.relay("a", "b", "far", hops=2, ttl=5)
    assert passed.node == "b"
    assert (passed.relay.hops, passed.relay.ttl, passed.relay.source) == (3, 4, "far")
    assert one.relay("a", "me", "far", number=2, hops=2) == [Arrived("far", (b"body",), 2)]
    assert (one.counters.relayed, one.counters.arrived) == (1, 1)


def test_d4_two_nodes_of_a_mesh_with_a_cut_link_talk_through_a_third():
    world = RoutingWorld("abc")
    for pair in ("ab", "bc", "ac"):
        world.link(*pair)
    world.cut("a", "c")
    world.send("a", "c")
    world.run(1.0)
    assert world.arrived == [("c", "a", b"body", 2)]


def test_d45_what_cannot_be_delivered_comes_back():
    world = RoutingWorld("abc")
    world.line()
    world.send("a", "nobody")
    world.run(PARAMETERS.wait + PARAMETERS.longest_wait)
    assert world.undeliverable == [("a", "nobody", b"body")]
    assert world.arrived == []


def test_a_destination_beyond_partisans_five_hops_is_reached():
    world = RoutingWorld([f"n{number:02}" for number in range(40)])
    world.line()
    world.send("n00", "n39")
    world.run(5.0)
    assert world.arrived == [("n39", "n00", b"body", 39)]
    assert len(world.frames) == 39


def test_a_frame_that_comes_twice_is_taken_once():
    one = One("a", "b")
    assert one.relay("a", "me", "far") == [Arrived("far", (b"body",), 1)]
    assert one.relay("a", "me", "far") == []
    assert forwards(one.relay("a", "b", "far", number=2)) == [("b", "b")]
    assert one.relay("a", "b", "far", number=2) == []
    assert one.counters.duplicates == 2
    assert one.counters.dropped == {}


def test_a_frame_does_not_go_back_to_where_it_came_from():
    one = One("a", "b")
    one.relay("b", "me", "far", hops=2)
    effects = one.relay("b", "far", "other")
    assert forwards(effects) == []
    assert told(effects) == [("a", LOOK_UP), ("b", LOOK_UP)], "and the way over there is of no use"


def test_a_frame_for_the_neighbour_that_sent_it_is_ignored():
    one = One("a")
    assert one.relay("a", "a", "far") == [Ignored("a", "itself")]
    assert one.counters.ignored == {"itself": 1}


def test_what_comes_over_no_link_is_ignored():
    one = One("a")
    assert one.relay("stranger", "me", "far") == [Ignored("stranger", "no link")]
    assert one.route("stranger", LOOK_UP, "far", "me") == [Ignored("stranger", "no link")]
    assert one.counters.ignored == {"no link": 2}


def test_a_frame_goes_no_farther_than_its_hop_limit_and_the_source_is_told():
    one = One("a", "b", "c")
    one.relay("c", "me", "far", hops=2)
    effects = one.relay("a", "far", "source", ttl=0)
    assert forwards(effects) == []
    assert told(effects) == [("a", NO_ROUTE)]
    assert one.counters.dropped == {"hop limit": 1}
    assert one.machine.next_hop("far") is None


def test_a_frame_that_has_crossed_more_links_than_can_be_counted_goes_no_farther():
    one = One("a", "b")
    one.relay("a", "b", "far", hops=255, ttl=255)
    assert one.counters.dropped == {"hop limit": 1}


@pytest.mark.parametrize("hops", [PARAMETERS.hop_limit, 200])
def test_what_a_source_allows_itself_does_not_count(hops):
    one = One("a", "b")
    effects = one.relay("a", "b", "far", hops=hops, ttl=255)
    assert Ignored("a", "hop limit") in effects and forwards(effects) == []
    assert one.counters.dropped == {"hop limit": 1}
    assert forwards(one.relay("a", "b", "other", hops=PARAMETERS.hop_limit - 1, ttl=255)) == [("b", "b")]
    effects = one.route("a", ANNOUNCE, "wide", "wide", hops=hops, ttl=255)
    assert told(effects) == []


def test_a_source_is_told_once_in_a_while_however_much_it_sends():
    one = One("a", "b")
    for number in range(10):
        one.relay("a", "b", "far", number=number + 1, ttl=0)
    assert one.counters.dropped == {"hop limit": 10}
    assert one.counters.route_messages == 1


# Circles


def test_ways_that_lead_in_a_circle_end():
    world = RoutingWorld("abcd")
    for pair in ("ab", "bc", "ca", "ad"):
        world.link(*pair)
    for at, via in ("ab", "bc", "ca"):
        world.learned(at, "x", via)
    world.send("d", "a")
    world.learned("d", "x", "a")
    for _ in range(3):
        for node in "dbc":
            world.send(node, "x")
            world.run(30.0)
    crossed = [frame for frame in world.frames if frame[2].destination == "x"]
    assert len(crossed) <= 12, "each once round at the most"
    assert sum(machine.counters.loops for machine in world.machines.values()) >= 1
    assert [world.machines[node].next_hop("x") for node in "abcd"] == [None] * 4
    assert {to for _, to, _ in world.undeliverable} == {"x"}, "and it is known to those who send"


def test_a_frame_of_its_own_that_comes_back_makes_the_way_void():
    one = One("a", "b")
    one.step(Learned("x", "a"))
    (forward,) = one.step(Send("x", (b"",)))
    effects = one.relay("b", "x", "me", number=forward.relay.number, hops=3)
    assert one.counters.loops == 1
    assert told(effects) == [("a", LOOK_UP), ("b", LOOK_UP)]


def test_a_relay_whose_way_is_gone_takes_another_that_does_not_lead_back():
    one = One("a", "b", "c")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=3, cost=2000)
    one.route("c", ANNOUNCE, "far", "far", number=5, hops=3, cost=2000)
    assert one.machine.next_hop("far") == "b"
    one.step(LinkDown("b"))
    assert forwards(one.relay("a", "far", "source")) == [("c", "far")]


def test_a_neighbour_that_is_farther_away_is_no_way_out():
    one = One("a", "b", "c")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=3, cost=2000)
    one.route("c", ANNOUNCE, "far", "far", number=5, hops=5, cost=4000)
    one.step(LinkDown("b"))
    effects = one.relay("a", "far", "source")
    assert forwards(effects) == []
    (look_up, _) = [effect.message for effect in effects if type(effect) is SendRoute]
    assert (look_up.known, look_up.bound) == (5, 3000), "so it asks for one that does not lead over itself"


def test_who_knows_no_more_than_the_one_that_asks_does_not_answer():
    one = One("a", "b", "c")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=3, cost=2000)
    for number, (known, bound, answers) in enumerate(
        [(6, 9000, False), (5, 2999, False), (5, 3000, True), (4, 0, True)]
    ):
        effects = one.route("a", LOOK_UP, "source", "far", number=number + 1, known=known, bound=bound)
        assert (("a", ANSWER) in told(effects)) is answers


def test_who_would_go_by_the_one_that_asks_does_not_answer():
    one = One("a", "b")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=3)
    assert told(one.route("b", LOOK_UP, "source", "far")) == [("a", LOOK_UP)]


# Look-ups


def test_a_look_up_goes_by_rings_that_grow():
    one = One("a", "b")
    reaches = [one.asks()[0].message.ttl + 1]
    for _ in range(2):
        one.now += 0.5
        effects = one.step(TimerFired("x"))
        reaches.append(effects[0].message.ttl + 1)
    assert reaches == [2, 4, PARAMETERS.hop_limit]


def test_the_frames_go_as_soon_as_there_is_an_answer():
    one = One("a", "b")
    number = one.asks()[0].message.number
    assert one.step(Send("x", (b"second",))) == []
    effects = one.route("b", ANSWER, "me", "x", number=number, hops=2, known=3)
    assert forwards(effects) == [("b", "x"), ("b", "x")]
    assert [effect.relay.body for effect in effects if type(effect) is Forward] == [(b"body",), (b"second",)]
    assert one.machine.waiting_bytes == 0
    assert one.step(TimerFired("x")) == [], "nothing runs any more"


def test_a_later_answer_over_a_better_way_takes_the_place_of_the_first():
    one = One("a", "b", "c")
    number = one.asks()[0].message.number
    for by, hops, cost, then in (("a", 4, 3000, "a"), ("b", 6, 5000, "a"), ("c", 3, 2000, "c")):
        one.route(by, ANSWER, "me", "x", number=number, hops=hops, cost=cost, known=7)
        assert one.machine.next_hop("x") == then


def test_what_the_links_take_decides_and_not_how_many_they_are():
    one = One("slow", "fast")
    one.step(Measured("slow", 0.2))
    one.step(Measured("fast", 0.004))
    one.route("slow", ANNOUNCE, "far", "far", number=1, hops=2, cost=1000)
    one.route("fast", ANNOUNCE, "far", "far", number=1, hops=5, cost=8000)
    assert one.machine.next_hop("far") == "fast"


def test_links_within_a_millisecond_count_as_hops():
    one = One("slow", "fast")
    one.step(Measured("slow", 0.0019))
    one.step(Measured("fast", 0.00001))
    one.route("slow", ANNOUNCE, "far", "far", number=1, hops=2, cost=1000)
    one.route("fast", ANNOUNCE, "far", "far", number=1, hops=3, cost=2000)
    assert one.machine.next_hop("far") == "slow"


def test_a_look_up_teaches_the_way_back_to_who_asks():
    one = One("a", "b")
    one.route("a", LOOK_UP, "source", "x", hops=3)
    assert one.machine.next_hop("source") == "a"


def test_an_answer_teaches_every_node_on_its_way():
    world = RoutingWorld("abcdef")
    world.line()
    world.send("a", "f")
    world.run(1.0)
    assert [world.machines[node].next_hop("f") for node in "abcde"] == list("bcdef")
    assert [world.machines[node].next_hop("a") for node in "bcdef"] == list("abcde")


def test_a_look_up_is_passed_on_once_and_to_everybody_but_who_brought_it():
    one = One("a", "b", "c")
    effects = one.route("a", LOOK_UP, "source", "x", hops=2, ttl=3, cost=1000)
    assert [(effect.node, effect.message[4:7]) for effect in effects] == [("b", (3, 2, 2000)), ("c", (3, 2, 2000))]
    assert one.route("b", LOOK_UP, "source", "x", hops=2, ttl=3) == []
    assert one.route("a", LOOK_UP, "source", "x", number=2, ttl=0) == [], "nor any farther than its ring"


def test_a_node_next_to_the_destination_passes_the_look_up_on_to_it_alone():
    one = One("a", "b", "x")
    assert told(one.route("a", LOOK_UP, "source", "x", ttl=0)) == [("x", LOOK_UP)]


def test_the_destination_answers_the_first_and_what_comes_over_a_better_way():
    one = One("a", "b", "c")
    assert told(one.route("a", LOOK_UP, "source", "me", hops=3, cost=2000)) == [("a", ANSWER)]
    assert told(one.route("b", LOOK_UP, "source", "me", hops=3, cost=2000)) == []
    assert told(one.route("c", LOOK_UP, "source", "me", hops=2, cost=1000)) == [("c", ANSWER)]


def test_only_a_way_that_was_heard_of_lately_is_good_enough_to_answer_with():
    one = One("a", "b", "c")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=3)
    one.now += PARAMETERS.fresh + 1.0
    assert told(one.route("a", LOOK_UP, "source", "far")) == [("b", LOOK_UP), ("c", LOOK_UP)]
    one.relay("b", "me", "far", number=6, hops=3)
    assert told(one.route("a", LOOK_UP, "source", "far", number=2)) == [("a", ANSWER)]


def test_for_a_node_that_does_not_answer_there_are_ever_fewer_look_ups():
    world = RoutingWorld("abc")
    world.line()
    asked = []
    for _ in range(12):
        for _ in range(100):
            world.send("a", "dead")
            world.run(0.6)
        asked.append(world.machines["a"].counters.look_ups)
    each_minute = [after - before for before, after in zip([0, *asked], asked, strict=False)]
    assert each_minute[0] <= 24, "eight times three rings"
    assert max(each_minute[3:]) <= 12
    assert len(world.undeliverable) > 1100


def test_a_member_that_is_down_fails_what_waits_for_it_at_once():
    one = One("a")
    one.asks()
    one.step(Send("x", (b"second",)))
    effects = one.step(MemberDown("x"))
    assert [effect for effect in effects if type(effect) is Undeliverable] == [
        Undeliverable("x", (b"body",)),
        Undeliverable("x", (b"second",)),
    ]
    assert one.step(TimerFired("x")) == []
    assert one.machine.waiting_bytes == 0


def test_a_member_that_is_down_is_forgotten():
    one = One("a")
    one.relay("a", "me", "far", number=1 << 50)
    one.step(MemberDown("far"))
    assert one.machine.routes == 0
    one.relay("a", "me", "far", number=1)
    assert one.machine.next_hop("far") == "a", "its next life may begin anew"


def test_what_waits_is_bounded():
    one = One("a", parameters=RoutingParameters(most_waiting=100, most_waiting_in_all=150))
    one.step(Send("x", (bytes(80),)))
    assert Undeliverable("x", (bytes(30),)) in one.step(Send("x", (bytes(30),)))
    one.step(Send("y", (bytes(60),)))
    assert one.counters.dropped == {"queue full": 1}
    one.step(Send("y", (bytes(30),)))
    assert one.counters.dropped == {"queue full": 2}
    assert one.machine.waiting_bytes == 140


def test_as_many_destinations_as_there_is_place_for_are_looked_up():
    one = One("a", parameters=RoutingParameters(most_look_ups=2))
    for destination in "xyz":
        effects = one.step(Send(destination, (b"",)))
    assert effects == [Undeliverable("z", (b"",))]
    one.step(MemberDown("x"))
    assert told(one.step(Send("z", (b"",)))) == [("a", LOOK_UP)]


def test_only_so_many_look_ups_ask_everybody_at_once_and_all_get_their_turn():
    names = [f"n{number:02}" for number in range(40)]
    world = RoutingWorld(names, parameters=RoutingParameters(most_floods=3, announce_after=1000))
    for name in names[10:]:
        world.link("n09", name)
    for one, other in itertools.pairwise(names[:10]):
        world.link(one, other)
    for name in names[10:]:
        world.send("n00", name)
    floods = []
    for _ in range(1000):
        world.run(0.01)
        floods.append(len(world.machines["n00"]._look_ups.floods))
    assert max(floods) == 3
    assert floods[-1] == 0
    assert len(world.arrived) == 30


def test_everybody_is_asked_only_for_what_waits():
    one = One("a")
    one.relay("a", "me", "x", hops=2)
    one.route("a", NO_ROUTE, "me", "x")
    for _ in range(5):
        one.now += 1.0
        one.step(TimerFired("x"))
    assert one.counters.look_ups == len(PARAMETERS.rings)


def test_a_new_link_to_the_destination_lets_go_what_waits():
    one = One("a")
    one.asks()
    assert forwards(one.step(LinkUp("x"))) == [("x", "x")]


def test_a_new_link_ends_the_pauses():
    world = RoutingWorld("abcd")
    world.link("a", "b")
    world.link("c", "d")
    for _ in range(120):
        world.send("a", "d")
        world.run(0.5)
    assert world.machines["a"].counters.look_ups_failed < 10
    world.link("a", "c")
    world.run(1.0)
    assert len(world.arrived) > 10, "all that had waited no longer than it may"


def test_a_link_that_comes_when_there_was_none_is_used_by_what_waits():
    world = RoutingWorld("abc")
    world.send("a", "c")
    world.run(1.0)
    world.line()
    world.run(PARAMETERS.wait)
    assert [arrived[:3] for arrived in world.arrived] == [("c", "a", b"body")]


def test_a_relay_without_a_way_asks_around_and_else_tells_the_source_which_asks_everybody():
    world = RoutingWorld([f"n{number:02}" for number in range(12)])
    world.line()
    world.send("n00", "n11")
    world.run(1.0)
    world.cut("n05", "n06")
    world.link("n00", "n08")
    world.send("n00", "n11", b"lost")
    world.run(5.0)
    assert world.messages[NO_ROUTE] == 5, "from where it ended to where it came from"
    world.send("n00", "n11", b"later")
    world.run(1.0)
    assert [body for _, _, body, _ in world.arrived] == [b"body", b"later"]
    assert world.machines["n00"].next_hop("n11") == "n08"


def test_a_relay_finds_a_way_round_close_by_and_loses_nothing():
    world = RoutingWorld("abcdex")
    world.line()
    world.link("c", "x")
    world.cut("e", "x")
    world.send("a", "x")
    world.run(1.0)
    world.cut("c", "x")
    world.link("e", "x")
    world.send("a", "x", b"second")
    world.run(2.0)
    assert [body for _, _, body, _ in world.arrived] == [b"body", b"second"]
    assert world.messages[NO_ROUTE] == 0


def test_what_is_relayed_waits_no_longer_than_what_is_its_own():
    one = One("a", parameters=RoutingParameters(repair_rings=1, wait=1.0))
    effects = one.relay("a", "x", "source")
    assert told(effects) == [("a", LOOK_UP)]
    one.now += 2.0
    effects = one.step(TimerFired("x"))
    assert one.counters.dropped == {"too late": 1}
    assert told(effects) == [("a", NO_ROUTE)]


def test_a_relay_that_has_asked_in_vain_tells_the_next_source_at_once():
    one = One("a", "b")
    one.relay("a", "x", "source")
    for number in range(9):
        while one.machine.waiting_bytes:
            one.now += 0.5
            one.step(TimerFired("x"))
        one.now += 0.6
        effects = one.relay("a", "x", f"source{number}")
        if not one.machine.waiting_bytes:
            break
    assert told(effects) == [("a", NO_ROUTE)]
    assert one.counters.look_ups <= 4 * PARAMETERS.repair_rings


def test_no_route_forgets_the_way_and_looks_up_again():
    one = One("a", "b")
    one.relay("a", "me", "x", number=4, hops=2)
    effects = one.route("a", NO_ROUTE, "me", "x", known=9, bound=5)
    assert one.machine.next_hop("x") is None
    looked_up = [effect.message for effect in effects if type(effect) is SendRoute]
    assert [(message.kind, message.known) for message in looked_up] == [(LOOK_UP, 9)] * 2


def test_no_route_that_came_back_another_way_than_the_frame_went_is_looked_into():
    one = One("a", "b")
    one.relay("a", "me", "x", number=4, hops=2)
    looked_up = [effect.message for effect in one.route("b", NO_ROUTE, "me", "x") if type(effect) is SendRoute]
    assert [(message.kind, message.known, message.bound) for message in looked_up] == [(LOOK_UP, 4, 0)] * 2
    assert one.machine.next_hop("x") == "a", "until there is an answer"
    effects = one.route("b", ANSWER, "me", "x", number=looked_up[0].number, hops=9, cost=9000, known=5)
    assert told(effects) == []
    assert one.machine.next_hop("x") == "b", "that is a new way, and no longer one by cost"


def test_no_route_passes_a_node_by_whose_way_it_does_not_concern():
    one = One("a", "b", "c")
    one.relay("a", "me", "source", hops=2)
    one.relay("c", "me", "x", hops=2)
    assert told(one.route("b", NO_ROUTE, "source", "x")) == [("a", NO_ROUTE)]
    assert one.machine.next_hop("x") == "c"


def test_a_relay_that_is_told_of_no_way_takes_another_only_if_that_does_not_lead_there():
    one = One("a", "b", "c")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=3, cost=2000)
    one.route("c", ANNOUNCE, "far", "far", number=5, hops=3, cost=2000)
    one.relay("a", "far", "source")
    assert told(one.route("b", NO_ROUTE, "source", "far", known=4, bound=1000)) == [], "it knew of an older way only"
    assert one.machine.next_hop("far") == "c"
    one.route("b", ANNOUNCE, "far", "far", number=6, hops=2, cost=1000)
    one.relay("a", "far", "source", number=2)
    assert told(one.route("b", NO_ROUTE, "source", "far", known=6, bound=1000)) == [("a", NO_ROUTE)]
    assert one.machine.next_hop("far") is None


def test_a_source_is_told_again_after_a_while_though_no_other_was_told_meanwhile():
    one = One("a", "b")
    for number in range(4):
        one.relay("a", "b", "far", number=number + 1, ttl=0)
        one.now += 2 * PARAMETERS.tell_interval
    assert one.counters.route_messages == 4


def test_who_sent_a_frame_on_is_told_that_it_found_no_way_though_the_way_to_its_source_is_another():
    one = One("a", "b")
    one.route("b", ANNOUNCE, "source", "source", number=9, hops=1)
    effects = one.relay("a", "x", "source", number=8, hops=9, ttl=0)
    assert told(effects) == [("a", NO_ROUTE)]


def test_an_answer_that_is_not_taken_here_is_not_passed_on():
    one = One("a", "b")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=2, cost=1000)
    one.route("b", NO_ROUTE, "source", "far", known=7, bound=500)
    one.route("a", LOOK_UP, "source", "far", number=1)
    assert one.machine.next_hop("far") is None
    assert told(one.route("b", ANSWER, "source", "far", number=1, hops=2, cost=1000, known=6)) == []
    assert one.counters.ignored == {"no way on": 1}


def test_a_look_up_that_is_passed_on_demands_what_would_be_taken_here():
    one = One("a", "b")
    one.route("b", ANNOUNCE, "far", "far", number=5, hops=2, cost=1000)
    one.route("b", NO_ROUTE, "source", "far", known=7, bound=500)
    (passed,) = [effect.message for effect in one.route("a", LOOK_UP, "source", "far", number=1, known=2, bound=9)]
    assert (passed.known, passed.bound) == (7, 500)


# Doubts


def doubted(one: One, destination: str, seconds: float = 3.0) -> list[RouteMessage]:
    """Nothing was heard of a destination for so long; what is asked."""
    return [effect.message for effect in one.step(Doubted(destination, seconds)) if type(effect) is SendRoute]


def test_a_way_of_which_nothing_was_heard_is_looked_up_anew_and_what_is_sent_waits_for_that():
    one = One("a", "b")
    one.relay("a", "me", "x", number=4, hops=2)
    asked = doubted(one, "x")
    assert [(message.kind, message.known, message.bound) for message in asked] == [(LOOK_UP, 4, 0)] * 2
    assert forwards(one.step(Send("x", (b"again",)))) == []
    effects = one.route("b", ANSWER, "me", "x", number=asked[0].number, hops=5, cost=9000, known=5)
    assert forwards(effects) == [("b", "x")]


def test_what_is_only_late_is_not_doubted():
    one = One("a", "b")
    one.relay("a", "me", "x", number=4, hops=2)
    assert doubted(one, "x", 2.9) == []
    assert doubted(one, "nobody") == doubted(one, "a") == doubted(one, "me") == []
    assert one.machine.next_hop("x") == "a"


def test_a_second_doubt_is_for_the_destination_alone_to_answer_and_they_become_ever_fewer():
    one = One("a", "b")
    known, begun = [], 0
    for _ in range(120):
        one.now += 1.0
        one.relay("a", "me", "x", number=round(one.now), hops=2)
        asked = doubted(one, "x", 60.0)
        if asked:
            begun += 1
            known.append(asked[0].known)
            one.route("a", ANSWER, "me", "x", number=asked[0].number, hops=2, known=round(one.now))
    assert known[0] < DOUBTED
    assert set(known[1:]) == {DOUBTED}
    assert begun < 20


def test_a_look_up_in_doubt_teaches_new_ways_to_both_ends_though_they_are_longer():
    one = One("a", "b")
    for node in ("source", "x"):
        one.route("a", ANNOUNCE, node, node, number=5, hops=1)
    assert told(one.route("b", LOOK_UP, "source", "x", number=6, hops=9, cost=9000, known=DOUBTED)) == [("a", LOOK_UP)]
    assert one.machine.next_hop("source") == "b"
    one.route("b", ANNOUNCE, "x", "x", number=6, hops=9, cost=9000)
    assert one.machine.next_hop("x") == "b"


def test_hearsay_does_not_end_a_look_up_and_is_not_believed_again_where_it_was_wrong():
    one = One("a", "b")
    one.step(Learned("x", "a", 4))
    assert doubted(one, "x") != []
    one.step(Send("x", (b"",)))
    assert one.step(Learned("x", "a", 4)) == []
    assert one.machine.next_hop("x") is None


def test_no_route_goes_on_to_the_source():
    one = One("a", "b")
    one.relay("a", "me", "source", hops=2)
    one.relay("b", "me", "x", hops=2)
    assert told(one.route("b", NO_ROUTE, "source", "x")) == [("a", NO_ROUTE)]


def test_the_time_that_answers_take_is_learned():
    quick, slow = One("a"), One("a")
    for one, seconds in ((quick, 0.001), (slow, 0.5)):
        for number in range(12):
            destination = f"x{number}"
            asked = one.asks(destination)[0].message.number
            one.now += 2 * seconds
            one.route("a", ANSWER, "me", destination, number=asked, hops=1, known=1)
        (wait,) = [effect.seconds for effect in one.step(Send("last", (b"",))) if type(effect) is SetTimer]
        if one is quick:
            assert wait == PARAMETERS.shortest_wait
        else:
            assert 1.9 <= wait <= 3.0


# Hearsay


def test_what_was_heard_by_the_way_is_good_enough_to_send_by():
    one = One("a", "b")
    assert one.step(Learned("far", "a", 4)) == []
    assert forwards(one.step(Send("far", (b"",)))) == [("a", "far")]


def test_what_was_heard_by_the_way_is_replaced_by_anything_better():
    one = One("a", "b")
    one.step(Learned("far", "a", 2))
    one.step(Learned("far", "b", 3))
    assert one.machine.next_hop("far") == "b", "the latest announcement"
    one.relay("a", "me", "far", hops=9, cost=9000)
    assert one.machine.next_hop("far") == "a", "something that came from there"
    one.step(Learned("far", "b", 1))
    assert one.machine.next_hop("far") == "a"


def test_what_was_heard_by_the_way_answers_no_look_up():
    one = One("a", "b")
    one.step(Learned("far", "b"))
    assert told(one.route("a", LOOK_UP, "source", "far")) == [("b", LOOK_UP)]


def test_what_was_heard_over_no_link_or_of_oneself_is_nothing():
    one = One("a")
    for event in (Learned("far", "stranger"), Learned("me", "a"), Learned("a", "a")):
        one.step(event)
    assert one.machine.routes == 0


# Announcements


def ask_from_afar(one: One, times: int, hops: int = 5) -> list[bool]:
    """So many look-ups for it; whether it made itself known at each."""
    found = []
    for _ in range(times):
        one.now += 1.0
        effects = one.route("a", LOOK_UP, "source", "me", number=round(one.now * 1000), hops=hops)
        found.append(("b", ANNOUNCE) in told(effects))
    return found


def test_who_is_asked_for_again_and_again_from_afar_makes_itself_known():
    one = One("a", "b")
    assert ask_from_afar(one, 5) == [False, False, True, False, False]
    assert ask_from_afar(one, 20).count(True) == 1, "and not more often than it may"
    assert one.counters.announcements == 2


def test_who_is_asked_for_from_close_by_or_now_and_then_does_not():
    one = One("a", "b")
    assert not any(ask_from_afar(one, 10, hops=3))
    for _ in range(10):
        one.now += PARAMETERS.announce_within / 2
        assert ask_from_afar(one, 1) == [False]


def test_an_announcement_is_passed_on_once_and_lets_go_what_waits():
    one = One("a", "b", "c")
    one.asks("far")
    effects = one.route("a", ANNOUNCE, "far", "far", number=5, hops=3)
    assert forwards(effects) == [("a", "far")]
    assert [node for node, kind in told(effects) if kind == ANNOUNCE] == ["b", "c"]
    assert one.route("b", ANNOUNCE, "far", "far", number=5, hops=3) == []


def test_a_node_that_is_late_itself_gives_a_ring_more_time_to_answer():
    """Else the answer of each ring comes when the next one, and at last everybody, has been asked."""
    waits = []
    for late in (0.0, 0.2):
        one = One("a", "b")
        one.machine.late = late
        (timer,) = (effect for effect in one.step(Send("x", (b"body",))) if type(effect) is SetTimer)
        waits.append(timer.seconds)
    assert waits[0] < 0.1
    assert 0.8 <= waits[1] <= 1.2


# Members that are suspected, or gone


def test_one_that_is_suspected_is_not_looked_up():
    one = One("a", "b")
    one.step(Suspected("x"))
    assert one.asks() == []
    for _ in range(5):
        one.now += 1.0
        assert told(one.step(TimerFired("x"))) == []
    assert one.machine.waiting_bytes == len(b"body")


def test_a_look_up_under_way_does_not_go_farther_once_it_is_suspected():
    one = One("a", "b")
    assert len(one.asks()) == 2
    one.step(Suspected("x"))
    one.now += 1.0
    assert told(one.step(TimerFired("x"))) == []


def test_what_waits_for_one_that_is_suspected_goes_by_the_way_that_its_refutation_came():
    one = One("a", "b")
    one.step(Suspected("x"))
    one.asks()
    (timer,) = one.step(Trusted("x"))
    assert timer == SetTimer("x", PARAMETERS.shortest_wait)
    assert forwards(one.step(Learned("x", "b"))) == [("b", "x")]


def test_or_is_looked_up_when_that_came_by_no_way_of_use():
    one = One("a", "b")
    one.step(Suspected("x"))
    one.asks()
    one.step(Trusted("x"))
    one.now += PARAMETERS.shortest_wait
    assert told(one.step(TimerFired("x"))) == [("a", LOOK_UP), ("b", LOOK_UP)]


def test_what_is_relayed_to_one_that_is_suspected_goes_back_at_once():
    one = One("a", "b")
    one.step(Suspected("x"))
    assert told(one.relay("a", "x", "far")) == [("a", NO_ROUTE)]
    assert one.counters.dropped == {"no way": 1}


def test_what_is_relayed_to_one_that_is_down_goes_back_until_it_is_a_member_again():
    one = One("a", "b")
    one.step(MemberDown("x"))
    assert told(one.relay("a", "x", "far")) == [("a", NO_ROUTE)]
    one.step(Trusted("x"))
    assert told(one.relay("a", "x", "far", number=2)) == [("a", LOOK_UP), ("b", LOOK_UP)]


def test_that_a_frame_to_one_that_is_down_was_lost_is_no_reason_to_look_for_a_way():
    one = One("a", "b")
    one.relay("a", "me", "x", hops=3)
    one.step(MemberDown("x"))
    assert one.route("a", NO_ROUTE, "me", "x") == []


def test_members_that_are_gone_are_forgotten_from_so_many_on():
    one = One("a", parameters=RoutingParameters(most_look_ups=2))
    for name in "xyz":
        one.step(MemberDown(name))
    assert [one.machine.distrusts(name) for name in "xyz"] == [False, True, True]


# Bad input


def test_messages_that_say_nothing_are_ignored():
    one = One("a", "b")
    assert one.route("a", 99, "x", "y") == [Ignored("a", "kind")]
    assert one.route("a", LOOK_UP, "x", "x") == [Ignored("a", "itself")]
    assert one.route("a", LOOK_UP, "me", "x") == []
    assert one.route("a", ANNOUNCE, "me", "me") == []
    assert one.route("a", ANSWER, "x", "me") == []
    assert one.counters.ignored == {"kind": 1, "itself": 1}
    assert one.machine.next_hop("me") is None


def test_an_answer_that_was_not_asked_for_is_learned_and_nothing_else():
    one = One("a")
    assert one.route("a", ANSWER, "me", "x", known=1) == []
    assert one.machine.next_hop("x") == "a"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hop_limit", 0),
        ("hop_limit", 256),
        ("rings", (4, 2)),
        ("rings", (0,)),
        ("repair_rings", 0),
        ("repair_rings", 4),
        ("most_floods", 0),
        ("hop_cost", 0.0),
        ("shortest_wait", 5.0),
        ("most_waiting", 0),
        ("wait", 0.0),
        ("first_pause", 100.0),
        ("most_routes", 0),
        ("fresh", 1000.0),
        ("announce_after", 0),
        ("announce_interval", 100.0),
        ("most_seen", 1),
    ],
)
def test_parameters_that_make_no_sense_are_named(field: str, value: object):
    with pytest.raises(ValueError, match=field):
        RoutingParameters(**{field: value})  # type: ignore[arg-type]
