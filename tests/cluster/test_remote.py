"""A message's way between processes of different nodes: send, call, link, monitor, exit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from partisan_actors import (
    ActorError,
    CallError,
    CallTimeout,
    Channel,
    Crash,
    Down,
    Exit,
    Global,
    Life,
    NoConnection,
    Node,
    NoProcess,
    NotSendable,
    Pid,
    Ref,
    Remote,
    ServerExit,
    demonitor,
    link,
    monitor,
    process_info,
    receive,
    register,
    self_pid,
    send,
    send_after,
    send_exit,
    spawn,
    spawn_opt,
    trap_exits,
    unlink,
    unregister,
    whereis,
)
from partisan_actors.behaviours import (
    abcast,
    call,
    cast,
    check_response,
    multi_call,
    receive_response,
    send_request,
    stop,
)
from partisan_actors.behaviours import sys as server_sys
from partisan_actors.behaviours.calls import NO_RESPONSE
from partisan_actors.cluster.hooks import About
from partisan_actors.cluster.ties import Ties
from tests.conditions import wait_until
from tests.integration.workers import Echo, Order, Trapping, crash, end_with, wait_for_ever
from tests.nodes import cluster_of, running_nodes, session_between, stop_reading

NOTHING = object()


class Colour(Enum):
    RED = "red"


@pytest.fixture(scope="module")
def trio() -> Iterator[list[Node]]:
    """Three nodes for all tests of this module that break none of them."""
    with capture_logs(), running_nodes() as nodes:
        yield nodes.cluster("here", "there", "third")


@pytest.fixture(scope="module")
def parallel() -> Iterator[list[Node]]:
    """Two whose default channel has several connections."""
    with capture_logs(), running_nodes() as nodes:
        yield nodes.cluster("here", "there", channels=(Channel("default", parallelism=4),))


@pytest.fixture(params=[1, 4], ids=["one connection", "four connections"])
def any_there(request: pytest.FixtureRequest, logs: list[Any]) -> Iterator[Node]:
    """The other node, over a default channel of one connection, and of four."""
    here, there, *_ = request.getfixturevalue("trio" if request.param == 1 else "parallel")
    with here.attached():
        yield there


@pytest.fixture
def here(trio: list[Node], logs: list[Any]) -> Iterator[Node]:
    """The node whose process the test is."""
    with trio[0].attached():
        yield trio[0]


@pytest.fixture
def there(trio: list[Node], here: Node) -> Node:
    """The other node."""
    return trio[1]


@pytest.fixture
def third(trio: list[Node], here: Node) -> Node:
    """One more."""
    return trio[2]


@pytest.fixture
def echo(there: Node) -> Iterator[Pid]:
    """A server on the other node."""
    pid = Echo.start(node=there.name)
    yield pid
    send_exit(pid, "kill")


def ties(one: Node, other: Node) -> Ties:
    """What ties the processes of one node to those of another."""
    found = cluster_of(one).remote.ties_to(other.name)
    assert isinstance(found, Ties)
    return found


def gone(pid: Pid) -> Pid:
    """End a process, and wait until that is known here."""
    ref = monitor(pid)
    send_exit(pid, "kill")
    receive(lambda message: type(message) is Down and message.ref == ref, timeout=5)
    return pid


def down(ref: Ref) -> Down:
    """The `Down` of one monitor."""
    message = receive(Down, timeout=5)
    assert message.ref == ref
    return message


def nothing_waits() -> bool:
    """Whether the mailbox is empty."""
    return receive(timeout=0, default=NOTHING) is NOTHING


# Messages.


def test_a_message_arrives_equal_and_of_the_same_types(there, echo):
    values: list[Any] = [
        None, True, 1, -(1 << 80), 1.5, "ü", b"x", bytearray(b"y"), [1, [2]], (1, (2,), [3]), {("k",): {1: "v"}},
        {1, 2}, frozenset({3}), datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC), date(2024, 1, 1), timedelta(seconds=1.5),
        Decimal("1.50"), UUID(int=7), Colour.RED, self_pid(), echo, monitor(echo), Remote("a", "b@c"), Global("g"),
        Order(3, ("x", "y")),
    ]  # fmt: skip
    send(echo, ("values", values))
    (arrived,) = call(echo, "notes")
    assert arrived == ("values", values)
    assert [type(value) for value in arrived[1]] == [type(value) for value in values]
    assert call(echo, ("echo", values)) == values


def test_messages_of_a_pair_arrive_in_the_order_sent(echo):
    for number in range(3000):
        (send if number % 3 else cast)(echo, number)
    assert call(echo, "notes") == tuple(range(3000))


def test_a_name_is_as_good_as_a_pid(there, echo):
    there.run(register, "by name", echo)
    dest = Remote("by name", there.name)
    send(dest, 1)
    cast(dest, 2)
    assert call(dest, "notes") == (1, 2)
    with pytest.raises(TypeError, match="whereis"):
        link(dest)  # type: ignore[arg-type]


def test_what_changes_after_a_send_does_not_arrive_changed(echo):
    message = [1]
    send(echo, message)
    message.append(2)
    assert call(echo, "notes") == ([1],)


def test_nobody_gets_what_is_sent_to_nobody(there, echo):
    """Dead pids, unknown names, unknown nodes, an earlier life: many of them, and nothing else suffers."""
    nobody = [
        gone(spawn_opt(wait_for_ever, node=there.name)),
        Remote("nobody", there.name),
        Remote("nobody", "nowhere@127.0.0.1"),
        Pid(Life(there.name, 1, 1), 1),
        Pid(Life("nowhere@127.0.0.1", 1, 1), 1),
        Global("nobody"),
    ]
    for number in range(500):
        for dest in nobody:
            send(dest, number)
            cast(dest, number)
        send(echo, number)
    assert len(call(echo, "notes")) == 500


def test_what_cannot_be_sent_is_told_with_its_path_and_nothing_leaves(there, echo):
    for attempt in (
        lambda: send(echo, {"jobs": [1, print]}),
        lambda: cast(echo, {"jobs": [1, print]}),
        lambda: call(echo, {"jobs": [1, print]}),
        lambda: send(Remote("x", "nowhere@127.0.0.1"), {"jobs": [1, print]}),
    ):
        with pytest.raises(NotSendable) as raised:
            attempt()
        assert "message['jobs'][1]" in str(raised.value).replace('"', "'")
        assert isinstance(raised.value, TypeError)
    assert call(echo, "notes") == ()


def test_a_timer_may_be_set_for_another_node(there, echo):
    send_after(0.001, echo, "later")
    wait_until(lambda: call(echo, "notes") == ("later",))


# Calls.


def test_a_call_gives_the_reply(there, echo):
    assert call(echo, "where") == there.name
    assert call(echo, "caller") == self_pid()
    assert server_sys.get_state(echo)["notes"] == []


@pytest.mark.parametrize("timeout", [5.0, None])
def test_a_call_ends_with_its_server(echo, timeout):
    spawn(send_exit_once_asked, echo)
    with pytest.raises(ServerExit) as raised:
        call(echo, "keep", timeout)
    assert raised.value.reason == "killed"
    with pytest.raises(NoProcess) as no_process:
        call(echo, "where", timeout)
    assert no_process.value.reason == "noproc" and str(echo) in str(no_process.value)


def send_exit_once_asked(server: Pid) -> None:
    wait_until(lambda: server_sys.get_state(server)["callers"])
    send_exit(server, "kill")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("fail", Crash),
        (("exit", ("shutdown", 1)), ("shutdown", 1)),
        (("exit", "normal"), "normal"),
        ("unsendable", Crash),
    ],
)
def test_a_server_that_ends_in_a_call_fails_it(echo, request_, reason):
    with pytest.raises(ServerExit) as raised:
        call(echo, request_)
    if reason is not Crash:
        assert raised.value.reason == reason
        return
    assert isinstance(raised.value.reason, Crash)
    assert ("NotSendable" if request_ == "unsendable" else "ZeroDivisionError") in raised.value.reason.type
    assert "Traceback" in raised.value.reason.traceback


def test_a_stop_may_answer_first(echo):
    assert call(echo, ("stop", "normal")) == "stopping"
    with pytest.raises(NoProcess):
        call(echo, "where")


def test_calls_to_nobody_end_at_once(there):
    began = time.monotonic()
    with pytest.raises(NoProcess):
        call(Remote("nobody", there.name), 1)
    with pytest.raises(NoConnection) as raised:
        call(Remote("nobody", "nowhere@127.0.0.1"), 1)
    assert isinstance(raised.value, ConnectionError) and "nowhere@127.0.0.1" in str(raised.value)
    with pytest.raises(NoProcess):
        call(Global("nobody"), 1)
    assert time.monotonic() - began < 1.0


def test_a_call_ends_when_its_time_is_up(echo):
    began = time.monotonic()
    with pytest.raises(CallTimeout) as raised:
        call(echo, "keep", 0.05)
    assert isinstance(raised.value, TimeoutError)
    assert 0.05 <= time.monotonic() - began < 2.0


def test_d43_a_late_reply_never_reaches_the_mailbox(there, third, echo):
    """Partisan: late replies of remote servers pollute the mailbox."""
    with pytest.raises(CallTimeout):
        call(echo, "keep", 0.02)
    call(echo, ("answer kept", "late"))
    # Also one that is on its way already when the caller gives up: answered, unheard, while the caller does not wait.
    other = Echo.start(node=third.name)
    asked = send_request(other, ("echo", "late"))
    wait_until(lambda: cluster_of(third).remote.ties_to(self_pid().node).callers == {})  # type: ignore[union-attr]
    asked.abandon()
    call(other, "where")
    assert nothing_waits()


def test_requests_that_were_given_up_or_answered_elsewhere_are_forgotten(here, there, third, echo):
    """What a callee's node keeps of a request does not stay until the callee ends."""
    for _ in range(3):
        with pytest.raises(CallTimeout):
            call(echo, "keep", 0.01)
    other = Echo.start(node=third.name)
    for _ in range(3):
        assert call(echo, ("hand on", other)) == (there.name, third.name)
    local = Echo.start()
    assert call(echo, ("hand on", local)) == (there.name, here.name)
    wait_until(lambda: not ties(there, here).callers)
    process = cluster_of(there).remote.runtime.process(echo)
    assert process is not None and not process.watches
    assert not ties(here, there).watches


def test_a_request_may_be_answered_by_any_process_that_was_handed_the_caller(there, third, echo):
    other = Echo.start(node=third.name)
    assert call(echo, ("hand on", other)) == (there.name, third.name)
    # Once: whoever is second is not heard.
    asked = send_request(echo, "keep")
    assert call(echo, ("hand on", other)) == (there.name, third.name)
    call(echo, ("answer kept", "first"))
    assert receive_response(asked, 5) == "first"
    assert nothing_waits()


def test_hooks_see_an_answer_of_a_process_that_was_handed_the_caller(here, third, echo):
    other = Echo.start(node=third.name)
    seen: list[About] = []
    third.hooks.add("answer", send=lambda value, about: [value] if about.kind == "reply" else None)
    third.hooks.add("shown", after=lambda value, about: seen.append(about) if about.kind == "reply" else None)
    try:
        assert call(echo, ("hand on", other)) == [(echo.home.node, third.name)]
    finally:
        third.hooks.remove("answer")
        third.hooks.remove("shown")
    assert seen == [About("reply", here.name, other, self_pid())]


def test_answers_of_a_process_that_was_handed_the_callers_wait_for_room(here, third, echo):
    other = Echo.start(node=third.name)
    call(other, "where")
    asked = [send_request(echo, ("hand on", other)) for _ in range(80)]
    value = bytes(1 << 20)
    third.hooks.add("large", send=lambda _, about: value if about.kind == "reply" else None)
    read_on = stop_reading(here, third)
    try:
        outgoing = session_between(third, here).default
        wait_until(lambda: outgoing.congested and outgoing._waiting)
        assert outgoing.unsent + outgoing.unacknowledged < 16 << 20
    finally:
        read_on()
        answers = [receive_response(request, 20) for request in asked]
        third.hooks.remove("large")
    assert answers == [value] * 80
    assert nothing_waits()


def test_the_end_of_the_callee_fails_a_call_that_was_handed_on(third, echo):
    other = Echo.start(node=third.name)
    server_sys.suspend(other)
    asked = send_request(echo, ("hand on", other))
    wait_until(lambda: not server_sys.get_state(echo)["callers"])
    send_exit(echo, "kill")
    with pytest.raises(ServerExit):
        receive_response(asked, 5)
    server_sys.resume(other)
    call(other, "where")
    assert nothing_waits()


def test_d08_calls_may_go_in_circles_over_nodes(here, there, echo):
    """Partisan: its rpc runs one call after the other, and one that calls back never ends."""
    first, second = Echo.start(), Echo.start()
    assert call(echo, ("nested", first, ("nested", echo_beside(there), ("nested", second, "where")))) == here.name
    with pytest.raises(ServerExit) as raised:  # a circle through the callee itself ends by the inner time limit
        call(echo, ("nested", echo, "where"))
    assert "calling_self" in raised.value.reason.message or "itself" in raised.value.reason.message


def echo_beside(node: Node) -> Pid:
    return Echo.start(node=node.name)


def test_d46_a_request_that_nobody_handles_holds_nobody_up(there, echo):
    """Partisan: unhandled calls are never answered, and block the connection that delivered them."""
    idler = spawn_opt(wait_for_ever, node=there.name)
    asked = [send_request(idler, number) for number in range(100)]
    assert call(echo, "where") == there.name
    with pytest.raises(CallTimeout):
        call(idler, "anything", 0.02)
    send_exit(idler, "kill")
    for request in asked:
        with pytest.raises(ServerExit):
            receive_response(request, 5)


def test_requests_may_be_waited_for_later(echo):
    first, second = send_request(echo, ("echo", 1)), send_request(echo, ("echo", 2))
    assert receive_response(second, 5) == 2
    assert receive_response(first, 5) == 1
    third = send_request(echo, ("echo", 3))
    assert check_response(receive(timeout=5), third) == 3
    assert check_response("something else", third) is NO_RESPONSE
    lost = send_request(Remote("nobody", "nowhere@127.0.0.1"), 1)
    with pytest.raises(NoConnection):
        receive_response(lost, 5)


def test_d44_several_nodes_are_asked_at_once_with_a_time_limit(here, there, third):
    """Partisan: with one, it crashes."""
    for node in (here, third):
        Echo.start(node=node.name, name="on some")
    nodes = [here.name, there.name, third.name, "nowhere@127.0.0.1"]
    replies, bad = multi_call(nodes, "on some", "where", 5)
    assert replies == [(here.name, here.name), (third.name, third.name)]
    assert bad == [there.name, "nowhere@127.0.0.1"]
    abcast(nodes, "on some", "news")
    assert [call(Remote("on some", node.name), "notes") for node in (here, third)] == [("news",), ("news",)]
    replies, bad = multi_call(None, "on some", "where", 5)
    assert (len(replies), bad) == (2, [there.name])
    replies, bad = multi_call([here.name, third.name], "on some", "keep", 0.02)
    assert (replies, bad) == ([], [here.name, third.name])
    for node in (here, third):
        stop(Remote("on some", node.name))


def test_many_callers_at_once_each_get_their_own_reply(echo):
    me = self_pid()

    def caller(number: int) -> None:
        for round_ in range(20):
            assert call(echo, ("echo", (number, round_))) == (number, round_)
        send(me, number)

    for number in range(50):
        spawn(caller, number)
    assert sorted(receive(timeout=10) for _ in range(50)) == list(range(50))


# Monitors.


def test_a_monitor_tells_the_end_once(there, echo):
    ref = monitor(echo)
    send_exit(echo, "done")
    assert down(ref) == Down(ref, echo, "done")
    late = monitor(echo)
    assert down(late) == Down(late, echo, "noproc")
    assert nothing_waits() and not demonitor(ref)


def test_down_names_what_was_monitored(there):
    Echo.start(node=there.name, name="watched")
    by_name = Remote("watched", there.name)
    ref = monitor(by_name)
    stop(by_name)
    assert down(ref) == Down(ref, by_name, "normal")
    ref = monitor(by_name)
    assert down(ref) == Down(ref, by_name, "noproc")


def test_what_is_on_no_connected_node_is_down_at_once(here):
    for dest in (Remote("x", "nowhere@127.0.0.1"), Pid(Life("nowhere@127.0.0.1", 1, 1), 1)):
        ref = monitor(dest)
        assert receive(timeout=0) == Down(ref, dest, "noconnection")


def test_d13_each_monitor_fires_and_each_once(there, echo):
    """Partisan: n registrations deliver n events where one is meant."""
    refs = [monitor(echo) for _ in range(5)]
    assert demonitor(refs[0])
    send_exit(echo, "kill")
    assert [receive(timeout=5) for _ in range(4)] == [Down(ref, echo, "killed") for ref in refs[1:]]
    assert nothing_waits()


def test_down_comes_after_what_was_sent_before(any_there):
    """Signals of a pair are in order, the end included."""
    for _ in range(30):
        pid = spawn_opt(chatter, (self_pid(), 20), node=any_there.name)
        ref = monitor(pid)
        send(pid, "go")
        assert [receive(timeout=5) for _ in range(20)] == list(range(20))
        assert receive(timeout=5) == Down(ref, pid, "said all")


def test_an_exit_comes_after_what_was_sent_before_and_pairs_use_all_connections(any_there):
    trap_exits()
    for _ in range(30):
        pid = spawn_opt(chatter, (self_pid(), 20), node=any_there.name, link=True)
        send(pid, "go")
        assert [receive(timeout=5) for _ in range(20)] == list(range(20))
        assert receive(timeout=5) == Exit(pid, "said all")
    (session,) = [one for one in cluster_of(any_there).peers.sessions() if one.node == self_pid().node]
    default = session.channels["default"]
    used = {stream.id for stream in session.machine.streams if stream.sending.sent}
    assert {index for number, index in used if number == default.number} == set(range(default.streams))


def test_a_link_broken_from_here_does_not_pass_what_was_sent_before(any_there):
    """Exit signals that a process sends, its own end and `send_exit`, and what it has sent to the same process."""
    trap_exits()
    for how in ("ends", "tells"):
        for _ in range(10):
            trapping = Trapping.start(node=any_there.name)
            mine = spawn(talk_and_exit, trapping, 20, how)
            wait_until(lambda: call(trapping, "count") == 21)  # noqa: B023
            assert call(trapping, "notes") == (*range(20), Exit(mine, "said all"))


def talk_and_exit(dest: Pid, count: int, how: str) -> None:
    if how == "ends":
        link(dest)
    for number in range(count):
        send(dest, number)
    if how == "tells":
        send_exit(dest, "said all")
    end_with("said all")


def chatter(dest: Pid, count: int) -> None:
    receive()
    for number in range(count):
        send(dest, number)
    end_with("said all")


def test_a_monitor_that_was_taken_off_stays_silent(here, there, echo):
    ref = monitor(echo)
    assert demonitor(ref)
    wait_until(lambda: not ties(there, here).remote_watches)
    ref = monitor(echo)
    send_exit(echo, "kill")
    wait_until(lambda: process_info(self_pid()).mailbox_length)
    assert not demonitor(ref, flush=True)
    assert nothing_waits()


def test_the_end_of_a_watcher_takes_its_monitors_and_links_off(here, there, echo):
    watcher = spawn(lambda: (monitor(echo), link(echo), wait_for_ever()))
    wait_until(lambda: ties(there, here).remote_watches and ties(there, here).links)
    send_exit(watcher, "normal")
    send_exit(watcher, ("shutdown", "quietly"))
    wait_until(lambda: not ties(there, here).remote_watches and not ties(there, here).links)
    assert not ties(here, there).monitors and not ties(here, there).links
    # The server did not trap: it went with its link.
    ref = monitor(echo)
    assert down(ref).reason == "noproc"


# Links and exits.


def test_a_link_carries_the_end_both_ways(there):
    trap_exits()
    for reason in ("normal", "shutdown", ("any", [1]), "kill"):
        pid = spawn_opt(end_with, (reason,), node=there.name, link=True)
        assert receive(timeout=5) == Exit(pid, reason)
    pid = spawn_opt(wait_for_ever, node=there.name, link=True)
    send_exit(pid, "kill")
    assert receive(timeout=5) == Exit(pid, "killed")
    pid = spawn_opt(crash, node=there.name, link=True)
    match receive(timeout=5):
        case Exit(sender, Crash("ZeroDivisionError", "as asked", traceback)):
            assert sender == pid and "in crash" in traceback
        case other:
            pytest.fail(f"{other!r}")
    # And from here to there.
    trapping = Trapping.start(node=there.name)
    mine = spawn(lambda: (link(trapping), end_with("from here")))
    wait_until(lambda: call(trapping, "notes"))
    assert call(trapping, "notes") == (Exit(mine, "from here"),)


def test_the_end_of_a_linked_process_ends_one_that_does_not_trap(there):
    mine = spawn(wait_for_ever)
    ref = monitor(mine)
    pid = spawn_opt(link_to, (mine, self_pid()), node=there.name)
    assert receive(timeout=5) == "linked"
    send_exit(pid, "all of us")
    assert down(ref).reason == "all of us"


def link_to(pid: Pid, tell: Pid) -> None:
    link(pid)
    send(tell, "linked")
    wait_for_ever()


def test_a_normal_end_is_no_harm_to_the_other(there):
    mine = spawn(wait_for_ever)
    pid = spawn_opt(link_to, (mine, self_pid()), node=there.name)
    receive("linked".__eq__, timeout=5)
    ref = monitor(pid)
    send_exit(pid, ("shutdown", 0))  # kills mine too: not normal
    down(ref)
    other = spawn(wait_for_ever)
    pid = spawn_opt(link_and_end, (other,), node=there.name)
    down(monitor(pid))
    assert process_info(other) is not None


def link_and_end(pid: Pid) -> None:
    link(pid)


def test_a_link_to_nobody_breaks(there):
    trap_exits()
    dead = gone(spawn_opt(wait_for_ever, node=there.name))
    link(dead)
    assert receive(timeout=5) == Exit(dead, "noproc")
    nowhere = Pid(Life("nowhere@127.0.0.1", 1, 1), 1)
    link(nowhere)
    assert receive(timeout=0) == Exit(nowhere, "noconnection")
    earlier = Pid(Life(there.name, 1, 1), 1)
    link(earlier)
    assert receive(timeout=0) == Exit(earlier, "noproc")
    assert process_info(self_pid()).links == []


def test_an_unlinked_process_may_end(here, there):
    trap_exits()
    pid = spawn_opt(wait_for_ever, node=there.name, link=True)
    link(pid)  # twice is once
    assert process_info(self_pid()).links == [pid]
    unlink(pid)
    ref = monitor(pid)
    send_exit(pid, "kill")
    assert down(ref).reason == "killed"
    assert nothing_waits()
    # And when the other end takes it down.
    mine = spawn(wait_for_ever)
    other = spawn_opt(link_and_unlink, (mine, self_pid()), node=there.name)
    receive("unlinked".__eq__, timeout=5)
    wait_until(lambda: not ties(here, there).links)
    send_exit(other, "kill")
    down(monitor(other))
    assert process_info(mine) is not None


def link_and_unlink(pid: Pid, tell: Pid) -> None:
    link(pid)
    unlink(pid)
    send(tell, "unlinked")
    wait_for_ever()


def test_links_taken_down_and_made_anew_on_both_sides_at_once(nodes):
    """What one side takes down is the link that it knew of, and not one that the other side has made since."""
    one, other = nodes.cluster("one", "other")
    with one.attached() as mine:
        trap_exits()
        theirs = other.spawn(do_as_told)
        link(theirs)
        other.run(send, theirs, (link, mine))  # twice linked, by both sides
        wait_until(lambda: other.run(links_of, theirs) == [mine])
        for relinks in (1, 2):
            resume = [stop_reading(one, other), stop_reading(other, one)]
            other.run(send, theirs, (unlink, mine))
            wait_until(lambda: other.run(links_of, theirs) == [])
            for _ in range(relinks):
                unlink(theirs)
                link(theirs)
            for read_on in resume:
                read_on()
            wait_until(lambda: other.run(links_of, theirs) == [mine])
            assert process_info(mine).links == [theirs]
        other.run(send, theirs, (link, mine))
        other.run(send, theirs, (unlink, mine))
        wait_until(lambda: process_info(mine).links == [])
        assert other.run(links_of, theirs) == []
        assert not ties(one, other).links and not ties(other, one).links
        link(theirs)
        wait_until(lambda: other.run(links_of, theirs) == [mine])
        other.run(send_exit, theirs, "the end")
        assert receive(timeout=5) == Exit(theirs, "the end")


def do_as_told() -> None:
    while True:
        function, pid = receive()
        function(pid)


def links_of(pid: Pid) -> list[Pid]:
    return process_info(pid).links  # type: ignore[union-attr]


def test_exit_signals_follow_the_rules_of_one_node(there):
    plain = spawn_opt(wait_for_ever, node=there.name)
    ref = monitor(plain)
    send_exit(plain, "normal")  # ignored
    send_exit(plain, "reason")
    assert down(ref).reason == "reason"
    trapping = Trapping.start(node=there.name)
    ref = monitor(trapping)
    send_exit(trapping, "normal")
    send_exit(trapping, ("detail", 1))
    assert call(trapping, "notes") == (Exit(self_pid(), "normal"), Exit(self_pid(), ("detail", 1)))
    send_exit(trapping, "kill")
    assert down(ref).reason == "killed"


def test_a_reason_that_cannot_be_sent_crosses_as_its_repr(there):
    trap_exits()
    pid = spawn_opt(end_with_a_function, node=there.name, link=True)
    ended = receive(Exit, timeout=5)
    assert ended.sender == pid and ended.reason == repr((1, print))
    waiting = spawn_opt(wait_for_ever, node=there.name, monitor=True)
    send_exit(waiting[0], {"why": print})
    assert down(waiting[1]).reason == repr({"why": print})


def end_with_a_function() -> None:
    end_with((1, print))


# What is of this node only.


def test_some_things_are_asked_of_the_own_node_only(there, echo):
    with pytest.raises(ValueError, match="another node"):
        process_info(echo)
    with pytest.raises(ActorError, match="not a process of"):
        register("elsewhere", echo)
    with pytest.raises(ActorError, match="lives on another node"):
        register(Global("elsewhere"), echo)
    assert whereis("elsewhere") is None
    with pytest.raises(ActorError):
        unregister("elsewhere")


def test_a_pid_of_this_node_that_comes_home_is_its_own(here, echo):
    back = call(echo, ("echo", self_pid()))
    assert back == self_pid() and back.home is here.life
    send(back, "home")
    assert receive(timeout=0) == "home"


def test_the_error_of_a_call_says_who_what_and_why(there):
    with pytest.raises(CallError) as raised:
        call(Remote("nobody", there.name), ("add", 1))
    text = str(raised.value)
    assert str(self_pid()) in text and "nobody" in text and "('add', 1)" in text and "no such process" in text


def test_a_node_that_was_stopped_and_one_that_never_was_are_alike(nodes):
    one, other = nodes.cluster("one", "other")
    with one.attached():
        server = Echo.start(node=other.name)
        asked = send_request(server, "keep")
        ref = monitor(server)
        wait_until(lambda: server_sys.get_state(server)["callers"])
        other.stop()
        # In order: told to shut down first, so nothing is lost with the connection.
        with pytest.raises(ServerExit):
            receive_response(asked, 5)
        assert down(ref).reason == "shutdown"
        for dest in (server, Remote("x", other.name)):
            with pytest.raises(NoConnection):
                call(dest, 1)
