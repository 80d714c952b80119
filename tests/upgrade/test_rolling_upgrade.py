"""Nodes of this version and of the version before in one cluster, each in an OS process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partisan_actors import (
    Channel,
    Down,
    Global,
    Node,
    Pid,
    StartError,
    global_names,
    monitor,
    receive,
    register,
    self_pid,
    send,
    whereis,
)
from partisan_actors.behaviours import call, cast
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import MAX_FRAME
from partisan_actors.wire.handshake import Hello
from partisan_actors.wire.signals import signals_of
from tests.conditions import wait_until
from tests.integration.programs import NodeProgram, Programs, running_programs
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, running_nodes
from tests.upgrade import record

HERE = Path(__file__).parent
BEFORE = HERE / "partisan_actors-0.1.0-py3-none-any.whl"
RECORDED: dict[str, str] = json.loads((HERE / "frames-0.1.0.json").read_text())
COOKIE = "one cookie for all of this test"


@pytest.fixture
def programs() -> Iterator[Programs]:
    with running_programs() as programs:
        yield programs


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with running_nodes() as nodes:
        yield nodes


@pytest.fixture
def old(programs: Programs) -> NodeProgram:
    return programs.start("old", wheel=BEFORE, cookie=COOKIE)


@pytest.fixture
def new(nodes: Nodes) -> Iterator[Node]:
    node = nodes.start("new", cookie=COOKIE, channels=(Channel("bulk", parallelism=4, compression=3),))
    with node.attached():
        yield node


def joined(old: NodeProgram, new: Node) -> bool:
    names = sorted((old.name, new.name))
    return new.members() == old.ask("members") == names and new.neighbours() == [old.name]


def test_the_old_node_is_one_of_the_version_before(old: NodeProgram):
    assert old.ask("run", "tests.upgrade.old_side:where") == str(BEFORE)


@pytest.mark.parametrize("who", ["old joins new", "new joins old"])
def test_the_two_form_a_cluster_and_talk_in_both_directions(old: NodeProgram, new: Node, who: str):
    if who == "old joins new":
        old.ask("join", new.address)
    else:
        new.join(old.address)
    wait_until(lambda: joined(old, new), what="each has the other")
    assert session_of(new, old).channels == {}
    for message in (1, ("a", ["b", {1: (2,)}]), b"x" * 70_000, b"y" * (3 << 20)):
        assert call(old.echo, ("echo", message)) == message
        assert call(old.echo, ("echo", message), channel="bulk", partition_key="k") == message
    echo = Echo.start(name="here")
    assert old.ask("run", "tests.upgrade.old_side:ask_echo", new.name) == ["where", new.name]
    assert echo is not None


def session_of(new: Node, old: NodeProgram) -> Any:
    session = cluster_of(new).peers.session(old.name)
    assert session is not None
    return session


def test_names_monitors_and_the_end_of_an_old_node(old: NodeProgram, new: Node):
    new.join(old.address)
    server = Echo.start(node=old.name)
    register(Global("the one"), self_pid())
    with pytest.raises(StartError) as refused:
        Echo.start(node=old.name, name=Global("the one"))
    assert refused.value.reason == ("already_started", self_pid())
    wait_until(lambda: whereis(Global("the one"), consistent=True) == self_pid())
    assert global_names() == ["the one"]
    ref = monitor(server)
    old.kill()
    assert receive(Down, timeout=5.0) == Down(ref, server, "noconnection")
    wait_until(lambda: new.members() == [new.name])


def test_order_holds_between_the_two(old: NodeProgram, new: Node):
    new.join(old.address)
    server = Echo.start(node=old.name)
    for number in range(500):
        cast(server, number) if number % 2 else cast(server, number, channel="bulk")
    wait_until(lambda: call(server, "count") == 500)
    assert call(server, "notes") == tuple(range(500))
    assert isinstance(server, Pid)
    send(server, "and no harm")


def test_an_old_node_that_leaves_is_left(old: NodeProgram, new: Node):
    new.join(old.address)
    wait_until(lambda: joined(old, new))
    old.ask("leave")
    wait_until(lambda: new.members() == [new.name])


def test_an_old_node_is_told_that_there_is_no_place_for_it(old: NodeProgram, new: Node, nodes: Nodes):
    peers = cluster_of(new).peers
    peers.parameters = replace(peers.parameters, sessions=1)
    nodes.start("other", cookie=COOKIE).join(new.address or "")
    # It knows no such reason, and falls back on one that it has; the text comes all the same.
    with pytest.raises(RuntimeError, match=r"unreachable: .* has as many sessions as it may"):
        old.ask("join", new.address)
    assert new.telemetry()["counters"]["refusals"] == {"full": 1}
    assert old.ask("members") == [old.name]


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_the_version_before_wrote_is_what_this_one_writes(name: str):
    assert record.recorded()[name] == RECORDED[name]


@pytest.mark.parametrize("name", [name for name in sorted(RECORDED) if name != "term"])
def test_what_the_version_before_wrote_is_read(name: str):
    reader = FrameReader(MAX_FRAME)
    data = bytes.fromhex(RECORDED[name])
    reader.buffer()[: len(data)] = data
    (frame,) = reader.received(len(data))
    if name == "hello":
        assert Hello.decode(bytes(frame.body)) == record.hello()
    if name.startswith("data"):
        (signal,) = signals_of(frame.body)
        assert signal.kind == record.SIGNALS[name.split()[1]]
        assert (signal.to, signal.sender, signal.ref) == (11, 12, 13)
        assert Codec(record.HOME).decode(signal.payload) == record.term()
