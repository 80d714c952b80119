"""Frames survive any cutting of their bytes, and bytes that are no frames end in BrokenFrame and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.wire import frames
from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import (
    ACK,
    ACK_EXTENSION,
    CLOSE,
    DATA,
    HANDSHAKE_LIMIT,
    HEADER_SIZE,
    HEARTBEAT,
    HELLO,
    KINDS,
    MAX_BODY,
    MAX_FRAME,
    OPTIONAL,
    BrokenFrame,
    Frame,
    Header,
    acknowledged,
    encode_ack,
    encode_extension,
    encode_frame,
    iterate_extensions,
)

UNKNOWN_KIND = 77
LIMIT = 300_000

Plain = tuple[Header, bytes, bytes, bytes]


def plain(frame: Frame) -> Plain:
    return frame.header, frame.routing, frame.extensions, bytes(frame.body)


def joined(*encoded: Sequence[bytes | bytearray | memoryview]) -> bytes:
    return b"".join(part for buffers in encoded for part in buffers)


def feed(reader: FrameReader, data: bytes, cuts: Sequence[int] = ()) -> list[Frame]:
    """Give `data` to the reader, in reads that end at `cuts` or where its buffer does."""
    given_out: list[Frame] = []
    position = 0
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    for end in ends:
        while position < end:
            buffer = reader.buffer()
            assert len(buffer) > 0
            count = min(len(buffer), end - position)
            buffer[:count] = data[position : position + count]
            position += count
            given_out += reader.received(count)
    return given_out


def feed_until_broken(reader: FrameReader, data: bytes, cuts: Sequence[int] = ()) -> tuple[list[Plain], str | None]:
    """The frames, and the reason of the break if there is one; asks once more, for what was left unread."""
    given_out: list[Plain] = []
    position = 0
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    try:
        for end in ends:
            while position < end:
                buffer = reader.buffer()
                count = min(len(buffer), end - position)
                buffer[:count] = data[position : position + count]
                position += count
                given_out += map(plain, reader.received(count))
        given_out += map(plain, reader.received(0))
    except BrokenFrame as broken:
        return given_out, broken.reason
    return given_out, None


u16 = st.integers(0, 0xFFFF)
bodies = st.one_of(
    st.binary(max_size=200),
    st.integers(0, LIMIT // 2).map(lambda size: bytes(range(256)) * (size // 256) + bytes(size % 256)),
)


@st.composite
def encoded_frames(draw: st.DrawFn) -> tuple[bytes, Plain]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    flags = draw(st.integers(0, 255))
    channel, stream, number = draw(u16), draw(u16), draw(st.integers(0, (1 << 64) - 1))
    routing, extensions, body = draw(st.binary(max_size=40)), draw(st.binary(max_size=40)), draw(bodies)
    data = joined(
        encode_frame(
            kind,
            flags=flags,
            channel=channel,
            stream=stream,
            number=number,
            routing=routing,
            extensions=extensions,
            body_buffers=(body[:7], body[7:]),
        )
    )
    header = Header(kind, flags, channel, stream, len(routing), len(extensions), len(body), number)
    return data, (header, routing, extensions, body)


@given(st.lists(encoded_frames(), max_size=6), st.lists(st.integers(0, 1 << 19), max_size=12))
def test_frames_arrive_whole_however_the_bytes_were_cut(sent: list[tuple[bytes, Plain]], cuts: list[int]) -> None:
    data = b"".join(encoded for encoded, _ in sent)
    assert [plain(frame) for frame in feed(FrameReader(LIMIT), data, cuts)] == [expected for _, expected in sent]


def test_a_stream_cut_at_every_single_byte() -> None:
    data = joined(
        encode_frame(DATA, number=1, body_buffers=(b"one", b"two")),
        encode_frame(UNKNOWN_KIND, flags=OPTIONAL, body_buffers=(b"skip me",)),
        encode_frame(ACK, number=9, routing=b"r", extensions=encode_ack(3)),
    )
    whole = [plain(frame) for frame in feed(FrameReader(MAX_FRAME), data)]
    assert [header.kind for header, *_ in whole] == [DATA, ACK]
    assert [plain(frame) for frame in feed(FrameReader(MAX_FRAME), data, range(len(data)))] == whole
    for cut in range(1, len(data)):
        assert [plain(frame) for frame in feed(FrameReader(MAX_FRAME), data, [cut])] == whole


@given(
    st.lists(st.one_of(encoded_frames().map(lambda pair: pair[0][:5000]), st.binary(max_size=60)), max_size=5),
    st.lists(st.integers(0, 30_000), max_size=8),
)
def test_any_bytes_give_the_same_frames_and_the_same_break_however_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    assert feed_until_broken(FrameReader(), data, cuts) == feed_until_broken(FrameReader(), data)


@given(st.integers(0, 160), st.integers(1, 255), st.lists(st.integers(0, 200), max_size=5))
def test_a_changed_byte_breaks_or_changes_frames_and_nothing_else(position: int, change: int, cuts: list[int]) -> None:
    data = bytearray(
        joined(*(encode_frame(DATA, number=n, extensions=encode_ack(n), body_buffers=(b"x" * 30,)) for n in range(3)))
    )
    data[position % len(data)] ^= change
    feed_until_broken(FrameReader(), bytes(data), cuts)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6p1 Debian\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
        b"\x00" * 64,
        b"\xff" * 64,
    ],
)
def test_other_protocols_are_broken_frames(said: bytes) -> None:
    assert feed_until_broken(FrameReader(), said)[1] is not None


def test_a_claim_over_the_limit_breaks_at_the_header_before_any_memory_is_given() -> None:
    header = struct.pack(">BBHHHHIQ", DATA, 0, 0, 0, 0, 0, 0xFFFFFFFF, 1)
    reader = FrameReader(MAX_FRAME)
    assert feed(reader, header[:-1]) == []
    with pytest.raises(BrokenFrame, match=r"claims 4294967317 bytes, the limit is 67108864"):
        feed(reader, header[-1:])


def test_the_limit_is_of_the_whole_frame() -> None:
    fits = encode_frame(HELLO, routing=b"r" * 100, body_buffers=(bytes(HANDSHAKE_LIMIT - HEADER_SIZE - 100),))
    assert len(joined(fits)) == HANDSHAKE_LIMIT
    assert len(feed(FrameReader(), joined(fits))) == 1
    over = encode_frame(HELLO, routing=b"r" * 101, body_buffers=(bytes(HANDSHAKE_LIMIT - HEADER_SIZE - 100),))
    with pytest.raises(BrokenFrame, match="claims 4097 bytes"):
        feed(FrameReader(), joined(over)[:HEADER_SIZE])
    assert MAX_BODY + 2 * 0xFFFF + HEADER_SIZE == MAX_FRAME


def test_an_unknown_kind_breaks_unless_it_is_optional() -> None:
    after = encode_frame(CLOSE, body_buffers=(b"leave",))
    skipped = encode_frame(UNKNOWN_KIND, flags=OPTIONAL | 0x80, body_buffers=(b"new",))
    assert [frame.body for frame in feed(FrameReader(MAX_FRAME), joined(skipped, after))] == [b"leave"]
    with pytest.raises(BrokenFrame, match="unknown frame kind 77"):
        feed(FrameReader(), joined(encode_frame(UNKNOWN_KIND), after))


def test_a_stranger_has_no_optional_kinds() -> None:
    """It could send them without end, and each would be looked at."""
    with pytest.raises(BrokenFrame, match="unknown frame kind 77"):
        feed(FrameReader(), joined(encode_frame(UNKNOWN_KIND, flags=OPTIONAL)))


def test_an_optional_unknown_frame_is_skipped_without_a_buffer_of_its_own() -> None:
    reader = FrameReader(MAX_FRAME)
    large = bytes(3 << 20)
    data = joined(
        encode_frame(UNKNOWN_KIND, flags=OPTIONAL, body_buffers=(large,)), encode_frame(DATA, body_buffers=(b"x",))
    )
    position = 0
    given_out: list[Frame] = []
    while position < len(data):
        buffer = reader.buffer()
        assert len(buffer) <= 256 << 10
        count = min(len(buffer), len(data) - position)
        buffer[:count] = data[position : position + count]
        position += count
        given_out += reader.received(count)
    assert [frame.body for frame in given_out] == [b"x"]


def test_an_optional_unknown_frame_over_the_limit_breaks() -> None:
    with pytest.raises(BrokenFrame, match="the limit is 4096"):
        feed(FrameReader(), joined(encode_frame(UNKNOWN_KIND, flags=OPTIONAL, body_buffers=(bytes(5000),))))


def test_a_broken_reader_stays_broken() -> None:
    reader = FrameReader()
    with pytest.raises(BrokenFrame):
        feed(reader, joined(encode_frame(UNKNOWN_KIND)))
    reader.set_limit(MAX_FRAME)
    for use in (reader.buffer, lambda: reader.received(0), lambda: reader.received(22)):
        with pytest.raises(BrokenFrame, match="unknown frame kind 77"):
            use()


def test_frames_before_a_broken_one_are_given_out_first() -> None:
    reader = FrameReader()
    data = joined(encode_frame(CLOSE, body_buffers=(b"leave",)), encode_frame(UNKNOWN_KIND))
    assert [frame.body for frame in feed(reader, data)] == [b"leave"]
    with pytest.raises(BrokenFrame):
        reader.received(0)


def test_what_comes_right_behind_the_last_handshake_frame_is_judged_by_the_new_limit() -> None:
    reader = FrameReader()
    data = joined(
        encode_frame(frames.PROOF, body_buffers=(bytes(32),)), encode_frame(DATA, body_buffers=(b"d" * 8000,))
    )
    first = len(reader.buffer())
    assert [frame.header.kind for frame in feed(reader, data[:first])] == [frames.PROOF]
    reader.set_limit(MAX_FRAME)
    assert reader.received(0) == []
    assert [bytes(frame.body) for frame in feed(reader, data[first:])] == [b"d" * 8000]


def test_whole_frames_that_waited_for_a_new_limit_come_without_another_byte() -> None:
    reader = FrameReader(200)
    data = joined(encode_frame(frames.PROOF), encode_frame(DATA, body_buffers=(b"d" * 150,)))
    reader.set_limit(1000)
    reader.set_limit(100)
    assert len(feed(reader, data)) == 1
    reader.set_limit(MAX_FRAME)
    assert [frame.body for frame in reader.received(0)] == [b"d" * 150]


def test_the_buffer_of_a_peer_grows_when_it_was_filled_and_that_of_a_stranger_never() -> None:
    small = joined(encode_frame(DATA, body_buffers=(b"x" * 78,)))
    assert len(small) == 100
    stranger, peer = FrameReader(), FrameReader(MAX_FRAME)
    sizes = []
    for _ in range(5):
        sizes.append((len(stranger.buffer()), len(peer.buffer())))
        for reader, size in zip((stranger, peer), sizes[-1], strict=True):
            feed(reader, (small * (size // 100 + 1))[:size])
            feed(reader, (small * (size // 100 + 1))[size:])
    assert [size for size, _ in sizes] == [HANDSHAKE_LIMIT] * 5
    assert [size for _, size in sizes] == [4 << 10, 16 << 10, 64 << 10, 256 << 10, 256 << 10]


def test_small_frames_leave_the_buffer_small() -> None:
    reader = FrameReader(MAX_FRAME)
    for _ in range(1000):
        feed(reader, joined(encode_frame(DATA, body_buffers=(b"x" * 78,))))
    assert len(reader.buffer()) == 4 << 10


def test_a_large_body_goes_straight_into_its_own_buffer() -> None:
    reader = FrameReader(MAX_FRAME)
    body = bytes(range(256)) * 4096
    data = joined(encode_frame(DATA, extensions=encode_ack(7), body_buffers=(body,)))
    assert feed(reader, data[:100]) == []
    buffer = reader.buffer()
    assert len(buffer) == len(data) - 100
    buffer[:] = data[100:]
    (frame,) = reader.received(len(buffer))
    assert isinstance(frame.body, memoryview)
    assert frame.body.readonly
    assert frame.body.obj is buffer.obj
    assert bytes(frame.body) == body
    assert acknowledged(frame.extensions) == 7


def test_memory_for_a_claimed_body_follows_what_has_arrived() -> None:
    reader = FrameReader(MAX_FRAME)
    size = 40 << 20
    feed(reader, joined(encode_frame(DATA, body_buffers=(bytes(size),)))[:HEADER_SIZE])
    arrived = 0
    given_out: list[Frame] = []
    while arrived < size:
        buffer = reader.buffer()
        assert len(buffer) <= max(2 << 20, 4 * arrived)
        buffer[:4] = b"mark"
        arrived += len(buffer)
        given_out += reader.received(len(buffer))
        if len(given_out) == 0:
            assert feed(reader, b"") == []
    (frame,) = given_out
    assert len(frame.body) == size
    assert bytes(frame.body[:4]) == b"mark"
    assert bytes(frame.body[2 << 20 : (2 << 20) + 4]) == b"mark"


def test_frames_stay_as_they_were_while_the_reader_goes_on() -> None:
    reader = FrameReader(LIMIT)
    kept: list[Frame] = []
    expected: list[bytes] = []
    for round_number in range(40):
        body = bytes([round_number]) * (round_number * 3001)
        expected.append(body)
        kept += feed(reader, joined(encode_frame(DATA, routing=b"to", body_buffers=(body,))), [round_number * 1500])
    assert [bytes(frame.body) for frame in kept] == expected
    assert {frame.routing for frame in kept} == {b"to"}


def test_reads_that_never_end_with_a_frame_do_not_run_out_of_room() -> None:
    data = joined(*(encode_frame(DATA, number=n, body_buffers=(bytes([n]) * 1000,)) for n in range(60)))
    given_out = feed(FrameReader(), data, range(700, len(data), 700))
    assert [(frame.header.number, frame.body) for frame in given_out] == [(n, bytes([n]) * 1000) for n in range(60)]


@pytest.mark.parametrize("cut", [HEADER_SIZE, 30_000, 70_000, 119_999 + HEADER_SIZE, 120_000 + HEADER_SIZE, 130_000])
def test_a_large_body_behind_a_large_head(cut: int) -> None:
    routing, extensions, body = b"r" * 60_000, b"e" * 60_000, b"b" * 100_000
    data = joined(encode_frame(DATA, routing=routing, extensions=extensions, body_buffers=(body,)))
    (frame,) = feed(FrameReader(LIMIT), data, [cut])
    assert plain(frame)[1:] == (routing, extensions, body)


def test_a_count_beyond_the_buffer_is_the_callers_error() -> None:
    reader = FrameReader(MAX_FRAME)
    with pytest.raises(ValueError, match="4097 bytes"):
        reader.received((4 << 10) + 1)
    with pytest.raises(ValueError, match="-1 bytes"):
        reader.received(-1)
    feed(reader, joined(encode_frame(DATA, body_buffers=(bytes(100_000),)))[:HEADER_SIZE])
    with pytest.raises(ValueError, match="100001 bytes"):
        reader.received(100_001)


def test_a_limit_below_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        FrameReader(HEADER_SIZE - 1)


def test_small_parts_leave_in_one_buffer_and_large_ones_are_not_copied() -> None:
    assert len(encode_frame(DATA, routing=b"r", body_buffers=[b"signal"] * 5000)) == 1
    assert encode_frame(HEARTBEAT, body_buffers=(b"12345678",)) == [
        struct.pack(">BBHHHHIQ", HEARTBEAT, 0, 0, 0, 0, 0, 8, 0) + b"12345678"
    ]
    large = bytes(1 << 20)
    buffers = encode_frame(DATA, body_buffers=(b"a", b"b", large, b"c", b"d"))
    assert len(buffers) == 3
    assert buffers[1] is large
    assert joined(buffers).endswith(b"ab" + large + b"cd")
    assert encode_frame(DATA, body_buffers=(large,))[-1] is large


@pytest.mark.parametrize(
    "fields", [{"number": 1 << 64}, {"channel": 1 << 16}, {"stream": -1}, {"routing": bytes(1 << 16)}, {"flags": 256}]
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="do not fit its header"):
        encode_frame(DATA, **fields)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=6))
def test_extensions_round_trip(entries: list[tuple[int, bytes]]) -> None:
    area = b"".join(encode_extension(kind, data) for kind, data in entries)
    assert list(iterate_extensions(area)) == entries


@given(st.binary(max_size=60))
def test_an_extension_area_is_read_or_broken(area: bytes) -> None:
    try:
        entries = list(iterate_extensions(area))
        acknowledged(area)
    except BrokenFrame:
        return
    assert b"".join(encode_extension(kind, data) for kind, data in entries) == area


def test_an_acknowledgement_is_found_among_unknown_extensions() -> None:
    other = encode_extension(200, b"later")
    assert acknowledged(encode_ack(1 << 60)) == 1 << 60
    assert acknowledged(other + encode_ack(5) + other) == 5
    assert acknowledged(other) is None
    assert acknowledged(b"") is None
    # As long as an acknowledgement, but something else.
    assert acknowledged(encode_extension(9, bytes(8))) is None
    with pytest.raises(BrokenFrame, match="3 bytes"):
        acknowledged(encode_extension(ACK_EXTENSION, b"abc"))


def test_extensions_that_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        encode_extension(1, bytes(1 << 16))
    with pytest.raises(ValueError, match="extension 256"):
        encode_extension(256, b"")
