"""Signals as bytes: the common ones, those of acknowledged delivery, and what breaks an envelope."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.wire.frames import BrokenFrame, encode_extension
from partisan_actors.wire.signals import (
    ACKNOWLEDGE,
    ACKNOWLEDGED,
    CAST,
    OPTIONAL,
    SEND,
    Acknowledged,
    Acknowledgement,
    Outcome,
    Signal,
    decode_acknowledgement,
    encode_acknowledgement,
    encode_signal,
    signals_of,
)

U64 = st.integers(0, (1 << 64) - 1)
NUMBERS = st.tuples(U64, U64).filter(lambda pair: pair[1] >= 1).map(lambda pair: (min(pair) or 1, max(pair)))


def joined(*signals):
    return b"".join(signal if isinstance(signal, bytes) else b"".join(signal) for signal in signals)


@given(U64, U64, U64, st.binary(max_size=50), st.none() | st.text(max_size=20))
def test_a_signal_comes_back_as_it_was(to, sender, ref, payload, name):
    (signal,) = signals_of(encode_signal(SEND, to, sender, ref, payload, name))
    assert signal == (SEND, to, sender, ref, name, payload, None, None)


@given(U64, NUMBERS, st.integers(0, (1 << 32) - 1), st.booleans(), st.none() | st.text(max_size=20))
def test_what_a_message_of_an_outbox_says_of_itself_comes_back(identity, numbers, milliseconds, repeated, name):
    told = Acknowledged(identity, numbers[1], numbers[0], milliseconds / 1000, repeated)
    body = joined(
        encode_signal(CAST, 1, 2, 3, b"payload", name, acknowledged=told), encode_signal(SEND, 4, payload=b"next")
    )
    first, second = signals_of(body)
    assert first == (CAST, 1, 2, 3, name, b"payload", told, None)
    assert second.acknowledged is None


def test_a_remaining_time_that_no_field_holds_is_cut():
    for seconds, cut in ((-1.0, 0.0), (1e12, ((1 << 32) - 1) / 1000)):
        told = Acknowledged(1, 1, 1, seconds, False)
        (signal,) = signals_of(encode_signal(SEND, acknowledged=told))
        assert signal.acknowledged.remaining == cut


def with_extension(value):
    """A SEND whose extension ACKNOWLEDGED has these bytes."""
    extension = encode_extension(ACKNOWLEDGED, value)
    plain = encode_signal(SEND)
    return plain[:2] + len(extension).to_bytes(2, "big") + plain[4:] + extension


def test_fields_of_a_later_version_are_passed_over():
    told = Acknowledged(9, 5, 4, 1.5, True)
    value = encode_signal(SEND, acknowledged=told)[-29:]
    (signal,) = signals_of(with_extension(value + b"more"))
    assert signal.acknowledged == told


@pytest.mark.parametrize("numbers", [(0, 0), (5, 0), (5, 6), (0, 1)])
def test_numbers_that_no_outbox_gives_break_the_envelope(numbers):
    number, lowest = numbers
    body = encode_signal(SEND, acknowledged=Acknowledged(1, number, lowest, 1.0, False))
    with pytest.raises(BrokenFrame):
        list(signals_of(body))


@pytest.mark.parametrize("size", [0, 1, 28])
def test_an_extension_that_is_cut_short_breaks_the_envelope(size):
    with pytest.raises(BrokenFrame):
        list(signals_of(with_extension(bytes(size))))


@given(U64, U64, U64, st.lists(st.tuples(U64, st.integers(0, 255)), max_size=20), U64)
def test_an_acknowledgement_comes_back_as_it_was(identity, up_to, uncertain, outcomes, since):
    told = Acknowledgement(identity, up_to, uncertain, tuple(outcomes), since)
    body = joined(encode_acknowledgement(told))
    for received in (body, memoryview(body)):
        (signal,) = signals_of(received)
        assert signal.kind == ACKNOWLEDGE
        assert decode_acknowledgement(signal) == told


def test_an_acknowledgement_of_an_earlier_version_speaks_for_all_that_it_covers():
    payload = b"".join(number.to_bytes(8, "big") for number in (77, 5, 2))
    (signal,) = signals_of(joined(encode_signal(ACKNOWLEDGE, payload=payload, flags=OPTIONAL)))
    assert decode_acknowledgement(signal) == Acknowledgement(77, 5, 2, (), since=0)


def test_an_older_peer_may_pass_over_an_acknowledgement():
    encoded = encode_acknowledgement(Acknowledgement(1, 2, 0, [(3, Outcome.EXPIRED)]))
    assert encoded[1] & OPTIONAL


@pytest.mark.parametrize("size", [0, 16, 23, 25, 32, 34])
def test_an_acknowledgement_of_another_size_is_broken(size):
    with pytest.raises(BrokenFrame):
        decode_acknowledgement(Signal(ACKNOWLEDGE, 0, 0, 0, None, bytes(size)))


def test_an_unknown_kind_is_passed_over_when_it_is_optional_only():
    body = joined(encode_signal(200, flags=OPTIONAL, payload=b"x"), encode_signal(SEND, 7))
    assert [signal.to for signal in signals_of(body)] == [7]
    with pytest.raises(BrokenFrame):
        list(signals_of(encode_signal(200)))


@given(st.integers(0, (1 << 32) - 1), st.none() | st.text(max_size=20))
def test_the_flow_of_a_keyed_request_comes_back(flow, name):
    (signal,) = signals_of(joined(encode_signal(CAST, 1, 2, 3, b"x", name, flow=flow)))
    assert (signal.flow, signal.name, signal.payload) == (flow, name, b"x")


@given(U64, st.none() | st.text(max_size=20), st.binary(max_size=5))
def test_a_payload_in_two_buffers_is_the_same_signal_and_the_large_one_is_not_copied(to, name, head):
    large = bytes(20_000)
    encoded = encode_signal(SEND, to, 2, 3, (head, large), name)
    assert isinstance(encoded, tuple)
    assert encoded[1] is large
    assert joined(encoded) == joined(encode_signal(SEND, to, 2, 3, head + large, name))
