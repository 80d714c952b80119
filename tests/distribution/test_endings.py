"""Peers that die, leave, come back, or never were."""

from __future__ import annotations

import pytest

from partisan_actors.distribution import JoinFailure, Session
from partisan_actors.distribution.session_parameters import SessionParameters
from partisan_actors.processes.identity import Life
from tests.distribution.nodes import COOKIE, connected, keys_of
from tests.distribution.raw_peer import RawPeer
from tests.distribution.world import World, cut_all, numbered

# Peers end


def test_a_killed_peer_is_found_within_a_second(world: World):
    one, other = world.pair()
    one.session(other).send(b"lost")
    world.kill(other)
    took = world.clock.until(lambda: one.told("ended"), 1.0)
    assert took <= 0.6
    assert one.told("ended") == ["connection refused"]
    assert one.peers.session("b") is None
    world.clock.run(60.0)
    assert len(one.log) == 2


def test_d12_a_dead_peer_holds_up_nobody(world: World):
    one, other = world.pair()
    third = world.node("c")
    world.kill(other)
    for number in range(20):
        one.peers.connect(f"dead{number}", [f"dead{number}:1"])
    one.peers.connect("c", third.listening)
    assert world.clock.until(lambda: connected(one, third), 1.0) == 0.0


def test_a_silent_peer_is_found_within_five_seconds(world: World):
    one, _ = world.pair()
    world.clock.run(7.3)
    (connection,) = world.transport.connections
    for end in (connection, connection.peer):
        end.stall()
    took = world.clock.until(lambda: one.told("ended"), 6.0)
    assert 3.0 <= took < 5.0
    assert one.told("ended") == ["silent"]


def test_a_peer_that_was_silent_comes_back_with_a_new_session(world: World):
    one, other = world.pair()
    (connection,) = world.transport.connections
    for end in (connection, connection.peer):
        end.stall()
    world.clock.until(lambda: one.told("ended") and other.told("ended"), 6.0)
    world.clock.until(lambda: connected(one, other), 5.0)
    assert [kind for kind, _, _ in one.log] == ["started", "ended", "started"]
    assert [kind for kind, _, _ in other.log] == ["started", "ended", "started"]
    assert one.session(other).number == 2


@pytest.mark.parametrize("end", ["a", "b"])
def test_a_new_session_knows_nothing_of_the_numbers_of_the_one_before(world: World, end: str):
    one, other = world.pair()
    for round_ in range(1, 4):
        for signal in numbered(10):
            one.session(other).send(signal)
            other.session(one).send(signal)
            world.clock.run(0.01)
        ending, waiting = (one, other) if end == "a" else (other, one)
        # The peer is not told, and so still holds the session when the two meet again.
        cut_all(world)
        ending.session(waiting).end("for a test")
        world.clock.until(lambda: connected(one, other), 2.0)
        assert one.session(other).number == other.session(one).number == round_ + 1
        assert waiting.told("ended") == ["newer session"] * round_
    assert len(one.told("started")) == len(other.told("started")) == 4
    assert b"".join(one.bodies) == b"".join(other.bodies) == b"".join(numbered(10)) * 3


def test_only_one_side_found_the_other_silent(world: World):
    one, other = world.pair()
    session = other.session(one)
    (near,) = world.transport.connections
    mine = near if near.peer_address == other.address else near.peer
    mine.stall()  # what b sends does not arrive any more
    world.clock.until(lambda: one.told("ended"), 6.0)
    session.send(b"lost with the session")
    world.clock.until(lambda: connected(one, other), 3.0)
    assert other.told("ended") == ["newer session"]
    assert other.peers.counters.connections_lost == 1, "the new connection is not given up with the old session"
    assert [kind for kind, _, _ in other.log] == ["started", "ended", "started"]
    other.session(one).send(b"x")
    world.clock.run(0.1)
    assert one.bodies == [b"x"]


def test_a_node_that_was_stopped_itself_ends_nobodys_session(world: World):
    one, other = world.pair()
    world.clock.run(3.0)
    world.clock.stop_for(20.0)
    world.clock.run(10.0)
    assert connected(one, other)
    assert len(one.log) == len(other.log) == 1


def test_a_peer_that_cannot_be_dialled_gets_five_seconds_to_come_back(world: World):
    one, other = world.node("a"), world.node("b", listen=None)
    other.peers.connect("a", one.listening)
    world.clock.until(lambda: connected(one, other), 1.0)
    cut_all(world)
    world.clock.until(lambda: connected(one, other), 1.0)
    assert len(one.log) == len(other.log) == 1
    world.kill(other)
    took = world.clock.until(lambda: one.told("ended"), 6.0)
    assert 4.5 < took <= 5.0
    assert one.told("ended") == ["unreachable"]
    assert one.peers._reaching.diallers == {}


def test_a_peer_that_is_started_again_is_a_new_life(world: World):
    one, other = world.pair()
    world.kill(other)
    again = world.node("b", epoch=2, listen=other.address)
    again.peers.connect("a", one.listening)
    world.clock.until(lambda: connected(one, again), 2.0)
    assert one.log == [("started", "b", 1), ("ended", "b", one.told("ended")[0]), ("started", "b", 2)]
    assert one.told("ended")[0] in ("newer life", "refused: it is not what it was")
    assert one.session(again).peer == again.life


def test_one_that_is_started_again_while_the_old_connection_hangs(world: World):
    one, other = world.pair()
    (connection,) = world.transport.connections
    for end in (connection, connection.peer):
        end.stall()
    world.transport.listeners.pop(other.address)
    again = world.node("b", epoch=2)
    result = world.join(again, one.address)
    assert isinstance(result, JoinFailure) and result.reason == "name", "the old life was heard a moment ago"
    world.clock.run(1.6 * SessionParameters().heartbeat_interval)
    assert isinstance(world.join(again, one.address), Session)
    assert one.told("ended") == ["newer life"]
    assert one.session(again).peer == again.life


# Leaving and forgetting


def test_leaving_ends_the_sessions_on_both_sides_after_what_was_sent(world: World):
    one, other = world.pair()
    one.session(other).send(b"last words")
    one.peers.leave("leave")
    assert one.told("ended") == ["leave"]
    world.clock.run(0.1)
    assert other.bodies == [b"last words"]
    assert other.told("ended") == ["leave"]


def test_much_that_is_queued_is_written_before_leaving():
    world = World(capacity=1 << 16)
    one, other = world.pair()
    for number in range(50):
        one.session(other).send(number.to_bytes(2, "big") * 50_000)
    one.peers.leave("leave")
    world.clock.run(2.0)
    assert sum(map(len, other.bodies)) == 5_000_000


def test_d14_leaving_closes_the_connections_and_tells_it_once(world: World):
    one, other = world.pair()
    third = world.node("c")
    for node in (one, other):
        world.want(node, third)
    world.clock.until(lambda: connected(one, third) and connected(other, third), 2.0)
    one.peers.leave("leave")
    other.peers.forget("a")
    third.peers.forget("a")
    world.clock.run(60.0)
    assert one.peers.open_connections == 0
    assert one.told("ended") == ["leave", "leave"]
    assert [event for event in other.log if event[1] == "a"] == [("started", "a", 1), ("ended", "a", "leave")]
    assert [event for event in third.log if event[1] == "a"] == [("started", "a", 1), ("ended", "a", "leave")]
    # And a node that left can be joined with again, from either side.
    assert isinstance(world.join(other, one.address), Session)
    assert isinstance(world.join(one, third.address), Session)
    world.clock.run(1.0)
    assert connected(one, other) and connected(one, third)


def test_who_forgets_a_peer_as_it_leaves_does_not_dial_it_again(world: World):
    one, other = world.pair()
    dials: list[str] = []
    ended = other.session_ended
    other.session_ended = lambda session, reason: (ended(session, reason), other.peers.forget("a"))  # type: ignore
    dial = world.transport.dial
    world.transport.dial = lambda address, *rest: (dials.append(address), dial(address, *rest))[1]  # type: ignore
    one.peers.leave("leave")
    world.clock.run(30.0)
    assert dials == []
    assert other.peers._reaching.diallers == {}


def test_a_wanted_peer_that_ended_the_session_is_connected_again_soon(world: World):
    one, other = world.pair()
    one.session(other).end("for a test")
    world.clock.until(lambda: other.told("ended"), 1.0)
    assert other.told("ended") == ["for a test"]
    world.clock.until(lambda: connected(one, other), 1.0)
    assert one.session(other).number == 2


def test_a_session_that_nobody_wants_has_its_time_when_its_connection_breaks(world: World):
    one, other = world.node("a"), world.node("b")
    assert isinstance(world.join(one, other.address), Session)
    world.clock.run(30.0)
    assert connected(one, other)
    cut_all(world)
    world.clock.until(lambda: connected(one, other), 2.0)
    assert len(one.log) == 1, "the session still has its time"
    world.kill(other)
    world.clock.until(lambda: one.told("ended"), 2.0)
    assert one.peers._reaching.diallers == {} and one.peers.sessions() == []


def test_after_close_nothing_runs_any_more(world: World):
    one, other = world.pair()
    third = world.node("c")
    one.peers.contact("nobody:1", one.log.append, 60.0)  # type: ignore[arg-type]
    one.peers.connect("ghost", ["ghost:1"])
    other.peers.connect("ghost", ["ghost:1"])
    stranger = world.transport
    assert isinstance(world.join(third, one.address), Session)
    stranger.dial(one.address, 1.0, lambda connection: RawPeer(Life("x", 1, 1), keys_of(COOKIE)), print)
    world.clock.settle()
    for node in (one, other, third):
        node.peers.close()
        node.peers.close()
    world.clock.settle()
    assert world.clock.timers == []
    assert [node.peers.open_connections for node in world.nodes] == [0, 0, 0]
    for node in world.nodes:
        started = [event for event in node.log if event[0] == "started"]
        ended = [event for event in node.log if event[0] == "ended"]
        assert len(started) == len(ended)
    assert world.transport.listeners == {}
    failure = (
        one.log[-1]
        if isinstance(one.log[-1], JoinFailure)
        else next(event for event in one.log if isinstance(event, JoinFailure))
    )
    assert failure.reason == "unreachable"


def test_a_closed_node_contacts_nobody(world: World):
    one, other = world.node("a"), world.node("b")
    one.peers.close()
    result = world.join(one, other.address)
    assert isinstance(result, JoinFailure) and "closed" in result.text
    one.peers.connect("b", other.listening)
    world.clock.run(5.0)
    assert world.clock.timers == [] and other.log == []


# Peers that were never there


def test_one_that_is_never_reached_is_told_once(world: World):
    one = world.node("a")
    one.peers.connect("ghost", ["ghost:1"])
    took = world.clock.until(lambda: one.log, 2.0)
    assert took == 0.5
    world.clock.run(60.0)
    assert one.log == [("unreachable", "ghost", "connection refused")]
    ghost = world.node("ghost", listen="ghost:1")
    world.clock.until(lambda: connected(one, ghost), 3.1)


def test_another_node_at_a_peers_address_is_as_good_as_nobody(world: World):
    one, other = world.node("a"), world.node("b")
    one.peers.connect("ghost", other.listening)
    world.clock.until(lambda: one.log, 2.0)
    world.clock.run(30.0)
    assert one.log == [("unreachable", "ghost", "connection refused")]
    assert other.log == []


def test_oneself_is_not_connected(world: World):
    one = world.node("a")
    one.peers.connect("a", one.listening)
    world.clock.run(10.0)
    assert one.log == [] and one.peers._reaching.diallers == {}
