"""Proven peers, and parts of this node, that do what they should not."""

from __future__ import annotations

import pytest

from partisan_actors.distribution import JoinFailure, PeerParameters, Session
from partisan_actors.distribution.channels import STREAMS_FEATURE, Channel
from partisan_actors.distribution.outgoing import Outgoing
from partisan_actors.distribution.session import SessionParameters
from partisan_actors.processes.identity import Life
from partisan_actors.transport import MemoryConnection, SocketTransport
from partisan_actors.wire.frames import (
    ACK,
    CLOSE,
    DATA,
    FRAGMENT,
    HEARTBEAT,
    HEARTBEAT_REPLY,
    HELLO,
    encode_fragment,
)
from tests.conditions import wait_until
from tests.distribution.nodes import COOKIE, Node, connected, keys_of
from tests.distribution.raw_peer import RawPeer
from tests.distribution.world import SMALL, World

# Proven peers that misbehave


def proven(world: World, node: Node, life: Life | None = None, **hello: object) -> RawPeer:
    raw = RawPeer(life if life is not None else Life("raw", 1, 99), keys_of(COOKIE), **hello)  # type: ignore[arg-type]
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


def test_a_peer_that_begins_signals_on_many_streams_and_goes_on_with_none_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """Over real sockets. It answers heartbeats, and sends other things on the same streams."""
    parameters = PeerParameters(session=SessionParameters(heartbeat_interval=0.1, silence=1.0, piece_within=0.3))
    one = Node("a", parameters=parameters, channels=(Channel("bulk", parallelism=4),))
    raw = RawPeer(
        Life("raw", 1, 99), keys_of(COOKIE), features=STREAMS_FEATURE, channels=(("default", 1, 0), ("bulk", 4, 0))
    )
    raw.on_frame = lambda frame: (
        raw.send(HEARTBEAT_REPLY, bytes(frame.body)) if frame.header.kind == HEARTBEAT else raw.frames.append(frame)
    )
    try:
        raw.dial(SocketTransport(one.clock), one.address)
        wait_until(lambda: raw.established)
        wait_until(lambda: one.peers.session("raw"))
        session = one.peers.session("raw")
        assert session is not None
        number = session.channels["bulk"].number
        for stream in range(4):
            piece = {"flags": FRAGMENT, "extensions": encode_fragment(1, 0, 32 << 20)}
            raw.send(DATA, b"the first piece", number=1, channel=number, stream=stream, **piece)
            raw.send(DATA, b"fine", number=2, channel=number, stream=stream)
        begun = session.machine.streams._begun
        wait_until(lambda: begun.bytes == 4 * (32 << 20))
        wait_until(lambda: raw.closed_because)
        assert one.bodies == [b"fine"] * 4
        assert one.told("ended") == ["broken envelope: a signal has begun, and its peer does not go on with it"]
        assert [bytes(frame.body) for frame in raw.frames if frame.header.kind == CLOSE] != []
    finally:
        one.peers.close()


# The parts above misbehave


def test_what_the_parts_above_raise_is_logged_and_changes_nothing(world: World):
    one, other = world.node("a"), world.node("b")

    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug above")

    other.session_started = fail  # type: ignore[assignment,method-assign]
    assert isinstance(world.join(one, other.address), Session)
    received, other.received = other.received, fail  # type: ignore[assignment,method-assign]
    one.session(other).send(b"lost to the bug")
    world.clock.run(0.1)
    other.log.append(("started", "a", 1))
    other.received = received  # type: ignore[method-assign]
    one.session(other).send(b"fine")
    world.clock.run(0.1)
    assert other.bodies == [b"fine"]
    other.session_ended = fail  # type: ignore[assignment,method-assign]
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

    def end_at_first(session: Session, body: bytes | memoryview, outgoing: Outgoing) -> None:
        received(session, body, outgoing)
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


def test_a_name_that_is_too_long_for_a_handshake_is_refused_when_it_is_given(world: World):
    with pytest.raises(ValueError, match="takes 5"):
        world.node("a" * 5000, listen=None)


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
