"""The queue of one stream: what comes out is what went in, and a large signal delays only its own flow."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution import flows as module
from partisan_actors.distribution.assembly import Assembly
from partisan_actors.distribution.flows import Buffer, FlowQueue, Piece, Signal, size_of
from partisan_actors.distribution.spare_buffers import SpareBuffers
from partisan_actors.wire.frames import fragment_of

FRAGMENT = 20
JOINED = 20
MOST = 3


def queue_of(fragment: int | None = FRAGMENT, most: int = MOST, largest: int = 1000) -> FlowQueue:
    return FlowQueue(fragment, most, largest, 0)


def offer(queue: FlowQueue, signal: Signal, flow: object = 0) -> None:
    """As a `SendingStream` does it."""
    size = size_of(signal)
    if type(signal) is bytes and size <= queue.plain:
        queue.append(signal)
        queue.size += size
    else:
        queue.put(signal, size, flow)


def plain(buffers: list[Buffer]) -> bytes:
    return b"".join(buffers)


def drain(queue: FlowQueue, limit: int = JOINED) -> list[Piece]:
    pieces = []
    while queue:
        pieces.append(queue.take(limit))
    return pieces


class Receiver:
    """Puts pieces together by what their extensions say, and notes what is whole, in order."""

    def __init__(self) -> None:
        self.whole: list[bytes] = []  # bodies of frames, and large signals
        self.begun: dict[int, bytearray] = {}
        self.most = 0  # that had begun at once

    def take(self, piece: Piece) -> None:
        body = plain(piece.buffers)
        assert len(body) == piece.size
        if not piece.extensions:
            self.whole.append(body)
            return
        message, offset, total = fragment_of(piece.extensions)
        # Of `FRAGMENT` while small ones wait, of what the caller has room for else; the last one is what is left.
        assert 0 < len(body) <= 80
        assert len(body) >= FRAGMENT or offset + len(body) == total
        begun = self.begun.setdefault(message, bytearray())
        assert offset == len(begun), "the pieces of a signal leave in order"
        begun += body
        self.most = max(self.most, len(self.begun))
        if len(begun) == total:
            self.whole.append(bytes(self.begun.pop(message)))


def signal_of(flow: int, number: int, size: int, parts: int) -> Signal:
    """One that can be told apart: it begins with its flow and number, and ends with a line feed."""
    body = b"%d.%d" % (flow, number) + b"x" * size + b"\n"
    if not parts:
        return body
    cuts = [len(body) * cut // parts for cut in range(parts + 1)]
    pieces: list[Buffer] = [body[start:stop] for start, stop in itertools.pairwise(cuts)]
    pieces[0] = bytearray(pieces[0])
    pieces[-1] = memoryview(pieces[-1])
    return tuple(pieces)


flows, parts = st.integers(0, 4), st.integers(0, 4)
sizes = st.sampled_from([0, 1, 5, 14, 15, 16, 17, 30, 60, 200])
puts = st.tuples(st.just("put"), flows, sizes, parts)
takes = st.tuples(st.just("take"), st.integers(1, 80), st.just(0), st.just(0))
takes_back = st.tuples(st.just("take back"), flows, sizes, parts)
actions = st.lists(st.one_of(puts, puts, takes, takes_back), max_size=60)


@given(actions, st.integers(1, 4))
def test_every_signal_comes_out_whole_once_and_in_the_order_of_its_flow(
    script: list[tuple[str, int, int, int]], most: int
) -> None:
    queue, receiver = queue_of(most=most), Receiver()
    sent: dict[int, list[bytes]] = defaultdict(list)
    size = 0
    for number, (action, flow, length, cuts) in enumerate(script):
        if action == "take":
            if queue:
                piece = queue.take(flow)
                receiver.take(piece)
                size -= piece.size
        else:
            signal = signal_of(flow, number, length, cuts)
            offer(queue, signal, flow)
            if action == "take back":
                queue.take_back(flow)
            else:
                sent[flow].append(plain([signal] if isinstance(signal, bytes) else list(signal)))
                size += size_of(signal)
        assert queue.size == size
        assert bool(queue) == (size > 0)
    for piece in drain(queue):
        receiver.take(piece)
    assert queue.size == 0
    assert not receiver.begun
    assert receiver.most <= most
    arrived: dict[int, list[bytes]] = defaultdict(list)
    for signal in b"".join(receiver.whole).splitlines(keepends=True):
        arrived[int(signal[:1])].append(signal)
    assert arrived == sent
    assert queue.plain == FRAGMENT, "as at the beginning: nothing large waits"


@given(st.lists(st.tuples(flows, sizes, parts), max_size=30), st.integers(1, 300))
def test_what_is_never_cut_leaves_in_one_order_whatever_the_flows(
    script: list[tuple[int, int, int]], limit: int
) -> None:
    queue = queue_of(fragment=None)
    sent = []
    for number, (flow, length, cuts) in enumerate(script):
        signal = signal_of(flow, number, length, cuts)
        offer(queue, signal, flow)
        sent.append(plain([signal] if isinstance(signal, bytes) else list(signal)))
    taken = drain(queue, limit)
    assert all(piece.extensions == b"" for piece in taken)
    bodies = [plain(piece.buffers) for piece in taken]
    assert b"".join(bodies) == b"".join(sent)
    assert all(body.endswith(b"\n") for body in bodies), "no signal is split"
    assert all(len(body) <= limit or body.count(b"\n") == 1 for body in bodies)


@pytest.mark.parametrize("before", [[], [b"small"], [(b"sm", b"all")], [bytes(100)], [bytes(100), b"held"]])
@pytest.mark.parametrize("signal", [b"x", (b"x", b"y"), b"", bytes(FRAGMENT + 1), (bytes(50), bytes(50))])
@pytest.mark.parametrize("flow", [0, 1])
def test_what_was_put_last_can_be_taken_back_whatever_it_was(before: list[Signal], signal: Signal, flow: int) -> None:
    queue, other = queue_of(), queue_of()
    for earlier in before:
        offer(queue, earlier)
        offer(other, earlier)
    offer(queue, signal, flow)
    queue.take_back(flow)
    assert (queue.size, bool(queue), queue.plain) == (other.size, bool(other), other.plain)
    offer(queue, b"later", flow)
    offer(other, b"later", flow)
    assert [plain(piece.buffers) for piece in drain(queue)] == [plain(piece.buffers) for piece in drain(other)]


def test_one_that_was_held_can_be_taken_back_while_its_large_one_is_under_way() -> None:
    queue = queue_of()
    offer(queue, bytes(100))
    queue.take(JOINED)
    for signal in (b"held", bytes(70)):
        offer(queue, signal)
        queue.take_back(0)
    assert queue.size == 80
    assert [piece.size for piece in drain(queue)] == [20] * 4


def test_a_small_signal_passes_ten_megabytes_of_another_flow_within_two_frames() -> None:
    queue = FlowQueue(64 << 10, 16, 64 << 20, 0)
    offer(queue, bytes(10 << 20), "large")
    for _ in range(7):
        assert queue.take(256 << 10).extensions
        offer(queue, b"small", "small")
        assert b"small" in [plain(queue.take(256 << 10).buffers) for _ in range(2)]


def test_both_get_half_of_the_way() -> None:
    queue = queue_of()
    offer(queue, bytes(200), "large")
    for _ in range(40):
        offer(queue, b"12345", "small")
    sizes_of_pieces = [(piece.size, bool(piece.extensions)) for piece in drain(queue)]
    assert sizes_of_pieces[:20] == [(20, False), (20, True)] * 10
    assert not any(large for _, large in sizes_of_pieces[20:])


def test_a_signal_waits_for_a_large_one_of_its_own_flow() -> None:
    queue = queue_of()
    offer(queue, bytes(60), "large")
    offer(queue, b"after", "large")
    assert [plain(piece.buffers)[-5:] for piece in drain(queue)] == [bytes(5)] * 3 + [b"after"]


def test_a_large_signal_waits_for_what_was_offered_before_it_whatever_its_flow() -> None:
    queue = queue_of()
    for number in range(9):
        offer(queue, b"%08d" % number, number)
    offer(queue, bytes(40), 8)
    for number in range(9, 12):
        offer(queue, b"%08d" % number, number)
    taken = drain(queue, 16)
    first = next(at for at, piece in enumerate(taken) if piece.extensions)
    before = b"".join(plain(piece.buffers) for piece in taken[:first])
    assert b"%08d" % 8 in before
    assert b"%08d" % 11 not in before


def test_large_signals_take_turns_a_piece_each() -> None:
    queue = queue_of()
    for flow in range(3):
        offer(queue, bytes(60), flow)
    assert [fragment_of(piece.extensions).message for piece in drain(queue)] == [1, 2, 3] * 3


def test_no_more_than_so_many_large_signals_have_begun_at_once() -> None:
    queue, receiver = queue_of(most=2), Receiver()
    for flow in range(6):
        offer(queue, b"%d" % flow + bytes(60), flow)
    for piece in drain(queue):
        receiver.take(piece)
    assert receiver.most == 2
    assert [signal[:1] for signal in receiver.whole] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_one_flow_with_many_large_signals_takes_one_turn_of_several() -> None:
    queue, receiver = queue_of(most=2), Receiver()
    for number in range(4):
        offer(queue, b"a%d" % number + bytes(58), "many")
    offer(queue, b"b" + bytes(59), "one")
    for piece in drain(queue):
        receiver.take(piece)
    assert [signal[:2].rstrip(b"\0") for signal in receiver.whole] == [b"a0", b"b", b"a1", b"a2", b"a3"]


def test_a_large_one_at_the_limit_is_not_cut_and_one_beyond_it_is() -> None:
    queue = queue_of()
    offer(queue, bytes(FRAGMENT))
    offer(queue, bytes(FRAGMENT + 1))
    assert [(piece.size, bool(piece.extensions)) for piece in drain(queue)] == [(20, False), (20, True), (1, True)]


def test_the_bytes_of_a_large_signal_are_not_copied() -> None:
    queue = queue_of()
    large = bytearray(100)
    offer(queue, (b"head", large))
    buffers = [buffer for piece in drain(queue) for buffer in piece.buffers]
    assert sum(len(buffer) for buffer in buffers if isinstance(buffer, memoryview) and buffer.obj is large) == 100


def test_numbers_of_large_signals_go_round() -> None:
    queue = queue_of()
    queue._message = 0xFFFFFFFF
    offer(queue, bytes(FRAGMENT + 1))
    assert fragment_of(queue.take(JOINED).extensions).message == 0


def test_a_channel_with_high_watermarks_begins_no_more_than_the_peer_has_memory_for() -> None:
    """Five of 60 MB, as a channel with a high watermark of 300 MB lets them in; nothing of them is copied."""
    queue, assembly = FlowQueue(64 << 10, 16, 64 << 20, 0), Assembly(SpareBuffers())
    signal = bytes(60 << 20)
    for flow in range(5):
        offer(queue, signal, flow)
    most, number, whole = 0, 0, 0
    while queue:
        piece = queue.take(256 << 10)
        number += 1
        (body,) = piece.buffers
        whole += assembly.add(fragment_of(piece.extensions), bytes(body), number) is not None
        most = max(most, assembly.bytes)
    assert whole == 5
    assert most <= 128 << 20


@given(st.lists(st.tuples(flows, st.integers(21, 200)), max_size=20))
def test_of_large_signals_no_more_bytes_have_begun_than_allowed_but_for_one_alone(
    script: list[tuple[int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_BEGUN", 150)
        queue, begun = queue_of(most=4), {}
        order = []
        for flow, size in script:
            offer(queue, bytes(size), flow)
        while queue:
            piece = queue.take(JOINED)
            message, offset, total = fragment_of(piece.extensions)
            if not offset:
                order.append(message)
                begun[message] = total
            assert len(begun) == 1 or sum(begun.values()) <= 150
            if offset + piece.size == total:
                del begun[message]
    assert not begun
    assert len(order) == len(script)


def test_one_that_is_too_large_to_begin_now_is_not_passed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BEGUN", 150)
    queue = queue_of(most=4)
    offer(queue, bytes(100), 0)
    offer(queue, bytes(120), 1)
    for flow in range(2, 12):
        offer(queue, bytes(40), flow)
    order = [fragment_of(piece.extensions) for piece in drain(queue)]
    assert [message for message, offset, _ in order if not offset][:3] == [1, 2, 3]
