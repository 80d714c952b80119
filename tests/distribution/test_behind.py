"""Frames behind a session's own: their order, their turns and their bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.behind import Behind


def test_they_come_in_order_the_urgent_ones_first():
    behind = Behind(1000)
    for name in (b"a", b"b"):
        assert behind.offer([name])
    assert behind.offer([b"u1"], urgent=True)
    assert behind.offer([b"u2"], urgent=True)
    assert (behind.size, behind.frames) == (6, 4)
    assert behind.next_turn() == [b"u1", b"u2", b"a", b"b"]
    assert (behind.size, behind.frames) == (0, 0)
    assert behind.next_turn() == []


def test_a_turn_is_64_kib_or_one_frame():
    behind = Behind(1 << 20)
    frames = [bytes(40 << 10), bytes(24 << 10), bytes(1), bytes(200 << 10), b"last"]
    for frame in frames:
        behind.offer([frame])
    turns = []
    while turn := behind.next_turn():
        turns.append([len(buffer) for buffer in turn])
    assert turns == [[40 << 10, 24 << 10], [1], [200 << 10], [4]]


def test_a_frame_is_taken_whole_or_not_at_all():
    behind = Behind(100)
    assert behind.offer([bytes(60), bytes(40)])
    assert not behind.offer([b"x"])
    assert not behind.offer([b"x"], urgent=True)
    behind.next_turn()
    assert behind.offer([bytes(1000)]), "one always fits, or it never would"


def test_what_is_given_out_is_what_was_put_in():
    buffers = [bytes(20_000), b"x"]
    behind = Behind(1 << 20)
    behind.offer(buffers)
    assert all(given is put for given, put in zip(behind.next_turn(), buffers, strict=True))


@given(st.lists(st.tuples(st.integers(0, 100 << 10), st.booleans(), st.booleans()), max_size=40))
def test_nothing_is_lost_but_what_was_refused(steps):
    behind, put, got = Behind(300 << 10), 0, 0
    for size, urgent, turn in steps:
        if behind.offer([bytes(size)], urgent=urgent):
            put += size
        assert behind.size <= 300 << 10
        if turn:
            got += sum(map(len, behind.next_turn()))
    while behind.frames:
        got += sum(map(len, behind.next_turn()))
    assert got == put
