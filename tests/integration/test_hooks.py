"""Hooks between real nodes: see, change, drop, delay, on every path."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gevent.event import Event

from partisan_actors import (
    DROP,
    About,
    CallTimeout,
    CausalLabel,
    Delay,
    Down,
    Node,
    ProcessExit,
    Remote,
    Undelivered,
    monitor,
    receive,
    self_pid,
    send,
    sleep,
)
from partisan_actors.behaviours import call, cast
from partisan_actors.cluster import interposition
from partisan_actors.cluster.hooks import Hooks
from tests.conditions import wait_until
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, connected


@pytest.fixture
def pair(nodes: Nodes) -> Iterator[list[Node]]:
    here, there = nodes.cluster("here", "there")
    with here.attached():
        yield [here, there]


_chains = itertools.count(1)


def start_echo(node: Node) -> Any:
    return node.run(Echo.start, name="echo")


def test_a_send_hook_sees_and_changes_what_leaves_on_every_path(pair: list[Node]):
    here, there = pair
    echo = start_echo(there)
    seen: list[tuple[Any, About]] = []
    here.hooks.add("see", send=lambda message, about: seen.append((message, about)))
    here.hooks.add("change", send=lambda message, about: ("echo", "changed") if about.kind == "call" else message)
    assert call(echo, ("echo", 1)) == "changed"
    cast(echo, "a cast")
    send(Remote("echo", there.name), "a message")
    assert [(message, about.kind, about.dest, about.node) for message, about in seen] == [
        (("echo", 1), "call", echo, there.name),
        ("a cast", "cast", echo, there.name),
        ("a message", "send", Remote("echo", there.name), there.name),
    ]
    assert all(about.sender == self_pid() for _, about in seen)
    wait_until(lambda: there.run(call, echo, "notes") == ("a cast", "a message"))


def test_a_reply_is_on_the_way_too(pair: list[Node]):
    here, there = pair
    echo = start_echo(there)
    there.hooks.add("answer", send=lambda message, about: [message] if about.kind == "reply" else None)
    assert call(echo, ("echo", 1)) == [1]
    there.hooks.remove("answer")
    here.hooks.add("arrives", receive=lambda message, about: (about.kind, message))
    assert call(echo, ("echo", 1)) == ("reply", 1)


def test_receive_hooks_run_in_the_order_of_arrival_and_everything_keeps_its_order(pair: list[Node]):
    _, there = pair
    echo = start_echo(there)

    def slowly(message: Any, about: About) -> Any:
        if message == 3:
            sleep(0.05)
        return ("hooked", message)

    there.hooks.add("slow", receive=slowly)
    for number in range(10):
        cast(echo, number)
    wait_until(lambda: there.run(call, echo, "notes")[:1])
    there.hooks.remove("slow")  # what has arrived by then keeps its place, hooked or not
    cast(echo, "last")
    wait_until(lambda: there.run(call, echo, "count") == 11)
    notes = there.run(call, echo, "notes")
    assert [note[1] if isinstance(note, tuple) else note for note in notes] == [*range(10), "last"]
    assert notes[0] == ("hooked", 0)


def test_a_down_does_not_overtake_messages_that_wait_for_a_hook(pair: list[Node]):
    here, there = pair
    owner = self_pid()

    def talk() -> None:
        receive(str)
        for number in range(5):
            send(owner, number)

    pid = there.spawn(talk)
    here.hooks.add("slow", receive=lambda message, about: sleep(0.01))
    ref = monitor(pid)
    send(pid, "go")
    assert [receive(timeout=5.0) for _ in range(6)] == [0, 1, 2, 3, 4, Down(ref, pid, "normal")]


def test_who_kills_the_process_of_hooks_before_its_first_step_loses_nothing(pair: list[Node]):
    _, there = pair
    echo = start_echo(there)
    there.hooks.add("see", receive=lambda message, about: ("hooked", message))
    waiting = cluster_of(there).remote.incoming.interposition
    start, killed = waiting._start, []

    def started() -> None:
        start()
        if len(killed) < 3:
            killed.append(waiting._process)
            assert waiting._process is not None
            waiting._process.kill()

    waiting._start = started  # type: ignore[method-assign]
    cast(echo, 1)
    cast(echo, 2)
    wait_until(lambda: there.run(call, echo, "notes") == (("hooked", 1), ("hooked", 2)))
    assert len(killed) == 3 and not waiting.busy


@pytest.mark.parametrize("where", ["send", "receive"])
def test_what_is_dropped_goes_no_further_and_a_call_ends_in_time(pair: list[Node], where: str):
    here, there = pair
    echo = start_echo(there)
    (here if where == "send" else there).hooks.add("drop", **{where: lambda message, about: DROP})
    cast(echo, "gone")
    with pytest.raises(CallTimeout):
        call(echo, ("echo", 1), timeout=0.1)
    (here if where == "send" else there).hooks.remove("drop")
    assert call(echo, "notes") == ()


@pytest.mark.parametrize("where", ["send", "receive"])
def test_what_is_delayed_comes_later_and_others_pass_it(pair: list[Node], where: str):
    here, there = pair
    echo = start_echo(there)
    hooks = (here if where == "send" else there).hooks
    hooks.add("delay", **{where: lambda message, about: Delay(0.1) if message == "late" else None})
    cast(echo, "late")
    cast(echo, "early")
    wait_until(lambda: call(echo, "count") == 2)
    assert call(echo, "notes") == ("early", "late")


def test_an_error_of_a_send_hook_is_the_senders_and_one_of_a_receive_hook_is_logged(pair: list[Node], logs: list[Any]):
    here, there = pair
    echo = start_echo(there)
    here.hooks.add("wrong", send=lambda message, about: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cast(echo, "x")
    here.hooks.remove("wrong")
    there.hooks.add("wrong", receive=lambda message, about: 1 / 0)
    assert call(echo, ("echo", 1)) == 1
    assert [entry["event"] for entry in logs if entry["event"] == "receive_hook_failed"] == ["receive_hook_failed"]


def test_after_hooks_see_what_became_of_it(pair: list[Node]):
    here, there = pair
    echo = start_echo(there)
    seen: list[Any] = []
    here.hooks.add("change", send=lambda message, about: "changed" if message == "x" else DROP)
    here.hooks.add("after", after=lambda message, about: seen.append(message))
    cast(echo, "x")
    cast(echo, "y")
    assert seen == ["changed"]


def test_hooks_stay_over_a_restart_of_their_node(nodes: Nodes):
    node = nodes.make("here")
    node.hooks.add("kept", send=lambda message, about: None)
    node.start()
    assert list(node.hooks) == ["kept"]
    assert cluster_of(node).remote.hooks is node.hooks


def test_wrong_uses_are_told():
    hooks = Hooks()
    hooks.add("one", send=lambda message, about: None)
    with pytest.raises(ValueError, match="there is a hook 'one' already"):
        hooks.add("one", send=lambda message, about: None)
    with pytest.raises(TypeError, match="nothing to do"):
        hooks.add("two")
    with pytest.raises(TypeError, match="is no function"):
        hooks.add("two", send=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name is a str"):
        hooks.add(5, send=lambda message, about: None)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="no hook 'two', only"):
        hooks.remove("two")
    with pytest.raises(ValueError, match="cannot be delayed by -1"):
        Delay(-1)
    with pytest.raises(ValueError, match="cannot be delayed by inf seconds"):
        Delay(float("inf"))
    with pytest.raises(TypeError, match="a delay is a number of seconds, not 'soon'"):
        Delay("soon")  # type: ignore[arg-type]
    assert repr(DROP) == "DROP"


def test_senders_that_waited_for_hooks_go_on_whoever_else_waits(pair: list[Node], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interposition, "LIMIT", 10)
    here, there = pair
    echo = start_echo(there)
    there.hooks.add("slow", receive=lambda message, about: sleep(0.002))
    for number in range(60):
        cast(echo, number)
    wait_until(lambda: there.run(call, echo, "count") == 60)
    ties = cluster_of(here).remote.ties_to(there.name)
    assert not isinstance(ties, str)
    wait_until(lambda: not ties.credit.full)
    assert there.run(call, echo, "notes") == tuple(range(60))


def test_a_hook_taken_off_while_it_works_keeps_the_order(pair: list[Node]):
    _, there = pair
    echo = start_echo(there)
    there.hooks.add("slow", receive=lambda message, about: sleep(0.05))
    cast(echo, 1)
    wait_until(lambda: cluster_of(there).remote.incoming.interposition.busy)
    there.hooks.remove("slow")
    cast(echo, 2)
    wait_until(lambda: there.run(call, echo, "notes") == (1, 2))


def test_causal_messages_are_seen_for_each_member_and_on_arrival(nodes: Nodes):
    names = ("h1-hooks@127.0.0.1", "h2-hooks@127.0.0.1")
    label = CausalLabel("talk", names)
    here, there = nodes.cluster(*names, causal_labels=(label,))
    echo = there.run(Echo.start, name="echo")
    seen: list[Any] = []
    here.hooks.add("see", send=lambda message, about: seen.append(about.dest))
    there.hooks.add("change", receive=lambda message, about: ("seen", message))
    with here.attached():
        send(Remote("echo", "*"), "x", causal="talk")
        assert seen == [Remote("echo", name) for name in names]
        wait_until(lambda: there.run(call, echo, "notes") == (("seen", "x"),))


@pytest.fixture
def chain(nodes: Nodes) -> Any:
    """Three nodes of a label. What is given is sent by the first to both others, and answered by the second."""
    number = next(_chains)
    names = tuple(f"{letter}-chain{number}@127.0.0.1" for letter in "abc")
    a, b, c = nodes.cluster(*names, causal_labels=(CausalLabel("talk", names),))
    echo = c.run(Echo.start, name="echo")

    def say(message: Any) -> None:
        a.run(send, Remote("echo", "*"), message, causal="talk")
        wait_until(lambda: b.run(call, heard, "count") > 0)
        b.run(send, Remote("echo", c.name), ("answer to", message), causal="talk")

    heard = b.run(Echo.start, name="echo")
    return c, echo, say


def test_who_depends_on_a_dropped_message_is_delivered_all_the_same(chain: Any):
    c, echo, say = chain
    c.hooks.add("drop", receive=lambda message, about: DROP if message == "x" else None)
    say("x")
    wait_until(lambda: c.run(call, echo, "notes") == (("answer to", "x"),))


@pytest.mark.parametrize("taken_off", [False, True])
def test_who_depends_on_a_delayed_message_waits_for_it_and_nobody_else_does(chain: Any, taken_off: bool):
    c, echo, say = chain
    shown: list[Any] = []
    c.hooks.add("delay", receive=lambda message, about: Delay(0.5) if message == "x" else shown.append(message))
    say("x")
    waiting = cluster_of(c).remote.incoming.interposition
    if taken_off:
        wait_until(lambda: waiting.holds("talk") and not waiting.busy)
        c.hooks.remove("delay")
    wait_until(lambda: waiting.waiting == 2, what="the answer is here, and waits")
    with c.attached():
        send(echo, "passes it, as it is of this node")
    assert c.run(call, echo, "notes") == ("passes it, as it is of this node",)
    wait_until(lambda: waiting.waiting == 0)
    assert c.run(call, echo, "notes")[1:] == ("x", ("answer to", "x"))
    assert not waiting.holds("talk")


def test_at_their_limit_causal_messages_stay_with_their_senders(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interposition, "LIMIT", 10)
    names = ("l1-hooks@127.0.0.1", "l2-hooks@127.0.0.1")
    here, there = (nodes.start(name, causal_labels=(CausalLabel("talk", names),)) for name in names)
    post = cluster_of(here).remote.causality.post
    post._boxes.parameters = replace(post._boxes.parameters, resend_after=0.05, resend_cap=0.05)
    here.join(there.address or "")
    echo = there.run(Echo.start, name="echo")
    most: list[int] = []
    waiting = cluster_of(there).remote.incoming.interposition

    def slowly(message: Any, about: About) -> None:
        most.append(waiting.waiting)
        sleep(0.001)

    there.hooks.add("slow", receive=slowly)
    wait_until(lambda: cluster_of(here).remote.causality._labels["talk"].machine._departures)
    with here.attached():
        for number in range(60):
            send(Remote("echo", there.name), number, causal="talk")
    wait_until(lambda: there.run(call, echo, "count") == 60, 10.0)
    assert there.run(call, echo, "notes") == tuple(range(60))
    assert 5 < max(most) <= 10
    assert here.telemetry()["causal"]["posted"]["resent"] > 0


@pytest.mark.parametrize("how", ["waits", "raises"])
def test_d52_a_hook_that_does_not_come_back_stops_neither_sends_nor_membership(
    pair: list[Node], nodes: Nodes, how: str
):
    """Partisan: it runs inside the one process that forwards for the whole node."""
    here, there = pair
    echo, heard = start_echo(there), here.run(Echo.start)
    go_on = Event()
    hooked: list[Any] = []

    def bad(message: Any, about: About) -> None:
        hooked.append(message)
        if how == "raises":
            raise ZeroDivisionError("as asked")
        go_on.wait()

    there.hooks.add("bad", receive=bad)
    cast(echo, "hooked")
    wait_until(lambda: hooked == ["hooked"])
    for number in range(20):
        there.run(cast, heard, number)
    wait_until(lambda: call(heard, "notes") == tuple(range(20)))
    third = nodes.start("third")
    third.join(there.address or "")
    wait_until(lambda: connected(here, there, third))
    third.leave()
    wait_until(lambda: connected(here, there))
    assert there.run(call, echo, "count") == (1 if how == "raises" else 0)
    go_on.set()
    wait_until(lambda: there.run(call, echo, "notes") == ("hooked",))


def test_an_acknowledged_message_that_is_dropped_on_arrival_is_told(pair: list[Node]):
    _, there = pair
    echo = start_echo(there)
    there.hooks.add("drop", receive=lambda message, about: DROP if message == "x" else None)
    ref = send(echo, "x", ack=True)
    for number in range(20):
        send(echo, number, ack=True)
    assert receive(timeout=5.0) == Undelivered(ref, echo, "dropped")  # type: ignore[arg-type]
    wait_until(lambda: there.run(call, echo, "notes") == tuple(range(20)))


def test_a_hook_that_is_told_to_end_loses_nothing(pair: list[Node]):
    _, there = pair
    echo = start_echo(there)

    def give_up(message: Any, about: About) -> None:
        raise ProcessExit("enough")

    there.hooks.add("ends", receive=give_up)
    for number in range(5):
        assert call(echo, ("echo", number)) == number


def test_a_receive_hook_may_call_the_node_that_it_hears(pair: list[Node]):
    here, there = pair
    echo, asked = start_echo(there), here.run(Echo.start)
    there.hooks.add("asks", receive=lambda message, about: call(asked, ("echo", message), 2.0))
    assert call(echo, ("echo", 1)) == 1
