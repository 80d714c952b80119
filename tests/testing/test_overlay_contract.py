"""The contract finds what is wrong with an overlay: each of these breaks one promise, and one test of it fails."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from partisan_actors.testing.checked_overlay import CheckedOverlay
from partisan_actors.testing.overlay_contract import OverlayContract
from partisan_actors.testing.overlay_events import lawful_run, mangled
from partisan_actors.topologies.full_mesh import FullMeshOverlay
from partisan_actors.topologies.overlay import (
    Connect,
    Disconnect,
    Joined,
    LinkUp,
    MemberDown,
    MemberUp,
    Message,
    Send,
    SetTimer,
    TimerFired,
)


@dataclass(frozen=True)
class Mesh:
    """A full mesh of overlays of that class."""

    make: type[FullMeshOverlay] = FullMeshOverlay
    name: str = "full_mesh"
    tag: str = ""

    def parameters(self) -> dict[str, Any]:
        return {}

    def overlay(self, node: str) -> FullMeshOverlay:
        return self.make(node)


class Unsorted(FullMeshOverlay):
    def neighbours(self):
        return super().neighbours()[::-1]


class WithItself(FullMeshOverlay):
    def neighbours(self):
        return sorted([*super().neighbours(), self._node])


class Faithful(FullMeshOverlay):
    """To those that are gone."""

    def step(self, event, now, random):
        return () if isinstance(event, MemberDown) else super().step(event, now, random)


class Silent(FullMeshOverlay):
    """Has neighbours without a Connect."""

    def step(self, event, now, random):
        return [e for e in super().step(event, now, random) if not isinstance(e, Connect)]


class Clinging(FullMeshOverlay):
    """Wants more than it calls its neighbours."""

    def neighbours(self):
        return super().neighbours()[:1]


class Lonely(FullMeshOverlay):
    """Drops all but the first on its list: those in between are not connected, and who has whom is not mutual."""

    def step(self, event, now, random):
        effects = list(super().step(event, now, random))
        for node in sorted(self._members)[1:]:
            self._members.discard(node)
            effects.append(Disconnect(node))
        return effects


class Trusting(FullMeshOverlay):
    """Takes a message for what it should be."""

    def step(self, event, now, random):
        if isinstance(event, Message):
            return [Connect(node) for node in event.payload["nodes"]]
        return super().step(event, now, random)


class Obeying(FullMeshOverlay):
    """Takes whom a message names for a member."""

    def step(self, event, now, random):
        match event:
            case Message(_, str(node)):
                self._members.add(node)
                return (Connect(node),)
        return super().step(event, now, random)


class Chatty(FullMeshOverlay):
    def step(self, event, now, random):
        match event:
            case Joined():
                return (SetTimer("chat", 0.1),)
            case TimerFired("chat"):
                return (*(Send(node, "hello") for node in sorted(self._members)), SetTimer("chat", 0.1))
        return super().step(event, now, random)


class Hashing(FullMeshOverlay):
    """Lets the order of a set decide."""

    def step(self, event, now, random):
        effects = list(super().step(event, now, random))
        if isinstance(event, LinkUp) and self._members:
            effects.append(Send(next(iter(self._members)), "hello"))
        return effects


class Chancy(FullMeshOverlay):
    """Draws from a source of its own, which no seed sets."""

    source = Random()

    def step(self, event, now, random):
        effects = list(super().step(event, now, random))
        return [*effects, SetTimer("a timer", self.source.uniform(5.0, 50.0))] if effects else effects


class Foreign(FullMeshOverlay):
    def step(self, event, now, random):
        return [("open a socket",)] if isinstance(event, LinkUp) else super().step(event, now, random)


class Unsendable(FullMeshOverlay):
    def step(self, event, now, random):
        return [Send(event.node, object())] if isinstance(event, LinkUp) else super().step(event, now, random)


class Gossiping(FullMeshOverlay):
    """Passes news on to the first of its links only."""

    def gossip(self, linked):
        return linked[:1]


class Sharing(FullMeshOverlay):
    """All lives of all nodes have one state."""

    shared: set[str] = set()  # noqa: RUF012

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self._members = self.shared


def contract(topology: Any) -> OverlayContract:
    class Subject(OverlayContract):
        size = 6
        registered = False

        def topology(self):
            return topology

    return Subject()


JOIN = "test_nodes_that_join_one_by_one_are_connected"
BROKEN = [
    *((make, JOIN) for make in (Unsorted, WithItself, Silent, Clinging, Lonely, Foreign)),
    (Faithful, "test_who_leaves_is_nobodys_neighbour"),
    (Faithful, "test_who_crashes_is_nobodys_neighbour"),
    (Trusting, "test_nothing_makes_it_raise"),
    (Obeying, "test_what_it_promises_holds_after_each_step"),
    (Chatty, "test_a_quiet_cluster_says_little"),
    (Chancy, "test_the_same_seed_is_the_same_run"),
    (Gossiping, "test_news_reach_all"),
    (Sharing, "test_two_nodes_share_no_state"),
]


@dataclass(frozen=True)
class Nowhere(Mesh):
    name: str = "nowhere"


class HashingContract(OverlayContract):
    size = 6

    def topology(self):
        return Mesh(Hashing)


@pytest.mark.parametrize("name", [name for name in dir(OverlayContract) if name.startswith("test_")])
def test_a_full_mesh_passes_every_test(name):
    if name != "test_the_same_seed_is_the_same_run":  # needs a class that another interpreter finds
        getattr(contract(Mesh()), name)()


@pytest.mark.parametrize(("make", "name"), BROKEN)
def test_what_is_broken_is_found(make, name):
    with pytest.raises((AssertionError, KeyError, TypeError, IndexError)):
        getattr(contract(Mesh(make)), name)()


def test_the_order_of_a_set_is_found():
    with pytest.raises(AssertionError, match=r"with PYTHONHASHSEED=. the run is another one"):
        HashingContract().test_the_same_seed_is_the_same_run()


def test_a_contract_that_another_interpreter_cannot_import_is_said():
    with pytest.raises(AssertionError, match="at the top of a module"):
        contract(Mesh()).test_the_same_seed_is_the_same_run()


def test_what_cannot_be_sent_is_found():
    with pytest.raises(TypeError, match="object"):
        getattr(contract(Mesh(Unsendable)), JOIN)()


@pytest.mark.parametrize(
    ("topology", "name"),
    [
        (Mesh(name="other"), "test_it_has_the_shape_of_the_interface"),
        (Mesh(FullMeshOverlay, tag=5), "test_it_has_the_shape_of_the_interface"),  # type: ignore[arg-type]
        (Mesh(Unsorted), "test_its_parameters_make_an_equal_one"),
    ],
)
def test_a_topology_that_is_no_value_is_found(topology, name):
    with pytest.raises(AssertionError):
        getattr(contract(topology), name)()


def test_one_that_is_not_registered_is_found():
    class Subject(OverlayContract):
        def topology(self):
            return Nowhere()

    with pytest.raises(LookupError, match="no topology 'nowhere'"):
        Subject().test_its_parameters_make_an_equal_one()


@pytest.mark.parametrize(
    ("traits", "text"),
    [
        ({"clients": ("n01@h", "n02@h")}, "n01@h is a client, and is linked to the clients"),
        ({"full": True}, None),
    ],
)
def test_traits_are_held(traits, text):
    subject = contract(Mesh())
    for trait, value in traits.items():
        setattr(subject, trait, value)
    if text is None:
        getattr(subject, JOIN)()
        return
    with pytest.raises(AssertionError, match=text):
        getattr(subject, JOIN)()


def test_who_are_no_neighbours_of_a_full_mesh_are_named():
    class Half(FullMeshOverlay):
        def step(self, event, now, random):
            return () if getattr(event, "node", "") == "n05@h" else super().step(event, now, random)

    subject = contract(Mesh(Half))
    subject.full = True  # type: ignore[misc]
    with pytest.raises(AssertionError, match=r"n00@h is to have all as neighbours, and has not \['n05@h'\]"):
        getattr(subject, JOIN)()


def test_a_topology_has_to_be_given():
    with pytest.raises(NotImplementedError, match="topology"):
        OverlayContract().test_it_has_the_shape_of_the_interface()


def test_hypothesis_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"pip install 'partisan_actors\[testing\]'"):
        contract(Mesh()).test_what_it_promises_holds_after_each_step()


def test_nonsense_is_the_same_for_the_same_seed_and_seldom_sense():
    payloads = [("heartbeat",), ("forward", "x@h", 5)]
    made = [mangled(payloads, ["a@h"], Random(seed)) for seed in range(200)]
    assert repr(made) == repr([mangled(payloads, ["a@h"], Random(seed)) for seed in range(200)])
    assert sum(payload in payloads for payload in made if payload == payload) < 40
    assert any(isinstance(payload, tuple) and payload[:1] == ("forward",) for payload in made)


def test_a_lawful_run_keeps_to_the_rules_of_the_interface():
    seen: list[Any] = []

    class Watching(FullMeshOverlay):
        def step(self, event, now, random):
            seen.append(event)
            return super().step(event, now, random)

    lawful_run(CheckedOverlay("me@h", Watching("me@h")), ["a@h", "b@h", "c@h"], Random(3), 2000, [("hello",)])
    members: set[str] = set()
    linked: set[str] = set()
    for event in seen:
        match event:
            case MemberUp(node):
                members.add(node)
            case MemberDown(node):
                members.discard(node)
            case LinkUp(node):
                assert node in members and node not in linked
                linked.add(node)
            case Joined(node) | Message(node, _):
                assert node in members and node in linked
            case _ if type(event).__name__ == "LinkDown":
                assert event.node in linked
                linked.discard(event.node)
    assert {type(event).__name__ for event in seen} >= {"MemberUp", "MemberDown", "LinkUp", "LinkDown", "Message"}
