"""Streams, without connections, time or sessions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.stream import (
    Arrival,
    BadAcknowledgement,
    ReceivingStream,
    SendingStream,
    StreamParameters,
)
from partisan_actors.errors import NotSendable
from partisan_actors.wire.frames import ACK, DATA, MAX_FRAME, acknowledged, encode_ack, encode_frame
from tests.distribution.cutting import frame_of, frames_of

SMALL = StreamParameters(
    joined=100,
    fragment=None,
    low_watermark=200,
    high_watermark=400,
    hard_limit=1000,
    largest=600,
    owed_frames=3,
    owed_bytes=300,
)


def bytes_of(stream: SendingStream, extensions: bytes = b"") -> bytes | None:
    buffers = stream.next_frame(extensions)
    return None if buffers is None else b"".join(buffers)


def test_what_is_queued_travels_in_one_numbered_frame():
    stream = SendingStream(StreamParameters())
    for signal in (b"one", (b"t", b"w", memoryview(b"o")), b"three"):
        assert not stream.offer(signal)
    frame = frame_of(bytes_of(stream))
    assert (frame.header.kind, frame.header.number, frame.body) == (DATA, 1, b"onetwothree")
    assert bytes_of(stream) is None
    stream.offer(b"four")
    assert frame_of(bytes_of(stream)).header.number == 2


def test_a_frame_joins_up_to_its_limit_and_never_splits_a_signal():
    stream = SendingStream(SMALL)
    for size in (60, 40, 1, 99, 1, 250, 5):
        stream.offer(bytes(size))
    sizes = []
    while (data := bytes_of(stream)) is not None:
        sizes.append(frame_of(data).header.body_length)
    assert sizes == [100, 100, 1, 250, 5]


def test_a_large_signal_is_not_copied():
    stream = SendingStream(StreamParameters())
    large = bytes(1 << 20)
    stream.offer((b"head", large))
    buffers = stream.next_frame()
    assert buffers is not None
    assert any(isinstance(buffer, memoryview) and buffer.obj is large for buffer in buffers)


def test_bytes_are_counted_exactly():
    stream = SendingStream(SMALL)
    stream.offer(bytes(70))
    stream.offer((bytes(20), bytes(30)))
    assert (stream.unsent, stream.unacknowledged, stream.buffered) == (120, 0, 120)
    stream.next_frame()
    assert (stream.unsent, stream.unacknowledged, stream.buffered) == (50, 70, 120)
    stream.next_frame()
    assert (stream.unsent, stream.unacknowledged) == (0, 120)
    stream.acknowledge(1)
    assert (stream.unsent, stream.unacknowledged) == (0, 50)
    stream.acknowledge(2)
    assert stream.buffered == 0


def test_offer_says_when_a_whole_frame_is_ready_and_not_while_held():
    stream = SendingStream(SMALL)
    assert not stream.offer(bytes(99))
    assert stream.offer(bytes(1))
    stream.next_frame()
    assert not stream.offer(bytes(99))
    stream.hold(True)
    assert not stream.offer(bytes(100))
    stream.hold(False)
    assert stream.offer(bytes(1))


def test_congestion_begins_at_the_high_watermark_and_ends_at_the_low_one():
    stream = SendingStream(SMALL)
    stream.hold(True)
    while not stream.congested:
        assert stream.buffered < 400
        stream.offer(bytes(50))
    assert stream.buffered == 400
    while stream.next_frame():
        pass
    assert stream.congested, "unacknowledged bytes count as well"
    assert [stream.acknowledge(number) for number in (1, 2, 3, 4)] == [False, True, False, False]
    assert not stream.congested


def test_congestion_counts_what_is_unacknowledged_when_it_looks_at_what_is_unsent():
    stream = SendingStream(SMALL)
    for _ in range(3):
        stream.offer(bytes(100))
        stream.next_frame()
    stream.hold(True)
    assert not stream.offer(bytes(99))
    assert stream.offer(bytes(1))
    assert stream.congested


def test_past_the_hard_limit_nothing_more_is_taken():
    stream = SendingStream(SMALL)
    stream.offer(bytes(600))
    stream.offer(bytes(399))
    assert not stream.overflowed
    stream.offer(bytes(600))
    assert not stream.overflowed, "the limit is looked at without the signal itself"
    assert stream.offer(b"x")
    assert stream.overflowed
    assert stream.buffered == 1599


def test_a_signal_that_fits_into_no_frame_is_refused_and_leaves_no_hole():
    stream = SendingStream(SMALL)
    stream.offer(b"before")
    with pytest.raises(NotSendable, match="601 bytes; the limit is 600"):
        stream.offer(bytes(601))
    stream.offer(b"after")
    assert frame_of(bytes_of(stream)).body == b"beforeafter"
    assert stream.unsent == 0


def test_the_largest_signal_by_default_fits_the_largest_frame():
    stream = SendingStream(StreamParameters())
    stream.offer(bytes(StreamParameters().largest))
    buffers = stream.next_frame(encode_ack(1))
    assert sum(map(len, buffers)) <= MAX_FRAME


def test_a_new_connection_carries_what_did_not_arrive_the_same_bytes():
    stream = SendingStream(SMALL)
    first = []
    for size in (60, 70, 80):
        stream.offer(bytes([size]) * size)
        first.append(bytes_of(stream))
    stream.offer(b"later")
    assert not stream.rewind(1)
    assert [bytes_of(stream), bytes_of(stream)] == first[1:]
    assert stream.resent == 2
    assert frame_of(bytes_of(stream)).header.number == 4
    assert bytes_of(stream) is None


def test_an_acknowledgement_that_overtakes_the_rewinding_spares_it():
    stream = SendingStream(SMALL)
    for _ in range(3):
        stream.offer(bytes(90))
        stream.next_frame()
    stream.rewind(0)
    # Delivered by the old connection after the peer had said in its hello that it has none.
    stream.acknowledge(2)
    assert frame_of(bytes_of(stream)).header.number == 3
    assert bytes_of(stream) is None


def test_a_rewind_to_less_than_what_is_known_to_have_arrived_is_old_news():
    stream = SendingStream(SMALL)
    for _ in range(2):
        stream.offer(bytes(90))
        stream.next_frame()
    stream.acknowledge(2)
    stream.rewind(1)
    assert bytes_of(stream) is None


def test_what_was_never_sent_cannot_be_acknowledged():
    stream = SendingStream(SMALL)
    stream.offer(b"x")
    with pytest.raises(BadAcknowledgement, match="frame 1 was acknowledged, 0 was the last one"):
        stream.acknowledge(1)
    stream.next_frame()
    stream.acknowledge(1)
    with pytest.raises(BadAcknowledgement):
        stream.rewind(2)


def test_the_receiver_takes_each_number_once_and_in_order():
    stream = ReceivingStream(SMALL)
    assert [stream.accept(number, 10) for number in (1, 2, 2, 1, 4, 3)] == [
        Arrival.NEW,
        Arrival.NEW,
        Arrival.DUPLICATE,
        Arrival.DUPLICATE,
        Arrival.GAP,
        Arrival.NEW,
    ]
    assert (stream.received, stream.duplicates) == (3, 2)


@pytest.mark.parametrize(("sizes", "due"), [([10, 10], False), ([10, 10, 10], True), ([299], False), ([300], True)])
def test_an_acknowledgement_is_due_after_so_many_frames_or_bytes(sizes: list[int], due: bool):
    stream = ReceivingStream(SMALL)
    assert not stream.owed
    for number, size in enumerate(sizes, 1):
        stream.accept(number, size)
    assert stream.owed
    assert stream.due == due
    assert stream.acknowledgement() == len(sizes)
    assert not stream.owed and not stream.due


def test_a_duplicate_is_acknowledged_at_once():
    stream = ReceivingStream(SMALL)
    stream.accept(1, 10)
    stream.acknowledgement()
    stream.accept(1, 10)
    assert stream.owed and stream.due
    assert stream.acknowledgement() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"joined": 0},
        {"joined": 500},
        {"low_watermark": 400},
        {"high_watermark": 1000},
        {"largest": 99},
        {"fragment": 0},
        {"fragment": 101},
        {"fragmented": 0},
        {"owed_frames": 0},
        {"owed_bytes": 0},
    ],
)
def test_parameters_are_checked(wrong: dict[str, int]):
    values = {name: getattr(SMALL, name) for name in StreamParameters.__slots__} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StreamParameters(**values)


class Pair:
    """Two streams and the bytes between them, which are cut where the test says."""

    def __init__(self, parameters: StreamParameters) -> None:
        self.sending = SendingStream(parameters)
        self.receiving = ReceivingStream(parameters)
        self.arrived: list[bytes] = []

    def connection(self, cut: int, back_cut: int) -> None:
        """One life of a connection: it carries `cut` bytes there, and `back_cut` bytes of acknowledgements back."""
        self.sending.rewind(self.receiving.received)
        data = b""
        while len(data) < cut and (more := bytes_of(self.sending)) is not None:
            data += more
        acknowledgements = b""
        for frame in frames_of(data[:cut]):
            arrival = self.receiving.accept(frame.header.number, frame.header.body_length)
            assert arrival is not Arrival.GAP
            if arrival is Arrival.NEW:
                self.arrived.append(bytes(frame.body))
            if self.receiving.due:
                acknowledgements += b"".join(encode_frame(ACK, number=self.receiving.acknowledgement()))
        for frame in frames_of(acknowledgements[:back_cut]):
            self.sending.acknowledge(frame.header.number)


@given(
    signals=st.lists(st.integers(0, 250), max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 60)), max_size=40),
)
def test_connections_cut_at_any_byte_lose_and_double_nothing(signals: list[int], cuts: list[tuple[int, int]]):
    pair = Pair(SMALL)
    sent = b""
    for position, size in enumerate(signals):
        signal = bytes([position]) * size
        if pair.sending.buffered < 400:
            pair.sending.offer(signal)
            sent += signal
        if cuts and position % 2:
            pair.connection(*cuts.pop())
    for cut in cuts:
        pair.connection(*cut)
    assert sent.startswith(b"".join(pair.arrived))
    pair.connection(1 << 20, 1 << 20)
    assert b"".join(pair.arrived) == sent
    assert pair.sending.unsent == 0


def test_a_hundred_cuts_in_a_row_while_it_is_sending():
    chance = random.Random(7)
    pair = Pair(SMALL)
    sent = b""
    for number in range(100):
        for _ in range(chance.randrange(4)):
            if pair.sending.buffered < 900:
                signal = number.to_bytes(4, "big") * chance.randrange(30)
                pair.sending.offer(signal)
                sent += signal
        pair.connection(chance.randrange(300), chance.randrange(50))
    pair.connection(1 << 20, 1 << 20)
    assert b"".join(pair.arrived) == sent


@given(st.data())
def test_counts_are_sums_whatever_happens(data: st.DataObject):
    stream = SendingStream(SMALL)
    queued: list[int] = []
    kept: dict[int, int] = {}
    number = acknowledged_number = 0
    for _ in range(data.draw(st.integers(0, 40))):
        match data.draw(st.sampled_from(["offer", "frame", "acknowledge", "rewind"])):
            case "offer":
                size = data.draw(st.integers(1, 300))
                if stream.buffered < 1000:
                    queued.append(size)
                stream.offer((bytes(size), b""))
            case "frame":
                rewinding = stream.rewinding
                buffers = stream.next_frame()
                if buffers is not None and not rewinding:
                    number += 1
                    kept[number] = frame_of(b"".join(buffers)).header.body_length
                    taken = 0
                    while taken < kept[number]:
                        taken += queued.pop(0)
                    assert taken == kept[number]
            case action:
                acknowledged_number = max(acknowledged_number, data.draw(st.integers(0, number)))
                getattr(stream, action)(acknowledged_number)
                kept = {of: size for of, size in kept.items() if of > acknowledged_number}
        assert stream.unsent == sum(queued)
        assert stream.unacknowledged == sum(kept.values())
        assert stream.congested or stream.buffered < 400
        assert not stream.congested or stream.buffered > 200


def test_an_acknowledgement_travels_with_a_new_frame():
    stream = SendingStream(SMALL)
    stream.offer(b"x")
    frame = frame_of(bytes_of(stream, encode_ack(41)))
    assert acknowledged(frame.extensions) == 41
