"""The protocol of one session, with time as a number."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from partisan_actors.distribution.carrier import Carrier
from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.session import (
    DELIVER,
    NO_WHOLE_FRAME,
    Disconnect,
    Effect,
    Ended,
    Phase,
    Room,
    SessionMachine,
    SessionParameters,
    Silent,
    Unlinked,
    Write,
)
from partisan_actors.distribution.stream import StreamParameters
from partisan_actors.distribution.streams import Streams
from partisan_actors.processes.identity import Life
from partisan_actors.wire.frames import (
    ACK,
    CLOSE,
    DATA,
    FRAGMENT,
    HEARTBEAT,
    HEARTBEAT_REPLY,
    HELLO,
    REFUSAL,
    UNLINK,
    UNLINKED,
    Frame,
    acknowledged,
    encode_ack,
    encode_extension,
    encode_fragment,
    encode_frame,
)
from partisan_actors.wire.hello import Refusal, RefusalCode
from tests.distribution.cutting import frame_of, frames_of

PEER = Life("peer", 1, 1)
PARAMETERS = SessionParameters()


class Run:
    """A machine, its timers and what it wrote, in virtual time."""

    def __init__(self, parameters: SessionParameters = PARAMETERS, streams: Streams | None = None) -> None:
        self.machine = SessionMachine(PEER, 1, parameters, streams)
        self.now = 100.0
        self.random = Random(1)
        self.timers: dict[object, float] = {}
        self.written: list[Frame] = []
        self.told: list[tuple[float, Effect]] = []

    def connect(self, received: int = 0, *, accepted: bool = False) -> None:
        self.take(self.machine.connected(received, self.now, self.random, accepted=accepted))

    def take(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case SetTimer(key, seconds):
                    self.timers[key] = self.now + seconds
                case CancelTimer(key):
                    self.timers.pop(key, None)
                case Write(buffers):
                    self.written += frames_of(b"".join(buffers))
                    self.machine.carrier.last_sent = self.now
                case _:
                    self.told.append((self.now, effect))

    def frame(self, kind: int, **fields: object) -> Sequence[Effect]:
        """Give it a frame, as one read."""
        self.machine.carrier.last_heard = self.machine.carrier.last_frame = self.now
        frame = frame_of(b"".join(encode_frame(kind, **fields)))  # type: ignore[arg-type]
        effects = self.machine.frame(frame, self.now)
        self.take([effect for effect in effects if effects is not DELIVER])
        self.take(self.machine.read_done())
        return effects

    def data(self, number: int, size: int = 1, **fields: object) -> Sequence[Effect]:
        return self.frame(DATA, number=number, body_buffers=(bytes(size),), **fields)

    def until(self, when: float, *, late: float = 0.0, answer: bool = False) -> None:
        """Let time pass; `late`: how late the timers come. `answer`: the peer sends something each half second."""
        heard = self.now
        while self.timers and min(self.timers.values()) + late <= when:
            due, key = min((due, str(key)) for key, due in self.timers.items())
            del self.timers[key]
            self.now = due + late
            if answer and self.now - heard >= 0.5:
                self.machine.carrier.last_heard = self.machine.carrier.last_frame = heard = self.now
            self.take(self.machine.step(TimerFired(key), self.now, self.random))
        self.now = when

    def next_frame(self) -> bytes:
        """The bytes of the next frame."""
        buffers = self.machine.next_frame()
        assert buffers is not None
        return b"".join(buffers)

    def kinds(self) -> list[int]:
        return [frame.header.kind for frame in self.written]


@pytest.fixture
def run() -> Run:
    made = Run()
    made.connect()
    return made


def ends(run: Run) -> list[str]:
    return [effect.reason for _, effect in run.told if isinstance(effect, Ended)]


# Heartbeats


def test_something_is_sent_every_two_seconds_or_so_when_there_is_nothing_to_say(run: Run):
    run.until(120.0, answer=True)
    assert set(run.kinds()) == {HEARTBEAT}
    assert 9 <= len(run.written) <= 12


def test_data_takes_the_place_of_heartbeats_but_for_the_round_trip_time(run: Run):
    for tenth in range(600):
        run.until(100.0 + tenth / 10, answer=True)
        run.machine.carrier.last_sent = run.now
        if run.written and run.kinds()[-1] == HEARTBEAT:
            run.frame(HEARTBEAT_REPLY, body_buffers=(run.written[-1].body,))
    assert 2 <= len(run.written) <= 3


@pytest.mark.parametrize(("accepted", "phase"), [(False, 0.0), (True, 0.05)])
def test_checks_come_at_ticks_so_that_many_sessions_wake_a_machine_once(*, accepted: bool, phase: float):
    run = Run()
    run.connect(accepted=accepted)
    dues = []
    for second in range(101, 130):
        run.until(second)
        run.machine.carrier.last_heard = run.machine.carrier.last_frame = run.now
        dues.append(run.timers["heartbeat"])
    off = [abs((due - phase) * 10 - round((due - phase) * 10)) for due in dues]
    assert max(off) < 1e-6


def test_of_two_idle_ends_one_asks_and_the_other_answers():
    """Its answer is its sign of life: two small frames in each interval, and not four."""
    ends = [Run(), Run()]
    for end, accepted in zip(ends, (False, True), strict=True):
        end.connect(accepted=accepted)
    seen = [0, 0]
    while ends[0].now < 400.0:
        now = min(due for end in ends for due in end.timers.values())
        for place, (end, other) in enumerate((ends, ends[::-1])):
            end.until(now)
            for frame in end.written[seen[place] :]:
                other.until(now)
                other.frame(frame.header.kind, body_buffers=(frame.body,))
            seen[place] = len(end.written)
    assert sum(len(end.written) for end in ends) <= 2 * 300 / (0.75 * PARAMETERS.heartbeat_interval)
    assert sum(end.kinds().count(HEARTBEAT) for end in ends) >= 300 / PARAMETERS.heartbeat_interval


def test_a_heartbeat_is_answered_with_its_own_bytes(run: Run):
    run.frame(HEARTBEAT, body_buffers=(b"12345678",))
    assert [(frame.header.kind, frame.body) for frame in run.written] == [(HEARTBEAT_REPLY, b"12345678")]


def test_heartbeats_are_droppable_and_acknowledgements_are_not(run: Run):
    (reply,) = run.frame(HEARTBEAT, body_buffers=(b"12345678",))
    assert isinstance(reply, Write) and reply.droppable
    (closing, *_) = run.machine.end("leave", run.now)
    assert isinstance(closing, Write) and not closing.droppable


def test_the_round_trip_time_is_smoothed(run: Run):
    for seconds in (0.1, 0.5):
        run.until(run.now + 6.0, answer=True)
        run.written.clear()
        run.until(run.timers["heartbeat"], answer=True)
        assert run.kinds() == [HEARTBEAT]
        run.now += seconds
        run.frame(HEARTBEAT_REPLY, body_buffers=(run.written[0].body,))
    assert run.machine.round_trip == pytest.approx(0.1 + 0.4 / 8)


def test_d41_late_heartbeat_reply_closes_nothing(run: Run):
    run.until(105.0, answer=True)
    early = [frame.body for frame in run.written]
    assert len(early) > 2
    for body in early[:-1] * 2:
        assert run.frame(HEARTBEAT_REPLY, body_buffers=(body,)) == ()
    assert run.machine.round_trip is None
    assert run.machine.phase is Phase.CONNECTED


def test_a_reply_counts_once(run: Run):
    run.until(101.0)
    last = run.written[-1].body
    run.now += 0.1
    run.frame(HEARTBEAT_REPLY, body_buffers=(last,))
    first = run.machine.round_trip
    run.now += 1.0
    run.frame(HEARTBEAT_REPLY, body_buffers=(last,))
    assert run.machine.round_trip == first


@pytest.mark.parametrize("kind", [HEARTBEAT, HEARTBEAT_REPLY])
def test_a_heartbeat_of_another_size_is_a_broken_envelope(run: Run, kind: int):
    run.frame(kind, body_buffers=(b"1234567",))
    assert run.told == [(100.0, Disconnect(run.told[0][1].reason, broken=True))]


# Silence


def test_a_silent_peer_is_found_within_five_seconds():
    for seed in range(50):
        run = Run()
        run.random = Random(seed)
        run.connect()
        run.until(130.0, answer=True)
        heard = run.machine.carrier.last_heard
        run.until(140.0)
        (found,) = [when for when, effect in run.told if isinstance(effect, Silent)]
        assert 4.0 <= found - heard < 5.0


def test_the_peer_is_asked_a_last_time_before_it_is_silent(run: Run):
    run.until(104.1)
    assert not run.told
    run.frame(HEARTBEAT_REPLY, body_buffers=(run.written[-1].body,))
    run.until(107.0)
    assert not run.told


def test_any_byte_is_a_sign_of_life_a_whole_frame_is_not_needed(run: Run):
    for half in range(40):
        run.until(100.0 + half / 2)
        run.machine.carrier.last_heard = run.now  # as the driver does with every read
    assert not run.told


def test_who_was_stopped_itself_gives_the_others_time(run: Run):
    run.until(100.05)
    due = run.timers["heartbeat"]
    run.until(due + 10.0, late=10.0)
    assert not run.told, "its own clock says that it did not run"
    assert run.machine.carrier.last_heard == due + 10.0
    run.until(due + 20.0)
    assert [type(effect) for _, effect in run.told] == [Silent]


def test_a_timer_that_is_a_little_late_is_no_stop(run: Run):
    run.until(112.0, late=0.3)
    assert [type(effect) for _, effect in run.told][:1] == [Silent]


def test_overdue_after_one_and_a_half_intervals(run: Run):
    assert not run.machine.overdue(100.0 + 1.49 * PARAMETERS.heartbeat_interval)
    assert run.machine.overdue(100.0 + 1.51 * PARAMETERS.heartbeat_interval)


# Links that are given up, and routes


def test_a_link_is_given_up_when_the_peer_has_answered(run: Run):
    run.take(run.machine.unlink())
    assert run.kinds() == [UNLINK] and run.written[-1].body == b""
    run.take(run.machine.unlink())
    assert run.kinds() == [UNLINK]
    run.frame(UNLINK, body_buffers=(UNLINKED,))
    assert run.told == [(100.0, Unlinked(answer=False, close=True))]


def test_a_peer_that_does_not_answer_has_a_second(run: Run):
    run.take(run.machine.unlink())
    run.until(101.5, answer=True)
    assert run.told == [(101.0, Unlinked(answer=False, close=True))]


def test_a_peer_that_gives_the_link_up_is_answered(run: Run):
    run.frame(UNLINK)
    assert run.told == [(100.0, Unlinked(answer=True, close=True))]


def test_both_that_give_it_up_at_once_answer_and_wait_for_the_answer(run: Run):
    run.take(run.machine.unlink())
    run.frame(UNLINK)
    run.frame(UNLINK, body_buffers=(UNLINKED,))
    assert [effect for _, effect in run.told] == [
        Unlinked(answer=True, close=False),
        Unlinked(answer=False, close=True),
    ]


def test_a_connection_that_is_gone_is_given_up_no_more(run: Run):
    run.take(run.machine.unlink())
    run.take(run.machine.disconnected())
    assert not run.machine.unlinking and run.timers == {}
    assert run.machine.unlink() == ()


def test_over_a_route_nothing_is_sent_to_be_heard(run: Run):
    run.take(run.machine.disconnected())
    run.take(run.machine.connected(0, run.now, run.random, False))
    run.until(1000.0)
    assert run.written == [] and run.told == []
    # A link in its place is looked after again.
    run.connect()
    run.until(1010.0)
    assert [type(effect) for _, effect in run.told] == [Silent]


def test_who_is_late_itself_takes_nobody_for_silent_so_soon(run: Run):
    usual = PARAMETERS.silence + PARAMETERS.last_call
    late = PARAMETERS.stall / 2  # short of what excuses a peer altogether
    run.until(100.0 + usual + 1.0, late=late)
    assert run.told == []
    run.until(100.0 + usual + 6 * late)
    assert [type(effect) for _, effect in run.told] == [Silent]


# Acknowledgements


def test_an_acknowledgement_waits_for_a_frame_to_travel_with(run: Run):
    assert run.data(1) is DELIVER
    assert run.written == []
    run.machine.sending.offer(b"reply")
    frame = frame_of(run.next_frame())
    assert acknowledged(frame.extensions) == 1
    run.until(100.05)
    assert run.kinds() == []


def test_it_goes_alone_after_twenty_milliseconds(run: Run):
    run.data(1)
    run.until(100.019)
    run.data(2)
    assert run.written == []
    run.until(100.021)
    assert [(frame.header.kind, frame.header.number) for frame in run.written] == [(ACK, 2)]


def test_it_goes_at_once_for_the_32nd_frame_and_for_512_kib(run: Run):
    for number in range(1, 33):
        assert run.written == []
        run.data(number)
    assert run.written[0].header.number == 32
    run.data(33, 512 << 10)
    assert run.written[1].header.number == 33


def test_a_frame_that_comes_twice_is_delivered_once_and_acknowledged_again(run: Run):
    run.data(1)
    run.until(101.0)
    run.written.clear()
    assert run.data(1) == ()
    assert [(frame.header.kind, frame.header.number) for frame in run.written] == [(ACK, 1)]


def test_room_is_told_when_acknowledgements_bring_it():
    stream = StreamParameters(joined=10, fragment=None, low_watermark=10, high_watermark=20, hard_limit=100)
    run = Run(SessionParameters(stream=stream))
    run.connect()
    for _ in range(3):
        run.machine.sending.offer(bytes(10))
    assert run.machine.sending.congested
    while run.machine.next_frame():
        pass
    run.frame(ACK, number=1)
    assert run.told == []
    run.frame(ACK, number=2)
    assert [type(effect) for _, effect in run.told] == [Room]
    effects = run.data(1, extensions=encode_ack(3))
    assert effects is DELIVER


def test_room_comes_with_the_data_that_brings_it():
    stream = StreamParameters(joined=10, fragment=None, low_watermark=10, high_watermark=20, hard_limit=100)
    run = Run(SessionParameters(stream=stream))
    run.connect()
    for _ in range(2):
        run.machine.sending.offer(bytes(10))
        run.machine.next_frame()
    effects = run.data(1, extensions=encode_ack(2))
    assert list(effects) == [Room(run.machine.streams.default), *DELIVER]


# Broken envelopes


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        (DATA, {"number": 2}, "frame 2 came after 0"),
        (DATA, {"number": 1, "channel": 1}, "data on channel 1, stream 0"),
        (DATA, {"number": 1, "stream": 9}, "data on channel 0, stream 9"),
        (DATA, {"number": 1, "extensions": b"\1\0"}, "cut short"),
        (DATA, {"number": 1, "extensions": encode_extension(1, b"seven b")}, "acknowledgement of 7 bytes"),
        (DATA, {"number": 1, "extensions": encode_ack(1)}, "frame 1 was acknowledged"),
        (ACK, {"number": 1}, "frame 1 was acknowledged"),
        (HELLO, {}, "kind 16 after the handshake"),
    ],
)
def test_a_broken_envelope_ends_the_connection_and_not_the_session(
    run: Run, kind: int, fields: dict[str, object], reason: str
):
    run.frame(kind, **fields)
    ((_, effect),) = run.told
    assert isinstance(effect, Disconnect) and effect.broken and reason in effect.reason
    assert run.machine.phase is Phase.CONNECTED, "until the driver has closed the connection"


def test_an_unknown_extension_passes(run: Run):
    assert run.data(1, extensions=encode_extension(77, b"of a later version")) is DELIVER


def test_three_broken_envelopes_in_ten_seconds_end_the_session(run: Run):
    for number in range(3):
        run.frame(HELLO)
        assert bool(ends(run)) == (number == 2)
        run.take(run.machine.disconnected())
        run.now += 3.0
        if number < 2:
            run.connect()
    assert ends(run) == ["broken envelope: a frame of kind 16 after the handshake"]


def test_broken_envelopes_now_and_then_do_not(run: Run):
    for _ in range(10):
        run.frame(HELLO)
        run.take(run.machine.disconnected())
        run.now += 5.1
        run.connect()
    assert ends(run) == []


def test_a_late_refusal_closes_the_connection_and_is_no_broken_envelope(run: Run):
    refusal = Refusal(RefusalCode.SIMULTANEOUS, text="too late")
    run.frame(REFUSAL, body_buffers=(refusal.encode(),))
    assert run.told == [(100.0, Disconnect("refused: too late"))]


# Connections come and go


def test_a_session_outlives_its_connections(run: Run):
    run.machine.sending.offer(b"one")
    first = run.next_frame()
    run.take(run.machine.disconnected())
    assert run.machine.phase is Phase.BROKEN
    assert run.timers == {}
    run.machine.sending.offer(b"two")
    run.connect(received=0)
    assert run.next_frame() == first
    assert frame_of(run.next_frame()).body == b"two"


def test_a_resent_frame_does_not_swallow_an_acknowledgement(run: Run):
    run.machine.sending.offer(b"one")
    run.machine.next_frame()
    run.take(run.machine.disconnected())
    run.connect()
    run.data(1)
    run.machine.next_frame()
    run.until(100.1)
    assert ACK in run.kinds()


def test_frames_for_a_broken_session_are_not_taken(run: Run):
    run.take(run.machine.disconnected())
    assert run.data(1) == ()
    assert run.machine.receiving.received == 0


def test_a_peer_that_claims_more_than_was_sent_ends_the_session(run: Run):
    run.take(run.machine.disconnected())
    run.connect(received=1)
    assert ends(run) == ["out of step"]
    assert run.timers == {}


def test_a_newer_connection_replaces_the_one_before(run: Run):
    run.machine.sending.offer(b"one")
    run.machine.next_frame()
    run.connect(received=1)
    assert run.machine.phase is Phase.CONNECTED
    assert run.machine.next_frame() is None
    run.until(110.0, answer=True)
    assert run.told == []


# The end


def test_the_peer_is_told_the_reason(run: Run):
    run.take(run.machine.end("leave", run.now))
    assert [(frame.header.kind, frame.body) for frame in run.written] == [(CLOSE, b"leave")]
    assert ends(run) == ["leave"]
    assert run.timers == {}


def test_the_end_comes_once(run: Run):
    run.take(run.machine.end("leave", run.now))
    run.take(run.machine.end("overflow", run.now))
    run.frame(CLOSE, body_buffers=(b"stop",))
    assert ends(run) == ["leave"]


def test_a_broken_session_ends_without_a_word(run: Run):
    run.take(run.machine.disconnected())
    run.take(run.machine.end("connection refused", run.now))
    assert run.written == []
    assert ends(run) == ["connection refused"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"leave", "leave"), (b"", "closed"), (b"\xff\n\x1b[0m", "\ufffd??[0m"), (b"x" * 5000, "x" * 1024)],
)
def test_the_peers_reason_is_fit_for_a_log(run: Run, body: bytes, reason: str):
    run.frame(CLOSE, body_buffers=(body,))
    assert ends(run) == [reason]


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_interval": 2.35},
        {"silence": 2.0},
        {"last_call": 0},
        {"stall": -1},
        {"piece_within": 0},
        {"acknowledge_after": 0},
        {"broken_envelopes": 0},
    ],
)
def test_parameters_are_checked(wrong: dict[str, float]):
    with pytest.raises(ValueError):
        SessionParameters(**wrong)  # type: ignore[arg-type]


def test_a_connection_that_brings_bytes_and_no_frame_is_given_up(run: Run):
    for second in range(1, 90):  # a peer of before pieces, whose frames are large, has a minute
        run.until(100.0 + second)
        run.machine.carrier.last_heard = run.now
        if run.told:
            break
    assert [effect for _, effect in run.told] == [Disconnect(NO_WHOLE_FRAME)]
    assert 60.0 <= run.now - 100.0 <= 63.0 and ends(run) == []


# Pieces of signals that do not come


def begin_signal(run: Run, number: int = 1, message: int = 1) -> None:
    run.data(number, flags=FRAGMENT, extensions=encode_fragment(message, 0, 1000))


def test_a_signal_that_its_peer_does_not_go_on_with_ends_the_session_though_it_is_heard(run: Run):
    begin_signal(run)
    run.until(100.0 + PARAMETERS.piece_within - 1.0, answer=True)
    assert run.told == []
    run.until(100.0 + PARAMETERS.piece_within + 3.0, answer=True)
    assert ends(run) == ["broken envelope: a signal has begun, and its peer does not go on with it"]
    assert run.kinds()[-1] == CLOSE


def test_whatever_else_comes_on_its_stream(run: Run):
    begin_signal(run)
    for number in range(2, 700):
        run.until(100.0 + number / 2, answer=True)
        run.data(number)
        if ends(run):
            break
    assert PARAMETERS.piece_within <= run.now - 100.0 <= PARAMETERS.piece_within + 3.0


def test_one_that_goes_on_slowly_does_not(run: Run):
    begin_signal(run)
    for step in range(1, 6):
        run.until(100.0 + step * 50, answer=True)
        run.data(1 + step, flags=FRAGMENT, extensions=encode_fragment(1, step, 1000))
    assert ends(run) == []


def test_no_second_counts_in_which_a_frame_is_under_way(run: Run):
    """A slow link: bytes come all the time, and most of the time a frame is there in part."""
    begin_signal(run)
    for second in range(1, 600):
        run.until(100.0 + second)
        run.machine.carrier.last_heard = run.now
        if second % 9 == 0:
            run.machine.carrier.last_frame = run.now - 0.01
    assert run.told == []


def test_nor_one_without_a_connection_or_in_which_somebody_was_stopped(run: Run):
    begin_signal(run)
    for _ in range(10):
        run.until(run.now + 20.0, late=PARAMETERS.stall + 4.0)  # we were, and then
        run.take(run.machine.disconnected())
        run.until(run.now + 100.0)
        run.connect()
    assert ends(run) == []
    for _ in range(20):
        run.until(run.now + 3.9)  # the peer was: it would be asked a last time at 4
        run.machine.carrier.last_heard = run.machine.carrier.last_frame = run.now
    assert ends(run) == []


def test_nor_one_in_which_the_connection_of_its_stream_is_made_anew(run: Run):
    begin_signal(run)
    own = Carrier(run.machine.streams, run.machine.streams.default, 0.02)
    own.connected(0, run.now)
    own.disconnected()
    run.machine.streams.default.brought_by = own
    run.machine.carrier.drop(run.machine.streams.default)
    run.until(400.0, answer=True)
    assert run.told == []
    run.machine.carrier.carry(run.machine.streams.default)  # as it cannot be made now: that will do
    run.until(400.0 + PARAMETERS.piece_within + 3.0, answer=True)
    assert len(ends(run)) == 1
