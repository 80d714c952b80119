"""Bodies compressed and expanded: only where it is worth it, and whatever a peer sends."""

from __future__ import annotations

import itertools
from random import Random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.compression import LARGEST, Compressor, Expander, dictionary_id
from partisan_actors.wire.frames import BrokenFrame

TEXT = b"what is typical of these messages, over and over; " * 20


def noise(size: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(size)


@given(st.lists(st.sampled_from([b"", b"abc", TEXT, TEXT[:200], noise(300)]), max_size=9), st.integers(-7, 6))
def test_what_is_compressed_expands_to_what_it_was(parts: list[bytes], level: int) -> None:
    whole = b"".join(parts)
    body = Compressor(level).compress([memoryview(part) for part in parts], len(whole))
    if body is not None:
        assert len(body) < len(whole)
        assert Expander().expand(body) == Expander().expand(memoryview(body)) == whole


@pytest.mark.parametrize(
    ("size", "compressed"), [(0, False), (255, False), (256, True), (LARGEST, True), (LARGEST + 1, False)]
)
def test_what_is_small_or_very_large_travels_as_it_is(size: int, compressed: bool) -> None:
    assert (Compressor(1).compress([bytes(size)], size) is not None) == compressed


def test_where_nothing_shrinks_less_and_less_is_tried() -> None:
    compressor = Compressor(1)
    tried = []
    compress = compressor._compress
    compressor._compress = lambda body: tried.append(at) or compress(body)  # type: ignore[assignment, func-returns-value]
    for at in range(400):
        assert compressor.compress([noise(300, at)], 300) is None
    gaps = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert gaps[:6] == [2, 4, 8, 16, 32, 64]
    assert set(gaps[6:]) == {64}


def test_once_it_does_everything_is_tried_again() -> None:
    compressor = Compressor(1)
    for _ in range(3):
        compressor.compress([noise(300)], 300)
    while compressor.compress([TEXT], len(TEXT)) is None:
        pass
    assert all(compressor.compress([TEXT], len(TEXT)) for _ in range(100))


def test_a_dictionary_makes_it_smaller_and_is_needed_to_expand() -> None:
    body = TEXT[:300]
    with_it, without = Compressor(3, TEXT).compress([body], 300), Compressor(3).compress([body], 300)
    assert with_it is not None and without is not None
    assert len(with_it) < len(without)
    assert Expander(TEXT).expand(with_it) == body
    assert Expander(TEXT).expand(without) == body
    with pytest.raises(BrokenFrame, match="cannot be expanded"):
        Expander().expand(with_it)


def test_dictionaries_are_told_apart_by_channel_and_content() -> None:
    ids = {dictionary_id(channel, content) for channel in ("a", "b", "größer") for content in (b"one", b"two")}
    assert len(ids) == 6
    assert {len(of) for of in ids} == {8}
    assert dictionary_id("a", None) == b""


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no zstd at all", id="other bytes"),
        pytest.param(zstandard.compress(TEXT)[:-5], id="cut short"),
        pytest.param(zstandard.compress(bytes(LARGEST + 1)), id="a bomb that says so"),
        pytest.param(
            zstandard.ZstdCompressor(write_content_size=False).compress(bytes(LARGEST * 50)), id="one that does not"
        ),
    ],
)
def test_what_cannot_be_expanded_within_the_limit_is_a_broken_envelope(body: bytes) -> None:
    with pytest.raises(BrokenFrame):
        Expander().expand(body)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_expanded_or_broken(tail: bytes, zstd: bool) -> None:
    body = zstandard.compress(TEXT)[:6] + tail if zstd else tail
    try:
        assert len(Expander().expand(body)) <= LARGEST
    except BrokenFrame:
        pass
