"""Which streams are dialled, and when: the machine alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from partisan_actors.distribution.machine import CancelTimer, SetTimer, TimerFired
from partisan_actors.distribution.stream_dialling import (
    AskPeer,
    DialStream,
    Effect,
    Event,
    FirstMoved,
    PeerMoved,
    StreamConnected,
    StreamDialFailed,
    StreamDialling,
    StreamDiallingParameters,
    StreamLost,
    StreamWanted,
    UseFirst,
)

S1, S2, S3 = (2, 0), (2, 1), (2, 2)


class Run:
    """A machine without chance: pauses are as long as they get."""

    def __init__(self, dials: bool = True, addresses: tuple[str, ...] = ("here",), **parameters: float) -> None:
        self.parameters = StreamDiallingParameters(**parameters)  # type: ignore[arg-type]
        self.machine = StreamDialling(dials, addresses, self.parameters)
        self.random = Random(1)
        self.random.uniform = lambda a, b: b  # type: ignore[method-assign]

    def __call__(self, event: Event) -> list[Effect]:
        return list(self.machine.step(event, 0.0, self.random))


def dial(stream: tuple[int, int], address: str = "here") -> DialStream:
    return DialStream(stream, address, 4.0)


def pause_in(effects: Sequence[Effect]) -> float:
    (pause,) = [effect.seconds for effect in effects if isinstance(effect, SetTimer)]
    return pause


# The one of the two that dials


def test_a_stream_that_is_wanted_is_dialled_once() -> None:
    run = Run()
    assert run(StreamWanted(S1)) == [dial(S1)]
    assert run(StreamWanted(S1)) == []
    assert run(StreamConnected(S1)) == [CancelTimer(S1)]
    assert run(StreamWanted(S1)) == []


def test_so_many_attempts_are_under_way_and_the_others_wait_their_turn() -> None:
    run = Run(at_once=2)
    assert run(StreamWanted(S1)) == [dial(S1)]
    assert run(StreamWanted(S2)) == [dial(S2)]
    assert run(StreamWanted(S3)) == []
    assert run(StreamWanted((2, 3))) == []
    assert run(StreamConnected(S2)) == [CancelTimer(S2), dial(S3)]
    assert run(StreamDialFailed(S1)) == [UseFirst(S1), SetTimer(S1, 0.5), dial((2, 3))]


def test_one_that_waits_its_turn_is_wanted_again_and_dialled_once() -> None:
    run = Run(at_once=1)
    run(StreamWanted(S1))
    assert run(StreamWanted(S2)) == []
    assert run(StreamWanted(S2)) == [CancelTimer(S2)]
    assert run(StreamConnected(S1)) == [CancelTimer(S1), dial(S2)]
    assert run(StreamConnected(S2)) == [CancelTimer(S2)]


def test_one_that_the_peer_connects_while_it_waits_is_not_dialled() -> None:
    run = Run(at_once=1)
    run(StreamWanted(S1))
    run(StreamWanted(S2))
    assert run(StreamConnected(S2)) == [CancelTimer(S2)]
    assert run(StreamConnected(S1)) == [CancelTimer(S1)]


def test_each_address_is_tried_before_the_first_connection_is_used() -> None:
    run = Run(addresses=("one", "two", "three"))
    assert run(StreamWanted(S1)) == [dial(S1, "one")]
    assert run(StreamDialFailed(S1)) == [dial(S1, "two")]
    assert run(StreamDialFailed(S1)) == [dial(S1, "three")]
    assert run(StreamDialFailed(S1)) == [UseFirst(S1), SetTimer(S1, 0.5)]
    assert run(TimerFired(S1)) == [dial(S1, "one")]


def test_the_pauses_grow_up_to_the_longest_and_begin_anew_after_a_connection() -> None:
    run = Run(first_pause=0.5, longest_pause=3.0)
    run(StreamWanted(S1))
    pauses = []
    for _ in range(5):
        pauses.append(pause_in(run(StreamDialFailed(S1))))
        assert run(TimerFired(S1)) == [dial(S1)]
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]
    run(StreamConnected(S1))
    assert run(StreamLost(S1)) == [dial(S1)]
    assert pause_in(run(StreamDialFailed(S1))) == 0.5


def test_a_pause_is_capped_after_two_thousand_failures() -> None:
    run = Run()
    run(StreamWanted(S1))
    for _ in range(2000):
        failed = run(StreamDialFailed(S1))
        run(TimerFired(S1))
    assert pause_in(failed) == 30.0


def test_pauses_are_shortened_by_chance_by_a_quarter_at_the_most() -> None:
    machine = StreamDialling(True, ("here",), StreamDiallingParameters(first_pause=1.0))
    pauses = []
    for stream in range(50):
        machine.step(StreamWanted((2, stream)), 0.0, Random(stream))
        pauses.append(pause_in(machine.step(StreamDialFailed((2, stream)), 0.0, Random(stream))))
    assert 0.75 <= min(pauses) < 0.8 and 0.95 < max(pauses) <= 1.0


def test_a_peer_that_asks_does_not_wait_for_the_end_of_a_pause() -> None:
    run = Run()
    run(StreamWanted(S1))
    run(StreamDialFailed(S1))
    assert run(StreamWanted(S1)) == [CancelTimer(S1), dial(S1)]


def test_a_stream_that_is_lost_is_dialled_at_once() -> None:
    run = Run()
    run(StreamWanted(S1))
    run(StreamConnected(S1))
    assert run(StreamLost(S1)) == [dial(S1)]
    assert run(StreamConnected(S1)) == [CancelTimer(S1)]


def test_an_attempt_that_fails_after_another_connection_came_leads_to_nothing() -> None:
    run = Run()
    run(StreamWanted(S1))
    run(StreamConnected(S1))
    assert run(StreamDialFailed(S1)) == []
    assert run(TimerFired(S1)) == []


def test_without_an_address_the_first_connection_is_used_until_one_is_known() -> None:
    run = Run(addresses=())
    assert run(StreamWanted(S1)) == [UseFirst(S1)]
    assert run(PeerMoved(("here",))) == [CancelTimer(S1), dial(S1)]
    assert run(PeerMoved(("here",))) == []


def test_addresses_that_are_replaced_are_those_that_are_dialled() -> None:
    run = Run(addresses=("one", "two"))
    assert run(StreamWanted(S1)) == [dial(S1, "one")]
    assert run(PeerMoved(("three",))) == []
    assert run(StreamDialFailed(S1)) == [UseFirst(S1), SetTimer(S1, 0.5)]
    assert run(TimerFired(S1)) == [dial(S1, "three")]


def test_those_that_wait_their_turn_use_the_first_connection_when_the_peer_has_no_address_any_more() -> None:
    run = Run(at_once=1)
    run(StreamWanted(S1))
    run(StreamWanted(S2))
    run(StreamWanted(S3))
    assert run(PeerMoved(())) == [CancelTimer(S2), UseFirst(S2), CancelTimer(S3), UseFirst(S3)]
    assert run(StreamDialFailed(S1)) == [UseFirst(S1), SetTimer(S1, 0.5)]
    assert run(TimerFired(S1)) == [UseFirst(S1)]


# The one that does not


def test_who_does_not_dial_asks_and_waits() -> None:
    run = Run(dials=False)
    assert run(StreamWanted(S1)) == [AskPeer(S1), SetTimer(S1, 1.0)]
    assert run(StreamWanted(S1)) == []
    assert run(StreamConnected(S1)) == [CancelTimer(S1)]


def test_a_peer_that_does_not_dial_in_time_is_asked_again_less_and_less_often() -> None:
    run = Run(dials=False, longest_pause=3.0)
    run(StreamWanted(S1))
    pauses = []
    for _ in range(5):
        effects = run(TimerFired(S1))
        assert effects[:2] == [UseFirst(S1), AskPeer(S1)]
        pauses.append(pause_in(effects))
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_stream_that_is_lost_is_asked_for_again() -> None:
    run = Run(dials=False)
    run(StreamWanted(S1))
    run(TimerFired(S1))
    run(StreamConnected(S1))
    assert run(StreamLost(S1)) == [AskPeer(S1), SetTimer(S1, 1.0)]
    assert pause_in(run(TimerFired(S1))) == 0.5


def test_a_stream_that_the_peer_made_unasked_is_connected() -> None:
    run = Run(dials=False)
    assert run(StreamConnected(S1)) == [CancelTimer(S1)]
    assert run(StreamWanted(S1)) == []
    assert run(StreamLost(S1)) == [AskPeer(S1), SetTimer(S1, 1.0)]


def test_who_does_not_dial_needs_no_address() -> None:
    assert Run(dials=False, addresses=())(StreamWanted(S1)) == [AskPeer(S1), SetTimer(S1, 1.0)]


# Without a link


@pytest.mark.parametrize("dials", [True, False])
def test_without_a_link_every_stream_rides_the_first_connection(dials: bool) -> None:
    run = Run(dials=dials)
    run(StreamWanted(S1))
    run(StreamConnected(S1))
    run(StreamWanted(S2))
    assert run(FirstMoved(link=False)) == [CancelTimer(S1), UseFirst(S1), CancelTimer(S2), UseFirst(S2)]
    assert run(FirstMoved(link=False)) == []
    assert run(StreamWanted(S3)) == [UseFirst(S3)]
    # What was under way meanwhile comes too late, and nothing is dialled.
    assert run(StreamDialFailed(S2)) == []
    assert run(TimerFired(S1)) == run(TimerFired(S2)) == []
    assert run(PeerMoved(("there",))) == []


def test_with_a_link_they_have_connections_of_their_own_again() -> None:
    run = Run()
    run(FirstMoved(link=False))
    assert run(StreamWanted(S1)) == [UseFirst(S1)]
    assert run(FirstMoved(link=True)) == [CancelTimer(S1), dial(S1)]
    assert run(StreamDialFailed(S1)) == [UseFirst(S1), SetTimer(S1, 0.5)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_once": 0},
        {"dial_timeout": 0},
        {"patience": -1.0},
        {"first_pause": 0},
        {"longest_pause": 0.4},
    ],
)
def test_parameters_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StreamDiallingParameters(**wrong)  # type: ignore[arg-type]
