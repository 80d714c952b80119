"""Whole nodes that pass on what is for others, over links that a test makes, in virtual time and over TCP."""

from __future__ import annotations

import functools
import itertools
from random import Random

import pytest
from structlog.testing import capture_logs

from partisan_actors.distribution.relaying import MOST_WAITING
from partisan_actors.wire.frames import OPTIONAL, RELAY, ROUTE, encode_frame
from tests.conditions import wait_until
from tests.distribution.nodes import Node, connected
from tests.distribution.relaying_world import RelayingWorld, Relays
from tests.distribution.world import World, cut_all


def write_frame(world: RelayingWorld, node: str, peer: str, kind: int, **fields: object) -> None:
    """Let a node write a frame that a test makes up."""
    link = world[node].node.session(world[peer].node).link
    assert link is not None
    link.connection.write(encode_frame(kind, flags=OPTIONAL, **fields))  # type: ignore[arg-type]


def test_a_frame_crosses_a_line_of_three_links_and_so_does_its_answer():
    world = RelayingWorld("abcd")
    world.line()
    world["d"].answers[b"question"] = b"answer"
    world["a"].send("d", b"ques", b"tion")
    world.clock.until(lambda: world["a"].arrived, 5.0)
    assert world["d"].arrived == [("a", b"question")]
    assert world["a"].arrived == [("d", b"answer")]
    for relay in "bc":
        assert world[relay].relaying.machine.counters.relayed == 2
        assert world[relay].arrived == []
        assert world[relay].relaying.relayed_bytes == len(b"question" + b"answer")


def test_a_large_body_arrives_as_it_was_sent():
    world = RelayingWorld("abcd", capacity=64 << 10)
    world.line()
    body = Random(1).randbytes(1_500_000)
    world["a"].send("d", body[:700_000], body[700_000:])
    world.clock.until(lambda: world["d"].arrived, 20.0)
    assert world["d"].arrived == [("a", body)]


def test_nothing_is_sent_over_a_node_that_takes_no_relays():
    world = RelayingWorld("abc", old="b")
    world.line()
    world["a"].send("c", b"body")
    world.clock.until(lambda: world["a"].undeliverable, 20.0)
    assert world["a"].undeliverable == [("c", b"body")]
    assert not world["a"].relaying.is_linked("b")


def test_frames_for_nodes_without_relaying_are_passed_over():
    world = World()
    one, other = world.pair()
    link = one.session(other).link
    assert link is not None
    link.connection.write(encode_frame(RELAY, flags=OPTIONAL, body_buffers=(b"nonsense",)))
    one.session(other).send(b"signal")
    world.clock.until(lambda: other.bodies, 5.0)
    assert connected(one, other)
    assert other.peers.counters.broken_envelopes == 0


@pytest.mark.parametrize("kind", [RELAY, ROUTE])
def test_a_broken_frame_costs_the_connection_and_no_more(kind: int):
    world = RelayingWorld("abc")
    world.line()
    write_frame(world, "a", "b", kind, routing=b"nonsense", body_buffers=(b"nonsense",))
    world.clock.until(lambda: world["b"].node.peers.counters.broken_envelopes, 5.0)
    world.clock.until(lambda: connected(world["a"].node, world["b"].node), 10.0)
    world["a"].send("c", b"body")
    world.clock.until(lambda: world["c"].arrived, 5.0)
    assert world["a"].node.told("ended") == []


def test_connections_that_break_are_no_news_to_the_ways():
    world = RelayingWorld("abcd")
    world.line()
    world["a"].send("d", b"first")
    world.clock.until(lambda: world["d"].arrived, 5.0)
    asked = world["a"].relaying.machine.counters.look_ups
    cut_all(world)
    world.clock.run(5.0)
    world["a"].send("d", b"second")
    world.clock.until(lambda: len(world["d"].arrived) == 2, 5.0)
    assert world["a"].relaying.machine.counters.look_ups == asked


def test_another_way_is_found_when_a_link_ends():
    world = RelayingWorld("abcd")
    world.line()
    world.link("a", "c")
    world["a"].send("d", b"first")
    world.clock.until(lambda: world["d"].arrived, 5.0)
    world.cut("a", "c")
    world["a"].send("d", b"second")
    world.clock.until(lambda: len(world["d"].arrived) == 2, 5.0)
    assert world["b"].relaying.machine.counters.relayed == 1


def test_what_waits_for_a_member_that_is_down_comes_back():
    world = RelayingWorld("ab")
    world.line()
    world["a"].send("dead", b"one", b"two")
    assert world["a"].undeliverable == []
    world["a"].relaying.member_down("dead")
    assert world["a"].undeliverable == [("dead", b"onetwo")]


def test_hearsay_saves_the_look_up():
    world = RelayingWorld("abc")
    world.line()
    world["a"].relaying.learned("c", "b", 2)
    world["a"].send("c", b"body")
    world.clock.until(lambda: world["c"].arrived, 5.0)
    assert world["a"].relaying.machine.counters.look_ups == 0


def test_a_link_takes_only_so_much_and_what_is_too_much_is_counted():
    world = RelayingWorld("abc", most_waiting=10_000)
    world.line()
    world["b"].relaying.learned("a", "a")
    for _ in range(30):
        world["b"].send("c", bytes(1000))
    relaying = world["b"].relaying
    assert 9_000 < relaying.waiting <= 10_000
    assert relaying.dropped_frames == 21
    assert relaying.dropped_bytes == 21_000
    world["b"].send("a", b"another link")
    world.clock.until(lambda: world["a"].arrived, 5.0)
    world.clock.run(5.0)
    assert len(world["c"].arrived) == 9
    assert relaying.waiting == 0


def test_what_waits_for_a_link_that_ends_is_dropped():
    world = RelayingWorld("ab")
    world.line()
    world["a"].send("b", bytes(1000))
    world["a"].relaying.unlinked("b")
    relaying = world["a"].relaying
    assert (relaying.dropped_frames, relaying.waiting) == (1, 0)
    assert relaying.dropped_bytes > 1000
    assert world["a"].node.session(world["b"].node).first.behind is None


def test_relayed_bulk_delays_the_systems_traffic_by_one_turn_at_the_most():
    world = RelayingWorld("ab", jitter=0.0001)
    world.line()
    a, b = world["a"].node, world["b"].node
    for _ in range(900):
        world["a"].send("b", bytes(1000))
    world.clock.until(lambda: len(world["b"].arrived) > 10, 5.0)
    before = len(world["b"].arrived)
    a.session(b).system.send(b"system")
    world.clock.until(lambda: b"system" in b.bodies, 5.0)
    assert 0 < len(world["b"].arrived) - before <= 70, "of 64 KiB, and what the kernel had"
    world.clock.until(lambda: len(world["b"].arrived) == 900, 20.0)


def test_a_session_that_is_always_busy_does_not_keep_relayed_frames_waiting_for_ever():
    world = RelayingWorld("ab", jitter=0.0001)
    world.line()
    a, b = world["a"].node, world["b"].node
    for _ in range(1000):
        a.session(b).send(bytes(4000))
    world["a"].send("b", b"relayed")
    world.clock.until(lambda: world["b"].arrived, 20.0)
    assert sum(map(len, b.bodies)) < 2_000_000, "of 4"


def test_a_callback_that_fails_is_logged_and_what_comes_after_it_arrives():
    world = RelayingWorld("ab")
    world.line()

    def fails(source: str, body: bytes | memoryview) -> None:
        raise RuntimeError("the callback's own")

    kept, world["b"].relaying._arrived = world["b"].relaying._arrived, fails
    with capture_logs() as logs:
        world["a"].send("b", b"first")
        world.clock.run(1.0)
    assert [entry["event"] for entry in logs] == ["relaying_callback_failed"]
    world["b"].relaying._arrived = kept
    world["a"].send("b", b"second")
    world.clock.until(lambda: world["b"].arrived, 5.0)


def test_a_later_life_is_not_taken_for_what_an_earlier_one_sent():
    world = RelayingWorld("abc")
    world.line()
    for _ in range(20):
        world["a"].send("c", b"first life")
    world.clock.until(lambda: len(world["c"].arrived) == 20, 5.0)
    world["a"].relaying.close()
    world["a"].begin(epoch=2)
    world["a"].relaying.linked(world["a"].node.session(world["b"].node))
    world["a"].send("c", b"second life")
    world.clock.until(lambda: ("a", b"second life") in world["c"].arrived, 5.0)
    world["a"].relaying.rise(epoch=5)
    world["a"].send("c", b"the same, risen")
    world.clock.until(lambda: ("a", b"the same, risen") in world["c"].arrived, 5.0)
    assert world["a"].relaying.machine._say._number > 5 << 16


def test_nothing_is_told_and_no_timer_runs_after_the_close():
    world = RelayingWorld("ab")
    world.line()
    world["a"].send("nobody", b"body")
    world["b"].send("a", b"body")
    world["a"].relaying.close()
    world["a"].send("b", b"body")
    world.clock.run(30.0)
    assert world["a"].arrived == world["a"].undeliverable == world["b"].arrived == []


def test_four_nodes_in_a_line_over_tcp(nodes: list[Node]):
    made = [Node(name) for name in "abcd"]
    nodes += made
    relays = [Relays(node, MOST_WAITING, None, False) for node in made]
    for mine, theirs in itertools.pairwise(relays):
        one, other = mine.node, theirs.node
        one.peers.connect(other.name, other.listening)
        other.peers.connect(one.name, one.listening)
        wait_until(functools.partial(connected, one, other))
        mine.relaying.linked(one.session(other))
        theirs.relaying.linked(other.session(one))
    bodies = [b"%d" % number * random for number, random in enumerate(Random(1).choices(range(500), k=500))]
    for body in bodies:
        relays[0].send("d", b"to d " + body)
        relays[3].send("a", b"to a " + body)
    for far, name, near in ((relays[3], "d", "a"), (relays[0], "a", "d")):
        wait_until(lambda far=far: len(far.arrived) == 500, 20.0)  # type: ignore[misc]
        assert far.arrived == [(near, b"to %b " % name.encode() + body) for body in bodies]
    assert all(relay.relaying.machine.counters.relayed == 1000 for relay in relays[1:3])
    for relay in relays:
        relay.relaying.close()
