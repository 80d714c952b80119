"""One cluster view, step by step: each promise of its head, each branch. Whole clusters: test_cluster_views."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.cluster.membership import Membership, MembershipParameters
from partisan_actors.cluster.records import LEAVES, RecordLimits
from partisan_actors.cluster.suspicion import SuspicionParameters
from partisan_actors.cluster.view_events import (
    BUSY,
    LEAVE,
    NEWER_LIFE,
    REFUSED,
    Closed,
    Contact,
    Forget,
    Heard,
    Join,
    Leave,
    LinkDown,
    LinkUp,
    Met,
    Moved,
    NameConflict,
    NodeDown,
    NodeUp,
    Probe,
    Probed,
    Refused,
    SendView,
    Suspected,
    Synchronised,
    Trusted,
    Unreachable,
    ViewReceived,
    Written,
)
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from tests.cluster.view_terms import DOWN, LEFT, MALFORMED, MEMBERS, entry, hello, member, news, view, word

ROUND, REJOIN, NEWS = ("round", ""), ("rejoin", ""), ("news", "")
SILENT = "silent"


class Subject:
    """The view of a@h, with a clock. It passes on what is news at once, unless `news_delay` is given."""

    def __init__(self, gossip=None, own=None, **parameters):
        limits = RecordLimits(**parameters.pop("limits", {}))
        suspicion = SuspicionParameters(shortest=1.0, longest=5.0, refused=0.3)
        parameters = {"news_delay": 0.0, "suspicion": suspicion, **parameters}
        self.own = own if own is not None else member("a@h", bits=10, addresses=("h:1",))
        self.machine = Membership(self.own, MembershipParameters(limits=limits, **parameters), gossip)
        self.random = Random(1)
        self.now = 100.0

    @property
    def record(self):
        return self.machine.table.records.own

    def known(self, node):
        return self.machine.table.records.get(node)

    def members(self):
        return self.machine.table.members()

    def step(self, event):
        return self.machine.step(event, self.now, self.random)

    def link(self, record):
        return self.step(LinkUp(record.node, record.epoch, record.bits, record.addresses))

    def meet(self, *records):
        """A link to each of these."""
        for record in records:
            self.link(record)
            self.get(record.node, hello(record))
        return self

    def get(self, node, payload):
        return self.step(ViewReceived(node, payload))

    def lose(self, record, reason=SILENT):
        return self.step(LinkDown(record.node, record.bits, reason))

    def fire(self, key, after=0.0):
        self.now += after
        return self.step(TimerFired(key))


def of(kind, effects):
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects):
    return [(node, effect.payload) for effect in of(SendView, effects) for node in effect.nodes]


def timers(effects):
    return {effect.key: pytest.approx(effect.seconds) for effect in of(SetTimer, effects)}


B, C, D, E = (member(f"{letter}@h", bits=20 + place, addresses=(f"h:{place}",)) for place, letter in enumerate("bcde"))


def suspicion(record):
    return ("suspicion", record.node)


# Links and members


def test_alone():
    subject = Subject()
    table = subject.machine.table
    assert table.members() == ["a@h"]
    assert table.alive("a@h")
    assert table.alive("a@h", 10)
    assert not table.alive("a@h", 11)
    assert not table.alive("b@h")
    assert not table
    assert table.some(3, Random(1)) == []


def test_a_link_brings_a_member_and_it_is_greeted_first():
    subject = Subject()
    root = subject.machine.table.records.root
    effects = subject.link(B)
    assert [type(effect) for effect in effects] == [SendView, NodeUp, SetTimer]
    assert effects[0].payload[:2] == hello(subject.own)[:2]
    assert effects[0].payload[2] != root
    assert effects[0].payload[3] == 2
    assert effects[1] == NodeUp("b@h", 1, 20)
    assert effects[2].key == ROUND
    assert subject.members() == ["a@h", "b@h"]
    assert subject.known("b@h").version == 0
    assert subject.machine.table.alive("b@h", 20)
    assert not subject.machine.table.alive("b@h", 21)


def test_one_that_proved_itself_is_a_member_without_a_link():
    subject = Subject()
    effects = subject.step(Met("b@h", 1, 20, ("h:0",)))
    assert of(NodeUp, effects) == [NodeUp("b@h", 1, 20)]
    assert sent(effects) == []
    assert subject.step(Met("b@h", 1, 20, ("h:0",))) == []


def test_no_life_is_met_that_is_over():
    subject = Subject().meet(NEXT)
    assert subject.step(Met("b@h", 1, 20, ("h:0",))) == []
    assert subject.machine.table.alive("b@h", 21)


def test_a_node_without_addresses_cannot_be_dialled():
    subject = Subject()
    subject.link(B._replace(addresses=()))
    assert not subject.known("b@h").dialable


def test_of_addresses_so_many_are_kept():
    subject = Subject(limits={"max_addresses": 2})
    subject.link(B._replace(addresses=("h:1", "h:2", "h:3")))
    assert subject.known("b@h").addresses == ("h:1", "h:2")


def test_every_hello_is_answered():
    subject = Subject()
    subject.link(B)
    assert sent(subject.get("b@h", hello(B))) == [("b@h", view(subject.own, B))]
    root = subject.machine.table.records.root
    assert sent(subject.get("b@h", hello(B, root))) == [("b@h", view())]


def test_large_tables_are_compared():
    subject = Subject(small=3).meet(B, C)
    assert sent(subject.get("b@h", hello(B, 1, 2)))[0][1][0] == "view"
    records = subject.machine.table.records
    subject.get("b@h", news(D))
    assert sent(subject.get("b@h", hello(B, 1, 100))) == [("b@h", ("branches", records.branches()))]
    ((_, (kind, leaves)),) = sent(subject.get("b@h", ("branches", (0,) * 16)))
    assert kind == "leaves"
    assert leaves == tuple((b, records.leaves_below(b)) for b in range(16) if records.branches()[b])
    theirs = tuple((b, (0,) * 16) for b in range(16))
    ((_, (kind, leaves, digests)),) = sent(subject.get("b@h", ("leaves", theirs)))
    assert kind == "digests"
    assert len(leaves) <= 4
    assert sorted(digests) == sorted(record.digest() for record in (subject.own, B, C, D))


def test_what_is_missing_there_goes_back():
    subject = Subject().meet(B, C)
    there = (B.digest(), D.digest())
    ((_, (kind, wanted, entries)),) = sent(subject.get("b@h", ("digests", tuple(range(LEAVES)), there)))
    assert (kind, wanted) == ("records", (D.digest(),))
    assert sorted(entries) == sorted(map(entry, (subject.own, C)))


def test_what_the_other_side_wants_goes_back():
    subject = Subject().meet(B, C)
    effects = subject.get("b@h", ("records", (C.digest(), 7), (entry(B), entry(D))))
    assert of(NodeUp, effects) == [NodeUp("d@h", 1, 22)]
    assert Synchronised("b@h") in effects
    assert dict(sent(effects))["b@h"] == view(C)


def test_what_is_gone_here_is_told_there():
    subject = Subject().meet(B)
    gone = C._replace(status=DOWN)
    subject.get("b@h", news(C))
    subject.get("b@h", news(gone))
    ((_, (_, wanted, entries)),) = sent(subject.get("b@h", ("digests", tuple(range(LEAVES)), (C.digest(),))))
    assert wanted == (C.digest(),)  # it may be of later
    assert (*gone.to_term(), 0) in entries
    # And what comes back changes nothing.
    assert subject.get("b@h", view(C)) == [Synchronised("b@h")]


def compared(effects):
    return any(message[0] == "hello" for _, message in sent(effects))


def test_while_news_are_on_their_way_nothing_is_compared_for_some_rounds():
    subject = Subject(small=1).meet(B, C)
    said = []
    for index in range(8):
        subject.get("b@h", news(C._replace(version=C.version + index)))
        said.append(compared(subject.fire(ROUND, 10.0)))
    assert said == [False, False, False, True] * 2
    assert compared(subject.fire(ROUND, 10.0))


def test_a_view_ends_the_answer():
    subject = Subject().meet(B)
    effects = subject.get("b@h", view(B, C))
    assert effects[0] == NodeUp("c@h", 1, 21)
    assert Synchronised("b@h") in effects
    assert of(Heard, effects) == []


def test_news_say_by_which_way_they_came():
    subject = Subject().meet(B, C)
    assert of(Heard, subject.get("b@h", news(D))) == [Heard("d@h", "b@h")]
    assert of(Heard, subject.get("c@h", news(D))) == []


def test_a_link_that_was_closed_says_nothing():
    subject = Subject().meet(B, C)
    assert subject.step(Closed("b@h", 20)) == []
    assert subject.members() == ["a@h", "b@h", "c@h"]
    assert subject.machine.table.links == ["c@h"]
    assert subject.machine.table.without_link() == ["b@h"]


def test_a_link_up_again_is_no_news():
    subject = Subject().meet(B)
    subject.step(Closed("b@h", 20))
    assert [type(effect) for effect in subject.link(B)] == [SendView]


@pytest.mark.parametrize(
    "event", [LinkDown("b@h", 19, SILENT), Closed("b@h", 19), LinkDown("z@h", 1, SILENT), Closed("z@h", 1)]
)
def test_the_end_of_another_link_changes_nothing(event):
    subject = Subject().meet(B)
    assert subject.step(event) == []
    assert subject.machine.table.links == ["b@h"]


def test_one_that_says_something_else_of_itself_has_moved():
    subject = Subject().meet(B, C)
    moved = B._replace(version=2, addresses=("h:99",), tag="server")
    assert Moved("b@h") in subject.get("c@h", news(moved))
    assert subject.known("b@h") == moved


# News


def test_news_go_on_once_to_all_but_where_they_came_from():
    subject = Subject().meet(B, C, D)
    assert sorted(sent(subject.get("b@h", news(E)))) == [("c@h", news(E)), ("d@h", news(E))]
    assert subject.get("c@h", news(E)) == []


def test_the_overlay_says_who_hears():
    subject = Subject(gossip=lambda links: [link for link in links if link == "c@h"]).meet(B, C, D)
    assert sent(subject.get("b@h", news(E))) == [("c@h", news(E))]


def test_who_knew_the_same_as_the_source_is_not_told():
    """So the neighbours of a newcomer, all of whom know the cluster, are not told of it by the newcomer."""
    subject = Subject()
    for record in (B, C, D):
        subject.link(record)
    subject.get("b@h", hello(B, 77, 4))
    subject.get("c@h", hello(C, 77, 4))
    subject.get("d@h", hello(D, 78, 4))
    assert sent(subject.get("b@h", view(B, C, D, E))) == [("d@h", news(E))]


def test_news_that_come_fast_go_on_together():
    subject = Subject(news_delay=0.02).meet(B, C)
    subject.fire(NEWS, 0.02)
    subject.now += 1.0
    assert sent(subject.get("b@h", news(D))) == [("c@h", news(D))]
    subject.now += 0.005
    effects = subject.get("b@h", news(E))
    assert sent(effects) == []
    assert timers(effects) == {NEWS: 0.015}
    assert subject.get("b@h", news(member("f@h"))) == [Heard("f@h", "b@h"), NodeUp("f@h", 1, 20)]
    assert sent(subject.fire(NEWS, 0.015)) == [("c@h", news(E, member("f@h")))]


def test_what_a_newcomer_says_of_itself_is_told_to_everybody_else():
    subject = Subject().meet(B, C, D)
    subject.link(E)
    told = [(node, payload) for node, payload in sent(subject.get("e@h", hello(E))) if payload[0] == "news"]
    assert told == [("b@h", news(E)), ("c@h", news(E)), ("d@h", news(E))]


def test_what_it_is_to_say_of_itself_is_told():
    subject = Subject().meet(B)
    raised = subject.own._replace(version=2, tag="server", topology=3)
    assert sent(subject.step(Written("server", 3))) == [("b@h", news(raised))]
    assert subject.record == raised


# Suspicion


def test_one_that_is_lost_is_suspected_and_has_time_to_refute_it():
    subject = Subject().meet(B, C, D)
    effects = subject.lose(B)
    assert timers(effects) == {suspicion(B): 5.0}
    assert of(NodeDown, effects) == []
    assert sorted(sent(effects)) == [(node, news(words=(word(B, "a@h"),))) for node in ("c@h", "d@h")]
    refuted = subject.get("c@h", news(B._replace(version=2)))
    assert CancelTimer(suspicion(B)) in refuted
    assert subject.fire(suspicion(B), 5.0) == []
    assert subject.members() == ["a@h", "b@h", "c@h", "d@h"]


def test_one_that_does_not_is_down():
    subject = Subject().meet(B, C, D)
    subject.lose(B)
    effects = subject.fire(suspicion(B), 5.0)
    assert of(NodeDown, effects) == [NodeDown("b@h", 20, SILENT)]
    assert timers(effects).keys() == {REJOIN}
    gone = B._replace(status=DOWN)
    assert sorted(sent(effects)) == [("c@h", ("news", (entry(gone, 0),), ())), ("d@h", ("news", (entry(gone, 0),), ()))]
    assert subject.members() == ["a@h", "c@h", "d@h"]
    assert subject.known("b@h") == gone


def test_where_its_machine_refuses_it_has_less():
    subject = Subject().meet(B, C)
    assert timers(subject.lose(B, REFUSED)) == {suspicion(B): 0.3}
    assert of(NodeDown, subject.fire(suspicion(B), 0.3)) == [NodeDown("b@h", 20, REFUSED)]


def test_the_last_one_is_down_at_once():
    """There is nobody through whom it could refute."""
    subject = Subject().meet(B)
    effects = subject.lose(B)
    assert of(NodeDown, effects) == [NodeDown("b@h", 20, SILENT)]
    assert subject.members() == ["a@h"]


def test_what_others_suspect_shortens_it():
    subject = Subject().meet(B, C, D, E)
    subject.get("c@h", news(member("f@h")))
    subject.lose(B)
    subject.now += 1.0
    effects = subject.get("c@h", news(words=(word(B, "c@h"),)))
    assert timers(effects) == {suspicion(B): 5.0 - 4.0 * 0.5 - 1.0}
    assert sorted(sent(effects)) == [("d@h", news(words=(word(B, "c@h"),))), ("e@h", news(words=(word(B, "c@h"),)))]
    assert subject.get("d@h", news(words=(word(B, "c@h"),))) == []
    subject.get("d@h", news(words=(word(B, "d@h"),)))
    effects = subject.get("e@h", news(words=(word(B, "e@h"),)))
    assert of(NodeDown, effects) == [NodeDown("b@h", 20, SILENT)]


def test_words_of_others_count_where_there_is_no_link():
    subject = Subject().meet(B, C)
    subject.get("b@h", news(D))
    assert timers(subject.get("b@h", news(words=(word(D, "b@h"),)))) == {suspicion(D): 5.0}
    effects = subject.fire(suspicion(D), 5.0)
    assert of(NodeDown, effects) == [NodeDown("d@h", 22, "down")]


@pytest.mark.parametrize(
    "about", [B._replace(version=0), B._replace(version=2), B._replace(bits=1), B._replace(epoch=2), E]
)
def test_words_of_another_version_or_life_count_for_nothing(about):
    subject = Subject().meet(B, C)
    subject.step(Closed("b@h", 20))
    assert subject.get("c@h", news(words=(word(about, "c@h"),))) == []


def test_one_that_there_is_a_link_to_is_not_down_by_the_words_of_others():
    subject = Subject().meet(B, C, D)
    effects = subject.get("c@h", news(words=(word(B, "c@h"),)))
    assert of(SetTimer, effects) == []
    assert sorted(sent(effects)) == [(node, news(words=(word(B, "c@h"),))) for node in ("b@h", "d@h")]


def test_nor_by_their_record_before_it_had_time_to_refute_that():
    subject = Subject().meet(B, C)
    gone = B._replace(status=DOWN)
    effects = subject.get("c@h", ("news", (entry(gone, 3),), ()))
    assert of(NodeDown, effects) == []
    assert ("b@h", ("news", (entry(gone, 3),), ())) in sent(effects)
    assert timers(effects) == {("disputed", "b@h"): 5.0}
    assert CancelTimer(suspicion(B)) not in subject.get("b@h", news(B._replace(version=2)))
    assert subject.fire(("disputed", "b@h"), 5.0) == []
    assert subject.members() == ["a@h", "b@h", "c@h"]


def test_if_it_does_not_it_is_down_in_the_end():
    subject = Subject().meet(B, C)
    subject.get("c@h", ("news", (entry(B._replace(status=DOWN), 0),), ()))
    effects = subject.fire(("disputed", "b@h"), 5.0)
    assert effects[:2] == [NodeDown("b@h", 20, "does not refute"), Forget("b@h")]
    assert subject.machine.table.links == ["c@h"]


def test_a_link_that_breaks_while_that_is_disputed_is_its_end():
    subject = Subject().meet(B, C)
    subject.get("c@h", ("news", (entry(B._replace(status=DOWN), 0),), ()))
    assert of(NodeDown, subject.lose(B)) == [NodeDown("b@h", 20, SILENT)]


def test_a_link_made_anew_ends_the_suspicion():
    subject = Subject().meet(B, C)
    subject.lose(B)
    assert CancelTimer(suspicion(B)) in subject.link(B)
    assert subject.fire(suspicion(B), 5.0) == []


def test_a_suspicion_is_told_over_a_link_that_is_made_after_it():
    """All links of a node that was stopped were lost at once, so its suspicions were told to nobody."""
    subject = Subject().meet(B, C)
    subject.get("b@h", news(D))
    subject.lose(B)
    assert sent(subject.lose(C)) == []
    told = sent(subject.link(D))
    assert told[1:] == [("d@h", news(words=(word(B, "a@h"), word(C, "a@h"))))]
    subject.get("d@h", news(B._replace(version=2), C._replace(version=2)))
    subject.step(Closed("d@h", 22))
    assert len(sent(subject.link(D))) == 1


def test_one_that_cannot_be_reached_is_suspected():
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    assert timers(subject.step(Unreachable("d@h", "timeout"))) == {suspicion(D): 5.0}


@pytest.mark.parametrize("node", ["b@h", "z@h"])
def test_unreachable_is_for_those_without_a_link(node):
    subject = Subject().meet(B)
    assert subject.step(Unreachable(node, "timeout")) == []


def test_one_that_cannot_be_dialled_is_not_suspected_for_it():
    subject = Subject().meet(B)
    subject.get("b@h", view(D._replace(dialable=False)))
    assert subject.step(Unreachable("d@h", "timeout")) == []


def test_who_hears_of_a_suspicion_looks_whether_the_suspect_is_there():
    subject = Subject(indirect=3).meet(B, C)
    subject.get("b@h", view(D))
    assert of(Probe, subject.get("b@h", news(words=[word(D, "b@h")]))) == [Probe("d@h", D.addresses)]
    # Once for each suspicion, however many have it.
    assert of(Probe, subject.get("c@h", news(words=[word(D, "c@h")]))) == []


def test_of_many_who_hear_of_it_only_some_look():
    looked = 0
    for seed in range(40):
        subject = Subject(indirect=3).meet(B, C)
        subject.random.seed(seed)
        subject.get("b@h", view(D, *(member(f"x{number}@h", bits=100 + number) for number in range(27))))
        looked += len(of(Probe, subject.get("b@h", news(words=[word(D, "b@h")]))))
    assert 1 <= looked <= 12  # 3 of 30, on average


def test_a_suspect_that_answers_gets_a_link_and_hears_of_it():
    """The link that broke may have been its only one, and nothing of what others say gets to it."""
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    subject.get("b@h", news(words=[word(D, "b@h")]))
    assert subject.step(Probed("d@h", 22)) == [Contact("d@h", D.addresses)]
    assert ("d@h", news(words=[word(D, "b@h")])) in sent(subject.link(D))
    # What it says to that goes on.
    subject.fire(("news", ""), 1.0)
    subject.get("d@h", news(D._replace(version=2)))
    told = sent(subject.fire(("news", ""), 1.0))
    assert told == [] or ("b@h", news(D._replace(version=2))) in told
    assert subject.known("d@h").version == 2


def test_one_that_knows_of_other_members_is_compared_with_once_there_are_no_news_on_their_way():
    """It may be on another island, of which each knows of members that the other does not, and has its own speaker."""
    subject = Subject().meet(B)
    subject.get("b@h", view(D))
    own = subject.machine.table.records.root
    other = Probed("d@h", 22, digest=own ^ 1)
    assert subject.step(other) == []
    subject.fire(ROUND, 10.0)
    assert subject.step(other) == [Contact("d@h", D.addresses, briefly=True)]
    assert subject.step(Probed("d@h", 22, digest=own)) == []
    assert subject.step(Probed("d@h", 22)) == []  # of a version that does not say
    subject.get("b@h", news(C))
    assert subject.step(other) == []


def test_one_that_answers_that_it_has_left_gets_a_link_and_says_so():
    """Nobody may have been there to hear it, and whoever answers is taken to be a member for ever."""
    subject = Subject().meet(B)
    subject.get("b@h", view(D))
    assert subject.step(Probed("d@h", 22)) == []
    assert subject.step(Probed("d@h", 22, left=True)) == [Contact("d@h", D.addresses)]
    subject.link(D)
    subject.get("d@h", news(D._replace(status=LEFT)))
    assert NodeDown("d@h", 22, LEAVE) in subject.lose(D, LEAVE)


def test_a_suspect_that_others_found_down_is_trusted_once_there_is_a_link_to_it():
    """It refutes that it is down, and nothing else would say that it is to be looked up again."""
    subject = Subject().meet(B, C, D)
    assert of(Suspected, subject.get("b@h", news(words=[word(D, "b@h")]))) == [Suspected("d@h")]
    subject.get("b@h", news(D._replace(status=DOWN)))  # disputed, as there is a link to it
    subject.step(Closed("d@h", D.bits))
    effects = subject.step(LinkUp("d@h", D.epoch, D.bits, D.addresses))
    assert of(Trusted, effects) == [Trusted("d@h")]
    assert ups_and_downs(subject.get("d@h", hello(D._replace(version=2)))) == []


def test_a_suspect_hears_of_it_over_a_link_by_which_no_news_go():
    """It is not suspected here, but nor is it trusted until it has refuted that."""
    subject = Subject(gossip=lambda links: ["c@h"]).meet(B, C, D)
    said = news(words=[word(D, "b@h")])
    assert [payload for node, payload in sent(subject.get("b@h", said)) if node == "d@h"] == [said]


def test_who_is_reached_after_all_hears_that_this_node_has_suspected_it():
    """Others have heard that, and no more; its refutation is for them."""
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    subject.step(Unreachable("d@h", "timeout"))
    assert ("d@h", news(words=[word(D, "a@h")])) in sent(subject.link(D))


def test_who_suspects_and_has_no_link_left_looks_for_somebody_to_tell():
    subject = Subject(indirect=3).meet(B)
    subject.get("b@h", view(C, D))
    effects = subject.step(LinkDown("b@h", 20, "silent"))
    assert {probe.node for probe in of(Probe, effects)} >= {"c@h", "d@h"}
    assert Contact("c@h", C.addresses) in subject.step(Probed("c@h", 21))
    assert ("c@h", news(words=[word(B, "a@h")])) in sent(subject.link(C))


def test_one_that_refuted_is_not_suspected_again_while_it_stays_out_of_reach():
    subject = Subject(excuse=300.0).meet(B, C)
    subject.get("b@h", view(D))
    subject.step(Unreachable("d@h", "timeout"))
    subject.get("b@h", news(D._replace(version=2)))
    assert subject.step(Unreachable("d@h", "timeout")) == []
    assert subject.step(Probed("d@h", None, "timeout")) == []
    # But not for ever: those who reached it may all be gone.
    subject.now += 300.0
    assert suspicion(D) in timers(subject.step(Unreachable("d@h", "timeout")))


@pytest.mark.parametrize("proof", [Probed("d@h", 22), LinkUp("d@h", 1, 22, ("h:2",))], ids=repr)
def test_one_that_was_reached_is_suspected_like_any_other(proof):
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    subject.step(Unreachable("d@h", "timeout"))
    subject.get("b@h", news(D._replace(version=2)))
    subject.step(proof)
    subject.step(Closed("d@h", 22))
    assert suspicion(D) in timers(subject.step(Unreachable("d@h", "timeout")))


def test_so_is_its_next_life():
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    subject.step(Unreachable("d@h", "timeout"))
    subject.get("b@h", news(D._replace(version=2)))
    subject.get("b@h", news(D._replace(epoch=2, bits=99)))
    assert suspicion(D) in timers(subject.step(Unreachable("d@h", "timeout")))


def test_who_could_not_reach_one_that_is_down_looks_around():
    subject = Subject().meet(B, C)
    others = [member(f"n{index}@h", addresses=(f"h:{index}",)) for index in range(9)]
    subject.get("b@h", news(*others))
    subject.lose(C)
    probes = of(Probe, subject.fire(suspicion(C), 5.0))
    assert len({probe.node for probe in probes}) == 4
    subject.step(Closed("b@h", 20))
    subject.link(B)
    subject.get("b@h", news(words=(word(others[0], "b@h"),)))
    assert of(Probe, subject.fire(suspicion(others[0]), 5.0)) == []


# Local health


def test_a_node_that_is_not_well_takes_longer_to_accuse():
    subject = Subject().meet(B, C, D)
    subject.machine.health.worse()
    assert timers(subject.lose(B)) == {suspicion(B): 10.0}


def test_a_suspicion_that_was_begun_before_that_takes_longer_too():
    subject = Subject().meet(B, C, D)
    subject.lose(B)
    subject.machine.health.worse()
    effects = subject.fire(suspicion(B), 5.0)
    assert of(NodeDown, effects) == []
    assert timers(effects) == {suspicion(B): 5.0}
    assert of(NodeDown, subject.fire(suspicion(B), 5.0)) == [NodeDown("b@h", 20, SILENT)]


def test_one_that_was_stopped_reads_first_what_waits_for_it():
    subject = Subject().meet(B, C, D)
    subject.lose(B)
    effects = subject.fire(suspicion(B), 60.0)
    assert of(NodeDown, effects) == []
    assert timers(effects) == {suspicion(B): 1.0}
    assert subject.machine.health.score == 1
    subject.get("c@h", news(B._replace(version=2)))
    assert subject.fire(suspicion(B), 1.0) == []


def test_one_that_seems_to_be_stopped_each_time_finds_others_down_all_the_same():
    """It has too much to do, and more for each that it never finds down."""
    subject = Subject().meet(B, C, D)
    subject.lose(B)
    # As a late node each time: well after the timer was to fire.
    downs = [of(NodeDown, subject.fire(suspicion(B), 24.0)) for _ in range(4)]
    assert downs == [[], [], [], [NodeDown("b@h", 20, SILENT)]]


def test_a_late_round_is_a_sign_of_it_and_a_timely_one_of_health():
    subject = Subject(digest_interval=10.0, stall=1.0).meet(B)
    subject.fire(ROUND, 60.0)
    assert subject.machine.health.score == 1
    subject.fire(ROUND, 7.5)
    assert subject.machine.health.score == 0


def test_to_be_suspected_is_a_sign_of_it():
    subject = Subject(gossip=lambda links: [link for link in links if link == "c@h"]).meet(B, C)
    effects = subject.get("b@h", news(words=(word(subject.own, "c@h"),)))
    assert subject.machine.health.score == 1
    # To who told us first: what is for everybody may never get there.
    refuted = news(subject.own._replace(version=2))
    assert sent(effects) == [("b@h", refuted), ("c@h", refuted)]


# What others say of us


@pytest.mark.parametrize(
    "said", [{"status": LEFT}, {"status": DOWN}, {"version": 7}, {"version": 7, "status": DOWN}], ids=repr
)
def test_what_is_said_of_us_is_refuted_and_first_to_who_said_it(said):
    subject = Subject(gossip=lambda links: [link for link in links if link == "c@h"]).meet(B, C)
    record = subject.own._replace(**said)
    raised = subject.own._replace(version=record.version + 1)
    assert sent(subject.get("b@h", news(record))) == [("b@h", news(raised)), ("c@h", news(raised))]
    assert subject.record == raised


@pytest.mark.parametrize(
    "said", [{}, {"version": 0}, {"epoch": 0, "version": 9}, {"version": 0, "status": DOWN}], ids=repr
)
def test_what_was_once_said_by_us_is_not(said):
    subject = Subject().meet(B)
    assert subject.get("b@h", news(subject.own._replace(**said))) == []


@pytest.mark.parametrize("about", [{"version": 0}, {"bits": 9}], ids=repr)
def test_a_suspicion_of_what_we_were_is_none(about):
    subject = Subject().meet(B)
    assert subject.get("b@h", news(words=(word(subject.own._replace(**about), "c@h"),))) == []
    assert subject.machine.health.score == 0


def test_a_later_life_under_our_name_is_a_conflict_and_told_once():
    subject = Subject().meet(B)
    other = subject.own._replace(epoch=2, bits=5)
    assert subject.get("b@h", news(other)) == [NameConflict(other)]
    assert subject.get("b@h", news(other)) == []
    later = other._replace(epoch=3)
    assert subject.get("b@h", news(later)) == [NameConflict(later)]
    assert subject.record == subject.own


# Lives

NEXT = B._replace(epoch=2, bits=21, addresses=("h:99",))


def ups_and_downs(effects):
    return of((NodeUp, NodeDown), effects)


def test_the_link_of_a_new_life_ends_the_life_before():
    subject = Subject().meet(B)
    assert ups_and_downs(subject.link(NEXT)) == [NodeDown("b@h", 20, NEWER_LIFE), NodeUp("b@h", 2, 21)]
    assert subject.step(LinkDown("b@h", 20, SILENT)) == []
    assert subject.machine.table.links == ["b@h"]


def test_the_news_of_a_new_life_end_the_life_before():
    subject = Subject().meet(B, C, D)
    effects = subject.get("c@h", news(NEXT))
    assert effects[1:4] == [NodeDown("b@h", 20, NEWER_LIFE), Forget("b@h"), NodeUp("b@h", 2, 21)]
    assert subject.step(Closed("b@h", 20)) == []


def test_the_link_of_a_life_that_is_over_is_ended():
    subject = Subject().meet(NEXT, C)
    subject.step(Closed("b@h", 21))
    assert subject.link(B) == [Forget("b@h")]
    assert subject.machine.table.alive("b@h", 21)
    assert subject.get("b@h", news(D)) == [Refused("b@h", "no link", 1)]


def test_of_two_lives_of_one_epoch_the_higher_bits_count():
    subject = Subject().meet(B)
    assert NodeDown("b@h", 20, NEWER_LIFE) in subject.link(B._replace(bits=21))
    assert subject.link(B) == [Forget("b@h")]


def test_a_life_that_was_down_and_proves_alive_is_up_again():
    subject = Subject().meet(B, C)
    for version in (2, 3, 4):
        subject.lose(B, REFUSED)
        assert of(NodeDown, subject.fire(suspicion(B), 0.3)) == [NodeDown("b@h", 20, REFUSED)]
        effects = subject.link(B)
        gone = subject.known("b@h")
        assert ups_and_downs(effects) == []
        assert ("b@h", ("news", (entry(gone, 0),), ())) in sent(effects)
        assert of(NodeUp, subject.get("b@h", news(B._replace(version=version)))) == [NodeUp("b@h", 1, 20)]


def test_a_link_to_one_that_never_refutes_is_ended():
    subject = Subject().meet(B, C)
    subject.lose(B, REFUSED)
    subject.fire(suspicion(B), 0.3)
    assert ("disputed", "b@h") in timers(subject.link(B))
    effects = subject.fire(("disputed", "b@h"), 5.0)
    assert Forget("b@h") in effects
    assert ups_and_downs(effects) == []


def test_one_that_is_said_to_be_down_and_whose_link_is_given_up_before_it_could_refute_is_down():
    """Nothing else would ever tell: a link that ends by somebody's will is no suspicion."""
    subject = Subject().meet(B, C)
    gone = B._replace(status=DOWN)
    assert ups_and_downs(subject.get("c@h", ("news", (entry(gone, 0),), ()))) == []
    assert subject.step(Closed("b@h", 20)) == []
    assert ups_and_downs(subject.fire(("disputed", "b@h"), 5.0)) == [NodeDown("b@h", 20, "does not refute")]
    assert subject.members() == ["a@h", "c@h"]
    assert subject.fire(("disputed", "b@h"), 5.0) == []


# Leaving


def test_one_that_left_is_down_and_its_link_ends():
    subject = Subject().meet(B, C, D)
    gone = B._replace(status=LEFT)
    effects = subject.get("b@h", ("news", (entry(gone, 0),), ()))
    assert effects[1:3] == [NodeDown("b@h", 20, LEAVE), Forget("b@h")]
    assert sorted(sent(effects)) == [("c@h", ("news", (entry(gone, 0),), ())), ("d@h", ("news", (entry(gone, 0),), ()))]
    assert subject.members() == ["a@h", "c@h", "d@h"]
    assert subject.step(LinkDown("b@h", 20, LEAVE)) == []


def test_a_link_that_ends_with_leave_after_others_have_told_more_is_a_suspicion():
    """It left and is back, and we were stopped: the end of its link was read last. It refutes that."""
    subject = Subject().meet(B, C, D)
    back = B._replace(version=2)
    subject.get("c@h", news(back))
    effects = subject.lose(B, LEAVE)
    assert ups_and_downs(effects) == []
    assert suspicion(B) in timers(effects)
    assert ups_and_downs(subject.get("c@h", news(B._replace(version=3)))) == []
    assert subject.members() == ["a@h", "b@h", "c@h", "d@h"]


def test_a_link_that_ends_with_leave_after_it_has_told_more_itself_is_as_good_as_the_record():
    subject = Subject().meet(B, C, D)
    subject.get("b@h", news(B._replace(version=2)))
    assert ups_and_downs(subject.lose(B, LEAVE)) == [NodeDown("b@h", 20, LEAVE)]


def test_a_link_that_ends_with_leave_is_as_good_as_the_record():
    subject = Subject().meet(B, C, D)
    effects = subject.lose(B, LEAVE)
    assert effects[0] == NodeDown("b@h", 20, LEAVE)
    gone = B._replace(status=LEFT)
    assert sorted(sent(effects)) == [("c@h", ("news", (entry(gone, 0),), ())), ("d@h", ("news", (entry(gone, 0),), ()))]
    # If it was none, it is heard.
    assert of(NodeUp, subject.get("c@h", news(B._replace(version=2)))) == [NodeUp("b@h", 1, 20)]


def test_leave():
    subject = Subject().meet(B, C)
    gone = subject.own._replace(status=LEFT)
    effects = subject.step(Leave())
    assert effects == [
        SendView(("b@h", "c@h"), news(gone)),
        NodeDown("b@h", 20, LEAVE),
        Forget("b@h"),
        NodeDown("c@h", 21, LEAVE),
        Forget("c@h"),
        CancelTimer(ROUND),
        CancelTimer(REJOIN),
    ]
    assert subject.machine.left
    assert subject.members() == ["a@h"]
    assert subject.machine.table.records.all() == [gone]
    assert subject.step(Leave()) == []


def test_what_still_comes_after_leave_is_nothing():
    subject = Subject().meet(B, C)
    subject.lose(C)
    subject.step(Leave())
    for event in (
        ViewReceived("b@h", news(D)),
        LinkDown("b@h", 20, LEAVE),
        Closed("b@h", 20),
        Met("b@h", 1, 20, ()),
        TimerFired(NEWS),
        TimerFired(REJOIN),
        TimerFired(suspicion(C)),
        TimerFired(("disputed", "b@h")),
        Unreachable("c@h", "timeout"),
        Probed("c@h", None, "timeout"),
    ):
        assert subject.step(event) == []
    assert subject.members() == ["a@h"]


def test_a_former_member_that_has_not_heard_is_told_and_not_let_in():
    subject = Subject().meet(B)
    subject.step(Leave())
    assert subject.link(B) == [SendView(("b@h",), news(subject.own._replace(status=LEFT))), Forget("b@h")]
    assert subject.members() == ["a@h"]


def test_joining_again_overrules_the_leave():
    subject = Subject().meet(B)
    subject.step(Leave())
    assert sent(subject.step(Join())) == []
    assert not subject.machine.left
    assert subject.record == subject.own._replace(version=2)
    assert of(NodeUp, subject.link(B)) == [NodeUp("b@h", 1, 20)]
    assert subject.step(Join()) == []


def test_one_that_comes_back_in_the_same_life_is_up_when_it_says_so():
    """Its link came up before its hello was read, and must not be ended meanwhile."""
    subject = Subject().meet(B, C)
    subject.get("b@h", news(B._replace(status=LEFT)))
    effects = subject.link(B)
    assert ups_and_downs(effects) == []
    assert of(Forget, effects) == []
    assert of(NodeUp, subject.get("b@h", hello(B._replace(version=2)))) == [NodeUp("b@h", 1, 20)]


def test_one_that_left_and_dials_without_coming_back_is_told_and_forgotten():
    subject = Subject().meet(B, C)
    gone = B._replace(status=LEFT)
    subject.get("b@h", news(gone))
    assert ("b@h", ("news", (entry(gone, 0),), ())) in sent(subject.link(B))
    assert Forget("b@h") in subject.get("b@h", hello(B))


def linked_before_its_leave_is_heard_of():
    """b@h, which left and joins again by this node: it has yet to say so, and others have only heard that it left."""
    subject, gone = Subject().meet(C), B._replace(status=LEFT)
    assert of(NodeUp, subject.link(B)) == [NodeUp("b@h", 1, 20)]
    effects = subject.get("c@h", view(gone))
    assert ups_and_downs(effects) == [] and of(Forget, effects) == []
    assert ("b@h", ("news", (entry(gone, 0),), ())) in sent(effects)
    assert timers(effects)["disputed", "b@h"] == 5.0
    return subject


def test_one_that_is_back_says_so_after_others_have_said_that_it_left():
    subject = linked_before_its_leave_is_heard_of()
    effects = subject.get("b@h", hello(B._replace(version=2)))
    assert ups_and_downs(effects) == [] and of(Forget, effects) == []
    assert subject.fire(("disputed", "b@h"), 5.0) == []
    assert subject.members() == ["a@h", "b@h", "c@h"]


@pytest.mark.parametrize(
    "event",
    [
        ViewReceived("b@h", hello(B)),
        LinkDown("b@h", 20, SILENT),
        LinkDown("b@h", 20, LEAVE),
        TimerFired(("disputed", "b@h")),
    ],
    ids=repr,
)
def test_one_that_left_by_the_word_of_others_and_does_not_say_that_it_is_back_is_down(event):
    subject = linked_before_its_leave_is_heard_of()
    assert ups_and_downs(subject.step(event)) == [NodeDown("b@h", 20, LEAVE)]
    assert subject.members() == ["a@h", "c@h"] and subject.machine.table.links == ["c@h"]


def test_one_that_left_by_the_word_of_others_after_it_has_said_more_is_down_at_once():
    subject = Subject().meet(B, C)
    effects = subject.get("c@h", view(B._replace(status=LEFT)))
    assert ups_and_downs(effects) == [NodeDown("b@h", 20, LEAVE)] and Forget("b@h") in effects


# What is remembered, and tried again


def down(subject, record):
    subject.lose(record, REFUSED)
    return subject.fire(suspicion(record), 0.3)


def test_those_that_are_down_are_tried_again_and_again():
    subject = Subject(rejoin_first=1.0, rejoin_longest=3.0).meet(B, C)
    pauses = [effect.seconds for effect in of(SetTimer, down(subject, B))]
    for _ in range(5):
        effects = subject.fire(REJOIN)
        assert of(Probe, effects) == [Probe("b@h", B.addresses)]
        pauses += [effect.seconds for effect in of(SetTimer, effects)]
    for pause, middle in zip(pauses, [1.0, 1.5, 2.25, 3.0, 3.0, 3.0], strict=True):
        assert 0.75 * middle <= pause <= 1.25 * middle
    assert subject.step(Probed("b@h", None, REFUSED)) == []
    assert subject.step(Probed("b@h", 20)) == [Contact("b@h", B.addresses)]


def test_one_that_is_back_is_not_tried():
    subject = Subject().meet(B, C)
    down(subject, B)
    subject.get("c@h", news(B._replace(version=2)))
    assert subject.fire(REJOIN) == []


def test_a_newcomer_does_not_count_in_the_dead():
    subject = Subject().meet(B)
    effects = subject.get(
        "b@h", ("view", (entry(C._replace(status=DOWN), 60), entry(D), entry(E._replace(status=LEFT), 1)))
    )
    assert of((NodeUp, NodeDown), effects) == [NodeUp("d@h", 1, 22)]
    assert subject.members() == ["a@h", "b@h", "d@h"]
    assert subject.known("e@h") is None


def test_a_newcomer_takes_over_who_is_down_and_tries_it_too():
    """Those who knew it may go before it comes back."""
    subject = Subject().meet(B)
    effects = subject.get("b@h", ("view", (entry(C._replace(status=DOWN), 60),)))
    assert REJOIN in [effect.key for effect in of(SetTimer, effects)]
    assert of(Probe, subject.fire(REJOIN, 1.0)) == [Probe("c@h", C.addresses)]
    # And forgets it when the others do, rather than later.
    subject.fire(ROUND, subject.machine.parameters.forget_after - 70.0)
    assert subject.known("c@h") is not None
    subject.fire(ROUND, 20.0)
    assert subject.known("c@h") is None


def test_who_is_about_to_be_forgotten_is_taken_over_from_nobody():
    """Or each of two who forget it at their own times is told of it again by the other."""
    subject = Subject().meet(B)
    age = int(subject.machine.parameters.forget_after * 0.9)
    subject.get("b@h", ("view", (entry(C._replace(status=DOWN), age + 1), entry(D._replace(status=DOWN), age - 1))))
    assert [subject.known(name) is None for name in ("c@h", "d@h")] == [True, False]


def test_what_a_peer_of_before_suspicions_has_lost_says_nothing():
    """It sends a record of a live member, and for how long it has been down for it."""
    subject = Subject().meet(B, C)
    old = (*C.to_term()[:7], 60)
    subject.get("b@h", ("view", (old,)))
    assert subject.machine.table.alive("c@h")
    assert subject.get("b@h", ("view", ((*D.to_term()[:7], 60),))) == [Synchronised("b@h")]
    assert subject.known("d@h") is None


def test_such_a_peer_is_understood():
    subject = Subject().meet(C)
    subject.link(B)
    effects = subject.get("b@h", ("hello", (*B.to_term()[:7], -1), 5))
    assert ("b@h", view(subject.own, C, B)) in sent(effects)
    assert of(NodeUp, subject.get("b@h", ("news", ((*D.to_term()[:7], -1),)))) == [NodeUp("d@h", 1, 22)]


def test_the_age_of_what_is_told_goes_with_it():
    subject = Subject().meet(B, C, D)
    down(subject, C)
    subject.now += 61.5
    gone = entry(C._replace(status=DOWN), 61)
    assert gone in sent(subject.get("b@h", hello(B)))[0][1][1]


def test_one_that_is_gone_is_forgotten_in_the_end():
    subject = Subject(forget_after=1000.0).meet(B, C, D)
    down(subject, C)
    subject.lose(D, LEAVE)
    subject.fire(ROUND, 999.0)
    assert subject.known("c@h") is not None
    assert subject.known("d@h") is not None
    subject.fire(ROUND, 1.01)
    assert subject.known("c@h") is None
    assert subject.known("d@h") is None
    assert subject.members() == ["a@h", "b@h"]
    assert subject.fire(REJOIN) == []


def test_whoever_is_told_of_it_late_forgets_it_with_the_others():
    subject = Subject(forget_after=1000.0).meet(B, C)
    subject.get("b@h", ("news", (entry(C._replace(status=LEFT), 990),), ()))
    subject.fire(ROUND, 9.0)
    assert subject.known("c@h") is not None
    subject.fire(ROUND, 1.0)
    assert subject.known("c@h") is None


def test_a_young_node_with_an_old_clock_does_not_forget_at_once():
    """Monotonic clocks begin at the machine's start: what this node found down itself was once taken for ancient."""
    subject = Subject(forget_after=1000.0)
    subject.now = 1e6
    subject.meet(B, C, D)
    down(subject, B)
    subject.lose(C, LEAVE)
    subject.fire(ROUND, 10.0)
    assert subject.known("b@h").status is DOWN
    assert subject.known("c@h").status is LEFT


def test_what_is_forgotten_can_be_heard_of_anew():
    subject = Subject(forget_after=1000.0).meet(B, D)
    subject.get("b@h", news(C))
    subject.get("b@h", ("news", (entry(C._replace(status=LEFT), 1000),), ()))
    subject.fire(ROUND, 1.0)
    assert subject.known("c@h") is None
    assert of(NodeUp, subject.get("b@h", news(C))) == [NodeUp("c@h", 1, 21)]


def test_one_that_is_just_coming_back_is_not_forgotten():
    subject = Subject(forget_after=1000.0).meet(B, C)
    subject.get("b@h", ("news", (entry(C._replace(status=LEFT), 0),), ()))
    subject.now += 1000.0
    subject.link(C)
    subject.fire(ROUND)
    assert of(NodeUp, subject.get("c@h", hello(C._replace(version=2)))) == [NodeUp("c@h", 1, 21)]


def test_a_member_is_never_forgotten():
    subject = Subject(forget_after=1000.0).meet(B, C)
    subject.fire(ROUND, 10_000.0)
    assert subject.members() == ["a@h", "b@h", "c@h"]


# Rounds


def test_a_round_compares_with_one_neighbour_and_looks_after_one_other():
    subject = Subject(digest_interval=10.0).meet(B, C)
    subject.get("b@h", view(D))
    effects = subject.fire(ROUND, 10.0)
    assert [type(effect) for effect in effects] == [SendView, Probe, SetTimer]
    ((node, payload),) = sent(effects)
    assert node in ("b@h", "c@h")
    assert payload == hello(subject.own, subject.machine.table.records.root, 4)
    assert effects[1] == Probe("d@h", D.addresses)
    assert 7.5 <= effects[2].seconds <= 12.5


@pytest.mark.parametrize("record", [D._replace(dialable=False), D._replace(addresses=())], ids=["asks", "nowhere"])
def test_one_that_cannot_be_dialled_is_asked_over_others_and_suspected_too(record):
    """Or it would be a member for ever, if all that it had links to died with it."""
    subject = Subject().meet(B, C)
    subject.get("b@h", view(record))
    assert of(Probe, subject.fire(ROUND, 10.0)) == [Probe("d@h", ())]
    assert suspicion(D) in timers(subject.step(Probed("d@h", None, "timeout")))


def test_one_that_is_down_and_cannot_be_dialled_is_not_tried():
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D._replace(dialable=False)))
    subject.get("b@h", news(D._replace(dialable=False, status=DOWN)))
    assert of(Probe, subject.fire(REJOIN, 5.0)) == []


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [(Probed("d@h", None, "timeout"), 5.0), (Probed("d@h", None, REFUSED), 0.3), (Probed("d@h", 99), 0.3)],
    ids=repr,
)
def test_one_that_does_not_answer_or_another_life_in_its_place_is_suspected(answer, seconds):
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    assert timers(subject.step(answer)) == {suspicion(D): seconds}


@pytest.mark.parametrize("answer", [Probed("d@h", 22), Probed("b@h", None, "timeout"), Probed("z@h", None, "timeout")])
def test_all_other_answers_are_nothing(answer):
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    assert subject.step(answer) == []


def test_who_was_often_wrong_asks_less_often():
    """Else each of n nodes that two sites cannot reach across would be suspected by each, again and again."""
    subject = Subject(excuse=0.0).meet(B, C)
    subject.get("b@h", view(D))
    for version in range(2, 12):
        subject.step(Probed("d@h", None, "timeout"))
        subject.get("b@h", news(D._replace(version=version)))
    asked, seconds = 0, 10.0
    for _ in range(128):
        effects = subject.fire(ROUND, seconds)
        asked += len(of(Probe, effects))
        (seconds,) = (timer.seconds for timer in of(SetTimer, effects) if timer.key == ROUND)
    assert asked == 2
    for _ in range(6):
        subject.step(Probed("d@h", 22))
    assert len(of(Probe, subject.fire(ROUND, seconds))) == 1


def late(subject):
    """Its timers are: half a second."""
    subject.machine.health.late = 0.5
    return subject


@pytest.mark.parametrize("tells", [Probed("d@h", None, "timeout"), Unreachable("d@h", "timeout")], ids=repr)
def test_that_a_late_node_had_no_answer_in_time_says_nothing(tells):
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    assert suspicion(D) not in timers(late(subject).step(tells))


@pytest.mark.parametrize(
    "tells", [Probed("d@h", None, REFUSED), Probed("d@h", 99), Unreachable("d@h", REFUSED)], ids=repr
)
def test_but_a_refusal_or_another_life_does(tells):
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    assert suspicion(D) in timers(late(subject).step(tells))


@pytest.mark.parametrize("tells", [Probed("d@h", None, BUSY), Unreachable("d@h", BUSY)], ids=repr)
def test_one_that_answers_that_it_has_no_time_is_there(tells):
    subject = Subject().meet(B, C)
    subject.get("b@h", view(D))
    assert suspicion(D) not in timers(subject.step(tells))


def test_and_so_is_one_whose_link_is_not_made_anew_for_want_of_time():
    subject = Subject().meet(B, C)
    assert suspicion(B) not in timers(subject.lose(B, BUSY))
    assert subject.machine.table.links == ["c@h"]


@pytest.mark.parametrize(("reason", "says_something"), [("timeout", False), (SILENT, True), (REFUSED, True)])
def test_a_link_that_a_late_node_could_not_make_anew_says_nothing(reason, says_something):
    subject = late(Subject().meet(B, C))
    assert (suspicion(B) in timers(subject.lose(B, reason))) == says_something


UNDIALABLE = D._replace(addresses=(), dialable=False)


@pytest.mark.parametrize("record", [D, UNDIALABLE], ids=["dialled", "not dialled"])
def test_one_that_a_late_node_cannot_reach_is_looked_after_again_and_suspected_after_a_minute(record):
    """Or a node that is always late would never find it down."""
    subject = late(Subject().meet(B, C, record))
    effects, began = subject.lose(record, "unreachable"), subject.now
    while suspicion(record) not in timers(effects):
        assert timers(effects)["doubted", "d@h"] == 10.0
        (probe,) = of(Probe, subject.fire(("doubted", "d@h"), 10.0))
        assert probe == Probe("d@h", record.addresses)
        effects = subject.step(Probed("d@h", None, "timeout"))
        assert subject.now - began <= 60.0
    assert subject.now - began == 60.0


def test_one_that_answers_after_all_is_in_doubt_no_more():
    subject = late(Subject().meet(B, C, D))
    subject.lose(D, "timeout")
    subject.step(Probed("d@h", D.bits))
    assert not subject.machine._doubts._since
    subject.meet(D)
    assert subject.fire(("doubted", "d@h"), 10.0) == []


def test_a_suspicion_that_was_heard_while_there_was_a_link_is_judged_when_that_ends():
    for lost in (lambda subject: subject.lose(C, REFUSED), lambda subject: subject.step(Closed("c@h", C.bits))):
        subject = Subject().meet(B, C)
        subject.get("b@h", news(words=(word(C, "b@h", refused=True),)))
        assert suspicion(C) in timers(lost(subject))


def test_a_suspect_that_cannot_be_dialled_is_not_asked_over_others_that_do_not_look_it_up():
    subject = Subject(indirect=100).meet(B, C)
    subject.get("b@h", view(UNDIALABLE))
    assert of(Probe, subject.get("b@h", news(words=(word(UNDIALABLE, "c@h"),)))) == []


def test_one_after_another_is_looked_after_while_none_answers_when_one_is_down():
    """So a node that is cut off finds that of all others, and one that is not asks four."""
    others = [member(f"m{number}@h", bits=50 + number, addresses=(f"h:9{number}",)) for number in range(20)]
    subject = Subject().meet(B, C)
    subject.get("b@h", view(*others))
    subject.lose(C)
    first = [probe.node for probe in of(Probe, subject.fire(suspicion(C), 5.0))]
    assert len(first) == 4
    effects = [effect for node in first for effect in subject.step(Probed(node, None, "timeout"))]
    second = [probe.node for probe in of(Probe, effects)]
    assert len(second) == 8
    effects = [effect for node in second for effect in subject.step(Probed(node, subject.known(node).bits))]
    assert of(Probe, effects) == []


def test_alone_there_are_no_rounds():
    subject = Subject(forget_after=1000.0).meet(B)
    subject.lose(B)
    assert timers(subject.fire(ROUND, 10.0)).keys() == {ROUND}
    assert subject.fire(ROUND, 1000.0) == []


# Bad input


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        (),
        "view",
        ("view",),
        ("view", [entry(B)]),
        ["view", (entry(B),)],
        ("view", (entry(B),), 1),
        ("hello", entry(C), 0),
        ("hello", entry(B), "0"),
        ("hello", entry(B), 0, 1, 2),
        ("hello", (), 0),
        ("hello", ((),), 0, 1),
        ("branches",),
        ("branches", [0] * 16),
        ("leaves", None),
        ("records", (), None),
        ("records", [], ()),
        ("digests", ()),
        ("digests", (), None),
        ("digests", [], ()),
        ("news", (), None),
        ("other", (entry(B),)),
    ],
    ids=lambda payload: repr(payload)[:30],
)
def test_what_is_no_message_is_refused_whole(payload):
    subject = Subject().meet(B)
    assert subject.get("b@h", payload) == [Refused("b@h", "payload", 1)]
    assert subject.machine.refused == {"payload": 1}
    assert subject.members() == ["a@h", "b@h"]


@pytest.mark.parametrize(
    "payload",
    [
        ("news", (None,) * 10_001),
        ("news", (None,) * 10_001, ()),
        ("news", (), (None,) * 10_001),
        ("view", (None,) * 10_001),
        ("records", (), (None,) * 10_001),
        ("records", (0,) * 10_001, ()),
        ("digests", (), (0,) * 10_001),
    ],
    ids=lambda payload: repr(payload)[:30],
)
def test_what_is_oversized_is_refused_whole(payload):
    subject = Subject().meet(B)
    assert subject.get("b@h", payload) == [Refused("b@h", "oversized", 1)]
    assert subject.machine.refused == {"oversized": 1}


def test_nobody_speaks_for_another_life_of_its_name():
    subject = Subject().meet(NEXT)
    assert subject.get("b@h", hello(B)) == [Refused("b@h", "another life", 1)]
    assert subject.known("b@h") == NEXT


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (("branches", (0,) * 15), "digests"),
        (("leaves", ((16, (0,) * 16),)), "digests"),
        (("leaves", (0,) * 17), "digests"),
        (("digests", (LEAVES,), ()), "leaves"),
        (("digests", (0,) * 300, ()), "leaves"),
        (("digests", (), ("0",)), "digests"),
        (("news", (), (None,)), "suspicion"),
        (("news", (), (word(B, ""),)), "name"),
    ],
    ids=lambda payload: repr(payload)[:30],
)
def test_what_is_wrong_in_one_is_refused(payload, reason):
    subject = Subject().meet(B)
    assert subject.get("b@h", payload) == [Refused("b@h", reason, 1)]
    assert subject.machine.refused == {reason: 1}


@pytest.mark.parametrize(("term", "reason"), MALFORMED, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("kind", ["view", "records"])
def test_a_bad_entry_costs_that_entry_only(kind, term, reason):
    subject = Subject().meet(B)
    bad = (*term, -1) if isinstance(term, tuple) else term
    payload = ("view", (bad, entry(C))) if kind == "view" else ("records", (), (bad, entry(C)))
    effects = subject.get("b@h", payload)
    assert of(NodeUp, effects) == [NodeUp("c@h", 1, 21)]
    assert of(Refused, effects) == [Refused("b@h", reason, 1)]
    assert subject.machine.refused == {reason: 1}


def test_of_doubles_the_first_counts():
    subject = Subject().meet(B)
    effects = subject.get("b@h", view(C, C._replace(version=2), D, D))
    assert of(Refused, effects) == [Refused("b@h", "duplicate", 2)]
    assert subject.known("c@h") == C


def test_a_full_table_takes_nobody_in():
    subject = Subject(limits={"max_members": 3}).meet(B)
    assert of(Refused, subject.get("b@h", view(C, D, E))) == [Refused("b@h", "table full", 2)]
    assert subject.members() == ["a@h", "b@h", "c@h"]
    assert subject.link(D) == [Refused("d@h", "table full", 1), Forget("d@h")]
    assert subject.step(Met("e@h", 1, 5, ())) == [Refused("e@h", "table full", 1)]


def test_what_comes_without_a_link_is_refused():
    subject = Subject().meet(B, C)
    subject.lose(B)
    assert subject.get("b@h", news(C)) == [Refused("b@h", "no link", 1)]
    assert subject.get("z@h", news(C)) == [Refused("z@h", "no link", 1)]
    assert subject.machine.refused == {"no link": 2}


def test_a_record_of_an_earlier_life_is_old():
    subject = Subject().meet(NEXT, C)
    assert subject.get("c@h", news(B, B._replace(version=99, status=DOWN), words=(word(B, "c@h"),)))[:1] == [
        Refused("c@h", "duplicate", 1)
    ]
    assert subject.get("c@h", news(B._replace(version=99, status=DOWN))) == []
    assert subject.machine.table.alive("b@h", 21)


def test_entries_that_have_no_hash():
    """What the codec brings may hold lists and mappings anywhere."""
    subject = Subject().meet(B)
    effects = subject.get("b@h", ("records", (), (({}, 1), ([],), ("b@h", []), entry(C))))
    assert of(Refused, effects) == [Refused("b@h", "shape", 3)]
    assert of(NodeUp, effects) == [NodeUp("c@h", 1, 21)]


WORDS = (
    st.sampled_from(["hello", "view", "news", "branches", "leaves", "digests", "records", "a@h", "b@h", "h:1"])
    | st.integers(-1, 3)
    | st.booleans()
    | st.none()
    | st.binary(max_size=2)
)
TERMS = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=8).map(tuple)
        | st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=30,
)
ENTRIES = st.builds(entry, MEMBERS, st.integers(-1, 5)) | TERMS
SUSPICIONS = st.builds(word, MEMBERS, st.sampled_from(["b@h", "c@h", "d@h"]), st.booleans()) | TERMS
LEAF_NUMBERS = st.lists(st.integers(-1, LEAVES) | TERMS).map(tuple)
PAYLOADS = (
    st.tuples(st.sampled_from(["view", "news"]), st.lists(ENTRIES).map(tuple))
    | st.tuples(st.just("news"), st.lists(ENTRIES).map(tuple), st.lists(SUSPICIONS).map(tuple))
    | st.tuples(st.just("hello"), ENTRIES, st.integers(), TERMS)
    | st.tuples(st.just("branches"), st.tuples(*[st.integers()] * 16) | TERMS)
    | st.tuples(st.just("leaves"), st.lists(st.tuples(st.integers(-1, 16), TERMS)).map(tuple))
    | st.tuples(st.just("digests"), LEAF_NUMBERS, st.lists(st.integers(-1) | TERMS).map(tuple))
    | st.tuples(st.just("records"), st.lists(st.integers(-1) | TERMS).map(tuple), st.lists(ENTRIES).map(tuple))
    | TERMS
)
HAPPENINGS = (
    st.builds(ViewReceived, st.sampled_from(["b@h", "c@h", "z@h"]), PAYLOADS)
    | st.sampled_from([LinkUp("b@h", 1, 2, ()), LinkUp("b@h", 1, 20, ("h:1",)), LinkUp("c@h", 3, 3, ("h:1",))])
    | st.builds(
        LinkDown,
        st.sampled_from(["b@h", "c@h"]),
        st.sampled_from([2, 3, 20]),
        st.sampled_from([SILENT, REFUSED, LEAVE]),
    )
    | st.builds(Closed, st.sampled_from(["b@h", "c@h"]), st.sampled_from([2, 3, 20]))
    | st.builds(Unreachable, st.sampled_from(["b@h", "c@h"]), st.sampled_from(["timeout", REFUSED]))
    | st.builds(Probed, st.sampled_from(["b@h", "c@h"]), st.sampled_from([None, 2, 3, 20]))
    | st.builds(
        TimerFired, st.sampled_from([ROUND, REJOIN, NEWS, suspicion(B), suspicion(C), ("disputed", "b@h"), 5, ()])
    )
    | st.sampled_from([Leave(), Join(), Written("t", 1)])
)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 100.0]), HAPPENINGS), max_size=30))
def test_whatever_happens_nothing_raises_and_ups_and_downs_alternate(happenings):
    subject = Subject(news_delay=0.02, forget_after=200.0).meet(B, C)
    up = {"b@h": 20, "c@h": 21}
    for seconds, event in happenings:
        subject.now += seconds
        for effect in subject.step(event):
            match effect:
                case NodeUp(node, _, bits):
                    assert node not in up
                    up[node] = bits
                case NodeDown(node, bits, _):
                    assert up.pop(node) == bits
                case SendView(nodes, payload):
                    assert nodes
                    assert is_plain(payload)
        table = subject.machine.table
        assert table.members() == sorted(["a@h", *up])
        assert table.ups == len(up)
        assert table.links == sorted(known.node for known in table if known.linked is not None)
        assert sorted(known.node for known in table) == sorted(r.node for r in table.records.all()[1:])


def is_plain(term):
    """Whether the codec sends it as it is, and nothing of ours is hidden in it."""
    return all(map(is_plain, term)) if type(term) is tuple else type(term) in (str, int, bool)


@pytest.mark.parametrize(
    "wrong",
    [
        {"news_delay": 10.0},
        {"news_delay": -1.0},
        {"forget_after": 10.0},
        {"rejoin_first": 6.0},
        {"rejoin_first": 0.0},
        {"stall": 0.0},
        {"look_around": -1},
        {"small": -1},
        {"excuse": -1.0},
    ],
    ids=repr,
)
def test_parameters_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MembershipParameters(**wrong)


def test_who_is_late_itself_tries_those_that_are_down_more_rarely():
    subject = Subject().meet(B, C, D)

    def pause(effects):
        (timer,) = [effect for effect in of(SetTimer, effects) if effect.key == REJOIN]
        return timer.seconds

    subject.lose(B)
    first = pause(subject.fire(suspicion(B), 5.0))
    on_time = pause(subject.fire(REJOIN, first))
    subject.machine.health.late = 0.9
    assert pause(subject.fire(REJOIN, on_time)) > 5 * on_time
