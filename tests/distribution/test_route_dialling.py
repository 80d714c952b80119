"""When routes are dialled: the machine alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from partisan_actors.distribution.machine import CancelTimer, SetDeadline, SetTimer, TimerFired
from partisan_actors.distribution.route_dialling import (
    CancelRoute,
    DialRoute,
    Effect,
    Event,
    RouteAnswered,
    RouteDialling,
    RouteFailed,
    RouteGivenUp,
    RouteNeeded,
    RouteNeedless,
    RouteParameters,
    RouteRefused,
)
from partisan_actors.wire.handshake import RefusalCode

DIAL = DialRoute(5.0)
REDIAL, PATIENCE = "redial", "patience"
STOP = [CancelTimer(REDIAL), CancelTimer(PATIENCE)]
SESSION = RouteNeeded(opening=False, link_is_coming=False)
OPENING = RouteNeeded(opening=True, link_is_coming=False)


class Run:
    """A machine without chance: pauses are as long as they get."""

    def __init__(self, **parameters: float) -> None:
        self.machine = RouteDialling(RouteParameters(**parameters))
        self.random = Random(1)
        self.random.uniform = lambda a, b: b  # type: ignore[method-assign]

    def __call__(self, event: Event) -> Sequence[Effect]:
        return list(self.machine.step(event, self.random))


def test_what_a_session_has_to_carry_is_dialled_for_at_once_and_once():
    run = Run()
    assert run(SESSION) == [DIAL]
    assert run(SESSION) == []
    assert run(RouteNeedless()) == [*STOP, CancelRoute()]
    assert run.machine.idle


def test_a_link_that_is_coming_has_a_head_start():
    run = Run()
    assert run(RouteNeeded(False, link_is_coming=True)) == [SetTimer(REDIAL, 1.0)]
    assert run(RouteNeeded(False, link_is_coming=True)) == []
    assert run(TimerFired(REDIAL)) == [DIAL]


def test_a_link_that_came_to_nothing_lets_the_route_go_at_once():
    run = Run()
    run(RouteNeeded(True, link_is_coming=True))
    assert run(OPENING) == [CancelTimer(REDIAL), DIAL]


def test_failures_are_repeated_with_back_off_while_a_session_needs_it():
    run = Run()
    run(SESSION)
    pauses = []
    for _ in range(8):
        (pause,) = run(RouteFailed("timeout"))
        assert isinstance(pause, SetTimer) and pause.key == REDIAL
        pauses.append(pause.seconds)
        assert run(SESSION) == [], "what is new to carry makes no way"
        assert run(TimerFired(REDIAL)) == [DIAL]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_back_off_begins_anew_after_a_connection():
    run = Run()
    run(SESSION)
    for _ in range(5):
        run(RouteFailed("timeout"))
        run(TimerFired(REDIAL))
    run(RouteNeedless())
    assert run(SESSION) == [DIAL]
    assert run(RouteFailed("timeout")) == [SetTimer(REDIAL, 0.25)]


def test_what_is_opened_is_given_up_when_patience_is_over():
    run = Run()
    assert run(OPENING) == [SetDeadline(PATIENCE, 7.0), DIAL]
    assert run(RouteFailed("unreachable: no way is known")) == [SetTimer(REDIAL, 0.25)]
    assert run(TimerFired(PATIENCE)) == [*STOP, RouteGivenUp("unreachable: no way is known")]
    assert run.machine.idle
    assert run(TimerFired(PATIENCE)) == run(TimerFired(REDIAL)) == []


def test_an_attempt_under_way_is_given_up_with_it():
    run = Run()
    run(OPENING)
    assert run(TimerFired(PATIENCE)) == [*STOP, CancelRoute(), RouteGivenUp("timeout")]


def test_one_that_the_peer_has_answered_has_its_time():
    """It is there, and busy: what it answers with has a long way."""
    run = Run()
    run(OPENING)
    run(RouteAnswered())
    assert run(TimerFired(PATIENCE)) == []
    assert run(OPENING) == []
    assert run(RouteFailed("the handshake took too long")) == [*STOP, RouteGivenUp("the handshake took too long")]
    assert run.machine.idle


def test_and_so_has_the_connection_of_a_peer_that_dials_itself():
    run = Run()
    run(OPENING)
    run(RouteAnswered())
    run(TimerFired(PATIENCE))
    assert run(RouteRefused(RefusalCode.SIMULTANEOUS, "busy")) == [SetTimer(REDIAL, 1.0)]
    assert run(TimerFired(REDIAL)) == [*STOP, RouteGivenUp("refused: busy")]


def test_an_answer_to_an_attempt_before_is_none():
    run = Run()
    run(OPENING)
    run(RouteAnswered())
    run(RouteFailed("reset"))
    run(TimerFired(REDIAL))
    assert run(TimerFired(PATIENCE)) == [*STOP, CancelRoute(), RouteGivenUp("reset")]


def test_a_refusal_that_waiting_does_not_change_is_a_verdict_only_where_there_is_no_session():
    run = Run()
    run(OPENING)
    assert run(RouteRefused(RefusalCode.COOKIE, "cookie")) == [*STOP, RouteGivenUp("refused: cookie")]
    run(SESSION)
    assert run(RouteRefused(RefusalCode.NAME, "name")) == [SetTimer(REDIAL, 0.25)]


@pytest.mark.parametrize("code", [RefusalCode.BUSY, RefusalCode.FULL, RefusalCode.EXPIRED])
def test_what_may_be_another_time_is_tried_another_time(code: RefusalCode):
    run = Run()
    run(OPENING)
    assert run(RouteRefused(code, "later")) == [SetTimer(REDIAL, 0.25)]
    assert run(TimerFired(PATIENCE)) == [*STOP, RouteGivenUp("refused: later")]


def test_the_others_connection_is_waited_for_where_it_is_kept():
    run = Run()
    run(SESSION)
    assert run(RouteRefused(RefusalCode.SIMULTANEOUS, "mine is kept")) == [SetTimer(REDIAL, 1.0)]
    assert run(RouteNeedless()) == STOP
    assert run(RouteRefused(RefusalCode.SIMULTANEOUS, "late")) == []


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"head_start": 7.0}, "head_start"),
        ({"dial_timeout": 8.0}, "dial_timeout"),
        ({"first_pause": 20.0}, "first_pause"),
        ({"give_way": 0.0}, "give_way"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(parameters: dict[str, float], named: str):
    with pytest.raises(ValueError, match=named):
        RouteParameters(**parameters)
