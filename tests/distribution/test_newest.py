"""The queue of a monotonic channel: of each key the newest, and nothing else is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.flows import Buffer, Signal, size_of
from partisan_actors.distribution.newest import NewestQueue
from partisan_actors.distribution.stream import SendingStream, StreamParameters
from tests.distribution.cutting import frame_of


def put(queue: NewestQueue, signal: Signal, key: object) -> None:
    queue.put(signal, size_of(signal), key)  # type: ignore[arg-type]


def plain(buffers: list[Buffer]) -> bytes:
    return b"".join(buffers)


steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 30)),
    st.tuples(st.just("take"), st.just(0), st.integers(1, 80)),
)


@given(st.lists(steps, max_size=60))
def test_it_keeps_the_newest_of_each_key_in_the_place_of_the_older(script: list[tuple[str, int, int]]) -> None:
    queue, model, superseded = NewestQueue(), {}, 0
    for number, (action, key, size) in enumerate(script):
        if action == "put":
            signal = b"%d.%d" % (key, number) + b"x" * size + b"\n"
            superseded += key in model
            model[key] = signal
            put(queue, signal if size % 2 else (signal[:3], signal[3:]), key)
        elif queue:
            piece = queue.take(size)
            expected: list[bytes] = []
            while model and (not expected or len(b"".join(expected)) + len(next(iter(model.values()))) <= size):
                expected.append(model.pop(next(iter(model))))
            assert plain(piece.buffers) == b"".join(expected)
            assert piece.size == len(b"".join(expected))
            assert piece.extensions == b""
        assert queue.size == sum(map(len, model.values()))
        assert queue.superseded == superseded
        assert bool(queue) == bool(model)


def test_what_was_put_last_can_be_taken_back() -> None:
    queue = NewestQueue()
    put(queue, b"one", "a")
    put(queue, (b"t", b"wo"), "b")
    queue.take_back("b")
    assert queue.size == 3
    assert plain(queue.take(100).buffers) == b"one"


def test_a_signal_without_bytes_is_one() -> None:
    queue = NewestQueue()
    put(queue, b"", "a")
    assert queue
    put(queue, b"", "a")
    assert queue.superseded == 1
    assert queue.take(10).size == 0 and not queue


def test_a_stream_of_it_never_sends_what_is_old_but_sends_again_what_it_sent() -> None:
    stream = SendingStream(StreamParameters(), 2, 0, NewestQueue())
    for at in range(100):
        stream.offer(b"old%d" % at, "key")
    stream.offer(b"other", "another")
    first = b"".join(stream.next_frame() or ())
    assert frame_of(first).body == b"old99other"
    stream.offer(b"new", "key")
    assert stream.superseded == 99
    stream.rewind(0)
    assert b"".join(stream.next_frame() or ()) == first
    assert frame_of(b"".join(stream.next_frame() or ())).body == b"new"


def test_a_large_one_is_not_cut() -> None:
    stream = SendingStream(StreamParameters(), 2, 0, NewestQueue())
    stream.offer(bytes(1 << 20), "key")
    assert frame_of(b"".join(stream.next_frame() or ())).header.body_length == 1 << 20
