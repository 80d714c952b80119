"""When one peer is dialled and when it is given up, with time as a number."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import pytest

from partisan_actors.distribution.dialling import (
    CancelDial,
    Dial,
    DialFailed,
    Dialling,
    DiallingParameters,
    DialRefused,
    Established,
    Event,
    Lost,
    SessionOver,
    Silenced,
    Unwanted,
    Verdict,
    Wanted,
)
from partisan_actors.distribution.machine import CancelTimer, SetDeadline, SetTimer, TimerFired
from partisan_actors.wire.hello import RefusalCode

HERE = ("10.0.0.1:1",)
TWO = ("10.0.0.1:1", "10.0.0.2:1")

Answer = Callable[[str], Event | None]


class Run:
    """A machine in virtual time. `answer` says what comes of a dial: an event at once, or None for never."""

    def __init__(self, answer: Answer = lambda address: None, seed: int = 1) -> None:
        self.machine = Dialling(DiallingParameters())
        self.random = Random(seed)
        self.answer = answer
        self.now = 0.0
        self.timers: dict[object, float] = {}
        self.dials: list[tuple[float, str]] = []
        self.verdicts: list[tuple[float, str]] = []
        self.cancelled = 0
        self.pending: float | None = None  # when the dial that is under way times out

    def feed(self, event: Event) -> None:
        for effect in self.machine.step(event, self.random):
            match effect:
                case SetTimer(key, seconds) | SetDeadline(key, seconds):
                    self.timers[key] = self.now + seconds
                case CancelTimer(key):
                    self.timers.pop(key, None)
                case CancelDial():
                    self.cancelled += 1
                    self.pending = None
                case Verdict(reason):
                    self.verdicts.append((round(self.now, 3), reason))
                case Dial(address, timeout):
                    assert self.pending is None, "one attempt at a time"
                    self.dials.append((round(self.now, 3), address))
                    self.pending = self.now + timeout
        if self.pending is not None and self.dials and (outcome := self.answer(self.dials[-1][1])) is not None:
            self.pending = None
            self.feed(outcome)

    def until(self, when: float) -> None:
        while True:
            due = [(due, str(key)) for key, due in self.timers.items()]
            if self.pending is not None:
                due.append((self.pending, "dial"))
            if not due or min(due)[0] > when:
                break
            self.now, key = min(due)
            if key == "dial":
                self.pending = None
                self.feed(DialFailed("timeout"))
            else:
                del self.timers[key]
                self.feed(TimerFired(key))
        self.now = when

    def connect(self, addresses: tuple[str, ...] = HERE) -> None:
        """Want it, and have it."""
        answer, self.answer = self.answer, lambda address: Established(addresses, True)
        self.feed(Wanted(addresses))
        self.answer = answer
        self.dials.clear()


def refuse(address: str) -> Event:
    return DialFailed("refused")


def test_a_wanted_peer_is_dialled_at_once():
    run = Run()
    run.feed(Wanted(HERE))
    assert run.dials == [(0.0, HERE[0])]
    run.feed(Wanted(HERE))
    assert len(run.dials) == 1


def test_a_connected_peer_is_left_alone():
    run = Run()
    run.connect()
    run.feed(Wanted(HERE))
    run.until(100.0)
    assert run.dials == run.verdicts == []


def test_a_lost_peer_is_dialled_at_once():
    run = Run(lambda address: Established(HERE, True))
    run.connect()
    run.feed(Lost())
    run.until(100.0)
    assert run.dials == [(0.0, HERE[0])]
    assert run.verdicts == []


def test_a_killed_process_is_down_within_a_second():
    run = Run(refuse)
    run.connect()
    run.feed(Lost())
    run.until(0.9)
    assert run.dials[:2] == [(0.0, HERE[0]), (0.5, HERE[0])]
    assert run.verdicts == [(0.5, "connection refused")]


def test_one_refusal_alone_is_no_verdict():
    answers = [DialFailed("refused"), Established(HERE, True)]
    run = Run()
    run.connect()
    run.answer = lambda address: answers.pop(0)
    run.feed(Lost())
    run.until(10.0)
    assert run.verdicts == []


@pytest.mark.parametrize("reason", ["timeout", "unreachable: no route to host", "closed during the handshake: eof"])
def test_one_that_cannot_be_reached_is_down_after_five_seconds(reason: str):
    run = Run(lambda address: DialFailed(reason))
    run.connect()
    run.feed(Lost())
    run.until(4.99)
    assert run.verdicts == []
    assert len(run.dials) == 20, "tried again each quarter of a second meanwhile"
    run.until(5.0)
    assert run.verdicts == [(5.0, reason)]


def test_one_that_answers_nothing_at_all_is_down_after_five_seconds():
    run = Run()
    run.connect()
    run.feed(Lost())
    run.until(30.0)
    assert run.verdicts == [(5.0, "timeout")]


def test_a_silent_peer_is_down_at_once():
    run = Run(lambda address: None)
    run.connect()
    run.feed(Silenced())
    assert run.verdicts == [(0.0, "silent")]
    run.until(60.0)
    assert len(run.verdicts) == 1


@pytest.mark.parametrize("code", [RefusalCode.NAME, RefusalCode.COOKIE, RefusalCode.TOPOLOGY, RefusalCode.VERSION])
def test_one_that_refuses_us_for_a_reason_is_down_at_once(code: RefusalCode):
    run = Run(lambda address: DialRefused(code, "because"))
    run.connect()
    run.feed(Lost())
    run.until(60.0)
    assert run.verdicts == [(0.0, "refused: because")]
    assert len(run.dials) > 10, "and is dialled on: a cookie may be put right"


def test_one_that_has_no_place_is_down_at_once_and_dialled_twice_a_minute():
    run = Run(lambda address: DialRefused(RefusalCode.FULL, "full"))
    run.feed(Wanted(HERE))
    run.until(300.0)
    assert run.verdicts == [(0.0, "refused: full")]
    pauses = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(run.dials)]
    assert len(pauses) >= 10 and all(22.5 <= pause <= 30.0 for pause in pauses)


def test_one_that_has_a_place_after_all_is_dialled_as_any_other():
    run = Run(lambda address: DialRefused(RefusalCode.FULL, "full"))
    run.feed(Wanted(HERE))
    run.feed(Established((), False))
    run.dials.clear()
    run.feed(SessionOver())
    run.until(0.11)
    assert len(run.dials) == 1


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(RefusalCode.BUSY, "busy"), (RefusalCode.EXPIRED, "busy"), (RefusalCode.TLS, "refused: busy")],
)
def test_one_that_is_busy_or_tls_fails_with_is_tried_again(code: RefusalCode, verdict: str):
    run = Run(lambda address: DialRefused(code, "busy"))
    run.connect()
    run.feed(Lost())
    run.until(4.9)
    assert run.verdicts == [] and len(run.dials) > 10
    run.until(5.0)
    assert run.verdicts == [(5.0, verdict)]


def test_one_that_was_busy_and_then_does_not_answer_has_timed_out():
    run = Run(lambda address: DialRefused(RefusalCode.BUSY, "busy") if run.now < 2.0 else None)
    run.connect()
    run.feed(Lost())
    run.until(5.0)
    assert run.verdicts == [(5.0, "timeout")]


def test_the_other_ends_dial_is_waited_for_when_it_is_kept():
    run = Run(lambda address: DialRefused(RefusalCode.SIMULTANEOUS, "crossed"))
    run.connect()
    run.feed(Lost())
    run.until(0.9)
    assert len(run.dials) == 1
    run.feed(Established((), False))
    run.until(60.0)
    assert len(run.dials) == 1 and run.verdicts == []


def test_and_not_for_ever():
    run = Run(lambda address: DialRefused(RefusalCode.SIMULTANEOUS, "crossed"))
    run.connect()
    run.feed(Lost())
    run.until(1.1)
    assert [when for when, _ in run.dials] == [0.0, 1.0]
    run.until(5.0)
    assert [when for when, _ in run.verdicts] == [5.0]


def test_after_the_verdict_a_wanted_peer_is_dialled_with_back_off():
    run = Run(refuse)
    run.connect()
    run.feed(Lost())
    run.until(40.0)
    assert len(run.verdicts) == 1
    after = [when for when, _ in run.dials if when >= 0.5]
    pauses = [later - earlier for earlier, later in itertools.pairwise(after)]
    for pause, most in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0], strict=False):
        assert 0.75 * most - 0.001 <= pause <= most + 0.001
    assert max(pauses) <= 3.0 + 0.001
    assert len({round(pause, 3) for pause in pauses[6:]}) > 2, "by chance, so that not all dial at the same time"


def test_the_back_off_begins_anew_after_a_connection():
    run = Run(refuse)
    run.connect()
    run.feed(Lost())
    run.until(40.0)
    run.feed(Established(HERE, False))
    run.dials.clear()
    run.feed(Lost())
    run.until(40.9)
    assert [round(when - 40.0, 2) for when, _ in run.dials[:2]] == [0.0, 0.5]
    assert len(run.verdicts) == 2


def test_a_verdict_comes_once_between_two_connections():
    run = Run(lambda address: None)
    run.connect()
    run.feed(Lost())
    run.until(5.0)
    run.answer = refuse
    run.until(100.0)
    assert len(run.verdicts) == 1


def test_a_peer_without_addresses_has_five_seconds_to_dial_us():
    run = Run()
    run.feed(Established((), False))
    run.feed(Lost())
    run.until(4.9)
    assert run.verdicts == [] and run.dials == []
    run.feed(Established((), False))
    run.feed(Lost())
    run.until(9.8)
    assert run.verdicts == []
    run.until(9.91)
    assert run.verdicts == [(9.9, "unreachable")]
    assert run.machine.idle


def test_a_session_nobody_asked_for_is_redialled_until_the_verdict_and_no_longer():
    run = Run(refuse)
    run.feed(Established(HERE, False))
    run.feed(Lost())
    run.until(60.0)
    assert len(run.dials) == 2
    assert run.verdicts == [(0.5, "connection refused")]
    assert run.machine.idle and not run.timers


def test_a_forgotten_peer_is_dialled_no_more():
    run = Run(refuse)
    run.connect()
    run.feed(Lost())
    run.until(2.0)
    run.feed(Unwanted())
    count = len(run.dials)
    run.until(60.0)
    assert len(run.dials) == count
    assert run.machine.idle and not run.timers


def test_a_peer_that_is_forgotten_before_it_was_ever_reached_gets_no_verdict():
    run = Run()
    run.feed(Wanted(HERE))
    run.feed(Unwanted())
    assert run.pending is None and run.machine.idle and not run.timers
    run.until(60.0)
    assert run.verdicts == []


def test_forgetting_gives_up_a_dial_that_nobody_waits_for():
    run = Run()
    run.feed(Wanted(HERE))
    run.until(6.0)
    assert run.verdicts == [(5.0, "unreachable")] or run.verdicts == [(5.0, "timeout")]
    run.feed(Unwanted())
    assert run.pending is None and run.machine.idle and not run.timers


def test_forgetting_leaves_a_session_its_time():
    run = Run()
    run.connect()
    run.feed(Lost())
    run.feed(Unwanted())
    assert not run.machine.idle and run.pending is not None
    run.until(60.0)
    assert len(run.verdicts) == 1
    assert run.machine.idle and run.pending is None and not run.timers


def test_our_own_dial_is_given_up_when_the_peer_was_quicker():
    run = Run()
    run.feed(Wanted(HERE))
    run.feed(Established(HERE, False))
    assert run.cancelled == 1
    run.until(60.0)
    assert run.verdicts == [] and len(run.dials) == 1


def test_several_addresses_are_tried_in_turn():
    run = Run(refuse)
    run.connect(TWO)
    run.feed(Lost())
    run.until(0.4)
    assert [address for _, address in run.dials] == list(TWO)
    assert run.verdicts == []
    run.until(0.6)
    assert [address for _, address in run.dials][:4] == [*TWO, *TWO]
    assert run.verdicts == [(0.5, "connection refused")]


def test_a_round_in_which_one_address_was_not_refused_is_no_refusal():
    run = Run(lambda address: DialFailed("refused" if address == TWO[0] else "unreachable: no route"))
    run.connect(TWO)
    run.feed(Lost())
    run.until(4.9)
    assert run.verdicts == []
    run.until(5.0)
    assert len(run.verdicts) == 1


def test_a_round_begins_with_the_address_that_worked_last():
    run = Run(lambda address: Established(TWO, True) if address == TWO[1] else DialFailed("timeout"))
    run.feed(Wanted(TWO))
    assert [address for _, address in run.dials] == list(TWO)
    run.dials.clear()
    run.feed(Lost())
    assert [address for _, address in run.dials] == [TWO[1]]


def test_the_time_of_an_attempt_is_divided_between_the_addresses():
    run = Run()
    run.feed(Wanted(TWO))
    run.until(2.6)
    assert run.dials == [(0.0, TWO[0]), (2.5, TWO[1])]


def test_a_peer_that_moved_is_dialled_at_its_new_address_at_once():
    run = Run(refuse)
    run.feed(Wanted(HERE))
    run.until(30.0)
    run.dials.clear()
    run.feed(Wanted(("10.9.9.9:1",)))
    assert run.dials == [(30.0, "10.9.9.9:1")]


def test_its_own_word_on_its_addresses_counts():
    run = Run()
    run.connect(HERE)
    run.feed(Established(("10.9.9.9:1",), False))
    run.feed(Lost())
    assert run.dials == [(0.0, "10.9.9.9:1")]


def test_a_session_that_ended_by_itself_is_not_begun_again_at_once_but_soon():
    run = Run()
    run.connect()
    run.feed(SessionOver())
    assert run.dials == []
    run.until(0.11)
    assert len(run.dials) == 1
    run.until(60.0)
    assert run.verdicts == []


def test_the_end_of_a_session_by_the_verdict_itself_changes_nothing():
    run = Run(refuse)
    run.connect()
    run.feed(Lost())
    run.until(0.5)
    timers = dict(run.timers)
    run.feed(SessionOver())
    assert run.timers == timers


def test_a_peer_that_left_and_is_not_wanted_is_forgotten():
    run = Run()
    run.feed(Established(HERE, False))
    run.feed(SessionOver())
    assert run.machine.idle and not run.timers


@pytest.mark.parametrize(
    "wrong",
    [
        {"refused_again": 6.0},
        {"first_pause": 4.0},
        {"shortest_dial": 9.0},
        {"retry": 0},
        {"patience": 0.1},
    ],
)
def test_parameters_are_checked(wrong: dict[str, float]):
    with pytest.raises(ValueError):
        DiallingParameters(**wrong)
