"""The peer service of one node: what the view and the overlay are told, in which order, and the switch between two."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster import view_events as view_events
from partisan_actors.cluster.peer_service import (
    Connect,
    Disconnect,
    Gossip,
    JoinedThrough,
    Measure,
    Measured,
    OverlayReceived,
    OverlayRefused,
    PeerService,
    PeerServiceParameters,
    SendOverlay,
    Switch,
    Switched,
)
from partisan_actors.cluster.view_events import (
    LEAVE,
    REFUSED,
    Closed,
    Join,
    Leave,
    LinkDown,
    LinkUp,
    Met,
    NodeDown,
    NodeUp,
    Probe,
    Probed,
    Refused,
    SendView,
    Unreachable,
    ViewReceived,
)
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.topologies import overlay
from tests.cluster.test_membership import PAYLOADS, TERMS
from tests.cluster.view_terms import LEFT, hello, member, news, view


class Script:
    """An overlay that notes what it is told, and does what the test says: effects by event, class or payload."""

    def __init__(self, topology, node):
        self.name = topology.name
        self.node = node
        self.told = []
        self.answers = topology.answers
        self.hears = topology.hears

    def step(self, event, now, random):
        self.told.append(event)
        if type(event) is overlay.Message:  # its payload may have no hash
            return self.answers.get(event.payload, ()) if type(event.payload) in (str, int) else ()
        return self.answers.get(event, self.answers.get(type(event), ()))

    def neighbours(self):
        return []

    def gossip(self, linked):
        return [node for node in linked if self.hears is None or node in self.hears]


@dataclass(frozen=True)
class Scripted:
    """The topology of it; keeps those that it made."""

    name: str = "script"
    tag: str = ""
    answers: dict = field(default_factory=dict)
    hears: tuple | None = None
    made: list = field(default_factory=list)
    given: dict = field(default_factory=dict)

    def parameters(self):
        return self.given

    def overlay(self, node):
        self.made.append(Script(self, node))
        return self.made[-1]


class Subject:
    """The peer service of a@h, with an overlay of the test's."""

    def __init__(self, topology=None, others=(), own=None, **parameters):
        self.topology = topology if topology is not None else Scripted()
        self.others = {other.name: other for other in others}
        self.own = own if own is not None else member("a@h", bits=10, addresses=("h:1",))
        self.machine = PeerService(self.own, self.topology, self.find, PeerServiceParameters(**parameters))
        self.random = Random(1)
        self.now = 100.0

    def find(self, name, parameters):
        if name not in self.others:
            raise ValueError(f"there is no topology {name!r}")
        assert all(type(key) is str for key in parameters)
        return self.others[name]

    @property
    def overlay(self):
        return self.topology.made[-1]

    def told(self, topology=None):
        """What the overlay was told since the last time."""
        script = (topology or self.topology).made[-1]
        told, script.told = script.told, []
        return told

    def step(self, event):
        return self.machine.step(event, self.now, self.random)

    def link(self, record):
        return self.step(LinkUp(record.node, record.epoch, record.bits, record.addresses))

    def meet(self, *records):
        for record in records:
            self.link(record)
            self.get(record.node, hello(record))
        self.told()
        return self

    def get(self, node, payload):
        return self.step(ViewReceived(node, payload))

    def down(self, record):
        """It is lost, and found down."""
        self.step(LinkDown(record.node, record.bits, REFUSED))
        return self.fire(("view", ("suspicion", record.node)), 0.3)

    def fire(self, key, after=0.0):
        self.now += after
        return self.step(TimerFired(key))


def of(kind, effects):
    return [effect for effect in effects if isinstance(effect, kind)]


B, C, D = (member(f"{letter}@h", bits=20 + place, addresses=(f"h:{place}",)) for place, letter in enumerate("bcd"))
DIALS = {overlay.MemberUp("b@h"): (overlay.Connect("b@h"),)}


# What the overlay is told, and when


def test_a_member_is_told_before_its_link():
    subject = Subject()
    effects = subject.link(B)
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h")]
    assert NodeUp("b@h", 1, 20) in effects
    assert subject.machine.linked("b@h")
    assert subject.machine.links() == ["b@h"]


def test_what_an_overlay_sends_over_a_new_link_comes_after_the_view_has_spoken():
    subject = Subject(Scripted(answers={overlay.LinkUp: (overlay.Send("b@h", "hi"),)}))
    effects = subject.link(B)
    kinds = [type(effect) for effect in effects]
    assert kinds.index(SendView) < kinds.index(NodeUp) < kinds.index(SendOverlay)
    assert SendOverlay("b@h", (0, "hi")) in effects


def test_members_without_a_link_are_told_with_their_tags():
    subject = Subject().meet(B)
    subject.get("b@h", view(C._replace(tag="server")))
    assert subject.told() == [overlay.MemberUp("c@h", "server")]
    subject.get("b@h", news(C._replace(version=2, tag="client")))
    assert subject.told() == [overlay.MemberUp("c@h", "client")]


def test_what_a_link_ends_by_is_not_the_overlays_to_know():
    subject = Subject().meet(B, C)
    subject.step(LinkDown("b@h", 20, "silent"))
    assert subject.told() == [overlay.LinkDown("b@h")]
    subject.step(Closed("c@h", 21))
    assert subject.told() == [overlay.LinkDown("c@h")]
    assert subject.machine.links() == []


def test_one_that_is_down_is_told_once():
    subject = Subject().meet(B, C)
    effects = subject.down(B)
    assert of(NodeDown, effects) == [NodeDown("b@h", 20, REFUSED)]
    assert subject.told() == [overlay.LinkDown("b@h"), overlay.MemberDown("b@h")]


def test_the_link_of_a_former_life_ends_before_the_next_begins():
    subject = Subject().meet(B, C)
    again = B._replace(epoch=2, bits=99)
    subject.get("c@h", news(again))
    assert subject.told() == [overlay.LinkDown("b@h"), overlay.MemberDown("b@h"), overlay.MemberUp("b@h")]
    assert subject.step(Closed("b@h", 20)) == []
    subject.link(again)
    assert subject.told() == [overlay.LinkUp("b@h")]


def test_the_end_of_the_former_link_that_comes_late_is_not_that_of_the_next():
    subject = Subject().meet(B)
    subject.link(B._replace(epoch=2, bits=99))
    subject.told()
    assert subject.step(LinkDown("b@h", 20, "silent")) == []
    assert subject.told() == []
    assert subject.machine.linked("b@h")


def test_the_link_of_a_life_that_is_over_replaces_that_of_the_next():
    """The driver has one link to a name at most: if it has this one, the other has ended."""
    subject = Subject().meet(B._replace(epoch=2, bits=99))
    assert Disconnect("b@h") in subject.link(B)
    assert subject.told() == [overlay.LinkDown("b@h")]
    assert subject.machine.links() == subject.machine.view.table.links == []


def test_joined_comes_after_the_link():
    subject = Subject()
    subject.link(B)
    subject.step(JoinedThrough("b@h"))
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]


def test_also_where_it_is_said_before():
    subject = Subject()
    subject.step(JoinedThrough("b@h"))
    assert subject.told() == []
    subject.link(B)
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]
    subject.step(Closed("b@h", 20))
    subject.link(B)
    assert subject.told() == [overlay.LinkDown("b@h"), overlay.LinkUp("b@h")]


def test_a_link_to_one_that_is_down_is_told_when_it_is_up():
    """And then it is that of another part of the cluster, which this one joins."""
    subject = Subject().meet(B, C)
    subject.down(B)
    subject.told()
    subject.link(B)
    assert subject.told() == []
    subject.step(OverlayReceived("b@h", (0, "first")))
    subject.step(OverlayReceived("b@h", (0, "second")))
    assert subject.told() == []
    subject.get("b@h", news(B._replace(version=2)))
    assert subject.told() == [
        overlay.MemberUp("b@h"),
        overlay.LinkUp("b@h"),
        overlay.Joined("b@h"),
        overlay.Message("b@h", "first"),
        overlay.Message("b@h", "second"),
    ]
    assert subject.machine.refused == {}


def test_a_link_that_ends_before_that_is_never_told():
    subject = Subject().meet(B, C)
    subject.down(B)
    subject.told()
    subject.link(B)
    subject.step(OverlayReceived("b@h", (0, "lost")))
    subject.step(Closed("b@h", 20))
    assert subject.told() == []
    subject.link(B)
    subject.get("b@h", news(B._replace(version=2)))
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]


def test_a_later_life_of_one_that_was_down_and_answers_joins_the_two_parts():
    """It is a member as soon as it has proved itself, which is before the link."""
    subject = Subject().meet(B, C)
    subject.down(B)
    assert Connect("b@h", B.addresses) in subject.step(Probed("b@h", 99))
    subject.told()
    subject.step(Met("b@h", 2, 99, B.addresses))
    subject.link(B._replace(epoch=2, bits=99))
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]


def test_one_that_comes_back_by_itself_is_not_joined():
    subject = Subject().meet(B, C)
    subject.down(B)
    subject.told()
    subject.step(Met("b@h", 2, 99, B.addresses))
    subject.link(B._replace(epoch=2, bits=99))
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h")]


def test_a_contact_that_comes_to_nothing_is_no_join_later():
    subject = Subject().meet(B, C)
    subject.down(B)
    subject.step(Probed("b@h", 99))
    subject.told()
    subject.step(Met("b@h", 2, 99, B.addresses))
    assert Disconnect("b@h") in subject.fire(("unwanted", "b@h"), 10.0)
    subject.link(B._replace(epoch=2, bits=99))
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h")]


def test_what_is_kept_of_one_that_is_no_member_is_bounded():
    subject = Subject().meet(B, C)
    subject.down(B)
    subject.link(B)
    for number in range(100):
        subject.step(OverlayReceived("b@h", (0, number)))
    assert subject.machine.refused == {"of a stranger": 36}


def test_find_members_is_answered_at_once():
    answers = {overlay.TimerFired("look"): (overlay.FindMembers(2),)}
    subject = Subject(Scripted(answers=answers)).meet(B)
    subject.get("b@h", view(C, D))
    subject.told()
    subject.fire(("overlay", (0, "look")))
    timer, found = subject.told()
    assert timer == overlay.TimerFired("look")
    assert len(set(found.nodes)) == 2
    assert set(found.nodes) <= {"b@h", "c@h", "d@h"}


def test_timers_are_each_ones_own():
    answers = {overlay.MemberUp: (overlay.SetTimer("round", 3.0), overlay.CancelTimer(("x", 1)))}
    subject = Subject(Scripted(answers=answers))
    effects = subject.link(B)
    assert SetTimer(("overlay", (0, "round")), 3.0) in effects
    assert CancelTimer(("overlay", (0, ("x", 1)))) in effects
    assert [effect.key for effect in of(SetTimer, effects) if effect.key[0] == "view"] == [("view", ("round", ""))]
    subject.told()
    subject.fire(("overlay", (0, "round")))
    assert subject.told() == [overlay.TimerFired("round")]
    assert of(SendView, subject.fire(("view", ("round", ""))))
    assert subject.told() == []
    assert subject.fire(("overlay", (7, "round"))) == []


@pytest.mark.parametrize(
    "key", ["x", ("x", 1), ("overlay", 5), ("overlay", ("a", 1)), ("unwanted", 5), ("switch", "1"), ()]
)
def test_timers_of_nobody(key):
    assert Subject().meet(B).fire(key) == []


def test_measurements():
    answers = {overlay.TimerFired(1): (overlay.Measure("b@h"), overlay.Measure("z@h"))}
    subject = Subject(Scripted(answers=answers)).meet(B)
    assert subject.fire(("overlay", (0, 1))) == [Measure("b@h", B.addresses), Measure("z@h", ())]
    subject.told()
    subject.step(Measured("b@h", 0.5))
    assert subject.told() == [overlay.Measured("b@h", 0.5)]


# What the overlay wants


def test_a_newcomer_dials_at_once_all_that_it_is_to_have_links_to():
    subject = Subject(Scripted(answers=DIALS), newcomer_for=1.0)
    subject.link(C)
    subject.step(JoinedThrough("c@h"))
    subject.now += 0.9
    assert Connect("b@h", B.addresses) in subject.get("c@h", view(B))
    assert subject.machine.wanted() == ["b@h"]


def test_others_leave_a_newcomer_time_to_dial():
    subject = Subject(Scripted(answers=DIALS), connect_delay_min=0.1, connect_delay_max=0.3).meet(C)
    effects = subject.get("c@h", news(B))
    assert of(Connect, effects) == []
    ((key, seconds),) = [effect for effect in of(SetTimer, effects) if effect.key[0] == "fresh"]
    assert key == ("fresh", "b@h")
    assert 0.1 <= seconds <= 0.3
    assert of(Connect, subject.get("c@h", news(B._replace(version=2, addresses=("h:9",))))) == []
    assert subject.fire(key, seconds) == [Connect("b@h", ("h:9",))]
    assert subject.fire(key, seconds) == [Connect("b@h", ("h:9",))]


def test_one_that_dials_in_time_is_not_dialled():
    subject = Subject(Scripted(answers=DIALS)).meet(C)
    subject.get("c@h", news(B))
    assert CancelTimer(("fresh", "b@h")) in subject.link(B)
    assert of(Connect, subject.fire(("fresh", "b@h"), 0.3)) == []


@pytest.mark.parametrize("end", ["down", "not wanted"])
def test_nor_is_one_that_is_down_or_not_wanted_by_then(end):
    answers = {**DIALS, overlay.TimerFired(1): (overlay.Disconnect("b@h"),)}
    subject = Subject(Scripted(answers=answers)).meet(C)
    subject.get("c@h", news(B))
    if end == "down":
        subject.get("c@h", news(B._replace(status=LEFT)))
    else:
        subject.fire(("overlay", (0, 1)))
    assert subject.fire(("fresh", "b@h"), 0.3) == []


def test_of_members_that_no_overlay_wants_there_is_nothing_to_wait_for():
    """In a large cluster, those are nearly all: a timer for each would be n timers at each of n nodes."""
    subject = Subject().meet(C)
    assert [effect.key for effect in of(SetTimer, subject.get("c@h", news(B))) if effect.key[0] == "fresh"] == []


def test_a_link_to_a_member_is_asked_for_where_it_can_be_dialled():
    subject = Subject(Scripted(answers=DIALS), connect_delay_min=0.0).meet(C)
    subject.get("c@h", news(B))
    assert subject.fire(("fresh", "b@h"), 0.3) == [Connect("b@h", B.addresses)]
    assert subject.machine.undecided() == ["b@h"]
    assert subject.machine.neighbours() == []
    other = Subject(Scripted(answers=DIALS)).meet(C)
    other.get("c@h", news(B._replace(dialable=False)))
    assert other.fire(("fresh", "b@h"), 0.3) == [Connect("b@h", ())]


def test_a_name_that_is_no_member_is_dialled_when_it_is_one():
    answers = {overlay.TimerFired(1): (overlay.Connect("b@h"),)}
    subject = Subject(Scripted(answers=answers)).meet(C)
    assert subject.fire(("overlay", (0, 1))) == []
    assert subject.machine.wanted() == ["b@h"]
    effects = subject.get("c@h", news(B))
    assert of(Connect, effects) == [Connect("b@h", B.addresses)]
    assert of(Connect, subject.get("c@h", news(B._replace(version=2)))) == []
    assert of(Connect, subject.get("c@h", news(B._replace(version=3, addresses=("h:9",))))) == [
        Connect("b@h", ("h:9",))
    ]


def test_a_link_to_oneself_is_not():
    subject = Subject(Scripted(answers={overlay.TimerFired(1): (overlay.Connect("a@h"),)})).meet(B)
    assert subject.fire(("overlay", (0, 1))) == []
    assert subject.machine.wanted() == []


def test_unreachable_is_told_to_who_wants_the_link():
    subject = Subject(Scripted(answers=DIALS)).meet(C)
    subject.get("c@h", news(B, D))
    subject.told()
    subject.step(Unreachable("d@h", "timeout"))
    assert subject.told() == []
    subject.step(Unreachable("b@h", "timeout"))
    assert subject.told() == [overlay.Unreachable("b@h")]
    assert subject.machine.undecided() == []


def test_what_is_sent_without_a_link_is_dropped():
    answers = {overlay.TimerFired(1): (overlay.Send("b@h", 1), overlay.Send("c@h", 2))}
    subject = Subject(Scripted(answers=answers)).meet(B)
    assert subject.fire(("overlay", (0, 1))) == [SendOverlay("b@h", (0, 1))]


def test_effects_keep_their_order():
    answers = {overlay.TimerFired(1): (overlay.Send("b@h", "bye"), overlay.Disconnect("b@h"), overlay.Connect("c@h"))}
    subject = Subject(Scripted(answers=answers)).meet(B, C)
    subject.fire(("view", ("news", "")), 1.0)
    assert subject.fire(("overlay", (0, 1))) == [
        SendOverlay("b@h", (0, "bye")),
        Disconnect("b@h"),
        Connect("c@h", C.addresses),
    ]


def test_a_record_is_told_before_what_an_overlay_says_of_its_member():
    """Not a moment later with other news: there may be no link any more over which it could come."""
    subject = Subject(Scripted(answers={overlay.TimerFired(1): (overlay.Send("b@h", "d@h"),)})).meet(B, C, D)
    *told, last = subject.fire(("overlay", (0, 1)))
    assert told == [SendView(("b@h",), news(C, D))]
    assert last == SendOverlay("b@h", (0, "d@h"))
    # Once: what waits for everybody leaves it out.
    assert subject.fire(("overlay", (0, 1))) == [last]
    later = of(SendView, subject.fire(("view", ("news", "")), 1.0))
    assert [effect for effect in later if effect.nodes == ("b@h",)] == []


def test_who_hears_of_everything_is_said_when_it_changes():
    subject = Subject(Scripted(hears=("b@h", "d@h")))
    assert of(Gossip, subject.link(B)) == [Gossip(("b@h",))]
    assert of(Gossip, subject.link(C)) == []
    assert of(Gossip, subject.link(D)) == [Gossip(("b@h", "d@h"))]
    assert of(Gossip, subject.step(Closed("b@h", 20))) == [Gossip(("d@h",))]
    told = [effect.nodes for effect in of(SendView, subject.get("c@h", news(member("e@h"))))]
    told += [effect.nodes for effect in of(SendView, subject.fire(("view", ("news", "")), 1.0))]
    assert told == [("d@h",)]


# Links that nobody wants


def test_a_link_that_this_side_does_not_want_is_asked_about():
    subject = Subject(unwanted_after=10.0)
    assert SetTimer(("unwanted", "b@h"), 10.0) in subject.link(B)
    assert subject.fire(("unwanted", "b@h"), 10.0) == [SendView(("b@h",), ("unwanted",))]


@pytest.mark.parametrize("first", [True, False])
def test_who_has_lost_all_that_it_wants_joins_anew_by_a_link_that_it_has(first):
    """Rather than to end it: the member at its other end had found it suspected, and saw that it lives."""
    subject = Subject(Scripted(answers={**DIALS, overlay.Joined: (overlay.Connect("c@h"),)}))
    subject.meet(B)
    subject.get("b@h", view(C))
    subject.link(C)
    subject.step(LinkDown("b@h", 20, "silent"))
    subject.told()
    effects = subject.fire(("unwanted", "c@h"), 10.0) if first else subject.get("c@h", ("unwanted",))
    assert [type(event) for event in subject.told()] == [overlay.Joined]
    assert Connect("c@h", C.addresses) in effects
    assert of(Disconnect, effects) == []


def test_a_member_that_no_way_leads_to_and_that_answers_joins_the_two_parts():
    subject = Subject().meet(B)
    subject.get("b@h", view(C))
    assert of((Probe, SendView), subject.step(Unreachable("c@h", "no way"))) == [Probe("c@h", C.addresses)]
    assert Connect("c@h", C.addresses) in subject.step(Probed("c@h", C.bits))
    subject.told()
    subject.link(C)
    assert [type(event) for event in subject.told()] == [overlay.LinkUp, overlay.Joined]


def differs(subject):
    """C answers, and knows of another member."""
    subject.fire(("view", ("round", "")), 10.0)
    return subject.step(Probed("c@h", C.bits, digest=subject.machine.view.table.records.root ^ 1))


def test_a_link_to_compare_what_two_know_is_asked_about_soon_and_has_no_second_timer():
    subject = Subject(unwanted_after=10.0, compared_within=2.0).meet(B)
    subject.get("b@h", view(C))
    effects = differs(subject)
    assert Connect("c@h", C.addresses) in effects and SetTimer(("unwanted", "c@h"), 2.0) in effects
    assert ("unwanted", "c@h") not in [effect.key for effect in of(SetTimer, subject.link(C))]
    assert subject.fire(("unwanted", "c@h"), 2.0) == [SendView(("c@h",), ("unwanted",))]


def test_one_that_is_needed_for_something_else_stays_for_as_long_as_that():
    subject = Subject(unwanted_after=10.0, compared_within=2.0).meet(B)
    subject.get("b@h", view(C))
    subject.step(Unreachable("c@h", "no way"))
    subject.step(Probed("c@h", C.bits))
    assert SetTimer(("unwanted", "c@h"), 10.0) in differs(subject)


def test_one_that_does_not_answer_is_suspected():
    subject = Subject().meet(B)
    subject.get("b@h", view(C))
    subject.step(Unreachable("c@h", "no way"))
    effects = subject.step(Probed("c@h", None, "timeout"))
    assert ("view", ("suspicion", "c@h")) in [effect.key for effect in of(SetTimer, effects)]


def test_one_that_it_wants_is_not():
    subject = Subject(Scripted(answers=DIALS))
    assert ("unwanted", "b@h") not in [effect.key for effect in of(SetTimer, subject.link(B))]
    assert subject.fire(("unwanted", "b@h"), 10.0) == []


def test_the_other_side_closes_it_if_it_does_not_want_it_either():
    assert Subject().meet(B).get("b@h", ("unwanted",)) == [Disconnect("b@h")]
    wants = Subject(Scripted(answers=DIALS)).meet(B)
    assert wants.get("b@h", ("unwanted",)) == []
    assert wants.machine.linked("b@h")


def test_a_contact_of_the_view_is_given_up_in_the_end():
    subject = Subject(unwanted_after=10.0).meet(B, C)
    subject.down(B)
    assert of(Connect, subject.step(Probed("b@h", 20))) == [Connect("b@h", B.addresses)]
    assert subject.fire(("unwanted", "b@h"), 10.0) == [Disconnect("b@h")]


def test_a_link_that_was_asked_for_and_is_not_wanted_is_not_dialled_again_when_it_is_closed():
    """The driver dials again what it was asked for: the link would come back each time that it is closed."""
    subject = Subject().meet(B, C)
    subject.down(B)
    subject.step(Probed("b@h", 20))
    subject.link(B)
    subject.get("b@h", news(B._replace(version=2)))
    assert Disconnect("b@h") in subject.step(Closed("b@h", 20))
    subject.link(B)
    assert Disconnect("b@h") not in subject.step(Closed("b@h", 20))


def test_a_link_that_the_view_wants_ended_ends():
    subject = Subject().meet(B, C)
    effects = subject.get("b@h", news(B._replace(status=LEFT)))
    assert Disconnect("b@h") in effects
    assert subject.told() == [overlay.LinkDown("b@h"), overlay.MemberDown("b@h")]
    assert subject.machine.links() == ["c@h"]
    assert subject.step(LinkDown("b@h", 20, LEAVE)) == []


# Leaving


def test_the_overlay_has_the_last_word():
    subject = Subject(Scripted(answers={overlay.Leave: (overlay.Send("b@h", "bye"),)})).meet(B, C)
    effects = subject.step(Leave())
    assert of(SendOverlay, effects) == [SendOverlay("b@h", (0, "bye"))]
    assert of(NodeDown, effects) == [NodeDown("b@h", 20, LEAVE), NodeDown("c@h", 21, LEAVE)]
    assert of(Disconnect, effects) == [Disconnect("b@h"), Disconnect("c@h")]
    assert subject.told() == [
        overlay.Leave(),
        overlay.MemberDown("b@h"),
        overlay.LinkDown("b@h"),
        overlay.MemberDown("c@h"),
        overlay.LinkDown("c@h"),
    ]
    assert subject.machine.links() == []
    assert subject.step(Leave()) == []
    assert subject.told() == []


def test_one_that_has_not_heard_is_sent_away():
    subject = Subject().meet(B)
    subject.step(Leave())
    subject.told()
    effects = subject.link(B)
    assert [type(effect) for effect in effects] == [SendView, Disconnect, Gossip, Gossip][: len(effects)]
    assert subject.told() == []
    assert not subject.machine.linked("b@h")


def test_joining_again():
    subject = Subject().meet(B)
    subject.step(Leave())
    subject.step(Join())
    subject.told()
    subject.link(B)
    subject.step(JoinedThrough("b@h"))
    assert subject.told() == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]


# The switch

WANTS = {overlay.MemberUp(f"{letter}@h"): (overlay.Connect(f"{letter}@h"),) for letter in "bcd"}


def switching(**parameters):
    """One with two neighbours, each wanted by the first overlay, and another topology, which wants c@h."""
    new = Scripted("new", "t", answers={overlay.MemberUp("c@h"): (overlay.Connect("c@h"),)}, given={"size": 5})
    subject = Subject(Scripted(answers=WANTS), [new], **parameters).meet(B, C)
    return subject, new


def on(record, version, topology):
    return record._replace(version=version, topology=topology)


FACT = ("topology", 1, "a@h", "new", {"size": 5})


def test_the_switch_is_told_before_anything_of_the_new_overlay():
    subject, new = switching()
    new.answers[overlay.LinkUp("b@h")] = (overlay.Send("b@h", "hi"),)
    effects = subject.step(Switch(new))
    assert effects[0] == Switched("new", 1)
    facts = [effects.index(SendView((node,), FACT)) for node in ("b@h", "c@h")]
    assert max(facts) < effects.index(SendOverlay("b@h", (1, "hi")))
    assert SetTimer(("switch", 1), 30.0) in effects
    assert subject.machine.topology == ("new", 1)
    assert new.made[-1].node == "a@h"
    assert subject.told(new) == [
        overlay.MemberUp("b@h"),
        overlay.MemberUp("c@h"),
        overlay.LinkUp("b@h"),
        overlay.LinkUp("c@h"),
    ]
    assert subject.machine.view.table.records.own[-2:] == ("t", 1)


def test_on_the_way_a_node_keeps_the_neighbours_of_both():
    subject, new = switching()
    subject.step(Switch(new))
    assert subject.machine.wanted() == ["b@h", "c@h"]
    subject.told()
    subject.told(new)
    subject.step(OverlayReceived("b@h", (0, "old")))
    subject.step(OverlayReceived("b@h", (1, "new")))
    subject.step(OverlayReceived("b@h", (2, "newer")))
    assert subject.told() == [overlay.Message("b@h", "old")]
    assert subject.told(new) == [overlay.Message("b@h", "new")]
    assert subject.machine.refused == {"of another overlay": 1}
    subject.step(Closed("b@h", 20))
    assert subject.told() == subject.told(new) == [overlay.LinkDown("b@h")]


def test_who_hears_of_everything_are_those_of_both():
    new = Scripted("new", hears=("b@h",))
    subject = Subject(Scripted(hears=("c@h",)), [new]).meet(B, C)
    assert of(Gossip, subject.step(Switch(new))) == [Gossip(("b@h", "c@h"))]
    assert of(Gossip, subject.fire(("switch", 1), 30.0)) == [Gossip(("b@h",))]


def test_it_is_over_when_all_live_members_say_so():
    subject, new = switching()
    subject.step(Switch(new))
    subject.get("b@h", news(on(B, 2, 1)))
    assert subject.machine.wanted() == ["b@h", "c@h"]
    effects = subject.get("c@h", news(on(C, 2, 1)))
    assert CancelTimer(("switch", 1)) in effects
    assert subject.machine.wanted() == ["c@h"]
    # The other side may want it still.
    assert SendView(("b@h",), ("unwanted",)) in effects
    assert of(Disconnect, effects) == []
    subject.step(OverlayReceived("b@h", (0, "late")))
    assert subject.machine.refused == {"of another overlay": 1}
    # It was asked for, and is not to be dialled again when it is closed.
    assert Disconnect("b@h") in subject.step(Closed("b@h", 20))


def test_those_that_are_down_are_not_waited_for():
    subject, new = switching()
    subject.step(Switch(new))
    subject.get("c@h", news(on(C, 2, 1)))
    effects = subject.down(B)
    assert CancelTimer(("switch", 1)) in effects
    assert subject.machine.wanted() == ["c@h"]


def test_it_is_over_in_the_end():
    subject, new = switching(switch_within=30.0)
    subject.step(Switch(new))
    effects = subject.fire(("switch", 1), 30.0)
    assert SendView(("b@h",), ("unwanted",)) in effects
    assert subject.machine.wanted() == ["c@h"]
    assert subject.fire(("overlay", (0, "x"))) == []


def test_the_timer_of_a_switch_before_ends_no_other():
    subject, new = switching()
    subject.step(Switch(new))
    subject.step(Switch(new))
    assert subject.machine.topology == ("new", 2)
    subject.fire(("switch", 1))
    assert subject.machine._former is not None
    subject.fire(("switch", 2))
    assert subject.machine._former is None


def test_a_wanted_neighbour_that_was_not_reached_is_let_go_of():
    subject, new = switching()
    subject.get("b@h", news(D))
    subject.fire(("fresh", "d@h"), 0.3)
    subject.step(Switch(new))
    assert Disconnect("d@h") in subject.fire(("switch", 1), 30.0)


def test_alone_it_is_over_at_once():
    new = Scripted("new")
    subject = Subject(Scripted(), [new])
    subject.step(Switch(new))
    assert subject.machine.topology == ("new", 1)
    assert subject.machine._former is None


def test_who_hears_of_it_follows():
    subject, new = switching()
    effects = subject.get("b@h", FACT)
    assert Switched("new", 1) in effects
    assert SendView(("c@h",), FACT) in effects
    assert subject.told(new)[-1] == overlay.Joined("b@h")
    assert subject.get("c@h", FACT) == []


def test_a_joiner_takes_over_the_topology_of_the_cluster():
    new = Scripted("new", "t")
    fresh = Subject(Scripted(), [new])
    fresh.link(B)
    fresh.step(JoinedThrough("b@h"))
    fresh.get("b@h", FACT)
    assert fresh.machine.topology == ("new", 1)
    assert fresh.told(new) == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]
    assert fresh.machine.view.table.records.own[-2:] == ("t", 1)


@pytest.mark.parametrize(("given", "kept"), [("", "mine"), ("other", "other")])
def test_d27_the_own_tag_lasts_over_a_switch(given, kept):
    """What others send makes a topology for all nodes. Without its tag nobody would get a slot reserved for it."""
    plain, new = Scripted("plain"), Scripted("new", given)
    subject = Subject(Scripted(tag="mine"), [plain, new]).meet(B)
    subject.get("b@h", ("topology", 1, "b@h", "plain", {}))
    assert subject.machine.view.table.records.own[-2:] == ("mine", 1)
    subject.get("b@h", ("topology", 2, "b@h", "new", {}))
    assert subject.machine.view.table.records.own[-2:] == (kept, 2)


def test_a_new_link_is_told_of_it_first():
    answers = {overlay.LinkUp("d@h"): (overlay.Send("d@h", "hi"),)}
    new = Scripted("new", answers=answers)
    subject = Subject(Scripted(), [new]).meet(B)
    subject.step(Switch(new))
    effects = subject.link(D)
    fact = SendView(("d@h",), ("topology", 1, "a@h", "new", {}))
    assert effects.count(fact) == 1
    assert effects.index(fact) < effects.index(SendOverlay("d@h", (1, "hi")))
    assert SendView(("d@h",), ("topology", 0, "", "script", {})) not in Subject().link(D)


def test_a_member_that_says_it_runs_an_older_one_is_told():
    new = Scripted("new")
    subject = Subject(Scripted(), [new]).meet(B)
    subject.step(Switch(new))
    fact = SendView(("b@h",), ("topology", 1, "a@h", "new", {}))
    assert fact in subject.get("b@h", news(on(B, 2, 0)))
    assert fact not in subject.get("b@h", news(on(B, 3, 1)))


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        (("topology", 2, "b@h", "x", {}), ("topology", 1, "z@h", "y", {}), "x"),
        (("topology", 1, "b@h", "x", {}), ("topology", 2, "a@h", "y", {}), "y"),
        (("topology", 1, "b@h", "x", {}), ("topology", 1, "c@h", "y", {}), "y"),
        (("topology", 1, "c@h", "x", {}), ("topology", 1, "b@h", "y", {}), "x"),
        (("topology", 1, "c@h", "x", {}), ("topology", 1, "c@h", "y", {}), "x"),
    ],
)
def test_where_two_meet_the_higher_one_wins(first, second, wins):
    """After a partition in which both sides switched, say."""
    subject = Subject(Scripted(), [Scripted("x"), Scripted("y")]).meet(B, C)
    subject.get("b@h", first)
    subject.get("c@h", second)
    assert subject.machine.topology[0] == wins


def test_leave_and_join_in_the_middle():
    subject, new = switching()
    subject.step(Switch(new))
    subject.step(Leave())
    assert subject.machine._former is None
    subject.step(Join())
    subject.told(new)
    subject.link(B)
    subject.step(JoinedThrough("b@h"))
    assert subject.told(new) == [overlay.MemberUp("b@h"), overlay.LinkUp("b@h"), overlay.Joined("b@h")]
    assert subject.machine.topology == ("new", 1)


# Bad input


@pytest.mark.parametrize(
    "payload",
    [
        ("topology", 1, "a@h", "unknown", {}),
        ("topology", 1, "a@h", "", {}),
    ],
)
def test_a_topology_that_nobody_knows_is_refused(payload):
    subject = Subject().meet(B)
    effects = subject.get("b@h", payload)
    assert [type(effect) for effect in effects] == [Refused]
    assert subject.machine.refused == {"unknown topology": 1}
    assert subject.machine.topology == ("script", 0)


@pytest.mark.parametrize(
    "payload",
    [
        ("topology", 1 << 63, "a@h", "new", {}),
        ("topology", -1, "a@h", "new", {}),
        ("topology", 0, "z@h", "new", {}),
        ("topology", 1.0, "z@h", "new", {}),
        ("topology", 1, "a@h", "x" * 300, {}),
        ("topology", True, "z@h", "new", {}),
        ("topology", 1, "x" * 300, "new", {}),
        ("topology", 1, "", "new", {}),
        ("topology", 1, "a\nb", "new", {}),
        ("topology", 1, 5, "new", {}),
        ("topology", 1, "a@h", None, {}),
        ("topology", 1, "a@h", "new", None),
        ("topology", 1, "a@h", "new", {1: 2}),
        ("topology", 1, "a@h", "new"),
        ("topology",),
        ("unwanted", 1),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_fact_changes_nothing_and_is_counted(payload):
    subject, _ = switching()
    effects = subject.get("b@h", payload)
    assert [type(effect) for effect in effects] == [Refused]
    assert subject.machine.topology == ("script", 0)


def test_a_fact_of_a_stranger_is_none():
    subject, _ = switching()
    subject.get("z@h", FACT)
    subject.step(Closed("b@h", 20))
    subject.get("b@h", FACT)
    assert subject.machine.topology == ("script", 0)


@pytest.mark.parametrize(
    ("node", "payload", "reason"),
    [
        ("b@h", (5, "x"), "of another overlay"),
        ("b@h", (-1, "x"), "of another overlay"),
        ("b@h", (True, "x"), "malformed"),
        ("z@h", (0, "x"), "of a stranger"),
        ("c@h", (0, "x"), "of a stranger"),
        ("b@h", "x", "malformed"),
        ("b@h", (), "malformed"),
        ("b@h", (0,), "malformed"),
        ("b@h", ("0", "x"), "malformed"),
        ("b@h", [0, "x"], "malformed"),
        ("b@h", (0, "x", 1), "malformed"),
    ],
    ids=repr,
)
def test_overlay_messages_that_are_refused(node, payload, reason):
    subject = Subject().meet(B)
    subject.get("b@h", view(C))
    subject.told()
    late = reason == "of a stranger" or payload == (-1, "x")
    assert subject.step(OverlayReceived(node, payload)) == [OverlayRefused(node, reason, late)]
    assert subject.told() == []
    assert subject.machine.refused == {reason: 1}


def test_what_an_overlay_refuses_is_counted_and_told_with_its_name():
    answers = {
        "x": (overlay.Refuse("b@h", "shape"),),
        "y": (overlay.Refuse("b@h", "stale", late=True),),
    }
    subject = Subject(Scripted(answers=answers)).meet(B)
    assert subject.step(OverlayReceived("b@h", (0, "x"))) == [OverlayRefused("b@h", "script: shape", False)]
    assert subject.step(OverlayReceived("b@h", (0, "y"))) == [OverlayRefused("b@h", "script: stale", True)]
    assert subject.machine.refused == {"script: shape": 1, "script: stale": 1}


def test_an_overlay_that_makes_up_reasons_fills_nothing():
    answers = {number: (overlay.Refuse("b@h", f"no {number}"),) for number in range(100)}
    subject = Subject(Scripted(answers=answers)).meet(B)
    for number in range(100):
        subject.step(OverlayReceived("b@h", (0, number)))
    assert len(subject.machine.refused) == 65 and subject.machine.refused["others"] == 36


def test_a_message_of_an_earlier_life_is_of_a_stranger():
    subject = Subject().meet(B, C)
    subject.get("c@h", news(B._replace(epoch=2, bits=99)))
    subject.told()
    subject.step(OverlayReceived("b@h", (0, "x")))
    assert subject.told() == []
    assert subject.machine.refused == {"of a stranger": 1}


def test_delays_that_make_no_sense():
    with pytest.raises(ValueError, match="connect_delay_min"):
        PeerServiceParameters(connect_delay_min=0.5, connect_delay_max=0.3)


@pytest.mark.parametrize("name", ["switch_within", "unwanted_after", "compared_within", "newcomer_for"])
def test_parameters_that_make_no_sense(name):
    with pytest.raises(ValueError, match=name):
        PeerServiceParameters(**{name: 0.0})


NAMES = st.sampled_from(["b@h", "c@h", "z@h"])
FACTS = st.tuples(
    st.just("topology"),
    st.integers(-1, 3) | TERMS,
    st.sampled_from(["a@h", "z@h"]) | TERMS,
    st.sampled_from(["new", "x"]) | TERMS,
    st.just({}) | TERMS,
)
HAPPENINGS = (
    st.builds(ViewReceived, NAMES, PAYLOADS | FACTS | st.just(("unwanted",)))
    | st.builds(OverlayReceived, NAMES, st.tuples(st.integers(-1, 2), TERMS) | TERMS)
    | st.sampled_from([LinkUp("b@h", 1, 20, ("h:1",)), LinkUp("b@h", 2, 2, ()), LinkUp("c@h", 1, 21, ("h:1",))])
    | st.sampled_from([Met("b@h", 2, 2, ()), Met("c@h", 1, 21, ("h:1",))])
    | st.builds(LinkDown, NAMES, st.sampled_from([2, 20, 21]), st.sampled_from(["silent", REFUSED, LEAVE]))
    | st.builds(Closed, NAMES, st.sampled_from([2, 20, 21]))
    | st.builds(Unreachable, NAMES, st.sampled_from(["timeout", REFUSED]))
    | st.builds(Probed, NAMES, st.sampled_from([None, 2, 20, 21]))
    | st.builds(JoinedThrough, NAMES)
    | st.builds(Measured, NAMES, st.just(0.1))
    | st.builds(
        TimerFired,
        st.sampled_from(
            [
                ("view", ("suspicion", "b@h")),
                ("view", ("rejoin", "")),
                ("unwanted", "b@h"),
                ("fresh", "c@h"),
                ("switch", 1),
            ]
        ),
    )
    | st.sampled_from([Leave(), Join(), "switch"])
)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 100.0]), HAPPENINGS), max_size=30))
def test_whatever_happens_the_overlay_is_told_what_its_interface_says(happenings):
    new = Scripted("new", answers=WANTS)
    subject = Subject(Scripted(answers=WANTS), [new])
    for seconds, event in happenings:
        subject.now += seconds
        subject.step(Switch(new) if event == "switch" else event)
    for script in (*subject.topology.made, *new.made):
        check_contract(script.told)
    assert subject.machine.links() == subject.machine.view.table.links


def test_a_switch_tells_of_no_link_to_one_that_is_down():
    new = Scripted("new", answers=WANTS)
    subject = Subject(Scripted(answers=WANTS), [new])
    for event in (
        LinkUp("c@h", 1, 21, ("h:1",)),
        LinkDown("c@h", 21, "silent"),
        LinkUp("c@h", 1, 21, ("h:1",)),  # it is there, and has not taken back so far that it is down
        Switch(new),
    ):
        subject.step(event)
    for script in (*subject.topology.made, *new.made):
        check_contract(script.told)


def check_contract(told):
    members, links = set(), set()
    for event in told:
        match event:
            case overlay.MemberUp(node):
                members.add(node)
            case overlay.MemberDown(node):
                assert node in members
                members.discard(node)
            case overlay.LinkUp(node):
                assert node in members
                assert node not in links
                links.add(node)
            case overlay.LinkDown(node):
                links.remove(node)
            case overlay.Joined(node):
                assert node in links
            case overlay.Message(node):
                assert node in links
                assert node in members
