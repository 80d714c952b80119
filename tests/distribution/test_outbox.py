"""Outboxes: what each event leads to, and the defects of Partisan's acknowledgements that could be ours.

How an outbox and inboxes get on over a bad network is in test_acknowledged.
"""

from __future__ import annotations

from random import Random

import pytest

from partisan_actors.distribution import outboxes
from partisan_actors.distribution.inbox import Inboxes, InboxParameters, Verdict
from partisan_actors.distribution.machine import CancelTimer, SetTimer
from partisan_actors.distribution.outbox import Outbox
from partisan_actors.distribution.outbox_events import (
    Append,
    Failed,
    Forget,
    OutboxParameters,
    Restored,
    Room,
    Send,
)
from partisan_actors.distribution.outboxes import Outboxes
from partisan_actors.processes.identity import Life
from partisan_actors.wire.signals import Acknowledged, Acknowledgement, Outcome

IDENTITY = 77
FIRST, SECOND = Life("b@h", 1, 100), Life("b@h", 2, 200)
LIMIT = OutboxParameters().time_limit
SMALL = OutboxParameters(max_messages=4, max_bytes=100, hard_factor=2, window_bytes=30)
EXPIRE, RESEND = ("expire", "b@h"), ("resend", "b@h")


def outbox(parameters=None, durable=False, number=0):
    return Outbox("b@h", IDENTITY, parameters or OutboxParameters(), number, durable)


def accept(box, *messages, life=None, now=0.0, size=10):
    return [effect for message in messages for effect in box.accept(message, size, f"owner of {message}", life, now)]


def connected(box, life=FIRST, understood=True, now=0.0):
    return box.connected(life, understood, now)


def acknowledge(box, up_to, *outcomes, now=0.0, identity=IDENTITY, uncertain=0, since=0):
    return box.acknowledged(Acknowledgement(identity, up_to, uncertain, outcomes, since), now)


def sent(effects):
    return [effect.message for effect in effects if isinstance(effect, Send)]


def told(effects):
    return [effect.acknowledged for effect in effects if isinstance(effect, Send)]


def failed(effects):
    return [(effect.owner, effect.number, effect.reason) for effect in effects if isinstance(effect, Failed)]


def timers(effects):
    return {effect.key: effect.seconds for effect in effects if isinstance(effect, SetTimer)}


def test_messages_are_numbered_and_sent_at_once_over_a_session():
    box = outbox()
    connected(box)
    assert told(accept(box, "x", "y")) == [
        Acknowledged(IDENTITY, 1, 1, LIMIT, False),
        Acknowledged(IDENTITY, 2, 1, LIMIT, False),
    ]
    assert acknowledge(box, 1) == []
    assert told(accept(box, "z", now=1.0)) == [Acknowledged(IDENTITY, 3, 2, LIMIT, False)]
    acknowledge(box, 3)
    assert (len(box), box.size, box.number) == (0, 0, 3)


def test_a_session_begins_with_all_that_is_open_in_order():
    box = outbox()
    assert sent(accept(box, "x", "y", "z")) == []
    assert sent(connected(box)) == ["x", "y", "z"]
    acknowledge(box, 1)
    box.disconnected()
    assert sent(accept(box, "later", now=5.0)) == []
    assert told(connected(box, now=10.0)) == [
        Acknowledged(IDENTITY, 2, 2, LIMIT - 10, True),
        Acknowledged(IDENTITY, 3, 2, LIMIT - 10, True),
        Acknowledged(IDENTITY, 4, 2, LIMIT - 5, False),
    ]


def test_what_was_sent_in_an_earlier_session_only_can_be_acknowledged_in_the_next():
    box = outbox(SMALL)
    connected(box)
    accept(box, "x", "y", "z")
    box.disconnected()
    connected(box)
    acknowledge(box, 3)
    assert len(box) == 0


def test_a_refused_message_fails_and_does_not_count_as_taken():
    box = outbox()
    connected(box)
    accept(box, "x", "y", "z", "w")
    effects = acknowledge(box, 4, (2, Outcome.NO_PROCESS), (3, Outcome.EXPIRED), (4, 200))
    assert failed(effects) == [
        ("owner of y", 2, "noproc"),
        ("owner of z", 3, "expired"),
        ("owner of w", 4, "refused"),
    ]
    assert len(box) == 0


def test_what_the_receiver_is_uncertain_of_fails_unless_this_session_brought_it_first():
    box = outbox()
    connected(box)
    accept(box, "x", "y")
    box.disconnected()
    accept(box, "z")
    connected(box)
    assert acknowledge(box, 3, uncertain=1) == [Failed("owner of x", 1, "expired")]
    assert len(box) == 0
    accept(box, "w")
    assert acknowledge(box, 4, uncertain=4) == []


def test_what_an_earlier_answer_told_is_not_taken_from_a_later_one():
    box = outbox()
    connected(box)
    accept(box, "x", "y", "z")
    assert acknowledge(box, 3, since=2) == []
    assert len(box) == 2
    assert failed(acknowledge(box, 2, (1, Outcome.NO_PROCESS))) == [("owner of x", 1, "noproc")], "it was only late"
    assert len(box) == 0


def test_what_an_answer_told_that_never_comes_is_sent_again_though_others_come():
    box = outbox()
    connected(box)
    accept(box, "x", "y")
    acknowledge(box, 2, since=1, now=1.0)
    accept(box, "z", now=4.0)
    acknowledge(box, 3, since=2, now=4.0)
    assert sent(box.timer(RESEND, 5.0, Random(1))) == ["x"]
    assert failed(acknowledge(box, 3, (1, Outcome.NO_PROCESS), since=3)) == [("owner of x", 1, "noproc")]


def test_numbers_above_a_gap_are_taken_one_by_one():
    box = outbox()
    connected(box)
    accept(box, "x", "y", "z")
    assert acknowledge(box, 0, (3, Outcome.TAKEN), (2, Outcome.UNDECODABLE)) == [Failed("owner of y", 2, "undecodable")]
    assert told(accept(box, "w"))[0].lowest == 1
    acknowledge(box, 4)
    assert len(box) == 0


def test_what_cannot_be_an_acknowledgement_of_ours_changes_nothing():
    box = outbox()
    accept(box, "x")
    assert acknowledge(box, 1) == ()  # no session
    connected(box)
    assert acknowledge(box, 2) == acknowledge(box, 1, identity=IDENTITY + 1) == ()
    assert (len(box), box.strange) == (1, 3)


def test_what_was_never_sent_is_not_acknowledged():
    box = outbox(SMALL)
    connected(box)
    assert sent(accept(box, "x", "y", size=30)) == ["x"]
    assert sent(acknowledge(box, 0, (2, Outcome.TAKEN))) == []
    assert sent(acknowledge(box, 2)) == ["y"]
    assert len(box) == 1


def test_no_more_than_the_window_is_on_its_way():
    box = outbox(SMALL)
    accept(box, "x", "y", "z", "w")
    assert sent(connected(box)) == ["x", "y", "z"]
    assert sent(acknowledge(box, 1)) == ["w"]
    acknowledge(box, 4)
    assert sent(accept(box, "large", size=90)) == ["large"]
    assert sent(accept(box, "small", size=1)) == []


@pytest.mark.parametrize("size", [10, 30])
def test_congestion_ends_at_half_of_both_limits(size):
    box = outbox(SMALL)
    connected(box)
    while not box.congested:
        accept(box, "x", size=size)
    assert len(box) == 4
    effects = []
    for number in range(1, 5):
        effects.append(Room() in acknowledge(box, number))
    assert effects.count(True) == 1 and not box.congested


def test_the_hard_limit_refuses():
    box = outbox(SMALL)
    accept(box, *"abcdefgh")
    assert accept(box, "x") == [Failed("owner of x", 0, "full")]
    assert (len(box), box.number) == (8, 8)
    large = outbox(SMALL)
    assert accept(large, "huge", size=10**9), "one alone is taken"
    assert failed(accept(large, "x")) == [("owner of x", 0, "full")]


def test_a_message_is_given_up_at_its_limit():
    box = outbox()
    assert timers(accept(box, "x")) == {EXPIRE: LIMIT}
    assert timers(accept(box, "y", now=10.0)) == {}
    effects = box.timer(EXPIRE, LIMIT, Random(1))
    assert failed(effects) == [("owner of x", 1, "noconnection")]
    assert timers(effects) == {EXPIRE: 10.0}
    connected(box, now=LIMIT)
    effects = box.timer(EXPIRE, LIMIT + 10.0, Random(1))
    assert failed(effects) == [("owner of y", 2, "timeout")]
    assert timers(effects) == {} and len(box) == 0
    assert timers(accept(box, "z", now=100.0))[EXPIRE] == LIMIT


def test_giving_up_makes_room_in_the_window():
    box = outbox(SMALL)
    connected(box)
    accept(box, "x", size=30)
    accept(box, "y", now=1.0, size=30)
    assert sent(box.timer(EXPIRE, LIMIT, Random(1))) == ["y"]


def test_within_a_session_nothing_is_sent_again_for_long_and_then_ever_more_rarely():
    box = outbox()
    random = Random(5)
    effects = connected(box)
    assert timers(effects) == {}
    effects = accept(box, "x", "y")
    waits = []
    now = 0.0
    for _ in range(5):
        wait = timers(effects)[RESEND]
        waits.append(wait)
        now += wait
        effects = box.timer(RESEND, now, random)
        assert sent(effects) == ["x", "y"] and all(one.repeated for one in told(effects))
    assert waits[0] == 5.0
    for wait, nominal in zip(waits[1:], (10.0, 20.0, 30.0, 30.0), strict=True):
        assert nominal * 0.75 <= wait <= nominal * 1.25 and wait != nominal
    assert box.resent == 10
    # Any acknowledgement starts it anew.
    acknowledge(box, 1, now=now)
    (wait,) = timers(box.timer(RESEND, now + 1.0, random)).values()
    assert wait == 4.0


def test_what_has_not_arrived_at_the_node_yet_is_late_and_not_sent_again():
    box = outbox()
    connected(box)
    accept(box, "x")
    effects = box.timer(RESEND, 5.0, Random(1), clear=False)
    assert sent(effects) == [] and RESEND in timers(effects)
    assert sent(box.timer(RESEND, 5.0 + timers(effects)[RESEND], Random(1))) == ["x"]


def test_progress_puts_the_resend_off():
    box = outbox()
    connected(box)
    accept(box, "x", "y")
    acknowledge(box, 1, now=4.0)
    effects = box.timer(RESEND, 5.0, Random(1))
    assert (sent(effects), timers(effects)) == ([], {RESEND: 4.0})
    acknowledge(box, 2, now=6.0)
    assert box.timer(RESEND, 9.0, Random(1)) == []


def test_the_end_of_a_session_takes_the_resend_timer_along():
    box = outbox()
    connected(box)
    accept(box, "x")
    assert box.disconnected() == (CancelTimer(RESEND),)
    assert box.disconnected() == ()
    assert box.timer(RESEND, 5.0, Random(1)) == []


def test_a_new_life_fails_what_was_for_pids_of_the_old_one_and_gets_the_rest():
    box = outbox()
    accept(box, "pid", life=FIRST)
    accept(box, "name")
    connected(box)
    box.disconnected()
    effects = connected(box, SECOND)
    assert failed(effects) == [("owner of pid", 1, "noproc")]
    assert sent(effects) == ["name"]
    assert failed(accept(box, "late", life=FIRST)) == [("owner of late", 0, "noproc")]
    assert sent(accept(box, "new", life=SECOND)) == ["new"]


def test_the_same_life_again_gets_everything():
    box = outbox()
    connected(box)
    accept(box, "pid", life=FIRST)
    box.disconnected()
    assert sent(connected(box, Life("b@h", 1, 100))) == ["pid"]


def test_a_new_life_that_is_heard_of_before_there_is_a_session_fails_them_at_once():
    box = outbox()
    connected(box)
    accept(box, "pid", life=FIRST)
    accept(box, "name")
    assert box.life_changed(SECOND, 0.0) == (), "the session says otherwise"
    box.disconnected()
    assert failed(box.life_changed(SECOND, 0.0)) == [("owner of pid", 1, "noproc")]
    assert box.life_changed(FIRST, 0.0) == (), "old news"
    assert len(box) == 1


def test_a_pid_of_a_life_that_we_have_not_met_yet_waits_for_it():
    box = outbox()
    connected(box)
    box.disconnected()
    assert failed(accept(box, "pid", life=SECOND)) == []
    assert sent(connected(box, SECOND)) == ["pid"]


def test_a_node_of_an_earlier_version_is_refused_clearly_and_the_next_life_is_not():
    box = outbox()
    accept(box, "x")
    assert failed(connected(box, understood=False)) == [("owner of x", 1, "unsupported")]
    assert failed(accept(box, "y")) == [("owner of y", 0, "unsupported")]
    box.disconnected()
    accept(box, "z")
    assert sent(connected(box, SECOND)) == ["z"]


def test_with_a_log_nothing_is_sent_before_it_is_logged():
    box = outbox(durable=True)
    connected(box)
    effects = accept(box, "x", "y", "z", life=FIRST)
    assert [effect for effect in effects if isinstance(effect, Append)] == [
        Append(1, "x", FIRST),
        Append(2, "y", FIRST),
        Append(3, "z", FIRST),
    ]
    assert sent(effects) == []
    assert sent(box.logged(2, 0.0)) == ["x", "y"]
    assert sent(box.logged(3, 0.0)) == ["z"]
    assert acknowledge(box, 2) == [Forget([1, 2])]
    assert acknowledge(box, 3, (3, Outcome.EXPIRED)) == [Failed("owner of z", 3, "expired"), Forget([3])]


def test_with_a_log_a_session_begins_with_what_is_logged():
    box = outbox(durable=True)
    accept(box, "x", "y")
    box.logged(1, 0.0)
    assert sent(connected(box)) == ["x"]
    assert sent(box.logged(2, 0.0)) == ["y"]


def test_what_the_log_cannot_take_is_withdrawn_and_fails_nobody():
    box = outbox(durable=True)
    connected(box)
    accept(box, "x", "y", "z")
    box.logged(1, 0.0)
    assert box.withdraw(2, 0.0) == []
    assert told(box.logged(3, 0.0)) == [Acknowledged(IDENTITY, 3, 1, LIMIT, False)]
    assert box.withdraw(1, 0.0) == [], "it is logged, and stays"
    assert len(box) == 2


def test_what_a_log_has_kept_is_sent_as_repeated_and_before_all_else():
    box = outbox(durable=True)
    effects = box.restore([Restored(4, "x", 10, FIRST, 30.0), Restored(6, "y", 10, None, 20.0)], 100.0)
    assert timers(effects) == {EXPIRE: 30.0}
    accept(box, "z", now=100.0)
    box.logged(7, 100.0)
    assert told(connected(box, now=110.0)) == [
        Acknowledged(IDENTITY, 4, 4, 20.0, True),
        Acknowledged(IDENTITY, 6, 4, 20.0, True),
        Acknowledged(IDENTITY, 7, 4, 50.0, False),
    ]
    assert failed(box.timer(EXPIRE, 130.0, Random(1))) == [(None, 4, "timeout"), (None, 6, "timeout")]


def test_closing_fails_everything_but_what_a_log_keeps():
    box = outbox()
    connected(box)
    accept(box, "x")
    effects = box.close("stopping")
    assert failed(effects) == [("owner of x", 1, "stopping")]
    assert {CancelTimer(EXPIRE), CancelTimer(RESEND)} <= set(effects)
    durable = outbox(durable=True)
    accept(durable, "x")
    assert failed(durable.close("stopping")) == []


def test_numbers_go_on_when_an_outbox_was_let_go_of():
    boxes = Outboxes(IDENTITY, OutboxParameters())
    box = boxes.of("b@h")
    assert boxes.get("b@h") is boxes.of("b@h") is box
    accept(box, "x")
    connected(box)
    assert boxes.drop_if_quiet("b@h") == ()
    acknowledge(box, 1)
    assert boxes.drop_if_quiet("b@h") == (), "the session is there"
    box.disconnected()
    assert boxes.drop_if_quiet("b@h")
    assert len(boxes) == 0 and list(boxes) == []
    assert boxes.of("b@h").number == 1
    boxes.continue_from("c@h", 9)
    assert boxes.of("c@h").number == 9


def test_no_number_is_given_twice_to_a_node_that_was_forgotten(monkeypatch):
    monkeypatch.setattr(outboxes, "KEPT_NUMBERS", 10)
    boxes = Outboxes(IDENTITY, OutboxParameters())
    last = {}
    for _ in range(5):
        for number in range(30):
            box = boxes.of(f"n{number}@h")
            assert box.number >= last.get(box.node, 0)
            for _ in range(1 + number % 3):
                accept(box, "x")
            last[box.node] = box.number
            box.abandon(lambda owner: True, "for this test")
            assert boxes.drop_if_quiet(box.node)
            assert boxes.remembered <= 10
    assert max(last.values()) < 500, "it goes up by what was given, and not by more"


def test_who_is_sent_numbers_with_a_gap_takes_them():
    inboxes = Inboxes(InboxParameters())
    arrivals = inboxes.session_started("a@h")
    for number, lowest in ((1, 1), (700, 700), (701, 700), (5000, 5000)):
        told = Acknowledged(IDENTITY, number, lowest, 60.0, False)
        assert arrivals.accept(told, 10, 0.0) is Verdict.DELIVER
    assert inboxes.numbers == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_limit": 0.0},
        {"resend_after": 0.0},
        {"resend_after": 40.0},
        {"jitter": 1.0},
        {"max_messages": 1},
        {"hard_factor": 0},
        {"window_bytes": 0},
        {"window_bytes": 1 << 30},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError):
        OutboxParameters(**wrong)


def test_d5_every_message_is_kept_from_its_first_sending_until_it_is_acknowledged():
    box = outbox()
    connected(box)
    accept(box, "x")
    for _ in range(3):
        box.disconnected()
        assert sent(connected(box)) == ["x"]
    acknowledge(box, 1)
    box.disconnected()
    assert sent(connected(box)) == []


def test_d45_a_message_to_a_node_that_is_never_reached_fails():
    box = outbox()
    accept(box, "x")
    assert failed(box.timer(EXPIRE, LIMIT, Random(1))) == [("owner of x", 1, "noconnection")]
