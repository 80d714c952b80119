"""Two `Peers` in one program, over TCP, with and without TLS, and unix sockets."""

from __future__ import annotations

from pathlib import Path
from random import Random

import gevent
import pytest

from partisan_actors.distribution import JoinFailure, PeerParameters, Session
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.distribution.stream import StreamParameters
from partisan_actors.processes.clock import GeventClock
from partisan_actors.transport import SocketTransport
from tests.certificates import Authority
from tests.conditions import wait_until
from tests.distribution.nodes import Node, connected, join


@pytest.fixture(params=["tcp", "tls", "unix"])
def pair(request: pytest.FixtureRequest, nodes: list[Node], tmp_path: Path) -> tuple[Node, Node]:
    """Two nodes that want each other and are connected."""
    names = ("one", "other")
    tls = Authority(tmp_path / "authority").tls(*names) if request.param == "tls" else None
    one, other = (
        Node(
            name,
            listen=f"unix:{tmp_path}/{name}" if request.param == "unix" else "127.0.0.1:0",
            transport=SocketTransport(GeventClock(seed=1), tls),
        )
        for name in names
    )
    nodes += [one, other]
    one.peers.connect("other", other.listening)
    other.peers.connect("one", one.listening)
    wait_until(lambda: connected(one, other))
    return one, other


def arrived(node: Node, size: int) -> bytes:
    """What `node` got, once it is so much."""
    wait_until(lambda: sum(map(len, node.bodies)) >= size, 20.0)
    return b"".join(node.bodies)


def wait_until_connected(one: Node, other: Node) -> None:
    """Wait for a session that both have."""
    wait_until(lambda: connected(one, other))


def cut(node: Node, other: Node) -> None:
    """Break the connection from the side of `node`, and wait until that was noticed."""
    lost = node.peers.counters.connections_lost
    link = node.session(other).link
    assert link is not None
    link.connection.close("cut by the test")
    wait_until(lambda: node.peers.counters.connections_lost > lost)


def test_signals_arrive_in_both_directions(pair: tuple[Node, Node]):
    one, other = pair
    expected = b""
    for number in range(2000):
        signal = number.to_bytes(4, "big") * (number % 300)
        one.session(other).send(signal)
        other.session(one).send(signal)
        expected += signal
    for node in pair:
        assert arrived(node, len(expected)) == expected


def test_a_large_signal_and_what_follows_it(pair: tuple[Node, Node]):
    one, other = pair
    large = Random(1).randbytes(20 << 20)
    one.session(other).send((b"head", large))
    one.session(other).send(b"tail")
    wait_until(lambda: other.bodies and other.bodies[-1].endswith(b"tail"), 20.0)
    assert b"".join(other.bodies) == b"head" + large + b"tail"


def test_a_hundred_cuts_in_a_row_lose_and_double_nothing(pair: tuple[Node, Node]):
    one, other = pair
    chance = Random(5)
    expected = b""
    for number in range(100):
        for _ in range(chance.randrange(1, 8)):
            signal = number.to_bytes(4, "big") * chance.choice([1, 50, 2_000, 20_000])
            one.session(other).send(signal)
            other.session(one).send(signal)
            expected += signal
        gevent.sleep(chance.choice([0.0, 0.0, 0.001, 0.003]))
        wait_until(lambda: one.session(other).connected and other.session(one).connected)
        cut(*(pair if number % 2 else pair[::-1]))
    for node in pair:
        assert arrived(node, len(expected)) == expected
        assert [event for event, _, _ in node.log] == ["started"]


def test_both_ends_dial_at_once_many_times(nodes: list[Node]):
    for round_ in range(30):
        one, other = Node(f"one{round_}"), Node(f"other{round_}")
        nodes += [one, other]
        one.peers.connect(other.name, other.listening)
        other.peers.connect(one.name, one.listening)
        wait_until_connected(one, other)
    wait_until(lambda: all(node.peers.open_connections == 1 for node in nodes))
    for one, other in zip(nodes[::2], nodes[1::2], strict=True):
        assert one.log + other.log == [("started", other.name, 1), ("started", one.name, 1)]


def test_twelve_nodes_join_one_at_once_and_connect_to_each_other(nodes: list[Node]):
    nodes += [Node(f"node{number:02}") for number in range(12)]
    results: list[Session | JoinFailure] = []
    for node in nodes[1:]:
        node.peers.contact(nodes[0].address, results.append, 5.0)
    wait_until(lambda: len(results) == 11)
    assert all(isinstance(result, Session) for result in results)
    for node in nodes:
        for other in nodes:
            node.peers.connect(other.name, other.listening)
    wait_until(lambda: all(connected(one, other) for one in nodes for other in nodes if one is not other))
    wait_until(lambda: all(node.peers.open_connections == 11 for node in nodes))
    assert all(len(node.log) == 11 for node in nodes)


def test_a_peer_that_does_not_read_holds_up_nobody_else(nodes: list[Node]):
    stream = StreamParameters(low_watermark=256 << 10, high_watermark=1 << 20, hard_limit=4 << 20)
    one = Node("one", parameters=PeerParameters(session=SessionParameters(stream=stream)))
    deaf, third = Node("deaf"), Node("third")
    nodes += [one, deaf, third]
    for node in (deaf, third):
        assert isinstance(join(one, node.address), Session)
        wait_until_connected(one, node)
    link = deaf.session(one).link
    assert link is not None
    link.connection._reader.stop()  # type: ignore[attr-defined]
    session, sent = one.session(deaf), 0
    while not session.congested:
        session.send(bytes(10_000))
        sent += 10_000
        assert sent < 50 << 20
        gevent.sleep(0)
    assert session.unsent + session.unacknowledged < (1 << 20) + 10_000
    one.session(third).send(b"fine")
    wait_until(lambda: third.bodies == [b"fine"], 1.0)
    assert one.session(third).connected and one.told("ended") == []


def test_leaving_gets_the_last_words_out(pair: tuple[Node, Node]):
    one, other = pair
    expected = bytes(3 << 20)
    one.session(other).send(expected)
    one.peers.close("leave")
    wait_until(lambda: other.told("ended") == ["leave"])
    assert b"".join(other.bodies) == expected
    wait_until(lambda: not one.peers.open_connections)


def test_an_address_that_is_taken_opens_no_other(nodes: list[Node]):
    one, other = Node("one"), Node("other", listen=None)
    nodes += [one, other]
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        other.peers.listen(["127.0.0.1:0", one.address])
    assert other.peers._listeners == []


def test_the_round_trip_time_is_measured(pair: tuple[Node, Node]):
    one, other = pair
    wait_until(lambda: one.session(other).round_trip is not None, 2.0)
    round_trip = one.session(other).round_trip
    assert round_trip is not None and 0 < round_trip < 1.0
