"""Connecting to an address, and why that may fail."""

from __future__ import annotations

import itertools

import pytest

from partisan_actors.distribution import JoinFailure, Session
from tests.distribution.nodes import Node, connected, keys_of
from tests.distribution.world import World, cut_all

# Joining


def failure(world: World, node: Node, address: str, timeout: float = 5.0) -> JoinFailure:
    result = world.join(node, address, timeout)
    assert isinstance(result, JoinFailure)
    assert address in result.text
    return result


def test_join(world: World):
    one, other = world.node("a"), world.node("b")
    session = world.join(one, other.address)
    assert isinstance(session, Session)
    assert (session.node, session.peer, session.number) == ("b", other.life, 1)
    assert session.hello.addresses == tuple(other.listening)
    world.clock.run(0.1)
    assert other.session(one).peer == one.life


def test_join_with_another_cookie(world: World):
    one, other = world.node("a", cookies=[b"another cookie entirely"]), world.node("b")
    assert failure(world, one, other.address).reason == "cookie"
    assert other.peers.counters.refusals == {"cookie": 1}
    assert one.peers.counters.refusals == {"cookie, by the peer": 1}


@pytest.mark.parametrize("mine", [(2, 3), (2, 2)])
def test_join_with_another_version_is_told_which(world: World, mine: tuple[int, int]):
    one, other = world.node("a", protocol=mine), world.node("b")
    told = failure(world, one, other.address)
    assert told.reason == "version"
    assert f"{mine[0]} to {mine[1]}" in told.text and "1 to 1" in told.text


def test_join_with_another_topology(world: World):
    one, other = world.node("a", topology="hyparview"), world.node("b")
    told = failure(world, one, other.address)
    assert told.reason == "topology"
    assert "a runs the topology hyparview, and b full_mesh; start this node with" in told.text


def test_join_under_a_name_that_is_live(world: World):
    one, other = world.pair()
    third = world.node("b", epoch=2, listen="third:0")
    told = failure(world, third, one.address)
    assert (told.reason, told.epoch) == ("name", other.life.epoch)
    assert connected(one, other)
    fourth = world.node("a", epoch=7, listen="fourth:0")
    assert failure(world, fourth, one.address).reason == "name"


def test_join_with_a_clock_that_went_back_is_told_the_epoch(world: World):
    one, other = world.pair()
    world.kill(other)
    world.clock.run(1.0)
    again = world.node("b", epoch=0, listen="again:0")
    told = failure(world, again, one.address)
    assert (told.reason, told.epoch) == ("name", 1)


def test_join_oneself(world: World):
    one = world.node("a")
    told = failure(world, one, one.address)
    assert told.reason == "name" and "itself; give the address of another node" in told.text


def test_join_where_the_parts_above_refuse(world: World):
    one, other = world.node("a"), world.node("b")
    other.refused_by_us["a"] = "topology"
    assert failure(world, one, other.address).reason == "topology"
    assert other.log == one.log == []


def test_join_nobody_fails_after_a_second_try(world: World):
    one = world.node("a")
    start = world.clock.now()
    told = failure(world, one, "nobody:1")
    assert told.reason == "unreachable"
    assert told.text.startswith("nobody:1: connection refused; see that a member of the cluster listens")
    assert world.clock.now() - start == pytest.approx(0.2)


def test_join_one_that_begins_to_listen_between_the_two_tries(world: World):
    one = world.node("a")
    world.clock.call_later(0.1, lambda: world.node("b", listen="b:1"))
    assert isinstance(world.join(one, "b:1"), Session)


def test_join_something_that_says_nothing_takes_its_time(world: World):
    one = world.node("a")
    world.transport.listen("mute:1", lambda connection: Mute())
    start = world.clock.now()
    told = failure(world, one, "mute:1", timeout=7.0)
    assert told.reason == "unreachable"
    assert world.clock.now() - start == pytest.approx(7.0)
    one.peers.close()
    assert world.clock.timers == []


def test_join_something_else_entirely(world: World):
    one = world.node("a")
    world.transport.listen(
        "web:1", lambda connection: Mute(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 99)
    )
    told = failure(world, one, "web:1")
    assert told.reason == "unreachable"
    one.peers.close()
    assert world.clock.timers == []


def test_a_contact_can_be_given_up(world: World):
    one = world.node("a")
    world.transport.listen("mute:1", lambda connection: Mute())
    results: list[Session | JoinFailure] = []
    give_up = one.peers.contact("mute:1", results.append, 60.0)
    world.clock.run(1.0)
    give_up("nobody waits")
    give_up("nobody waits")
    assert results == [JoinFailure("unreachable", "mute:1: nobody waits")]
    world.clock.run(0.1)
    assert world.clock.timers == [] and one.peers.open_connections == 0


def test_a_contact_without_a_limit_goes_on(world: World):
    one = world.node("a")
    world.transport.listen("mute:1", lambda connection: Mute())
    results: list[Session | JoinFailure] = []
    one.peers.contact("mute:1", results.append, None)
    world.clock.run(1000.0)
    assert results == []
    world.transport.listeners.pop("mute:1")
    world.node("b", listen="mute:1")
    world.clock.until(lambda: results, 6.0)
    assert isinstance(results[0], Session)


def test_what_the_callback_raises_ends_no_connection(world: World):
    one, other = world.node("a"), world.node("b")

    def fail(result: Session | JoinFailure) -> None:
        raise RuntimeError("a bug above")

    one.peers.contact(other.address, fail, 5.0)
    world.clock.run(1.0)
    assert connected(one, other)


class Mute:
    """Takes everything, and says at most one thing."""

    def __init__(self, connection: object = None, words: bytes = b"") -> None:
        self.space = memoryview(bytearray(1000))
        if words:
            connection.write([words])  # type: ignore[attr-defined]

    def buffer(self) -> memoryview:
        return self.space

    def received(self, count: int) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, reason: str) -> None:
        pass


# Cookies are rotated


def test_cookies_can_be_rotated_node_by_node(world: World):
    old, new = b"the old cookie of the cluster", b"the new cookie of the cluster"
    nodes = [world.node(name, cookies=[old]) for name in "abc"]
    for one, other in itertools.combinations(nodes, 2):
        world.want(one, other)
    world.clock.run(1.0)

    def all_connected() -> bool:
        return all(connected(one, other) for one, other in itertools.combinations(nodes, 2))

    for cookies in ([old, new], [new, old], [new]):
        for node in nodes:
            node.peers.keys = keys_of(*cookies)
            cut_all(world)
            world.clock.until(all_connected, 5.0)
    assert all(len(node.log) == 2 for node in nodes), "no session ended"
