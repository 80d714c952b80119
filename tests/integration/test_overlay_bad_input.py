"""What a member says as an overlay, as a view, about names or as a broadcast, and should not.

Each kind is refused, counted where a user can read it, and logged once however often it comes; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from partisan_actors import Node
from partisan_actors.broadcast import BroadcastHandler, broadcast, register_handler
from partisan_actors.cluster.broadcast_terms import MOST_HOPS
from partisan_actors.topologies import ClientServer, FullMesh, HyParView, Scamp, Static, Topology, XBot
from partisan_actors.wire import signals
from tests.conditions import wait_until
from tests.integration.hostile import TIMES, Hostile, count_of
from tests.nodes import Nodes, cluster_of

OVERLAY, RECORDS = ("overlay", "refused"), ("overlay", "records_refused")
BROADCAST = ("broadcast", "refused")
NAMES_FOR_ALL = tuple(f"n{number}@h" for number in range(100))


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Args:
        say: says it once.
        counter: where it is counted, in `Node.telemetry`.
        event: the name of the line in the log.
        reason: what the line says was wrong; by default the counter's name.
        level: of the line.
        topology: makes that of each node.
        comparing: it is part of a comparison of broadcasts.
    """

    say: Callable[[Hostile], None]
    counter: tuple[str, ...]
    event: str
    reason: str = ""
    level: str = "warning"
    topology: Callable[[], Topology] = field(default=HyParView)
    comparing: bool = False


def overlay(payload: Any, counter: str, version: int = 0, **more: Any) -> Case:
    return Case(lambda w: w.overlay(payload, version), (*OVERLAY, counter), "overlay_message_refused", **more)


def view(payload: Any, counter: str, **more: Any) -> Case:
    made = payload if callable(payload) else lambda w: payload
    return Case(lambda w: w.say(signals.MEMBERSHIP, made(w)), (*RECORDS, counter), "records_refused", **more)


def names(payload: Any, counter: str) -> Case:
    return Case(lambda w: w.say(signals.NAMES, payload), ("names", "refused", counter), "names_refused")


def control(message: Any, counter: str) -> Case:
    comparing = counter in ("digest", "branches", "leaves", "summary")
    counted = (*BROADCAST, counter)
    return Case(lambda w: w.say(signals.BROADCAST_CONTROL, message), counted, "broadcast_refused", comparing=comparing)


def gossip(*message: Any, counter: str = "gossip") -> Case:
    return Case(lambda w: w.gossip(*message), (*BROADCAST, counter), "broadcast_refused")


def undecodable(kind: int, payload: bytes, reason: str) -> Case:
    return Case(lambda w: w.say_bytes(kind, payload), ("undecodable",), "undecodable_message", reason)


def ghost(**changes: Any) -> Callable[[Hostile], Any]:
    return lambda w: ("news", (w.entry(node="ghost@h", **changes),), ())


def topology_fact(*fact: Any, reason: str) -> Case:
    counter = (*OVERLAY, "unknown topology")
    return Case(lambda w: w.say(signals.MEMBERSHIP, ("topology", *fact)), counter, "records_refused", reason)


OVERLAYS = {
    "no overlay message": Case(
        lambda w: w.say(signals.OVERLAY, "no"), (*OVERLAY, "malformed"), "overlay_message_refused"
    ),
    "no msgpack": undecodable(signals.OVERLAY, b"\xc1", "not msgpack"),
    "of a later overlay": overlay(("neighbor", 1, "low"), "of another overlay", version=7),
    "of an earlier overlay": overlay(("neighbor", 1, "low"), "of another overlay", version=-1, level="debug"),
    "of an earlier link or life": overlay(("disconnect", 12345, (), True), "hyparview: stale", level="debug"),
    "a shuffle that is none": overlay(("shuffle", 1), "hyparview: shape"),
    "a view with too many names": overlay(("join", 5, NAMES_FOR_ALL), "hyparview: oversized"),
    "a view with doubles": overlay(("join", 5, ("n@h", "n@h")), "hyparview: duplicate"),
    "a walk that goes too far": overlay(("forward_join", "n@h", 200, False), "hyparview: shape"),
    "no xbot message": overlay(("xbot_commit", "x"), "xbot: shape", topology=XBot),
    "no scamp message": overlay(("forward", "n@h", 10**9), "scamp: payload", topology=Scamp),
    "no static message": overlay(("keep", 1), "static: payload", topology=Static),
    "any mesh message": overlay(("keep",), "full_mesh: payload", topology=FullMesh),
    "no client-server message": overlay(
        ("attach", 1), "client_server: payload", topology=lambda: ClientServer("server")
    ),
    "a server that attaches": overlay(("attach",), "client_server: role", topology=lambda: ClientServer("server")),
}
VIEWS = {
    "no view message": view(("no such kind",), "payload"),
    "no tuple": view(7, "payload"),
    "no msgpack": undecodable(signals.MEMBERSHIP, b"\xc1", "not msgpack"),
    "a length that is not there": undecodable(signals.MEMBERSHIP, b"\xdd\xff\xff\xff\xff", "truncated"),
    "no entry": view(("news", (("ghost@h", -1),), ()), "shape"),
    "doubles": view(lambda w: ("news", (w.entry(), w.entry()), ()), "duplicate"),
    "too many entries": view(("news", (None,) * 10_001, ()), "oversized"),
    "a member with too many addresses": view(ghost(addresses=("h:1",) * 17), "too many addresses"),
    "a member with a name that is too long": view(lambda w: ("view", (w.entry(node="g" * 256),)), "name"),
    "a member with a name that is no text": view(lambda w: ("view", (w.entry(node="g\n"),)), "name"),
    "no suspicion": view(("news", (), (("ghost@h", 1),)), "suspicion"),
    "too many digests": view(("branches", (0,) * 17), "digests"),
    "digests of too many branches": view(("leaves", ((0, (0,) * 16),) * 17), "digests"),
    "digests of a leaf that is none": view(("digests", (256,), ()), "leaves"),
    "digests that are none": view(("records", (-1,), ()), "digests"),
    "a hello of an earlier life": view(
        lambda w: ("hello", w.entry(epoch=w.bad.life.epoch - 1, bits=7, version=9), 0, 3), "another life"
    ),
    "a topology that nobody has": topology_fact(3, "x@h", "nonsense", {}, reason="there is no topology 'nonsense'"),
    "a topology of no parameters of it": topology_fact(3, "x@h", "hyparview", {"active_size": -1}, reason="topology"),
    "no topology": topology_fact("3", reason="this is no topology"),
}
NAMES = {
    "no message": names(("no such kind",), "payload"),
    "no name": names(("names", (("name", 1),)), "entry"),
    "no msgpack": undecodable(signals.NAMES, b"\xc1", "not msgpack"),
}
BROADCASTS = {
    "no message": control(7, "message"),
    "an unknown kind": control(("no such kind",), "message"),
    "no msgpack": undecodable(signals.BROADCAST_CONTROL, b"\xc1", "not msgpack"),
    "a length that is not there": undecodable(signals.BROADCAST, b"\xff\xff\xff\xffabc", "truncated"),
    "no gossip": gossip("gossip", "r@h", 7),
    "a hostile hop count": gossip("gossip", "r@h", 7, 1, MOST_HOPS + 1, False, 0, "handler"),
    "a hop count below one": gossip("gossip", "r@h", 7, 1, 0, False, 0, "handler"),
    "a hostile number": gossip("gossip", "r@h", 7, 1 << 62, 1, False, 0, "handler"),
    "no answer": gossip("answer", "r@h", 7, counter="answer"),
    "announcements with a hostile hop count": control(("ihave", (("r@h", 7, 1, False, 1 << 40),)), "ihave"),
    "too many announcements": control(("ihave", (("r@h", 7, 1, False, 1),) * 5000), "ihave"),
    "a digest that is none": control(("digest", "0"), "digest"),
    "too many branches": control(("branches", (0,) * 65), "branches"),
    "leaves of a branch that is none": control(("leaves", ((64, (0,) * 64),)), "leaves"),
    "too many summaries": control(("summary", True, (), (("r@h", 7, 1, ()),) * 513), "summary"),
    "doubles in a summary": control(("summary", True, (), (("r@h", 7, 9, ((2, 3), (3, 4))),)), "summary"),
    "a pull of numbers that are none": control(("pull", (("r@h", 7, ((0, 1),)),)), "pull"),
    "marks that are none": control(("marks", True, True, True, (("r@h", 7, 1),)), "marks"),
}
CASES = {
    f"{part}: {name}": case
    for part, cases in (("overlay", OVERLAYS), ("view", VIEWS), ("names", NAMES), ("broadcast", BROADCASTS))
    for name, case in cases.items()
}


def lines_about(logs: list[Any], node: Node, event: str) -> list[Any]:
    return [line for line in logs if line["event"] == event and line["node"] == node.name]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_refused_counted_and_logged_once_and_nothing_else_changes(nodes: Nodes, logs: list[Any], case: Case):
    world = Hostile(nodes, case.topology)
    if case.comparing:
        world.compare_broadcasts()
    state, sessions, before = world.state(), world.sessions(), count_of(world.here, case.counter)
    del logs[:]
    for _ in range(TIMES):
        case.say(world)
    wait_until(lambda: count_of(world.here, case.counter) == before + TIMES, what=f"counted as {case.counter}")
    assert world.state() == state
    (line,) = lines_about(logs, world.here, case.event)
    assert (line["log_level"], line["peer"]) == (case.level, world.bad.name)
    assert case.reason in line["reason"] if case.reason else line["reason"] == case.counter[-1]
    assert line["advice"] and line["times"] == 1
    others = [entry for entry in logs if entry is not line and entry["log_level"] not in ("debug", "info")]
    assert not others, "nothing else to be warned of"
    assert world.sessions() == sessions, "each session goes on, over the connection that it had"
    world.all_answer()


class Notes(BroadcastHandler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def handle(self, message: Any) -> None:
        self.messages.append(message)


def noting(node: Node) -> Notes:
    notes = Notes()
    node.run(register_handler, notes)
    return notes


def test_a_broadcast_for_nobody_waits_is_counted_and_told_once(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    state = world.state()
    for number in range(1, TIMES + 1):
        world.gossip("gossip", world.bad.name, world.bad.life.bits, number, 1, False, 0, "no.such:Handler")
    wait_until(lambda: count_of(world.here, ("broadcast", "unheard")) == TIMES)
    (line,) = lines_about(logs, world.here, "broadcast_unheard")
    assert (line["log_level"], line["peer"]) == ("info", world.bad.name)
    assert "no.such:Handler" in line["reason"] and "register_handler" in line["advice"]
    assert world.state() == state
    notes = [noting(node) for node in world.all]
    world.far.run(broadcast, "goes on", notes[2])
    wait_until(lambda: all(note.messages == ["goes on"] for note in notes), what="the broadcast after it")
    world.all_answer()


def test_nobody_broadcasts_in_the_name_of_a_life_that_did_not(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    notes = [noting(node) for node in world.all]
    del logs[:]
    own = (world.here.name, world.here.life.bits)
    for _ in range(TIMES):
        world.gossip("gossip", *own, 9, 1, False, 0, "handler")
    wait_until(lambda: count_of(world.here, (*BROADCAST, "root")) == TIMES)
    (line,) = lines_about(logs, world.here, "broadcast_refused")
    assert (line["reason"], line["log_level"]) == ("root", "warning")
    world.here.run(broadcast, "mine", notes[0])
    wait_until(lambda: all(note.messages == ["mine"] for note in notes), what="the broadcast after it")


def test_a_broadcast_of_an_earlier_life_that_is_replayed_is_a_duplicate(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    notes = [noting(node) for node in world.all]
    handler = f"{Notes.__module__}:{Notes.__qualname__}"
    world.far.run(broadcast, "first", notes[2])
    wait_until(lambda: all(note.messages == ["first"] for note in notes))
    earlier = world.far.life
    world.far.stop(timeout=1.0)
    wait_until(lambda: world.far.name not in world.here.members(), 10.0)
    world.far = again = nodes.start(world.far.name, topology=HyParView())
    again.join(world.here.address)
    wait_until(lambda: again.name in world.here.members())
    again_notes = noting(again)
    wait_until(lambda: cluster_of(again).broadcasting.machine.synchronised)
    before = count_of(world.here, ("broadcast", "duplicates"))
    payload = cluster_of(world.bad).codec.encode("first")
    for _ in range(TIMES):
        world.gossip("gossip", earlier.node, earlier.bits, 1, 1, False, 0, handler, payload=payload)
    wait_until(lambda: count_of(world.here, ("broadcast", "duplicates")) == before + TIMES)
    world.bad.run(broadcast, "second", notes[1])
    wait_until(lambda: all(note.messages == ["first", "second"] for note in notes[:2]))
    wait_until(lambda: again_notes.messages == ["second"])


def test_an_overlay_message_of_the_topology_before_is_late_and_no_warning(nodes: Nodes, logs: list[Any]):
    world = Hostile(nodes, HyParView)
    world.here.switch_topology(FullMesh())
    wait_until(lambda: all(cluster_of(node).topology == "full_mesh" for node in world.all), 10.0)
    wait_until(lambda: cluster_of(world.here)._driver.service._former is None, 10.0, what="the switch is over")  # type: ignore[union-attr]
    before = count_of(world.here, (*OVERLAY, "of another overlay"))
    for _ in range(TIMES):
        world.overlay(("neighbor", 1, "low"), version=0)
    wait_until(lambda: count_of(world.here, (*OVERLAY, "of another overlay")) == before + TIMES)
    assert {line["log_level"] for line in lines_about(logs, world.here, "overlay_message_refused")} == {"debug"}
    world.all_answer()


@pytest.mark.parametrize(
    ("kind", "payload", "counter", "event"),
    [
        (signals.OVERLAY, (0, ("keep",)), (*OVERLAY, "of a stranger"), "overlay_message_refused"),
        (signals.MEMBERSHIP, ("news", (), ()), (*RECORDS, "no link"), "records_refused"),
    ],
)
def test_what_comes_from_a_node_without_a_link_is_of_a_stranger(
    nodes: Nodes, logs: list[Any], kind: int, payload: Any, counter: tuple[str, ...], event: str
):
    """There is a session, over a route, and no link: it may have ended just before, so it is nobody's fault."""
    world = Hostile(nodes, Static)
    before = count_of(world.far, counter)
    for _ in range(TIMES):
        world.say(kind, payload, to=world.far)
    wait_until(lambda: count_of(world.far, counter) == before + TIMES)
    (line,) = lines_about(logs, world.far, event)
    assert (line["log_level"], line["peer"], line["reason"]) == ("debug", world.bad.name, counter[-1])
    assert world.far.neighbours() == [world.here.name]
    world.all_answer()


POOL: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 1 << 40, (1 << 64) - 1, 0.5, float("nan"), "", "n@h", "x" * 300, b"", b"\xff" * 20),
    *(
        (),
        ("n@h",),
        ("n@h", "n@h"),
        (0,) * 16,
        ((1, 2),),
        (("r@h", 7, 1, False, 1),),
        (("r@h", 7, 1, ()),),
        [],
        {},
        {"a": ()},
    ),
)
SAID = {
    signals.MEMBERSHIP: ("hello", "view", "news", "branches", "leaves", "digests", "records", "topology"),
    signals.NAMES: ("claim", "granted", "refused", "store", "stored", "names", "released", "unregister", "ask", "told"),
    signals.BROADCAST_CONTROL: (
        *("ihave", "graft", "prune", "digest", "branches", "leaves", "summary", "pull"),
        *("synchronise", "asked", "marks"),
    ),
    signals.OVERLAY: (
        *("join", "forward_join", "neighbor", "accepted", "rejected", "shuffle", "shuffle_reply"),
        *("xbot_optimize", "xbot_replace", "xbot_switch", "xbot_commit"),
    ),
}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_member_says_the_others_go_on(nodes: Nodes, logs: list[Any], seed: int):
    world, random = Hostile(nodes, XBot), Random(seed)
    world.compare_broadcasts()
    members, sessions = world.here.members(), world.sessions()
    for _ in range(1500):
        kind = random.choice(list(SAID))
        payload = (random.choice(SAID[kind]), *random.choices(POOL, k=random.randrange(6)))
        world.say(kind, (0, payload) if kind == signals.OVERLAY else payload)
    world.gossip("gossip")
    wait_until(lambda: count_of(world.here, (*BROADCAST, "gossip")) == 1, 20.0, what="the last of it")
    assert world.here.members() == members and world.sessions() == sessions
    failed = {line["event"] for line in logs if line["event"].endswith("_failed")}
    assert failed == set(), "no part has raised"
    told = [line for line in logs if line["node"] == world.here.name and line["log_level"] == "warning"]
    assert len(told) == len({(line["event"], line["reason"]) for line in told}) < 60
    world.all_answer()
