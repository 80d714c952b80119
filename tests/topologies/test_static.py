"""Static: what was joined, and nothing else."""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.topologies import Static
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Joined,
    LinkDown,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Refuse,
    Send,
)

KEEP = ("keep",)


def overlay(*events):
    """The overlay of self@h after these events, and the effects of the last."""
    machine = Static().overlay("self@h")
    effects = ()
    for event in events:
        effects = machine.step(event, 0.0, Random(1))
    return machine, list(effects)


def test_a_member_that_nobody_joined_is_no_neighbour():
    machine, effects = overlay(MemberUp("a@h"), LinkUp("a@h"))
    assert (machine.neighbours(), effects) == ([], [])


def test_what_is_joined_is_a_neighbour_and_told_to_keep_the_link():
    machine, effects = overlay(MemberUp("a@h"), LinkUp("a@h"), Joined("a@h"))
    assert machine.neighbours() == ["a@h"]
    assert effects == [Connect("a@h"), Send("a@h", KEEP)]


def test_the_other_side_keeps_it_as_well():
    machine, effects = overlay(MemberUp("a@h"), LinkUp("a@h"), Message("a@h", KEEP))
    assert (machine.neighbours(), effects) == (["a@h"], [Connect("a@h")])


def test_it_is_told_again_with_each_link_as_it_may_have_forgotten():
    _, effects = overlay(Joined("a@h"), LinkDown("a@h"), LinkUp("a@h"))
    assert effects == [Send("a@h", KEEP)]


def test_one_that_has_joined_us_is_told_too_as_it_may_have_a_new_life():
    _, effects = overlay(MemberUp("a@h"), LinkUp("a@h"), Message("a@h", KEEP), LinkDown("a@h"), LinkUp("a@h"))
    assert effects == [Send("a@h", KEEP)]


def test_one_that_is_gone_is_no_neighbour_and_is_one_again_when_it_is_back():
    machine, effects = overlay(Joined("a@h"), MemberDown("a@h"))
    assert (machine.neighbours(), effects) == ([], [Disconnect("a@h")])
    machine, effects = overlay(Joined("a@h"), MemberDown("a@h"), MemberUp("a@h"))
    assert (machine.neighbours(), effects) == (["a@h"], [Connect("a@h")])


def test_a_member_that_has_moved_is_dialled_anew():
    _, effects = overlay(Joined("a@h"), LinkUp("a@h"), MemberUp("a@h"))
    assert effects == [Connect("a@h")]


def test_one_that_joined_us_says_so_again_when_it_is_back():
    machine, effects = overlay(MemberUp("a@h"), Message("a@h", KEEP), MemberDown("a@h"), MemberUp("a@h"))
    assert (machine.neighbours(), effects) == ([], [])


@pytest.mark.parametrize("payload", [None, "keep", (), ("keep", 1), ["keep"], {"keep": 1}, float("nan")])
def test_what_makes_no_sense_is_counted(payload):
    machine, effects = overlay(MemberUp("a@h"), Message("a@h", payload))
    assert (machine.neighbours(), effects, machine.refused) == ([], [Refuse("a@h", "payload")], {"payload": 1})


def test_a_stranger_is_not_kept():
    machine, effects = overlay(Message("a@h", KEEP))
    assert effects == [Refuse("a@h", "no member", late=True)]
    assert (machine.neighbours(), machine.refused) == ([], {"no member": 1})


def test_nobody_is_its_own_neighbour():
    machine, effects = overlay(MemberUp("self@h"), Joined("self@h"))
    assert (machine.neighbours(), effects) == ([], [])


def test_news_go_over_all_links():
    assert Static().overlay("self@h").gossip(["a@h", "b@h"]) == ["a@h", "b@h"]
