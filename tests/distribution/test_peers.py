"""Sessions over connections that come and go: whole `Peers` in virtual time, over memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partisan_actors.distribution import JoinFailure, PeerParameters, Session
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.distribution.stream import StreamParameters
from partisan_actors.errors import NotSendable
from partisan_actors.processes.identity import Life
from partisan_actors.transport import MemoryConnection, MemoryTransport
from partisan_actors.wire.frames import ACK, CLOSE, DATA, HEARTBEAT, HEARTBEAT_REPLY, HELLO
from tests.distribution.nodes import COOKIE, Node, connected, keys_of
from tests.distribution.raw_peer import RawPeer
from tests.distribution.virtual_time import Jitter, VirtualClock

SMALL = PeerParameters(
    session=SessionParameters(
        stream=StreamParameters(
            joined=1000, low_watermark=4000, high_watermark=8000, hard_limit=64000, largest=5000, owed_bytes=1000
        )
    ),
    backlog=1000,
)


class World:
    """Nodes on one memory transport, in virtual time."""

    def __init__(
        self,
        seed: int = 1,
        cut_after: Callable[[], int | None] | None = None,
        capacity: int = 4096,
        jitter: float = 0.0,
    ) -> None:
        self.clock = VirtualClock(seed)
        steps = Jitter(self.clock, jitter) if jitter else self.clock
        self.transport = MemoryTransport(steps, capacity=capacity, chunk=1500, cut_after=cut_after)
        self.nodes: list[Node] = []

    def node(self, name: str, **options: object) -> Node:
        options.setdefault("listen", f"{name}:0")
        node = Node(name, clock=self.clock, transport=self.transport, **options)  # type: ignore[arg-type]
        self.nodes.append(node)
        return node

    def join(self, node: Node, address: str, timeout: float = 5.0) -> Session | JoinFailure:
        results: list[Session | JoinFailure] = []
        node.peers.contact(address, results.append, timeout)
        self.clock.until(lambda: results, timeout + 0.5)
        assert len(results) == 1
        return results[0]

    def pair(self, **options: object) -> tuple[Node, Node]:
        """Two nodes that want each other and are connected."""
        one, other = self.node("a", **options), self.node("b", **options)
        self.want(one, other)
        self.clock.until(lambda: connected(one, other), 5.0)
        return one, other

    @staticmethod
    def want(one: Node, other: Node) -> None:
        one.peers.connect(other.name, other.listening)
        other.peers.connect(one.name, one.listening)

    def kill(self, node: Node) -> None:
        """End it as SIGKILL does: its sockets are closed and nothing of it runs any more."""
        for address in node.listening:
            self.transport.listeners.pop(address)
        for link in list(node.peers._links):
            link.connection.cut()  # type: ignore[attr-defined]
        node.peers._tell = lambda *arguments: None  # type: ignore[method-assign]
        node.peers._closed = True
        for dialler in node.peers._diallers.values():
            dialler.close()
        node.peers._diallers.clear()


@pytest.fixture
def world() -> World:
    return World()


def numbered(count: int) -> list[bytes]:
    return [b"%d;" % number for number in range(count)]


# What is sent arrives


def test_signals_arrive_in_order_in_both_directions(world: World):
    one, other = world.pair()
    for signal in numbered(1000):
        assert one.session(other).send(signal)
        assert other.session(one).send(signal)
    world.clock.run(0.5)
    assert b"".join(one.bodies) == b"".join(other.bodies) == b"".join(numbered(1000))
    assert one.session(other).unsent == one.session(other).unacknowledged == 0


def test_what_is_sent_before_the_next_flush_leaves_in_one_frame(world: World):
    one, other = world.pair()
    for signal in numbered(100):
        one.session(other).send(signal)
    assert one.peers.dirty == [one.session(other)]
    world.clock.run(0.01)
    assert len(other.bodies) == 1
    assert one.peers.dirty == []


def test_a_whole_frame_leaves_at_once(world: World):
    one, other = world.pair()
    sent = one.peers.counters.frames_sent
    one.session(other).send(bytes(256 << 10))
    assert one.peers.counters.frames_sent == sent + 1


def test_flush_writes_without_waiting_for_the_hub(world: World):
    one, other = world.pair()
    sent = one.peers.counters.frames_sent
    one.session(other).send(b"x")
    one.peers.flush()
    assert one.peers.counters.frames_sent == sent + 1
    assert one.session(other).unsent == 0


@pytest.mark.parametrize("size", [0, 1, 65_000, 300_000, 3_000_000])
def test_signals_of_every_size(world: World, size: int):
    one, other = world.pair()
    for signal in (b"before", (bytes(size), b"and", bytes(7)), b"after"):
        one.session(other).send(signal)
    world.clock.run(2.0)
    assert b"".join(other.bodies) == b"before" + bytes(size) + b"and" + bytes(7) + b"after"


def test_a_signal_that_is_too_large_is_refused_and_harms_nobody(world: World):
    one, other = world.pair(parameters=SMALL)
    with pytest.raises(NotSendable):
        one.session(other).send(bytes(5001))
    one.session(other).send(b"fine")
    world.clock.run(0.5)
    assert other.bodies == [b"fine"]


# Connections break


def cut_all(world: World) -> None:
    for connection in list(world.transport.connections):
        connection.cut()


def test_a_broken_connection_is_made_again_and_nobody_above_notices(world: World):
    one, other = world.pair()
    sent = []
    for number in range(20):
        signal = b"%d;" % number
        sent.append(signal)
        one.session(other).send(signal)
        if number % 3 == 0:
            one.peers.flush()
            cut_all(world)
        world.clock.run(0.3)
    assert b"".join(other.bodies) == b"".join(sent)
    assert [kind for kind, _, _ in one.log + other.log] == ["started", "started"]
    assert one.peers.counters.connections_lost == 7


def exchange_over_cuts(
    seed: int, cuts: list[int], signals: int, parameters: PeerParameters | None, jitter: float = 0.0
) -> None:
    left = iter(cuts)
    world = World(seed, cut_after=lambda: next(left, None), jitter=jitter)
    one, other = world.node("a", parameters=parameters), world.node("b", parameters=parameters)
    world.want(one, other)
    chance = Random(seed)
    world.clock.run(1.0)
    sent: dict[str, list[bytes]] = {"a": [], "b": []}
    for number in range(signals):
        for node, to in ((one, other), (other, one)):
            session = node.peers.session(to.name)
            if session is not None and not session.congested:
                signal = b"%d:" % number + bytes(chance.randrange(800))
                assert session.send(signal)
                sent[node.name].append(signal)
        world.clock.run(chance.choice([0.0, 0.001, 0.1, 0.4]))
    world.clock.until(lambda: next(left, None) is None and connected(one, other), 600.0)
    world.clock.run(5.0)
    assert [kind for kind, _, _ in one.log] == [kind for kind, _, _ in other.log] == ["started"]
    assert b"".join(other.bodies) == b"".join(sent["a"])
    assert b"".join(one.bodies) == b"".join(sent["b"])
    assert one.session(other).unacknowledged == other.session(one).unacknowledged == 0


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 30),
    # From the 500th byte on, a connection can become a proven one.
    cuts=st.lists(st.integers(0, 3000) | st.integers(500, 20_000), max_size=15),
    small=st.booleans(),
    jitter=st.sampled_from([0.0, 0.005]),
)
def test_cut_at_any_byte(seed: int, cuts: list[int], small: bool, jitter: float):
    # Few enough in a row for no verdict: 15 cuts, each redialled within 0.25 s, take less than 5 s.
    exchange_over_cuts(seed, cuts, 60, SMALL if small else None, jitter)


def test_a_hundred_cuts_in_a_row_lose_and_double_nothing():
    chance = Random(3)
    exchange_over_cuts(3, [chance.randrange(700, 4000) for _ in range(100)], 400, SMALL)


def test_a_stale_half_open_connection_does_not_keep_the_redial_out(world: World):
    one, other = world.pair()
    session = other.session(one)
    (near,) = world.transport.connections
    theirs = near if near.peer_address == one.address else near.peer
    mine = theirs.peer
    # The network forgot the connection: one end sees it break, the other one hears nothing.
    theirs.stall()
    mine.close("reset")
    one.session(other).send(b"x")
    took = world.clock.until(lambda: connected(one, other) and other.bodies == [b"x"], 4.0)
    assert took < 1.0
    assert other.session(one) is session
    assert [kind for kind, _, _ in one.log + other.log] == ["started", "started"]


# Both dial at once


@pytest.mark.parametrize("seed", range(30))
def test_both_ends_dialling_at_once_settle_on_one_connection(seed: int):
    world = World(seed)
    one, other = world.node("a"), world.node("b")
    one.peers.connect("b", other.listening)
    other.peers.connect("a", one.listening)
    world.clock.until(lambda: connected(one, other), 2.0)
    world.clock.run(0.1)
    assert connected(one, other)
    assert one.log == [("started", "b", 1)] and other.log == [("started", "a", 1)]
    assert one.peers.open_connections == other.peers.open_connections == 1
    for _ in range(10):
        cut_all(world)
        world.clock.run(chance_of(seed))
        world.clock.until(lambda: connected(one, other), 2.0)
    world.clock.run(30.0)
    assert connected(one, other)
    assert one.peers.open_connections == other.peers.open_connections == 1
    assert len(one.log) == len(other.log) == 1


def chance_of(seed: int) -> float:
    return Random(seed).choice([0.0, 0.0001, 0.5])


@pytest.mark.parametrize("seed", range(40))
def test_dials_that_cross_settle_whatever_each_step_takes(seed: int):
    world = World(seed, jitter=0.1)
    one, other = world.node("a"), world.node("b")
    one.peers.connect("b", other.listening)
    world.clock.run(Random(seed).uniform(0.0, 0.3))
    other.peers.connect("a", one.listening)
    for _ in range(5):
        world.clock.until(lambda: connected(one, other), 5.0)
        world.clock.run(10.0)
        assert connected(one, other)
        assert one.peers.open_connections == other.peers.open_connections == 1
        assert len(one.log) == len(other.log) == 1
        cut_all(world)


@pytest.mark.parametrize("offset", range(40))
def test_dials_that_cross_after_any_number_of_steps_settle(offset: int):
    world = World(offset)
    one, other = world.node("a"), world.node("b")
    first, second = (one, other) if offset % 2 else (other, one)
    first.peers.connect(second.name, second.listening)
    for _ in range(offset // 2):
        if world.clock._soon:
            function, arguments = world.clock._soon.popleft()
            function(*arguments)
    second.peers.connect(first.name, first.listening)
    world.clock.until(lambda: connected(one, other), 2.0)
    world.clock.run(20.0)
    assert connected(one, other)
    assert len(one.log) == len(other.log) == 1
    assert one.peers.open_connections == other.peers.open_connections == 1


def test_both_join_each_other_at_once(world: World):
    one, other = world.node("a"), world.node("b")
    results: list[Session | JoinFailure] = []
    one.peers.contact(other.address, results.append, 5.0)
    other.peers.contact(one.address, results.append, 5.0)
    world.clock.until(lambda: len(results) == 2, 2.0)
    assert all(isinstance(result, Session) and result.ended is None for result in results)
    world.clock.run(10.0)
    assert connected(one, other)
    assert len(one.log) == len(other.log) == 1


def test_joining_a_node_that_is_connected_gives_its_session(world: World):
    one, other = world.pair()
    session = one.session(other)
    session.send(b"before")
    assert world.join(one, other.address) is session
    assert world.join(other, one.address) is other.session(one)
    session.send(b"after")
    world.clock.run(0.5)
    assert b"".join(other.bodies) == b"beforeafter"
    assert len(one.log) == len(other.log) == 1


def test_joining_a_node_whose_connection_is_broken_resumes_its_session(world: World):
    one, other = world.node("a"), world.node("b", listen=None)
    assert isinstance(world.join(other, one.address), Session)
    session = one.session(other)
    other.listening = one.listening  # so that the redial of a goes wrong
    session.send(b"x")
    cut_all(world)
    assert world.join(other, one.address) is other.session(one)
    world.clock.run(1.0)
    assert one.session(other) is session
    assert other.bodies == [b"x"]


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
    one, other = world.pair()
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
    assert one.peers._diallers == {}


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
    world.clock.run(2.5)
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
    assert other.peers._diallers == {}


def test_a_wanted_peer_that_ended_the_session_is_connected_again_soon(world: World):
    one, other = world.pair()
    one.session(other).end("for a test")
    world.clock.until(lambda: other.told("ended"), 1.0)
    assert other.told("ended") == ["for a test"]
    world.clock.until(lambda: connected(one, other), 1.0)
    assert one.session(other).number == 2


def test_a_forgotten_peer_stays_connected_until_the_connection_breaks(world: World):
    one, other = world.pair()
    one.peers.forget("b")
    other.peers.forget("a")
    world.clock.run(30.0)
    assert connected(one, other)
    cut_all(world)
    world.clock.until(lambda: connected(one, other), 2.0)
    assert len(one.log) == 1, "the session still has its time"
    world.kill(other)
    world.clock.until(lambda: one.told("ended"), 2.0)
    assert one.peers._diallers == {} and one.peers.sessions() == []


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
    assert one.log == [] and one.peers._diallers == {}


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
    assert "hyparview" in told.text and "full_mesh" in told.text


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
    assert told.reason == "name" and "itself" in told.text


def test_join_where_the_parts_above_refuse(world: World):
    one, other = world.node("a"), world.node("b")
    other.refused_by_us["a"] = "topology"
    assert failure(world, one, other.address).reason == "topology"
    assert other.log == one.log == []


def test_join_nobody_fails_after_a_second_try(world: World):
    one = world.node("a")
    start = world.clock.now()
    told = failure(world, one, "nobody:1")
    assert told == JoinFailure("unreachable", "nobody:1: connection refused")
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


# Flow control


def stop_reading(world: World, node: Node) -> None:
    for connection in world.transport.connections:
        end = connection if connection.peer_address != node.address else connection.peer
        end.stall()


def test_senders_are_told_to_wait_and_when_to_go_on(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    called: list[int] = []
    session.when_room(lambda: called.append(session.unsent))
    assert called == [], "never from within the call"
    world.clock.settle()
    assert called == [0]
    stop_reading(world, other)
    while not session.congested:
        assert session.send(bytes(500))
    session.when_room(lambda: called.append(-1))
    world.clock.run(1.0)
    assert session.congested and called == [0]
    assert session.unsent + session.unacknowledged == 8000
    for connection in world.transport.connections:
        for end in (connection, connection.peer):
            end.stall(False)
    world.clock.run(0.5)
    assert not session.congested and called == [0, -1]
    assert sum(map(len, other.bodies)) == 8000


def test_a_session_that_ends_lets_those_who_wait_go(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    stop_reading(world, other)
    while not session.congested:
        session.send(bytes(500))
    called: list[str] = []
    session.when_room(lambda: called.append("room"))
    world.kill(other)
    world.clock.run(2.0)
    assert called == ["room"]
    assert not session.congested
    assert not session.send(b"too late")
    assert session.ended is not None


def test_past_the_hard_limit_the_session_ends(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    stop_reading(world, other)
    count = 0
    while session.send(bytes(5000)):
        count += 1
    assert 12 <= count <= 14
    assert session.ended == "overflow"
    assert one.told("ended") == ["overflow"]
    assert not session.send(b"x")
    for connection in world.transport.connections:
        for end in (connection, connection.peer):
            end.stall(False)
    world.clock.until(lambda: connected(one, other), 10.0)
    assert one.session(other) is not session


def test_nothing_more_is_framed_than_the_connection_takes(world: World):
    one, other = world.pair(parameters=SMALL)
    session = one.session(other)
    stop_reading(world, other)
    for _ in range(60):
        session.send(bytes(1000))
    world.clock.run(0.5)
    # What the network takes (4096) and the backlog (1000) and a frame, not more.
    assert session.unacknowledged <= 4096 + 1000 + 1000
    assert session.unsent + session.unacknowledged == 60_000


def test_a_peer_that_stops_reading_costs_the_others_nothing(world: World):
    one, other = world.pair(parameters=SMALL)
    third = world.node("c", parameters=SMALL)
    world.want(one, third)
    world.clock.until(lambda: connected(one, third), 1.0)
    (near,) = [c for c in world.transport.connections if {c.peer_address, c.peer.peer_address} & set(other.listening)]
    for end in (near, near.peer):
        if end.peer_address != other.address:
            end.stall()
    for number in range(50):
        one.session(other).send(bytes(1000))
        one.session(third).send(b"%d;" % number)
        world.clock.run(0.001)
    assert b"".join(third.bodies) == b"".join(numbered(50))


def test_signals_wait_for_the_first_connection_after_a_break_without_being_copied_around(world: World):
    one, other = world.pair()
    session = one.session(other)
    (connection,) = world.transport.connections
    connection.cut()
    for signal in numbered(100):
        session.send(signal)
    world.clock.run(1.0)
    assert b"".join(other.bodies) == b"".join(numbered(100))


# Proven peers that misbehave


def proven(world: World, node: Node, life: Life | None = None, **hello: object) -> RawPeer:
    raw = RawPeer(life if life is not None else Life("raw", 1, 99), keys_of(COOKIE), **hello)
    raw.dial(world.transport, node.address)
    world.clock.until(lambda: raw.established or raw.closed_because, 1.0)
    return raw


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (DATA, {"number": 7}),
        (DATA, {"number": 1, "channel": 3}),
        (ACK, {"number": 1}),
        (HEARTBEAT, {"body": b"short"}),
        (HELLO, {}),
        (99, {}),
    ],
)
def test_a_broken_envelope_ends_the_connection(world: World, kind: int, fields: dict[str, object]):
    one, other = world.pair()
    raw = proven(world, one)
    raw.send(kind, **fields)  # type: ignore[arg-type]
    world.clock.until(lambda: raw.closed_because, 0.1)
    assert one.peers.counters.broken_envelopes == 1
    assert connected(one, other)
    one.session(other).send(b"fine")
    world.clock.run(0.1)
    assert other.bodies == [b"fine"]


def test_a_frame_that_claims_four_gib_after_the_handshake(world: World):
    one = world.node("a")
    raw = proven(world, one)
    raw.write(b"\x01\x00" + bytes(8) + b"\xff\xff\xff\xff" + bytes(8))
    world.clock.until(lambda: raw.closed_because, 0.1)
    assert one.peers.counters.broken_envelopes == 1


def test_breaking_and_resuming_on_the_same_bad_frame_is_not_for_ever(world: World):
    one = world.node("a")
    life = Life("raw", 1, 99)
    raw = proven(world, one, life)
    for _ in range(3):
        raw.send(DATA, number=7)
        world.clock.until(lambda: raw.closed_because, 0.1)  # noqa: B023
        session = one.peers.session("raw")
        if session is None:
            break
        raw = proven(world, one, life, session=session.number, last_session=session.number, peer_bits=one.life.bits)
    assert one.told("ended") == ["broken envelope: frame 7 came after 0"]
    assert one.peers.counters.broken_envelopes == 2


def test_an_optional_frame_of_a_later_version_is_skipped(world: World):
    one = world.node("a")
    raw = proven(world, one)
    raw.send(200, b"x" * 100_000, flags=1)
    raw.send(DATA, b"known", number=1)
    world.clock.run(0.1)
    assert one.bodies == [b"known"]


def test_a_peer_that_asks_and_asks_and_does_not_read_grows_nothing(world: World):
    one = world.node("a")
    raw = proven(world, one)
    assert isinstance(raw.connection, MemoryConnection)
    raw.connection.stall()
    for number in range(3000):
        raw.send(HEARTBEAT, number.to_bytes(8, "big"))
        raw.send(DATA, b"x", number=number + 1)
        world.clock.settle()
    session = one.peers.session("raw")
    assert session is not None and session.link is not None
    assert session.link.connection.unsent < 300_000
    assert len(one.bodies) == 3000


def test_a_heartbeat_is_answered_and_a_reply_to_none_is_ignored(world: World):
    one = world.node("a")
    raw = proven(world, one)
    raw.send(HEARTBEAT, b"12345678")
    raw.send(HEARTBEAT_REPLY, b"87654321")
    world.clock.run(0.05)
    assert [frame.body for frame in raw.frames if frame.header.kind == HEARTBEAT_REPLY] == [b"12345678"]
    assert one.peers.session("raw") is not None


def test_a_peers_close_ends_the_session_with_its_reason(world: World):
    one = world.node("a")
    raw = proven(world, one)
    raw.send(DATA, b"first", number=1)
    raw.send(CLOSE, b"leave")
    raw.send(DATA, b"never", number=2)
    world.clock.run(1.0)
    assert one.log == [("started", "raw", 1), ("ended", "raw", "leave")]
    assert one.bodies == [b"first"]
    assert one.peers.open_connections == 0


def test_reasons_of_peers_do_not_fill_the_counters(world: World):
    one = world.node("a")
    for number in range(100):
        raw = proven(world, one, Life(f"raw{number}", 1, 99))
        raw.send(CLOSE, b"reason %d" % number)
        world.clock.run(0.1)
    ended = one.peers.counters.sessions_ended
    assert len(ended) <= 65 and sum(ended.values()) == 100


# The parts above misbehave


def test_what_the_parts_above_raise_is_logged_and_changes_nothing(world: World):
    one, other = world.node("a"), world.node("b")

    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug above")

    other.session_started = fail  # type: ignore[method-assign]
    assert isinstance(world.join(one, other.address), Session)
    received, other.received = other.received, fail  # type: ignore[method-assign]
    one.session(other).send(b"lost to the bug")
    world.clock.run(0.1)
    other.log.append(("started", "a", 1))
    other.received = received  # type: ignore[method-assign]
    one.session(other).send(b"fine")
    world.clock.run(0.1)
    assert other.bodies == [b"fine"]
    other.session_ended = fail  # type: ignore[method-assign]
    one.peers.leave()
    world.clock.run(1.0)
    assert other.peers.session("a") is None


def test_a_session_may_be_ended_from_within_what_it_tells(world: World):
    one, other = world.node("a"), world.node("b")
    other.session_started = lambda session: session.end("unwelcome")  # type: ignore[method-assign]
    result = world.join(one, other.address)
    world.clock.run(1.0)
    assert one.peers.session("b") is None and other.peers.session("a") is None
    assert isinstance(result, Session) and result.ended == "unwelcome"

    one.session_started = lambda session: session.end("unwelcome")  # type: ignore[method-assign]
    del other.session_started  # type: ignore[method-assign]
    result = world.join(one, other.address)
    assert isinstance(result, JoinFailure) and "unwelcome" in result.text


def test_a_session_ended_from_within_a_delivery_delivers_no_more(world: World):
    one, other = world.pair(parameters=SMALL)
    received = other.received

    def end_at_first(session: Session, body: bytes | memoryview) -> None:
        received(session, body)
        session.end("enough")

    other.received = end_at_first  # type: ignore[method-assign]
    for _ in range(5):
        one.session(other).send(bytes(1000))
    world.clock.until(lambda: one.told("ended"), 1.0)
    assert len(other.bodies) == 1
    assert one.told("ended") == ["enough"]


def test_closing_from_within_what_is_told(world: World):
    one, other = world.pair()
    other.session_ended = lambda session, reason: other.peers.close()  # type: ignore[method-assign]
    one.peers.leave()
    world.clock.run(2.0)
    assert other.peers.open_connections == 0


def test_sessions_know_their_round_trip_time_and_address(world: World):
    one, other = world.pair()
    session = one.session(other)
    world.clock.run(1.0)
    assert session.round_trip == 0.0, "no time passes on the way"
    assert session.address is not None
    assert "connected" in repr(session) and "b" in repr(session)
    assert one.peers.sessions() == [session]
    assert one.peers.known_life("b") == other.life
    assert one.peers.known_life("nobody") is None
