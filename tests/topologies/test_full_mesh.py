"""The full mesh, and with it the shape of the overlay interface."""

from __future__ import annotations

import runpy
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors import topologies
from partisan_actors.topologies import FullMesh, Overlay, Topology
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    LinkDown,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Refuse,
    TimerFired,
)

NAMES = st.sampled_from(["a@h", "b@h", "c@h", "self@h"])


def overlay(*events):
    """The overlay of self@h after these events, and the effects of the last."""
    machine = FullMesh().overlay("self@h")
    effects = ()
    for event in events:
        effects = machine.step(event, 0.0, Random(1))
    return machine, list(effects)


def test_it_has_the_shape_of_the_interface() -> None:
    topology: Topology = FullMesh()  # what mypy checks here is the test
    machine: Overlay = topology.overlay("self@h")
    assert machine.neighbours() == []


def test_two_full_meshes_are_the_same():
    assert FullMesh() == FullMesh()
    assert hash(FullMesh()) == hash(FullMesh())
    assert repr(FullMesh()) == "FullMesh()"


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        FullMesh().name = "other"


def test_the_description_and_the_machine_have_one_name():
    assert FullMesh().name == FullMesh().overlay("self@h").name == "full_mesh"


def test_two_nodes_share_a_description_and_no_state():
    topology = FullMesh()
    first, second = topology.overlay("a@h"), topology.overlay("b@h")
    first.step(MemberUp("c@h"), 0.0, Random(1))
    assert (first.neighbours(), second.neighbours()) == (["c@h"], [])


def test_every_member_is_a_neighbour():
    machine, effects = overlay(MemberUp("b@h"), MemberUp("a@h"))
    assert machine.neighbours() == ["a@h", "b@h"]
    assert effects == [Connect("a@h")]


def test_a_member_that_is_back_is_dialled_where_it_is_now():
    machine, effects = overlay(MemberUp("a@h"), LinkUp("a@h"), MemberUp("a@h"))
    assert machine.neighbours() == ["a@h"]
    assert effects == [Connect("a@h")]


def test_a_link_that_breaks_is_wanted_all_the_same():
    machine, effects = overlay(MemberUp("a@h"), LinkUp("a@h"), LinkDown("a@h"))
    assert machine.neighbours() == ["a@h"]
    assert effects == []


def test_one_that_left_is_no_neighbour():
    machine, effects = overlay(MemberUp("a@h"), MemberUp("b@h"), MemberDown("a@h"))
    assert machine.neighbours() == ["b@h"]
    assert effects == [Disconnect("a@h")]


def test_nobody_is_its_own_neighbour():
    machine, effects = overlay(MemberUp("self@h"))
    assert (machine.neighbours(), effects) == ([], [])


@pytest.mark.parametrize("event", [MemberDown("a@h"), LinkUp("a@h"), LinkDown("a@h"), TimerFired("x"), object()])
def test_anything_else_changes_nothing(event):
    machine, effects = overlay(MemberUp("b@h"), event)
    assert (machine.neighbours(), effects) == (["b@h"], [])


def test_it_takes_no_messages():
    machine, effects = overlay(MemberUp("b@h"), Message("a@h", [{}]))
    assert (machine.neighbours(), effects) == (["b@h"], [Refuse("a@h", "payload")])


@given(st.lists(st.builds(MemberUp, NAMES) | st.builds(MemberDown, NAMES) | st.builds(LinkDown, NAMES)))
def test_what_it_wants_is_what_it_asked_for(events):
    machine = FullMesh().overlay("self@h")
    wanted = set()
    for event in events:
        for effect in machine.step(event, 0.0, Random(1)):
            match effect:
                case Connect(node):
                    wanted.add(node)
                case Disconnect(node):
                    wanted.discard(node)
    assert machine.neighbours() == sorted(wanted)


def test_the_package_goes_by_one_name_only():
    with pytest.raises(ImportError, match=r"import this package as partisan_actors\.topologies"):
        runpy.run_path(str(Path(topologies.__file__)), run_name="topologies")
