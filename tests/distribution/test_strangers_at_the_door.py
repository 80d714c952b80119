"""Whoever is not one of us, over real sockets: refused in time, told why if it can listen, and no harm to others."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import time
import tracemalloc
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest
import structlog.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from partisan_actors.distribution import PeerParameters, Session
from partisan_actors.distribution.strangers import StrangerParameters
from partisan_actors.processes.clock import GeventClock
from partisan_actors.processes.identity import Life
from partisan_actors.transport import SocketTransport
from partisan_actors.wire.frames import DATA, HELLO, PROOF, encode_frame
from partisan_actors.wire.handshake import Hello, RefusalCode
from tests.conditions import wait_until
from tests.distribution.nodes import COOKIE, Node, connected, join, keys_of
from tests.distribution.raw_peer import RawPeer

QUICK = PeerParameters(strangers=StrangerParameters(prove_within=0.3))


@pytest.fixture
def pair(nodes: list[Node]) -> tuple[Node, Node]:
    """Two nodes that are connected; the strangers come to the first."""
    one, other = Node("one", parameters=QUICK), Node("other")
    nodes += [one, other]
    assert isinstance(join(other, one.address), Session)
    wait_until(lambda: connected(one, other))
    return one, other


@pytest.fixture
def log() -> Iterator[list[dict[str, object]]]:
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


def call(node: Node) -> socket.socket:
    """A connection to `node`."""
    host, _, port = node.address.rpartition(":")
    return gevent.socket.create_connection((host, int(port)), timeout=5.0)


def answer_to(node: Node, data: bytes) -> tuple[bytes, float]:
    """What a stranger gets that sends `data`, until it is cut off, and after how many seconds."""
    with contextlib.closing(call(node)) as connection:
        start = time.monotonic()
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while more := connection.recv(4096):
                answer += more
        return answer, time.monotonic() - start


def refused(node: Node, raw: RawPeer) -> RefusalCode:
    """What `raw` is told by `node`."""
    raw.dial(SocketTransport(GeventClock()), node.address)
    wait_until(lambda: raw.closed_because)
    assert raw.established is None
    assert raw.refusal is not None
    return RefusalCode(raw.refusal.code)


def unharmed(one: Node, other: Node) -> bool:
    """Whether the session of the two goes on as if nothing had been."""
    other.session(one).send(b"still here")
    wait_until(lambda: b"still here" in one.bodies, 1.0)
    one.bodies.clear()
    return connected(one, other) and len(one.log) == len(other.log) == 1


def lines(log: list[dict[str, object]]) -> list[dict[str, object]]:
    return [entry for entry in log if entry["event"] == "connection_refused"]


STRANGE_BYTES = {
    "a port scanner": b"\r\n\r\n",
    "an http request": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a tls client": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "zeros": bytes(5000),
    "a frame of four gib": b"\x10\x00" + bytes(8) + b"\xff\xff\xff\xff" + bytes(8),
    "a frame of five kib": b"\x10\x00" + bytes(8) + struct.pack(">I", 5000) + bytes(8),
    "data before anything": b"".join(encode_frame(DATA, number=1, body_buffers=(b"hello",))),
    "a proof first": b"".join(encode_frame(PROOF, body_buffers=(bytes(32),))),
    "a hello of rubbish": b"".join(encode_frame(HELLO, body_buffers=(os.urandom(300),))),
    "an empty hello": b"".join(encode_frame(HELLO)),
}


@pytest.mark.parametrize("name", STRANGE_BYTES)
def test_what_is_not_our_protocol_is_cut_off(pair: tuple[Node, Node], log: list[dict[str, object]], name: str):
    one, other = pair
    _, took = answer_to(one, STRANGE_BYTES[name])
    assert took < 1.0
    (entry,) = wait_until(lambda: lines(log))
    assert str(entry["address"]).startswith("127.0.0.1:")
    assert entry["reason"] in ("malformed", "tls", "expired", "closed during the handshake")
    assert entry["detail"]
    assert unharmed(one, other)


def test_one_that_says_nothing_is_cut_off(pair: tuple[Node, Node], log: list[dict[str, object]]):
    one, other = pair
    answer, took = answer_to(one, b"")
    assert answer == b"" and 0.2 < took < 1.0
    assert [entry["reason"] for entry in lines(log)] == ["expired"]
    assert unharmed(one, other)


@pytest.mark.parametrize("said", ["", "fickle"])
def test_who_gives_up_its_dial_is_counted_and_no_warning(
    pair: tuple[Node, Node], log: list[dict[str, object]], said: str
):
    """The overlay of the other wants the link no longer: that happens with every switch, and nobody has to look."""
    one, other = pair
    with contextlib.closing(call(one)) as connection:
        if said:
            hello = RawPeer(Life(said, 1, 1), keys_of(COOKIE)).hello
            connection.sendall(b"".join(encode_frame(HELLO, body_buffers=(hello.encode(),))))
            assert connection.recv(4096)
    (entry,) = wait_until(lambda: lines(log))
    assert (entry["reason"], entry["log_level"]) == ("given up by the peer", "debug")
    assert entry["detail"] == (said or "before its hello")
    assert one.peers.counters.refusals == {"given up by the peer": 1}
    assert unharmed(one, other)


def test_who_stops_in_the_middle_of_a_word_is_a_stranger(pair: tuple[Node, Node], log: list[dict[str, object]]):
    one, other = pair
    with contextlib.closing(call(one)) as connection:
        connection.sendall(b"HE")
    (entry,) = wait_until(lambda: lines(log))
    assert (entry["reason"], entry["log_level"]) == ("closed during the handshake", "warning")
    assert unharmed(one, other)


def test_one_that_trickles_is_cut_off_all_the_same(pair: tuple[Node, Node]):
    one, other = pair
    hello = RawPeer(Life("slow", 1, 1), keys_of(COOKIE)).hello
    data = b"".join(encode_frame(HELLO, body_buffers=(hello.encode(),)))
    with contextlib.closing(call(one)) as connection:
        start = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for position in range(len(data)):
                connection.sendall(data[position : position + 1])
                gevent.sleep(0.01)
                if position > 5 and not one.peers._strangers.pending:
                    break
        assert time.monotonic() - start < 1.0
    assert unharmed(one, other)


def test_the_default_limits():
    parameters = StrangerParameters()
    assert (parameters.pending, parameters.pending_from_one, parameters.prove_within) == (256, 16, 4.0)


def test_a_wrong_cookie_is_told_so(pair: tuple[Node, Node], log: list[dict[str, object]]):
    one, other = pair
    raw = RawPeer(Life("stranger", 1, 1), keys_of(b"a cookie of somebody else"))
    assert refused(one, raw) == RefusalCode.COOKIE
    (entry,) = lines(log)
    assert entry["reason"] == "cookie" and str(entry["address"]).startswith("127.0.0.1:")
    assert unharmed(one, other)


def test_a_wrong_version_is_told_which_is_spoken(pair: tuple[Node, Node]):
    one, other = pair
    raw = RawPeer(Life("stranger", 1, 1), keys_of(COOKIE), protocol_min=7, protocol_max=9)
    assert refused(one, raw) == RefusalCode.VERSION
    assert raw.refusal is not None and "1 to 1" in raw.refusal.text and "7 to 9" in raw.refusal.text
    assert unharmed(one, other)


def test_a_name_that_is_live_is_told_so(pair: tuple[Node, Node]):
    one, other = pair
    assert refused(one, RawPeer(Life("other", 2, 99), keys_of(COOKIE))) == RefusalCode.NAME
    assert refused(one, RawPeer(Life("one", 2, 99), keys_of(COOKIE))) == RefusalCode.NAME
    assert unharmed(one, other)


def test_another_topology_is_told_so(pair: tuple[Node, Node]):
    one, other = pair
    assert refused(one, RawPeer(Life("odd", 1, 1), keys_of(COOKIE), topology="ring")) == RefusalCode.TOPOLOGY
    assert unharmed(one, other)


def test_a_hello_is_not_enough_to_learn_why_a_name_is_refused(pair: tuple[Node, Node]):
    one, _ = pair
    raw = RawPeer(Life("other", 2, 99), keys_of(b"a cookie of somebody else"))
    assert refused(one, raw) == RefusalCode.COOKIE, "not NAME: who is connected is nobody's business"


def test_a_thousand_at_once(pair: tuple[Node, Node], log: list[dict[str, object]]):
    one, other = pair
    connections: list[socket.socket] = []
    try:
        for number in range(1000):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", int(one.address.rpartition(":")[2])))
            connections.append(connection)
            if number % 100 == 0:
                assert unharmed(one, other)
                assert one.peers._strangers.pending <= 16
        wait_until(lambda: sum(one.peers.counters.refusals.values()) >= 1000, 10.0)
        assert unharmed(one, other)
        wait_until(lambda: one.peers.open_connections == 1)
    finally:
        for connection in connections:
            connection.close()
    reasons = one.peers.counters.refusals
    assert reasons["too many unproven connections from this address"] > 900
    assert reasons["expired"] + reasons["closed during the handshake"] >= 16
    assert len(lines(log)) <= 3 * StrangerParameters().lines
    assert one.peers._strangers.pending == 0


def test_one_of_us_gets_in_while_strangers_fill_the_door(nodes: list[Node], pair: tuple[Node, Node]):
    one, _ = pair
    connections = [call(one) for _ in range(40)]
    newcomer = Node("newcomer")
    nodes.append(newcomer)
    assert isinstance(join(newcomer, one.address), Session), "as soon as the silent ones were cut off"
    for connection in connections:
        connection.close()


def test_strangers_leave_no_memory_behind(pair: tuple[Node, Node]):
    one, other = pair

    def visit(count: int) -> None:
        quick = ["an http request", "a frame of four gib", "data before anything"]
        for number in range(count):
            answer_to(one, STRANGE_BYTES[quick[number % 3]])

    def memory() -> int:
        wait_until(lambda: one.peers.open_connections == 1)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        visit(150)
        before = memory()
        visit(300)
        after = memory()
    finally:
        tracemalloc.stop()
    assert after - before < 30_000, "a hundred bytes for each"
    assert unharmed(one, other)


def test_a_stranger_is_not_worth_a_large_buffer(pair: tuple[Node, Node]):
    one, _ = pair
    connections = [call(one) for _ in range(10)]
    wait_until(lambda: one.peers._strangers.pending == 10)
    for link in one.peers._links:
        if link.counted_host is not None:
            assert len(link.buffer()) <= 4096
    for connection in connections:
        connection.close()


def test_log_lines_are_counted_after_the_first(nodes: list[Node], log: list[dict[str, object]]):
    parameters = PeerParameters(strangers=StrangerParameters(lines=2, seconds=0.3))
    node = Node("quiet", parameters=parameters)
    nodes.append(node)
    for _ in range(10):
        answer_to(node, STRANGE_BYTES["an http request"])
    entries = wait_until(lambda: lines(log) if len(lines(log)) == 3 else None)
    assert [entry["times"] for entry in entries] == [1, 1, 8]
    assert node.peers.counters.refusals["malformed"] == 10


@pytest.fixture(scope="module")
def door() -> Iterator[Node]:
    node = Node("door", parameters=QUICK)
    yield node
    node.peers.close()


def hello_of_a_stranger() -> bytes:
    hello: Hello = RawPeer(Life("stranger", 1, 1), keys_of(COOKIE)).hello
    return b"".join(encode_frame(HELLO, body_buffers=(hello.encode(),)))


@settings(max_examples=40)
@given(
    data=st.binary(max_size=200),
    mutations=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5),
    begin=st.sampled_from(["bytes", "hello", "both"]),
)
def test_no_bytes_of_a_stranger_get_it_in(door: Node, data: bytes, mutations: list[tuple[int, int]], begin: str):
    sent = bytearray({"bytes": b"", "hello": hello_of_a_stranger(), "both": hello_of_a_stranger()}[begin])
    for position, value in mutations:
        if position < len(sent):
            sent[position] = value
    if begin != "hello":
        sent += data
    with contextlib.closing(call(door)) as connection:
        connection.sendall(bytes(sent))
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while connection.recv(4096):
                pass
    wait_until(lambda: not door.peers.open_connections)
    assert door.log == []
    assert door.peers._strangers.pending == 0
