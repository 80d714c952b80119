"""A peer that leaves is heard out: its last word may come before what it sent earlier over other connections."""

from __future__ import annotations

from struct import Struct

import pytest

from partisan_actors.distribution.carrier import Carrier
from partisan_actors.distribution.session import Disconnect, OpenStream, Phase, SessionMachine
from partisan_actors.distribution.stream import StreamParameters
from partisan_actors.distribution.streams import DEFAULT, SYSTEM, StreamId, Streams
from partisan_actors.wire.frames import (
    CLOSE,
    DATA,
    HEARTBEAT,
    LAST_FRAMES,
    OPEN_STREAM,
    OPTIONAL,
    encode_extension,
    encode_frame,
    iterate_extensions,
)
from tests.distribution.cutting import frame_of
from tests.distribution.test_carrier import AGREED, BULK, get
from tests.distribution.test_session import PARAMETERS, Run, ends

ENTRY = Struct(">HHQ")


class Left(Run):
    """A session with several streams, whose peer is about to leave."""

    def __init__(self) -> None:
        super().__init__(PARAMETERS, Streams(AGREED, StreamParameters()))
        self.connect()
        self.own = {stream: self._own(stream) for stream in BULK}

    def _own(self, stream_id: StreamId) -> Carrier:
        streams = self.machine.streams
        carrier = Carrier(streams, get(streams, stream_id), 0.02)
        carrier.connected(0, self.now)
        return carrier

    def on_its_own(self, stream: StreamId, number: int) -> None:
        """A frame over a stream's own connection, which the driver lets the session look at."""
        frame = frame_of(b"".join(encode_frame(DATA, channel=stream[0], stream=stream[1], number=number)))
        assert self.own[stream].frame(frame, self.now)
        self.take(self.machine.look_at_end())

    def close(self, last_frames: dict[StreamId, int], reason: bytes = b"leave") -> None:
        entries = b"".join(ENTRY.pack(*stream, number) for stream, number in last_frames.items())
        self.frame(CLOSE, extensions=encode_extension(LAST_FRAMES, entries), body_buffers=(reason,))


@pytest.fixture
def run() -> Left:
    return Left()


def last_frames_of(run: Run) -> dict[StreamId, int]:
    (frame,) = [frame for frame in run.written if frame.header.kind == CLOSE]
    ((kind, data),) = iterate_extensions(frame.extensions)
    assert kind == LAST_FRAMES
    return {(channel, index): number for channel, index, number in ENTRY.iter_unpack(data)}


# Who leaves


def test_who_leaves_names_the_last_frame_of_each_stream_that_is_not_acknowledged(run: Left) -> None:
    for stream_id, frames in ((DEFAULT, 1), (BULK[0], 2), (BULK[1], 3)):
        for _ in range(frames):
            get(run.machine.streams, stream_id).sending.offer(b"x")
            get(run.machine.streams, stream_id).sending.next_frame()
    get(run.machine.streams, BULK[1]).sending.acknowledge(3)
    run.take(run.machine.leave("leave", run.now))
    assert last_frames_of(run) == {DEFAULT: 1, BULK[0]: 2}
    assert ends(run) == ["leave"] and run.timers == {}


def test_with_nothing_under_way_it_names_none(run: Left) -> None:
    run.take(run.machine.leave("leave", run.now))
    assert last_frames_of(run) == {}


def test_who_ends_a_session_does_not_ask_to_be_heard_out(run: Left) -> None:
    get(run.machine.streams, BULK[0]).sending.offer(b"x")
    get(run.machine.streams, BULK[0]).sending.next_frame()
    run.take(run.machine.end("overflow", run.now))
    assert [frame.extensions for frame in run.written] == [b""]


def test_who_leaves_without_a_connection_says_nothing(run: Left) -> None:
    run.take(run.machine.disconnected())
    run.take(run.machine.leave("leave", run.now))
    assert run.written == [] and ends(run) == ["leave"]


# Who is left


@pytest.mark.parametrize("last_frames", [{}, {DEFAULT: 1}, {DEFAULT: 1, SYSTEM: 0, BULK[0]: 0}, {(9, 9): 5}])
def test_where_everything_has_come_the_end_comes_at_once(run: Left, last_frames: dict[StreamId, int]) -> None:
    run.data(1, channel=1)
    run.close(last_frames)
    assert ends(run) == ["leave"]
    assert run.machine.phase is Phase.ENDED and run.timers == {}


def test_what_is_still_under_way_is_waited_for_on_every_stream(run: Left) -> None:
    run.close({BULK[0]: 2, BULK[1]: 1})
    assert run.machine.phase is Phase.CLOSING and run.machine.closing == "leave"
    assert set(run.timers) == {"closing"}
    run.on_its_own(BULK[0], 1)
    run.on_its_own(BULK[0], 2)
    assert ends(run) == []
    run.on_its_own(BULK[1], 1)
    assert ends(run) == ["leave"]
    assert run.timers == {}


def test_it_is_waited_for_no_longer_than_a_second(run: Left) -> None:
    run.close({BULK[0]: 1})
    run.until(100.99)
    assert ends(run) == []
    run.until(101.01)
    assert ends(run) == ["leave"]


def test_nor_when_no_connection_is_left_that_could_bring_it(run: Left) -> None:
    run.close({BULK[0]: 1})
    run.take(run.machine.other_connection_lost(1))
    assert ends(run) == []
    run.take(run.machine.other_connection_lost(0))
    assert ends(run) == ["leave"]


def test_a_connection_that_is_lost_while_nobody_leaves_ends_nothing(run: Left) -> None:
    assert list(run.machine.other_connection_lost(0)) == []
    assert list(run.machine.look_at_end()) == []
    run.take(run.machine.disconnected())
    assert list(run.machine.other_connection_lost(0)) == []
    assert ends(run) == []


def test_the_end_comes_once(run: Left) -> None:
    run.close({BULK[0]: 1})
    run.on_its_own(BULK[0], 1)
    run.take(run.machine.other_connection_lost(0))
    run.until(110.0)
    run.take(run.machine.end("enough", run.now))
    assert ends(run) == ["leave"]


def test_the_first_connection_goes_meanwhile_and_nothing_that_it_brings_is_taken(run: Left) -> None:
    run.close({BULK[0]: 1})
    assert list(run.machine.disconnected()) == []
    assert run.data(1, channel=1) == ()
    assert run.frame(HEARTBEAT, body_buffers=(bytes(8),)) == ()
    assert run.written == []
    assert run.machine.phase is Phase.CLOSING
    run.on_its_own(BULK[0], 1)
    assert ends(run) == ["leave"]


def test_a_connection_that_comes_after_the_last_word_revives_nothing(run: Left) -> None:
    """The peer was about to replace its first connection when it left; what it dialled is established here."""
    run.close({BULK[0]: 1})
    run.connect()
    assert run.machine.phase is Phase.CLOSING
    assert set(run.timers) == {"closing"}
    run.until(102.0)
    assert ends(run) == ["leave"]


def test_one_that_ends_it_here_meanwhile_says_nothing_to_who_has_left(run: Left) -> None:
    run.close({BULK[0]: 1})
    run.take(run.machine.end("enough", run.now))
    assert run.written == [] and ends(run) == ["enough"]


@pytest.mark.parametrize("entries", [b"x", bytes(11), bytes(13)])
def test_last_frames_that_make_no_sense_are_waited_for_by_nobody(run: Left, entries: bytes) -> None:
    run.frame(CLOSE, extensions=encode_extension(LAST_FRAMES, entries), body_buffers=(b"leave",))
    assert ends(run) == ["leave"]


def test_extensions_cut_short_are_a_broken_envelope(run: Left) -> None:
    run.frame(CLOSE, extensions=b"\2\0", body_buffers=(b"leave",))
    ((_, effect),) = run.told
    assert isinstance(effect, Disconnect) and effect.broken
    assert run.machine.phase is Phase.CONNECTED


@pytest.mark.parametrize("reason", [b"", b"\xff\n"])
def test_the_reason_is_fit_for_a_log_and_never_empty(run: Left, reason: bytes) -> None:
    run.close({BULK[0]: 1}, reason)
    assert run.machine.closing.isprintable() and run.machine.closing


def test_two_ends_understand_each_other(run: Left) -> None:
    leaving = Left()
    for stream_id in (DEFAULT, *BULK):
        get(leaving.machine.streams, stream_id).sending.offer(b"x")
    own = [leaving.own[stream_id].next_frame() for stream_id in BULK]
    first = [leaving.next_frame()]
    leaving.take(leaving.machine.leave("leave", leaving.now))
    run.take(run.machine.frame(frame_of(first[0]), run.now)[:0])
    (close,) = leaving.written
    run.take(run.machine.frame(close, run.now))
    for stream_id, buffers in zip(BULK, own, strict=True):
        assert ends(run) == []
        assert buffers is not None
        assert run.own[stream_id].frame(frame_of(b"".join(buffers)), run.now)
        run.take(run.machine.look_at_end())
    assert ends(run) == ["leave"]


# A peer that cannot dial


def test_a_peer_asks_for_a_streams_connection(run: Left) -> None:
    run.frame(OPEN_STREAM, flags=OPTIONAL, channel=2, stream=1)
    assert run.told == [(100.0, OpenStream((2, 1)))]


@pytest.mark.parametrize("stream", [(2, 3), (3, 0), (0, 1)])
def test_and_not_for_one_that_they_have_not(run: Left, stream: StreamId) -> None:
    run.frame(OPEN_STREAM, flags=OPTIONAL, channel=stream[0], stream=stream[1])
    ((_, effect),) = run.told
    assert isinstance(effect, Disconnect) and effect.broken


def test_a_session_of_one_stream_has_no_other() -> None:
    machine = SessionMachine(Run().machine.peer, 1, PARAMETERS)
    assert machine.streams.system is machine.streams.default
    assert [stream.id for stream in machine.carrier] == [(0, 0)]
