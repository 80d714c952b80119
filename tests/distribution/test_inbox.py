"""Inboxes: single steps, and the argument of the module's docstring taken at its word.

How an outbox and inboxes get on over a bad network is in test_acknowledged.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.distribution.inbox import Acknowledge, Inboxes, InboxParameters, Verdict
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.wire.frames import BrokenFrame
from partisan_actors.wire.signals import Acknowledged, Acknowledgement, Outcome

DELIVER, DUPLICATE, EXPIRED, LATER = Verdict.DELIVER, Verdict.DUPLICATE, Verdict.EXPIRED, Verdict.LATER
OUTBOX = 0x1234_5678_9ABC_DEF0
LIMIT = 60.0
MARGIN = InboxParameters().margin


def told(number, lowest=1, repeated=False, identity=OUTBOX, remaining=LIMIT):
    return Acknowledged(identity, number, lowest, remaining, repeated)


def accept(arrivals, *numbers, now=0.0, **more):
    return [arrivals.accept(told(number, **more), 10, now) for number in numbers]


def acknowledgement_of(effects):
    (effect,) = [effect for effect in effects if isinstance(effect, Acknowledge)]
    return effect.acknowledgement


@pytest.fixture
def inboxes():
    return Inboxes(InboxParameters())


@pytest.fixture
def arrivals(inboxes):
    return inboxes.session_started("a@h")


def end(inboxes, arrivals, now=0.0):
    """End the session, and let the time pass after which gaps are forgotten."""
    for effect in arrivals.ended(now):
        if isinstance(effect, SetTimer):
            inboxes.timer(effect.key, now + effect.seconds)


def test_each_number_is_delivered_once_whatever_its_order(arrivals):
    assert accept(arrivals, 1, 2, 4, 3, 6) == [DELIVER] * 5
    assert accept(arrivals, 1, 2, 3, 4, 6, repeated=True) == [DUPLICATE] * 5
    assert accept(arrivals, 5) == [DELIVER]


def test_an_acknowledgement_is_cumulative_and_waits_for_more(inboxes, arrivals):
    accept(arrivals, 1)
    (timer,) = arrivals.settle()
    assert timer.seconds == InboxParameters().acknowledge_after
    accept(arrivals, 2, 3)
    assert arrivals.settle() == ()
    assert inboxes.timed[timer.key] is arrivals
    assert inboxes.timer(timer.key, 1.0) == (Acknowledge(Acknowledgement(OUTBOX, 3, 0, ())),)
    assert arrivals.settle() == () and not inboxes.timed


def test_the_owner_of_a_timer_is_found_by_its_key(inboxes):
    arrivals = inboxes.session_started("a@h", owner="the session")
    accept(arrivals, 1)
    (timer,) = arrivals.settle()
    assert inboxes.timed[timer.key].owner == "the session"


def test_what_is_owed_too_much_of_does_not_wait(arrivals):
    accept(arrivals, *range(1, InboxParameters().owed_messages + 1))
    assert acknowledgement_of(arrivals.settle()).up_to == InboxParameters().owed_messages
    arrivals.accept(told(65), InboxParameters().owed_bytes, 0.0)
    assert acknowledgement_of(arrivals.settle()).up_to == 65


def test_a_timer_after_all_was_acknowledged_says_nothing(inboxes, arrivals):
    accept(arrivals, 1)
    (timer,) = arrivals.settle()
    accept(arrivals, 1, repeated=True)
    arrivals.settle()
    assert inboxes.timer(timer.key, 1.0) == ()


def test_numbers_above_a_gap_are_told_one_by_one(arrivals):
    accept(arrivals, 1, 3, 4)
    accept(arrivals, 1, repeated=True)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 1, 0, ((3, 0), (4, 0)), 0)
    accept(arrivals, 2)
    accept(arrivals, 4, repeated=True)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 4, 0, (), 1)


def test_what_the_sender_has_closed_is_no_gap(arrivals):
    accept(arrivals, 1, 3)
    assert accept(arrivals, 6, lowest=5) == [DELIVER]
    accept(arrivals, 3, repeated=True)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 4, 0, ((6, 0),), 0)
    assert accept(arrivals, 2, repeated=True) == [DUPLICATE], "it was given up, and is not wanted any more"


def test_numbers_that_a_closed_gap_has_passed_take_no_memory(arrivals, inboxes):
    accept(arrivals, 3, 5, 6, 9)
    assert inboxes.numbers == 4
    accept(arrivals, 10, lowest=7)
    assert inboxes.numbers == 2
    accept(arrivals, 7, 8, lowest=7)
    assert inboxes.numbers == 0


def test_a_duplicate_is_acknowledged_at_once(arrivals):
    accept(arrivals, 1)
    arrivals.settle()
    accept(arrivals, 1, repeated=True)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 1, 0, (), 0)


def test_a_refusal_is_told_at_once_and_again_for_each_resend(inboxes, arrivals):
    accept(arrivals, 1, 2)
    arrivals.refuse(2, Outcome.NO_PROCESS)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 2, 0, ((2, Outcome.NO_PROCESS),), 0)
    assert accept(arrivals, 2, repeated=True) == [DUPLICATE]
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 2, 0, ((2, Outcome.NO_PROCESS),), 2)
    accept(arrivals, 3, lowest=3)
    assert inboxes.numbers == 0, "the sender knows by now"
    accept(arrivals, 2, repeated=True)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 3, 2, ((2, Outcome.EXPIRED),), 2), "unless it was killed"


def test_an_answer_speaks_for_what_it_covers_beyond_the_one_before(arrivals):
    accept(arrivals, 1, 2)
    arrivals.refuse(2, Outcome.NO_PROCESS)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 2, 0, ((2, Outcome.NO_PROCESS),), 0)
    accept(arrivals, 3, 4)
    arrivals.refuse(4, Outcome.UNDECODABLE)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 4, 0, ((4, Outcome.UNDECODABLE),), 2)


def test_what_comes_again_is_named_whatever_became_of_it(arrivals):
    accept(arrivals, 1, 2)
    arrivals.refuse(1, Outcome.NO_PROCESS)
    arrivals.settle()
    accept(arrivals, 1, 2, repeated=True)
    outcomes = ((1, Outcome.NO_PROCESS), (2, Outcome.TAKEN))
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 2, 0, outcomes, 2)


def test_a_refusal_above_a_gap_is_told_again_with_the_number_that_covers_it(arrivals):
    accept(arrivals, 1, 3, 5)
    arrivals.refuse(3, Outcome.NO_PROCESS)
    arrivals.refuse(5, Outcome.NO_PROCESS)
    refused = tuple((number, Outcome.NO_PROCESS) for number in (3, 5))
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 1, 0, refused, 0)
    for number, covered in ((2, refused[:1]), (4, refused[1:])):
        accept(arrivals, number)
        told = acknowledgement_of(arrivals.due())
        assert (told.up_to, told.outcomes, told.since) == (number + 1, covered, number - 1)


def test_what_is_above_a_gap_and_among_forgotten_refusals_is_not_said_to_be_taken(inboxes):
    inboxes.parameters = InboxParameters(refusals=1)
    arrivals = inboxes.session_started("a@h")
    accept(arrivals, 2, 3)
    for number in (2, 3):
        arrivals.refuse(number, Outcome.NO_PROCESS)
    arrivals.ended(0.0)
    again = inboxes.session_started("a@h")
    accept(again, 2, 3, repeated=True)
    told = acknowledgement_of(again.settle())
    assert dict(told.outcomes) == {2: Outcome.EXPIRED, 3: Outcome.NO_PROCESS}


def test_refusals_are_remembered_up_to_a_limit(arrivals, inboxes):
    most = InboxParameters().refusals
    for number in range(1, most + 10):
        accept(arrivals, number)
        arrivals.refuse(number, Outcome.NO_PROCESS)
    assert inboxes.numbers == most
    told = acknowledgement_of(arrivals.settle())
    assert told.uncertain == 9 and len(told.outcomes) == most + 9, "what this session brings is told all the same"


def test_what_was_refused_is_told_again_in_the_next_session_before_the_number_covers_it(inboxes, arrivals):
    accept(arrivals, 1, 2, 3)
    arrivals.refuse(3, Outcome.NO_PROCESS)
    arrivals.ended(0.0)
    again = inboxes.session_started("a@h")
    accept(again, 1, repeated=True)
    assert acknowledgement_of(again.settle()) == (OUTBOX, 3, 0, ((3, Outcome.NO_PROCESS),), 0)


def test_that_something_was_refused_is_never_forgotten(inboxes, arrivals):
    accept(arrivals, 1, 2, 3)
    arrivals.refuse(2, Outcome.NO_PROCESS)
    end(inboxes, arrivals)
    assert inboxes.numbers == 0
    again = inboxes.session_started("a@h")
    accept(again, 1, repeated=True)
    assert acknowledgement_of(again.settle()) == (OUTBOX, 3, 2, ((1, Outcome.EXPIRED),), 0)


def test_what_is_too_far_ahead_is_not_taken(inboxes):
    inboxes.parameters = InboxParameters(above=3)
    arrivals = inboxes.session_started("a@h")
    assert accept(arrivals, 3, 5, 7, 9) == [DELIVER, DELIVER, DELIVER, LATER]
    assert accept(arrivals, 1, 2, 9) == [DELIVER, DELIVER, DELIVER]


def test_a_session_brings_one_outbox(arrivals):
    accept(arrivals, 1)
    with pytest.raises(BrokenFrame):
        accept(arrivals, 1, identity=OUTBOX + 1)


def test_the_end_of_a_session_takes_its_timer_along(inboxes, arrivals):
    accept(arrivals, 1)
    (timer,) = arrivals.settle()
    assert arrivals.ended(0.0) == [CancelTimer(timer.key)]
    assert inboxes.timer(timer.key, 1.0) == ()
    assert inboxes.session_started("b@h").ended(0.0) == []


def test_another_node_with_the_same_identity_is_another_outbox(inboxes, arrivals):
    accept(arrivals, 1, 2)
    assert accept(inboxes.session_started("copied@h"), 1, 2) == [DELIVER, DELIVER]


def test_what_was_had_is_known_in_the_next_session_and_for_good(inboxes, arrivals):
    accept(arrivals, 1, 2, 3)
    end(inboxes, arrivals)
    again = inboxes.session_started("a@h")
    assert accept(again, 2, 3, 4, lowest=2, repeated=True, now=1e9) == [DUPLICATE, DUPLICATE, DELIVER]


def test_a_new_life_of_the_receiver_takes_up_at_the_lowest_open_number(inboxes, arrivals):
    assert accept(arrivals, 17, 18, lowest=17, repeated=True) == [DELIVER, DELIVER]
    accept(arrivals, 18, lowest=17, repeated=True)
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 18, 0, (), 0)


def test_what_is_in_a_forgotten_gap_is_expired_unless_it_is_sent_for_the_first_time(inboxes, arrivals):
    accept(arrivals, 1, 3, 5)
    end(inboxes, arrivals)
    assert inboxes.numbers == 0
    again = inboxes.session_started("a@h")
    assert accept(again, 1, 2, 3, repeated=True) == [DUPLICATE, EXPIRED, EXPIRED]
    assert accept(again, 4) == [DELIVER]
    assert accept(again, 5, 6, repeated=True) == [EXPIRED, DELIVER]
    assert acknowledgement_of(again.settle()) == (OUTBOX, 6, 0, ((2, 1), (3, 1), (5, 1)), 0)


def test_nothing_is_forgotten_before_the_time_limit_and_the_margin(inboxes, arrivals):
    accept(arrivals, 1, now=0.0)
    accept(arrivals, 3, now=10.0, remaining=30.0)
    (timer,) = arrivals.ended(20.0)
    assert 20.0 + timer.seconds == LIMIT + MARGIN
    # Two more end, one earlier and one later than that.
    early, late = inboxes.session_started("b@h"), inboxes.session_started("c@h")
    accept(early, 2, remaining=1.0)
    accept(late, 2, remaining=100.0)
    assert late.ended(20.0) == []
    (sooner,) = early.ended(20.0)
    assert sooner.seconds == MARGIN
    (timer,) = inboxes.timer(sooner.key, 35.0)
    assert (inboxes.numbers, timer.seconds) == (2, 40.0)
    (timer,) = inboxes.timer(timer.key, 75.0)
    assert (inboxes.numbers, timer.seconds) == (1, 40.0)
    assert inboxes.timer(timer.key, 115.0) == ()
    assert (inboxes.numbers, len(inboxes)) == (0, 3)


def test_while_there_is_a_session_nothing_is_forgotten(inboxes, arrivals):
    accept(arrivals, 1, 3)
    second = inboxes.session_started("a@h")  # begins before the end of the first
    accept(second, 4)
    assert arrivals.ended(0.0) == []
    assert accept(second, 3, repeated=True, now=1e9) == [DUPLICATE]


def test_a_timer_of_an_inbox_that_has_a_session_again_forgets_nothing(inboxes, arrivals):
    accept(arrivals, 1, 3)
    (timer,) = arrivals.ended(0.0)
    again = inboxes.session_started("a@h")
    accept(again, 3, repeated=True)
    assert inboxes.timer(timer.key, timer.seconds) == ()
    assert inboxes.numbers == 1


def dropping(count=3):
    """Inboxes that have dropped the one of OUTBOX, which had 1 to 5 and 8."""
    inboxes = Inboxes(InboxParameters(identities=count))
    arrivals = inboxes.session_started("a@h")
    accept(arrivals, 1, 2, 3, 4, 5, 8)
    arrivals.ended(0.0)
    for number in range(count):
        other = inboxes.session_started(f"n{number}@h")
        accept(other, 1, identity=number * 0x1357_9BDF_0246 + 7)
        other.ended(1.0)
    assert len(inboxes) == count
    return inboxes


def test_a_dropped_inbox_takes_nothing_that_may_have_been_had():
    arrivals = dropping().session_started("a@h")
    assert accept(arrivals, 5, 6, 7, 8, lowest=5, repeated=True) == [EXPIRED] * 4
    assert accept(arrivals, 9, lowest=5) == [DELIVER]
    assert accept(arrivals, 10, 11, 10, lowest=5, repeated=True) == [DELIVER, DELIVER, DUPLICATE]
    assert acknowledgement_of(arrivals.settle()) == (OUTBOX, 11, 0, ((5, 1), (6, 1), (7, 1), (8, 1)), 0)


def test_a_dropped_inbox_takes_what_is_new_in_any_order():
    arrivals = dropping().session_started("a@h")
    assert accept(arrivals, 12, 11, lowest=7) == [DELIVER, DELIVER]
    assert accept(arrivals, 8, 10, lowest=7, repeated=True) == [EXPIRED, EXPIRED]


def test_an_identity_that_was_never_had_is_taken_after_others_were_dropped():
    arrivals = dropping().session_started("new@h")
    assert accept(arrivals, 3, 4, lowest=3, repeated=True, identity=0xFEDC_BA98_7654_3210) == [DELIVER, DELIVER]


def test_memory_is_bounded_whatever_identities_come():
    inboxes = Inboxes(InboxParameters(identities=20, fading=5, above=10))
    for number in range(1000):
        arrivals = inboxes.session_started("a@h")
        accept(arrivals, *range(2, 30), identity=number * 0x9E37_79B9_7F4A_7C15 % (1 << 64))
        arrivals.settle()
        arrivals.ended(float(number))
    assert len(inboxes) == 20
    assert inboxes.numbers <= 5 * 10
    assert not inboxes.timed


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans(), st.sampled_from(["same", "next", "long after"]))))
def test_no_number_is_ever_delivered_twice_by_an_outbox_that_keeps_its_rules(steps):
    inboxes = Inboxes(InboxParameters(identities=1, above=6))
    arrivals = inboxes.session_started("a@h")
    delivered: set[int] = set()
    sessions = itertools.count()
    sent: dict[int, int] = {}  # by number: in which session it was sent first
    session, now = next(sessions), 0.0
    for number, crowded, when in steps:
        if when != "same":
            now += 1.0
            effects = arrivals.ended(now)
            if when == "long after":
                now += 1000.0
                for effect in effects:
                    inboxes.timer(effect.key, now)
            if crowded:
                other = inboxes.session_started("b@h")
                accept(other, 1, identity=99)
                other.ended(now)
            arrivals, session = inboxes.session_started("a@h"), next(sessions)
        # For the first time in the order of numbers; a copy of the first sending may come again in its session.
        if number not in sent and sent and number < max(sent):
            continue
        repeated = sent.setdefault(number, session) != session
        if accept(arrivals, number, repeated=repeated, now=now) == [DELIVER]:
            assert number not in delivered
            delivered.add(number)


@pytest.mark.parametrize(
    "wrong", [{"margin": 0.0}, {"acknowledge_after": 0.0}, {"identities": 0}, {"above": 0}, {"owed_bytes": 0}]
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError):
        InboxParameters(**wrong)
