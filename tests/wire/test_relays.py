"""What is relayed, as bytes: it comes back as it was, a relay changes what is its, nonsense is a BrokenFrame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import (
    COMPRESSED,
    HANDSHAKE_LIMIT,
    HEADER_SIZE,
    OPTIONAL,
    RELAY,
    ROUTE,
    BrokenFrame,
    encode_extension,
    encode_frame,
)
from partisan_actors.wire.relays import (
    LOOK_UP,
    MOST_COST,
    MOST_HOPS,
    Relay,
    RouteMessage,
    decode_relay,
    decode_route,
    encode_relay,
    encode_route,
    names_of,
)
from tests.distribution.cutting import frame_of

NAMES = st.text(min_size=1, max_size=60)
U8 = st.integers(0, 255)
HOPS = st.integers(1, MOST_HOPS)
COSTS = st.integers(0, MOST_COST)
U64 = st.integers(0, (1 << 64) - 1)


def encoded(relay: Relay) -> bytes:
    return b"".join(encode_relay(relay))


@st.composite
def relays(draw: st.DrawFn) -> Relay:
    to, by = draw(NAMES), draw(NAMES)
    return Relay(
        to,
        by,
        draw(U64),
        draw(HOPS),
        draw(U8),
        draw(COSTS),
        names_of(to, by),
        (draw(st.binary(max_size=50)),),
        draw(st.binary(max_size=30)),
        draw(U8) | OPTIONAL,
    )


@given(relays())
def test_a_relay_comes_back_as_it_was(relay: Relay):
    frame = frame_of(encoded(relay))
    assert frame.header.kind == RELAY
    assert decode_relay(frame) == relay


@given(relays(), HOPS, U8, COSTS)
def test_what_is_no_business_of_a_relay_passes_untouched(relay: Relay, hops: int, ttl: int, cost: int):
    before = frame_of(encoded(relay))
    after = frame_of(encoded(decode_relay(before)._replace(hops=hops, ttl=ttl, cost=cost)))
    assert after[0] == before[0]
    assert (after.extensions, after.body, after.routing[6:]) == (before.extensions, before.body, before.routing[6:])


def test_the_layout_is_stable():
    names = names_of("to", "from")
    relay = Relay("to", "from", 0x0102030405060708, 3, 5, 0x0A0B0C0D, names, (b"body",), encode_extension(9, b"x"))
    assert encoded(relay).hex(" ") == (
        "07 01 00 00 00 00 00 0e 00 04 00 00 00 04 01 02 03 04 05 06 07 08"
        " 03 05 0a 0b 0c 0d 02 04 74 6f 66 72 6f 6d 09 00 01 78 62 6f 64 79"
    )
    message = RouteMessage(LOOK_UP, "from", "to", 7, 2, 1, 0x10, 9, 0x20)
    assert b"".join(encode_route(message))[HEADER_SIZE:].hex(" ") == (
        "01 01 02 04 02 00 00 00 10 00 00 00 20 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 09 66 72 6f 6d 74 6f"
    )


def test_a_large_body_is_not_copied():
    body = bytes(20_000)
    relay = Relay("to", "by", 1, 1, 1, 0, names_of("to", "by"), (body,))
    assert any(buffer is body for buffer in encode_relay(relay))


def test_an_older_peer_may_pass_over_both():
    relay = Relay("to", "by", 1, 1, 1, 0, names_of("to", "by"), (b"",), flags=OPTIONAL)
    assert encode_relay(relay)[0][1] & OPTIONAL
    assert encode_route(RouteMessage(LOOK_UP, "a", "b", 1, 1, 1, 0))[0][1] & OPTIONAL


@given(relays(), st.data())
def test_a_routing_part_that_is_cut_or_too_long_is_broken(relay: Relay, data: st.DataObject):
    frame = frame_of(encoded(relay))
    routing = frame.routing
    cut = routing[: data.draw(st.integers(0, len(routing) - 1))]
    for wrong in (cut, routing + b"x"):
        with pytest.raises(BrokenFrame):
            decode_relay(frame._replace(routing=wrong))


@pytest.mark.parametrize(
    "routing",
    [
        b"",
        bytes((0, 1, 0, 0, 0, 0, 1, 1)) + b"ab",  # no hop
        bytes((1, 1, 0, 0, 0, 0, 0, 1)) + b"b",  # no destination
        bytes((1, 1, 0, 0, 0, 0, 1, 0)) + b"a",  # no source
        bytes((1, 1, 0, 0, 0, 0, 1, 1)) + b"a\xff",  # no utf-8
        bytes((1, 1, 0, 0, 0, 0, 1, 2)) + b"a\xc3b",
    ],
)
def test_a_routing_part_that_says_nothing_is_broken(routing: bytes):
    frame = frame_of(b"".join(encode_frame(RELAY, flags=OPTIONAL, routing=routing)))
    with pytest.raises(BrokenFrame):
        decode_relay(frame)


@given(st.binary(max_size=40), st.binary(max_size=60))
def test_no_bytes_raise_anything_else(routing: bytes, body: bytes):
    for kind, decode in ((RELAY, decode_relay), (ROUTE, decode_route)):
        frame = frame_of(b"".join(encode_frame(kind, routing=routing, body_buffers=(body,))))
        try:
            decode(frame)
        except BrokenFrame:
            pass


@given(U8, NAMES, NAMES, U64, HOPS, U8, COSTS, U64, COSTS)
def test_a_message_comes_back_as_it_was(kind, origin, destination, number, hops, ttl, cost, known, bound):
    message = RouteMessage(kind, origin, destination, number, hops, ttl, cost, known, bound)
    frame = frame_of(b"".join(encode_route(message)))
    assert frame.header.kind == ROUTE
    assert decode_route(frame) == decode_route(frame._replace(body=memoryview(frame.body))) == message


@given(NAMES, NAMES, st.data())
def test_a_message_of_another_length_is_broken(origin: str, destination: str, data: st.DataObject):
    frame = frame_of(b"".join(encode_route(RouteMessage(1, origin, destination, 1, 1, 1, 1))))
    body = bytes(frame.body)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    for wrong in (cut, body + b"x"):
        with pytest.raises(BrokenFrame):
            decode_route(frame._replace(body=wrong))


def test_the_largest_message_is_small():
    message = RouteMessage(255, "o" * 255, "d" * 255, (1 << 64) - 1, 255, 255, MOST_COST, (1 << 64) - 1, MOST_COST)
    assert len(b"".join(encode_route(message))) < HANDSHAKE_LIMIT


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128])
def test_a_name_that_does_not_fit_is_refused(name: str):
    for names in ((name, "a"), ("a", name)):
        with pytest.raises(ValueError, match="utf-8"):
            names_of(*names)


@pytest.mark.parametrize("field", [{"hops": 256}, {"cost": 1 << 32}, {"number": -1}, {"kind": 256}])
def test_a_field_that_does_not_fit_is_refused(field: dict[str, int]):
    with pytest.raises(ValueError, match="do not fit"):
        encode_route(RouteMessage(1, "a", "b", 1, 1, 1, 1)._replace(**field))  # type: ignore[arg-type]


def test_flags_that_a_relay_does_not_know_pass():
    relay = Relay("to", "by", 1, 1, 1, 0, names_of("to", "by"), (b"",), flags=OPTIONAL | COMPRESSED | 0x80)
    assert decode_relay(frame_of(encoded(relay))).flags == OPTIONAL | COMPRESSED | 0x80


def test_the_reader_takes_both_kinds_from_a_proven_peer():
    reader = FrameReader(1 << 20)
    data = b"".join(encode_route(RouteMessage(LOOK_UP, "a", "b", 1, 1, 1, 0)))
    reader.buffer()[: len(data)] = data
    assert [frame.header.kind for frame in reader.received(len(data))] == [ROUTE]
