"""Fragments and the frames around them: received into their place, whatever way the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import (
    ACK,
    CLOSE,
    COMPRESSED,
    DATA,
    FRAGMENT,
    HEADER_SIZE,
    HEARTBEAT,
    MAX_FRAME,
    OPTIONAL,
    BrokenFrame,
    Fragment,
    Frame,
    Header,
    encode_ack,
    encode_extension,
    encode_fragment,
    encode_frame,
    fragment_of,
)
from tests.wire.test_frames import Plain, feed, feed_until_broken, joined, plain

AHEAD = 4 << 10
TOTAL = 1 << 20


class Places:
    """Gives each piece its place in its signal, but those that it was told not to."""

    def __init__(self, *without: int) -> None:
        self.without = without  # the numbers of frames
        self.signals: dict[int, bytearray] = {}
        self.asked: list[tuple[int, int]] = []

    def __call__(self, header: Header, extensions: bytes) -> memoryview | None:
        assert header.kind == DATA
        self.asked.append((header.number, header.body_length))
        if header.number in self.without:
            return None
        message, offset, total = fragment_of(extensions)
        signal = self.signals.setdefault(message, bytearray(total))
        return memoryview(signal)[offset : offset + header.body_length]


def reader_of(places: Places) -> FrameReader:
    reader = FrameReader(MAX_FRAME)
    reader.place_fragments(places)
    return reader


def piece(number: int, message: int, offset: int, total: int, body: bytes, **fields: object) -> bytes:
    extensions = encode_ack(7) + encode_fragment(message, offset, total)
    fields = {"flags": FRAGMENT, "extensions": extensions, "routing": b"to", **fields}
    return joined(encode_frame(DATA, number=number, body_buffers=(body,), **fields))  # type: ignore[arg-type]


def small(number: int, size: int = 10) -> bytes:
    return joined(encode_frame(DATA, number=number, body_buffers=(bytes([number % 256]) * size,)))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Plain], list[bytes], tuple[int, ...]]:
    """The bytes of a connection, its frames, the signals that were cut, and the frames that get no place."""
    chance = draw(st.randoms(use_true_random=False))
    signals = [chance.randbytes(size) for size in draw(st.lists(st.sampled_from([1, 50, 3000, 200_000]), max_size=3))]
    offsets = [0] * len(signals)
    data, expected, without = b"", [], []
    number = 0
    while any(offset < len(signal) for offset, signal in zip(offsets, signals, strict=True)):
        number += 1
        for _ in range(chance.randrange(3)):
            data += (between := small(number, chance.choice((0, 10, 500, 70_000))))
            expected.append(between)
        message = chance.choice([at for at, signal in enumerate(signals) if offsets[at] < len(signal)])
        body = signals[message][offsets[message] :][: chance.choice((7, 1000, 64 << 10, 100_000))]
        data += (cut := piece(number, message, offsets[message], len(signals[message]), body))
        expected.append(cut)
        offsets[message] += len(body)
        if chance.random() < 0.1:
            without.append(number)
    frames = [plain(frame) for one in expected for frame in feed(FrameReader(MAX_FRAME), one)]
    return data, frames, signals, tuple(without)


@given(streams(), st.data())
def test_frames_and_fragments_come_out_as_they_went_in_however_they_are_cut(
    stream: tuple[bytes, list[Plain], list[bytes], tuple[int, ...]], data: st.DataObject
) -> None:
    raw, expected, signals, without = stream
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=30))
    places = Places(*without)
    given_out = feed(reader_of(places), raw, cuts)
    assert [plain(frame) for frame in given_out] == expected
    if not without:
        assert [bytes(places.signals[message]) for message in range(len(signals))] == signals


def test_a_short_stream_cut_in_two_at_every_byte_and_byte_by_byte() -> None:
    raw = small(1) + piece(2, 1, 0, 50, b"a" * 30) + small(3) + piece(4, 1, 30, 50, b"b" * 20) + small(5)
    expected = list(map(plain, feed(FrameReader(MAX_FRAME), raw)))
    assert len(expected) == 5
    for cuts in ([cut] for cut in range(len(raw))):
        places = Places()
        assert list(map(plain, feed(reader_of(places), raw, cuts))) == expected
        assert places.signals == {1: b"a" * 30 + b"b" * 20}
    places = Places()
    assert list(map(plain, feed(reader_of(places), raw, range(len(raw))))) == expected
    assert places.signals == {1: b"a" * 30 + b"b" * 20}


@pytest.mark.parametrize("first", [HEADER_SIZE + 60, 5000, 64 << 10])
def test_the_body_of_a_fragment_is_received_into_its_place(first: int) -> None:
    places = Places()
    reader = reader_of(places)
    raw = piece(1, 1, 1000, TOTAL, bytes(range(256)) * 256)
    assert feed(reader, raw[:first]) == []
    buffer = reader.buffer()
    assert buffer.obj is places.signals[1]
    assert len(buffer) == len(raw) - first
    buffer[:] = raw[first:]
    (frame,) = reader.received(len(buffer))
    assert isinstance(frame.body, memoryview) and frame.body.obj is places.signals[1]
    assert bytes(places.signals[1][1000 : 1000 + (64 << 10)]) == bytes(range(256)) * 256
    assert places.asked == [(1, 64 << 10)]


def test_a_fragment_that_is_whole_in_the_shared_buffer_is_moved_into_its_place() -> None:
    places = Places()
    (frame,) = feed(reader_of(places), piece(1, 1, 0, 100, b"x" * 40))
    assert isinstance(frame.body, memoryview) and frame.body.obj is places.signals[1]
    assert bytes(places.signals[1]) == b"x" * 40 + bytes(60)


@pytest.mark.parametrize("size", [0, 10, 64 << 10, 200_000])
def test_a_fragment_without_a_place_is_a_frame_like_others(size: int) -> None:
    raw = piece(1, 1, 0, TOTAL, b"x" * size) + small(2)
    places = Places(1)
    first, second = feed(reader_of(places), raw, [5, HEADER_SIZE + 3, HEADER_SIZE + 40, 5000])
    assert bytes(first.body) == b"x" * size
    assert second.header.number == 2
    assert places.signals == {}


def test_one_that_is_compressed_has_none() -> None:
    places = Places()
    (frame,) = feed(reader_of(places), piece(1, 1, 0, 100, b"x" * 40, flags=FRAGMENT | COMPRESSED))
    assert frame.body == b"x" * 40
    assert places.asked == []


def test_only_data_is_a_fragment() -> None:
    places = Places()
    raw = b"".join(
        joined(encode_frame(kind, flags=FRAGMENT, extensions=encode_fragment(1, 0, 100), body_buffers=(b"12345678",)))
        for kind in (ACK, HEARTBEAT, CLOSE)
    )
    assert [bytes(frame.body) for frame in feed(reader_of(places), raw)] == [b"12345678"] * 3
    assert places.asked == []


def test_a_fragment_cut_short_comes_again_over_another_connection_into_the_same_place() -> None:
    places = Places()
    raw = piece(1, 1, 0, 200_000, b"x" * 100_000)
    assert feed(reader_of(places), raw[:50_000]) == []
    reader = reader_of(places)
    (frame,) = feed(reader, raw, [300, 70_000])
    assert isinstance(frame.body, memoryview) and frame.body.obj is places.signals[1]
    (last,) = feed(reader, piece(2, 1, 100_000, 200_000, b"y" * 100_000), [2000])
    assert last.header.number == 2
    assert places.signals == {1: b"x" * 100_000 + b"y" * 100_000}


def test_a_reader_that_breaks_in_a_stream_of_fragments_stays_broken() -> None:
    reader = reader_of(Places())
    given_out, reason = feed_until_broken(reader, piece(1, 1, 0, 100, b"x" * 40) + joined(encode_frame(77)))
    assert [frame[0].number for frame in given_out] == [1]
    assert reason == "unknown frame kind 77"
    for use in (reader.buffer, lambda: reader.received(0)):
        with pytest.raises(BrokenFrame, match="unknown frame kind 77"):
            use()


def test_a_fragment_over_the_limit_gets_no_place() -> None:
    places = Places()
    reader = FrameReader(5000)
    reader.place_fragments(places)
    with pytest.raises(BrokenFrame, match="the limit is 5000"):
        feed(reader, piece(1, 1, 0, TOTAL, bytes(6000)))
    assert places.asked == []


def test_a_count_beyond_the_place_is_the_callers_error() -> None:
    reader = reader_of(Places())
    feed(reader, piece(1, 1, 0, TOTAL, bytes(10_000))[:100])
    room = len(reader.buffer())
    for count in (room + 1, -1):
        with pytest.raises(ValueError, match="bytes cannot have been put into"):
            reader.received(count)


# How far is read ahead


def test_behind_a_fragment_with_more_to_come_little_is_read_ahead() -> None:
    reader = reader_of(Places())
    feed(reader, small(0, 60_000) * 9)  # a buffer as large as it gets
    assert len(reader.buffer()) == 256 << 10
    feed(reader, piece(1, 1, 0, TOTAL, bytes(64 << 10)))
    assert len(reader.buffer()) == AHEAD
    feed(reader, small(2, 60_000)[:HEADER_SIZE])
    assert len(reader.buffer()) == 60_000 + AHEAD, "and the frame that has begun"


def test_behind_the_last_piece_everything_is() -> None:
    reader = reader_of(Places())
    feed(reader, small(0, 60_000) * 9)  # a buffer as large as it gets
    feed(reader, piece(1, 1, 0, 100, bytes(60)))
    feed(reader, piece(2, 1, 60, 100, bytes(40)))
    assert len(reader.buffer()) == 256 << 10


def test_behind_a_compressed_piece_too_which_does_not_say_where_its_signal_ends() -> None:
    reader = reader_of(Places())
    feed(reader, small(0, 60_000) * 9)  # a buffer as large as it gets
    feed(reader, piece(1, 1, 0, TOTAL, bytes(1000)))
    feed(reader, piece(2, 1, TOTAL - 64_000, TOTAL, b"compressed", flags=FRAGMENT | COMPRESSED))
    assert len(reader.buffer()) == 256 << 10


def test_the_reads_of_a_large_signal_copy_little_of_it() -> None:
    """As a socket that has everything fills them."""
    total, size = 8 << 20, 64 << 10
    raw = memoryview(b"".join(piece(at, 1, at * size, total, bytes(size)) for at in range(total // size)))
    places = Places()
    reader = reader_of(places)
    shared = reader.buffer().obj
    copied = position = 0
    given_out: list[Frame] = []
    while position < len(raw):
        buffer = reader.buffer()
        count = min(len(buffer), len(raw) - position)
        copied += count if buffer.obj is shared else 0
        buffer[:count] = raw[position : position + count]
        position += count
        given_out += reader.received(count)
    assert len(given_out) == total // size
    assert copied < total / 10


@pytest.mark.parametrize("shift", [0, 1, 3000])
def test_there_is_always_room_to_read_on(shift: int) -> None:
    """Heads as large as they get, behind a fragment, at every place of the shared buffer."""
    reader = reader_of(Places())
    raw = piece(1, 1, 0, TOTAL, bytes(1000 + shift))
    for number in range(2, 12):
        raw += joined(
            encode_frame(DATA, number=number, routing=bytes(65_000), extensions=b"", body_buffers=(bytes(64 << 10),))
        )
    raw += joined(encode_frame(77, flags=OPTIONAL, body_buffers=(bytes(300_000),))) + small(12)
    given_out = feed(reader, raw, range(0, len(raw), 50_001))
    assert [frame.header.number for frame in given_out] == list(range(1, 13))


# What a fragment says of itself


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
def test_what_a_fragment_says_of_itself_is_found_among_other_extensions(message: int, offset: int, total: int) -> None:
    entry = encode_fragment(message, offset, total)
    for area in (entry, encode_ack(5) + entry, entry + encode_extension(99, b"later")):
        assert fragment_of(area) == Fragment(message, offset, total)


@pytest.mark.parametrize(
    "area",
    [b"", encode_ack(5), encode_extension(3, bytes(11)), encode_extension(3, bytes(13)), b"\3\0\x0c" + bytes(11)],
)
def test_one_that_does_not_say_of_what_is_broken_and_has_no_place(area: bytes) -> None:
    with pytest.raises(BrokenFrame):
        fragment_of(area)

    def place(header: Header, extensions: bytes) -> None:
        with pytest.raises(BrokenFrame):
            fragment_of(extensions)

    reader = FrameReader(MAX_FRAME)
    reader.place_fragments(place)
    raw = joined(encode_frame(DATA, flags=FRAGMENT, extensions=area, body_buffers=(b"x" * 100,)))
    assert [bytes(frame.body) for frame in feed(reader, raw, [HEADER_SIZE, HEADER_SIZE + 10])] == [b"x" * 100]
