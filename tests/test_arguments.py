"""Wrong arguments to the public functions: an error that says what was wrong, and nothing half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from partisan_actors import (
    ActorError,
    CallError,
    CausalLabel,
    Channel,
    Life,
    Node,
    NotSendable,
    Pid,
    Remote,
    StartError,
    process_info,
    receive,
    register,
    self_pid,
    send,
    send_after,
    send_exit,
    sleep,
    spawn,
)
from partisan_actors.behaviours import abcast, call, cast, multi_call, receive_response, send_request, wait_response
from tests.conditions import wait_until
from tests.integration.workers import Echo, NotStarting, wait_for_ever
from tests.nodes import Nodes, cluster_of, running_nodes


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with running_nodes() as nodes:
        yield nodes


@pytest.fixture
def node(nodes: Nodes) -> Iterator[Node]:
    node = nodes.start()
    with node.attached():
        yield node


@pytest.mark.parametrize("wrong", ["soon", float("nan"), True, [1]])
@pytest.mark.parametrize(
    "use",
    [
        lambda value: receive(timeout=value),
        lambda value: call("echo", ("echo", 1), value),
        lambda value: Echo.start(timeout=value),
        lambda value: wait_response(send_request("echo", ("echo", 1)), value),
        lambda value: multi_call(None, "echo", ("echo", 1), value),
        lambda value: sleep(value),
        lambda value: send_after(value, self_pid(), "x"),
    ],
)
def test_what_is_no_number_of_seconds_is_refused(node: Node, use: Callable[[Any], Any], wrong: Any):
    Echo.start(name="echo")
    with pytest.raises((TypeError, ValueError), match="a number of seconds"):
        use(wrong)
    assert call("echo", ("echo", 1)) == 1


def test_a_wrong_time_to_stop_a_node_stops_nothing(node: Node):
    pid = spawn(wait_for_ever)
    with pytest.raises(TypeError, match="timeout is a number of seconds, not 'x'"):
        node.stop(timeout="x")  # type: ignore[arg-type]
    assert process_info(pid) is not None and node.members() == [node.name]


def test_a_request_that_was_given_up_says_so(node: Node):
    request = send_request(Echo.start(), ("sleep", 10))
    with pytest.raises(TimeoutError):
        receive_response(request, 0.01)
    for again in (receive_response, wait_response):
        with pytest.raises(CallError, match="it was given up before") as error:
            again(request, 0.01)
        assert error.value.reason == "abandoned"


def test_an_empty_name_is_none(node: Node):
    with pytest.raises(ValueError, match="empty name"):
        register("", self_pid())


def test_one_node_is_no_list_of_nodes(node: Node):
    for use in (lambda: multi_call(node.name, "echo", 1), lambda: abcast(node.name, "echo", 1)):
        with pytest.raises(TypeError, match="nodes is a list of node names, not one str: give"):
            use()


def test_join_takes_an_address(node: Node):
    with pytest.raises(TypeError, match=r"join takes an address, as node\.address says it, not 3"):
        node.join(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("option", "told"), [("listen", "listen is an address"), ("spawnable", "list of patterns")])
def test_options_that_are_no_lists_are_named(option: str, told: str):
    with pytest.raises(TypeError, match=told):
        Node("here@127.0.0.1", **{option: 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "use",
    [
        lambda node: node.subscribe(3),
        lambda node: Node("here@127.0.0.1", channels=3),  # type: ignore[arg-type]
        lambda node: Node("here@127.0.0.1", spawnable=(3,)),  # type: ignore[arg-type]
    ],
)
def test_what_is_none_is_refused_at_the_door(node: Node, use: Callable[[Node], Any]):
    with pytest.raises(TypeError, match=", not "):
        use(node)


def test_what_cannot_be_sent_later_is_told_now(nodes: Nodes, node: Node):
    other = nodes.start("other")
    node.join(other.address)
    echo = Echo.start(node=other.name)
    with pytest.raises(NotSendable, match="a function cannot be sent"):
        send_after(1.0, echo, print)


def test_requests_end_with_their_caller_on_both_nodes(nodes: Nodes, node: Node):
    other = nodes.start("other")
    node.join(other.address)
    echo = Echo.start(node=other.name)

    def ask() -> None:
        for _ in range(10):
            send_request(echo, "keep")

    for _ in range(20):
        node.run(ask)
    assert node._runtime is not None
    assert node._runtime.requests == {}
    ties = cluster_of(other).remote.ties_to(node.name)
    assert not isinstance(ties, str)
    wait_until(lambda: not ties.callers)


def test_a_start_that_fails_with_an_odd_reason_is_a_start_error(node: Node):
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no text")

    with pytest.raises(StartError):
        NotStarting.start("stop", Odd())


NOBODY = Remote("echo", "nobody@127.0.0.1")


def uses_of(dest: Any) -> list[Callable[..., Any]]:
    return [
        lambda **options: send(dest, 1, **options),
        lambda **options: send(dest, 1, ack=True, **options),
        lambda **options: cast(dest, 1, **options),
        lambda **options: call(dest, ("echo", 1), **options),
        lambda **options: send_request(dest, ("echo", 1), **options),
    ]


@pytest.mark.parametrize("argument", ["partition_key", "channel"])
def test_what_cannot_be_looked_up_is_told_wherever_the_receiver_is(nodes: Nodes, node: Node, argument: str):
    other = nodes.start("other")
    node.join(other.address)
    local, ended = Echo.start(), Echo.start()
    send_exit(ended, "kill")
    dests = [local, ended, "unknown", NOBODY, Pid(Life(NOBODY.node, 1, 1), 5), Echo.start(node=other.name)]
    for dest in dests:
        for use in uses_of(dest):
            with pytest.raises(TypeError, match=f"{argument}: unhashable type: 'list'"):
                use(**{argument: [1]})
    assert call(local, "count") == 0
    assert receive(timeout=0, default=None) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("fallback", "no"),
        ("fallback", 1),
        ("monotonic", "no"),
        ("monotonic", None),
        ("parallelism", True),
        ("compression", True),
        ("priority", True),
        ("low_watermark", True),
    ],
)
def test_an_option_of_a_channel_that_is_none_is_named(option: str, value: Any):
    with pytest.raises((TypeError, ValueError), match=f"channel 'x': {option} is .* not {value!r}"):
        Channel("x", **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("ack_timeout", float("inf"), "ack_timeout is seconds, above 0 and finite, not inf"),
        ("ack_timeout", float("nan"), "ack_timeout is seconds, above 0 and finite, not nan"),
        ("ack_timeout", "5", "ack_timeout is a number of seconds, not '5'"),
        ("ack_timeout", None, "ack_timeout is a number of seconds, not None"),
        ("ack_timeout", True, "ack_timeout is a number of seconds, not True"),
        ("outbox", 5, "outbox is the path of a file, a str, or None, not 5"),
        ("outbox", b"x", "outbox is the path of a file, a str, or None, not b'x'"),
        ("outbox", "", "outbox is the path of a file, or None for the memory, not ''"),
        ("causal_labels", None, r"causal_labels is a list, \(CausalLabel\(name, members\),\) for one and"),
        ("causal_labels", "talk", r"causal_labels is a list, \(CausalLabel\(name, members\),\) for one and"),
        ("causal_labels", CausalLabel("talk", ("here@h",)), r"causal_labels is a list, .* not CausalLabel\("),
    ],
)
def test_an_option_of_a_node_that_is_none_is_told_when_it_is_made(option: str, value: Any, told: str):
    with pytest.raises((TypeError, ValueError), match=told):
        Node("here@h", **{option: value})


def test_an_outbox_may_be_any_path(tmp_path: Path):
    assert Node("here@h", outbox=tmp_path / "outbox")._settings.outbox[0] == str(tmp_path / "outbox")  # type: ignore[arg-type]


def test_everybody_without_a_label_is_nobody(node: Node):
    for use in uses_of(Remote("echo", "*"))[:3]:
        with pytest.raises(ActorError, match=r"everybody of a causal label: say which, send\(..., causal=label\)"):
            use()
