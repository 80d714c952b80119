"""What one connection carries of a session's streams: turns, moves, acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from partisan_actors.distribution.carrier import (
    ACKNOWLEDGE,
    DELIVER,
    Carrier,
    Deliver,
    DeliverWhole,
    Effect,
    Room,
    Write,
)
from partisan_actors.distribution.channels import STREAMS_FEATURE, Channel, agree_channels, declare_channels, declared
from partisan_actors.distribution.machine import SetTimer
from partisan_actors.distribution.stream import BadAcknowledgement, StreamParameters
from partisan_actors.distribution.streams import DEFAULT, SYSTEM, Stream, StreamId, Streams
from partisan_actors.wire.frames import (
    ACK,
    CLOSE,
    COMPRESSED,
    DATA,
    FRAGMENT,
    BrokenFrame,
    Frame,
    acknowledged,
    encode_ack,
    encode_extension,
    encode_fragment,
    encode_frame,
)
from tests.distribution.cutting import frame_of

CHANNELS = declare_channels((Channel("bulk", parallelism=3, low_watermark=300, high_watermark=600),))
AGREED = agree_channels(CHANNELS, declared(CHANNELS), STREAMS_FEATURE, 0.0)
SMALL = StreamParameters(
    joined=100, fragment=100, alone=100, low_watermark=300, high_watermark=600, owed_frames=3, owed_bytes=300
)
BULK: list[StreamId] = [(2, 0), (2, 1), (2, 2)]
AFTER = 0.02


def streams_of() -> Streams:
    return Streams(AGREED, SMALL)


def get(streams: Streams, stream_id: StreamId) -> Stream:
    stream = streams.get(stream_id)
    assert stream is not None
    return stream


def first_of(streams: Streams) -> Carrier:
    """That of a session's first connection, on which nothing arrived yet."""
    carrier = Carrier(streams, streams.default, AFTER, streams.system)
    carrier.connected(0, 1.0)
    return carrier


def next_of(carrier: Carrier) -> Frame:
    buffers = carrier.next_frame()
    assert buffers is not None
    return frame_of(b"".join(buffers))


def ids_of(carrier: Carrier) -> list[StreamId]:
    """Of all frames that wait, in the order that they are written."""
    ids = []
    while carrier.frame_waits:
        header = next_of(carrier).header
        ids.append((header.channel, header.stream))
    assert carrier.next_frame() is None
    return ids


def data(stream: StreamId, number: int, body: bytes = b"x", **fields: object) -> Frame:
    buffers = encode_frame(
        DATA,
        channel=stream[0],
        stream=stream[1],
        number=number,
        body_buffers=(body,),
        **fields,  # type: ignore[arg-type]
    )
    return frame_of(b"".join(buffers))


def acknowledgements(effects: Sequence[Effect]) -> list[tuple[StreamId, int]]:
    found = []
    for effect in effects:
        if isinstance(effect, Write):
            header = frame_of(b"".join(effect.buffers)).header
            assert header.kind == ACK and not effect.droppable
            found.append(((header.channel, header.stream), header.number))
    return found


# Turns


def test_the_urgent_stream_is_written_first_whenever_it_has_something() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    for number in range(3):
        streams.default.sending.offer(bytes(100))
        streams.system.sending.offer(b"%d" % number)
    assert next_of(carrier).body == b"012"
    assert next_of(carrier).header.channel == DEFAULT[0]
    streams.system.sending.offer(b"3")
    assert ids_of(carrier) == [SYSTEM, DEFAULT, DEFAULT]


def test_the_others_take_turns() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    for stream_id in BULK[:2]:
        carrier.carry(get(streams, stream_id))
    for _ in range(3):
        streams.default.sending.offer(bytes(100))
    get(streams, BULK[0]).sending.offer(b"one frame")
    get(streams, BULK[1]).sending.offer(bytes(3 * 1200))
    assert ids_of(carrier) == [DEFAULT, BULK[0], BULK[1], DEFAULT, BULK[1], DEFAULT, BULK[1]]


def test_a_stream_that_has_nothing_costs_the_others_no_turn() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    for stream_id in BULK:
        carrier.carry(get(streams, stream_id))
    for _ in range(3):
        streams.default.sending.offer(bytes(100))
    get(streams, BULK[2]).sending.offer(b"x")
    assert ids_of(carrier) == [DEFAULT, BULK[2], DEFAULT, DEFAULT]


def test_a_stream_is_carried_once() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    bulk = get(streams, BULK[0])
    bulk.sending.offer(b"x")
    carrier.carry(bulk)
    next_of(carrier)
    carrier.carry(bulk)
    assert list(carrier) == [streams.system, streams.default, bulk]
    assert carrier.next_frame() is None, "nor is it begun anew"


def test_one_that_was_dropped_is_written_no_more_and_one_that_was_not_carried_may_be_dropped() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    bulk = get(streams, BULK[0])
    carrier.drop(bulk)
    carrier.carry(bulk)
    bulk.sending.offer(b"x")
    carrier.drop(bulk)
    assert not carrier.frame_waits and carrier.next_frame() is None


def test_one_that_comes_to_another_connection_is_written_from_what_did_not_arrive() -> None:
    streams = streams_of()
    bulk = get(streams, BULK[0])
    own = Carrier(streams, bulk, AFTER)
    own.connected(0, 1.0)
    for _ in range(3):
        bulk.sending.offer(b"x")
        next_of(own)
    bulk.sending.acknowledge(1)
    first = first_of(streams)
    first.carry(bulk)
    assert [next_of(first).header.number for _ in range(2)] == [2, 3]
    assert (first.resent, first.bytes_sent) == (2, 0)


def test_what_was_written_is_counted() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    streams.default.sending.offer(bytes(70))
    streams.default.sending.offer(bytes(90))
    next_of(carrier)
    assert carrier.bytes_sent == 70
    next_of(carrier)
    assert carrier.bytes_sent == 100 + 70 - 10


# Acknowledgements


def test_what_is_owed_goes_with_a_frame_of_that_stream() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    assert carrier.data(data(DEFAULT, 1)) is DELIVER
    streams.system.sending.offer(b"system")
    streams.default.sending.offer(b"default")
    assert acknowledged(next_of(carrier).extensions) is None
    assert acknowledged(next_of(carrier).extensions) == 1
    assert carrier.read_done() == () and carrier.pay() == []


def test_it_is_paid_alone_when_the_timer_is_due_which_is_set_once() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    carrier.data(data(DEFAULT, 1))
    assert list(carrier.read_done()) == [SetTimer(ACKNOWLEDGE, AFTER)]
    carrier.data(data(BULK[0], 1))
    carrier.data(data(DEFAULT, 2))
    assert list(carrier.read_done()) == []
    assert acknowledgements(carrier.pay()) == [(DEFAULT, 2), (BULK[0], 1)]
    carrier.data(data(DEFAULT, 3))
    assert list(carrier.read_done()) == [SetTimer(ACKNOWLEDGE, AFTER)]


def test_it_is_paid_at_once_where_much_is_owed_and_only_there() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    carrier.data(data(BULK[0], 1))
    for number in (1, 2):
        carrier.data(data(DEFAULT, number))
    assert acknowledgements(carrier.read_done()) == []
    carrier.data(data(DEFAULT, 3))
    assert acknowledgements(carrier.read_done()) == [(DEFAULT, 3)]
    assert acknowledgements(carrier.pay()) == [(BULK[0], 1)]


def test_a_frame_that_comes_twice_is_acknowledged_at_once_and_delivered_once() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    carrier.data(data(BULK[0], 1))
    carrier.pay()
    assert carrier.data(data(BULK[0], 1)) == ()
    assert carrier.duplicates == 1
    assert acknowledgements(carrier.read_done()) == [(BULK[0], 1)]


def test_a_new_connection_pays_what_the_one_before_owed() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    carrier.data(data(DEFAULT, 1))
    assert list(carrier.read_done()) == [SetTimer(ACKNOWLEDGE, AFTER)]
    carrier.disconnected()
    carrier.connected(0, 2.0)
    assert list(carrier.read_done()) == [SetTimer(ACKNOWLEDGE, AFTER)]
    assert acknowledgements(carrier.pay()) == [(DEFAULT, 1)]


def test_an_acknowledgement_is_taken_on_whatever_connection_it_comes() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    bulk = get(streams, BULK[1])
    own = Carrier(streams, bulk, AFTER)
    own.connected(0, 1.0)
    bulk.sending.offer(b"x")
    next_of(own)
    ack = frame_of(b"".join(encode_frame(ACK, channel=2, stream=1, number=1)))
    assert carrier.acknowledged(ack) == ()
    assert bulk.sending.unacknowledged == 0
    assert own.frame(ack, 1.0) == ()


def test_room_is_told_of_the_stream_that_has_it() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    sending = streams.default.sending
    while not sending.congested:
        sending.offer(bytes(100))
    while carrier.frame_waits:
        next_of(carrier)
    effects = carrier.data(data(DEFAULT, 1, extensions=encode_ack(sending.sent)))
    assert list(effects) == [Room(streams.default), Deliver()]
    while not sending.congested:
        sending.offer(bytes(100))
    while carrier.frame_waits:
        next_of(carrier)
    assert carrier.connected(sending.sent, 2.0) == [Room(streams.default)]


# What no peer sends


@pytest.mark.parametrize("stream", [(0, 1), (1, 1), (2, 3), (3, 0), (9, 9)])
def test_a_stream_that_was_not_agreed_on_is_a_broken_envelope(stream: StreamId) -> None:
    carrier = first_of(streams_of())
    for take in (carrier.data, lambda frame: carrier.frame(frame, 1.0)):
        with pytest.raises(BrokenFrame, match=f"data on channel {stream[0]}, stream {stream[1]}"):
            take(data(stream, 1))
    ack = frame_of(b"".join(encode_frame(ACK, channel=stream[0], stream=stream[1])))
    with pytest.raises(BrokenFrame, match=f"acknowledgement on channel {stream[0]}, stream {stream[1]}"):
        carrier.acknowledged(ack)


def test_so_are_a_gap_a_wrong_acknowledgement_and_another_kind() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    with pytest.raises(BrokenFrame, match="frame 2 came after 0"):
        carrier.data(data(DEFAULT, 2))
    with pytest.raises(BadAcknowledgement):
        carrier.data(data(DEFAULT, 1, extensions=encode_ack(1)))
    with pytest.raises(BadAcknowledgement):
        carrier.connected(1, 2.0)
    with pytest.raises(BrokenFrame, match="a frame of kind 5"):
        carrier.frame(frame_of(b"".join(encode_frame(CLOSE))), 1.0)
    assert streams.default.receiving.received == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"flags": COMPRESSED},
        {"flags": FRAGMENT},
        {"flags": FRAGMENT, "extensions": encode_fragment(1, 5, 100)},
        {"flags": FRAGMENT, "extensions": encode_fragment(1, 0, 0)},
        {"flags": FRAGMENT | COMPRESSED, "extensions": encode_fragment(1, 0, 100)},
        {"flags": FRAGMENT, "extensions": encode_extension(3, b"short")},
    ],
)
def test_a_frame_whose_body_is_broken_has_not_been_received(broken: dict[str, object]) -> None:
    """Else it would be acknowledged and never delivered, and the session go on with a hole."""
    streams = streams_of()
    carrier = first_of(streams)
    with pytest.raises(BrokenFrame):
        carrier.data(data(DEFAULT, 1, b"x", **broken))
    assert streams.default.receiving.received == 0
    assert not streams.default.receiving.owed
    assert carrier.data(data(DEFAULT, 1)) is DELIVER


def test_a_frame_with_a_flag_of_a_later_version_is_delivered() -> None:
    assert first_of(streams_of()).data(data(DEFAULT, 1, flags=0x80)) is DELIVER


def test_a_signal_in_pieces_is_delivered_with_its_last_one() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    for number, (offset, body) in enumerate([(0, b"abc"), (3, b"def")], 1):
        frame = data(DEFAULT, number, body, flags=FRAGMENT, extensions=encode_fragment(1, offset, 7))
        assert carrier.data(frame) == ()
    last = data(DEFAULT, 3, b"g", flags=FRAGMENT, extensions=encode_fragment(1, 6, 7))
    (effect,) = carrier.data(last)
    assert effect == DeliverWhole(streams.default, b"abcdefg")
    assert carrier.data(last) == (), "once"


def test_a_broken_frame_does_not_take_with_it_that_there_is_room() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    sending = streams.default.sending
    while not sending.congested:
        sending.offer(bytes(100))
    while carrier.next_frame() is not None:
        pass
    gap = encode_frame(
        DATA, channel=1, stream=0, number=99, extensions=encode_ack(sending.sent), body_buffers=(b"signal",)
    )
    with pytest.raises(BrokenFrame):
        carrier.data(frame_of(b"".join(gap)))
    assert sending.congested and not sending.acknowledged
    assert Room(streams.default) in carrier.connected(sending.sent, 1.0)


def test_a_piece_whose_frame_acknowledges_what_was_never_sent_is_not_taken() -> None:
    streams = streams_of()
    carrier = first_of(streams)
    piece = encode_fragment(1, 0, 20)

    def frame(extensions: bytes) -> Frame:
        told = extensions + piece
        buffers = encode_frame(DATA, flags=FRAGMENT, channel=1, number=1, extensions=told, body_buffers=(bytes(10),))
        return frame_of(b"".join(buffers))

    with pytest.raises(BadAcknowledgement):
        carrier.data(frame(encode_ack(7)))
    assert not len(streams.default.assembly)
    assert carrier.data(frame(b"")) == ()
    assert len(streams.default.assembly) == 1
