"""What a supervisor decides, without a process: strategies, restart types, and the limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.behaviours.child_spec import ChildSpec
from partisan_actors.behaviours.restart import (
    Child,
    EndSupervisor,
    ForgetChild,
    Phase,
    RestartPolicy,
    Rules,
    StartChildren,
    StopChildren,
)
from partisan_actors.processes.identity import Life, Pid
from partisan_actors.processes.messages import Crash

CRASH = Crash("ValueError", "wrong", "Traceback ...")
NORMAL = ["normal", "shutdown", ("shutdown", "detail")]
ABNORMAL = ["oops", "killed", "noproc", "noconnection", "kill", CRASH, ("shutdown",), ("shutdown", 1, 2), None, 0]
HOME = Life("a@host", 1, 2)


def start():
    return None


def family(specs, ended=None, **phases):
    """Children of these ids; a capital letter is temporary, one with ~ transient. All run but `ended` and `phases`."""
    children = {}
    for serial, name in enumerate(specs.split()):
        id = name.strip("~")
        restart = "temporary" if id.isupper() else "transient" if name.endswith("~") else "permanent"
        child = children[id] = Child(ChildSpec(id, start, restart=restart))
        child.phase = phases.get(id, Phase.STOPPED if id == ended else Phase.RUNNING)
        child.pid = Pid(HOME, serial) if child.phase is Phase.RUNNING else None
    return children


def decide(strategy, children, id, reason=CRASH, **options):
    return RestartPolicy(Rules(strategy)).ended(children, id, reason, 0.0, **options)


# Whom it concerns.


@pytest.mark.parametrize(
    ("strategy", "ended", "actions"),
    [
        ("one_for_one", "b", [StartChildren(("b",))]),
        ("one_for_all", "b", [StopChildren(("d", "c", "a")), StartChildren(("a", "b", "c", "d"))]),
        ("one_for_all", "a", [StopChildren(("d", "c", "b")), StartChildren(("a", "b", "c", "d"))]),
        ("rest_for_one", "b", [StopChildren(("d", "c")), StartChildren(("b", "c", "d"))]),
        ("rest_for_one", "a", [StopChildren(("d", "c", "b")), StartChildren(("a", "b", "c", "d"))]),
        ("rest_for_one", "d", [StartChildren(("d",))]),
    ],
)
def test_the_strategies(strategy, ended, actions):
    assert decide(strategy, family("a b c d", ended), ended) == actions


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_an_only_child(strategy):
    assert decide(strategy, family("a", "a"), "a") == [StartChildren(("a",))]


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.RESTARTING, Phase.WAITING])
def test_those_in_reach_that_do_not_run_are_started_too(phase):
    children = family("a b c", "b", c=phase)
    assert decide("one_for_all", children, "b") == [StopChildren(("a",)), StartChildren(("a", "b", "c"))]
    assert decide("rest_for_one", children, "b") == [StartChildren(("b", "c"))]


def test_temporary_ones_in_reach_are_ended_and_not_started():
    children = family("A b C", "b")
    assert decide("one_for_all", children, "b") == [StopChildren(("C", "A")), StartChildren(("b",))]
    assert decide("rest_for_one", children, "b") == [StopChildren(("C",)), StartChildren(("b",))]
    assert decide("one_for_one", children, "b") == [StartChildren(("b",))]


# When.


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize("reason", NORMAL + ABNORMAL, ids=repr)
def test_the_restart_types(strategy, reason):
    restarts = {"a": True, "t": reason in ABNORMAL, "X": False}
    for id, restart in restarts.items():
        actions = decide(strategy, family("a t~ X", id), id, reason)
        assert any(isinstance(action, StartChildren) and id in action.ids for action in actions) == restart
        if id == "X":
            assert actions == [ForgetChild("X")]
        elif not restart:
            assert actions == []


# How often.


def test_more_than_max_restarts_within_max_seconds_is_the_end():
    policy = RestartPolicy(Rules(max_restarts=2, max_seconds=5))
    children = family("a", "a")
    again, end = [StartChildren(("a",))], [EndSupervisor("restart_limit_reached")]
    times = [0.0, 4.0, 5.5, 9.5, 11.0, 11.5]
    assert [policy.ended(children, "a", CRASH, now) for now in times] == [again, again, again, again, again, end]


def test_max_restarts_0_allows_none():
    policy = RestartPolicy(Rules(max_restarts=0))
    assert policy.ended(family("a", "a"), "a", CRASH, 0.0) == [EndSupervisor("restart_limit_reached")]


def test_a_restart_of_many_counts_once():
    policy = RestartPolicy(Rules("one_for_all", max_restarts=1))
    children = family("a b c", "b")
    assert StartChildren(("a", "b", "c")) in policy.ended(children, "b", CRASH, 0.0)
    assert policy.ended(children, "b", CRASH, 0.0) == [EndSupervisor("restart_limit_reached")]


def test_each_further_try_counts():
    policy = RestartPolicy(Rules(max_restarts=2))
    children = family("a", "a")
    assert policy.ended(children, "a", CRASH, 0.0) == [StartChildren(("a",))]
    assert policy.try_again(children, "a", 0.0) == [StartChildren(("a",))]
    assert policy.try_again(children, "a", 0.0) == [EndSupervisor("restart_limit_reached")]


def test_a_try_takes_along_what_the_first_would_have():
    children = family("a b c", "b", b=Phase.RESTARTING, c=Phase.STOPPED)
    assert RestartPolicy(Rules("rest_for_one")).try_again(children, "b", 0.0) == [StartChildren(("b", "c"))]


def test_ends_that_are_no_restarts_do_not_count():
    policy = RestartPolicy(Rules(max_restarts=0))
    assert policy.ended(family("t~", "t"), "t", "normal", 0.0) == []
    assert policy.ended(family("X", "X"), "X", CRASH, 0.0) == [ForgetChild("X")]


def test_the_loss_of_a_node_does_not_count():
    policy = RestartPolicy(Rules(max_restarts=0))
    lost = family("a", "a")
    for _ in range(10):
        assert policy.ended(lost, "a", "noconnection", 0.0, node_lost=True) == [StartChildren(("a",))]
    assert policy.ended(lost, "a", "noconnection", 0.0) == [EndSupervisor("restart_limit_reached")]


@given(
    st.integers(0, 4),
    st.sampled_from([0.5, 1.0, 5.0]),
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]), max_size=30),
)
def test_the_limit_is_what_counting_by_hand_gives(max_restarts, max_seconds, gaps):
    policy = RestartPolicy(Rules(max_restarts=max_restarts, max_seconds=max_seconds))
    children = family("a", "a")
    now, times = 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
        over = sum(now - time <= max_seconds for time in times) > max_restarts
        assert (policy.ended(children, "a", CRASH, now) == [EndSupervisor("restart_limit_reached")]) == over
        if over:
            return


# Automatic shutdown.


def significant(children, *ids):
    for id in ids:
        spec = children[id].spec
        children[id].spec = ChildSpec(id, start, restart=spec.restart, significant=True)
    return children


@pytest.mark.parametrize(
    ("rule", "children", "ended", "reason", "ends"),
    [
        ("never", significant(family("a~ b~", "a"), "a"), "a", "normal", False),
        ("any_significant", significant(family("a~ b~", "a"), "a", "b"), "a", "normal", True),
        ("any_significant", significant(family("a~ b~", "a"), "b"), "a", "normal", False),
        ("any_significant", significant(family("a~ b~", "a"), "a"), "a", CRASH, False),
        ("any_significant", significant(family("A b", "A"), "A"), "A", CRASH, True),
        ("all_significant", significant(family("a~ b~", "a"), "a", "b"), "a", "normal", False),
        ("all_significant", significant(family("a~ b~", "a", b=Phase.STOPPED), "a", "b"), "a", "normal", True),
        ("all_significant", significant(family("a~ b~", "a", b=Phase.RESTARTING), "a", "b"), "a", "normal", False),
        ("all_significant", significant(family("a~ b", "a"), "a"), "a", "shutdown", True),
    ],
)
def test_when_significant_children_end_the_supervisor(rule, children, ended, reason, ends):
    policy = RestartPolicy(Rules(auto_shutdown=rule))
    actions = policy.ended(children, ended, reason, 0.0)
    assert (EndSupervisor("auto_shutdown") in actions) == ends


# Rules.


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({"strategy": "all_for_one"}, ValueError),
        ({"strategy": None}, ValueError),
        ({"max_restarts": -1}, ValueError),
        ({"max_restarts": 1.5}, TypeError),
        ({"max_restarts": True}, TypeError),
        ({"max_seconds": 0}, ValueError),
        ({"max_seconds": -1}, ValueError),
        ({"max_seconds": math.nan}, ValueError),
        ({"max_seconds": "5"}, TypeError),
        ({"auto_shutdown": True}, ValueError),
    ],
)
def test_wrong_rules_are_named(flags, error):
    (name,) = flags
    with pytest.raises(error, match=rf"^{name} is "):
        Rules(**flags)
