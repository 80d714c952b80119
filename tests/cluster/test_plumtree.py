"""The broadcast machine, step by step: who is sent what, and when."""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.cluster.broadcast_events import (
    MOST_ANNOUNCED,
    Broadcast,
    BroadcastReceived,
    Deliver,
    Fetched,
    Left,
    MemberDown,
    MemberUp,
    NeighbourDown,
    NeighbourUp,
    NotSent,
    PlumtreeParameters,
    Refused,
    Root,
    SendBroadcast,
    Unavailable,
)
from partisan_actors.cluster.broadcast_terms import MOST_AGE, MOST_HOPS
from partisan_actors.cluster.plumtree import Plumtree
from partisan_actors.distribution.machine import SetTimer, TimerFired

R = Root("r", 7)
OWN = PlumtreeParameters(own_tree_after=0)


class Node:
    """One machine, and what it says."""

    def __init__(self, *neighbours: str, parameters: PlumtreeParameters | None = None) -> None:
        self.machine = Plumtree("me", 1, parameters)
        self.now = 100.0
        self.random = Random(1)
        for neighbour in neighbours:
            self.step(NeighbourUp(neighbour))
        if neighbours:
            self.receive(neighbours[0], ("marks", True, True, True, ()))

    def step(self, event):
        return self.machine.step(event, self.now, self.random)

    def receive(self, node, message):
        return self.step(BroadcastReceived(node, message))

    def gossip(self, node, number=1, *, hop=1, own=False, root=R, payload=b"p"):
        return self.receive(node, ("gossip", *root, number, hop, own, 0, "h", payload))

    def fire(self, kind, node="", after=0.0):
        self.now += after
        return self.step(TimerFired((kind, node)))


def sent(effects):
    """The messages, each with whom it is for."""
    return [(effect.nodes, effect.message) for effect in effects if isinstance(effect, SendBroadcast)]


def answer(effects):
    """The frames of marks, after the age that they are for."""
    (_, (kind, _)), *frames = sent(effects)
    assert kind == "asked"
    return [message for _, message in frames]


def delivered(effects):
    return [(effect.root, effect.number) for effect in effects if isinstance(effect, Deliver)]


def test_a_broadcast_goes_to_all_neighbours_at_first():
    node = Node("a", "b")
    effects = node.step(Broadcast("h", b"p"))
    assert effects[1:3] == [
        Deliver(Root("me", 1), 1, "h", b"p"),
        SendBroadcast(("a", "b"), ("gossip", "me", 1, 1, 1, False, 0, "h", b"p"), True),
    ]
    assert sent(node.step(Broadcast("h", b"q")))[0][1][3] == 2


def test_what_is_new_is_delivered_and_passed_on_to_all_but_its_sender():
    node = Node("a", "b", "c")
    effects = node.gossip("a", hop=4)
    assert delivered(effects) == [(R, 1)]
    assert sent(effects) == [(("b", "c"), ("gossip", "r", 7, 1, 5, False, 0, "h", b"p"))]


def test_what_comes_twice_is_pruned_and_not_delivered():
    node = Node("a", "b", "c")
    node.gossip("a")
    assert node.gossip("b") == [SendBroadcast(("b",), ("prune", "r", 7, False), False)]
    assert node.machine.eager_peers(None) == ["a", "c"] and node.machine.lazy_peers(None) == ["b"]
    assert sent(node.gossip("a", 2))[0][0] == ("c",)


def test_a_lazy_neighbour_gets_an_ihave_and_all_of_a_while_in_one_frame():
    node = Node("a", "b")
    node.receive("b", ("prune", "r", 7, False))
    effects = node.gossip("a", 1)
    (seconds,) = [e.seconds for e in effects if isinstance(e, SetTimer) and e.key == ("ihave", "")]
    assert 0.005 <= seconds <= 0.015
    assert sent(effects) == []
    node.gossip("a", 2, hop=3)
    assert sent(node.fire("ihave")) == [(("b",), ("ihave", (("r", 7, 1, False, 2), ("r", 7, 2, False, 4))))]
    assert sent(node.fire("ihave")) == []


def test_ihaves_wait_the_longer_the_more_there_are_and_no_longer_than_the_most():
    node = Node("a", "b")
    node.random.random = lambda: 0.5
    node.receive("b", ("prune", "r", 7, False))
    delays = []
    for turn in range(8):
        timers = [effect for k in range(10) for effect in node.gossip("a", turn * 10 + k + 1)]
        delays += [effect.seconds for effect in timers if isinstance(effect, SetTimer) and effect.key[0] == "ihave"]
        node.fire("ihave")
    assert delays == [0.01, 0.02, 0.04, 0.08, 0.1, 0.1, 0.1, 0.1]


def test_a_frame_full_of_ihaves_does_not_wait():
    node = Node("a", "b", parameters=PlumtreeParameters(ihave_batch=2))
    node.receive("b", ("prune", "r", 7, False))
    assert sent(node.gossip("a", 1)) == []
    assert len(sent(node.gossip("a", 2))[0][1][1]) == 2


def test_what_a_neighbour_has_announced_it_is_neither_sent_nor_told():
    node = Node("a", "b", "c")
    node.receive("c", ("prune", "r", 7, False))
    for neighbour in ("b", "c"):
        node.receive(neighbour, ("ihave", (("r", 7, 1, False, 3),)))
    assert sent(node.gossip("a")) == []
    assert sent(node.fire("ihave")) == []
    node.gossip("a", 2)  # and what is announced before our IHAVE goes out
    node.receive("c", ("ihave", (("r", 7, 2, False, 3),)))
    assert sent(node.fire("ihave")) == []


def test_a_missing_message_is_asked_for_after_timer_1_and_not_before():
    """Partisan grafts at once (partisan.md 2.2), so each message that is late on the tree makes a redundant link."""
    node = Node("a", "b", "c")
    node.receive("b", ("prune", "r", 7, False))
    effects = node.receive("b", ("ihave", (("r", 7, 1, False, 3),)))
    assert effects == [SetTimer(("graft", ""), 0.5)]
    assert node.receive("c", ("ihave", (("r", 7, 1, False, 3),))) == []
    assert sent(node.fire("graft", after=0.3)) == []
    effects = node.fire("graft", after=0.2)
    assert sent(effects) == [(("b",), ("graft", "r", 7, False, 1))]
    assert effects[-1] == SetTimer(("graft", ""), pytest.approx(0.2))
    assert node.machine.lazy_peers(None) == []
    assert sent(node.fire("graft", after=0.2)) == [(("c",), ("graft", "r", 7, False, 1))]  # timer 2
    assert node.fire("graft", after=0.2) == [] and node.machine.sizes()["missing"] == 0


def test_what_comes_by_itself_before_the_timer_is_not_asked_for():
    node = Node("a", "b")
    node.receive("b", ("ihave", (("r", 7, 1, False, 3),)))
    node.gossip("a")
    assert sent(node.fire("graft", after=0.5)) == []
    assert node.machine.grafts == 0


def test_timer_1_follows_what_is_measured():
    node = Node("a", "b")
    for number in range(1, 300):
        node.receive("b", ("ihave", (("r", 7, number, False, 3),)))
        node.now += 0.08
        node.gossip("a", number)
    assert node.machine._missing.timeout_1.seconds == pytest.approx(0.16, abs=0.01)
    node.receive("b", ("ihave", (("r", 7, 300, False, 3),)))
    node.now += 1.0
    node.gossip("a", 300)
    assert node.machine._missing.timeout_1.seconds == pytest.approx(2.0)


def test_a_graft_is_answered_and_makes_the_link_eager():
    node = Node("a", "b")
    node.gossip("a", hop=2, own=True)
    node.receive("b", ("prune", "r", 7, True))
    assert node.machine.lazy_peers(R) == ["b"]
    node.now += 1.5
    assert node.receive("b", ("graft", "r", 7, True, 1)) == [
        SendBroadcast(("b",), ("gossip", "r", 7, 1, 3, True, 1500, "h", b"p"), True)
    ]
    assert node.machine.lazy_peers(R) == []
    assert node.receive("b", ("graft", "r", 7, True, 99)) == []


def test_each_root_that_broadcasts_often_has_a_tree_of_its_own():
    node = Node("a", "b", parameters=PlumtreeParameters(own_tree_after=2, own_tree_window=60.0))
    flags = []
    for wait in (0.0, 1.0, 1.0, 100.0, 1.0, 1.0):
        node.now += wait
        flags.append(sent(node.step(Broadcast("h", b"p")))[0][1][5])
    assert flags == [False, False, True, False, False, True]


def test_the_trees_of_roots_do_not_touch_each_other():
    other = Root("q", 3)
    node = Node("a", "b")
    node.receive("a", ("prune", *R, True))
    node.receive("b", ("prune", *other, True))
    assert node.machine.eager_peers(R) == ["b"] and node.machine.eager_peers(other) == ["a"]
    assert node.machine.eager_peers(None) == ["a", "b"]


def test_the_tree_that_was_used_least_lately_goes_when_there_are_too_many():
    node = Node("a", "b", parameters=PlumtreeParameters(max_trees=2))
    for bits in (1, 2):
        node.receive("a", ("prune", "r", bits, True))
    node.gossip("b", root=Root("r", 1), own=True)
    node.receive("a", ("prune", "r", 3, True))
    assert node.machine.lazy_peers(Root("r", 1)) == ["a"]
    assert node.machine.lazy_peers(Root("r", 2)) == []  # it begins anew, as a flood
    assert node.machine.sizes()["trees"] == 2


def test_a_shorter_link_takes_the_place_of_one_that_is_longer_by_the_threshold():
    for shorter, expected in ((3, True), (4, False)):
        node = Node("a", "b")
        node.receive("b", ("prune", *R, True))
        node.receive("b", ("ihave", (("r", 7, 1, True, shorter),)))
        effects = node.gossip("a", hop=10, own=True)
        swapped = [(("b",), ("graft", "r", 7, True, 0)), (("a",), ("prune", "r", 7, True))]
        assert sent(effects) == (swapped if expected else [])
        assert node.machine.lazy_peers(R) == (["a"] if expected else ["b"])


def test_a_link_is_taken_too_when_its_ihave_comes_after_the_payload_and_only_once():
    node = Node("a", "b")
    node.receive("b", ("prune", *R, True))
    node.gossip("a", hop=10, own=True)
    late = ("ihave", (("r", 7, 1, True, 3),))
    assert sent(node.receive("b", late)) == [
        (("b",), ("graft", "r", 7, True, 0)),
        (("a",), ("prune", "r", 7, True)),
    ]
    assert sent(node.receive("b", late)) == []


def test_the_shared_tree_is_not_made_shorter_for_one_root():
    node = Node("a", "b")
    node.receive("b", ("prune", *R, False))
    node.receive("b", ("ihave", (("r", 7, 1, False, 1),)))
    assert sent(node.gossip("a", hop=10)) == []


def test_a_new_neighbour_is_eager_and_the_trees_stay_as_they_are():
    """Partisan throws all its sets away when a member joins (partisan.md 2.2): every root floods again."""
    node = Node("a", "b", "c")
    node.receive("b", ("prune", *R, True))
    node.receive("c", ("prune", *R, False))
    node.step(NeighbourUp("d"))
    node.step(MemberUp("e", 9))
    assert node.machine.eager_peers(R) == ["a", "c", "d"] and node.machine.lazy_peers(R) == ["b"]
    assert node.machine.eager_peers(None) == ["a", "b", "d"] and node.machine.lazy_peers(None) == ["c"]


def test_a_lost_neighbour_changes_only_the_trees_that_it_was_the_last_eager_one_of():
    """In Partisan nothing is pushed for a root whose eager set is empty, until somebody grafts (partisan.md 2.2)."""
    other = Root("q", 3)
    node = Node("a", "b", "c")
    for neighbour in ("b", "c"):
        node.receive(neighbour, ("prune", *R, True))
    node.receive("b", ("prune", *other, True))
    effects = node.step(NeighbourDown("a"))
    assert sent(effects) == [(("b",), ("graft", "r", 7, True, 0)), (("c",), ("graft", "r", 7, True, 0))]
    assert node.machine.eager_peers(R) == ["b", "c"]
    assert node.machine.lazy_peers(other) == ["b"]


def test_the_shared_tree_is_mended_in_the_same_way():
    node = Node("a", "b")
    node.receive("b", ("prune", *R, False))
    assert sent(node.step(NeighbourDown("a"))) == [(("b",), ("graft", "", 0, False, 0))]
    other = Node("a", "b")
    other.receive("b", ("prune", *R, False))
    other.receive("b", ("graft", "", 0, False, 0))
    assert other.machine.lazy_peers(None) == []


def test_nobody_is_asked_who_is_no_neighbour_any_more():
    node = Node("a", "b")
    node.receive("b", ("ihave", (("r", 7, 1, False, 3),)))
    node.step(NeighbourDown("b"))
    assert sent(node.fire("graft", after=0.5)) == []
    assert node.receive("b", ("ihave", (("r", 7, 2, False, 3),))) == []
    assert node.machine.sizes()["missing"] == 0


def test_a_payload_from_one_that_is_no_neighbour_is_taken_all_the_same():
    node = Node("a")
    effects = node.gossip("z")
    assert delivered(effects) == [(R, 1)] and sent(effects)[0][0] == ("a",)
    assert sent(node.gossip("z")) == [(("z",), ("prune", "r", 7, False))]
    assert node.machine.lazy_peers(None) == []


def test_a_message_that_a_full_stream_has_not_taken_is_announced():
    node = Node("a", "b")
    node.gossip("a")
    node.step(NotSent("b", R, 1))
    assert sent(node.fire("ihave")) == [(("b",), ("ihave", (("r", 7, 1, False, 2),)))]
    assert node.step(NotSent("b", R, 2)) == []


def test_what_a_handler_still_had_is_an_answer():
    node = Node("a")
    effects = node.step(Fetched("a", R, 4, "h", b"old"))
    assert sent(effects) == [(("a",), ("answer", "r", 7, 4, 1, False, 120_000, "h", b"old"))]
    other = Node("a", "b")
    assert delivered(other.receive("a", sent(effects)[0][1])) == [(R, 4)]


def test_an_answer_says_nothing_about_the_tree():
    node = Node("a", "b")
    answer = ("answer", *R, 1, 3, False, 0, "h", b"p")
    assert sent(node.receive("a", answer)) == [(("b",), ("gossip", "r", 7, 1, 4, False, 0, "h", b"p"))]
    assert node.receive("b", answer) == []
    assert node.machine.eager_peers(None) == ["a", "b"]


def test_only_an_own_message_that_was_sent_comes_back():
    node = Node("a")
    mine = Root("me", 1)
    assert node.gossip("a", root=mine) == [Refused("a", "root")]
    node.step(Broadcast("h", b"p"))
    assert sent(node.gossip("a", root=mine)) == [(("a",), ("prune", "me", 1, False))]
    assert node.receive("a", ("ihave", (("me", 1, 9, False, 1),))) == []
    assert node.machine.sizes()["missing"] == 0


def test_more_roots_than_are_remembered():
    node = Node("a", parameters=PlumtreeParameters(max_roots=3))
    node.step(MemberUp("up", 1))
    node.gossip("a", root=Root("up", 1))
    for bits in range(1, 4):
        assert delivered(node.gossip("a", root=Root("down", bits))) != []
    assert node.machine.sizes()["roots"] == 3
    assert node.gossip("a", root=Root("up", 1)) != []  # still known, so it is no new one
    assert node.machine.seen(Root("up", 1), 1) and not node.machine.seen(Root("down", 1), 1)
    for bits in range(1, 4):
        node.step(MemberUp(f"up{bits}", bits))
        node.gossip("a", root=Root(f"up{bits}", bits))
    assert node.machine.refused == {"root": 1}


def test_a_table_of_what_is_missing_has_an_end():
    node = Node("a", parameters=PlumtreeParameters(max_missing=3))
    terms = tuple(("r", 7, number, False, 1) for number in range(1, 6))
    assert node.receive("a", ("ihave", terms))[-1] == Refused("a", "too many missing")
    assert node.machine.sizes()["missing"] == 3


def test_the_log_is_bounded_by_bytes_number_and_age():
    few = Node("a", parameters=PlumtreeParameters(retention_count=2))
    small = Node("a", parameters=PlumtreeParameters(retention_bytes=1000, max_payload=1000))
    short = Node("a", parameters=PlumtreeParameters(retention=20.0, hold=1.0))
    for number in range(1, 6):
        few.gossip("a", number)
        small.gossip("a", number, payload=bytes(300))
        short.now += 10.0
        short.gossip("a", number)
    assert [few.machine.sizes()["log"], small.machine.sizes()["log"], short.machine.sizes()["log"]] == [2, 2, 2]
    assert small.machine.sizes()["log_bytes"] == 1000
    small.gossip("a", 6, payload=bytes(1000))
    assert small.machine.sizes()["log"] == 1  # the newest is always there
    assert few.machine.seen(R, 1)


def test_a_root_that_is_long_down_is_forgotten_and_not_before():
    node = Node("a", parameters=PlumtreeParameters(forget_after=1000.0))
    node.step(MemberUp(*R))
    node.gossip("a")
    node.step(MemberDown(*R))
    node.now += 999.0
    node.fire("exchange")
    assert node.machine.seen(R, 1)
    node.step(MemberUp(*R))
    node.step(MemberDown(*R))
    node.now += 999.0
    node.fire("exchange")
    assert delivered(node.gossip("a")) == []
    node.now += 2.0
    node.fire("exchange")
    assert node.machine.sizes()["roots"] == 0


def test_a_new_message_over_a_lazy_link_makes_it_eager():
    node = Node("a", "b")
    node.receive("b", ("prune", *R, False))
    node.gossip("b")
    assert node.machine.lazy_peers(None) == []


def test_nothing_is_announced_to_a_neighbour_that_has_gone():
    node = Node("a", "b", "c")
    node.receive("b", ("prune", *R, False))
    node.gossip("a")
    node.step(NeighbourDown("b"))
    assert sent(node.fire("ihave")) == []


def test_a_newcomer_is_told_what_was_seen_but_for_what_was_broadcast_since_it_came():
    node = Node("a")  # at 100
    node.gossip("a", 1)
    node.now = 103.0
    node.gossip("a", 3)
    node.receive("a", ("gossip", *R, 5, 1, False, 2500, "h", b"p"))  # it was under way since 100.5
    node.now = 104.0
    node.gossip("a", 4)
    # 2 to 4 were broadcast before 5 was, whenever they come.
    for age, missing in ((0, ()), (2400, ()), (2600, ((2, 5),)), (3000, ((1, 5),))):
        told = answer(node.receive("new", ("synchronise", age)))
        assert [message[4] for message in told] == [(("r", 7, 5, missing, ((5, 3500),)),)], age
    new = Node()
    new.step(NeighbourUp("me"))
    new.receive("me", ("marks", True, True, True, (("r", 7, 4, ((2, 2), (4, 4)), ()),)))
    assert [new.machine.seen(R, number) for number in (1, 2, 3, 4)] == [True, False, True, False]


def test_a_node_says_how_long_it_has_been_a_member_and_not_how_long_a_link_is_up():
    new = Node()
    new.step(MemberUp("me", 1))  # itself
    new.now += 50.0
    new.step(MemberUp("a", 1))
    new.now += 3.0
    assert sent(new.step(NeighbourUp("b"))) == [(("b",), ("synchronise", 3000))]
    new.step(Left())
    new.step(NeighbourDown("b"))
    new.now += 4.0
    assert sent(new.step(NeighbourUp("b"))) == [(("b",), ("synchronise", 0))]


def test_one_that_came_later_says_so():
    node = Node("a")  # since 100.0, and synchronised
    node.now = 110.0
    told = [answer(node.receive("b", ("synchronise", age)))[0][:3] for age in (0, 10_000, 10_499, 10_501)]
    assert told == [("marks", True, True)] * 3 + [("marks", True, False)]


def test_one_that_came_later_is_believed_as_it_knows_what_was_before():
    new = new_node("later")
    new.receive("later", ("marks", True, False, True, (("r", 7, 9, ((5, 9),), ((4, 50_000),)),)))
    assert new.machine.synchronised and new.machine.seen(R, 4) and not new.machine.seen(R, 5)
    (told,) = answer(new.receive("x", ("synchronise", 3000)))
    assert told == ("marks", True, False, True, (("r", 7, 9, ((5, 9),), ((4, 50_000), (9, 0))),))


def test_a_new_one_that_came_later_is_believed_when_there_has_been_no_other_for_long():
    for other in (False, True):
        new = new_node("later", "other")
        new.receive("later", ("marks", False, False, True, (("r", 7, 9, (), ()),)))
        for turn in range(1, 10):
            assert sent(new.fire("synchronise", after=2.0)) == [(("later", "other"), ("synchronise", 2000 * turn))]
            assert not new.machine.synchronised
        if other:
            new.receive("other", marks(5, synchronised=False))
        new.fire("synchronise", after=2.0)
        assert new.machine.synchronised and new.machine.seen(R, 9) is not other
        assert new.machine.seen(R, 5)


def test_nobody_is_believed_who_has_said_nothing():
    new = new_node("a", "b")
    new.now += 2.0
    effects = new.fire("synchronise")
    assert sent(effects) == [(("a", "b"), ("synchronise", 2000))] and not new.machine.synchronised
    assert SetTimer(("synchronise", ""), 2.0) in effects
    new.step(NeighbourDown("a"))
    new.step(NeighbourDown("b"))
    assert new.fire("synchronise") == [] and not new.machine.synchronised
    assert new.step(NeighbourUp("c"))[0] == SendBroadcast(("c",), ("synchronise", 2000), False)
    new.receive("c", marks(5))
    assert new.machine.synchronised


def test_marks_of_many_roots_come_in_several_frames_and_count_when_all_are_there():
    node = Node("a")
    for bits in range(1200):
        node.gossip("a", root=Root("r", bits))
    frames = answer(node.receive("new", ("synchronise", 0)))
    assert [len(frame[4]) for frame in frames] == [500, 500, 200]
    new = Node()
    new.step(NeighbourUp("me"))
    for frame in frames:
        assert not new.machine.synchronised
        new.receive("me", frame)
    assert new.machine.synchronised and new.machine.sizes()["roots"] == 1200


def new_node(*neighbours):
    new = Node()
    for neighbour in neighbours:
        new.step(NeighbourUp(neighbour))
    return new


def marks(high, synchronised=True):
    return ("marks", synchronised, True, True, (("r", 7, high, (), ((high, 0),)),))


def test_the_first_that_knows_is_believed():
    new = new_node("first", "second")
    new.receive("second", marks(5))
    assert new.machine.synchronised and delivered(new.gossip("first", 6)) == [(R, 6)]
    new.receive("first", marks(9))
    assert not new.machine.seen(R, 9)


def test_the_next_one_is_believed_when_the_first_is_new_itself_or_gone():
    new = new_node("first", "second")
    new.receive("first", marks(9, synchronised=False))
    assert not new.machine.synchronised
    new.receive("second", marks(5))
    assert new.machine.synchronised and [new.machine.seen(R, number) for number in (5, 9)] == [True, False]
    new = new_node("first", "second")
    new.receive("first", ("marks", True, True, False, (("r", 7, 9, (), ()),)))
    new.step(NeighbourDown("first"))
    assert not new.machine.synchronised
    new.receive("second", marks(5))
    assert new.machine.synchronised and [new.machine.seen(R, number) for number in (5, 9)] == [True, False]


def test_who_answers_quotes_the_age_that_the_newcomer_has_by_then():
    node = new_node("a")  # which is new itself
    told = sent(node.receive("b", ("synchronise", 3000)))
    assert told == [(("b",), ("asked", 3000)), (("b",), ("marks", False, False, True, ()))]
    node.now += 2.5
    told = sent(node.receive("a", ("marks", True, True, True, ())))
    assert told == [(("b",), ("asked", 5500)), (("b",), ("marks", True, False, True, ()))]


def late_answer(new, quoted, high):
    asked = sent(new.receive("a", ("asked", quoted)))
    return asked + sent(new.receive("a", marks(high)))


def test_an_answer_to_a_question_that_has_waited_is_not_believed_and_it_asks_again():
    new = new_node("a")  # at 100.0
    new.now += 5.0
    assert late_answer(new, 0, 9) == [(("a",), ("synchronise", 5000))]
    assert not new.machine.synchronised
    new.now += 0.3
    assert late_answer(new, 5000, 5) == []
    assert new.machine.synchronised and [new.machine.seen(R, number) for number in (5, 9)] == [True, False]


def test_what_was_broadcast_while_a_question_waited_is_missing():
    node, new = Node("a"), new_node("me")  # both at 100.0, when it asks
    node.now = new.now = 102.0
    node.gossip("a", 1)
    node.now = new.now = 105.0
    for age in (0, 5000):
        assert not new.machine.synchronised
        for _, message in sent(node.receive("new", ("synchronise", age))):
            new.receive("me", message)
    assert new.machine.synchronised and not new.machine.seen(R, 1)
    assert R in new.machine._repair.holes


def test_an_answer_may_be_late_by_the_overlap():
    for seconds, late in ((1.0, False), (1.001, True)):
        new = new_node("a")
        new.now += seconds
        late_answer(new, 0, 9)
        assert new.machine.synchronised is not late
    new = Node(parameters=PlumtreeParameters(newcomer_overlap=0))
    new.step(NeighbourUp("a"))
    new.now += 1.0
    late_answer(new, 0, 9)
    assert new.machine.synchronised


def test_it_does_not_ask_again_while_a_later_question_is_under_way():
    new = new_node("a")
    for turn in (1, 2):
        assert sent(new.fire("synchronise", after=2.0)) == [(("a",), ("synchronise", 2000 * turn))]
    assert late_answer(new, 0, 9) == late_answer(new, 2000, 9) == []
    assert not new.machine.synchronised
    assert late_answer(new, 4000, 5) == []
    assert new.machine.synchronised and not new.machine.seen(R, 9)


def test_the_next_one_is_believed_when_the_answer_of_the_first_is_late():
    new = new_node("a", "b")
    new.now += 5.0
    late_answer(new, 0, 9)
    new.receive("b", marks(5))  # it quotes nothing
    assert new.machine.synchronised and not new.machine.seen(R, 9)


def test_one_that_is_so_far_away_that_its_answers_are_always_late_is_believed_in_the_end():
    new = new_node("a")
    for turn in range(10):
        assert not new.machine.synchronised
        new.now += 1.5
        late_answer(new, 2000 * turn, turn + 1)
        new.fire("synchronise", after=0.5)
    assert new.machine.synchronised and new.machine.seen(R, 10)


def test_the_age_that_one_quotes_is_only_for_what_it_tells_next_over_this_link():
    new = new_node("a", "b")
    new.now += 5.0
    new.receive("a", ("asked", 0))
    new.receive("stranger", ("asked", 0))
    new.step(NeighbourDown("a"))
    new.step(NeighbourUp("a"))
    new.receive("a", marks(5))
    assert new.machine.synchronised
    for message in (("asked",), ("asked", -1), ("asked", 1.5), ("asked", 0, 0)):
        assert new.receive("a", message)[-1] == Refused("a", "asked")


def test_one_that_knows_better_tells_again():
    new = new_node("first", "second")
    new.receive("first", marks(1, synchronised=False))
    new.receive("first", marks(4))
    assert new.machine.synchronised and new.machine.seen(R, 4)


def test_a_neighbour_that_is_new_itself_is_believed_only_when_time_is_up():
    new = Node()
    assert new.step(NeighbourUp("a"))[:2] == [
        SendBroadcast(("a",), ("synchronise", 0), False),
        SetTimer(("synchronise", ""), 2.0),
    ]
    new.receive("a", ("marks", False, True, True, (("r", 7, 2, (), ()),)))
    assert not new.machine.synchronised
    assert sent(new.receive("a", ("digest", 5))) == []
    assert answer(new.receive("a", ("synchronise", 0))) == [("marks", False, True, True, ())]
    assert answer(new.fire("synchronise"))[0][:2] == ("marks", True)  # who has asked is told again
    assert new.machine.synchronised and new.machine.seen(R, 2)


def test_what_one_neighbour_was_asked_for_is_not_asked_of_another():
    node = Node("a", "b")
    for neighbour in ("a", "b"):
        node.receive(neighbour, ("summary", True, (), (("r", 7, 3, ()),)))
    assert sent(node.fire("pull", "a")) == [(("a",), ("pull", (("r", 7, ((1, 3),)),)))]
    node.receive("b", ("summary", True, (), (("r", 7, 4, ()),)))
    assert sent(node.fire("pull", "b")) == [(("b",), ("pull", (("r", 7, ((4, 4),)),)))]


def test_a_pull_goes_on_until_all_is_served_and_ends_where_nothing_comes():
    node = Node("a", parameters=PlumtreeParameters(pull_count=2))
    node.receive("a", ("summary", True, (), (("r", 7, 5, ()),)))
    assert sent(node.fire("pull", "a")) == [(("a",), ("pull", (("r", 7, ((1, 2),)),)))]
    node.receive("a", ("answer", *R, 1, 1, False, 0, "h", b"p"))
    assert sent(node.receive("a", ("served", True, b""))) == [(("a",), ("pull", (("r", 7, ((2, 3),)),)))]
    assert sent(node.receive("a", ("served", True, b""))) == [(("a",), ("pull", (("r", 7, ((4, 5),)),)))]
    assert sent(node.receive("a", ("served", False, b""))) == []
    assert sent(node.receive("a", ("served", False, b""))) == []


def test_a_pull_is_served_as_far_as_the_log_goes_and_no_more_than_fits():
    node = Node("a", parameters=PlumtreeParameters(pull_count=3, retention_count=4))
    for number in range(1, 7):
        node.gossip("a", number)  # 1 and 2 are kept no more
    effects = node.receive("a", ("pull", (("r", 7, ((1, 9),)), ("q", 1, ((1, 1),)))))
    kinds = [(message[0], message[3] if message[0] == "answer" else message[1]) for _, message in sent(effects)]
    assert kinds == [("answer", 3), ("answer", 4), ("answer", 5), ("served", True)]
    assert [effect for effect in effects if isinstance(effect, Unavailable)] == [Unavailable("a", R, 1, 2)]


def test_each_branch_that_differs_has_its_turn():
    node = Node("a")
    for bits in range(2000):
        node.gossip("a", root=Root("r", bits))
    looked = set()
    for _ in range(40):
        for _, message in sent(node.receive("a", ("branches", (0,) * 64))):
            assert message[0] in ("summary", "leaves")
            looked |= {part - 4096 for part in message[2]} if message[0] == "summary" else {p[0] for p in message[1]}
    assert looked == set(range(64))


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("threshold", 0, "threshold"),
        ("timeout_1", 0.01, "timeout_1"),
        ("timeout_2", 9.0, "timeout_2"),
        ("ihave_delay_min", 0.2, "ihave_delay_min"),
        ("hold", 500.0, "hold"),
        ("max_payload", 65 << 20, "max_payload"),
        ("meeting_delay", 60.0, "meeting_delay"),
        ("exchange_interval", 600.0, "exchange_interval"),
        ("forget_after", 10.0, "forget_after"),
        ("max_trees", 0, "max_trees"),
        ("pull_count", 0, "pull_count"),
        ("max_holes", 0, "max_holes"),
    ],
)
def test_parameters_that_make_no_sense(field, value, named):
    with pytest.raises(ValueError, match=named):
        PlumtreeParameters(**{field: value})


MALFORMED = [
    None,
    (),
    (1,),
    ("no such kind",),
    ("gossip", "r", 7, 1, 1, False, 0, "h"),
    ("gossip", "r", 7, 0, 1, False, 0, "h", b""),
    ("gossip", "r", 7, True, 1, False, 0, "h", b""),
    ("gossip", "r", -1, 1, 1, False, 0, "h", b""),
    ("gossip", "", 7, 1, 1, False, 0, "h", b""),
    ("gossip", "r", 7, 1, 0, False, 0, "h", b""),
    ("gossip", "r", 7, 1, MOST_HOPS + 1, False, 0, "h", b""),
    ("gossip", "r", 7, 1, 1, False, MOST_AGE + 1, "h", b""),
    ("gossip", "r", 7, 1, 1, 0, 0, "h", b""),
    ("gossip", "r", 7, 1, 1, False, -1, "h", b""),
    ("gossip", "r", 7, 1, 1, False, 0, "", b""),
    ("gossip", "r", 7, 1, 1, False, 0, "h", "text"),
    ("gossip", "r", 7, 1 << 62, 1, False, 0, "h", b""),
    ("answer", "r", 7, 1, 1, False, 0, "h", None),
    ("ihave", ()[:0], 1),
    ("ihave", [("r", 7, 1, False, 1)]),
    ("ihave", (("r", 7, 1, False),)),
    ("ihave", (("r", 7, "1", False, 1),)),
    ("ihave", (("r", 7, 1, False, 1), ("r", 7, 2, False, MOST_HOPS + 1))),
    ("ihave", (("r", 7, 1, False, 1),) * (MOST_ANNOUNCED + 1)),
    ("prune", "r", 7),
    ("prune", "r", 7, 1),
    ("graft", "r", 7, False),
    ("graft", "", 7, False, 0),
    ("digest",),
    ("digest", "0"),
    ("branches", (1, 2)),
    ("leaves", ((64, (0,) * 64),)),
    ("leaves", ((0, (0,)),)),
    ("summary", True, (), (("r", 7, 1, ((3, 2),)),)),
    ("summary", True, (), (("r", 7, 1, ((2, 3),)),)),
    ("summary", True, (), (("r", 7, 9, ((2, 3), (3, 4))),)),
    ("summary", False, (1 << 20,), ()),
    ("summary", False, tuple(range(65)), ()),
    ("summary", True, (), (("r", 7, 1, ()),) * 513),
    ("pull", ((),)),
    ("pull", (("r", 7, ((0, 1),)),)),
    ("served", 1, b""),
    ("synchronise",),
    ("synchronise", -1),
    ("synchronise", True),
    ("marks", True, True, True, (("r", 7, 1, ()),)),
    ("marks", True, True, True, (("r", 7, 1, (), ((2, 0),)),)),
    ("marks", True, True, True, (("r", 7, 3, (), ((2, 0), (2, 0))),)),
    ("marks", True, True, True, (("r", 7, 3, (), ((2, -1),)),)),
    ("marks", True, True, True, ((),) * 501),
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message)[:60])
def test_what_no_node_sends_is_refused_and_changes_nothing(message):
    node = Node("a", "b")
    if type(message) is tuple and message[:1] == ("marks",):
        node.machine._repair.left()
    before = node.machine.sizes()
    effects = node.receive("a", message)
    assert [effect.node for effect in effects if isinstance(effect, Refused)] == ["a"]
    assert delivered(effects) == [] and node.machine.sizes() == before
    assert sum(node.machine.refused.values()) == 1


def test_what_goes_on_says_no_more_hops_and_no_higher_age_than_is_taken():
    """What was taken here would be refused by all others else."""
    node = Node("a", "b", "c")
    node.machine._trees.used(None).add("c")
    effects = node.receive("a", ("gossip", *R, 1, MOST_HOPS, False, MOST_AGE, "h", b"p"))
    node.now += 1.0
    assert ("b",) in [nodes for nodes, _ in sent(effects)]
    (gossip,) = [message for nodes, message in sent(effects) if message[0] == "gossip"]
    assert gossip[4] == MOST_HOPS and gossip[6] == MOST_AGE
    ihaves = [message for _, message in sent(node.fire("ihave")) if message[0] == "ihave"]
    assert ihaves == [("ihave", ((*R, 1, False, MOST_HOPS),))]
