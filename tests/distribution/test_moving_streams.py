"""Streams that move between connections that break: two nodes, their first connection and one of a stream's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.carrier import Carrier, Deliver, DeliverWhole, Effect, Write
from partisan_actors.distribution.machine import SetTimer
from partisan_actors.distribution.streams import DEFAULT, SYSTEM, StreamId
from partisan_actors.wire.frame_reader import FrameReader
from partisan_actors.wire.frames import MAX_FRAME, Frame
from tests.distribution.test_carrier import AFTER, BULK, get, streams_of


class End:
    """One of two nodes: its streams, their carriers, and what was delivered."""

    def __init__(self) -> None:
        self.streams = streams_of()
        self.bulk = get(self.streams, BULK[0])
        self.carriers = {
            "first": Carrier(self.streams, self.streams.default, AFTER, self.streams.system),
            "own": Carrier(self.streams, self.bulk, AFTER),
        }
        self.named = {"first": self.streams.default, "own": self.bulk}
        self.unread: dict[str, bytes] = {}  # what the other one has written, by connection; none while there is none
        self.readers: dict[str, FrameReader] = {}
        self.timers: set[str] = set()
        self.delivered: dict[StreamId, bytes] = defaultdict(bytes)
        self.sent: dict[tuple[StreamId, int], list[bytes]] = defaultdict(list)

    def offer(self, stream_id: StreamId, flow: int, size: int) -> None:
        sent = self.sent[stream_id, flow]
        signal = b"%d.%d." % (flow, len(sent)) + bytes([65 + size % 26]) * size + b"\n"
        sending = get(self.streams, stream_id).sending
        if sending.buffered < 5000:
            sending.offer(signal if size % 2 else (signal[:2], signal[2:]), flow)
            sent.append(signal)

    def begin(self, name: str) -> None:
        self.unread[name] = b""
        self.readers[name] = reader = FrameReader(MAX_FRAME)
        reader.place_fragments(self.carriers[name].place)

    def write(self, name: str, other: End) -> bool:
        buffers = self.carriers[name].next_frame() if name in self.unread else None
        if buffers is None:
            return False
        other.unread[name] += b"".join(buffers)
        return True

    def read(self, name: str, count: int, other: End) -> None:
        """Read some of what has come, as one read of a socket."""
        if name not in self.unread or not self.unread[name]:
            return
        reader, carrier = self.readers[name], self.carriers[name]
        buffer = reader.buffer()
        count = min(count, len(buffer), len(self.unread[name]))
        buffer[:count] = self.unread[name][:count]
        self.unread[name] = self.unread[name][count:]
        for frame in reader.received(count):
            self.perform(name, carrier.frame(frame, 1.0), other, frame)
        self.perform(name, carrier.read_done(), other)

    def perform(self, name: str, effects: Sequence[Effect], other: End, frame: Frame | None = None) -> None:
        for effect in effects:
            match effect:
                case Deliver():
                    assert frame is not None
                    self.delivered[frame.header.channel, frame.header.stream] += bytes(frame.body)
                case DeliverWhole(stream, body):
                    self.delivered[stream.id] += bytes(body)
                case Write(buffers):
                    other.unread[name] += b"".join(buffers)
                case SetTimer():
                    self.timers.add(name)

    def pay(self, name: str, other: End) -> None:
        if name in self.timers and name in self.unread:
            self.timers.remove(name)
            self.perform(name, self.carriers[name].pay(), other)

    def attach(self, name: str, received: int) -> None:
        self.begin(name)
        if name == "own":
            self.carriers["first"].drop(self.bulk)
        self.carriers[name].connected(received, 1.0)

    def lose(self, name: str, ride: bool) -> None:
        self.unread.pop(name, None)
        self.timers.discard(name)
        self.carriers[name].disconnected()
        if name == "own" and ride:
            self.carriers["first"].carry(self.bulk)


class Two:
    """Both, and what happens between them."""

    def __init__(self) -> None:
        self.ends = (End(), End())

    def connect(self, name: str, late: int) -> None:
        """A new connection; the one before still brings something after the two have said what they have."""
        one, other = self.ends
        received = [end.named[name].receiving.received for end in self.ends]
        for here, there in ((one, other), (other, one)):
            here.read(name, late, there)
        one.attach(name, received[1])
        other.attach(name, received[0])

    def lose(self, name: str, ride: bool) -> None:
        for end in self.ends:
            end.lose(name, ride)

    def finish(self, ride: bool) -> None:
        """All that was offered arrives; with `ride` over the first connection alone."""
        one, other = self.ends
        if ride:
            self.lose("own", ride)
        for name in ("first",) if ride else ("first", "own"):
            if name not in one.unread:
                self.connect(name, 0)
        for _ in range(10_000):
            for name in ("first", "own"):
                for here, there in ((one, other), (other, one)):
                    here.write(name, there)
                    here.read(name, 10_000, there)
                    here.pay(name, there)
            if not any(carrier.frame_waits for end in self.ends for carrier in end.carriers.values()) and not any(
                end.timers or any(end.unread.values()) for end in self.ends
            ):
                return
        raise AssertionError("they never come to an end")


OFFERED = [SYSTEM, DEFAULT, BULK[0], BULK[0], BULK[0]]
SIZES = [0, 3, 50, 96, 97, 150, 900]
ends, links = st.integers(0, 1), st.sampled_from(["first", "own"])
steps = st.one_of(
    st.tuples(
        st.just("offer"),
        ends,
        st.sampled_from(OFFERED),
        st.integers(0, 2),
        st.sampled_from(SIZES),
    ),
    st.tuples(st.just("write"), ends, links, st.integers(1, 4)),
    st.tuples(st.just("read"), ends, links, st.integers(1, 1500)),
    st.tuples(st.just("pay"), ends, links),
    st.tuples(st.just("connect"), links, st.integers(0, 1500)),
    st.tuples(st.just("lose"), links, st.booleans()),
)


def play(script: Sequence[tuple[object, ...]], ride: bool) -> None:
    two = Two()
    two.connect("first", 0)
    two.connect("own", 0)
    for action, *arguments in script:
        match [action, *arguments]:
            case ["offer", int(at), stream, int(flow), int(size)]:
                two.ends[at].offer(stream, flow, size)  # type: ignore[arg-type]
            case ["write", int(at), str(name), int(count)]:
                for _ in range(count):
                    two.ends[at].write(name, two.ends[1 - at])
            case ["read", int(at), str(name), int(count)]:
                two.ends[at].read(name, count, two.ends[1 - at])
            case ["pay", int(at), str(name)]:
                two.ends[at].pay(name, two.ends[1 - at])
            case ["connect", str(name), int(late)]:
                two.connect(name, late)
            case ["lose", str(name), bool(ride)]:
                two.lose(name, ride)
    two.finish(ride)
    for here, there in (two.ends, two.ends[::-1]):
        arrived: dict[tuple[StreamId, int], list[bytes]] = defaultdict(list)
        for stream_id, body in there.delivered.items():
            for signal in body.splitlines(keepends=True):
                arrived[stream_id, int(signal[:1])].append(signal)
        assert arrived == {key: signals for key, signals in here.sent.items() if signals}
        for stream in (*here.carriers["first"], here.bulk):
            assert stream.sending.buffered == 0, "all of it is acknowledged"
            assert len(stream.assembly) == stream.assembly.bytes == 0


@given(st.lists(steps, max_size=60), st.booleans())
def test_streams_that_move_between_connections_that_break_lose_double_and_reorder_nothing(
    script: list[tuple[object, ...]], ride: bool
) -> None:
    play(script, ride)


@pytest.mark.parametrize("seed", range(60))
def test_nor_do_they_in_a_long_life(seed: int) -> None:
    chance = Random(seed)
    script: list[tuple[object, ...]] = []
    for _ in range(400):
        at, name = chance.randrange(2), chance.choice(("first", "own"))
        script.append(
            chance.choices(
                (
                    ("offer", at, chance.choice(OFFERED), chance.randrange(3), chance.choice(SIZES)),
                    ("write", at, name, chance.randrange(1, 4)),
                    ("read", at, name, chance.randrange(1, 1500)),
                    ("pay", at, name),
                    ("connect", name, chance.randrange(1500)),
                    ("lose", name, chance.random() < 0.5),
                ),
                (8, 8, 8, 2, 1, 1),
            )[0]
        )
    play(script, ride=bool(seed % 2))
