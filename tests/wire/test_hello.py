"""What the sides of a handshake say: layouts that stay, limits that hold, and bytes of strangers that do no harm."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import HANDSHAKE_LIMIT, HELLO, BrokenFrame, encode_frame
from partisan_actors.wire.hello import (
    MAX_HANDSHAKE_BODY,
    MEMBERSHIP,
    ROUND_TRIP,
    Hello,
    Purpose,
    Refusal,
    RefusalCode,
    Standing,
    encode_membership,
    encode_round_trip,
)

ALICE = Hello(
    node="alice@h",
    epoch=5,
    bits=0xA11CE,
    nonce=b"a" * 32,
    features=0b0110,
    topology="full_mesh",
    last_session=4,
    channels=(("default", 1, 0), ("bulk", 4, 1)),
    addresses=("10.0.0.1:4000", "unix:/tmp/alice"),
    purpose=Purpose.JOIN,
)
BOB = Hello(node="bob@h", epoch=9, bits=0xB0B, nonce=b"b" * 32, features=0b1100, topology="full_mesh", last_session=7)

u16, u64 = st.integers(0, 0xFFFF), st.integers(0, (1 << 64) - 1)
names = st.text(st.characters(categories=("L", "N", "P")), max_size=20)
session_numbers = st.integers(0, (1 << 63) - 1)
hellos = st.builds(
    Hello,
    node=names.filter(bool),
    epoch=u64,
    bits=u64,
    nonce=st.binary(min_size=32, max_size=32),
    protocol_min=st.integers(1, 9),
    protocol_max=st.integers(9, 0xFFFF),
    features=u64,
    topology=names,
    tls=st.booleans(),
    session=session_numbers,
    last_session=session_numbers,
    peer_bits=u64,
    channel=u16,
    stream=u16,
    received=u64,
    channels=st.lists(st.tuples(names, u16, u16), max_size=4).map(tuple),
    addresses=st.lists(names, max_size=4).map(tuple),
    purpose=st.sampled_from(Purpose),
    extensions=st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=3).map(tuple),
)


def test_a_hello_speaks_for_a_life() -> None:
    assert BOB.life == Life("bob@h", 9, 0xB0B)
    assert BOB.life.epoch == 9


@given(hellos)
def test_a_hello_round_trips(hello: Hello) -> None:
    assert Hello.decode(hello.encode()) == hello


def test_the_layout_of_a_hello_stays() -> None:
    hello = Hello(
        node="n", epoch=2, bits=3, nonce=bytes(range(32)), features=1, topology="t", tls=True, session=4,
        last_session=5, peer_bits=6, channel=7, stream=8, received=9, channels=(("c", 10, 11),), addresses=("a",),
        purpose=Purpose.LINK, extensions=((12, b"e"),),
    )  # fmt: skip
    assert hello.encode().hex() == (
        "0001" "0001" "0000000000000001" "0000000000000002" "0000000000000003"
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" "01" "02"
        "0000000000000004" "0000000000000005" "0000000000000006" "0007" "0008" "0000000000000009"
        "00016e" "000174" "0001" "000163" "000a" "000b" "0001" "000161" "0c" "0001" "65"
    )  # fmt: skip


@given(st.floats(0, 4000))
def test_both_ends_read_the_same_round_trip(seconds: float) -> None:
    hello = dataclasses.replace(BOB, extensions=((9, b"later"), encode_round_trip(seconds)))
    assert Hello.decode(hello.encode()).round_trip == hello.round_trip
    assert 0 <= seconds - hello.round_trip < 0.000_002


@pytest.mark.parametrize(("seconds", "said"), [(-1.0, 0.0), (0.0, 0.0), (1e9, 0xFFFFFFFF / 1e6)])
def test_a_round_trip_that_does_not_fit_is_cut(seconds: float, said: float) -> None:
    assert dataclasses.replace(BOB, extensions=(encode_round_trip(seconds),)).round_trip == said


@pytest.mark.parametrize("extensions", [(), ((ROUND_TRIP, b""),), ((ROUND_TRIP, bytes([9] * 5)),), ((9, bytes(4)),)])
def test_a_hello_that_does_not_say_has_none(extensions: tuple[tuple[int, bytes], ...]) -> None:
    assert dataclasses.replace(BOB, extensions=extensions).round_trip == 0.0


@given(st.booleans(), u64, u64)
def test_both_ends_read_the_same_of_the_cluster(left: bool, version: int, digest: int) -> None:
    hello = dataclasses.replace(BOB, extensions=((9, b"later"), encode_membership(Standing(left, version, digest))))
    assert Hello.decode(hello.encode()).membership == hello.membership == (left, version, digest)


@pytest.mark.parametrize("extensions", [(), ((MEMBERSHIP, b""),), ((MEMBERSHIP, bytes(18)),), ((9, bytes(17)),)])
def test_a_hello_that_does_not_say_what_its_node_knows(extensions: tuple[tuple[int, bytes], ...]) -> None:
    assert dataclasses.replace(BOB, extensions=extensions).membership is None


def test_a_hello_up_to_the_limit_is_sent_and_beyond_it_refused_with_the_reason() -> None:
    room = MAX_HANDSHAKE_BODY - len(dataclasses.replace(BOB, addresses=("",)).encode())
    fits = dataclasses.replace(BOB, addresses=("x" * room,))
    (frame,) = encode_frame(HELLO, body_buffers=(fits.encode(),))
    assert len(frame) == HANDSHAKE_LIMIT
    over = dataclasses.replace(BOB, addresses=("x" * (room + 1),))
    with pytest.raises(ValueError, match=r"takes 4075 bytes with its 0 channels and 1 addresses.*room for 4074"):
        over.encode()
    with pytest.raises(ValueError, match="does not fit"):
        dataclasses.replace(BOB, channels=(("default", 1 << 16, 0),)).encode()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"protocol_min": 2, "protocol_max": 1}, "protocol range 2 to 1"),
        ({"protocol_min": 0}, "protocol range 0 to 1"),
        ({"nonce": b"short"}, "nonce of 5 bytes"),
        ({"node": ""}, "empty node name"),
        ({"node": "bob\x1b[2J"}, "unprintable"),
        ({"topology": "a\nb"}, "unprintable"),
        ({"channels": (("\x00", 1, 0),)}, "unprintable"),
        ({"addresses": ("\u202e",)}, "unprintable"),
        ({"session": 1 << 63}, "session number"),
        ({"last_session": (1 << 64) - 1}, "session number"),
    ],
)
def test_a_hello_that_makes_no_sense_is_not_made(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(BOB, **wrong)  # type: ignore[arg-type]


def test_an_unknown_purpose_or_a_bad_text_is_broken() -> None:
    body = ALICE.encode()
    assert body[61] == Purpose.JOIN
    with pytest.raises(BrokenFrame, match="9 is not a valid Purpose"):
        Hello.decode(body[:61] + b"\x09" + body[62:])
    with pytest.raises(BrokenFrame, match="node name is no utf-8"):
        Hello.decode(body.replace(b"alice", b"\xff\xfe\xfd\xfc\xfb"))


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: ALICE.encode()[:103] + tail)))
def test_any_body_is_a_hello_or_broken(body: bytes) -> None:
    try:
        hello = Hello.decode(body)
    except BrokenFrame:
        return
    assert Hello.decode(hello.encode()) == hello


def test_what_a_refusal_is_for_people() -> None:
    assert str(Refusal(RefusalCode.NAME, 3, "bob@h is alive")) == "bob@h is alive"
    assert {str(Refusal(code)) for code in RefusalCode} & {""} == set()
    assert len({str(Refusal(code)) for code in RefusalCode}) == len(RefusalCode)
    assert str(Refusal(99)) == "refusal code 99"


def test_texts_of_refusals_are_bounded_and_printable() -> None:
    long = Refusal(RefusalCode.NAME, 1, "é" * 400).encode()
    assert len(Refusal.decode(long).text.encode()) == 512
    assert Refusal.decode(Refusal(RefusalCode.NAME, 1, "x" + "é" * 400).encode()).text == "x" + "é" * 255
    assert Refusal.decode(Refusal(4, 1, "a\x1b[31m\nb").encode()).text == "a?[31m?b"
    assert Refusal.decode(Refusal(200, 1, "of a later version").encode() + b"and more").code == 200
    for body in (b"", b"\x04" * 10, Refusal(4, 1, "text").encode()[:-1], b"\x04" + bytes(8) + b"\xff\xff" + bytes(999)):
        with pytest.raises(BrokenFrame):
            Refusal.decode(body)
