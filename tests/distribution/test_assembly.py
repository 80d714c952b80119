"""Large signals put together: in place, exactly, and within limits whatever the peer sends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution import assembly as module
from partisan_actors.distribution import flows
from partisan_actors.distribution.assembly import Assembly, SessionBytes
from partisan_actors.distribution.spare_buffers import SpareBuffers
from partisan_actors.wire.frames import MAX_BODY, BrokenFrame, Fragment


def pieces_of(message: int, data: bytes, size: int) -> list[tuple[Fragment, bytes]]:
    return [(Fragment(message, at, len(data)), data[at : at + size]) for at in range(0, len(data), size)]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.integers(1, 60)), max_size=8), st.randoms())
def test_signals_whose_pieces_are_mixed_come_out_as_they_were(
    signals: list[tuple[bytes, int]], chance: random.Random
) -> None:
    assembly = Assembly(SpareBuffers())
    waiting = [pieces_of(message, data, size) for message, (data, size) in enumerate(signals)]
    whole: dict[int, bytes] = {}
    begun: dict[int, int] = {}
    number = 0
    while any(waiting):
        piece, body = chance.choice([pieces for pieces in waiting if pieces]).pop(0)
        number += 1
        place = assembly.place(piece, len(body), number) if chance.random() < 0.7 else None
        if place is not None:
            place[:] = body
        signal = assembly.add(piece, place if place is not None else body, number)
        begun[piece.message] = piece.total
        if signal is not None:
            whole[piece.message] = bytes(signal)
            del begun[piece.message]
        assert assembly.bytes == sum(begun.values())
        assert len(assembly) == len(begun)
    assert whole == {message: data for message, (data, _) in enumerate(signals)}


def test_a_piece_in_its_place_is_not_copied_and_the_signal_cannot_be_written_to() -> None:
    assembly = Assembly(SpareBuffers())
    first = assembly.place(Fragment(1, 0, 10), 6, 1)
    second = assembly.place(Fragment(1, 6, 10), 4, 2)
    assert first is not None and second is not None
    assert (len(first), len(second)) == (6, 4)
    first[:], second[:] = b"012345", b"6789"
    assert assembly.add(Fragment(1, 0, 10), first, 1) is None
    signal = assembly.add(Fragment(1, 6, 10), second, 2)
    assert signal is not None
    assert signal.obj is first.obj is second.obj
    assert signal.readonly
    assert bytes(signal) == b"0123456789"


def test_a_place_that_was_given_and_not_filled_is_given_again() -> None:
    assembly = Assembly(SpareBuffers())
    lost = assembly.place(Fragment(1, 0, 10), 6, 1)
    again = assembly.place(Fragment(1, 0, 10), 6, 1)
    assert lost is not None and again is not None
    assert lost.obj is again.obj
    assert (len(assembly), assembly.bytes) == (1, 10)


def test_a_piece_from_elsewhere_is_copied_into_its_place() -> None:
    assembly = Assembly(SpareBuffers())
    data = bytearray(b"0123456789")
    assert assembly.add(Fragment(1, 0, 10), memoryview(data)[:6], 1) is None
    signal = assembly.add(Fragment(1, 6, 10), bytes(data[6:]), 2)
    data[:] = b"overwrites"
    assert signal is not None and bytes(signal) == b"0123456789"


@pytest.mark.parametrize(
    ("piece", "size", "reason"),
    [
        (Fragment(1, 0, 10), 0, "a piece of 0 bytes at 0 of 10"),
        (Fragment(1, 0, 10), 11, "a piece of 11 bytes at 0 of 10"),
        (Fragment(1, 9, 10), 2, "a piece of 2 bytes at 9 of 10"),
        (Fragment(1, 0, MAX_BODY + 1), 5, "a piece of 5 bytes"),
        (Fragment(1, 4, 10), 2, "has not begun"),
        (Fragment(2, 3, 10), 2, "a piece at 3 of a signal that is there up to 4"),
        (Fragment(2, 5, 10), 2, "a piece at 5 of a signal that is there up to 4"),
        (Fragment(2, 0, 10), 2, "a piece at 0 of a signal that is there up to 4"),
        (Fragment(2, 4, 11), 2, "of a signal of 11 bytes, which had 10"),
    ],
)
def test_a_piece_that_does_not_fit_is_a_broken_envelope_and_costs_nothing(
    piece: Fragment, size: int, reason: str
) -> None:
    assembly = Assembly(SpareBuffers())
    assembly.add(Fragment(2, 0, 10), b"0123", 1)
    with pytest.raises(BrokenFrame, match=reason):
        assembly.add(piece, bytes(size), 2)
    assert (len(assembly), assembly.bytes) == (1, 10)
    signal = assembly.add(Fragment(2, 4, 10), b"456789", 3)
    assert signal is not None and bytes(signal) == b"0123456789"


def test_a_piece_that_does_not_fit_has_no_place() -> None:
    assembly = Assembly(SpareBuffers())
    assert assembly.place(Fragment(1, 4, 10), 2, 1) is None
    assert assembly.place(Fragment(1, 0, 10), 0, 1) is None
    assert assembly.place(Fragment(1, 0, MAX_BODY + 1), 5, 1) is None
    assert (len(assembly), assembly.bytes) == (0, 0)


def test_what_has_arrived_is_nobodys_place_any_more() -> None:
    """It would be written over before the piece is found to be wrong, and the session goes on after that."""
    assembly = Assembly(SpareBuffers())
    assembly.add(Fragment(1, 0, 10), b"01234", 1)
    assert assembly.place(Fragment(1, 0, 10), 5, 2) is None
    assert assembly.place(Fragment(1, 4, 10), 2, 2) is None
    assert assembly.place(Fragment(1, 7, 10), 2, 3) is not None, "of the same read as the one before it"


def test_no_more_than_so_many_may_have_begun() -> None:
    assembly = Assembly(SpareBuffers())
    for message in range(module._MOST):
        assembly.add(Fragment(message, 0, 10), b"x", message + 1)
    assert assembly.place(Fragment(9999, 0, 10), 1, 9999) is None
    with pytest.raises(BrokenFrame, match="256 signals of 2560 bytes have begun"):
        assembly.add(Fragment(9999, 0, 10), b"x", 9999)
    assert assembly.add(Fragment(0, 1, 10), bytes(9), 9999) is not None
    assert assembly.add(Fragment(9999, 0, 10), b"x", 9999) is None


def test_nor_of_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    assembly = Assembly(SpareBuffers())
    assembly.add(Fragment(1, 0, 600), b"x", 1)
    assembly.add(Fragment(2, 0, 400), b"x", 2)
    with pytest.raises(BrokenFrame, match="2 signals of 1000 bytes"):
        assembly.add(Fragment(3, 0, 2), b"x", 3)
    assert assembly.bytes == 1000
    assembly.add(Fragment(2, 1, 400), bytes(399), 4)
    assembly.add(Fragment(3, 0, 400), b"x", 5)
    assert assembly.bytes == 1000


def test_nor_in_all_streams_of_a_session_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES_OF_SESSION", 1000)
    session = SessionBytes()
    streams = [Assembly(SpareBuffers(), session) for _ in range(3)]
    streams[0].add(Fragment(1, 0, 600), b"x", 1)
    streams[1].add(Fragment(1, 0, 400), b"x", 1)
    assert streams[2].place(Fragment(1, 0, 2), 1, 1) is None
    with pytest.raises(BrokenFrame, match="signals of 1000 bytes have begun in all"):
        streams[2].add(Fragment(1, 0, 2), b"x", 1)
    assert session.bytes == 1000
    assert Assembly(SpareBuffers(), SessionBytes()).add(Fragment(1, 0, 2), b"xy", 1) is not None, "another session"
    streams[1].add(Fragment(1, 1, 400), bytes(399), 2)
    assert session.bytes == 600
    streams[2].add(Fragment(1, 0, 400), b"x", 1)
    assert session.bytes == 1000


def test_sixteen_streams_with_all_that_a_sender_begins_are_within_it() -> None:
    assert module._MOST_BYTES_OF_SESSION >= 16 * flows._MOST_BEGUN
    assert module._MOST_BYTES >= flows._MOST_BEGUN


def test_how_long_a_piece_is_waited_for_is_of_the_one_that_waits_longest() -> None:
    assembly = Assembly(SpareBuffers())
    assert assembly.wait(5.0) == 0.0, "nothing has begun"
    assembly.add(Fragment(1, 0, 10), b"x", 1)
    assert assembly.wait(5.0) == 5.0
    assembly.add(Fragment(2, 0, 10), b"x", 2)
    assert assembly.wait(2.0) == 7.0
    assembly.add(Fragment(1, 1, 10), b"x", 3)
    assert assembly.wait(1.0) == 3.0
    assembly.add(Fragment(2, 1, 10), bytes(9), 4)
    assert assembly.wait(0.0) == 1.0


def test_one_that_others_overtake_for_ever_is_found_out() -> None:
    assembly = Assembly(SpareBuffers())
    assembly.add(Fragment(1, 0, 10), b"x", 1)
    last = 1 + module._MOST_OVERTAKING
    assert assembly.add(Fragment(2, 0, 2), b"xy", last) is not None
    with pytest.raises(BrokenFrame, match="does not go on with it"):
        assembly.add(Fragment(3, 0, 2), b"xy", last + 1)


def test_one_that_goes_on_slowly_is_not() -> None:
    assembly = Assembly(SpareBuffers())
    for step in range(10):
        number = step * module._MOST_OVERTAKING
        assembly.add(Fragment(1, step, 20), b"x", number + 1)
        assert assembly.add(Fragment(2 + step, 0, 2), b"xy", number + 2) is not None
