"""Wrong arguments to the public functions: an error that says what was wrong, and nothing half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from partisan_actors import (
    CallError,
    Node,
    process_info,
    receive,
    register,
    self_pid,
    send_after,
    sleep,
    spawn,
)
from partisan_actors.behaviours import abcast, call, multi_call, receive_response, send_request, wait_response
from tests.integration.workers import Echo, wait_for_ever
from tests.nodes import Nodes, running_nodes


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
