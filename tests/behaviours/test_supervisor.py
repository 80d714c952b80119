"""A supervisor and its children on one node: starting, restarting, stopping."""

from __future__ import annotations

from functools import partial

import gevent.event
import pytest
import structlog

from partisan_actors.behaviours import ChildSpec, GenServer, Supervisor, call, cast, stop, sys
from partisan_actors.behaviours.gen_server import Continue, Ignore, Stop
from partisan_actors.errors import ProcessExit, StartError
from partisan_actors.processes.identity import Global
from partisan_actors.processes.messages import Down, Exit
from partisan_actors.processes.primitives import (
    current_node,
    monitor,
    receive,
    self_pid,
    send,
    send_exit,
    sleep,
    spawn,
    trap_exits,
    unlink,
    whereis,
)
from tests.behaviours.children import Diary, Kept, child, end, linked_function, pids, running
from tests.behaviours.servers import Scripted, died_of, end_of, process_of
from tests.conditions import wait_until


@pytest.fixture
def diary():
    return Diary()


def events(logs, name):
    return [event for event in logs if event["event"] == name]


# Starting.


def test_children_start_in_order(diary):
    sup = Supervisor.start_link([child(diary, id) for id in "abc"])
    assert diary == [("started", "a"), ("started", "b"), ("started", "c")]
    assert running(sup) == ["a", "b", "c"]


def test_each_is_linked_and_has_the_supervisor_as_its_parent(diary):
    sup = Supervisor.start([child(diary, "a")])
    pid = pids(sup)["a"]
    assert process_of(pid).parent == sup
    assert process_of(sup) in process_of(pid).links
    assert process_of(sup).trapping


def test_a_supervisor_without_children():
    assert Supervisor.which_children(Supervisor.start([])) == []


@pytest.mark.parametrize("name", ["sup", Global("sup")])
def test_its_name(name):
    sup = Supervisor.start_link([], strategy="one_for_all", max_restarts=1, max_seconds=2, name=name)
    assert whereis(name) == sup
    assert Supervisor.which_children(name) == []
    with pytest.raises(StartError) as failed:
        Supervisor.start_link([], name=name)
    assert failed.value.reason == ("already_started", sup)


@pytest.mark.parametrize(
    "start",
    [
        lambda diary: (Kept, diary, "a"),
        lambda diary: (Kept.start_link, diary, "a"),
        lambda diary: partial(Kept.start_link, diary, "a"),
        lambda diary: (linked_function, diary, "a"),
        lambda diary: lambda: linked_function(diary, "a"),
    ],
)
def test_every_form_of_start(diary, start):
    sup = Supervisor.start_link([ChildSpec("a", start(diary))])
    wait_until(lambda: diary.take() == [("started", "a")])
    send_exit(pids(sup)["a"], "kill")
    wait_until(lambda: diary.take() == [("started", "a")])
    assert running(sup) == ["a"]


def test_keyword_arguments_go_to_the_start(diary):
    Supervisor.start_link([ChildSpec("a", Kept, kwargs={"diary": diary, "id": "x", "name": "kept", "timeout": 5})])
    assert diary == [("started", "x")]
    assert whereis("kept") is not None


def test_a_function_runs_in_the_supervisor():
    ran = []
    sup = Supervisor.start_link([ChildSpec("a", lambda: ran.append(self_pid()))])
    assert ran == [sup]
    assert pids(sup) == {"a": None}


def test_a_function_that_forgot_the_link_is_put_right(diary):
    sup = Supervisor.start_link([ChildSpec("a", (Kept.start, diary, "a"))])
    end(sup, "a")
    wait_until(lambda: diary == [("started", "a"), ("ended", "a", "oops"), ("started", "a")])


@pytest.mark.parametrize("nothing", [None, Ignore()])
def test_a_start_that_gives_nothing_keeps_the_spec(diary, nothing):
    sup = Supervisor.start_link([ChildSpec("a", lambda: nothing), ChildSpec("b", lambda: nothing, restart="temporary")])
    assert pids(sup) == {"a": None}  # a temporary one is over with that


def test_a_child_whose_init_ignores(diary):
    diary.failing["a"] = ["ignore"]
    sup = Supervisor.start_link([child(diary, "a"), child(diary, "b")])
    assert pids(sup)["a"] is None
    assert running(sup) == ["b"]
    assert Supervisor.restart_child(sup, "a") == pids(sup)["a"]
    assert running(sup) == ["a", "b"]


FAILURES = [
    ("no", lambda reason: reason == "no"),
    ("normal", lambda reason: reason == "normal"),
    (ValueError("wrong"), lambda reason: died_of(reason, ValueError)),
]


@pytest.mark.parametrize(("failure", "is_right"), FAILURES)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_failed_start_stops_those_before_in_reverse(me, diary, failure, is_right, restart):
    diary.failing["c"] = failure
    specs = [child(diary, id, restart=restart) for id in "abcd"]
    with pytest.raises(StartError, match="failed_to_start_child") as failed:
        Supervisor.start_link(specs, name="sup")
    outer, (word, id, reason) = failed.value.reason
    assert (outer, word, id) == ("shutdown", "failed_to_start_child", "c")
    assert is_right(reason)
    assert diary == [
        *[("started", id) for id in "ab"],
        *[("ended", id, "shutdown") for id in "ba"],
    ]
    assert whereis("sup") is None
    assert set(me.runtime.processes.values()) == {me}
    assert not me.links


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: "no pid", "must give a linked Pid, or None"),
        (lambda needed: None, "missing 1 required positional argument"),
    ],
)
def test_a_start_function_that_fails(start, text):
    with pytest.raises(StartError, match="failed_to_start_child") as failed:
        Supervisor.start_link([ChildSpec("a", start)])
    assert text in failed.value.reason[1][2].traceback


def test_one_that_raises_an_exit():
    def leave():
        raise ProcessExit("left")

    with pytest.raises(StartError) as failed:
        Supervisor.start_link([ChildSpec("a", leave)])
    assert failed.value.reason == ("shutdown", ("failed_to_start_child", "a", "left"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([ChildSpec("a", Scripted), ChildSpec("a", Scripted)],), "two children with the id 'a'"),
        (("ab",), "there is 'a' in it"),
        (([{"id": "a"}],), "there is {'id': 'a'} in it"),
        ((None,), "must return a list of ChildSpec"),
        ((), "missing 1 required positional argument: 'specs'"),
        (([ChildSpec("a", Scripted, restart="transient", significant=True)],), "auto_shutdown is never"),
    ],
)
def test_specs_that_are_wrong(arguments, text):
    with pytest.raises(StartError) as failed:
        Supervisor.start_link(*arguments)
    assert text in failed.value.reason.message


@pytest.mark.parametrize(
    "flags", [{"strategy": "all"}, {"max_restarts": -1}, {"max_seconds": 0}, {"auto_shutdown": "x"}, {"speed": 1}]
)
def test_flags_that_are_wrong(flags):
    (name,) = flags
    with pytest.raises(StartError, match=name):
        Supervisor.start_link([], **flags)


# Subclasses.


class Family(Supervisor):
    strategy = "rest_for_one"
    max_restarts = 7

    def init(self, diary, *ids):
        self.ids = ids
        return [child(diary, id) for id in ids]


def test_a_subclass_returns_the_specs_and_has_the_flags(diary):
    sup = Family.start_link(diary, "a", "b", "c", name="family")
    end(sup, "b")
    assert running("family") == ["a", "b", "c"]
    assert diary[3:] == [
        ("ended", "b", "oops"),
        ("ended", "c", "shutdown"),
        ("started", "b"),
        ("started", "c"),
    ]
    assert sys.get_state(sup)["ids"] == ("a", "b", "c")
    status = sys.get_status(sup)["state"]
    assert (status["rules"].strategy, status["rules"].max_restarts) == ("rest_for_one", 7)
    assert [row[0] for row in status["children"]] == ["a", "b", "c"]


def test_a_subclass_with_flags_only():
    class Strict(Supervisor):
        strategy = "one_for_all"
        max_restarts = 0

    assert sys.get_status(Strict.start([]))["state"]["rules"].max_restarts == 0


@pytest.mark.parametrize(
    ("result", "text"),
    [(None, "must return a list of ChildSpec"), (Continue(1), "must return a list"), ("x", "there is 'x' in it")],
)
def test_a_subclass_whose_init_returns_something_else(result, text):
    class Wrong(Supervisor):
        def init(self):
            return result

    with pytest.raises(StartError, match=text) as failed:
        Wrong.start()
    assert "Wrong.init" in failed.value.reason.message


def test_a_subclass_can_ignore_or_stop():
    class Absent(Supervisor):
        def init(self, result):
            return result

    assert Absent.start_link(Ignore()) is None
    with pytest.raises(StartError) as failed:
        Absent.start_link(Stop("no"))
    assert failed.value.reason == "no"


def test_specs_can_come_from_a_generator(diary):
    assert running(Supervisor.start(child(diary, id) for id in "ab")) == ["a", "b"]


# The strategies.


def steps(text):
    """What a diary holds after starts (+) and stops (-)."""
    return [("started", step[1]) if step[0] == "+" else ("ended", step[1], "shutdown") for step in text.split()]


@pytest.mark.parametrize(
    ("strategy", "ended", "expected"),
    [
        ("one_for_one", "b", "+b"),
        ("one_for_all", "b", "-d -c -a +a +b +c +d"),
        ("rest_for_one", "b", "-d -c +b +c +d"),
        ("rest_for_one", "d", "+d"),
    ],
)
def test_who_is_stopped_and_started_again(diary, strategy, ended, expected):
    sup = Supervisor.start_link([child(diary, id) for id in "abcd"], strategy=strategy)
    before = pids(sup)
    diary.take()
    end(sup, ended)
    after = pids(sup)
    assert diary.take() == [("ended", ended, "oops"), *steps(expected)]
    assert list(after) == list("abcd")
    assert {id for id in after if after[id] != before[id]} == {step[1] for step in expected.split() if step[0] == "+"}


def test_two_that_end_at_once(diary):
    sup = Supervisor.start_link([child(diary, id) for id in "abc"], strategy="one_for_all", max_restarts=1)
    diary.take()
    for pid in (pids(sup)["a"], pids(sup)["c"]):
        send_exit(pid, "kill")
    wait_until(lambda: running(sup) == ["a", "b", "c"])
    assert diary == [("ended", "b", "shutdown"), ("started", "a"), ("started", "b"), ("started", "c")]


def test_temporary_ones_in_reach_go_for_good(diary):
    specs = [child(diary, "a"), child(diary, "b", restart="temporary"), child(diary, "c")]
    sup = Supervisor.start_link(specs, strategy="one_for_all")
    diary.take()
    end(sup, "a")
    assert running(sup) == ["a", "c"]
    assert diary[1:] == [
        ("ended", "c", "shutdown"),
        ("ended", "b", "shutdown"),
        ("started", "a"),
        ("started", "c"),
    ]


# Restart types.

REASONS = ["normal", "shutdown", ("shutdown", "detail"), "oops", "killed"]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_the_restart_types(diary, restart, reason):
    sup = Supervisor.start_link([child(diary, "a", restart=restart)])
    diary.take()
    before = pids(sup)["a"]
    end(sup, "a", reason)
    after = pids(sup)
    restarted = restart == "permanent" or (restart == "transient" and reason in ("oops", "killed"))
    assert diary == [("ended", "a", reason)] + [("started", "a")] * restarted
    if restart == "temporary":
        assert after == {}
    elif restarted:
        assert after["a"] not in (None, before)
    else:
        assert after == {"a": None}


def test_a_child_that_is_killed(diary):
    sup = Supervisor.start_link([child(diary, "a")])
    before = pids(sup)["a"]
    send_exit(before, "kill")
    assert pids(sup)["a"] not in (None, before)


# The limit.


def test_too_many_restarts_end_it_with_shutdown_and_its_children_in_reverse(diary, logs):
    sup = Supervisor.start([child(diary, id) for id in "abc"], max_restarts=2, max_seconds=3600)
    monitor(sup)
    for _ in range(2):
        end(sup, "b")
        assert running(sup) == ["a", "b", "c"]
    diary.take()
    end(sup, "b")
    assert receive(Down).reason == "shutdown"
    assert diary == [("ended", "b", "oops"), ("ended", "c", "shutdown"), ("ended", "a", "shutdown")]
    (event,) = events(logs, "restart_limit_reached")
    assert event["supervisor"] == str(sup)
    assert (event["max_restarts"], event["max_seconds"]) == (2, 3600)


def test_restarts_that_are_long_enough_apart_do_not(diary, runtime, monkeypatch):
    sup = Supervisor.start([child(diary, "a")], max_restarts=1, max_seconds=5)
    real, later = runtime.clock.now, 0.0
    monkeypatch.setattr(runtime.clock, "now", lambda: real() + later)
    for _ in range(6):
        end(sup, "a")
        assert running(sup) == ["a"]
        later += 5.5


def test_a_failing_restart_is_tried_again_and_counts(diary, logs):
    sup = Supervisor.start_link([child(diary, id) for id in "ab"], max_restarts=3, max_seconds=3600)
    diary.failing["a"] = ["no", ValueError("no"), None]
    end(sup, "a")
    wait_until(lambda: running(sup) == ["a", "b"])
    assert len(events(logs, "child_start_failed")) == 2
    monitor(sup)
    trap_exits()
    end(sup, "a")  # the fourth
    assert receive(Down).reason == "shutdown"


def test_one_that_never_works_ends_it(diary):
    trap_exits()
    sup = Supervisor.start_link([child(diary, id) for id in "ab"], max_restarts=10, max_seconds=3600)
    diary.failing["a"] = "no"
    cast(pids(sup)["a"], ("stop", "oops"))
    assert receive(Exit) == Exit(sup, "shutdown")
    assert diary[-1] == ("ended", "b", "shutdown")


def test_between_the_tries_it_serves_others(diary):
    sup = Supervisor.start_link([child(diary, id) for id in "ab"], max_restarts=10**6, max_seconds=3600)
    diary.failing["a"] = "no"
    cast(pids(sup)["a"], ("stop", "oops"))
    wait_until(lambda: pids(sup)["a"] is None)
    assert Supervisor.count_children(sup)["active"] == 1
    Supervisor.terminate_child(sup, "a")  # has an end with it
    diary.failing.clear()
    assert running(sup) == ["b"]
    stop(sup)


@pytest.mark.parametrize(
    ("strategy", "ended", "expected"),
    [
        ("one_for_all", "a", "-c -b +a -a +a -a +a +b +c"),
        ("rest_for_one", "a", "-c -b +a +b +c"),  # what is before the one that fails has been started, and stays
        ("rest_for_one", "b", "-c +b +c"),
        ("one_for_one", "b", "+b"),
    ],
)
def test_a_try_takes_along_what_the_first_would_have(diary, strategy, ended, expected):
    sup = Supervisor.start_link([child(diary, id) for id in "abc"], strategy=strategy)
    diary.take()
    diary.failing["b"] = ["no", "no"]
    end(sup, ended)
    wait_until(lambda: running(sup) == ["a", "b", "c"])
    assert diary[1:] == steps(expected)


def test_one_killed_while_it_starts_a_child_reports_no_failure(diary, logs):
    def slow():
        sleep(3600)

    sup = Supervisor.start([child(diary, "a")])
    process = process_of(sup)
    spawn(Supervisor.start_child, sup, ChildSpec("b", slow))
    wait_until(lambda: process.waiter is not None)
    send_exit(sup, "kill")
    wait_until(lambda: process.greenlet is None)
    assert events(logs, "child_start_failed") == []


# Stopping.


def test_children_stop_in_reverse(diary):
    sup = Supervisor.start([child(diary, id) for id in "abc"])
    diary.take()
    stop(sup)
    assert diary == [("ended", id, "shutdown") for id in "cba"]


@pytest.mark.parametrize("reason", ["normal", "shutdown", "oops"])
def test_it_ends_with_its_parent_and_its_children_with_it(diary, reason):
    me = self_pid()

    def parent():
        send(me, Supervisor.start_link([child(diary, id) for id in "ab"]))
        raise ProcessExit(receive())

    pid = spawn(parent)
    sup = receive()
    diary.take()
    monitor(sup)
    send(pid, reason)
    assert receive(Down).reason == reason
    assert diary == [("ended", id, "shutdown") for id in "ba"]


def test_the_exit_of_anybody_else_is_nothing_to_it(diary):
    sup = Supervisor.start([child(diary, "a")])
    for reason in ("normal", "shutdown", "oops"):
        send_exit(sup, reason)
    assert running(sup) == ["a"]
    assert diary == [("started", "a")]


def test_one_that_is_killed_takes_its_children_along(diary):
    sup = Supervisor.start([child(diary, "a"), child(diary, "b", start={"trapping": False})])
    for pid in pids(sup).values():
        monitor(pid)
    send_exit(sup, "kill")
    assert {receive(Down).reason, receive(Down).reason} == {"killed"}
    assert diary[2:] == [("ended", "a", "killed")]


def stubborn(reason):
    while True:
        receive(timeout=3600, default=None)


@pytest.mark.parametrize("shutdown", [0, 0.005])
def test_a_child_that_does_not_end_in_its_time_is_killed(diary, logs, shutdown):
    sup = Supervisor.start([child(diary, "a", shutdown=shutdown, start={"last": stubborn}), child(diary, "b")])
    pid = pids(sup)["a"]
    monitor(pid)
    stop(sup)
    assert receive(Down).reason == "killed"
    (event,) = [event for event in events(logs, "child_terminated") if event["log_level"] == "error"]
    assert (event["child"], event["reason"]) == ("'a'", "'killed'")


def test_one_that_does_is_not(diary, logs):
    sup = Supervisor.start([child(diary, "a", shutdown=60, start={"last": lambda reason: sleep(0.005)})])
    stop(sup)
    assert diary == [("started", "a"), ("ended", "a", "shutdown")]
    assert [event["log_level"] for event in events(logs, "child_terminated")] == ["debug"]


def test_infinity_waits_for_as_long_as_it_takes(diary):
    released = gevent.event.Event()
    last = {"last": lambda reason: released.wait()}
    sup = Supervisor.start([child(diary, "a", shutdown="infinity", start=last)])
    spawn(stop, sup)
    pid = process_of(sup)
    wait_until(lambda: pid.waiter is not None)
    released.set()
    assert end_of(sup) in ("normal", "noproc")
    assert diary[-1] == ("ended", "a", "shutdown")


def test_brutal_kill_gives_no_time(diary, logs):
    sup = Supervisor.start([child(diary, "a", shutdown="brutal_kill")])
    monitor(pids(sup)["a"])
    stop(sup)
    assert receive(Down).reason == "killed"
    assert diary == [("started", "a")]
    assert [event["log_level"] for event in events(logs, "child_terminated")] == ["debug"]


def test_a_child_that_fails_while_it_is_stopped_is_logged(diary, logs):
    def fail(reason):
        raise ValueError("in terminate")

    sup = Supervisor.start([child(diary, "a", start={"last": fail}), child(diary, "b")])
    stop(sup)
    (event,) = [event for event in events(logs, "child_terminated") if event["log_level"] == "error"]
    assert (event["child"], event["reason"]) == ("'a'", "ValueError: in terminate")


def test_one_that_has_ended_already_tells_why(diary, logs):
    sup = Supervisor.start([child(diary, id) for id in "ab"], strategy="one_for_all")
    first, second = pids(sup).values()
    sys.suspend(sup)  # so that both ends are in its mailbox before it looks
    for pid, reason in ((first, "first"), (second, "second")):
        cast(pid, ("stop", reason))
        end_of(pid)
    sys.resume(sup)
    assert running(sup) == ["a", "b"]
    assert [event["reason"] for event in events(logs, "child_terminated")] == ["'first'", "'second'"]


def test_a_child_that_has_unlinked_itself_is_stopped_all_the_same(diary):
    sup = Supervisor.start([ChildSpec("a", Scripted)])
    pid = pids(sup)["a"]
    call(pid, lambda self, _: unlink(sup))
    monitor(pid)
    stop(sup)
    assert receive(Down).reason == "shutdown"


def test_and_one_that_ended_unnoticed_is_no_trouble():
    sup = Supervisor.start([ChildSpec("a", Scripted)])
    pid = pids(sup)["a"]
    call(pid, lambda self, _: unlink(sup))
    stop(pid)
    assert running(sup) == ["a"]  # as in OTP: without the link nobody tells it
    stop(sup)


def test_nothing_is_lost_while_it_waits_for_a_child(diary):
    me = self_pid()
    go = gevent.event.Event()

    def parent():
        send(
            me, Supervisor.start_link([child(diary, "a", start={"last": lambda reason: go.wait()}), child(diary, "b")])
        )
        raise ProcessExit(receive())

    parent_pid = spawn(parent)
    sup = receive()
    process = process_of(sup)
    spawn(Supervisor.terminate_child, sup, "a")
    wait_until(lambda: process.waiter is not None)
    cast(pids_of(sup)["b"], ("stop", "oops"))  # b ends, and is started again afterwards
    spawn(lambda: send(me, ("children", [info.id for info in Supervisor.which_children(sup)])))
    wait_until(lambda: len(process.mailbox) >= 2)
    send(parent_pid, "shutdown")
    wait_until(lambda: len(process.mailbox) >= 3)
    assert diary[2:] == [("ended", "b", "oops")]
    monitor(sup)
    go.set()
    assert receive(tuple) == ("children", ["a", "b"])
    assert receive(Down).reason == "shutdown"
    assert diary[3:] == [("ended", "a", "shutdown"), ("started", "b"), ("ended", "b", "shutdown")]


def pids_of(sup):
    """The children's pids without asking: it may be busy."""
    server = process_of(sup).server
    return {row[0]: row[1] for row in server._Supervisor__tree.rows()}


def test_a_supervisor_that_is_killed_while_it_waits_for_a_child(diary):
    sup = Supervisor.start([child(diary, "a", shutdown="infinity", start={"last": stubborn}), child(diary, "b")])
    first = pids(sup)["a"]
    spawn(stop, sup)
    wait_until(lambda: ("ended", "b", "shutdown") in diary and process_of(sup).waiter is not None)
    for pid in (sup, first):
        monitor(pid)
    send_exit(sup, "kill")
    assert receive(Down).sender == sup
    send_exit(first, "kill")
    assert receive(Down).sender == first


# Trees.


def test_a_tree_starts_and_stops_from_its_leaves(diary):
    inner = [ChildSpec(id, (Family, diary, f"{id}1", f"{id}2"), type="supervisor") for id in "ab"]
    sup = Supervisor.start_link([*inner, child(diary, "c")])
    assert diary.take() == [("started", id) for id in ("a1", "a2", "b1", "b2", "c")]
    stop(sup)
    assert diary == [("ended", id, "shutdown") for id in ("c", "b2", "b1", "a2", "a1")]


def test_a_supervisor_that_gives_up_is_its_parents_concern(diary):
    inner = ChildSpec(
        "inner", (Supervisor, [child(diary, "a")]), kwargs={"max_restarts": 0}, type="supervisor", shutdown=60
    )
    sup = Supervisor.start_link([inner])
    before = pids(sup)["inner"]
    end(before, "a")
    wait_until(lambda: pids(sup)["inner"] not in (None, before))
    assert running(pids(sup)["inner"]) == ["a"]


def test_what_a_subclass_logs_unexpected(logs):
    sup = Supervisor.start([])
    send(sup, "what?")
    cast(sup, "what?")
    assert call(sup, "what?")[0] == "error"
    assert Supervisor.which_children(sup) == []
    assert [event["event"] for event in logs] == ["unexpected_message", "unexpected_cast", "unknown_request"]


def test_many_children(diary):
    sup = Supervisor.start([child(diary, number) for number in range(500)], strategy="one_for_all")
    for pid in list(pids(sup).values()):
        send_exit(pid, "kill")
    wait_until(lambda: len(diary) == 1000 and Supervisor.count_children(sup)["active"] == 500)
    stop(sup)


# Automatic shutdown.


@pytest.mark.parametrize("form", ["flag", "class"])
def test_the_end_of_a_significant_child_can_end_it(diary, form):
    class Short(Supervisor):
        auto_shutdown = "any_significant"

    specs = [child(diary, "a", restart="transient", significant=True), child(diary, "b")]
    sup = Short.start(specs) if form == "class" else Supervisor.start(specs, auto_shutdown="any_significant")
    monitor(sup)
    end(sup, "a", "oops")
    assert running(sup) == ["a", "b"]
    end(sup, "a", "normal")
    assert receive(Down).reason == "shutdown"
    assert diary[-1] == ("ended", "b", "shutdown")


def test_terminating_one_does_not(diary):
    spec = child(diary, "a", restart="transient", significant=True)
    sup = Supervisor.start([spec, child(diary, "b")], auto_shutdown="any_significant")
    Supervisor.terminate_child(sup, "a")
    assert running(sup) == ["b"]


# The log.


def test_ends_and_restarts_are_logged(diary, logs):
    sup = Supervisor.start([child(diary, "a"), child(diary, "t", restart="transient")], name="sup")
    before = pids(sup)["a"]
    end(sup, "a", "oops")
    end(sup, "t", "normal")
    after = pids(sup)["a"]
    common = {"supervisor": "sup", "node": current_node(), "child": "'a'"}
    assert events(logs, "child_terminated")[0] == {
        "event": "child_terminated",
        "log_level": "error",
        "pid": str(before),
        "reason": "'oops'",
        **common,
    }
    assert events(logs, "child_restarted") == [
        {"event": "child_restarted", "log_level": "info", "pid": str(after), **common}
    ]
    assert events(logs, "child_terminated")[1]["log_level"] == "debug"


def test_a_log_that_is_broken_costs_only_its_events(diary, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise OSError("disk full")

    sup = Supervisor.start([child(diary, "a")])
    monkeypatch.setattr(structlog, "get_logger", broken)
    end(sup, "a", "oops")
    assert running(sup) == ["a"]
    monkeypatch.undo()
    assert "disk full" in capsys.readouterr().err


def test_a_child_that_a_start_function_links_besides(diary):
    def two():
        linked_function(diary, "side")
        return linked_function(diary, "main")

    sup = Supervisor.start([ChildSpec("a", two)])
    wait_until(lambda: len(diary) == 2)
    side = next(p for p in process_of(sup).links if p.pid != pids(sup)["a"])
    send_exit(side.pid, "kill")
    assert running(sup) == ["a"]
    assert len(diary) == 2


def test_strict_messages_do_not_keep_a_supervisor_from_starting(runtime, diary):
    def refuse(message):
        if "ChildSpec" in repr(message):
            raise TypeError("it cannot cross")

    runtime.check_message = refuse
    sup = Supervisor.start_link([ChildSpec("a", GenServer)])
    assert running(sup) == ["a"]
