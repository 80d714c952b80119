"""Where children run: preferences, doubts, and placement functions, whatever they do."""

from __future__ import annotations

import pytest

from partisan_actors.behaviours import ChildSpec, placement
from partisan_actors.behaviours.placement import Placement, PlacementFailed, choose_node
from partisan_actors.errors import ActorError, ProcessExit
from partisan_actors.processes.messages import Crash
from partisan_actors.processes.primitives import receive, self_pid, send, send_exit, sleep, trap_exits
from tests.conditions import wait_until

MEMBERS = ["a@host", "b@host", "c@host"]


def start():
    return None


def spec(node):
    return ChildSpec("child", start, node=node)


@pytest.mark.parametrize(
    ("node", "members", "chosen"),
    [
        ("b@host", MEMBERS, "b@host"),
        ("x@host", MEMBERS, None),
        ("b@host", [], None),
        (["c@host", "b@host"], MEMBERS, "c@host"),
        (["x@host", "b@host"], MEMBERS, "b@host"),
        (("b@host", "a@host"), ["a@host"], "a@host"),
        (["x@host", "y@host"], MEMBERS, None),
    ],
)
def test_names_in_their_order(node, members, chosen):
    assert choose_node(spec(node), members) == chosen


def test_a_placement_function_gets_the_spec_and_the_members():
    got = []

    def place(spec, members):
        got.append((spec, members, self_pid()))
        return members[-1]

    wanted = spec(place)
    assert choose_node(wanted, MEMBERS) == "c@host"
    ((given, members, where),) = got
    assert given is wanted
    assert members == MEMBERS
    assert where != self_pid()


def test_it_may_find_none():
    assert choose_node(spec(lambda spec, members: None), MEMBERS) is None


def test_what_it_does_to_its_members_is_done_to_a_copy():
    members = list(MEMBERS)
    assert choose_node(spec(lambda spec, members: members.clear()), members) is None
    assert members == MEMBERS


def leave(reason):
    raise ProcessExit(reason)


@pytest.mark.parametrize(
    ("place", "reason", "text"),
    [
        (lambda spec, members: 1 / 0, Crash, "raised ZeroDivisionError: division by zero"),
        (lambda spec: "a@host", Crash, "raised TypeError"),
        (lambda spec, members: "x@host", tuple, r"returned 'x@host', which is none of the members \['a@host'"),
        (lambda spec, members: 3, tuple, "returned 3"),
        (lambda spec, members: members, tuple, "returned"),
        (lambda spec, members: leave("oops"), str, "ended with 'oops'"),
        (lambda spec, members: leave("normal"), str, "ended with 'normal'"),
        (lambda spec, members: leave(("shutdown", "a@host")), tuple, "ended with"),
        (lambda spec, members: send_exit(self_pid(), "kill"), str, "ended with 'killed'"),
    ],
)
def test_one_that_fails_says_how(place, reason, text):
    with pytest.raises(PlacementFailed, match=text) as failed:
        choose_node(spec(place), MEMBERS)
    assert isinstance(failed.value, ActorError)
    assert isinstance(failed.value.reason, reason)
    assert "placement function of the child 'child'" in str(failed.value)


def test_one_that_takes_too_long_is_killed(me, monkeypatch):
    monkeypatch.setattr(placement, "PLACEMENT_TIMEOUT", 0.005)
    before = set(me.runtime.processes)
    with pytest.raises(PlacementFailed, match="gave no node within"):
        choose_node(spec(lambda spec, members: sleep(3600)), MEMBERS)
    wait_until(lambda: set(me.runtime.processes) == before)
    assert not me.monitors
    assert not me.mailbox


def test_what_it_does_it_does_to_its_own_process(me):
    def intrude(spec, members):
        trap_exits()
        return receive(timeout=0, default="a@host")

    send(self_pid(), "mine")
    assert choose_node(spec(intrude), MEMBERS) == "a@host"
    assert not me.trapping
    assert receive() == "mine"


def test_nodes_in_doubt_are_not_chosen():
    nodes = Placement("a@host", lambda: MEMBERS)
    assert nodes.live() == MEMBERS
    nodes.doubt("b@host")
    nodes.doubt("c@host")
    assert nodes.live() == ["a@host"]
    nodes.trust("b@host")
    nodes.trust("x@host")
    assert nodes.live() == ["a@host", "b@host"]
    nodes.trust_all()
    assert nodes.live() == MEMBERS


def test_ones_own_node_is_beyond_doubt():
    nodes = Placement("a@host", lambda: MEMBERS)
    nodes.doubt("a@host")
    assert nodes.live() == MEMBERS
