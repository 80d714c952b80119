"""Children on other nodes: placed, watched, ended, and started elsewhere when their node is lost.

The nodes are runtimes of this thread (tests/behaviours/cluster.py); nothing here is about the wire.
"""

from __future__ import annotations

from collections import Counter

import pytest

from partisan_actors.behaviours import ChildSpec, Supervisor, child_tree, placement, stop
from partisan_actors.errors import ActorError, NoConnection, StartError
from partisan_actors.processes.identity import Global
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import monitor, receive, self_pid, send_exit, sleep, trap_exits
from tests.behaviours.children import Diary, child, end, pids, running
from tests.behaviours.cluster import Cluster
from tests.behaviours.servers import process_of
from tests.conditions import wait_until


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def cluster(runtime, monkeypatch):
    monkeypatch.setattr(child_tree, "DOUBT", 0.005)
    cluster = Cluster(runtime, "b@host", "c@host")
    yield cluster
    cluster.close()


def nodes(sup):
    """Where the children run: node names by id."""
    return {id: None if pid is None else pid.node for id, pid in pids(sup).items()}


def events(logs, name):
    return [event for event in logs if event["event"] == name]


# Placing.


@pytest.mark.parametrize(
    ("node", "where"),
    [
        (None, "a@host"),
        ("a@host", "a@host"),
        ("b@host", "b@host"),
        (["c@host", "b@host"], "c@host"),
        (["x@host", "b@host"], "b@host"),
        (lambda spec, members: max(members), "c@host"),
    ],
)
def test_where_a_child_starts(cluster, diary, node, where):
    sup = Supervisor.start_link([child(diary, "a", node=node)])
    pid = pids(sup)["a"]
    assert pid.node == where
    process = cluster.process(pid)
    assert process.parent == sup
    links = [getattr(other, "pid", other) for other in process.links]
    assert links == [sup]


def test_a_placement_function_can_spread_them(cluster, diary):
    placed = Counter()

    def least(spec, members):
        node = min(members, key=lambda node: (placed[node], node))
        placed[node] += 1
        return node

    sup = Supervisor.start_link([child(diary, number, node=least) for number in range(6)])
    assert list(nodes(sup).values()) == ["a@host", "b@host", "c@host"] * 2


@pytest.mark.parametrize("node", ["a@host", "b@host"])
def test_a_function_with_a_node_is_what_the_child_runs(cluster, diary, node):
    def runs(id, *, extra):
        diary.append((id, extra, self_pid()))
        sleep(3600)

    sup = Supervisor.start_link([ChildSpec("a", (runs, "x"), kwargs={"extra": 1}, node=node)])
    wait_until(lambda: diary)
    assert diary.take() == [("x", 1, pids(sup)["a"])]
    assert nodes(sup) == {"a": node}
    cluster.process(pids(sup)["a"]).kill()
    wait_until(lambda: diary)
    assert diary.take() == [("x", 1, pids(sup)["a"])]


def test_a_failed_start_there_fails_like_one_here(cluster, diary):
    diary.failing["b"] = "no"
    with pytest.raises(StartError) as failed:
        Supervisor.start_link([child(diary, "a", node="b@host"), child(diary, "b", node="c@host")])
    assert failed.value.reason == ("shutdown", ("failed_to_start_child", "b", "no"))
    assert diary == [("started", "a"), ("ended", "a", "shutdown")]


def test_a_node_that_does_not_allow_it(cluster, diary):
    cluster.refused["b@host"] = ActorError("b@host does not let others spawn this")
    with pytest.raises(StartError) as failed:
        Supervisor.start_link([child(diary, "a", node="b@host")])
    assert "does not let others spawn" in failed.value.reason[1][2].message


def test_a_placement_function_that_fails_fails_the_start(cluster, diary):
    with pytest.raises(StartError) as failed:
        Supervisor.start_link([child(diary, "a", node=lambda spec, members: 1 / 0)])
    assert failed.value.reason[1][2].type == "ZeroDivisionError"


# Ending.


def test_a_child_that_crashes_there_is_started_there(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node="b@host")])
    before = pids(sup)["a"]
    cluster.process(before).signal_exit(before, "kill")
    wait_until(lambda: pids(sup)["a"] != before)
    assert nodes(sup) == {"a": "b@host"}


def test_that_counts_as_a_restart(cluster, diary):
    trap_exits()
    sup = Supervisor.start_link([child(diary, "a", node="b@host")], max_restarts=0)
    monitor(sup)
    pid = pids(sup)["a"]
    cluster.process(pid).kill()
    assert receive(Down).reason == "shutdown"


def test_they_are_stopped_in_reverse_wherever_they_are(cluster, diary):
    specs = [child(diary, id, node=node) for id, node in (("1", "b@host"), ("2", None), ("3", "c@host"))]
    sup = Supervisor.start(specs)
    diary.take()
    stop(sup)
    assert diary == [("ended", id, "shutdown") for id in "321"]


def test_one_that_will_not_end_is_killed_there(cluster, diary):
    last = {"last": lambda reason: sleep(3600)}
    sup = Supervisor.start([child(diary, "a", node="b@host", shutdown=0.005, start=last)])
    pid = pids(sup)["a"]
    Supervisor.terminate_child(sup, "a")
    assert cluster.process(pid) is None
    assert nodes(sup) == {"a": None}


def test_one_whose_node_dies_while_it_is_stopped_has_ended(cluster, diary):
    last = {"last": lambda reason: sleep(3600)}
    sup = Supervisor.start([child(diary, "a", node="b@host", shutdown="infinity", start=last), child(diary, "b")])
    diary.take()
    process = process_of(sup)
    process.runtime.clock.call_later(0.005, cluster.down, "b@host")
    stop(sup)
    assert diary == [("ended", "b", "shutdown")]


def test_a_supervisor_that_is_killed_takes_them_along(cluster, diary):
    sup = Supervisor.start([child(diary, "a", node="b@host")])
    pid = pids(sup)["a"]
    send_exit(sup, "kill")
    wait_until(lambda: cluster.process(pid) is None)
    assert diary[-1] == ("ended", "a", "killed")


# Losing a node.


@pytest.mark.parametrize("noticed", ["at once", "late", "never"])
@pytest.mark.parametrize("node", [["b@host", "c@host"], lambda spec, members: [*members, "c@host"][1]])
def test_a_child_whose_node_is_lost_is_started_on_another(cluster, diary, logs, node, noticed):
    sup = Supervisor.start_link([child(diary, "a", node=node)], max_restarts=0)
    assert nodes(sup) == {"a": "b@host"}
    cluster.down("b@host", tell=noticed == "at once")
    wait_until(lambda: nodes(sup) == {"a": "c@host"})
    if noticed == "late":
        cluster.tell_down("b@host")
    (event,) = events(logs, "child_restarted")
    assert "c@host" in event["pid"]
    assert nodes(sup) == {"a": "c@host"}


def test_a_placement_function_is_asked_again_without_the_lost_node(cluster, diary):
    asked = []

    def place(spec, members):
        asked.append(members)
        return members[-1]

    sup = Supervisor.start_link([child(diary, "a", node=place)])
    cluster.down("c@host", tell=False)
    wait_until(lambda: nodes(sup) == {"a": "b@host"})
    assert asked == [["a@host", "b@host", "c@host"], ["a@host", "b@host"]]


def test_many_children_of_a_lost_node_are_no_restarts(cluster, diary):
    specs = [child(diary, number, node=["b@host", "c@host"]) for number in range(20)]
    sup = Supervisor.start_link(specs, max_restarts=0)
    cluster.down("b@host")
    wait_until(lambda: set(nodes(sup).values()) == {"c@host"})


def test_a_temporary_one_is_not_started_again(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node=["b@host", "c@host"], restart="temporary")])
    cluster.down("b@host")
    wait_until(lambda: pids(sup) == {})


def test_a_transient_one_is(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node=["b@host", "c@host"], restart="transient")])
    cluster.down("b@host")
    wait_until(lambda: nodes(sup) == {"a": "c@host"})


# A node that is stopped in order: its processes end with "shutdown", one by one, before it leaves.


@pytest.mark.parametrize("restart", ["permanent", "transient"])
def test_the_children_of_a_node_that_is_stopped_are_started_on_another(cluster, diary, restart):
    specs = [child(diary, number, node=["b@host", "c@host"], restart=restart) for number in range(20)]
    sup = Supervisor.start_link(specs, max_restarts=0)
    diary.take()
    cluster.stop("b@host")
    wait_until(lambda: set(nodes(sup).values()) == {"c@host"})
    assert sorted(diary) == sorted(
        [("ended", number, "shutdown") for number in range(20)] + [("started", number) for number in range(20)]
    )


def test_one_that_may_run_nowhere_else_waits_until_it_is_back(cluster, diary):
    specs = [
        child(diary, "a", node="b@host"),
        child(diary, "b", node="b@host", restart="transient"),
        child(diary, "c", node="b@host", restart="temporary"),
    ]
    sup = Supervisor.start_link(specs, max_restarts=0)
    cluster.stop("b@host")
    wait_until(lambda: nodes(sup) == {"a": None, "b": None})
    cluster.up("b@host")
    wait_until(lambda: nodes(sup) == {"a": "b@host", "b": "b@host"})


def test_a_transient_one_that_ended_so_of_its_own_accord_stays_ended(cluster, diary, runtime, monkeypatch):
    sup = Supervisor.start_link([child(diary, "a", node=["b@host", "c@host"], restart="transient"), child(diary, "b")])
    end(sup, "a", "shutdown")
    assert running(sup) == ["b"]
    real = runtime.clock.now
    monkeypatch.setattr(runtime.clock, "now", lambda: real() + 11)  # its node goes down much later
    cluster.down("b@host")
    assert running(sup) == ["b"]


@pytest.mark.parametrize("how", ["normal", "terminated", "elsewhere"])
def test_what_is_no_sign_of_a_node_that_is_stopped(cluster, diary, how):
    sup = Supervisor.start_link([child(diary, "a", node=["b@host", "c@host"], restart="transient"), child(diary, "b")])
    if how == "terminated":
        Supervisor.terminate_child(sup, "a")
    else:
        end(sup, "a", "normal" if how == "normal" else "shutdown")
    cluster.down("c@host" if how == "elsewhere" else "b@host")
    assert running(sup) == ["b"]


def test_nor_is_an_end_that_was_asked_for_before(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node=["b@host", "c@host"], restart="transient"), child(diary, "b")])
    end(sup, "a", "shutdown")
    Supervisor.terminate_child(sup, "a")
    cluster.down("b@host")
    assert running(sup) == ["b"]


def test_the_limit_holds_for_what_comes_after(cluster, diary):
    """A start that fails on the way to another node is a failed restart like any other."""
    trap_exits()
    sup = Supervisor.start_link(
        [child(diary, "a", node=["b@host", "c@host"], restart="transient"), child(diary, "b")], max_restarts=2
    )
    diary.failing["a"] = "no"
    monitor(sup)
    cluster.stop("b@host")
    assert receive(Down).reason == "shutdown"
    assert diary[-1] == ("ended", "b", "shutdown")


def test_the_strategy_takes_its_siblings_along(cluster, diary):
    specs = [child(diary, "1"), child(diary, "2", node=["b@host", "c@host"]), child(diary, "3")]
    sup = Supervisor.start_link(specs, strategy="rest_for_one", max_restarts=0)
    diary.take()
    cluster.down("b@host")
    wait_until(lambda: nodes(sup) == {"1": "a@host", "2": "c@host", "3": "a@host"})
    assert [entry for entry in diary if entry[1] != "2"] == [("ended", "3", "shutdown"), ("started", "3")]


def test_a_node_that_dies_while_a_child_is_being_started_on_it(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node=["b@host", "c@host"])], max_restarts=0)
    cluster.refused["c@host"] = NoConnection("noconnection", "just went down")
    cluster.up("d@host")
    Supervisor.start_child(sup, child(diary, "b", node=["c@host", "d@host"]))
    assert nodes(sup) == {"a": "b@host", "b": "d@host"}


@pytest.mark.parametrize("error", [NoConnection("noconnection", "gone"), StartError("noconnection")])
def test_one_whose_only_node_does_not_answer_is_tried_again_later_and_nothing_is_counted(cluster, diary, error):
    cluster.refused["b@host"] = error
    sup = Supervisor.start_link([child(diary, "a", node="b@host")], max_restarts=0)
    assert nodes(sup) == {"a": None}
    wait_until(lambda: len(cluster.spawned) >= 3)
    cluster.refused.clear()
    wait_until(lambda: nodes(sup) == {"a": "b@host"})


def test_a_session_that_ends_though_the_node_is_well(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node="b@host")], max_restarts=0)
    before = pids(sup)["a"]
    cluster.break_links("b@host")  # no NodeDown, no NodeUp: nothing but time says that it is well
    wait_until(lambda: pids(sup)["a"] not in (None, before))
    assert nodes(sup) == {"a": "b@host"}
    assert diary[-2:] == [("ended", "a", "noconnection"), ("started", "a")]


# Waiting for a node.


def test_a_child_waits_while_none_of_its_nodes_is_live(cluster, diary, logs):
    sup = Supervisor.start_link([child(diary, "a", node="b@host"), child(diary, "b")], max_restarts=0)
    cluster.down("b@host")
    wait_until(lambda: nodes(sup) == {"a": None, "b": "a@host"})
    assert len(events(logs, "child_waits_for_node")) == 1
    cluster.up("x@host")
    cluster.up("b@host")
    wait_until(lambda: nodes(sup) == {"a": "b@host", "b": "a@host"})


@pytest.mark.parametrize("first", ["link", "view"])
def test_what_the_view_says_ends_a_doubt_at_once(cluster, diary, monkeypatch, first):
    monkeypatch.setattr(child_tree, "DOUBT", 3600)
    sup = Supervisor.start_link([child(diary, "a", node="b@host")])
    if first == "view":
        cluster.tell_down("b@host")
    cluster.down("b@host", tell=first == "link")
    wait_until(lambda: nodes(sup) == {"a": None})
    cluster.up("b@host")
    wait_until(lambda: nodes(sup) == {"a": "b@host"})


def test_so_it_does_from_the_start(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node=["x@host", "y@host"]), child(diary, "b")])
    assert running(sup) == ["b"]
    assert Supervisor.count_children(sup)["active"] == 1
    cluster.up("y@host")
    wait_until(lambda: nodes(sup) == {"a": "y@host", "b": "a@host"})


def test_and_when_it_is_added(cluster, diary):
    sup = Supervisor.start_link([])
    assert Supervisor.start_child(sup, child(diary, "a", node="x@host")) is None
    assert nodes(sup) == {"a": None}
    cluster.up("x@host")
    wait_until(lambda: nodes(sup) == {"a": "x@host"})


def test_a_placement_function_is_asked_whenever_a_node_comes(cluster, diary):
    def place(spec, members):
        return "z@host" if "z@host" in members else None

    sup = Supervisor.start_link([child(diary, "a", node=place)])
    cluster.up("x@host")
    assert nodes(sup) == {"a": None}
    cluster.up("z@host")
    wait_until(lambda: nodes(sup) == {"a": "z@host"})


def test_one_that_fails_then_counts(cluster, diary):
    trap_exits()

    def place(spec, members):
        return None if "z@host" not in members else 1 / 0

    sup = Supervisor.start_link([child(diary, "a", node=place)], max_restarts=3)
    monitor(sup)
    cluster.up("z@host")
    assert receive(Down).reason == "shutdown"


def test_a_placement_function_that_hangs_does_not_hold_the_supervisor(cluster, diary, monkeypatch):
    trap_exits()
    monkeypatch.setattr(placement, "PLACEMENT_TIMEOUT", 0.002)
    well = True

    def place(spec, members):
        return members[-1] if well else sleep(3600)

    sup = Supervisor.start_link([child(diary, "a", node=place)], max_restarts=2)
    monitor(sup)
    well = False
    cluster.process(pids(sup)["a"]).kill()
    assert receive(Down).reason == "shutdown"


def test_a_child_that_waits_can_be_terminated_restarted_and_deleted(cluster, diary):
    sup = Supervisor.start_link([child(diary, "a", node="x@host"), child(diary, "b", node="y@host")])
    Supervisor.terminate_child(sup, "a")
    cluster.up("x@host")
    assert nodes(sup) == {"a": None, "b": None}
    assert Supervisor.restart_child(sup, "a").node == "x@host"
    Supervisor.delete_child(sup, "b")
    cluster.up("y@host")
    assert nodes(sup) == {"a": "x@host"}
    assert diary == [("started", "a")]


def test_one_for_all_leaves_what_waits_waiting(cluster, diary):
    specs = [child(diary, "1", node="x@host"), child(diary, "2"), child(diary, "3")]
    sup = Supervisor.start_link(specs, strategy="one_for_all")
    process_of(pids(sup)["2"]).kill()
    wait_until(lambda: len(diary) == 5)
    assert nodes(sup) == {"1": None, "2": "a@host", "3": "a@host"}
    cluster.up("x@host")
    wait_until(lambda: nodes(sup)["1"] == "x@host")
    assert len(diary) == 6


def test_a_supervisor_of_local_children_hears_nothing_of_nodes(cluster, diary, runtime, logs):
    sup = Supervisor.start_link([child(diary, "a")])
    assert runtime.node_watchers == {}
    Supervisor.start_child(sup, child(diary, "b", node="b@host"))
    assert list(runtime.node_watchers) == [process_of(sup)]


def test_a_name_that_a_lost_node_holds_still_is_waited_for(cluster, diary):
    kept = child(diary, "a").start
    spec = ChildSpec("a", kept, kwargs={"name": Global("one")}, node=["b@host", "c@host"])
    sup = Supervisor.start_link([spec], max_restarts=0)
    cluster.refused["c@host"] = StartError(("already_started", pids(sup)["a"]))
    cluster.down("b@host")
    wait_until(lambda: len(cluster.spawned) >= 4)
    assert nodes(sup) == {"a": None}
    cluster.refused.clear()
    wait_until(lambda: nodes(sup) == {"a": "c@host"})


def test_but_one_that_somebody_else_holds_is_a_failure(cluster, diary):
    cluster.refused["b@host"] = StartError(("already_started", self_pid()))
    with pytest.raises(StartError) as failed:
        Supervisor.start_link([child(diary, "a", node="b@host")])
    assert failed.value.reason[1][2] == ("already_started", self_pid())
