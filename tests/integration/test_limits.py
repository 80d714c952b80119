"""Tables that other nodes, or sends to them, make grow: how far they do, and what becomes of what comes beyond."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from partisan_actors import (
    CallError,
    CausalLabel,
    Down,
    Exit,
    JoinError,
    NoConnection,
    Node,
    NodeDown,
    NodeUp,
    Remote,
    Undelivered,
    link,
    monitor,
    receive,
    register,
    self_pid,
    send,
    spawn_opt,
    trap_exits,
)
from partisan_actors.behaviours import call
from partisan_actors.cluster import causality, credit, ties
from partisan_actors.distribution.bad_input import BadInputLog
from partisan_actors.distribution.dialling import DiallingParameters
from partisan_actors.processes.clock import GeventClock
from partisan_actors.wire import signals
from partisan_actors.wire.codec import Codec
from partisan_actors.wire.signals import encode_signal
from tests.conditions import wait_until
from tests.integration.test_bad_messages import UNDECODABLE, Pair
from tests.integration.workers import Echo, wait_for_ever
from tests.nodes import Nodes, cluster_of, connected, session_between


@pytest.fixture
def pair(nodes: Nodes) -> Iterator[Pair]:
    here, there = nodes.cluster("here", "there")
    with here.attached():
        yield Pair(here, there)


# Sessions


def limit_sessions(node: Node, most: int) -> None:
    """Let it have so many, and whoever is refused for that come back soon."""
    peers = cluster_of(node).peers
    peers.parameters = replace(peers.parameters, sessions=most, dialling=DiallingParameters(full_pause=0.05))


def test_a_member_that_there_is_no_place_for_is_a_member_all_the_same(nodes: Nodes):
    """It is known, and neither goes up and down nor can be talked to; until there is a place."""
    full, one, two = nodes.cluster("full", "one", "two")
    limit_sessions(full, 2)
    events: list[Any] = []
    full.subscribe(events.append)
    three = nodes.start("three")
    limit_sessions(three, 4096)
    # Through a third node, so that the two hear of each other, and both try.
    three.join(one.address or "")
    wait_until(lambda: full.telemetry()["counters"]["refusals"].get("full", 0) >= 3, what="it tries again and again")
    wait_until(lambda: three.telemetry()["counters"]["refusals"].get("full, by the peer", 0) >= 3)
    everybody = sorted(node.name for node in (full, one, two, three))
    wait_until(lambda: all(node.members() == everybody for node in (full, one, two, three)), what="all know each other")
    assert full.telemetry()["sessions"] == {"live": 2, "most": 2}
    with three.attached(), pytest.raises(NoConnection):
        call(Remote("echo", full.name), "where", 20.0)
    with full.attached():
        assert reason_of_a_monitor_of(three) == "noconnection"
    assert events == [NodeUp(three.name)]
    # A place for it.
    two.stop()
    wait_until(lambda: connected(full, one, three), 10.0, what="the third is in now")
    assert events == [NodeUp(three.name), NodeDown(two.name, "leave")]


def reason_of_a_monitor_of(node: Node) -> Any:
    """How a process of a node is found to be down."""
    ref = monitor(Remote("anybody", node.name))
    down = receive(Down, timeout=20.0)
    assert down.ref == ref
    return down.reason


def test_joining_a_full_node_fails_and_says_so(nodes: Nodes, logs: list[Any]):
    full, one = nodes.cluster("full", "one")
    limit_sessions(full, 1)
    newcomer = nodes.start("newcomer")
    with pytest.raises(JoinError, match="has as many sessions as it may") as refused:
        newcomer.join(full.address or "")
    assert refused.value.reason == "full"
    with pytest.raises(JoinError, match="refused by this node") as refused:
        full.join(newcomer.address or "")
    assert refused.value.reason == "full"
    assert newcomer.members() == [newcomer.name] and connected(full, one)
    (line,) = [entry for entry in logs if entry["event"] == "connection_refused" and entry["node"] == newcomer.name]
    assert line["reason"] == "full, by the peer"


# Ties


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let there be ten ties of a kind."""
    monkeypatch.setattr(ties, "MOST_TIES", 10)
    return 10


def over_limit(pair: Pair) -> int:
    told: int = pair.there.telemetry()["ties"]["over_limit"]
    return told


def test_requests_that_nobody_answers_are_bounded(pair: Pair, few: int):
    requests = [pair.ask(Codec().encode("keep")) for _ in range(few)]
    with pytest.raises(CallError) as refused:
        call(pair.echo, ("echo", 1), timeout=5.0)
    assert type(refused.value) is CallError and refused.value.reason[0] == "system_limit"
    assert "far too many requests" in str(refused.value)
    assert pair.there.telemetry()["ties"]["requests"] == few
    assert over_limit(pair) == 1
    # As soon as they are given up, there is room again.
    for request in requests:
        request.abandon()
    wait_until(lambda: pair.there.telemetry()["ties"]["requests"] == 0)
    assert call(pair.echo, ("echo", 1)) == 1


def test_a_number_that_is_given_twice_is_kept_once(pair: Pair):
    callee = pair.there._runtime.processes[pair.echo.serial]  # type: ignore[union-attr]
    for _ in range(50):
        pair.say(signals.CALL, Codec().encode("keep"), ref=10**9)
        pair.say(signals.MONITOR, b"", ref=10**9)
        pair.say(signals.LINK, b"", ref=10**9)
    assert call(pair.echo, ("echo", 1)) == 1
    assert len(callee.watches or ()) == 2
    told = pair.there.telemetry()["ties"]
    assert (told["requests"], told["monitors"], told["links"], told["over_limit"]) == (1, 1, 1, 0)


def test_monitors_are_bounded(pair: Pair, few: int):
    for _ in range(few):
        monitor(pair.echo)
    ref = monitor(pair.echo)
    assert receive(Down, timeout=5.0) == Down(ref, pair.echo, "system_limit")
    assert receive(timeout=0, default=None) is None
    _, ref = spawn_opt(wait_for_ever, node=pair.there.name, monitor=True)  # type: ignore[misc]
    assert receive(Down, timeout=5.0).reason == "system_limit"
    assert pair.there.telemetry()["ties"]["monitors"] == few
    assert over_limit(pair) == 2


def test_links_are_bounded(pair: Pair, few: int, monkeypatch: pytest.MonkeyPatch):
    trap_exits()
    others = [spawn_opt(wait_for_ever, node=pair.there.name) for _ in range(few + 1)]
    for other in others[:few]:
        link(other)
    link(others[few])
    assert receive(Exit, timeout=5.0) == Exit(others[few], "system_limit")
    assert pair.there.telemetry()["ties"]["links"] == few
    assert over_limit(pair) == 1
    monkeypatch.setattr(ties, "MOST_LINKS", 3)
    for number in range(100):
        pair.say(signals.LINK, b"", to=others[0].serial, ref=number + 1)
    assert call(pair.echo, ("echo", 1)) == 1
    there = cluster_of(pair.there).remote.ties()[0]
    assert max(map(len, there.links.values())) == 3


def test_mailboxes_that_a_peer_says_are_full_are_bounded(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credit, "MOST_FULL", 10)
    session = session_between(pair.there, pair.here)
    for number in range(30):
        session.send(encode_signal(signals.FULL, 0, name=f"made up {number}", flags=signals.OPTIONAL))
    wait_until(lambda: pair.here.telemetry()["ties"]["full_mailboxes_ignored"] == 20)
    assert pair.here.telemetry()["ties"]["full_mailboxes"] == 10
    assert call(pair.echo, ("echo", 1)) == 1


def test_peers_whose_undecodable_messages_were_logged_are_forgotten(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    here, *others = nodes.cluster("here", "one", "two", "three")
    for other in others:
        session_between(other, here).send(encode_signal(signals.SEND, 1, 1, 0, UNDECODABLE["no msgpack"]))
    told = cluster_of(here).remote.incoming
    monkeypatch.setattr(told, "bad_input", BadInputLog(here.name, GeventClock(), remembered=2))
    with here.attached():
        echo = Echo.start(name="anybody")
    for other in others:
        session_between(other, here).send(encode_signal(signals.SEND, echo.serial, 1, 0, UNDECODABLE["no msgpack"]))
    wait_until(lambda: told.undecodable >= 3)
    assert len(told.bad_input._told) == 2


# What outlives sessions


def test_outboxes_for_nodes_that_never_come_are_bounded(nodes: Nodes):
    here = nodes.start("here", ack_timeout=0.3)
    post = cluster_of(here).remote.acknowledging
    post._parameters = replace(post._parameters, destinations=20)
    with here.attached():
        for number in range(30):
            ref = send(Remote("x", f"n{number}@nowhere"), number, ack=True)
            if number >= 20:
                dest = Remote("x", f"n{number}@nowhere")
                assert receive(timeout=0) == Undelivered(ref, dest, "full")  # type: ignore[arg-type]
        told = here.telemetry()["acknowledged"]
        assert (told["outboxes"], told["undelivered"]) == (20, 10)
        assert [receive(Undelivered, timeout=5.0).reason for _ in range(20)] == ["noconnection"] * 20
        # Their time is over, and with it they are gone.
        wait_until(lambda: here.telemetry()["acknowledged"]["outboxes"] == 0)
        assert here.telemetry()["acknowledged"]["remembered"] == 20
        assert not cluster_of(here).remote.acknowledging._waiting


def test_what_a_label_is_to_tell_again_and_again_is_bounded(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    names = ("a-told@127.0.0.1", "b-told@127.0.0.1")
    label = CausalLabel("talk", names)
    here, there = nodes.cluster(*names, causal_labels=(label,))
    monkeypatch.setattr(causality, "MOST_AGAIN", 5)
    causal = cluster_of(here).remote.causality
    before = session_between(here, there)
    for number in range(6):
        causal._failed(there.name, causality._Post("talk", there.name, ("made up", number)), 0, "full")
    assert len(causal._again) == 5
    wait_until(lambda: before.ended == "overflow")
    # And the label goes on. What is said before each knows that the other took it for dead is undelivered.
    with there.attached():
        register("log", self_pid())

        def heard() -> bool:
            here.run(send, Remote("log", there.name), "hello", causal="talk")
            return receive(str, timeout=0.1, default=None) == "hello"

        wait_until(heard, 10.0)


class Behind(GeventClock):
    """A clock whose date is long ago."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = lambda: 1000.0  # type: ignore[method-assign]


def test_a_label_goes_on_when_the_clock_of_a_member_went_back(nodes: Nodes):
    names = ("a-behind@127.0.0.1", "b-behind@127.0.0.1")
    label = CausalLabel("talk", names)
    here, there = nodes.cluster(*names, causal_labels=(label,))
    there.stop()
    again = nodes.start(names[1], causal_labels=(label,), clock=Behind())
    again.join(here.address or "")
    assert again.life.epoch > 1_000_000
    wait_until(lambda: connected(here, again))
    with here.attached():
        register("log", self_pid())
        again.run(send, Remote("log", here.name), "back", causal="talk")
        assert receive(str, timeout=5.0) == "back"
