"""Frames of routes that no node sends, what comes again or from an earlier life, strangers, and joins in vain.

Each is refused, counted where a user can read it, and told once; the links, members and calls of all others go on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from partisan_actors import JoinError, Node, Remote
from partisan_actors.behaviours import call
from partisan_actors.cluster.records import RecordLimits
from partisan_actors.distribution.conduit_wire import DATA as DATA_SEGMENT
from partisan_actors.distribution.conduit_wire import RESET, encode_control, encode_data
from partisan_actors.processes.identity import Life
from partisan_actors.topologies import FullMesh, HyParView, Static
from partisan_actors.transport import SocketTransport
from partisan_actors.wire import signals
from partisan_actors.wire.frames import DATA, OPTIONAL, RELAY, ROUTE, encode_frame
from partisan_actors.wire.handshake import Keys
from partisan_actors.wire.relays import (
    ANNOUNCE,
    ANSWER,
    LOOK_UP,
    NO_ROUTE,
    Relay,
    RouteMessage,
    encode_relay,
    encode_route,
    names_of,
)
from partisan_actors.wire.signals import encode_signal
from tests.conditions import wait_until
from tests.distribution.raw_peer import RawPeer
from tests.integration.hostile import TIMES, Hostile, count_of
from tests.integration.test_overlay_bad_input import lines_about
from tests.integration.workers import Echo
from tests.nodes import Nodes, cluster_of, session_between

FAR_NUMBER = 1 << 63


def relay(
    world: Hostile, to: Node | str, body: bytes = b"x", source: str = "", number: int = FAR_NUMBER, **more: int
) -> None:
    """Write a RELAY frame of any kind over the link of `bad` and `here`."""
    destination, source = to if isinstance(to, str) else to.name, source or world.bad.name
    hops, ttl, names = more.get("hops", 1), more.get("ttl", 63), names_of(destination, source)
    write(world, encode_relay(Relay(destination, source, number, hops, ttl, 0, names, (body,))))


def route(world: Hostile, kind: int, origin: str, destination: str, **more: int) -> None:
    """Write a ROUTE frame."""
    fields = {"number": FAR_NUMBER, "hops": 1, "ttl": 63, "cost": 0} | more
    write(world, encode_route(RouteMessage(kind, origin, destination, **fields)))


def write(world: Hostile, buffers: Any) -> None:
    link = session_between(world.bad, world.here).link
    assert link is not None
    link.connection.write([b"".join(buffers)])


@dataclass(frozen=True)
class Case:
    """One kind: what says it once, where it is counted, and the line about it, if it is to have one."""

    say: Callable[[Hostile, int], None]
    counter: tuple[str, ...]
    event: str = ""
    reason: str = ""
    level: str = "warning"
    more: int = 0
    """Times that it is not counted."""
    by: Callable[[Hostile], str] = lambda world: world.bad.name


def ignored(say: Callable[[Hostile, int], None], reason: str, level: str = "warning") -> Case:
    return Case(say, ("routing", "ignored", reason), "relay_refused", reason, level)


def too_far(say: Callable[[Hostile, int], None]) -> Case:
    return Case(say, ("routing", "dropped", "hop limit"), "relay_refused", "hop limit")


CASES = {
    "a relay back to where it comes from": ignored(lambda w, n: relay(w, w.bad, number=FAR_NUMBER + n), "itself"),
    "a relay that has crossed too many links": too_far(
        lambda w, n: relay(w, w.far, number=FAR_NUMBER + n, hops=255, ttl=255)
    ),
    "a relay that has crossed as many as this node allows": too_far(
        lambda w, n: relay(w, w.far, number=FAR_NUMBER + n, hops=64, ttl=255)
    ),
    "a relay that may go no farther": too_far(lambda w, n: relay(w, w.far, number=FAR_NUMBER + n, hops=1, ttl=0)),
    "a relay that is replayed": Case(
        lambda w, n: relay(w, w.here, encode_control(RESET, 12345)), ("routing", "duplicates"), more=1
    ),
    "a relay that holds no segment": Case(
        lambda w, n: relay(w, w.here, b"nonsense", number=FAR_NUMBER + n),
        ("conduits", "bad"),
        "segment_refused",
        "no segment of a conduit",
    ),
    "a relay of a stranger that holds no segment": Case(
        lambda w, n: relay(w, w.here, b"nonsense", "ghost@h", FAR_NUMBER + n),
        ("conduits", "bad"),
        "segment_refused",
        "no segment of a conduit",
        by=lambda world: "ghost@h",
    ),
    "a segment of an earlier life": Case(
        lambda w, n: relay(w, w.here, encode_data(DATA_SEGMENT, 12345, 0, 1, 0, 0) + b"x", number=FAR_NUMBER + n),
        ("conduits", "unknown"),
        "segment_refused",
        "of no conduit that there is",
        "debug",
    ),
    "a look-up of the way to oneself": ignored(lambda w, n: route(w, LOOK_UP, "x@h", "x@h"), "itself"),
    "a message of a later version": ignored(lambda w, n: route(w, 99, w.bad.name, w.far.name), "kind", "debug"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_frame_is_refused_counted_and_logged_once(nodes: Nodes, logs: list[Any], case: Case):
    world = Hostile(nodes, Static)
    state, sessions, before = world.state(), world.sessions(), count_of(world.here, case.counter)
    arrived = world.far.telemetry()["routing"]["arrived"]
    del logs[:]
    for number in range(TIMES + case.more):
        case.say(world, number)
    wait_until(lambda: count_of(world.here, case.counter) == before + TIMES, what=f"counted as {case.counter}")
    assert world.state() == state and world.sessions() == sessions
    assert world.far.telemetry()["routing"]["arrived"] == arrived, "it went nowhere"
    lines = [line for line in logs if line["event"] in ("relay_refused", "segment_refused")]
    told = [(line["event"], line["reason"], line["log_level"], line["peer"]) for line in lines if line["advice"]]
    wanted = (case.event, case.reason, case.level, case.by(world))
    assert told == ([wanted] if case.event else [])
    assert not [line for line in logs if line not in lines and line["log_level"] not in ("debug", "info")]
    world.all_answer()


@pytest.mark.parametrize("ttl", [0, 255])
@pytest.mark.parametrize("kind", [ANNOUNCE, LOOK_UP, NO_ROUTE, ANSWER])
def test_ways_to_names_that_nobody_has_lead_nowhere(nodes: Nodes, kind: int, ttl: int):
    """Such messages cannot be told from those about nodes that one has not heard of yet; they cost a bounded table."""
    world = Hostile(nodes, Static)
    state, before = world.state(), world.here.telemetry()["counters"]["frames_received"]
    routes = world.far.telemetry()["routing"]["routes"]
    for number in range(TIMES):
        origin, destination = f"ghost-{number}@h", f"ghost-{number}@h" if kind == ANNOUNCE else "other@h"
        route(world, kind, origin, destination, number=number, hops=250, ttl=ttl, cost=(1 << 32) - 1)
    wait_until(lambda: world.here.telemetry()["counters"]["frames_received"] >= before + TIMES)
    world.all_answer()
    assert world.state() == state
    assert world.far.telemetry()["routing"]["routes"] == routes, "250 links away is farther than anything goes"


@pytest.mark.parametrize("kind", [RELAY, ROUTE])
def test_a_frame_that_is_broken_costs_the_connection_and_no_more(nodes: Nodes, logs: list[Any], kind: int):
    """As any broken envelope does: another connection follows, and the third within ten seconds ends the session."""
    world = Hostile(nodes, Static)
    events: list[Any] = []
    world.far.subscribe(events.append)
    state, session = world.state(), session_between(world.here, world.bad)
    for count in (1, 2):
        link = link_of(world.bad, world.here)
        world.frame(kind, flags=OPTIONAL, routing=b"nonsense", body_buffers=(b"nonsense",))
        wait_until(lambda count=count: count_of(world.here, ("counters", "broken_envelopes")) == count)  # type: ignore[misc]
        wait_until(lambda link=link: link_of(world.bad, world.here) not in (None, link), 10.0)  # type: ignore[misc]
        world.all_answer()
        assert session_between(world.here, world.bad) is session
    (line,) = lines_about(logs, world.here, "broken_envelope")
    assert (line["log_level"], line["peer"]) == ("warning", world.bad.name) and line["advice"] and line["address"]
    world.frame(kind, flags=OPTIONAL, routing=b"nonsense", body_buffers=(b"nonsense",))
    wait_until(lambda: session.ended, what="the session is over")
    assert [reason[:15] for reason in world.here.telemetry()["counters"]["sessions_ended"]] == ["broken envelope"]
    wait_until(lambda: world.state() == state, 10.0, what="they have found each other again")
    world.all_answer()
    assert events == [], "it was a member all the time"


def link_of(one: Node, other: Node) -> Any:
    """The connection of their session, if there are both."""
    session = cluster_of(one).peers.session(other.name)
    return session.link if session is not None else None


def test_a_frame_of_the_session_that_is_replayed_is_a_duplicate(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, Static)
    session = session_between(world.here, world.bad)
    before = count_of(world.here, ("counters", "frames_duplicate"))
    replayed = encode_signal(signals.OVERLAY, payload=cluster_of(world.bad).codec.encode((0, "no")))
    del logs[:]
    for _ in range(TIMES):
        write(world, encode_frame(DATA, number=1, body_buffers=(bytes(replayed),)))  # type: ignore[arg-type]
    wait_until(lambda: count_of(world.here, ("counters", "frames_duplicate")) == before + TIMES)
    assert count_of(world.here, ("overlay", "refused", "static: payload")) == 0, "nobody has looked into it"
    assert session_between(world.here, world.bad) is session
    assert not [line for line in logs if line["log_level"] not in ("debug", "info")], "each reconnect brings such ones"
    world.all_answer()


def test_a_broadcast_of_a_node_that_is_no_member_here(nodes: Nodes, logs: list[Any]):
    """The table of `far` is full, so it does not know `bad`; but it is called by it, over a route."""
    here, far = nodes.cluster("here", "far", topology=Static())
    view = cluster_of(far)._driver.service.view  # type: ignore[union-attr]
    view.table.records._limits = RecordLimits(max_members=2)
    far.run(Echo.start, name="echo")
    bad = nodes.start("bad", topology=Static())
    bad.join(here.address)
    wait_until(lambda: far.name in bad.members())
    assert bad.run(call, Remote("echo", far.name), ("echo", 1), 20.0) == 1
    assert bad.name not in far.members()
    assert count_of(far, ("overlay", "records_refused", "table full")) >= 1
    head = cluster_of(bad).codec.encode(("gossip", bad.name, bad.life.bits, 1, 1, False, 0, "no.such:Handler"))
    gossip = encode_signal(
        signals.BROADCAST, payload=len(head).to_bytes(4, "big") + head + b"x", flags=signals.OPTIONAL
    )
    for _ in range(TIMES):
        session_between(bad, far).system.send(gossip)
    wait_until(lambda: count_of(far, ("broadcast", "refused", "of a stranger")) == TIMES)
    assert count_of(far, ("broadcast", "unheard")) == 0
    (line,) = lines_about(logs, far, "broadcast_refused")
    assert (line["reason"], line["log_level"]) == ("of a stranger", "debug")
    full = lines_about(logs, far, "records_refused")
    assert {(line["reason"], line["log_level"]) for line in full} == {("table full", "warning")}
    assert len(full) == len({line["peer"] for line in full}), "one for each who told of it"
    assert bad.run(call, Remote("echo", far.name), ("echo", 2), 20.0) == 2


# Who is at the door


def knock(world: Hostile, life: Life, cookie: str, topology: str = "static") -> RawPeer:
    """Somebody dials `here`, with a handshake that says what the test likes."""
    peer = RawPeer(life, Keys([cookie.encode()]), topology=topology)
    assert world.here.address is not None
    peer.dial(SocketTransport(cluster_of(world.here)._runtime.clock), world.here.address)
    wait_until(lambda: peer.closed_because is not None, what="it is let go")
    return peer


@pytest.mark.parametrize(
    ("life", "topology", "reason"),
    [
        (lambda w: Life(w.bad.name, w.bad.life.epoch - 1, 7), "static", "name"),
        (lambda w: Life(w.bad.name, w.bad.life.epoch + 1, 7), "static", "name"),
        (lambda w: Life(w.here.name, 1, 7), "static", "name"),
        (lambda w: Life("stranger@h", 1, 7), "full_mesh", "topology"),
    ],
    ids=["an earlier life", "a second life of one that is alive", "this node's own name", "another topology"],
)
def test_who_may_not_come_in_is_told_why(
    nodes: Nodes, logs: list[Any], cookie: str, life: Callable[[Hostile], Life], topology: str, reason: str
):
    world = Hostile(nodes, Static)
    state, sessions, before = world.state(), world.sessions(), count_of(world.here, ("counters", "refusals", reason))
    for _ in range(TIMES + 3):
        peer = knock(world, life(world), cookie, topology)
        assert peer.refusal is not None and peer.established is None
    assert count_of(world.here, ("counters", "refusals", reason)) == before + TIMES + 3
    lines = [line for line in lines_about(logs, world.here, "connection_refused") if line["reason"] == reason]
    assert 1 <= len(lines) <= 5 and all(line["log_level"] == "warning" and line["detail"] for line in lines)
    assert world.state() == state and world.sessions() == sessions
    world.all_answer()


def test_an_earlier_life_of_one_that_is_gone_does_not_come_back(nodes: Nodes, logs: list[Any], cookie: str):
    world = Hostile(nodes, Static)
    gone = world.bad.life
    world.bad.stop(timeout=1.0)
    wait_until(lambda: world.here.members() == sorted([world.here.name, world.far.name]), 10.0)
    records = world.records()
    for epoch in (gone.epoch - 1, gone.epoch):
        peer = knock(world, Life(gone.node, epoch, 7), cookie)
        assert peer.refusal is not None and peer.established is None
    assert count_of(world.here, ("counters", "refusals", "name")) == 2
    told = [line["detail"] for line in lines_about(logs, world.here, "connection_refused") if line["reason"] == "name"]
    assert told and all(f"of epoch {gone.epoch}" in detail for detail in told)
    assert world.records() == records
    assert world.far.run(call, Remote("echo", world.here.name), ("echo", 1), 20.0) == 1


def test_a_stranger_who_says_something_before_it_has_proved_itself(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, Static)
    state = world.state()
    message = encode_signal(signals.OVERLAY, payload=cluster_of(world.bad).codec.encode((0, ("keep",))))
    host, _, port = str(world.here.address).rpartition(":")
    for _ in range(TIMES + 3):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"".join(encode_frame(DATA, number=1, body_buffers=(bytes(message),))))  # type: ignore[arg-type]
            refused = sum(world.here.telemetry()["counters"]["refusals"].values())
            wait_until(lambda refused=refused: sum(world.here.telemetry()["counters"]["refusals"].values()) > refused)  # type: ignore[misc]
    assert 1 <= len(lines_about(logs, world.here, "connection_refused")) <= 5
    assert world.here.telemetry()["overlay"]["refused"] == {}
    assert world.state() == state
    world.all_answer()


# Joins


def refused_join(node: Node, address: str, timeout: float = 5.0) -> tuple[JoinError, float]:
    """Join in vain: why, and after how many seconds."""
    before = node.telemetry()["joins"]["failed"]
    begun = time.monotonic()
    with pytest.raises(JoinError) as raised:
        node.join(address, timeout)
    took, reason = time.monotonic() - begun, raised.value.reason
    assert node.telemetry()["joins"]["failed"] == {**before, reason: before.get(reason, 0) + 1}
    assert address in str(raised.value) and node.name in str(raised.value)
    return raised.value, took


def test_a_join_to_oneself(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    state, sessions = world.state(), world.sessions()
    del logs[:]
    error, took = refused_join(world.here, str(world.here.address))
    assert error.reason == "name" and took < 2.0
    assert "cannot connect to itself; give the address of another node" in str(error)
    assert world.here.telemetry()["counters"]["refusals"]["self"] == 1
    (line,) = [line for line in logs if line["log_level"] not in ("debug", "info")]
    assert (line["event"], line["reason"]) == ("connection_refused", "self")
    assert world.state() == state and world.sessions() == sessions
    world.all_answer()


def test_a_join_to_a_dead_address(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    state, sessions = world.state(), world.sessions()
    del logs[:]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error, took = refused_join(world.here, f"127.0.0.1:{unused.getsockname()[1]}")
        assert error.reason == "unreachable" and took < 2.0
        assert "connection refused; see that a member of the cluster listens" in str(error)
        unused.listen(1)  # and now nobody ever answers
        error, took = refused_join(world.here, f"127.0.0.1:{unused.getsockname()[1]}", 0.5)
    assert error.reason == "unreachable" and 0.4 < took < 2.0 and "not within" in str(error)
    assert not [line for line in logs if line["log_level"] not in ("debug", "info")], "who asked was told"
    assert world.state() == state and world.sessions() == sessions
    world.all_answer()


def test_a_join_to_a_cluster_of_another_topology(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    other = nodes.start("other", topology=FullMesh())
    state, sessions = world.state(), world.sessions()
    del logs[:]
    error, took = refused_join(other, str(world.here.address))
    assert error.reason == "topology" and took < 2.0
    assert f"{other.name} runs the topology full_mesh, and {world.here.name} hyparview" in str(error)
    assert "start this node with the topology that the cluster runs with" in str(error)
    assert other.telemetry()["counters"]["refusals"] == {"topology": 1}
    wait_until(lambda: world.here.telemetry()["counters"]["refusals"].get("topology, by the peer") == 1)
    told = [line for line in logs if line["log_level"] not in ("debug", "info")]
    assert sorted((line["node"], line["event"]) for line in told) == sorted(
        (node.name, "connection_refused") for node in (other, world.here)
    )
    assert other.members() == [other.name]
    assert world.state() == state and world.sessions() == sessions
    world.all_answer()
