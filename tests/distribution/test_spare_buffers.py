"""Buffers are used again when nobody sees them any more, and only then; what is kept is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution import spare_buffers as module
from partisan_actors.distribution.spare_buffers import SpareBuffers


def test_a_buffer_is_used_again_for_a_signal_of_about_its_size() -> None:
    spares = SpareBuffers()
    first = spares.take(100_000)
    buffer = first.obj
    spares.give_back(first)
    del first
    again = spares.take(60_000)
    assert again.obj is buffer
    assert len(again) == 60_000


def test_one_that_is_still_seen_is_not() -> None:
    spares = SpareBuffers()
    first = spares.take(100_000)
    first[:5] = b"first"
    seen = first[:5].toreadonly()
    spares.give_back(first)
    del first
    second = spares.take(100_000)
    second[:5] = b"other"
    assert bytes(seen) == b"first"
    kept = seen.obj
    seen.release()
    assert spares.take(100_000).obj is kept


@pytest.mark.parametrize("size", [49_999, 100_001])
def test_one_of_another_size_is_not(size: int) -> None:
    spares = SpareBuffers()
    first = spares.take(100_000)
    buffer = first.obj
    spares.give_back(first)
    del first
    assert spares.take(size).obj is not buffer


@given(st.lists(st.integers(1, 300), max_size=40))
def test_what_is_kept_is_bounded(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_BYTES", 500)
        patch.setattr(module, "_LARGEST", 200)
        patch.setattr(module, "_SMALLEST", 10)
        patch.setattr(module, "_MOST", 6)
        spares = SpareBuffers()
        places = [spares.take(size) for size in sizes]
        for place in places:
            spares.give_back(place)
            assert 0 <= spares.bytes <= 500
            assert len(spares) <= 6
        assert spares.bytes <= sum(size for size in sizes if 10 <= size <= 200)


def test_no_more_than_a_few_that_are_still_seen_are_looked_at() -> None:
    spares = SpareBuffers()
    places = [spares.take(100_000) for _ in range(6)]
    for place in places:
        spares.give_back(place)
    first = places.pop(0).obj
    del place
    assert spares.take(100_000).obj is not first, "five that are seen were given back after it"
    places.clear()
    assert spares.take(100_000).obj is not first
    assert len(spares) == 5


def test_a_buffer_keeps_its_length_however_often_it_is_asked_for() -> None:
    spares = SpareBuffers()
    for _ in range(3):
        place = spares.take(100_000)
        assert len(memoryview(place.obj)) == 100_000
        spares.give_back(place)
        del place
    assert spares.bytes == 100_000
