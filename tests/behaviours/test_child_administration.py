"""What other processes ask of a supervisor."""

from __future__ import annotations

import pytest

from partisan_actors.behaviours import ChildInfo, ChildSpec, Supervisor, call, cast, stop, supervisor
from partisan_actors.behaviours.supervisor import ChildError
from partisan_actors.errors import ActorError, NoProcess, NotSendable, StartError
from partisan_actors.processes.identity import Global
from partisan_actors.processes.messages import Down
from partisan_actors.processes.primitives import monitor, receive, spawn_link
from tests.behaviours.children import Diary, Kept, child, end, pids, running
from tests.behaviours.servers import died_of
from tests.conditions import wait_until


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def sup(diary):
    pid = Supervisor.start(
        [
            child(diary, "a"),
            child(diary, "b", restart="transient"),
            child(diary, "c", restart="temporary", type="supervisor"),
        ],
        max_restarts=10**6,
        name="sup",
    )
    diary.take()
    return pid


@pytest.fixture
def restarting(diary, sup):
    """`a` is being started again and again."""
    diary.failing["a"] = "no"
    cast(pids(sup)["a"], ("stop", "oops"))
    wait_until(lambda: pids(sup)["a"] is None)


def test_which_children(sup):
    a, b, c = pids(sup).values()
    assert Supervisor.which_children(sup) == [
        ChildInfo("a", a, "worker", "permanent"),
        ChildInfo("b", b, "worker", "transient"),
        ChildInfo("c", c, "supervisor", "temporary"),
    ]


def test_count_children(sup):
    assert Supervisor.count_children(sup) == {"specs": 3, "active": 3, "supervisors": 1, "workers": 2}
    Supervisor.terminate_child(sup, "a")
    assert Supervisor.count_children(sup) == {"specs": 3, "active": 2, "supervisors": 1, "workers": 2}
    Supervisor.terminate_child(sup, "c")
    assert Supervisor.count_children(sup) == {"specs": 2, "active": 1, "supervisors": 0, "workers": 2}


def test_by_name(sup):
    for address in ("sup", sup):
        assert len(Supervisor.which_children(address)) == 3


def test_the_functions_are_in_the_module_too(sup):
    for name in (
        "which_children",
        "count_children",
        "start_child",
        "terminate_child",
        "restart_child",
        "delete_child",
        "get_childspec",
    ):
        assert getattr(supervisor, name) is getattr(Supervisor, name)


# start_child


def test_start_child_adds_one_at_the_end(sup, diary):
    pid = Supervisor.start_child(sup, child(diary, "d"))
    assert list(pids(sup)) == ["a", "b", "c", "d"]
    assert pids(sup)["d"] == pid
    assert diary.take() == [("started", "d")]
    stop(sup)
    assert [entry[1] for entry in diary] == ["d", "c", "b", "a"]


def test_it_is_supervised_like_the_others(sup, diary):
    before = Supervisor.start_child(sup, child(diary, "d"))
    end(sup, "d")
    assert pids(sup)["d"] not in (None, before)


def test_one_that_does_not_start_is_not_added(sup, diary):
    diary.failing["d"] = "no"
    with pytest.raises(StartError, match=r"could not start its child 'd': 'no'") as failed:
        Supervisor.start_child(sup, child(diary, "d"))
    assert failed.value.reason == "no"
    diary.failing["d"] = ValueError("wrong")
    with pytest.raises(StartError, match="ValueError: wrong") as failed:
        Supervisor.start_child(sup, child(diary, "d"))
    assert died_of(failed.value.reason, ValueError)
    assert list(pids(sup)) == ["a", "b", "c"]
    assert running(sup) == ["a", "b", "c"]


def test_one_that_ignores_is(sup, diary):
    diary.failing["d"] = diary.failing["e"] = "ignore"
    assert Supervisor.start_child(sup, child(diary, "d")) is None
    assert Supervisor.start_child(sup, child(diary, "e", restart="temporary")) is None
    assert list(pids(sup)) == ["a", "b", "c", "d"]


def test_an_id_that_is_there_already(sup, diary):
    with pytest.raises(StartError, match="it runs already, as") as failed:
        Supervisor.start_child(sup, child(diary, "a"))
    assert failed.value.reason == ("already_started", pids(sup)["a"])
    Supervisor.terminate_child(sup, "a")
    with pytest.raises(StartError, match="restart_child starts it") as failed:
        Supervisor.start_child(sup, child(diary, "a"))
    assert failed.value.reason == "already_present"
    assert diary == [("ended", "a", "shutdown")]


def test_a_temporary_one_leaves_its_id_free(sup, diary):
    end(sup, "c", "normal")
    assert Supervisor.start_child(sup, child(diary, "c")) == pids(sup)["c"]


@pytest.mark.parametrize("spec", [None, "a", Kept, {"id": "a"}])
def test_it_takes_a_spec(sup, spec):
    with pytest.raises(TypeError, match="start_child takes a ChildSpec"):
        Supervisor.start_child(sup, spec)
    assert call(sup, ("start_child", spec)) == ("error", "not_a_spec")


def test_a_significant_one_where_that_means_nothing(sup, diary):
    with pytest.raises(ChildError, match="auto_shutdown is never") as failed:
        Supervisor.start_child(sup, child(diary, "d", restart="transient", significant=True))
    assert failed.value.reason[0] == "bad_combination"


def test_a_start_that_fails_to_send_its_spec(sup, diary, runtime):
    def refuse(message):
        if "ChildSpec(" in repr(message):
            raise NotSendable("code cannot cross")

    runtime.check_message = refuse
    with pytest.raises(NotSendable):
        Supervisor.start_child(sup, child(diary, "d"))
    with pytest.raises(ChildError, match="cannot cross") as failed:
        Supervisor.get_childspec(sup, "a")
    assert failed.value.reason == ("not_sendable", "code cannot cross")
    assert running(sup) == ["a", "b", "c"]


# terminate_child


def test_terminate_child_stops_it_and_keeps_its_spec(sup, diary):
    assert Supervisor.terminate_child(sup, "a") is None
    assert diary == [("ended", "a", "shutdown")]
    assert pids(sup)["a"] is None
    assert Supervisor.terminate_child(sup, "a") is None  # again is no error, as in OTP


def test_a_temporary_one_goes_with_its_spec(sup):
    Supervisor.terminate_child(sup, "c")
    assert list(pids(sup)) == ["a", "b"]


def test_it_is_not_started_again(sup, diary):
    Supervisor.terminate_child(sup, "a")
    end(sup, "b")
    assert running(sup) == ["b", "c"]


def test_unless_its_siblings_take_it_along(diary):
    sup = Supervisor.start([child(diary, "a"), child(diary, "b")], strategy="one_for_all")
    Supervisor.terminate_child(sup, "a")
    end(sup, "b")
    assert running(sup) == ["a", "b"]


@pytest.mark.usefixtures("restarting")
def test_it_ends_the_tries_to_start_it(sup, diary):
    Supervisor.terminate_child(sup, "a")
    diary.failing.clear()
    assert running(sup) == ["b", "c"]
    assert Supervisor.restart_child(sup, "a") is not None


# restart_child, delete_child


def test_restart_child(sup, diary):
    Supervisor.terminate_child(sup, "a")
    pid = Supervisor.restart_child(sup, "a")
    assert pids(sup)["a"] == pid
    assert list(pids(sup)) == ["a", "b", "c"]
    assert diary[-1] == ("started", "a")


def test_restart_child_of_one_that_has_ended_for_good(sup):
    end(sup, "b", "normal")
    assert running(sup) == ["a", "c"]
    assert Supervisor.restart_child(sup, "b") == pids(sup)["b"]


def test_a_restart_child_that_fails(sup, diary):
    Supervisor.terminate_child(sup, "a")
    diary.failing["a"] = ["no"]
    with pytest.raises(StartError) as failed:
        Supervisor.restart_child(sup, "a")
    assert failed.value.reason == "no"
    assert pids(sup)["a"] is None  # and it is left at that
    assert Supervisor.restart_child(sup, "a") is not None


def test_delete_child(sup):
    Supervisor.terminate_child(sup, "a")
    assert Supervisor.delete_child(sup, "a") is None
    assert list(pids(sup)) == ["b", "c"]


@pytest.mark.parametrize("operation", ["restart_child", "delete_child"])
def test_of_one_that_runs(sup, operation):
    with pytest.raises(ChildError, match="still runs its child 'a'") as failed:
        getattr(Supervisor, operation)(sup, "a")
    assert failed.value.reason == "running"


@pytest.mark.usefixtures("restarting")
@pytest.mark.parametrize("operation", ["restart_child", "delete_child"])
def test_of_one_that_is_being_restarted(sup, diary, operation):
    with pytest.raises(ChildError, match="is starting its child 'a' again") as failed:
        getattr(Supervisor, operation)(sup, "a")
    assert failed.value.reason == "restarting"
    diary.failing.clear()
    wait_until(lambda: running(sup) == ["a", "b", "c"])


# get_childspec, and all


def test_get_childspec(sup, diary):
    assert Supervisor.get_childspec(sup, "b") == child(diary, "b", restart="transient")


@pytest.mark.parametrize("operation", ["terminate_child", "restart_child", "delete_child", "get_childspec"])
@pytest.mark.parametrize("id", ["nobody", None, 3, ("a",), [], {}])
def test_of_nobody(sup, operation, id):
    with pytest.raises(ChildError, match="has no child") as failed:
        getattr(Supervisor, operation)(sup, id)
    assert failed.value.reason == "not_found"
    assert isinstance(failed.value, ActorError)
    assert running(sup) == ["a", "b", "c"]


def test_of_a_supervisor_that_is_not_there(sup):
    stop(sup)
    for address in (sup, "sup", Global("sup")):
        with pytest.raises(NoProcess):
            Supervisor.which_children(address)


def test_a_request_that_nobody_knows(sup):
    assert call(sup, ("explode", None))[0] == "error"
    assert running(sup) == ["a", "b", "c"]


def test_a_child_that_is_told_to_start_a_sibling(sup, diary):
    """A child may use its supervisor, once its own start is over."""
    monitor(sup)

    def helper():
        Supervisor.start_child("sup", child(diary, "sibling"))

    Supervisor.start_child(sup, ChildSpec("helper", lambda: spawn_link(helper), restart="temporary"))
    wait_until(lambda: "sibling" in running(sup))
    assert receive(Down, timeout=0, default=None) is None
